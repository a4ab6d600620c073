"""The join of the generator's records with the gateway's access log: every request in exactly one class.

answered:<revision>            the revision that both the client and the gateway name answered, with whatever status;
                               the client's word alone if the gateway died before it had written its line
refused:<flag>                 the gateway answered by itself; <flag> is Envoy's response flag, or else the status
gave up:<revision>:<what>      the client stopped waiting; <what> the gateway saw: its flag, or the status it got
lost:gateway died              the request was under way when the gateway died, and nobody knows how far it had come
never sent:<why>               nothing left the client
unexplained                    the two sides do not fit; the column `why` and the examples say how

Of a target whose log is not at hand there are `answered:<revision or target>`, `failed:<how>` and `never sent:<why>`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.load.blocks import Block
from harness.load.records import NEVER_SENT, Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

INFORMS = {"DI"}  # flags that Envoy sets on answers that are not its own: a delay was injected
UNEXPLAINED = "unexplained"
ANSWERED = "answered:"
LOST = "lost:gateway died"
# A death is noticed a moment after its sockets have closed, and Envoy writes its log out every 0.1 s.
AROUND_DEATH_US = 1_000_000
_NO_RECORD = "the gateway has no record of it"


class Entry(NamedTuple):
    """What the gateway says of one request; `flags` is empty unless it answered by itself, and says why it did."""

    code: int
    flags: str
    revision: str


class Case(NamedTuple):
    """All that the class of a request depends on.

    `copied`: a mirrored copy of it reached the gateway. `died`: the gateway died while it was under way, or before its
    line of an answer was surely written.
    """

    status: int
    revision: str
    error: Failure
    entry: Entry | None
    copied: bool = False
    died: bool = False


@dataclass(frozen=True)
class Joined:
    """The class of each row and why it is unexplained, as numbers into lists of words; 0 is no reason."""

    classes: NDArray[Any]
    class_names: list[str]
    whys: NDArray[Any]
    why_names: list[str]


def classify_alone(case: Case) -> tuple[str, str]:
    """The class of a request to a target whose log is not at hand: the client's word, and never unexplained."""
    if case.error in NEVER_SENT:
        return f"never sent:{NEVER_SENT[case.error]}", ""
    if case.status == 0:
        return f"failed:{case.error.name.lower()}", ""
    return f"{ANSWERED}{case.revision or 'target'}", ""


def classify(case: Case) -> tuple[str, str]:
    """The class of one request, and why it is unexplained."""
    if case.error in NEVER_SENT:
        return _never_sent(case)
    if case.entry is None:
        return _not_logged(case)
    status, revision, entry = case.status, case.revision, case.entry
    if status == 0:
        return f"gave up:{entry.revision or 'no revision'}:{entry.flags or entry.code}", ""
    if entry.code != status:
        return UNEXPLAINED, f"the client got {status}, the gateway sent {entry.code}"
    if entry.flags not in INFORMS | {""} or not revision:
        return f"refused:{entry.flags or entry.code}", ""
    if entry.revision and entry.revision != revision:
        return UNEXPLAINED, f"the client was served by {revision}, the gateway says {entry.revision}"
    return f"{ANSWERED}{revision}", ""


def _never_sent(case: Case) -> tuple[str, str]:
    if case.entry is not None:
        return UNEXPLAINED, f"the client did not send it, the gateway answered {case.entry.code}"
    if case.copied:
        return UNEXPLAINED, "the client did not send it, the gateway has a mirrored copy of it"
    return f"never sent:{NEVER_SENT[case.error]}", ""


def _not_logged(case: Case) -> tuple[str, str]:
    if not case.status:
        failed = f"the client says failed ({case.error.name.lower()}), {_NO_RECORD}"
        return (LOST, "") if case.died else (UNEXPLAINED, failed)
    if not case.died:
        return UNEXPLAINED, f"the client says answered {case.status}, {_NO_RECORD}"
    return f"{ANSWERED}{case.revision}" if case.revision else f"refused:{case.status}", ""


def join(
    block: Block,
    revisions: Sequence[str],
    flags: Sequence[str],
    deaths_us: Sequence[int] = (),
    by: Callable[[Case], tuple[str, str]] = classify,
) -> Joined:
    """Classify every row of a block of known requests; `deaths_us`: when the gateway died, from the load's origin.

    Requests that differ only in when they were sent have one class, so each distinct case is classified once.
    """
    import numpy as np

    records, entries, copies = block.records, block.entries, block.copies
    fields = (
        (records["status"], 16), (records["revision"], 8), (records["error"], 3), (entries["mark"] > 0, 1),
        (entries["code"], 16), (entries["flags"], 8), (entries["revision"], 8), (copies["mark"] > 0, 1),
        (around_death(records, deaths_us), 1),
    )  # fmt: skip
    keys = np.zeros(len(records), np.uint64)
    for values, bits in fields:
        keys = (keys << np.uint64(bits)) | values.astype(np.uint64)
    _, examples, which = np.unique(keys, return_index=True, return_inverse=True)
    found = [by(_case([values[row] for values, _ in fields], revisions, flags)) for row in examples]
    class_names = sorted({name for name, _ in found})
    why_names = ["", *sorted({why for _, why in found} - {""})]
    classes = np.array([class_names.index(name) for name, _ in found], np.int32)
    whys = np.array([why_names.index(why) for _, why in found], np.int32)
    return Joined(classes[which], class_names, whys[which], why_names)


def around_death(records: NDArray[Any], deaths_us: Sequence[int]) -> NDArray[Any]:
    """Whether the gateway died while a request was under way; an answer counts only around its end."""
    import numpy as np

    ended = records["intended_us"] + records["latency_us"]
    began = np.where(records["status"] > 0, ended, records["sent_us"])
    met = np.zeros(len(records), bool)
    for death in deaths_us:
        met |= (began <= death + AROUND_DEATH_US) & (ended >= death - AROUND_DEATH_US)
    return met


def _case(values: Sequence[Any], revisions: Sequence[str], flags: Sequence[str]) -> Case:
    status, revision, error, logged, code, flag, by, copied, died = values
    entry = Entry(int(code), flags[flag], revisions[by]) if logged else None
    return Case(int(status), revisions[revision], Failure(error), entry, bool(copied), bool(died))
