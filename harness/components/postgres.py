"""PostgreSQL: the store behind MLflow where MLflow is a container."""

from __future__ import annotations

from harness.components.component import LOOPBACK, Component, Limits, Ready, Restart, tag_of

IMAGE = "docker.io/library/postgres:15"
USER = "postgres"
DATA = "/var/lib/postgresql/data"
SOCKETS = "/run/postgresql"
"""Where clients inside of the container find it: `psql --host`. The official image looks there at its first start."""
_OWN_USER = "999:999"
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "unix_socket_directories": SOCKETS,
}


def postgres(password: str, *, database: str = "mlflow", image: str = IMAGE) -> Component:
    """The recipe of its container: port "postgres". Its data live no longer than it does, so nothing is synced."""
    return Component(
        name="postgres",
        version=tag_of(image),
        argv=("postgres", *(word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}"))),
        image=image,
        env={
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": password,
            "POSTGRES_DB": database,
            "PGDATA": f"{DATA}/pgdata",  # it wants to own the folder, which what lies in memory does not let it
        },
        ports=("postgres",),
        inside={"postgres": 5432},
        scratch=(DATA, SOCKETS),
        user=_OWN_USER,
        limits=Limits(memory_mib=512),
        # The server of the first start, which makes the database, listens on no address.
        ready=Ready("postgres", command=("pg_isready", "--quiet", "--host", LOOPBACK, "--dbname", database)),
        restart=Restart(at_most=3),
    )
