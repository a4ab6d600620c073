"""Work in a thread while a block lasts."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from harness.errors import RehearsalError


class Background(ABC):
    """A context manager: `run` goes on in a thread until `stopped` is set, which the block's end does and waits for.

    A RehearsalError that ends `run` before is kept in `error`, and raised at the block's end unless that fails itself.
    """

    def __init__(self, name: str) -> None:
        self.error: RehearsalError | None = None
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    @abstractmethod
    def run(self) -> None:
        """Do it; ends soon after `stopped` is set."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._thread.join()
        if self.error is not None and error is None:
            raise self.error

    def _guarded(self) -> None:
        try:
            self.run()
        except RehearsalError as error:
            self.error = error
