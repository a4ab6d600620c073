"""How a world is restricted to the roles of the matrix: its credentials, and where they are kept.

The secrets are made for the run, in files of 0600 outside of the run's folder, and are never an argument of a process.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.components.gateway import KEY_HEADER
from harness.lifecycle.access import ROLES, STAGES, askers
from harness.runtime.secret_files import SecretFiles

PLATFORM = "rehearsal"
"""The user and the gateway's client of the platform itself; no role."""
_USERS = "users.db"
_INI = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/{users}
admin_username = {user}
admin_password = {password}
auth_cache_ttl_seconds = 60
"""


@dataclass(frozen=True)
class Restriction:
    """Credentials of the platform, of the roles, and of applications; `files` has them on the disk.

    `passwords` are those of MLflow's users and `keys` those at the gateway, by role or by the name of an application.
    """

    files: SecretFiles = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)
    mlflow_config: Path
    _session_key: str = field(repr=False)

    @classmethod
    def new(cls, applications: tuple[str, ...] = ("application",)) -> Restriction:
        """Fresh secrets for everybody."""
        files = SecretFiles()
        passwords = {name: files.new(f"mlflow-{name}")[0] for name in (PLATFORM, *ROLES)}
        keys = {name: files.new(f"gateway-{name}")[0] for name in (PLATFORM, *ROLES, *applications)}
        ini = files.write(
            "mlflow.ini", _INI.format(folder=files.folder, users=_USERS, user=PLATFORM, password=passwords[PLATFORM])
        )
        return cls(files, passwords, keys, ini, secrets.token_urlsafe(32))

    @property
    def users(self) -> Path:
        """MLflow's database of users."""
        return self.files.folder / _USERS

    @property
    def server_env(self) -> dict[str, str]:
        """What MLflow's server is told."""
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.mlflow_config),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self._session_key,
            "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
        }

    @property
    def client_env(self) -> dict[str, str]:
        """With what the platform's own jobs and replicas come to MLflow."""
        return {"MLFLOW_TRACKING_USERNAME": PLATFORM, "MLFLOW_TRACKING_PASSWORD": self.passwords[PLATFORM]}

    @property
    def login(self) -> tuple[str, str]:
        """The platform's own, at MLflow."""
        return PLATFORM, self.passwords[PLATFORM]

    @property
    def key(self) -> tuple[str, str]:
        """The platform's own, at the gateway: the header and its value."""
        return KEY_HEADER, self.keys[PLATFORM]

    @property
    def login_file(self) -> tuple[str, Path]:
        """The same, for a process that is told where the password is."""
        return PLATFORM, self.files.folder / f"mlflow-{PLATFORM}"

    def clients(self, namespace: str) -> tuple[str, ...]:
        """Who may ask the services of a namespace; of one that is no environment the platform alone."""
        roles = askers(namespace) if namespace in STAGES else ()
        applications = [name for name in self.keys if name not in (PLATFORM, *ROLES)]
        return (PLATFORM, *roles, *(applications if namespace == "production" else ()))

    def secret_values(self) -> list[str]:
        """All of them, for whoever looks whether one has leaked."""
        return [*self.passwords.values(), *self.keys.values(), self._session_key]
