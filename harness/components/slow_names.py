"""A name server that answers late: it passes each question on to the container's own resolver, after a wait.

    python -P -m harness.components.slow_names DELAY_S

It runs in a container, on port 53 of every interface; a rehearsal points the resolvers of others to it.
"""

from __future__ import annotations

import socket
import sys
import threading

from harness import __version__
from harness.components._ending import exit_zero_on_sigterm
from harness.components.collector import IMAGE
from harness.components.component import Component, Limits, Ready

NAME = "slow-names"
READY = "answers late from now on"
PORT = 53
RESOLVER = ("127.0.0.11", PORT)
"""Docker's own, in each container of a network that was made for it."""
ANSWER_S = 5.0
MOST_BYTES = 4096


def slow_names(delay_s: float) -> Component:
    """The recipe of its container; it is ready when its log says READY."""
    return Component(
        name=NAME,
        version=__version__,
        argv=("python", "-P", "-m", "harness.components.slow_names", str(delay_s)),
        ready=Ready(port="dns", path=""),
        ports=(),
        image=IMAGE,
        limits=Limits(memory_mib=128),
    )


def serve(listener: socket.socket, resolver: tuple[str, int], delay_s: float) -> None:
    """Pass on each question, `delay_s` after it came, for ever."""
    while True:
        question, asker = listener.recvfrom(MOST_BYTES)
        late = threading.Timer(delay_s, _pass_on, (listener, resolver, question, asker))
        late.daemon = True
        late.start()


def _pass_on(listener: socket.socket, resolver: tuple[str, int], question: bytes, asker: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.settimeout(ANSWER_S)
        upstream.sendto(question, resolver)
        try:
            answer = upstream.recv(MOST_BYTES)
        except TimeoutError:  # who asked has its own patience, and asks again
            return
    listener.sendto(answer, asker)


def main(argv: list[str]) -> None:
    """Serve until SIGTERM."""
    exit_zero_on_sigterm()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", PORT))
        print(READY, flush=True)
        serve(listener, RESOLVER, float(argv[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
