"""Load: Locust runs it open-loop in a process of its own, the ledger accounts for every request of it."""

from __future__ import annotations

from harness.load.generator import Load, LoadSpec
from harness.load.ledger import Ledger

__all__ = ["Ledger", "Load", "LoadSpec"]
