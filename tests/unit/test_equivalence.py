"""The comparison of worlds: what is alike, what a missing capability explains, and what is a defect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness._cli_equivalence import options_of
from harness._cli_world import flags
from harness._equivalence_worlds import WORLDS, Suite, why_missing
from harness.backends.backend import Capability
from harness.cli import run_command
from harness.equivalence import Kind, Outcome, Verdict, WorldRun, compare, judge, parse_junit
from harness.errors import UsageError
from tests.unit.fake_programs import fake_programs

CAPABILITIES = {"metrics", "transformer"}
PASSED = Outcome(Verdict.PASSED)
FAILED = Outcome(Verdict.FAILED, "assert 1 == 2")
NO_METRICS = Outcome(Verdict.SKIPPED, "metrics: install Prometheus")
OWN = {
    "--context", "--kubeconfig", "--namespaces", "--install", "--allow-remote", "--image-prefix", "--reuse", "--keep",
}  # fmt: skip
ENGINE = """case "$1" in
info) echo '{"ServerVersion": "28.5.1", "MemTotal": 68719476736}' ;;
import) cat > /dev/null ;;
run) echo "docker: Error: %s." >&2; exit 127 ;;
esac"""
NO_REASON = Outcome(Verdict.SKIPPED, "flaky on Tuesdays")


@pytest.mark.parametrize(
    ("embedded", "kind", "expected", "why"),
    [
        (PASSED, PASSED, Kind.ALIKE, ""),
        (NO_METRICS, NO_METRICS, Kind.ALIKE, "metrics: install Prometheus"),
        (PASSED, NO_METRICS, Kind.EXPLAINED, "kind lacks metrics"),
        (PASSED, NO_REASON, Kind.DEFECT, "skipped in kind for no capability: flaky on Tuesdays"),
        (PASSED, FAILED, Kind.DEFECT, "fails in kind: assert 1 == 2"),
        (FAILED, NO_METRICS, Kind.DEFECT, "fails in embedded: assert 1 == 2"),
        (FAILED, FAILED, Kind.DEFECT, "fails in every world: assert 1 == 2"),
    ],
)
def test_a_row_is_alike_explained_or_a_defect(embedded: Outcome, kind: Outcome, expected: Kind, why: str) -> None:
    assert judge({"embedded": embedded, "kind": kind}, CAPABILITIES) == (expected, why)


def test_a_test_that_one_world_did_not_run_is_a_defect() -> None:
    found = compare([WorldRun("embedded", {"a": PASSED}), WorldRun("kind", {})], CAPABILITIES)
    assert [(row.kind, row.why) for row in found.rows] == [(Kind.DEFECT, "was not run in kind")]
    assert not found.equivalent


def test_a_world_that_is_not_here_is_named_and_compared_with_nothing() -> None:
    found = compare([WorldRun("embedded", {"a": PASSED}), WorldRun("kind", {}, "no Docker")], CAPABILITIES)
    assert (found.worlds, found.missing) == (("embedded",), {"kind": "no Docker"})
    assert found.equivalent


def test_nothing_that_ran_is_not_equivalent() -> None:
    assert not compare([WorldRun("kind", {}, "no Docker")], CAPABILITIES).equivalent


JUNIT = """<testsuites><testsuite>
<testcase classname="tests.contract.test_platform" name="test_a[v1]" time="1.5"/>
<testcase classname="tests.contract.test_platform" name="test_b"><skipped message="metrics: get it"/></testcase>
<testcase classname="tests.contract.test_platform" name="test_c"><failure message="assert 1&#10;more"/></testcase>
<testcase classname="tests.contract.test_platform" name="test_d"/>
<testcase classname="tests.contract.test_platform" name="test_d"><error message="failed on teardown"/></testcase>
</testsuite></testsuites>"""


def test_pytests_report_is_read_with_the_worst_entry_of_each_test() -> None:
    found = parse_junit(JUNIT, "junit.xml")
    assert found == {
        "tests/contract/test_platform.py::test_a[v1]": Outcome(Verdict.PASSED, "", 1.5),
        "tests/contract/test_platform.py::test_b": Outcome(Verdict.SKIPPED, "metrics: get it"),
        "tests/contract/test_platform.py::test_c": Outcome(Verdict.FAILED, "assert 1"),
        "tests/contract/test_platform.py::test_d": Outcome(Verdict.FAILED, "failed on teardown"),
    }
    with pytest.raises(UsageError, match=r"^junit\.xml: not a junit\.xml"):
        parse_junit("<half", "junit.xml")


def written(folder: Path, name: str, cases: str) -> Path:
    path = folder / f"{name}.xml"
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", encoding="utf-8")
    return path


def test_reports_of_earlier_runs_are_compared_into_a_page_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1 for a difference that nothing explains, 0 if every one names a capability."""
    here = written(tmp_path, "embedded", '<testcase classname="t" name="a"/><testcase classname="t" name="b"/>')
    lacks = (
        '<testcase classname="t" name="a"/><testcase classname="t" name="b"><skipped message="metrics: x"/></testcase>'
    )
    there = written(tmp_path, "kind", lacks)
    options = ["equivalence", "--reports", str(tmp_path / "reports"), "--junit"]

    assert run_command([*options, f"embedded={here}", "--junit", f"kind={there}"]) == 0
    shown = capsys.readouterr().out
    assert "t.py::b" in shown
    assert "kind lacks metrics" in shown
    (folder,) = (tmp_path / "reports").iterdir()
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "kind lacks metrics" in page
    assert json.loads((folder / "equivalence.json").read_text())["counts"]["missing capability"] == 1

    broken = written(
        tmp_path, "broken", '<testcase classname="t" name="a"><failure message="oh &lt;b&gt;"/></testcase>'
    )
    assert run_command([*options, f"embedded={here}", "--junit", f"kind={broken}"]) == 1
    assert "fails in kind: oh <b>" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--junit", "kind"], "--junit: expected WORLD=FILE, got 'kind'"),
        (["--junit", "kind=missing.xml"], "missing.xml: No such file or directory"),
        (["--world", "mars"], "--world: expected embedded, containers, kind or kubernetes, got 'mars'"),
        (["--suite", "nowhere"], "--suite: no such file or folder: nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run_command(["equivalence", "--reports", str(tmp_path / "reports"), *arguments]) == 2
    assert capsys.readouterr().err.splitlines() == [f"rehearse: equivalence: {message}"]
    assert not (tmp_path / "reports").exists()


def test_each_world_gets_its_own_options_and_no_other(tmp_path: Path) -> None:
    """A context or --reuse would be a mistake in the embedded world."""
    given = flags(
        None, "team", "~/.kube/team", "production=a,staging=b",
        install=True, keep=False, reuse=True, allow_remote=True, image_prefix="registry.example",
    )  # fmt: skip
    suite = Suite(("scenarios",), context="team", options=options_of(given))
    own = {world: [word for word in suite.argv(world, tmp_path) if word in OWN] for world in WORLDS}
    assert own == {
        "embedded": [],
        "containers": ["--reuse"],
        "kind": ["--reuse"],
        "kubernetes": ["--context", "--kubeconfig", "--namespaces", "--install", "--allow-remote", "--image-prefix"],
    }
    argv = suite.argv("kubernetes", tmp_path)
    assert argv[argv.index("--namespaces") + 1] == "production=a,staging=b"
    assert argv[argv.index("--kubeconfig") + 1] == "~/.kube/team"
    assert argv[argv.index("--context") + 1] == "team"


def test_a_world_that_this_machine_does_not_give_is_told_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine, its privileges, the images; and the room, with both numbers."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    programs = fake_programs(tmp_path, monkeypatch)
    programs.put("docker", "exit 127")
    assert "Docker: The Docker engine does not answer: docker info" in why_missing("kind", Suite(()))
    programs.put("docker", ENGINE % "operation not permitted")
    told = why_missing("kind", Suite(()))
    assert "Docker: Docker cannot start a privileged container: Error: operation not permitted. Hint: " in told
    programs.put("docker", ENGINE % "/nothing: no such file or directory")
    told = why_missing("kind", Suite(()))
    assert "images: Images are missing, or were made of something else than now: rehearsal/node" in told
    assert "Hint: rehearse images build" in told
    monkeypatch.setattr("harness.images.engine._free_memory", lambda: 2 * 1024**3)
    assert "Docker: Too little memory: 5 GiB free are needed, 2.0 GiB are here." in why_missing("kind", Suite(()))


def test_a_quiet_machine_is_a_capability() -> None:
    """A verdict on latency that a busy machine withholds is a skip that explains itself."""
    quiet = Outcome(Verdict.SKIPPED, f"{Capability.QUIET.value}: the generator was 40 ms late")
    assert judge({"embedded": PASSED, "kind": quiet}, set(Capability)) == (
        Kind.EXPLAINED,
        "kind lacks a machine quiet enough for a verdict on latency",
    )
