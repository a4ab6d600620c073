"""MLflow's server: tracking, registry and the artifact proxy; as a process over one SQLite file, on 127.0.0.1.

Migrating an empty database takes seconds, so that is done once into the cache and copied. The warm way runs MLflow's
own ASGI application in a forked child; the environment variables by which MLflow's command line configures its workers
are private to MLflow, so the command line stays as the fallback.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.components._ending import exit_zero_on_sigterm
from harness.components.component import Component, Limits, Ready, Restart, tag_of
from harness.errors import PlatformError
from harness.runtime.paths import cache_home

IMAGE = "ghcr.io/mlflow/mlflow:v3.17.2"
PRELOAD = ("mlflow.server.fastapi_app", "mlflow.store.tracking.sqlalchemy_store", "uvicorn")
SERVE = "harness.components.mlflow:serve"
MIGRATION_S = 180
_STORE_ENV = "MLFLOW_BACKEND_STORE_URI"  # a container is told of its store by it: everybody may read a command line
_MIGRATE = "import os, sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as S; "
_MIGRATE += f"S(os.environ['{_STORE_ENV}'], *sys.argv[1:])"


def restricted(env: Mapping[str, str], users: Path) -> Component:
    """The recipe of a process that asks for a user and a password, and holds the roles to their matrix.

    `env` names MLflow's basic-auth configuration (MLFLOW_AUTH_CONFIG_PATH), and has the key of its sessions; `users` is
    the SQLite file that the configuration names.
    """
    recipe = mlflow()
    return replace(recipe, env={**recipe.env, **env}, config={**recipe.config, "users": str(users)})


def mlflow(*, image: str = "", store: str = "sqlite:///{folder}/mlflow.db") -> Component:
    """The recipe: port "http"; the artifacts lie in the component's folder, and so does the store unless one is named.

    `store` is a URI of SQLAlchemy, such as postgresql+psycopg2://user:password@host/database.
    """
    artifacts = "{folder}/artifacts"
    settings = {"db": "{folder}/mlflow.db", "store": store, "artifacts": artifacts, "port": "{port[http]}"}
    return Component(
        name="mlflow",
        version=tag_of(image) or version(),
        argv=(
            *(("mlflow",) if image else (sys.executable, "-P", "-m", "mlflow")),
            "server", "--host", "{host}", "--port", "{port[http]}",
            *(() if image else ("--backend-store-uri", store)),
            "--artifacts-destination", artifacts, "--serve-artifacts",
            "--workers", "1", *(("--allowed-hosts", "*") if image else ()),  # peers know it by names that it does not
        ),
        image=image,
        inside={"http": 5000},
        limits=Limits(memory_mib=1024),
        env={**server_env(), **({_STORE_ENV: store} if image else {})},
        ready=Ready(port="http", path="/health"),
        warm=SERVE,
        config=settings,
        restart=Restart(at_most=3),
    )  # fmt: skip


def migrated(store: str, *, image: str = IMAGE) -> Component:
    """The recipe of its container over a store that is migrated already: its ASGI application alone, in half the time.

    As the warm way of a process it relies on MLflow's private variables; `mlflow` with an image is its command line.
    """
    settings = {"store": store, "artifacts": "{folder}/artifacts"}
    return replace(
        mlflow(image=image, store=store),
        argv=(
            "python", "-m", "uvicorn", "--host", "{host}", "--port", "{port[http]}", "--log-level", "warning",
            "mlflow.server.fastapi_app:app",
        ),
        env={**server_env(), **_worker_env(settings), "MLFLOW_SERVER_ALLOWED_HOSTS": "*"},
    )  # fmt: skip


def migration(store: str, *, image: str = IMAGE) -> Component:
    """The recipe of a container that migrates an empty store and ends."""
    argv = ("python", "-c", _MIGRATE, "mlflow-artifacts:/")
    return replace(mlflow(image=image, store=store), name="mlflow-migration", argv=argv, ports=(), inside={})


def version() -> str:
    return importlib.metadata.version("mlflow")


def server_env() -> dict[str, str]:
    """What keeps the server to one process that tells nobody of itself."""
    return {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def serve(config: dict[str, Any]) -> None:
    """Run the server until SIGTERM, over a copy of the template store; the target of a fork."""
    database = Path(config["db"])
    for path, template in ((database, RUNS), (Path(config.get("users", database)), USERS)):
        if not path.exists():
            copy_template(path, template)
    os.environ.update(_worker_env(config))
    import uvicorn

    settings = uvicorn.Config(_application(config), host="127.0.0.1", port=int(config["port"]), log_level="warning")
    exit_zero_on_sigterm()
    uvicorn.Server(settings).run()


def _application(config: dict[str, Any]) -> Any:
    """MLflow's, imported after the environment is set: some of it is read at import."""
    if "users" in config:
        from mlflow.server.auth import create_app

        from harness.components.mlflow_guard import Guard

        return Guard(create_app(), Path(config["artifacts"]))
    from mlflow.server.fastapi_app import app

    return app


@dataclass(frozen=True)
class Template:
    """An empty, migrated SQLite file: its name in the cache, the table that says so, and the arguments that make it."""

    name: str
    head: str
    argv: tuple[str, ...]


RUNS = Template("template.db", "alembic_version", ("-c", _MIGRATE, "mlflow-artifacts:/"))
USERS = Template(
    "users.db", "alembic_version_auth", ("-m", "mlflow.server.auth", "db", "upgrade", "--url", "sqlite:///{fresh}")
)


def copy_template(database: Path, which: Template = RUNS) -> None:
    """Put a migrated, empty store at `database`, which its owner alone reads."""
    database.parent.mkdir(parents=True, exist_ok=True)
    temporary = database.with_suffix(f".{os.getpid()}.new")
    shutil.copyfile(template(which), temporary)
    temporary.chmod(0o600)
    temporary.replace(database)


def template(which: Template = RUNS) -> Path:
    """The migrated store in the cache; made by the first that asks, and safe when two make it at once."""
    path = cache_home() / f"mlflow-{version()}" / which.name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_template(path, which)
    return path


def _make_template(path: Path, which: Template) -> None:
    with tempfile.TemporaryDirectory(prefix=".template-", dir=path.parent) as folder:
        fresh = Path(folder) / "mlflow.db"
        # In a process of its own: alembic configures the logging of the process that it runs in.
        argv = [sys.executable, *(each.format(fresh=fresh) for each in which.argv)]
        env = {**os.environ, **server_env(), _STORE_ENV: f"sqlite:///{fresh}"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=MIGRATION_S, check=False)
        if done.returncode != 0 or not _is_migrated(fresh, which.head):
            tail = "\n".join(done.stderr.splitlines()[-5:])
            raise PlatformError(f"mlflow: cannot make the template store: exit code {done.returncode}.\n{tail}")
        fresh.replace(path)  # whole or not at all; a second maker replaces it by an equal one


def _is_migrated(database: Path, head: str) -> bool:
    if not database.exists():
        return False
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("select 1 from sqlite_master where name = ?", (head,)).fetchall()
    finally:
        connection.close()
    return bool(rows)


def _worker_env(config: dict[str, Any]) -> dict[str, str]:
    """What `mlflow server` sets for its workers (mlflow/server/constants.py)."""
    return {
        "_MLFLOW_SERVER_FILE_STORE": config["store"],
        "_MLFLOW_SERVER_REGISTRY_STORE": config["store"],
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": config["artifacts"],
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
