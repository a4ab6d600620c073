"""An object in words, as `kubectl describe` has it: what it is, its states, conditions and events, then all of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.backends.kubernetes.diagnostics.masked import masked
from harness.backends.kubernetes.diagnostics.snapshot import (
    Object,
    conditions,
    container_statuses,
    happened_at,
    last_at,
    name_of,
    namespace_of,
    seconds,
    spec_of,
    times,
)

MOST_EVENTS = 50  # of one object


def describe(found: Object, events: Sequence[Object] = ()) -> str:
    """The object and the events about it, without secrets."""
    import yaml

    clean = masked(found)
    parts = [
        "\n".join(_head(clean)),
        section("Containers", _containers(clean)),
        section("Conditions", _conditions(clean)),
        section("Events", event_lines(events[-MOST_EVENTS:])),
        section("Object", yaml.safe_dump(clean, sort_keys=False, allow_unicode=True, width=120).splitlines()),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def event_lines(events: Iterable[Object]) -> Iterator[str]:
    """Events in their order, one a line."""
    for event in events:
        about = event.get("involvedObject") or {}
        often = f" ({times(event)} times until {clock(last_at(event))})" if times(event) > 1 else ""
        message = " ".join(str(masked({"message": event.get("message", "")})["message"]).split())
        what = f"{about.get('kind')}/{about.get('name')}"
        at, sort = clock(happened_at(event)), f"{event.get('type', ''):<7}"
        yield f"{at}  {sort}  {event.get('reason')}  {what}: {message}{often}"


def section(title: str, lines: Iterable[str]) -> str:
    """A titled block; "" without lines."""
    indented = [f"  {line}" for line in lines]
    return "\n".join([f"{title}:", *indented]) if indented else ""


def clock(at: float) -> str:
    """A time of day in UTC, as the cluster tells it."""
    return time.strftime("%H:%M:%SZ", time.gmtime(at)) if at else "?"


def _head(found: dict[str, Any]) -> Iterator[str]:
    metadata = found.get("metadata", {})
    yield f"{found.get('kind')}  {'/'.join(filter(None, (namespace_of(found), name_of(found))))}"
    yield f"Created:  {metadata.get('creationTimestamp', '?')}"
    if metadata.get("deletionTimestamp"):
        yield f"Ending:   since {metadata['deletionTimestamp']}"
    for owner in metadata.get("ownerReferences") or ():
        yield f"Owner:    {owner.get('kind')}/{owner.get('name')}"
    if node := found.get("spec", {}).get("nodeName"):
        yield f"Node:     {node}"
    if phase := found.get("status", {}).get("phase"):
        words = (found["status"].get("reason"), found["status"].get("message"))
        yield f"Phase:    {' '.join(filter(None, (phase, *words)))}"


def _containers(pod: dict[str, Any]) -> Iterator[str]:
    if pod.get("kind") != "Pod":
        return
    for status in container_statuses(pod):
        spec = spec_of(pod, str(status.get("name")))
        ready = "ready" if status.get("ready") else "not ready"
        yield f"{status.get('name')}: {ready}, {status.get('restartCount', 0)} restarts, image {status.get('image')}"
        for which in ("state", "lastState"):
            for state, told in (status.get(which) or {}).items():
                yield f"  {'last ' if which == 'lastState' else ''}{state_words(state, told)}"
        for bound, amounts in (spec.get("resources") or {}).items():
            if bound in ("requests", "limits"):
                yield f"  {bound}: {', '.join(f'{name} {amount}' for name, amount in amounts.items())}"


def state_words(state: str, told: Object) -> str:
    """A container's state: "terminated OOMKilled, exit code 137, 12:00:01Z to 12:00:04Z"."""
    words = [" ".join(filter(None, (state, told.get("reason"))))]
    if "exitCode" in told:
        words.append(f"exit code {told['exitCode']}")
    if told.get("startedAt"):
        until = f" to {clock(seconds(told['finishedAt']))}" if told.get("finishedAt") else ""
        words.append(f"{'since ' if not until else ''}{clock(seconds(told['startedAt']))}{until}")
    if told.get("message"):
        words.append(" ".join(str(told["message"]).split()))
    return ", ".join(words)


def _conditions(found: dict[str, Any]) -> Iterator[str]:
    status = found.get("status", {})
    yield from map(_condition, conditions(found))
    for canary in status.get("canaryStatuses") or ():
        told = " ".join(filter(None, (canary.get("reason"), canary.get("message"))))
        yield f"canary {canary.get('name')}: {'ready' if canary.get('ready') else 'not ready'} {told}".rstrip()
    for parent in status.get("parents") or ():
        gateway = (parent.get("parentRef") or {}).get("name")
        yield from (f"at Gateway {gateway}: {_condition(each)}" for each in parent.get("conditions") or ())
    for listener in status.get("listeners") or ():
        yield from (f"listener {listener.get('name')}: {_condition(each)}" for each in listener.get("conditions") or ())


def _condition(told: Object) -> str:
    words = " ".join(filter(None, (told.get("reason"), " ".join(str(told.get("message") or "").split()))))
    since = clock(seconds(told.get("lastTransitionTime")))
    return f"{told.get('type')}={told.get('status')} since {since} {words}".rstrip()
