"""A case on a disk of its own that can be filled: a small tmpfs, mounted for one process and its children alone.

`python -P -m harness.chaos.small_disk PLACE ASIDE MODELS CASE RPS` runs the case in the folder PLACE, where `mounted`
has put the disk, and writes its ChaosCase to ASIDE/case.json. The logs and the load's files lie in ASIDE too: what
accounts for requests must not be on the disk that runs full, or nobody could tell what became of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.chaos.faults import phase_name, phase_named
from harness.chaos.matrix import Case
from harness.errors import CapabilityMissing, StepFailed
from harness.report.record import ChaosCase

if TYPE_CHECKING:
    from harness.platform import Platform

SIZE_MB = 96
WITHIN_S = 180.0
RESULT = "case.json"
# The disk goes with its processes, so what they wrote is copied out.
_SCRIPT = (
    'mount -t tmpfs -o size="$0"m tmpfs "$1" && { place=$1; shift; "$@"; code=$?; '
    'cp -r "$place" "$place.kept"; exit $code; }'
)


def mounted(place: Path) -> list[str]:
    """The start of a command line: what follows sees a disk of SIZE_MB at `place`; or CapabilityMissing."""
    if shutil.which("unshare") is None:
        raise CapabilityMissing("a small disk", hint="install util-linux, which has unshare")
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    start = ["unshare", "--mount", *root]
    tried = subprocess.run(
        [*start, "mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, text=True, timeout=30, check=False
    )
    if tried.returncode:
        raise CapabilityMissing("a small disk", hint=f"this user may mount none here: {tried.stderr.strip()}")
    return [*start, "sh", "-c", _SCRIPT, str(SIZE_MB), str(place)]


def run_there(platform: Platform, models: Path, case: Case, rps: float) -> ChaosCase:
    """Run a case in a platform of its own on a small disk, and copy what that wrote to disk.kept in the run folder."""
    place, aside = platform.run.folder / "disk", platform.run.folder / "aside"
    place.mkdir()
    aside.mkdir()
    told = json.dumps({**asdict(case), "phase": phase_name(case.phase)})
    module = [sys.executable, "-P", "-m", "harness.chaos.small_disk"]
    argv = [*mounted(place), *module, str(place), str(aside), str(models), told, str(rps)]
    supervisor = platform.backend.supervisor
    child = supervisor.spawn("disk-case", argv, task=True)
    try:
        child.wait(WITHIN_S)
    finally:
        supervisor.stop(child)
    result = aside / RESULT
    if not result.exists():
        raise StepFailed(f"{case.name}: its process did not answer.\n{child.tail()}")
    return ChaosCase.model_validate_json(result.read_text(encoding="utf-8"))


def main(place: str, aside: str, models: str, told: str, rps: str) -> None:
    from harness.backends.embedded.session import Session
    from harness.chaos.case import run_case
    from harness.chaos.models import saved_models
    from harness.platform import Platform
    from harness.run import Run

    fields = json.loads(told)
    case = Case(**{**fields, "phase": phase_named(fields["phase"])})
    folder = Path(place)
    (folder / "run").mkdir()
    for kept in ("logs", "loads"):
        (Path(aside) / kept).mkdir()
        (folder / "run" / kept).symlink_to(Path(aside) / kept)
    run = Run(folder / "run", title=case.name, backend="embedded")
    with (
        Session(folder / "session") as session,
        run,
        Platform(session.backend(run.folder, run.events), run) as platform,
    ):
        found = run_case(platform, saved_models(platform, Path(models)), case, rps=float(rps))
        run.record.chaos.append(found)
    (Path(aside) / RESULT).write_text(found.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
