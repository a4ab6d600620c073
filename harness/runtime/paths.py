"""Where Rehearsal keeps what outlives a run; every place has an environment variable, and XDG's defaults.

REHEARSAL_CACHE   downloaded programs, templates, pipeline caches; safe to delete (default $XDG_CACHE_HOME/rehearsal)
REHEARSAL_STATE   one file for each running platform (default $XDG_STATE_HOME/rehearsal)
REHEARSAL_RUNS    the run folders with their reports (default ./reports)
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import Literal

from harness.errors import CapabilityMissing, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PACKAGE = Path(__file__).resolve().parents[1]


def cache_home() -> Path:
    """The folder of everything that can be made again; created if missing."""
    return _made(_place("REHEARSAL_CACHE", "XDG_CACHE_HOME", ".cache"))


def state_home() -> Path:
    """The folder of the state files of running platforms; created if missing."""
    return _made(_place("REHEARSAL_STATE", "XDG_STATE_HOME", ".local/state"))


def runs_home(folder: str | Path | None = None) -> Path:
    """The folder that holds run folders: `folder`, else REHEARSAL_RUNS, else ./reports; not created."""
    return Path(folder or os.environ.get("REHEARSAL_RUNS") or "reports").expanduser().absolute()


def new_run_folder(home: Path, name: str) -> Path:
    """Creates home/<UTC time>-<name>, numbered if another run took that name in the same second."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"run name: expected 1 to 64 letters, digits, '.', '_' or '-', got {name!r}")
    stem = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{name}"
    for number in range(1, 1000):
        folder = home / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not home.is_dir():
                raise UsageError(f"reports folder: {home} is not a folder") from None
            continue
        except OSError as error:
            raise UsageError(f"reports folder: cannot write {home}: {error.strerror}") from error
        return folder
    raise UsageError(f"reports folder: {home} has 1000 runs named {stem}")


def find_run(run: str, home: Path) -> Path:
    """The run folder that `run` names: a path, a run id, the start of one, or "latest"."""
    for folder in (Path(run), home / run):
        if (folder / "run.json").is_file():
            return folder
    runs = sorted(path.parent for path in home.glob("*/run.json"))
    matches = runs[-1:] if run == "latest" else [path for path in runs if path.name.startswith(run)]
    if len(matches) == 1:
        return matches[0]
    found = ", ".join(path.name for path in (matches or runs)[-5:]) or "none"
    word = "several match" if matches else "no such run"
    raise UsageError(f"run {run!r}: {word} in {home}; the newest there: {found}")


def find_program(name: str) -> Path | None:
    """The program `name` on PATH, else the one that set-up put into the cache, else None."""
    found = shutil.which(name) or shutil.which(name, path=str(cache_home() / "bin"))
    return Path(found) if found else None


def data_path(name: str) -> Path:
    """A file or folder that comes with Rehearsal: beside harness/ in its own repository, else the copy in the wheel.

    The names are those of the wheel's force-include in pyproject.toml. Errors: CapabilityMissing.
    """
    repository = _PACKAGE.parent
    places = [_PACKAGE / "_data" / name]
    if (repository / "pyproject.toml").is_file():
        places.insert(0, repository / name)
    for place in places:
        if place.exists():
            return place
    raise CapabilityMissing(
        f"{name} did not come with this installation.", hint="pip install --force-reinstall rehearsal"
    )


def data_folder(name: Literal["manifests", "images", "loadtests"]) -> Path:
    """The folder of that name which comes with Rehearsal; see data_path."""
    return data_path(name)


def _place(variable: str, xdg: str, default: str) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get(xdg, "")
    return (Path(base) if base.startswith("/") else Path.home() / default) / "rehearsal"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write the folder {folder}")
    return folder
