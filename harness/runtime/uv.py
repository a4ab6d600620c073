"""uv, and what it must be told of pip's settings, which it does not read."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import CapabilityMissing

_ASK_TIMEOUT_S = 20

# What pip's configuration calls what uv reads from a variable.
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}


def uv(what: str) -> str:
    """Its path; CapabilityMissing, of what it is for, where there is none."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise CapabilityMissing(f"{what} needs uv.", hint="pip install uv")
    return found


def environment() -> dict[str, str]:
    """This process's variables with pip's settings as uv reads them."""
    return {**os.environ, **uv_settings(_pip_settings(), os.environ)}


def uv_settings(pip_settings: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """What uv must be told of pip's settings (`pip config list`), less what its own variables in `env` say already."""
    found: dict[str, str] = {}
    for line in pip_settings:
        name, _, value = line.partition("=")
        variable = _UV_NAMES.get(name.rpartition(".")[2])
        if variable and variable not in env:
            found[variable] = value.strip().strip("'").replace("\\n", " ").strip()
    return found


def _pip_settings() -> list[str]:
    if importlib.util.find_spec("pip") is None:
        return []
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)
    return done.stdout.splitlines()
