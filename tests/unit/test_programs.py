"""Programs out of Debian's packages: the binaries alone, only if there is none, and a reason where there is no way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.errors import CapabilityMissing
from harness.programs import ALERTMANAGER, PROMETHEUS, PROMTOOL, fetch, find
from harness.runtime.paths import cache_home

# Without lists of its own apt finds nothing, as on a machine where nobody ran apt-get update.
APT = """#!/bin/sh
echo "$*" >> "$JOURNAL"
case "$*" in
*update) exit "${UPDATE_CODE:-0}" ;;
*lists=*download*) for name; do :; done; touch "${name}_1.0_amd64.deb" ;;
*) echo "E: Unable to locate package prometheus" >&2; exit 100 ;;
esac
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr/bin"
for name in prometheus promtool prometheus-alertmanager; do
printf '#!/bin/sh\\nexit %s\\n' "${PROMETHEUS_CODE:-0}" > "$3/usr/bin/$name"
chmod +x "$3/usr/bin/$name"
done
mkdir -p "$3/usr/share/prometheus/alertmanager"
echo "# /usr/share/prometheus/alertmanager/default.tmpl" >> "$3/usr/bin/prometheus-alertmanager"
touch "$3/usr/share/prometheus/alertmanager/default.tmpl"
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with apt and dpkg, written as scripts, and an empty cache; returns the folder of the programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in ("sh", "mkdir", "touch", "chmod", "printf"):
        (programs / tool).symlink_to(str(shutil.which(tool)))
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    return programs


def test_the_binary_is_unpacked_into_the_cache_and_found_again(machine: Path, tmp_path: Path) -> None:
    """With fresh lists of its own, since apt's are empty; the second time nothing is asked."""
    found = fetch(PROMETHEUS)
    assert found == cache_home() / "bin/prometheus"
    assert os.access(found, os.X_OK)
    (tmp_path / "journal").unlink()
    assert fetch(PROMETHEUS) == found
    assert not (tmp_path / "journal").exists()


def test_nothing_but_the_binary_is_left(machine: Path) -> None:
    """Neither the package nor apt's lists stay in the cache."""
    fetch(PROMETHEUS)
    assert [path.name for path in cache_home().iterdir()] == ["bin"]


def test_a_prometheus_on_path_is_taken_as_it_is(machine: Path, tmp_path: Path) -> None:
    """The machine's own comes first; apt is not asked."""
    own = machine / "prometheus"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert fetch(PROMETHEUS) == own
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize(
    ("variable", "missing", "reason"),
    [
        ("UPDATE_CODE", "", r"could not be fetched \(apt-get\): exit code 1"),
        ("PROMETHEUS_CODE", "", r"could not be fetched \(.*/prometheus\): exit code 1"),
        ("", "apt-get", "prometheus is not here, and neither is apt-get"),
        ("", "dpkg-deb", "prometheus is not here, and neither is dpkg-deb"),
    ],
)
def test_where_it_cannot_be_had_the_reason_is_said(
    variable: str, missing: str, reason: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network, no Debian, a binary that does not run: a reason and a hint, and nothing half-written."""
    if variable:
        monkeypatch.setenv(variable, "1")
    if missing:
        (machine / missing).unlink()
    with pytest.raises(CapabilityMissing, match=reason) as caught:
        fetch(PROMETHEUS)
    assert "apt-get install prometheus" in caught.value.hint
    assert list(cache_home().iterdir()) == []


def test_what_is_in_the_same_package_comes_with_it(machine: Path, tmp_path: Path) -> None:
    """promtool with Prometheus, in one download; Alertmanager by its own, under upstream's name."""
    fetch(PROMETHEUS)
    assert find(PROMTOOL) == cache_home() / "bin/promtool"
    assert find(ALERTMANAGER) is None
    assert fetch(ALERTMANAGER) == cache_home() / "bin/alertmanager"
    assert (tmp_path / "journal").read_text().count("download prometheus-alertmanager") == 2


def test_what_a_binary_reads_beside_itself_is_found_without_root(machine: Path) -> None:
    """Debian's Alertmanager has the path of its templates in it; the binary keeps its length."""
    binary = fetch(ALERTMANAGER)
    assert (binary.parent / "alertmanager-share/default.tmpl").is_file()
    *_, line = binary.read_text().splitlines()
    assert line == "# .///////////////alertmanager-share/default.tmpl"
    assert len(line) == len("# /usr/share/prometheus/alertmanager/default.tmpl")


def test_debians_name_of_alertmanager_is_known(machine: Path) -> None:
    """As apt-get install has it on PATH."""
    own = machine / "prometheus-alertmanager"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert find(ALERTMANAGER) == own
