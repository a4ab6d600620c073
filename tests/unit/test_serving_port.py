"""A rollout's hands on a service, and what a rollout that goes on from a state may not do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness._rollout_files import RolloutFiles, the_only_rollout
from harness._serving_port import DocumentPort
from harness.backends.inference_service import InferenceService, Logger
from harness.errors import UsageError
from harness.lifecycle.rollout import Canary, Phase, Policy, Shadow, State
from harness.service import Service, inference_service

V1, V2, V3 = (cast("Any", SimpleNamespace(version=number, uri=f"file:///models/{number}")) for number in (1, 2, 3))
BEFORE = inference_service(V1, name="model", namespace="production", replicas=1)
COPIES = Shadow(promote=True)


@dataclass
class Platform:
    """A backend that takes every document, and a collector that hears nothing."""

    gateway_url: str = "http://127.0.0.1:9/"
    url: str = "http://127.0.0.1:9/answers"
    restriction: None = None
    applied: list[InferenceService] = field(default_factory=list)

    def apply(self, document: InferenceService) -> None:
        self.applied.append(document)

    def wait_ready(self, *_: object) -> None:
        """All is ready at once."""

    def collect_answers(self, *_: object, **__: object) -> Platform:
        return self

    def close(self) -> None:
        """Nothing to stop."""


def service(platform: Platform, document: InferenceService, folder: Path = Path()) -> Service:
    run = SimpleNamespace(folder=folder, events=SimpleNamespace(emit=lambda *_, **__: None))
    return Service(cast("Any", platform), cast("Any", run), document)


def port(policy: Policy, document: InferenceService, platform: Platform, **kw: Any) -> DocumentPort:
    backend = cast("Any", platform)
    return DocumentPort(service(platform, document), backend, policy, revision="v2", uri=V2.uri, **kw)


def test_a_promotion_leaves_no_logger_though_another_process_had_started_it() -> None:
    """The process that goes on with the promotion has no collector, and the loggers would tell nobody."""
    platform = Platform()
    first = port(COPIES, BEFORE, platform)
    first.start_canary()
    assert platform.applied[-1].spec.predictor.logger is not None
    port(COPIES, platform.applied[-1], platform, before=BEFORE, resumed=True).promote()
    assert platform.applied[-1].spec.predictor.name == "v2"
    assert platform.applied[-1].spec.predictor.logger is None


def test_a_promotion_gives_a_service_its_own_logger_back() -> None:
    """A payload logger that was there before the rollout is there after it."""
    own = Logger(mode="all", url="http://payloads.example/")
    before, platform = BEFORE.with_logger(own.url, own.mode), Platform()
    serving = port(COPIES, before, platform)
    serving.start_canary()
    serving.mirror(100)
    serving.promote()
    assert platform.applied[-1].spec.predictor.logger == own


def test_a_roll_back_that_is_done_again_does_not_trust_what_the_service_seems_to_be() -> None:
    """After a crash nothing is known to be in effect; in the process that knows, it is not applied twice."""
    again, known = Platform(), Platform()
    port(Canary(), BEFORE, again, before=BEFORE, resumed=True).roll_back()
    port(Canary(), BEFORE, known).roll_back()
    assert (again.applied, known.applied) == ([BEFORE], [])


def test_the_evidence_of_one_canary_is_not_taken_for_another(tmp_path: Path) -> None:
    """A state in which v2 is as good as promoted must not promote v3, nor v2 on another service."""
    files = RolloutFiles.new(tmp_path, BEFORE.to_dict())
    files.save(State(Canary(), 0.0, names=("v1", "v2"), phase=Phase.PROMOTING))
    platform = Platform()
    with pytest.raises(UsageError, match=r"the rollout of v2 on production/model, which .* v3 on production/model"):
        service(platform, BEFORE, tmp_path).roll_out(V3, Canary(), resume=files.path)
    other = inference_service(V1, name="other", namespace="production", replicas=1)
    with pytest.raises(UsageError, match=r"v2 on production/other"):
        service(platform, other, tmp_path).roll_out(V2, Canary(), resume=files.path)
    assert platform.applied == []
    assert files.load().phase is Phase.PROMOTING


def test_a_state_is_read_when_no_other_rollout_can_change_it(tmp_path: Path) -> None:
    """A rollout that was under way when it was read, and ended before its lock was had, would begin again."""
    files = RolloutFiles(tmp_path / "rollouts/1.json")
    with the_only_rollout(tmp_path, "production/model"), pytest.raises(UsageError, match="a rollout is under way"):
        service(Platform(), BEFORE, tmp_path).roll_out(V2, Canary(), resume=files.path)


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"policy": {"kind": "canary"}}'])
def test_a_state_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    """So is a plan that is gone."""
    files = RolloutFiles(tmp_path / "1.json")
    files.path.write_text(text, encoding="utf-8")
    for read in (files.load, files.before):
        with pytest.raises(UsageError) as caught:
            read()
        assert "\n" not in str(caught.value)
