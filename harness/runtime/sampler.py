"""A thread that looks at something again and again, for as long as a `with` lasts."""

from __future__ import annotations

from abc import abstractmethod

from harness.runtime.background import Background


class Sampler(Background):
    """Calls `take` at once and then every `every_s` seconds, in a thread of this name, until it is left."""

    def __init__(self, name: str, every_s: float) -> None:
        super().__init__(name)
        self._every_s = every_s

    @abstractmethod
    def take(self) -> None:
        """Look once."""

    def run(self) -> None:
        self.take()
        while not self.stopped.wait(self._every_s):
            self.take()
