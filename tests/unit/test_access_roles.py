"""Roles at MLflow and the gateway: the matrix, what the guard refuses, and whose key opens what."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from harness.backends.kubernetes import access as cluster
from harness.backends.restriction import PLATFORM, Restriction
from harness.components.files import write_files
from harness.components.gateway import gateway
from harness.components.mlflow_guard import Guard, Message, plain, refused, role_of
from harness.lifecycle.access import MATRIX, ROLES, allowed, askers, cells

NOWHERE = Path("/none")


def basic(user: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(f"{user}:word".encode())


def call(
    method: str,
    path: str,
    *,
    body: bytes = b"{}",
    query: bytes = b"",
    headers: Any = (),
    artifacts: Path = Path("/none"),
) -> tuple[int, str]:
    """The status and the message of a call; 200 if it came through with its whole body."""
    seen: list[bytes] = []
    told: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": list(headers)}
    asyncio.run(Guard(app, artifacts)(scope, receive, send))
    if told[0]["status"] == 200:
        assert seen == [body]
        return 200, ""
    return told[0]["status"], json.loads(told[1]["body"])["message"]


ALIAS = "/api/2.0/mlflow/registered-models/alias"


def test_every_role_can_do_something_and_nobody_everything() -> None:
    assert len(list(cells())) == len(MATRIX) * len(ROLES)
    assert not allowed("release", "grow", "bananas")
    for role in ROLES:
        assert {cell.allowed for cell in cells() if cell.role == role} == {True, False}


def test_the_matrix_of_a_cluster_is_about_the_same_roles() -> None:
    assert {cell.role for cell in cluster.cells("staging")} == set(ROLES)


@pytest.mark.parametrize("stage", ["staging", "production"])
def test_who_may_change_what_serves_is_the_same_in_a_cluster_and_in_the_repository(stage: str) -> None:
    """A role that could push but not apply, or the other way round, would have found a way around the matrix."""
    may = {cell.role for cell in cluster.cells(stage) if cell.allowed and _changes(cell, "inferenceservices")}
    assert may == {role for role in ROLES if allowed(role, "commit", f"desired state of {stage}")}


def test_who_may_train_is_the_same_in_a_cluster_and_at_mlflow() -> None:
    may = {cell.role for cell in cluster.cells("staging") if cell.allowed and _changes(cell, "trainjobs")}
    assert may == {role for role in ROLES if allowed(role, "log a run", "experiments")}
    assert not [cell for cell in cluster.cells("production") if cell.allowed and _changes(cell, "trainjobs")]


def _changes(cell: cluster.Cell, resource: str) -> bool:
    return cell.resource.name == resource and cell.verb not in ("get", "list", "watch")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("role", "alias", "may"),
    [
        ("release", "champion", True),
        ("ml-engineer", "staging", True),
        ("ml-engineer", "champion", False),
        ("viewer", "staging", False),
        ("release", "other", False),
    ],
)
def test_an_alias_is_moved_by_who_may(method: str, role: str, alias: str, may: bool) -> None:
    """Whether the body says which, or the query."""
    body = json.dumps({"name": "m", "alias": alias, "version": "1"}).encode()
    for given in ({"body": body}, {"body": b"", "query": f"name=m&alias={alias}".encode()}):
        status, words = call(method, ALIAS, headers=[basic(role)], **given)  # type: ignore[arg-type]
        assert (status, words) == ((200, "") if may else (403, f"{role} may not move the alias {alias!r}"))


@pytest.mark.parametrize(
    "path",
    [
        ALIAS,
        "/ajax-api/2.0/mlflow/registered-models/alias",
        "/api/2.0//mlflow/./registered-models/alias/",
        ALIAS.replace("a", "%61"),
    ],
)
def test_a_path_that_a_server_takes_for_the_same_is_the_same(path: str) -> None:
    body = json.dumps({"alias": "champion"}).encode()
    assert call("POST", path, body=body, headers=[basic("viewer")])[0] == 403
    assert plain(path) == "/mlflow/registered-models/alias"


@pytest.mark.parametrize(
    ("path", "who_may"),
    [
        ("/mlflow/model-versions/create", {"data-scientist", "ml-engineer"}),
        ("/mlflow/registered-models/create", {"data-scientist", "ml-engineer"}),
        ("/mlflow/registered-models/rename", {"release"}),
        ("/mlflow/model-versions/transition-stage", {"release"}),
        ("/mlflow/model-versions/delete", set()),
        ("/mlflow/registered-models/delete", set()),
        ("/mlflow/runs/delete", set()),
        ("/mlflow/experiments/delete", set()),
        ("/mlflow/users/permissions/grant", set()),
        ("/mlflow/roles/create", set()),
        ("/mlflow/runs/create", set(ROLES)),  # MLflow's own permissions decide
        ("/mlflow/users/update-password", set(ROLES)),
    ],
)
def test_what_mlflows_permissions_cannot_tell_apart_the_guard_does(path: str, who_may: set[str]) -> None:
    assert {role for role in ROLES if not refused(path, role, NOWHERE)} == who_may
    assert refused(path, PLATFORM, NOWHERE) == ""


def test_a_file_of_a_version_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "MLmodel").write_text("")
    there, fresh = (f"/api/2.0/mlflow-artifacts/artifacts/1/{name}" for name in ("MLmodel", "new"))
    for method in ("PUT", "DELETE", "POST"):
        status, words = call(method, there, headers=[basic("ml-engineer")], artifacts=tmp_path)
        assert (status, "what is logged stays as it is" in words) == (403, True)
    assert call("PUT", fresh, headers=[basic("ml-engineer")], artifacts=tmp_path)[0] == 200


def test_reading_passes_and_two_logins_do_not() -> None:
    assert call("GET", "/api/2.0/mlflow/runs/delete", headers=[basic("viewer")])[0] == 200
    assert call("POST", "/api/2.0/mlflow/runs/create", headers=[basic("release"), basic("viewer")])[0] == 400


def test_a_login_that_the_guard_cannot_read_is_not_left_to_who_reads_more_into_it() -> None:
    """A stray character in base64 is nobody to one reader, and somebody to another."""
    name, login = basic("data-scientist")
    assert call("POST", ALIAS, body=b"{}", headers=[(name, login[:10] + b"!" + login[10:])])[0] == 400
    assert call("POST", ALIAS, body=b"{}", headers=[])[0] == 200  # MLflow's to refuse: 401


def test_an_alias_in_a_body_that_has_no_end_is_refused() -> None:
    status, words = call("POST", ALIAS, body=b"x" * ((1 << 20) + 1), headers=[basic("release")])
    assert (status, words) == (413, "the body is larger than 1048576 bytes")


@pytest.mark.parametrize(
    "header", ["", "Bearer x", "Basic", "Basic !!", "Basic " + base64.b64encode(b"\xff:x").decode()]
)
def test_what_is_no_login_is_nobody(header: str) -> None:
    assert role_of(header) == ""


def test_a_key_opens_what_the_matrix_says() -> None:
    """Applications ask production; another namespace only the platform itself."""
    restriction = Restriction.new(("app",))
    try:
        assert restriction.clients("production") == (PLATFORM, *askers("production"), "app")
        assert restriction.clients("staging") == (PLATFORM, *askers("staging"))
        assert restriction.clients("playground") == (PLATFORM,)
        assert len(set(restriction.secret_values())) == len(restriction.secret_values()) == 2 * len(ROLES) + 4
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in restriction.files.folder.iterdir())
        assert not [value for value in restriction.secret_values() if value in repr(restriction)]
    finally:
        restriction.files.close()
    assert not restriction.files.folder.exists()


def test_keys_are_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    ports = {"http": 1, "admin": 2}
    write_files(gateway(access_log="/dev/null", keys={"app": "a-key"}), tmp_path / "keys", ports)
    write_files(gateway(access_log="/dev/null"), tmp_path / "open", ports)
    bootstrap = tmp_path / "keys" / "bootstrap.json"
    assert bootstrap.stat().st_mode & 0o777 == 0o600
    assert "a-key" in bootstrap.read_text()
    assert "api_key_auth" not in (tmp_path / "open" / "bootstrap.json").read_text()
