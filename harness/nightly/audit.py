"""Whether a dependency that is installed here is known to be vulnerable, by pip-audit.

    python -P -m harness.nightly.audit FILE

FILE gets pip-audit's report. pip-audit takes "nothing is known of it" for "nothing is wrong with it": an index without
the database's pages is all green to it. So what could not be judged fails here, and whether there is a database at all
is found out by a version that has been vulnerable for years.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VULNERABLE = ("jinja2", "2.10")
"""CVE-2019-10906: a sandbox that can be left."""
PROBE_S = 60
AUDIT_S = 900
OURS = "rehearsal"
_AUDIT = ("-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10")


@dataclass(frozen=True)
class Findings:
    """`vulnerable`: a line for each known vulnerability; `unjudged`: for each package of which nothing is known."""

    judged: int
    vulnerable: list[str]
    unjudged: list[str]

    @property
    def passed(self) -> bool:
        return bool(self.judged) and not self.vulnerable and not self.unjudged


def findings(report: Mapping[str, Any]) -> Findings:
    """What pip-audit's JSON says, this package itself left out: no index has what is being worked on."""
    packages = [each for each in report["dependencies"] if each["name"] != OURS]
    return Findings(
        judged=sum("skip_reason" not in each for each in packages),
        vulnerable=[
            f"{each['name']} {each['version']}: {found['id']}, {_mended(found.get('fix_versions', []))}"
            for each in packages
            for found in each.get("vulns", [])
        ],
        unjudged=[f"{each['name']}: {each['skip_reason']}" for each in packages if "skip_reason" in each],
    )


def why_missing() -> str:
    """Why nothing can be audited here; empty if it can."""
    if importlib.util.find_spec("pip_audit") is None:
        return "pip-audit is not installed. Hint: pip install pip-audit"
    name, version = VULNERABLE
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "requirements.txt"
        asked.write_text(f"{name}=={version}\n", encoding="utf-8")
        words = _pip_audit("--requirement", str(asked), "--no-deps", "--disable-pip", within_s=PROBE_S)
    return unknown(words)


def unknown(words: str) -> str:
    """Why the answer about the vulnerable version shows that no database answers; empty if it knows of it."""
    told = _report(words)
    found = findings(told) if told else Findings(0, [], [(words.strip().splitlines() or ["no answer"])[-1][:300]])
    if found.vulnerable:
        return ""
    reason = found.unjudged[0] if found.unjudged else "nothing is known against it"
    return (
        f"no vulnerability database can be reached: of {' '.join(VULNERABLE)}, which is known to be vulnerable, "
        f"pip-audit says: {reason}"
    )


def main(argv: Sequence[str]) -> int:
    """Audit what is installed; 0 if all of it was judged and none is vulnerable."""
    (place,) = argv
    words = _pip_audit("--local", "--skip-editable", within_s=AUDIT_S)
    report = _report(words)
    if report is None:
        print(f"FAILED pip-audit gave no report: {words.strip()[-500:]}")
        return 1
    Path(place).write_text(json.dumps(report, indent=1), encoding="utf-8")
    found = findings(report)
    for line in found.vulnerable:
        print(f"FAILED vulnerable: {line}")
    for line in found.unjudged:
        print(f"FAILED could not be judged: {line}")
    print(f"{found.judged} packages judged, {len(found.vulnerable)} vulnerabilities, {len(found.unjudged)} unjudged")
    return 0 if found.passed else 1


def _pip_audit(*arguments: str, within_s: float) -> str:
    """Its report, or its last words if it made none."""
    argv = [sys.executable, *_AUDIT, *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        return f"pip-audit was not done after {within_s:g} s"
    return done.stdout if _report(done.stdout) else done.stderr


def _report(words: str) -> dict[str, Any] | None:
    try:
        told = json.loads(words)
    except ValueError:
        return None
    return told if isinstance(told, dict) and "dependencies" in told else None


def _mended(versions: Sequence[str]) -> str:
    return f"mended in {', '.join(versions)}" if versions else "not mended yet"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
