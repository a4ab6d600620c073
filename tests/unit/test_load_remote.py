"""A load stays on this machine, or with its run's own gateway, unless it is told otherwise."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.load.remote import refuse_remote


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:80", "http://127.1.2.3/v1"])
def test_this_machine_is_always_a_target(url: str) -> None:
    refuse_remote(url, allowed=False)


@pytest.mark.parametrize("url", ["http://10.0.0.1", "http://localhost.example.com", "http://gateway.prod.svc", "x"])
def test_another_target_needs_allow_remote_or_to_be_the_runs_own(url: str) -> None:
    with pytest.raises(UsageError, match="neither this machine nor a gateway of this run Hint: --allow-remote"):
        refuse_remote(url, allowed=False)
    refuse_remote(url, allowed=True)
    refuse_remote(url, allowed=False, own={url})
