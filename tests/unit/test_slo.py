"""An SLO says what a model promises, and refuses what cannot be measured."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import ConfigError
from harness.lifecycle.slo import LATENCY_BUCKETS_MS, SLO


def test_every_bucket_bound_of_the_gateway_is_a_threshold() -> None:
    """The bounds grow, so that Envoy takes them, and each is accepted."""
    assert list(LATENCY_BUCKETS_MS) == sorted(set(LATENCY_BUCKETS_MS))
    assert [SLO(slower_than_ms=bound).slower_than_ms for bound in LATENCY_BUCKETS_MS] == list(LATENCY_BUCKETS_MS)


@pytest.mark.parametrize(
    ("kw", "words"),
    [
        ({"errors": 0}, "slo.errors: expected a share above 0 and below 1, such as 0.01, got 0"),
        ({"errors": 1}, "slo.errors"),
        ({"errors": 5}, "slo.errors"),
        ({"errors": float("nan")}, "slo.errors"),
        ({"errors": True}, "slo.errors"),
        ({"slow": "5%"}, "slo.slow: expected a share above 0 and below 1, such as 0.01, got '5%'"),
        ({"slower_than_ms": 60}, "no bound at 60 ms, use 50 or 75"),
        ({"slower_than_ms": 99999}, "use 5000 or 10000"),
        ({"slower_than_ms": 0}, "use 0.5 or 1"),
        ({"slower_than_ms": "fast"}, "slo.slower_than_ms"),
        ({"slower_than_ms": float("nan")}, "slo.slower_than_ms"),
        ({"slower_than_ms": True}, "slo.slower_than_ms"),
    ],
)
def test_a_wrong_field_is_one_line_that_names_it_and_what_is_allowed(kw: dict[str, Any], words: str) -> None:
    """A threshold between two bounds is answered with its neighbours."""
    with pytest.raises(ConfigError) as caught:
        SLO(**kw)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
