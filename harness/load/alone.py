"""What a locustfile of loadtests/ needs to run alone: its options, its refusals, and its traffic.

A locustfile names a shape, `options(Spike)`, and has a user class of ShapedUser with that shape.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, get_args

from locust import events
from locust.env import Environment

from harness.clients.inference import Protocol, path_of
from harness.errors import UsageError
from harness.load.arrivals import ARRIVALS
from harness.load.open_loop import OpenLoopUser, Traffic
from harness.load.reach import require_reachable
from harness.load.remote import refuse_remote
from harness.load.shape_file import shape_of
from harness.load.shape_options import option
from harness.load.shapes import LEAST_RPS, MOST_RPS, Shape
from harness.load.spec import MOST_USERS
from harness.load.together import share_of
from harness.load.trace import Replay
from harness.runtime.paths import data_folder

HELP = {
    "rps": "arrivals a second",
    "rates_rps": "arrivals a second of each step: 50/100/200",
    "trace": "a CSV or Parquet file with a column timestamp, and payload if it says which body each request has",
    "speed": "how many times as fast as it was recorded",
}


def options(shape: type[Shape]) -> None:
    """Add the options of a shape and of every load; Locust offers them as fields of its page and in the environment."""

    def add(parser: ArgumentParser) -> None:
        for field in fields(shape):
            default = field.default
            text = "/".join(f"{each:g}" for each in default) if isinstance(default, tuple) else default
            told = HELP.get(field.name, _help(field.name))
            parser.add_argument(option(field.name), type=_of(field.name, default), default=text, help=told)
        _add_common(parser)

    def refuse(environment: Environment, **_: object) -> None:
        """Say what makes no sense before anything is sent; a worker has its host and options from the master."""
        try:
            if environment.host is not None:
                _shape(shape, environment)
                refuse_remote(environment.host, allowed=environment.parsed_options.allow_remote)
                require_reachable(environment.host)
        except UsageError as error:
            print(f"{shape.kind}.py: {error}", file=sys.stderr)
            raise SystemExit(2) from None

    events.init_command_line_parser.add_listener(add)
    events.init.add_listener(refuse)


class ShapedUser(OpenLoopUser):
    """One schedule of the shape that the options say."""

    abstract = True
    fixed_count = 1
    shape: ClassVar[type[Shape]]

    def traffic(self) -> Traffic:
        chosen = self.environment.parsed_options
        refuse_remote(self.host or "", allowed=chosen.allow_remote)
        share, shares = share_of(self.environment)
        folder = Path(chosen.records or tempfile.mkdtemp(prefix=f"{self.shape.kind}-"))
        folder.mkdir(parents=True, exist_ok=True)
        payload = Path(chosen.payload) if chosen.payload else _held_out(chosen.protocol)
        shape = _shape(self.shape, self.environment)
        if isinstance(shape, Replay):
            shape.check_bodies(sum(1 for line in payload.read_bytes().splitlines() if line.strip()))
        return Traffic(
            load_id=chosen.load_id or os.urandom(4).hex(),
            path=chosen.path or path_of(chosen.protocol, "model"),
            shape=shape,
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


def _held_out(protocol: str) -> Path:
    """The payload that comes with the locustfiles, which a generator's image does not have."""
    return data_folder("loadtests") / f"payload-{protocol}.jsonl"


def _add_common(parser: ArgumentParser) -> None:
    parser.add_argument("--arrivals", choices=ARRIVALS, default="constant", help="evenly spaced, or a Poisson process")
    parser.add_argument("--seed", type=int, default=0, help="of a Poisson process")
    parser.add_argument("--user-ids", type=_count, default=0, help="how many users to name in x-user-id (0: no header)")
    parser.add_argument("--protocol", choices=get_args(Protocol), default="v1", help="of the path and the bodies")
    parser.add_argument("--path", default="", help="where to POST (/v1/models/model:predict, /v2/models/model/infer)")
    parser.add_argument("--service-host", default="", help="the Host header: <service>-<namespace>.example.com")
    parser.add_argument("--payload", default="", help="a file with one request body a line (held-out rows)")
    parser.add_argument("--load-id", default="", help="what x-request-id begins with (default: a random one)")
    parser.add_argument("--connections", type=_count, default=256, help="the most requests in flight at a time")
    parser.add_argument("--allow-remote", action="store_true", help="send to a --host that is not this machine")
    parser.add_argument("--records", default="", help="a folder for the binary records (default: a new one in /tmp)")


def _shape(shape: type[Shape], environment: Environment) -> Shape:
    chosen = vars(environment.parsed_options)
    return shape_of({"kind": shape.kind, **{field.name: chosen[_attribute(field.name)] for field in fields(shape)}})


def _attribute(field: str) -> str:
    return option(field).removeprefix("--").replace("-", "_")


def _help(field: str) -> str:
    words, _, unit = field.replace("_", " ").rpartition(" ")
    return f"{words}, in {'requests a second' if unit == 'rps' else 'seconds'}" if words else field


def _of(field: str, default: Any) -> Callable[[str], Any]:
    if isinstance(default, str):
        return str
    if isinstance(default, tuple):
        return _numbers
    if isinstance(default, int):
        return _count
    return _rate if field == "rps" else _number


def _numbers(text: str) -> list[float]:
    return [_number(part) for part in text.split("/")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a number, got {text!r}") from None


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
