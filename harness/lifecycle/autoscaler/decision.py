"""One look of the autoscaler: `decide(spec, observed, history, now)`; what it has to remember is in the history.

The largest proposal counts; windows of recommendations hold it still, policies limit how fast it is followed. Source:
Kubernetes documentation, "Configurable scaling behavior", and horizontal.go of Kubernetes 1.34, for a spec with
`behavior`, as KServe writes it, and for one without. Its tolerances by direction are an alpha feature, which is off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.lifecycle.autoscaler.proposal import Proposal, propose
from harness.lifecycle.autoscaler.spec import AutoscalerSpec, Observed, Policy, PolicyKind, Rules, Select

_Timed = tuple[float, int]  # when, how many


@dataclass(frozen=True)
class History:
    """What earlier looks leave behind: recommendations and changes that a window or a policy still counts."""

    recommendations: tuple[_Timed, ...] = ()
    added: tuple[_Timed, ...] = ()
    removed: tuple[_Timed, ...] = ()


@dataclass(frozen=True)
class Decision:
    """How many replicas there should be, why, and the history for the next look."""

    replicas: int
    reason: str
    proposals: tuple[Proposal, ...]
    history: History


def decide(spec: AutoscalerSpec, observed: Observed, history: History, now: float) -> Decision:
    """What the autoscaler does at `now`, in seconds of any clock that is also that of the samples."""
    current = observed.current
    history = history if history.recommendations else History(((now, current),))
    if current == 0 and spec.least > 0:
        return Decision(0, "scaling is disabled: the replica count is zero", (), history)
    if not spec.least <= current <= spec.most:
        bound = "above maxReplicas" if current > spec.most else "below minReplicas"
        wanted = min(max(current, spec.least), spec.most)
        return Decision(wanted, f"{bound}", (), _noted(spec, history, current, wanted, now))
    proposals = tuple(propose(target, observed, spec, now) for target in spec.targets)
    said = [proposal for proposal in proposals if proposal.replicas is not None]
    asked = max((proposal.replicas or 0 for proposal in said), default=current)
    if not said or (len(said) < len(proposals) and asked < current):
        silent = next(proposal for proposal in proposals if proposal.replicas is None)
        return Decision(current, f"{silent.metric}: {silent.why}", proposals, history)
    steady = _stabilised(spec, history, current, asked, now)
    remembered = _remember(spec, history, asked, now)
    wanted, limit = _limited(spec, history, current, steady, now)
    reason = limit or _reason(current, asked, steady, said)
    return Decision(wanted, reason, proposals, _noted(spec, remembered, current, wanted, now))


def woken(history: History, now: float) -> History:
    """The history of a revision that had no replica and gets its first one, because somebody waits for it."""
    return History((*history.recommendations, (now, 1)), (*history.added, (now, 1)), history.removed)


def _stabilised(spec: AutoscalerSpec, history: History, current: int, asked: int, now: float) -> int:
    """Up only as far as the lowest recommendation of its window, down only as far as the highest of its own."""
    if not spec.behavior:
        return max([asked, *(n for at, n in history.recommendations if at >= now - spec.down.stabilisation_s)])
    up = min([asked, *(n for at, n in history.recommendations if at > now - spec.up.stabilisation_s)])
    down = max([asked, *(n for at, n in history.recommendations if at > now - spec.down.stabilisation_s)])
    return min(max(current, up), down)


def _limited(spec: AutoscalerSpec, history: History, current: int, wanted: int, now: float) -> tuple[int, str]:
    """The replicas within bounds and policies, and which of them cut in."""
    if not spec.behavior:
        return _within_bounds(spec, current, wanted)
    if wanted > current:
        limit = max(current, _limit(spec.up, history, current, now, sign=1))
        most, why = (limit, "ScaleUpLimit") if limit < spec.most else (spec.most, "TooManyReplicas")
        return (most, why) if wanted > most else (wanted, "")
    if wanted < current:
        limit = min(current, _limit(spec.down, history, current, now, sign=-1))
        least, why = (limit, "ScaleDownLimit") if limit > spec.least else (spec.least, "TooFewReplicas")
        return (least, why) if wanted < least else (wanted, "")
    return wanted, ""


def _within_bounds(spec: AutoscalerSpec, current: int, wanted: int) -> tuple[int, str]:
    """Without a behavior: the bounds alone, and upwards four or the double."""
    limit = max(2 * current, 4)
    most, why = (limit, "ScaleUpLimit") if limit < spec.most else (spec.most, "TooManyReplicas")
    if wanted < spec.least:
        return spec.least, "TooFewReplicas"
    return (most, why) if wanted > most else (wanted, "")


def _limit(rules: Rules, history: History, current: int, now: float, *, sign: int) -> int:
    """How far the policies of one direction let the count go."""
    if rules.select is Select.DISABLED:
        return current
    reached = [_reach(policy, history, current, now, sign) for policy in rules.policies]
    furthest = max if (rules.select is Select.MAX) == (sign > 0) else min
    return furthest(reached, default=current)


def _reach(policy: Policy, history: History, current: int, now: float, sign: int) -> int:
    """The count that one policy allows, from what there was when its period began."""
    began = current - _changed(history.added, policy, now) + _changed(history.removed, policy, now)
    if policy.kind is PolicyKind.PODS:
        return began + sign * policy.value
    share = began * (1 + sign * policy.value / 100)
    return math.ceil(share) if sign > 0 else int(share)


def _changed(changes: Sequence[_Timed], policy: Policy, now: float) -> int:
    return sum(count for at, count in changes if at > now - policy.period_s)


def _remember(spec: AutoscalerSpec, history: History, asked: int, now: float) -> History:
    """The history with what was asked for, without what no window reaches any more."""
    window = max(spec.up.stabilisation_s, spec.down.stabilisation_s)
    kept = tuple(each for each in history.recommendations if each[0] > now - window)
    return History((*kept, (now, asked)), history.added, history.removed)


def _noted(spec: AutoscalerSpec, history: History, current: int, wanted: int, now: float) -> History:
    """The history with the change that is made."""
    longest = max((policy.period_s for rules in (spec.up, spec.down) for policy in rules.policies), default=0.0)
    added, removed = (tuple(x for x in each if x[0] > now - longest) for each in (history.added, history.removed))
    if wanted > current:
        added = (*added, (now, wanted - current))
    elif wanted < current:
        removed = (*removed, (now, current - wanted))
    return History(history.recommendations, added, removed)


def _reason(current: int, asked: int, steady: int, said: Sequence[Proposal]) -> str:
    if steady != asked:
        return "ScaleUpStabilized" if asked >= current else "ScaleDownStabilized"
    if asked > current:
        highest = max(said, key=lambda proposal: proposal.replicas or 0)
        return f"{highest.metric} above target"
    return "all metrics below target" if asked < current else "within tolerance"
