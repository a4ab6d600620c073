"""The build itself: along the graph, nothing twice, and nothing half-made after an error or Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import PlatformError, UsageError
from harness.images import cache
from harness.images.builder import Builder, Source
from harness.images.catalogue import Catalogue, Item
from harness.images.graph import How
from harness.images.kinds import KINDS
from harness.images.making import Commands, Kind, Making
from harness.runtime.events import Event

ITEMS = {
    "part/base": Item("part/base", "part", "base", "shell", (), {"script": "echo base > base"}),
    "part/one": Item("part/one", "part", "one", "shell", ("part/base",), {"script": "cat $BASE/base > one"}),
    "part/two": Item("part/two", "part", "two", "shell", ("part/base",), {"script": "cat $BASE/base > two"}),
}


def run_script(making: Making) -> None:
    base = str(making.parts.get("part/base", ""))
    env = {"PATH": "/usr/bin:/bin", "BASE": base}
    making.run("sh", "-c", making.item.options["script"], cwd=making.folder, env=env, timeout_s=30)


@pytest.fixture(autouse=True)
def shell_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and a kind of which the items above are."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(KINDS, "shell", Kind(lambda item, catalogue: [], run_script))


def get(items: dict[str, Item], *wanted: str) -> tuple[list[str], list[How]]:
    """Which items were made, in the order of their ends, and how the wanted ones are had then."""
    events: list[Event] = []
    states = Builder(Catalogue(items, Path()), Source.BUILD, events.append).get(wanted)
    return [event.subject for event in events if event.kind == "step.passed"], [each.how for each in states.values()]


def with_script(name: str, script: str) -> dict[str, Item]:
    return {**ITEMS, name: Item(name, "part", name, "shell", ITEMS[name].needs, {"script": script})}


def test_parts_are_made_before_what_is_made_of_them() -> None:
    """One command gets an image with everything below it."""
    made, how = get(ITEMS, "part/one", "part/two")
    assert made[0] == "part/base"
    assert set(made[1:]) == {"part/one", "part/two"}
    assert how == [How.BUILT, How.BUILT]


def test_what_is_unchanged_is_not_made_again() -> None:
    """A warm build only looks."""
    get(ITEMS, "part/one")
    assert get(ITEMS, "part/one") == ([], [How.BUILT])


def test_a_change_makes_only_what_depends_on_it() -> None:
    """The base stays when what lies above it changes."""
    get(ITEMS, "part/one", "part/two")
    assert get(with_script("part/one", "echo new > one"), "part/one", "part/two")[0] == ["part/one"]


def test_a_failure_ends_the_build_with_the_last_lines_of_the_log_and_its_place() -> None:
    """The reason is on the screen, and the whole story in a file."""
    with pytest.raises(
        PlatformError, match=r"(?s)sh -c ended with exit code 3: .*no such header.*Hint: the whole log: "
    ):
        get(with_script("part/one", "echo no such header; exit 3"), "part/one")
    assert not list((cache.home() / "part_one").glob("*"))


def test_a_failure_stops_what_runs_beside_it() -> None:
    """Nobody waits minutes for a build that has already failed."""
    items = with_script("part/one", "until [ -e $BASE/../../part_two/.half-*/began ]; do :; done; exit 3")
    items |= {"part/two": with_script("part/two", "touch began; exec sleep 600")["part/two"]}
    with pytest.raises(PlatformError, match="exit code 3"):
        get(items, "part/one", "part/two")
    assert not list((cache.home() / "part_two").glob("*"))


def test_too_little_disk_is_said_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is needed and what is there."""
    monkeypatch.setattr("harness.images.builder.free_mb", lambda folder: 100.0)
    with pytest.raises(UsageError, match=r"has 0\.1 GB free; building needs 0\.8 GB"):
        get(ITEMS, "part/one")


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """A download that hangs ends with its name and the limit, and leaves no process."""
    log = tmp_path / "log"
    with pytest.raises(PlatformError, match=r"sh -c took longer than 1 s"):
        Commands().run(["sh", "-c", "echo $$; exec sleep 600"], log=log, timeout_s=1)
    assert not Path(f"/proc/{int(log.read_text())}").exists()


INTERRUPTED = """
import sys
from pathlib import Path
from harness.images.builder import Builder, Source
from harness.images.catalogue import Catalogue, Item
from harness.images.kinds import KINDS
from harness.images.making import Kind

def make(making):
    making.run("sh", "-c", "touch began; echo $$; exec sleep 600", cwd=making.folder, timeout_s=600)

KINDS["slow"] = Kind(lambda item, catalogue: [], make)
item = Item("part/slow", "part", "slow", "slow")
Builder(Catalogue({item.id: item}, Path()), Source.BUILD, lambda event: print(event.kind, flush=True)).get([item.id])
"""


def test_ctrl_c_leaves_neither_a_process_nor_half_an_item(tmp_path: Path) -> None:
    """The next build starts clean, and no compiler goes on in the background."""
    argv = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"step.started\n"
        log = cache.home() / "logs" / "part_slow.log"
        while not (log.is_file() and log.read_text().endswith("\n")):
            assert builder.poll() is None
        child = int(log.read_text())
        builder.send_signal(signal.SIGINT)
        assert builder.wait(10) != 0
    assert not Path(f"/proc/{child}").exists()
    assert not list((cache.home() / "part_slow").glob("*"))
