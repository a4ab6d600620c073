"""Who may do what: every cell of the matrix is tried with the role's own credentials, and no secret shows anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Platform
from harness.errors import RequestFailed
from harness.lifecycle.access import cells
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Outcome
from harness.lifecycle.slo import SLO
from harness.report.render import page


def test_every_cell_of_the_matrix_holds(platform: Platform, high_utiliser: Dataset) -> None:
    """Allowed and denied, at MLflow and at the gateway; strangers and made-up passwords get 401."""
    access = platform.restricted()
    model = platform.train(high_utiliser, max_depth=2)
    access.grant(model)
    services = {name: platform.deploy(model, namespace=name) for name in ("staging", "production")}
    tried = access.try_all(model, services, platform.gitops(model))

    assert len(tried) == len(list(cells()))
    assert [cell for cell in tried if not cell.passed] == []
    assert {cell.expected for cell in tried} == {True, False}
    row = platform.sample(model, [{"name": "one", "rows": 1}])["one"]["rows"]
    with access.asking(services["production"], "application") as application:
        assert application.predict(row) == services["production"].predict(row)
    for stranger in (access.registry("release", "a guess"), access.registry("nobody", "x")):
        with stranger, pytest.raises(RequestFailed) as refused:
            stranger.version(model.name, model.version)
        assert refused.value.status == 401
    for key in ("", "a guess", access.restriction.passwords["release"]):
        with access.asking(services["production"], "release", key) as client, pytest.raises(RequestFailed) as refused:
            client.predict(row)
        assert refused.value.status == 401


def test_a_release_by_role_leaves_no_secret_in_files_events_records_or_arguments(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """A whole release with a canary under load, looked through while it runs: what only the owner reads is excepted."""
    access = platform.restricted()
    v1, v2 = (platform.train(high_utiliser, max_depth=depth) for depth in (2, 4))
    access.grant(v1)
    service = platform.deploy(v1)
    secrets = [value.encode() for value in access.restriction.secret_values()]
    with platform.load(service, rps=200) as traffic:
        log = platform.prediction_log(service)
        rollout = service.canary(v2, steps=(50, 100), slo=SLO(errors=0.02, slower_than_ms=1000, slow=0.2))
        arguments = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _has(path, secrets)]
        log.flush()
    platform.promote(v2, "champion")
    files = [path for path in platform.run.folder.rglob("*") if path.is_file()]
    leaks = [str(path) for path in files if path.stat().st_mode & 0o077 and _has(path, secrets)]
    told = (platform.run.record.model_dump_json() + page(platform.run.record)).encode()

    assert (rollout.outcome, traffic.ledger.unexplained) == (Outcome.PROMOTED, 0)
    assert traffic.ledger.lost == 0
    assert len(files) > 10
    assert (leaks, arguments) == ([], [])
    assert not [secret for secret in secrets if secret in told]
    assert any(_has(path, secrets) for path in files)  # the gateway's configuration, which nobody else reads


def _has(path: Path, secrets: list[bytes]) -> bool:
    try:
        content = path.read_bytes()
    except OSError:  # a process that has ended meanwhile
        return False
    return any(secret in content for secret in secrets)
