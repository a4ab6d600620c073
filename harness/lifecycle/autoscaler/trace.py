"""What an autoscaler did, look by look, and its reaction times; the same for a measured run and a predicted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """One moment: seconds since the load began, the metric as the autoscaler sees it (None: none yet), the counts."""

    at_s: float
    metric: float | None
    desired: int
    ready: int


@dataclass(frozen=True)
class Reactions:
    """Seconds from the begin of the load (`back_s`: from its end) until something was so; None: it never was.

    metric_s: the metric was seen above its target; decided_s: more replicas were asked for; first_s: one more was
    ready; ready_s: as many as were ever asked for were ready, `peak` of them; back_s: down to the least again.
    """

    metric_s: float | None
    decided_s: float | None
    first_s: float | None
    ready_s: float | None
    back_s: float | None
    peak: int


def reactions(looks: Sequence[Look], *, above: float, least: int, ended_s: float) -> Reactions:
    """The reaction times of a trace whose load ended at `ended_s`; `above`: what the metric must pass to count."""
    loaded = [look for look in looks if look.at_s >= 0]
    peak = max((look.desired for look in loaded), default=least)
    risen = [look for look in loaded if look.at_s >= ended_s] if peak > least else []
    return Reactions(
        metric_s=_first(loaded, lambda look: look.metric is not None and look.metric > above),
        decided_s=_first(loaded, lambda look: look.desired > least),
        first_s=_first(loaded, lambda look: look.ready > least),
        ready_s=_first(loaded, lambda look: look.ready >= peak > least),
        back_s=_first(risen, lambda look: look.desired <= least and look.ready <= least, since=ended_s),
        peak=peak,
    )


def _first(looks: Sequence[Look], matches: Callable[[Look], bool], since: float = 0.0) -> float | None:
    return next((look.at_s - since for look in looks if matches(look)), None)
