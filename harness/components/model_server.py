"""The replica: a KServe model server for one model version, forked from the nursery or started with `python -m`.

`serve` and `serve_transformer` take the configuration that harness.components.replica renders; they bind 127.0.0.1 on
the given port (0: any), write {"port", "pid"} to the ready file once requests are answered, and return after SIGTERM
has drained.
Nothing heavy is imported with this module.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness import __version__
from harness.components.component import Component, Limits, Ready, tag_of
from harness.components.replica import PayloadLog, Replica, TransformerReplica

IMAGE = f"rehearsal/model-server:{__version__}"
CONFIG = "replica.json"
PORT = 8080
CANNOT_LOAD = 3  # exit code: the model itself cannot be served, so starting again is of no use
# What a nursery imports so that a forked replica need not, and so that replicas share it (3 MB of each one's memory);
# the estimators are what pickled pipelines ask for.
PRELOAD = (
    "harness.components._kserve_replica",
    "harness.components.fault_hook",
    "harness.components.payload_logger",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.neighbors",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.tree",
    "pydantic.v1",
    "uvloop",
    "httptools",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "opentelemetry.sdk.metrics.export",
    "mlflow.tracing.export.utils",
    "mlflow.tracing.processor.base_mlflow",
)
SERVE = "harness.components.model_server:serve"
SERVE_TRANSFORMER = "harness.components.model_server:serve_transformer"


def model_server(replica: Replica | TransformerReplica, *, name: str = "model-server", image: str = IMAGE) -> Component:
    """The recipe of one replica's container: port "http"; it listens on PORT, and its texts may name {folder}."""
    return Component(
        name=name,
        version=tag_of(image),
        argv=("python", "-P", "-m", "harness.components.model_server", f"{{folder}}/{CONFIG}"),
        image=image,
        # A replica has one thread of its own for the arithmetic, however many CPUs the machine has.
        env={
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its own seven would hide for minutes what is wrong
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        },
        inside={"http": PORT},
        limits=Limits(memory_mib=1024),
        files={CONFIG: json.dumps(replica.config())},
        ready=Ready(port="http", path="/v2/health/ready"),
    )


def serve(config: dict[str, Any]) -> None:
    """Load the model and answer until SIGTERM; SystemExit(3) with one line in the log if it cannot be loaded."""
    from harness.components import _kserve_replica, _sklearn_model

    logger = PayloadLog(**config["logger"]) if config["logger"] else None
    replica = Replica(**{**config, "logger": logger})
    try:
        _kserve_replica.run_predictor(replica)
    except _sklearn_model.CannotLoad as error:
        _give_up(str(error), error.retry)


def serve_transformer(config: dict[str, Any]) -> None:
    """Run the user's transformer until SIGTERM; SystemExit(3) with one line in the log if it cannot be loaded."""
    from harness.components import _kserve_replica, _sklearn_model

    try:
        _kserve_replica.run_transformer(TransformerReplica(**config))
    except _sklearn_model.CannotLoad as error:
        _give_up(str(error), error.retry)


def _give_up(message: str, retry: bool) -> None:
    print(message, file=sys.stderr, flush=True)
    raise SystemExit(1 if retry else CANNOT_LOAD)


def main(argv: list[str]) -> None:
    """`python -P -m harness.components.model_server CONFIG.json`: the cold way, without a nursery."""
    sys.path.append(str(Path.cwd()))  # as in a nursery: for classes of the user's pickles
    path = Path(argv[0])
    config = json.loads(path.read_text(encoding="utf-8"))
    (serve_transformer if "predictor_host" in config else serve)(config)


if __name__ == "__main__":
    main(sys.argv[1:])
