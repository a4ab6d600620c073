"""The annotations `rehearsal.dev/...` of an InferenceService: what they may say, and what is wrong with them.

KServe has no field for a sticky split or for mirrored traffic; annotations are where Kubernetes keeps what one
controller understands and others pass on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PREFIX = "rehearsal.dev/"
SPLIT_BY = f"{PREFIX}split-by"
MIRROR_PERCENT = f"{PREFIX}mirror-percent"
OF_CANARY = (MIRROR_PERCENT, SPLIT_BY)
"""What says how a canary gets its requests, and goes with it."""

_NAME = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_BY_USER = re.compile(rf"user ({_NAME})")
_BY_HEADER = re.compile(rf"header ({_NAME})=([!-~]+)")


@dataclass(frozen=True)
class UserSplit:
    """The weights are shares of users: `header` holds the user's id, and one user always meets one revision."""

    header: str


@dataclass(frozen=True)
class HeaderSplit:
    """Requests whose header `name` is exactly `value` go to the canary, all others to the baseline."""

    name: str
    value: str


Split = UserSplit | HeaderSplit


def split_of(annotations: Mapping[str, str]) -> Split | None:
    """How requests are assigned to revisions; None: at random, by weight."""
    text = annotations.get(SPLIT_BY, "")
    if by_user := _BY_USER.fullmatch(text):
        return UserSplit(by_user[1])
    by_header = _BY_HEADER.fullmatch(text)
    return HeaderSplit(by_header[1], by_header[2]) if by_header else None


def mirror_percent_of(annotations: Mapping[str, str]) -> int:
    """Which share of the baseline's requests is copied to the canary, in percent."""
    return int(annotations.get(MIRROR_PERCENT, "0"))


def ours(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that mean something here."""
    return {key: value for key, value in annotations.items() if key.startswith(PREFIX)}


def problems(annotations: Mapping[str, str], percents: Sequence[int]) -> Iterator[str]:
    """One line for each thing that is wrong; `percents` are the canaries' shares of the traffic."""
    for key in sorted(ours(annotations)):
        if key not in OF_CANARY:
            yield f"metadata.annotations[{key}]: not honoured here (honoured: {', '.join(OF_CANARY)})"
        elif len(percents) != 1:
            yield f"metadata.annotations[{key}]: expected exactly one canary in spec.canary, got {len(percents)}"
    if SPLIT_BY in annotations:
        yield from _split_problems(annotations, percents)
    if MIRROR_PERCENT in annotations:
        yield from _mirror_problems(annotations, percents)


def _split_problems(annotations: Mapping[str, str], percents: Sequence[int]) -> Iterator[str]:
    split = split_of(annotations)
    where = f"metadata.annotations[{SPLIT_BY}]"
    if split is None:
        form = '"user <header>" or "header <name>=<value>", names in lower case'
        yield f"{where}: expected {form}, got {annotations[SPLIT_BY]!r}"
    if isinstance(split, HeaderSplit) and any(percents):
        yield f"{where}: a header alone decides: expected spec.canary[0].trafficPercent 0, got {percents[0]}"
    if MIRROR_PERCENT in annotations:
        yield f"{where}: a canary gets copies or requests of its own: expected no {MIRROR_PERCENT} beside it"


def _mirror_problems(annotations: Mapping[str, str], percents: Sequence[int]) -> Iterator[str]:
    where, text = f"metadata.annotations[{MIRROR_PERCENT}]", annotations[MIRROR_PERCENT]
    if not re.fullmatch(r"[1-9][0-9]?|100", text):
        yield f'{where}: expected "1" to "100", got {text!r}'
    if any(percents):
        yield f"{where}: a canary with copies gets no traffic: expected trafficPercent 0, got {max(percents)}"
