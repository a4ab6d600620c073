"""Each container alone, as somebody uses it who knows testcontainers and nothing of the platform."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import docker
import httpx
import pandas as pd
import pytest
from testcontainers.core.network import Network

from harness.backends.embedded.routes import Route, render_routes
from harness.components import postgres
from harness.components.collector import Comparison
from harness.components.replica import PayloadLog
from harness.containers import (
    AlertmanagerContainer,
    CollectorContainer,
    EnvoyContainer,
    FeastContainer,
    GrafanaContainer,
    MLflowContainer,
    ModelServerContainer,
    PostgresContainer,
    PrometheusContainer,
    RecipeContainer,
)
from harness.containers.labels import owner
from harness.dashboards import DASHBOARDS
from harness.images import engine
from harness.runtime.clock import Deadline
from harness.runtime.owner import Owner
from harness.runtime.wait import wait
from tests.containers.conftest import in_a_process

SMALL: list[Callable[[], RecipeContainer]] = [
    AlertmanagerContainer, CollectorContainer, EnvoyContainer, PostgresContainer, PrometheusContainer,
]  # fmt: skip
HOST = "churn.example"


@pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
def test_a_container_is_ready_kept_small_and_leaves_nothing(
    docker_client: docker.DockerClient, make: Callable[[], RecipeContainer]
) -> None:
    """On the loopback only, with limits, without root and its capabilities; then neither it nor its folder is there."""
    with make() as container:
        told, folder = container.get_wrapped_container().attrs, container.folder
        host = told["HostConfig"]
        assert {each["HostIp"] for one in host["PortBindings"].values() for each in one} == {"127.0.0.1"}
        assert host["Memory"] == container.recipe().limits.memory_mib * 1024**2
        assert host["NanoCpus"] > 0
        assert host["ReadonlyRootfs"]
        assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
        assert told["Config"]["User"].partition(":")[0] not in ("", "0", "root")
    with pytest.raises(docker.errors.NotFound):
        docker_client.containers.get(told["Id"])
    assert not folder.exists()


def test_start_and_stop_without_with(docker_engine: engine.Engine) -> None:
    """As everywhere in testcontainers: options chain, start gives the container itself, stop may be called again."""
    container = AlertmanagerContainer().with_env("A", "b").with_labels({"who": "me"})
    assert container.start() is container
    labels = container.get_wrapped_container().labels
    assert labels["who"] == "me"
    assert owner(labels) == Owner.me()
    assert httpx.get(f"{container.get_connection_url()}/api/v2/alerts").json() == []
    container.stop()
    container.stop()


def test_a_named_folder_stays(docker_engine: engine.Engine, tmp_path: Path) -> None:
    """For those who want to read afterwards what a component has written."""
    with EnvoyContainer().with_folder(tmp_path / "envoy") as envoy:
        httpx.get(envoy.get_connection_url(), headers={"host": "nobody.example"})
        wait(lambda: envoy.access_log.read_text(), what="access log", deadline=Deadline.after(10))
    assert json.loads((tmp_path / "envoy" / "access.jsonl").read_text())["host"] == "nobody.example"


def test_envoy_routes_to_a_model_server_and_prometheus_counts_it(network: Network, saved_model: Path) -> None:
    """Three of them on one network: a route that is put in place without a restart, and the series of its service."""
    expected = json.loads((saved_model / "expected.json").read_text())
    server = ModelServerContainer("churn").with_model(saved_model).with_network(network)
    envoy = EnvoyContainer().with_network(network)
    prometheus = PrometheusContainer().with_network(network).with_envoy("envoy:9901")
    with server, envoy, prometheus:
        route(envoy, "staging/churn/v1", "model-server")
        answers = [predict(envoy, expected["rows"]) for _ in range(20)]
        assert answers == [pytest.approx(expected["answers"])] * 20
        total = 'rehearsal:requests:total{service="churn"}'
        counted = wait(
            lambda: [each for each in prometheus.query(total).values() if each == 20],
            what="20 requests in Prometheus",
            deadline=Deadline.after(30),
            every_s=0.2,
        )
    assert counted == [20.0]


def route(envoy: EnvoyContainer, cluster: str, address: str) -> None:
    """Send what comes for HOST to a cluster of one container, and wait until that is in effect."""
    endpoint = {"endpoint": {"address": {"socket_address": {"address": address, "port_value": 8080}}}}
    known = {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": cluster,
        "type": "STRICT_DNS",
        "load_assignment": {"cluster_name": cluster, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    envoy.put("xds/cds/cds.json", json.dumps({"resources": [known]}))
    envoy.put("xds/rds/rds.json", render_routes([Route(HOST, {cluster: 100})])[0])
    url, headers = f"{envoy.get_connection_url()}/v2/health/live", {"host": HOST}
    ready = lambda: httpx.get(url, headers=headers).status_code == 200  # noqa: E731
    wait(ready, what="the route", deadline=Deadline.after(10))
    httpx.post(f"{envoy.get_admin_url()}/reset_counters")


def predict(envoy: EnvoyContainer, rows: list[list[float]]) -> list[float]:
    url = f"{envoy.get_connection_url()}/v1/models/churn:predict"
    answer: list[float] = httpx.post(url, json={"instances": rows}, headers={"host": HOST}).json()["predictions"]
    return answer


def test_a_model_server_speaks_both_protocols(saved_model: Path) -> None:
    """V1 by rows, V2 by a tensor; the folder is only read."""
    expected = json.loads((saved_model / "expected.json").read_text())
    with ModelServerContainer("churn").with_model(saved_model) as server:
        v1 = httpx.post(server.get_predict_url(), json={"instances": expected["rows"]})
        flat = [value for row in expected["rows"] for value in row]
        tensor = {"name": "input", "shape": [2, 3], "datatype": "FP64", "data": flat}
        v2 = httpx.post(server.get_predict_url("v2"), json={"inputs": [tensor]})
    assert v1.json()["predictions"] == pytest.approx(expected["answers"])
    assert v2.json()["outputs"][0]["data"] == pytest.approx(expected["answers"])


def test_mlflow_over_postgres_keeps_runs_and_serves_a_registered_version(network: Network) -> None:
    """The tracking client of this machine, and a model server on their network that takes the version from it."""
    with PostgresContainer().with_network(network) as database:
        server = MLflowContainer().with_network(network).with_backend_store(database.get_network_url())
        with server:
            version = in_a_process("register", server.get_tracking_uri(), "churn")
            assert not (server.folder / "mlflow.db").exists()
            models = ModelServerContainer("churn").with_network(network)
            with models.with_model_version("churn", version, server.get_network_url()):
                answer = httpx.post(models.get_predict_url(), json={"instances": [[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]]})
    high, low = answer.json()["predictions"]
    assert high > 0.5 > low


def test_postgresql_starts_from_an_image_that_starts_as_root(docker_client: docker.DockerClient) -> None:
    """As the official one does, which steps down by itself where it may: here it may not, and its root is read-only."""
    made = docker_client.containers.create(postgres.IMAGE)
    name = "rehearsal/test-postgres-as-root:1"
    try:
        repository, _, tag = name.partition(":")
        made.commit(repository, tag, changes="USER 0")
        with PostgresContainer(name) as database:
            argv = ["psql", f"--host={postgres.SOCKETS}", "--username=postgres", "--tuples-only", "--command=select 42"]
            done = database.get_wrapped_container().exec_run(argv)
            assert (done.exit_code, done.output.split()) == (0, [b"42"]), done.output
    finally:
        made.remove(force=True)
        docker_client.images.remove(name, force=True)


def test_mlflow_alone_keeps_its_store_in_its_folder(docker_engine: engine.Engine, tmp_path: Path) -> None:
    """No database beside it; the folder has the runs when it is gone."""
    with MLflowContainer().with_folder(tmp_path / "mlflow") as server:
        url = f"{server.get_tracking_uri()}/api/2.0/mlflow/experiments/create"
        assert httpx.post(url, json={"name": "mine"}).status_code == 200
    assert (tmp_path / "mlflow" / "mlflow.db").stat().st_size > 0


def test_a_collector_compares_what_two_servers_answer(network: Network, saved_model: Path) -> None:
    """The payload loggers of two revisions send the same request's answers; the collector says whether they agree."""
    rows = json.loads((saved_model / "expected.json").read_text())["rows"]
    comparison = Comparison("r1", "v1", "v2", 1e-9)
    with CollectorContainer().with_network(network) as collector:
        servers = [logged(revision, collector, comparison, saved_model, network) for revision in ("v1", "v2")]
        with servers[0], servers[1]:
            for server in servers:
                httpx.post(server.get_predict_url(), json={"instances": rows}, headers={"x-request-id": "one"})
            url = f"{collector.get_url()}/answers/r1"
            told = wait(
                lambda: (found := httpx.get(url).json()).get("compared") and found,
                what="a comparison",
                deadline=Deadline.after(20),
            )
    assert (told["compared"], told["agreed"]) == (1, 1)


def logged(
    revision: str, collector: CollectorContainer, comparison: Comparison, model: Path, network: Network
) -> ModelServerContainer:
    url = collector.get_events_url(comparison, revision)
    sent = PayloadLog(url, "response", "churn", "staging", "predictor", revision=revision)
    return ModelServerContainer("churn").with_model(model).with_logger(sent).with_network(network)


@pytest.fixture
def feature_repository(tmp_path: Path) -> Path:
    """Two people's features in a Parquet file, defined by the repository beside this file."""
    folder = tmp_path / "features"
    shutil.copytree(Path(__file__).parent / "feature_repository", folder)
    at = pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True)
    people = pd.DataFrame({"person_id": [1, 2], "visits": [3, 7], "coinsurance": [0.5, 1.5], "at": at})
    people.to_parquet(folder / "visits.parquet")
    return folder


def test_feast_serves_the_features_of_a_repository(docker_engine: engine.Engine, feature_repository: Path) -> None:
    """Applied, materialised and asked for over HTTP; the repository itself stays as it was."""
    before = sorted(path.name for path in feature_repository.iterdir())
    asked = {"features": ["visits:visits", "visits:coinsurance"], "entities": {"person_id": [1, 2, 3]}}
    with FeastContainer(feature_repository) as feast:
        answer = httpx.post(feast.get_features_url(), json=asked).json()
    names = answer["metadata"]["feature_names"]
    values = {name: each["values"] for name, each in zip(names, answer["results"], strict=True)}
    assert values == {"person_id": [1, 2, 3], "visits": [3, 7, None], "coinsurance": [0.5, 1.5, None]}
    assert sorted(path.name for path in feature_repository.iterdir()) == before


def test_feast_serves_what_was_materialised_up_to_a_time(
    docker_engine: engine.Engine, feature_repository: Path
) -> None:
    """The second person's features are of a later day than that."""
    asked = {"features": ["visits:visits"], "entities": {"person_id": [1, 2]}}
    day = datetime.fromisoformat("2026-01-01T12:00:00")
    with FeastContainer(feature_repository).with_materialization(day) as feast:
        answer = httpx.post(feast.get_features_url(), json=asked).json()
    assert answer["results"][-1]["values"] == [3, None]


def test_grafana_shows_what_prometheus_has(network: Network) -> None:
    """Where its image can be had; elsewhere the skip says how to get it."""
    with PrometheusContainer().with_network(network) as prometheus:
        grafana = GrafanaContainer().with_network(network).with_prometheus(prometheus.get_network_url())
        with grafana:
            sources = httpx.get(f"{grafana.get_url()}/api/datasources/proxy/uid/prometheus/api/v1/query?query=1")
            shown = httpx.get(f"{grafana.get_url()}/api/search?tag=rehearsal").json()
    assert sources.json()["status"] == "success"
    assert {each["uid"] for each in shown} == {each.uid for each in DASHBOARDS}
