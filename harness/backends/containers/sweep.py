"""Removes what a dead process of ours has left in Docker: containers, networks and volumes, found by their labels.

`python -P -m harness.backends.containers.sweep OWNER` removes what OWNER (as harness.runtime.owner has it) made, and
prints a line for each; a warden runs it after a kill -9. `gc` removes what every owner made that is known to be dead,
and database servers that were kept and are of no use to anybody.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from harness.backends.containers import stores
from harness.containers.labels import KEEPER, OWNER, STATE, STORE
from harness.errors import CapabilityMissing, PlatformError
from harness.images.engine import docker, succeeds
from harness.runtime.clock import Deadline
from harness.runtime.owner import Owner
from harness.runtime.state import is_gone
from harness.runtime.wait import wait

REMOVE_S = 60.0
LOCK_S = 20.0
EVERY_S = 0.5
AGAIN_S = 0.02
LOOKS = 3
"""So many looks in a row must find nothing: an engine that was asked for a container may still be making it."""
_KINDS = ("container", "network", "volume")  # in this order: what is in use cannot be removed


def remove(label: str, *, looks: int = 1) -> list[str]:
    """Remove everything with a label "key=value"; what it was. PlatformError if something stays."""
    removed: list[str] = []
    quiet = 0

    def nothing_left() -> bool:
        nonlocal quiet
        found = [(kind, name) for kind in _KINDS for name in _named(kind, label)]
        removed.extend(f"{kind} {name}" for kind, name in found if _removed(kind, name))
        quiet = 0 if found else quiet + 1
        return quiet >= looks

    what, every_s = f"removal of what has the label {label}", EVERY_S if looks > 1 else AGAIN_S
    wait(nothing_left, what=what, deadline=Deadline.after(REMOVE_S), every_s=every_s)
    return list(dict.fromkeys(removed))


def gc(*, kept: bool = False) -> list[str]:
    """Remove what owners have left that are known to be dead; what it was. Nothing where there is no engine to ask.

    With `kept` also the database server that was kept, never one that a living process uses. PlatformError, after all
    else is gone, for what stays.
    """
    try:
        owners = {text for kind in _KINDS for text in _owners(kind)}
        orphans = {label for state, label in _states() if is_gone(state)}
    except CapabilityMissing:
        return []
    removed, stays = [], []
    labels = [f"{OWNER}={text}" for text in sorted(owners) if _dead(text)]
    for end in [partial(remove, label) for label in (*labels, *sorted(orphans))] + [partial(_unkept, kept=kept)]:
        try:
            removed += end()
        except (PlatformError, OSError) as error:
            stays.append(str(error))
    if stays:
        raise PlatformError("; ".join(stays))
    return removed


def alone() -> list[str]:
    """The database servers that nobody uses, and that only `gc(kept=True)` removes."""
    states = [state for name in stores.names() if (state := stores.read(name)) and state.known()]
    return [f"{stores.WORDS.what} {state.name}" for state in states if not (state.living() or state.abandoned())]


def _unkept(*, kept: bool) -> list[str]:
    removed = []
    for name in stores.names():
        with stores.locked(name, Deadline.after(LOCK_S)):
            state = stores.read(name)
            if state and state.known() and not state.living() and (kept or state.abandoned()):
                removed += remove(f"{STORE}={name}")
                stores.forget(name)
    return removed


def _states() -> list[tuple[Path, str]]:
    """The state files that kept servers of dead makers say they have, and the labels of all that belongs to each."""
    form = f'{{{{.Label "{STATE}"}}}}\t{{{{.Label "{STORE}"}}}}\t{{{{.Label "{KEEPER}"}}}}'
    lines = [line.split("\t") for kind in _KINDS for line in _lines(kind, form, STATE)]
    return [(Path(state), f"{STORE}={name}") for state, name, keeper in lines if _dead(keeper)]


def _owners(kind: str) -> list[str]:
    """As the list tells them: what is removed meanwhile could not be inspected."""
    return _listed(kind, f'{{{{.Label "{OWNER}"}}}}', OWNER)


def _dead(owner: str) -> bool:
    known = Owner.parse(owner)
    return known is not None and known.dead()


def _named(kind: str, label: str) -> list[str]:
    return _listed(kind, "{{.Names}}" if kind == "container" else "{{.Name}}", label)


def _listed(kind: str, form: str, label: str) -> list[str]:
    return " ".join(_lines(kind, form, label)).split()


def _lines(kind: str, form: str, label: str) -> list[str]:
    everything = ("--all",) if kind == "container" else ()
    return docker(kind, "ls", *everything, "--format", form, "--filter", f"label={label}").splitlines()


def _removed(kind: str, name: str) -> bool:
    """Another sweep may be removing the same."""
    force = ("--force", "--volumes") if kind == "container" else ()
    return succeeds(kind, "rm", *force, name, timeout_s=REMOVE_S)


if __name__ == "__main__":
    print("\n".join(remove(f"{OWNER}={sys.argv[1]}", looks=LOOKS)))
