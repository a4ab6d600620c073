"""Load: Locust runs it open-loop in processes of its own, the ledger accounts for every request of it."""

from __future__ import annotations

from harness.load.generator import Load
from harness.load.ledger import Ledger
from harness.load.spec import LoadSpec

__all__ = ["Ledger", "Load", "LoadSpec"]
