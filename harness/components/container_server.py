"""PID 1 of the image rehearsal/model-server: harness's own KServe predictor over a model that lies in a folder.

    python -P -m harness.components.container_server --model_name=NAME [--model_dir=/mnt/models] [--http_port=8080]

It answers V1 and V2 on every interface, drains on SIGTERM, and exits with 3 and one line if the model cannot be loaded.
REHEARSAL_FAULT_FILE names the file that a rehearsal puts faults into (see harness.components.fault_hook).
"""

from __future__ import annotations

import argparse
import os
import sys

from harness.components import model_server
from harness.components._ending import exit_zero_on_sigterm
from harness.components.replica import Replica

MODELS = "/mnt/models"
PORT = 8080
FAULT_FILE = "/tmp/rehearsal-fault.json"


def main(argv: list[str]) -> None:
    """Serve until SIGTERM; the flags are those that KServe's own runtimes have."""
    # The kernel gives PID 1 no default action for SIGTERM: without this, a Pod that is deleted early is killed late.
    exit_zero_on_sigterm()
    flags = argparse.ArgumentParser(prog="rehearsal-model-server")
    flags.add_argument("--model_name", required=True)
    flags.add_argument("--model_dir", default=MODELS)
    flags.add_argument("--http_port", type=int, default=PORT)
    asked = flags.parse_args(argv)
    replica = Replica(
        model_name=asked.model_name,
        storage_uri=asked.model_dir,
        models="",
        ready_file="",
        fault_file=os.environ.get("REHEARSAL_FAULT_FILE", FAULT_FILE),
        port=asked.http_port,
        host="0.0.0.0",
    )
    model_server.serve(replica.config())


if __name__ == "__main__":
    main(sys.argv[1:])
