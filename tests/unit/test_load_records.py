"""The small files that tell a load's processes of each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.load.records import read_json

OFTEN = """
import sys
from pathlib import Path
from harness.load.records import write_json
for number in range(2000):
    write_json(Path(sys.argv[1]), {"number": number})
"""


def test_two_processes_may_write_the_same_file(tmp_path: Path) -> None:
    """Workers of one machine are each told when to begin, and each writes it down in the folder that they share."""
    argv = [sys.executable, "-c", OFTEN, str(tmp_path / "go.json")]
    writers = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [writer.communicate(timeout=60)[1] for writer in writers] == ["", ""]
    assert read_json(tmp_path / "go.json") == {"number": 1999}
    assert [found.name for found in tmp_path.iterdir()] == ["go.json"]
