"""Recipes are data: their templates, and what the gateway's and Prometheus' recipes promise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from harness import programs
from harness.clients.promql import PromQL
from harness.components import alertmanager, collector, model_server, postgres
from harness.components import gateway as gateway_recipe
from harness.components import mlflow as mlflow_recipe
from harness.components import prometheus as prometheus_recipe
from harness.components.component import Component, fill
from harness.components.gateway import gateway
from harness.components.mlflow import mlflow
from harness.errors import CapabilityMissing, RequestFailed
from harness.images import load
from harness.lifecycle.slo import LATENCY_BUCKETS_MS


def contained_mlflow(store: str) -> Component:
    return mlflow(image=mlflow_recipe.IMAGE, store=store)


def bootstrap(tmp_path: Path) -> dict[str, Any]:
    text = gateway(access_log=tmp_path / "access.jsonl").files["bootstrap.json"]
    filled: dict[str, Any] = json.loads(fill(text, folder=tmp_path, ports={"http": 8080, "admin": 9901}))
    return filled


def test_placeholders_are_filled_at_any_depth_and_other_braces_stay() -> None:
    """JSON files are full of braces."""
    template = {"a": ["{port[http]}", "{folder}/x"], "b": '{"json": {}}'}
    filled = fill(template, folder=Path("/run/x"), ports={"http": 81})
    assert filled == {"a": ["81", "/run/x/x"], "b": '{"json": {}}'}


def test_an_unknown_port_is_an_error_and_not_a_blank() -> None:
    """A typing error in a recipe shows at the start."""
    with pytest.raises(KeyError):
        fill("{port[grpc]}", folder=Path("/"), ports={"http": 1})


def test_the_gateway_listens_on_the_loopback_only_and_shares_no_port(tmp_path: Path) -> None:
    """Two runs side by side: with SO_REUSEPORT their gateways could share one port."""
    config = bootstrap(tmp_path)
    listener = config["static_resources"]["listeners"][0]
    addresses = [config["admin"]["address"], listener["address"]]
    assert [a["socket_address"]["address"] for a in addresses] == ["127.0.0.1", "127.0.0.1"]
    assert [a["socket_address"]["port_value"] for a in addresses] == [9901, 8080]
    assert listener["enable_reuse_port"] is False


def test_the_gateways_histogram_has_every_bound_that_an_slo_may_name(tmp_path: Path) -> None:
    """And one above them, so that the slowest are counted."""
    buckets = bootstrap(tmp_path)["stats_config"]["histogram_bucket_settings"][0]["buckets"]
    assert set(LATENCY_BUCKETS_MS) < set(buckets)
    assert max(buckets) > max(LATENCY_BUCKETS_MS)


def test_mlflow_is_one_process_on_the_loopback_that_tells_nobody_of_itself() -> None:
    """No job executor, one worker, no telemetry, artifacts through the server."""
    recipe = mlflow()
    argv = fill(recipe.argv, folder=Path("/run/x"), ports={"http": 5000})
    assert {"--host", "127.0.0.1", "--workers", "1", "--serve-artifacts"} <= set(argv)
    assert recipe.env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert recipe.env["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize("recipe", [mlflow_recipe.migration, mlflow_recipe.migrated, contained_mlflow])
def test_the_stores_password_is_in_no_command_line(recipe: Callable[[str], Component]) -> None:
    """Every user of a machine may read those, also of what runs in its containers."""
    store = "postgresql+psycopg2://postgres:secret@postgres/mlflow"
    made = recipe(store)
    assert "secret" not in " ".join(made.argv)
    assert store in made.env.values()


def test_without_a_prometheus_the_reason_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report prints it beside the skipped step."""
    monkeypatch.setattr(programs, "find", lambda program: None)
    assert "apt-get install prometheus" in programs.missing(programs.PROMETHEUS)
    with pytest.raises(CapabilityMissing, match="apt-get install prometheus"):
        prometheus_recipe.prometheus(envoy_admin=1)


def test_prometheus_records_the_series_that_every_world_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dashboards and verdicts are written once, on these names."""
    monkeypatch.setattr(programs, "find", lambda program: Path("/usr/bin/prometheus"))
    recipe = prometheus_recipe.prometheus(envoy_admin=9901)
    rules = yaml.safe_load(recipe.files["rules.yml"])["groups"][0]["rules"]
    assert {rule["record"] for rule in rules} == {
        "rehearsal:requests:total",
        "rehearsal:failed:total",
        "rehearsal:requests:rate5s",
        "rehearsal:failed:rate5s",
        "rehearsal:slow_share:rate5s",
        "rehearsal:latency_ms:p50",
        "rehearsal:latency_ms:p90",
        "rehearsal:latency_ms:p99",
    }
    argv = fill(recipe.argv, folder=Path("/run/x"), ports={"http": 9090})
    assert "--web.listen-address=127.0.0.1:9090" in argv


def test_alerts_go_where_there_is_somebody_who_takes_them() -> None:
    """The rules are the same with an Alertmanager and without."""
    alone = prometheus_recipe.prometheus("envoy:9901", image="example/prometheus:v1").files
    kept = prometheus_recipe.prometheus("envoy:9901", alertmanager="alerts:9093", image="example/prometheus:v1").files
    assert "alerting" not in alone["prometheus.yml"]
    receivers = yaml.safe_load(kept["prometheus.yml"])["alerting"]["alertmanagers"]
    assert receivers == [{"static_configs": [{"targets": ["alerts:9093"]}]}]
    assert kept["rules.yml"] == alone["rules.yml"]


def test_a_containers_recipe_is_the_processs_but_for_the_program_and_what_it_binds(tmp_path: Path) -> None:
    """One description of Envoy: a container has the program in its image, and is reached from outside of it."""
    process = gateway(access_log=tmp_path / "access.jsonl")
    contained = gateway(access_log=tmp_path / "access.jsonl", image="example/envoy:v1")
    assert process.argv[1:] == contained.argv
    assert (process.files, process.ready, process.ports) == (contained.files, contained.ready, contained.ports)
    assert set(contained.inside) == set(contained.ports)
    assert contained.version == "v1"
    filled = fill(contained.files["bootstrap.json"], folder=tmp_path, ports=contained.inside, host="0.0.0.0")
    static = json.loads(filled)["static_resources"]
    assert static["listeners"][0]["address"]["socket_address"]["address"] == "0.0.0.0"
    mirror = static["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert mirror["address"]["socket_address"]["address"] == "127.0.0.1"


def test_the_recipes_images_are_those_of_the_catalogue() -> None:
    """A recipe never asks for an image that nothing makes."""
    recipes = (gateway_recipe, mlflow_recipe, prometheus_recipe, alertmanager, postgres, collector, model_server)
    for module in recipes:
        assert load().image(module.IMAGE).name == module.IMAGE


def test_postgresql_starts_as_its_own_user_from_the_official_image_and_from_ours() -> None:
    """The official one starts as root, which may step down to nobody here, and makes its socket where it finds it."""
    recipe = postgres.postgres("secret")
    assert recipe.user == "999:999"
    assert "/run/postgresql" in recipe.scratch, "its root file system is read-only"
    assert "unix_socket_directories=/run/postgresql" in recipe.argv, "ours would have it in /tmp"
    assert postgres.SOCKETS == "/run/postgresql"


def test_a_query_gives_label_sets_and_values() -> None:
    """The metric's own name is left out of the key."""
    series = {"metric": {"__name__": "x", "revision": "v2", "namespace": "p"}, "value": [1.0, "2.5"]}
    body = {"status": "success", "data": {"resultType": "vector", "result": [series]}}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    assert PromQL("http://127.0.0.1:1", transport=transport).query("x") == {'{namespace="p", revision="v2"}': 2.5}


def test_a_wrong_query_names_itself() -> None:
    """The hint repeats the query."""
    answer = httpx.Response(400, json={"status": "error", "error": "parse error"})
    transport = httpx.MockTransport(lambda request: answer)
    with pytest.raises(RequestFailed, match=r"parse error.*the query was: sum\("):
        PromQL("http://127.0.0.1:1", transport=transport).query("sum(")
