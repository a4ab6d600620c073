"""What a locustfile of loadtests/ makes of its options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PAYLOAD = """
import sys
from types import SimpleNamespace
from harness.load import alone
from harness.load.shapes import Steady

def missing(name: str) -> None:
    raise AssertionError("a generator's image has no folder loadtests")

class SteadyUser(alone.ShapedUser):
    shape = Steady

alone.data_folder = missing
chosen = dict(allow_remote=True, records=sys.argv[1], payload=sys.argv[1] + "/payload.jsonl", protocol="v1", load_id="",
    path="/", service_host="", arrivals="constant", seed=0, user_ids=0, connections=1, rps=1.0, hold_s=1.0, warm_s=0.0)
user = SimpleNamespace(shape=Steady, host="http://a", environment=SimpleNamespace(
    parsed_options=SimpleNamespace(**chosen), runner=None))
print(alone.ShapedUser.traffic(user).payload)
"""


def test_a_payload_that_is_given_needs_no_other(tmp_path: Path) -> None:
    """In a process of its own: Locust patches the one that imports it."""
    done = subprocess.run([sys.executable, "-c", PAYLOAD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "payload.jsonl")
