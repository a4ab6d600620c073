"""A steady open-loop load on one model; runs alone: `locust -f loadtests/steady.py --host http://127.0.0.1:PORT`.

What is offered and what came back is on Locust's page or in its summary; the records stay in --records.
"""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from locust import events

from harness.load.arrivals import ARRIVALS
from harness.load.open_loop import OpenLoopUser, Traffic
from harness.load.spec import LEAST_RPS, MOST_RPS, MOST_USERS

EXAMPLE = '{"instances": [[0, 1, 0, 0, 11.0, 1.0, 0, 0, 0]]}\n'  # nine numbers, as the model of the main job takes


@events.init_command_line_parser.add_listener
def options(parser: ArgumentParser) -> None:
    """What a user may say; Locust offers the same as environment variables and fields of its page."""
    parser.add_argument("--rps", type=_rate, default=50.0, help="arrivals a second")
    parser.add_argument("--arrivals", choices=ARRIVALS, default="constant", help="evenly spaced, or a Poisson process")
    parser.add_argument("--seed", type=int, default=0, help="of a Poisson process")
    parser.add_argument("--user-ids", type=_count, default=0, help="how many users to name in x-user-id (0: no header)")
    parser.add_argument("--path", default="/v1/models/model:predict", help="where to POST")
    parser.add_argument("--service-host", default="", help="the Host header: <service>-<namespace>.example.com")
    parser.add_argument("--payload", default="", help="a file with one request body a line")
    parser.add_argument("--records", default="", help="a folder for the binary records (default: a new one in /tmp)")


def _rate(text: str) -> float:
    value = float(text)
    if not LEAST_RPS <= value <= MOST_RPS:
        raise ArgumentTypeError(f"expected a number from {LEAST_RPS:g} to {MOST_RPS:g}, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MOST_USERS:
        raise ArgumentTypeError(f"expected a whole number from 0 to {MOST_USERS}, got {text}")
    return value


class Steady(OpenLoopUser):
    """One schedule of --rps arrivals a second."""

    fixed_count = 1

    def traffic(self) -> Traffic:
        chosen = self.environment.parsed_options
        folder = Path(chosen.records or tempfile.mkdtemp(prefix="steady-"))
        folder.mkdir(parents=True, exist_ok=True)
        payload = Path(chosen.payload) if chosen.payload else folder / "payload.jsonl"
        if not chosen.payload:
            payload.write_text(EXAMPLE, encoding="utf-8")
        return Traffic(
            load_id=os.urandom(4).hex(),
            path=chosen.path,
            rps=chosen.rps,
            payload=payload,
            folder=folder,
            host=chosen.service_host,
            arrivals=chosen.arrivals,
            seed=chosen.seed,
            users=chosen.user_ids,
        )
