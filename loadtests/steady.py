"""A steady open-loop load on one model; runs alone: `locust -f loadtests/steady.py --host http://127.0.0.1:PORT`.

What is offered and what came back is on Locust's page or in its summary; the records stay in --records.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from locust import events
from locust.env import Environment

from harness.errors import UsageError
from harness.load.arrivals import ARRIVALS
from harness.load.open_loop import OpenLoopUser, Traffic
from harness.load.remote import refuse_remote
from harness.load.spec import LEAST_RPS, MOST_RPS, MOST_USERS
from harness.load.together import share_of

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
    parser.add_argument("--load-id", default="", help="what x-request-id begins with (default: a random one)")
    parser.add_argument("--connections", type=_count, default=256, help="the most requests in flight at a time")
    parser.add_argument("--allow-remote", action="store_true", help="send to a --host that is not this machine")
    parser.add_argument("--records", default="", help="a folder for the binary records (default: a new one in /tmp)")


@events.init.add_listener
def refuse_accidents(environment: Environment, **_: object) -> None:
    """A load leaves this machine only with --allow-remote; a worker has its host and its options from the master."""
    try:
        if environment.host is not None:
            refuse_remote(environment.host, allowed=environment.parsed_options.allow_remote)
    except UsageError as error:
        print(f"steady.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None


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
        refuse_remote(self.host or "", allowed=chosen.allow_remote)
        share, shares = share_of(self.environment)
        folder = Path(chosen.records or tempfile.mkdtemp(prefix="steady-"))
        folder.mkdir(parents=True, exist_ok=True)
        payload = Path(chosen.payload) if chosen.payload else folder / "payload.jsonl"
        if not chosen.payload:
            payload.write_text(EXAMPLE, encoding="utf-8")
        return Traffic(
            load_id=chosen.load_id or os.urandom(4).hex(),
            path=chosen.path,
            rps=chosen.rps,
            payload=payload,
            folder=folder,
            host=chosen.service_host,
            arrivals=chosen.arrivals,
            seed=chosen.seed,
            users=chosen.user_ids,
            max_in_flight=max(1, chosen.connections // shares),
            share=share,
            shares=shares,
        )
