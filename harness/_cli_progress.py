"""The progress display: listens to a run's step events, and prints one line a step with its time."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from harness.runtime.events import Event

_MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}
_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


class Progress(AbstractContextManager["Progress"]):
    """An event listener; on a terminal the running steps are shown live, elsewhere a line says that a step began.

    Understands "step.started", "step.progress", "step.passed|failed|skipped" with data {name, title, duration_s,
    detail}, and prints warnings and errors of any kind. Thread-safe.
    """

    def __init__(self, screen: TextIO) -> None:
        self._screen = screen
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._titles: dict[str, str] = {}
        self._running: dict[str, str] = {}
        self._live: _Live | None = _Live(screen) if screen.isatty() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.show("")

    def __call__(self, event: Event) -> None:
        room, _, verb = event.kind.partition(".")
        with self._lock:
            if room == "step":
                self._step(verb, event.subject, event.data, event.message)
            elif event.level in ("warning", "error"):
                first, *_ = event.message.splitlines() or [""]  # a log's tail, if there is one, is in events.jsonl
                self._line(event.level, first, style=_STYLES["skipped"])

    def _step(self, verb: str, subject: str, data: dict[str, Any], message: str) -> None:
        name = str(data.get("name", subject))
        title = self._titles.setdefault(name, str(data.get("title", name)))
        detail = str(data.get("detail", "") or ("" if message == title else message))
        if verb == "started":
            self._running[name] = title
            if not self._live:
                self._line("...", title)
        elif verb == "progress":
            self._running[name] = f"{title}: {detail}"
        elif verb in _MARKS:
            self._running.pop(name, None)
            took = f"{float(data.get('duration_s', 0.0)):.1f} s"
            self._line(_MARKS[verb], f"{took:>6}  {title}", style=_STYLES[verb])
            for line in detail.splitlines()[:1]:  # the log's tail, if there is one, is in the report
                self._line("", f"{'':>6}  {line}")
        if self._live:
            self._live.show("; ".join(self._running.values()))

    def _line(self, mark: str, text: str, style: str = "") -> None:
        at = f"{time.monotonic() - self._began:6.1f}" if mark else f"{'':6}"
        if self._live:
            self._live.line(f"{at}  {mark:<8}", text, style)
        else:
            print(f"{at}  {mark:<8}{text}", file=self._screen, flush=True)


class _Live:
    """A terminal: finished lines scroll, and one line below them is redrawn."""

    def __init__(self, screen: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=screen, highlight=False)
        self._status = self._console.status("", refresh_per_second=4)

    def show(self, text: str) -> None:
        if text:
            self._status.update(_escaped(text[: max(10, self._console.width - 6)]))
            self._status.start()
        else:
            self._status.stop()

    def line(self, mark: str, text: str, style: str) -> None:
        self._console.print(f"[{style}]{_escaped(mark)}[/]{_escaped(text)}" if style else f"{mark}{_escaped(text)}")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
