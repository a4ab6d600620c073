"""MLflow's server, over SQLite or over a PostgreSQL beside it, with the artifacts behind its proxy."""

from __future__ import annotations

import secrets
from typing import Any, Self

from harness.components import mlflow, postgres
from harness.components.component import Component
from harness.containers.recipe import RecipeContainer


class PostgresContainer(RecipeContainer):
    """PostgreSQL whose data are kept in memory and never synced: a store for as long as a test takes.

    `get_connection_url` is SQLAlchemy's, with the driver psycopg2 unless another is named, or none (None).
    """

    def __init__(
        self, image: str = postgres.IMAGE, *, dbname: str = "mlflow", password: str = "", **kwargs: Any
    ) -> None:
        super().__init__(image, **kwargs)
        self.username, self.dbname = postgres.USER, dbname
        self.password = password or secrets.token_hex(8)

    def recipe(self) -> Component:
        return postgres.postgres(self.password, database=self.dbname, image=self.image)

    def get_connection_url(self, *, driver: str | None = "psycopg2") -> str:
        """The URL of the database from this machine."""
        return self._dsn(driver, self.get_url("postgres").removeprefix("http://"))

    def get_network_url(self, port: str = "postgres", *, driver: str | None = "psycopg2") -> str:
        """The URL of the database for the other containers of its network."""
        return self._dsn(driver, super().get_network_url(port).removeprefix("http://"))

    def _dsn(self, driver: str | None, address: str) -> str:
        dialect = f"postgresql+{driver}" if driver else "postgresql"
        return f"{dialect}://{self.username}:{self.password}@{address}/{self.dbname}"


class MLflowContainer(RecipeContainer):
    """MLflow's tracking server, registry and artifact proxy.

    with MLflowContainer() as server:
        mlflow.set_tracking_uri(server.get_tracking_uri())
    """

    def __init__(self, image: str = mlflow.IMAGE, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)
        self._store = ""

    def with_backend_store(self, uri: str) -> Self:
        """Keep runs and the registry there, a URI of SQLAlchemy as the container sees it; by default in its folder."""
        self._store = uri
        return self

    def recipe(self) -> Component:
        return mlflow.mlflow(image=self.image, **({"store": self._store} if self._store else {}))

    def get_tracking_uri(self) -> str:
        """What clients of this machine give to `mlflow.set_tracking_uri`."""
        return self.get_url()
