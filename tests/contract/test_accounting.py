"""Every request of a load is accounted for, or the block that the load ran in fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import Platform
from harness.errors import LoadFailed
from harness.lifecycle.dataset import Dataset
from harness.load.generator import Load


def test_an_unexplained_request_fails_the_block_and_not_only_the_main_job(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """The gateway's log has a request that the load did not send; what the block itself raises comes first."""
    model = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(model)
    unexplained = pytest.raises(LoadFailed, match=r"1 of .* requests are unexplained: .*999999")
    with unexplained, platform.load(service, rps=100) as load:
        _add_a_line(platform, load)
    broken = pytest.raises(NotADirectoryError)
    with broken, platform.load(service, rps=100) as load:
        Path(_add_a_line(platform, load), "a log is no folder").read_text()
    assert [load.unexplained for load in platform.run.record.loads] == [1, 1]


def _add_a_line(platform: Platform, load: Load) -> Path:
    with platform.backend.access_log.open("a") as log:
        log.write(json.dumps({"id": f"{load.load_id}-999999", "code": 200, "revision": "v1"}) + "\n")
    return platform.backend.access_log
