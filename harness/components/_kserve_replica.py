"""KServe's own model server around our models: REST only, telling its address.

Heavy on purpose (kserve): imported by model servers and their nursery, never by the platform's own process.
"""

from __future__ import annotations

import contextvars
import importlib
import json
import logging
import os
import socket
import sys
import uuid
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import kserve
import mlflow
import threadpoolctl
from fastapi.exceptions import FastAPIDeprecationWarning
from kserve.inference_client import InferenceRESTClient, RESTConfig
from kserve.model_server import app as kserve_app
from kserve.predictor_config import PredictorConfig
from kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, InferResponse
from kserve.protocol.rest.server import RESTServer

from harness.components import _sklearn_model
from harness.components._columns import BadRequest
from harness.components._ending import exit_zero_on_sigterm
from harness.components._sklearn_model import CannotLoad, ServedModel
from harness.components.fault_hook import FaultHook
from harness.components.gateway import SERVED_BY
from harness.components.payload_logger import PayloadLogger
from harness.components.replica import DRAIN_S, Replica, TransformerReplica

OUTPUT = "predict"
_V2_TYPES = {"double": "FP64", "float": "FP32", "integer": "INT32", "long": "INT64", "boolean": "BOOL"}
_served_by: contextvars.ContextVar[list[bytes]] = contextvars.ContextVar("served_by")


class Predictor(kserve.Model):
    """Serves one model version over the V1 and V2 protocols."""

    def __init__(self, name: str, model: ServedModel) -> None:
        super().__init__(name)
        self.model = model
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """V1 {"instances"} -> {"predictions"}; V2 tensors -> the tensor "predict" FP64 [n]; bad input is a 400."""
        try:
            return self._v2(payload) if isinstance(payload, InferRequest) else self._v1(payload)
        except BadRequest as error:
            raise kserve.errors.InvalidInput(str(error)) from error
        except Exception as error:
            # Any other error of an estimator, too, as KServe's own: Starlette raises an unknown one on after the 500,
            # uvicorn then closes the connection, and the gateway's next request on it is a 503 that nobody caused.
            raise kserve.errors.InferenceError(f"{type(error).__name__}: {error}") from error

    def get_input_types(self) -> list[dict[str, Any]]:
        return [
            {"name": column.name, "datatype": _V2_TYPES.get(column.kind, "BYTES"), "shape": [-1]}
            for column in self.model.columns.columns
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [{"name": OUTPUT, "datatype": "FP64", "shape": [-1]}]

    def _v1(self, payload: Any) -> dict[str, list[float]]:
        if not isinstance(payload, dict) or "instances" not in payload:
            raise BadRequest('expected an object with "instances"')
        data = self.model.columns.from_instances(payload["instances"])
        return {"predictions": self.model.answer(data).tolist()}

    def _v2(self, request: InferRequest) -> InferResponse:
        columns = self.model.columns
        if len(request.inputs) == 1 and request.inputs[0].name not in columns.names:
            tensor = request.inputs[0]
            data = columns.from_matrix(_values(tensor), tensor.shape)
        else:
            data = columns.from_tensors({tensor.name: _values(tensor) for tensor in request.inputs})
        answers = self.model.answer(data)
        output = InferOutput(name=OUTPUT, shape=[len(answers)], datatype="FP64", data=answers.tolist())
        return InferResponse(response_id=request.id or str(uuid.uuid4()), model_name=self.name, infer_outputs=[output])


def _values(tensor: InferInput) -> list[Any]:
    """A tensor's values as one flat list, row by row."""
    values = tensor.data if isinstance(tensor.data, list) else tensor.as_numpy().reshape(-1).tolist()
    if values and isinstance(values[0], list):
        return [value for row in values for value in row]
    return values


def run_predictor(replica: Replica) -> None:
    """Load the model and serve it until SIGTERM."""
    threadpoolctl.threadpool_limits(1)  # replicas share the machine; one row gains nothing from more threads
    if replica.tracking_uri:
        mlflow.set_tracking_uri(replica.tracking_uri)
    served = _sklearn_model.load(replica.storage_uri, Path(replica.models))
    _sklearn_model.tune_for_single_rows()
    if replica.logger is not None:
        kserve_app.add_middleware(PayloadLogger, settings=replica.logger)
    if replica.fault_file:
        kserve_app.add_middleware(FaultHook, path=replica.fault_file)
    _serve(Predictor(replica.model_name, served), (replica.host, replica.port), replica.ready_file)


def run_transformer(replica: TransformerReplica) -> None:
    """Run the user's kserve.Model subclass; what it sends to its predictor goes through the gateway."""
    model = _user_model(replica)
    config = PredictorConfig(predictor_host=replica.predictor_host, predictor_protocol=replica.protocol)
    transport = _ThroughGateway(replica.gateway_url)
    model._http_client_instance = InferenceRESTClient(
        RESTConfig(transport=transport, protocol=replica.protocol, timeout=60, retries=0)
    )
    kserve_app.add_middleware(_TellsRevision)
    _serve(model, (replica.host, replica.port), replica.ready_file, config)


def _user_model(replica: TransformerReplica) -> kserve.Model:
    module, _, name = replica.target.partition(":")
    if replica.search_path and replica.search_path not in sys.path:
        sys.path.insert(0, replica.search_path)
    try:
        model = getattr(importlib.import_module(module), name)(replica.model_name)
    except Exception as error:  # the user's module may fail in any way while it is imported
        raise CannotLoad(f"transformer {replica.target} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(model, kserve.Model):
        raise CannotLoad(f"transformer {replica.target} cannot be loaded: it is no kserve.Model")
    model.load()
    return model


def _serve(
    model: kserve.Model, address: tuple[str, int], ready_file: str, predictor: PredictorConfig | None = None
) -> None:
    port = address[1]
    server = kserve.ModelServer(
        http_port=port, enable_grpc=False, enable_latency_logging=False, predictor_config=predictor
    )
    server.register_model(model)
    # KServe's start() binds every interface; its REST server also takes a socket, and here ours is on the loopback.
    rest = RESTServer("kserve.model_server:app", server.dataplane, server.model_repository_extension, port)
    _quiet()
    rest.config.timeout_graceful_shutdown = DRAIN_S
    listener = socket.create_server(address, backlog=1024)
    if ready_file:
        kserve_app.router.on_startup.append(lambda: _tell(Path(ready_file), listener.getsockname()[1]))
    exit_zero_on_sigterm()
    rest.run(sockets=[listener])


def _quiet() -> None:
    """The gateway writes the access log; a line for each request here costs a fifth of the throughput."""
    for name in ("kserve", "kserve.trace", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("kserve").addFilter(_not_the_clients_fault)
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    warnings.filterwarnings("ignore", category=FastAPIDeprecationWarning)


def _not_the_clients_fault(record: logging.LogRecord) -> bool:
    """KServe logs a traceback for each request that it answers with 400; the client has been told the reason."""
    return not (record.exc_info and isinstance(record.exc_info[1], kserve.errors.InvalidInput))


def _tell(ready_file: Path, port: int) -> None:
    text = json.dumps({"port": port, "pid": os.getpid()})
    temporary = ready_file.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(ready_file)


class _ThroughGateway(httpx.AsyncHTTPTransport):
    """Connects to the gateway whatever the URL's host is, and leaves the Host header to name the predictor."""

    def __init__(self, gateway_url: str) -> None:
        super().__init__()
        self._gateway = urlsplit(gateway_url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host=self._gateway.hostname, port=self._gateway.port)
        response = await super().handle_async_request(request)
        if (holder := _served_by.get(None)) is not None and SERVED_BY in response.headers:
            holder.append(response.headers[SERVED_BY].encode())
        return response


Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _TellsRevision:
    """Passes on which revision answered behind the transformer, so that the client can tell too."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.inner = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        holder: list[bytes] = []
        token = _served_by.set(holder)

        async def tell(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and holder:
                message["headers"] = [*message["headers"], (SERVED_BY.encode(), holder[-1])]
            await send(message)

        try:
            await self.inner(scope, receive, tell)
        finally:
            _served_by.reset(token)
