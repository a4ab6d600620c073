"""The warden: a tiny process that outlives a supervisor killed by -9 just long enough to kill its children.

Run as `python -P -m harness.runtime.warden STATE_FILE` with a pipe from the supervisor on standard input. The pipe
closes when the supervisor dies, however it dies; a state file that is then still there names children without a parent.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.runtime import state


def main(path: Path) -> None:
    while sys.stdin.buffer.read(1):
        pass
    if left := state.read(path):
        left.kill_children()
        left.swept()
        left.remove_scratch()
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
