"""Stands in for `python -m MODULE ARG…`: asks a nursery to fork, lends it the standard streams, ends as the child ends.

Run with -S -E: only the standard library, so that it starts in a few milliseconds.
"""

import json
import os
import socket
import struct
import sys


def main(nursery: str, argv: list[str]) -> int:
    if argv[:1] != ["-m"]:
        os.execv(sys.executable, [sys.executable, *argv])
    request = {
        "name": argv[1],
        "target": "harness.runtime._nursery_server:run_module",
        "args": [argv[1], argv[2:]],
        "env": dict(os.environ),
        "cwd": os.getcwd(),  # noqa: PTH109 - pathlib is an import that this process can do without
    }
    body = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(nursery)
        socket.send_fds(connection, [struct.pack("!I", len(body))], [0, 1, 2])
        connection.sendall(body)
        answers = [json.loads(line) for line in connection.makefile()]
    if not answers:
        answers = [{"error": f"{argv[1]}: the nursery has ended"}]
    if "error" in answers[-1]:
        print(answers[-1]["error"], file=sys.stderr)
    code: int = answers[-1].get("exit", 1)
    return code


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2:])
    sys.exit(code if code >= 0 else 128 - code)
