"""Whose something is that may outlive its maker: a process, where that process ran, and whether it is known to be dead.

What is shared between machines or containers, such as an engine or a cluster, shows what strangers made: their pids say
nothing here.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from harness.runtime.identity import Identity

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MACHINE_ID = Path("/etc/machine-id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_ID_LENGTH = 12
_UNSET = "uninitialized"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True)
class Owner:
    """A process, the namespace of its pid, the start of its kernel, its machine ("" where nothing tells), its host."""

    process: Identity
    namespace: str
    boot: str
    machine: str
    host: str

    @classmethod
    def me(cls) -> Owner:
        """This process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """The process that has this pid here."""
        return cls(Identity.of(pid), _namespace(), boot_id(), _machine(), _host())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """An owner as `str` has it; None for anything else."""
        try:
            pid, start, namespace, boot, machine, host = text.split(".", 5)
            return cls(Identity(int(pid), int(start)), namespace, boot, machine, host)
        except ValueError:
            return None

    def __str__(self) -> str:
        """In one word of letters, digits, dots, dashes and underscores, as names of containers are."""
        process = f"{self.process.pid}.{self.process.start}"
        return f"{process}.{self.namespace}.{self.boot}.{self.machine}.{self.host}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def here(self) -> bool:
        """Whether its pid, and those of its children, mean something to this process."""
        return (self.namespace, self.boot) == (_namespace(), boot_id())

    def alive(self) -> bool:
        """Whether it is known to live; `dead` may be false for the same owner: of others nothing is known."""
        return self.here() and self.process.alive()

    def dead(self) -> bool:
        """Whether it is known to be gone: by its pid where that means something, or because its machine was restarted.

        A machine is known by its id and its host name together: hosts of one name are not rare, and containers of one
        image may have one id.
        """
        if self.boot == boot_id():
            return self.here() and not self.process.alive()
        return bool(self.machine) and (self.machine, self.host) == (_machine(), _host())

    @property
    def place(self) -> str:
        """Where it is, for a comparison: a restart of its machine changes nothing."""
        return f"{self.namespace}.{self.machine}.{self.host}"

    @property
    def words(self) -> str:
        """Where it is, for people."""
        return f"process {self.pid} of {self.host}"


def boot_id() -> str:
    """This machine's: one for each start of a kernel; a node that is a container of this machine tells the same.

    "" where /proc does not say.
    """
    return _text(_BOOT_ID)


def _machine() -> str:
    """A digest of the machine's id, which systemd asks to keep to oneself; "" where there is none, as in containers."""
    told = _text(_MACHINE_ID)
    if told in ("", _UNSET):
        return ""
    return hashlib.sha256(f"rehearsal {told}".encode()).hexdigest()[:_ID_LENGTH]


def _namespace() -> str:
    try:
        return str(_PID_NAMESPACE.stat().st_ino)
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _host() -> str:
    return _NOT_IN_NAMES.sub("_", socket.gethostname())
