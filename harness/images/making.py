"""What a kind of the catalogue is asked to do, and the tools that it gets to do it with."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import PlatformError
from harness.images.catalogue import Catalogue, Item
from harness.runtime.process import Child, ending, launch, tail

LABEL = "rehearsal.dev/digest"
"""The label of every image that is made here; its value is the key of the image, so Docker itself is the cache."""
_LOOKS_EVERY_S = 2.0


class Commands:
    """Runs the programs of one build, each with its output in a log; `stop` ends all that run, and lets none start."""

    def __init__(self) -> None:
        self._running: set[Child] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout_s: float,
        watch: Callable[[Path], None] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        """Run to its end; PlatformError with the log's last lines if it fails or takes longer than `timeout_s`."""
        name = Path(argv[0]).name
        with self._lock:
            if self._stopped:
                raise PlatformError(f"{name}: stopped before it began.")
            child = launch(name, argv, log=log, env={**(os.environ if env is None else env)}, cwd=cwd, stdin=stdin)
            self._running.add(child)
        try:
            code = _wait_for(child, timeout_s, watch)
        finally:
            child.stop()
            with self._lock:
                self._running.discard(child)
        if code != 0:
            took_too_long = f"took longer than {timeout_s:.0f} s" if code is None else ending(code)
            raise PlatformError(f"{' '.join(argv[:2])} {took_too_long}: {tail(log, 8)}", hint=f"the whole log: {log}")

    def stop(self) -> None:
        """End what runs; what is asked for later fails."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            child.stop(grace_s=1.0)


@dataclass(frozen=True)
class Making:
    """One item that is being made.

    `folder` is empty: a module, bundle or part fills it, and it becomes the cached one; for an image it is scratch, and
    the image must be in Docker under `item.name`, with the label LABEL=`key`, when `make` returns.
    """

    item: Item
    key: str
    folder: Path
    catalogue: Catalogue
    parts: Mapping[str, Path]
    log: Path
    say: Callable[[str], None]
    commands: Commands = field(repr=False)

    def part(self, need: str) -> Path:
        """The cached folder of an item that this one needs (an id, as "module/kubernetes")."""
        return self.parts[need]

    def binary(self, source: str) -> Path:
        """The file of "module/program"."""
        module, _, program = source.partition("/")
        return self.part(f"module/{module}") / "bin" / program

    def run(
        self,
        *argv: str,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        watch: Callable[[Path], None] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        """Run a program to its end, with its output in the item's log."""
        self.commands.run(argv, log=self.log, env=env, cwd=cwd, timeout_s=timeout_s, watch=watch, stdin=stdin)

    def scratch(self) -> Path:
        """An empty folder that goes when the item is made."""
        folder = self.folder / ".scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


@dataclass(frozen=True)
class Kind:
    """How items of one kind are made.

    `inputs` are texts: everything, besides the entry itself and what it needs, that changes what is made (digests of
    files, versions of tools); it must be quick (< 0.1 s) and must not need Docker or the network. `require` raises what
    this machine lacks to make the item, before anything is made.
    """

    inputs: Callable[[Item, Catalogue], list[str]]
    make: Callable[[Making], None]
    require: Callable[[Item, Catalogue], None] = lambda item, catalogue: None


def _wait_for(child: Child, timeout_s: float, watch: Callable[[Path], None] | None) -> int | None:
    left = timeout_s
    while left > 0:
        code = child.wait(min(_LOOKS_EVERY_S, left))
        if code is not None:
            return code
        left -= _LOOKS_EVERY_S
        if watch is not None:
            watch(child.log)
    return None
