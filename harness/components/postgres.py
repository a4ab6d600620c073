"""PostgreSQL: the store behind MLflow where MLflow is a container."""

from __future__ import annotations

from harness.components.component import LOOPBACK, Component, Limits, Ready, Restart, tag_of

IMAGE = "docker.io/library/postgres:15"
USER = "postgres"
DATA = "/var/lib/postgresql/data"


def postgres(password: str, *, database: str = "mlflow", image: str = IMAGE) -> Component:
    """The recipe of its container: port "postgres". Its data live no longer than it does, so nothing is synced."""
    return Component(
        name="postgres",
        version=tag_of(image),
        argv=("postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
        image=image,
        env={
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": password,
            "POSTGRES_DB": database,
            "PGDATA": f"{DATA}/pgdata",  # it wants to own the folder, which what lies in memory does not let it
        },
        ports=("postgres",),
        inside={"postgres": 5432},
        scratch=(DATA,),
        limits=Limits(memory_mib=512),
        # The server of the first start, which makes the database, listens on no address.
        ready=Ready("postgres", command=("pg_isready", "--quiet", "--host", LOOPBACK, "--dbname", database)),
        restart=Restart(at_most=3),
    )
