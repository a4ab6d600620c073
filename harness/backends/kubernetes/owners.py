"""Whose a run in a cluster is: the machine and the process that made it, noted on what it made first."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from harness.backends.assignment import PREFIX
from harness.backends.kubernetes.here import boot_id
from harness.runtime.identity import Identity

OWNER = f"{PREFIX}owner"
"""The annotation: machine, start of its kernel, process."""


@dataclass(frozen=True)
class Owner:
    """A process of a machine, of one start of that machine's kernel."""

    host: str
    boot: str
    pid: int
    start: int

    @classmethod
    def me(cls) -> Owner:
        """This process."""
        identity = Identity.of(os.getpid())
        return cls(socket.gethostname(), boot_id(), identity.pid, identity.start)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """An owner as the annotation has it; None for anything else."""
        try:
            host, boot, process = text.split(" ")
            pid, start = process.split(":")
            return cls(host, boot, int(pid), int(start))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.host} {self.boot} {self.pid}:{self.start}"

    def dead(self) -> bool:
        """Whether it is known to be gone; of another machine's process nothing is known."""
        mine = Owner.me()
        if self.host != mine.host:
            return False
        return self.boot != mine.boot or not Identity(self.pid, self.start).alive()

    @property
    def words(self) -> str:
        """Where it is, for people."""
        return f"process {self.pid} of {self.host}"
