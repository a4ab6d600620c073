"""The contract suite and the canaries on our kind cluster as somebody else's; long, so that it runs only when named.

tox run -e foreign, or: pytest tests/kubernetes/foreign_suite.py --backend kind
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kubernetes.foreign_lab import Given, flags

SUITE = ("tests/contract", "scenarios/test_canary.py")
SUITE_S = 3000.0


def test_the_contract_and_the_canaries_hold_in_given_namespaces(given: Given, tmp_path: Path) -> None:
    """Unchanged, one run after the other in the same two namespaces, with the role of a run alone."""
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *flags(given.restricted, tmp_path), *SUITE]
    done = subprocess.run(argv, timeout=SUITE_S, check=False)
    assert done.returncode == 0
