"""Gets what is missing of the catalogue: pulls what a registry has, and makes the rest, in parallel along the graph."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.errors import PlatformError, UsageError
from harness.images import cache, docker, engine
from harness.images.catalogue import Catalogue, Item
from harness.images.graph import How, keys, ready, to_make
from harness.images.kinds import KINDS
from harness.images.leftovers import collect, prune
from harness.images.making import Commands, Making
from harness.runtime.events import Event, Listener
from harness.runtime.space import free_mb

_PULL_TIMEOUT_S = 900
_MB_PER_MODULE = 1200
"""Module cache, build cache and binaries of one wrapper module, as measured over all of them (14 GB)."""
_MB_PER_IMAGE = 400


class Source(StrEnum):
    """Where upstream images come from: a registry if one answers, always one, or never."""

    AUTO = "auto"
    PULL = "pull"
    BUILD = "build"


@dataclass(frozen=True)
class State:
    """How one item is had here: its key, bytes, and the seconds that getting it took (None: not known)."""

    item: Item
    how: How
    key: str
    size: int = 0
    seconds: float | None = None
    folder: Path | None = None


def item_keys(catalogue: Catalogue, ids: Iterable[str]) -> dict[str, str]:
    """The keys of these items and of all that they need, from the sources as they are now."""
    return keys(catalogue.items, ids, lambda item: KINDS[item.kind].inputs(item, catalogue))


def survey(catalogue: Catalogue, ids: Sequence[str]) -> dict[str, State]:
    """How each of these items is had; Docker is asked once, and only if there is an image among them."""
    found = item_keys(catalogue, ids)
    items = [catalogue.items[identity] for identity in ids]
    images = docker.present([item.name for item in items if item.is_image])
    return {item.id: _state(item, found[item.id], images.get(item.name)) for item in items}


def _state(item: Item, key: str, image: docker.Present | None) -> State:
    if not item.is_image:
        made = cache.look_up(item.id, key)
        return (
            State(item, How.BUILT, key, made.size, made.seconds, made.folder) if made else State(item, How.MISSING, key)
        )
    if image is None or (image.key is None and not item.upstream) or (image.key is not None and image.key != key):
        return State(item, How.MISSING, key)
    how = How.PULLED if image.key is None else How.BUILT
    notes = cache.look_up(item.id, key if how is How.BUILT else How.PULLED)
    return State(item, how, key, image.size, notes.seconds if notes else None)


class Builder:
    """One build: `get` brings all wanted items here, or raises the first error with everything else stopped."""

    def __init__(self, catalogue: Catalogue, source: Source, listener: Listener) -> None:
        self._catalogue = catalogue
        self._source = source
        self._listener = listener
        self._commands = Commands()
        self._folders: dict[str, Path] = {}

    def get(self, wanted: Sequence[str]) -> dict[str, State]:
        """The state of each wanted item, all of them there; what was there already costs a look."""
        items = self._catalogue.items
        with cache.locked(lambda: self._say("progress", "lock", "waiting for another build to end")):
            states = self._look(wanted)
            self._folders = {state.item.id: state.folder for state in states.values() if state.folder}
            there = self._there(states)
            there |= self._pull([items[identity] for identity in wanted if identity not in there])
            left = to_make(items, wanted, there)
            self._require(left)
            images = any(items[identity].is_image for identity in left)
            if images:
                collect()
            self._in_parallel(left, {identity: state.key for identity, state in states.items()})
            if images:
                self._prune()
            return survey(self._catalogue, wanted)

    def _prune(self) -> None:
        try:
            prune()
        except PlatformError as error:  # such as another one's prune that runs: the images are there all the same
            self._say("progress", "prune", error.message)

    def missing(self, wanted: Sequence[str]) -> list[str]:
        """The ids of what `get` would make if no registry answered; raises what this machine lacks for that."""
        left = to_make(self._catalogue.items, wanted, self._there(self._look(wanted)))
        self._require(left)
        return left

    def _look(self, wanted: Sequence[str]) -> dict[str, State]:
        """How all of these and all that they need are had."""
        if any(self._catalogue.items[identity].is_image for identity in wanted):
            engine.probe()
        return survey(self._catalogue, list(item_keys(self._catalogue, wanted)))

    def _there(self, states: Mapping[str, State]) -> set[str]:
        """The ids of what may stay as it is."""
        unfit = {How.MISSING, How.PULLED} if self._source is Source.BUILD else {How.MISSING}
        return {identity for identity, state in states.items() if state.how not in unfit}

    def _pull(self, missing: Sequence[Item]) -> set[str]:
        """Pull the upstream images among these whose registry answers; the ids of those that came."""
        images = [item for item in missing if item.is_image and item.upstream]
        if not images or self._source is Source.BUILD:
            return set()
        if self._source is Source.AUTO:
            up = docker.answering(docker.registry_of(item.name) for item in images)
            images = [item for item in images if docker.registry_of(item.name) in up]
        with ThreadPoolExecutor(max_workers=3) as executor:
            try:
                came = list(executor.map(self._pull_one, images))
            except BaseException:
                self._commands.stop()
                raise
        return {item.id for item, here in zip(images, came, strict=True) if here}

    def _pull_one(self, item: Item) -> bool:
        def pull(_: Path) -> None:
            _log(item).unlink(missing_ok=True)
            argv = ["docker", "pull", "--quiet", item.name]
            self._commands.run(argv, log=_log(item), timeout_s=_PULL_TIMEOUT_S)

        try:
            with self._step(item, "pulled"):
                cache.keep(item.id, How.PULLED, pull, how=How.PULLED)
        except PlatformError as error:
            if self._source is Source.PULL:
                *_, reason = _log(item).read_text(encoding="utf-8").splitlines() or [error.message]
                raise UsageError(
                    f"images: {item.name} cannot be pulled: {reason}.", hint="without --pull it is built here."
                ) from error
            return False
        return True

    def _in_parallel(self, left: Sequence[str], keys_of: Mapping[str, str]) -> None:
        unfinished, waiting = set(left), list(left)
        running: dict[Future[None], str] = {}
        workers = 1 + (os.cpu_count() or 1)  # one of them mostly waits for a download or for Docker
        with ThreadPoolExecutor(max_workers=workers) as executor:
            try:
                while unfinished:
                    for identity in ready(self._catalogue.items, waiting, unfinished)[: workers - len(running)]:
                        waiting.remove(identity)
                        running[executor.submit(self._make, identity, keys_of[identity])] = identity
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        unfinished.discard(running.pop(future))
                        future.result()
            except BaseException:
                self._commands.stop()
                raise

    def _make(self, identity: str, key: str) -> None:
        item = self._catalogue.items[identity]

        def fill(folder: Path) -> None:
            KINDS[item.kind].make(self._making(item, key, folder))
            if item.is_image:  # it is in Docker now
                shutil.rmtree(folder)
                folder.mkdir()

        _log(item).unlink(missing_ok=True)
        with self._step(item, ""):
            self._folders[identity] = cache.keep(identity, key, fill).folder

    def _making(self, item: Item, key: str, folder: Path) -> Making:
        parts = {need: self._folders[need] for need in item.needs if need in self._folders}
        return Making(
            item, key, folder, self._catalogue, parts, _log(item),
            say=lambda detail: self._say("progress", item.id, detail), commands=self._commands,
        )  # fmt: skip

    def _require(self, left: Sequence[str]) -> None:
        """Refuse before half an hour of work what could not end: the tools of each, then the room for all of it."""
        items = [self._catalogue.items[identity] for identity in left]
        for item in items:
            KINDS[item.kind].require(item, self._catalogue)
        images = sum(item.is_image for item in items)
        if images:
            engine.require_room(engine.probe(), memory_gib=0, disk_gib=images * _MB_PER_IMAGE / 1000)
        modules = sum(item.section == "module" for item in items)
        needed = modules * _MB_PER_MODULE + (len(items) - modules - images) * _MB_PER_IMAGE
        if (free := free_mb(cache.home())) < needed:
            raise UsageError(
                f"images: {cache.home()} has {free / 1000:.1f} GB free; building needs {needed / 1000:.1f} GB.",
                hint="free some space, or name another folder with REHEARSAL_CACHE.",
            )

    @contextlib.contextmanager
    def _step(self, item: Item, done: str) -> Iterator[None]:
        began = time.monotonic()
        self._say("started", item.id, "")
        try:
            yield
        except BaseException:
            self._say("failed", item.id, f"the log: {_log(item)}", time.monotonic() - began)
            raise
        self._say("passed", item.id, done, time.monotonic() - began)

    def _say(self, verb: str, identity: str, detail: str, duration_s: float = 0.0) -> None:
        data = {"name": identity, "title": identity, "detail": detail, "duration_s": duration_s}
        self._listener(Event(time.time(), f"step.{verb}", identity, detail, "info", data))


def _log(item: Item) -> Path:
    return cache.home() / "logs" / f"{cache.file_name(item.id)}.log"
