"""The cache of what is built: a key for everything that decides on it, and never half an item."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from harness.images import cache
from harness.images.cache import digest_of_files, keep, key_of, locked, look_up


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path))


def write(folder: Path) -> None:
    (folder / "file").write_text("12345")


@pytest.mark.parametrize(
    ("inputs", "needs"),
    [
        (["a", "b"], {"module/x": "2"}),
        (["a", "c"], {"module/x": "1"}),
        (["ab"], {"module/x": "1"}),
        (["b", "a"], {"module/x": "1"}),
        (["a", "b"], {"module/y": "1"}),
        (["a", "b"], {}),
    ],
    ids=["key of a need", "an input", "where inputs end", "order of inputs", "name of a need", "no need"],
)
def test_the_key_changes_with_each_input_and_each_need(inputs: list[str], needs: dict[str, str]) -> None:
    """What is not in the key would be taken from the cache although it has changed."""
    assert key_of(inputs, needs) != key_of(["a", "b"], {"module/x": "1"})


def test_the_digest_of_files_changes_with_a_name_and_with_a_byte(tmp_path: Path) -> None:
    """A renamed file builds something else, too."""
    file = tmp_path / "go.mod"
    file.write_text("module x")
    before = digest_of_files([file], tmp_path)
    file.write_text("module y")
    assert digest_of_files([file], tmp_path) != before
    file.write_text("module x")
    assert digest_of_files([file.rename(tmp_path / "go.sum")], tmp_path) != before


def test_what_was_kept_is_found_by_its_key_alone() -> None:
    """A second build finds the first one's work, with the time that it took."""
    kept = keep("module/x", "1", write)
    assert look_up("module/x", "1") == kept
    assert (kept.folder / "file").read_text() == "12345"
    assert (kept.how, kept.size) == ("built", 5)
    assert look_up("module/x", "2") is None


def test_what_failed_leaves_nothing() -> None:
    """The next build must not take half an item for a whole one."""

    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError("compiler")

    with pytest.raises(RuntimeError, match="compiler"):
        keep("module/x", "1", fail)
    assert look_up("module/x", "1") is None
    assert list(cache.home().rglob("file")) == []


def test_only_the_two_newest_states_of_an_item_stay() -> None:
    """The newest, and the one before it, which another checkout may use."""
    for age, key in enumerate(("1", "2", "3")):
        os.utime(keep("module/x", key, write).folder / "made.json", (age, age))
    keep("module/x", "4", write)
    assert [key for key in "1234" if look_up("module/x", key)] == ["3", "4"]


def test_a_build_clears_what_a_killed_one_left() -> None:
    """A kill -9 has no chance to tidy up itself."""
    half = cache.home() / "module_x" / ".half-1"
    half.mkdir(parents=True)
    with locked(lambda: None):
        assert not half.exists()


def test_two_builds_do_not_run_at_the_same_time() -> None:
    """The second says that it waits, and goes on when the first is done."""
    order: list[str] = []
    says_so = threading.Event()

    def second() -> None:
        with locked(says_so.set):
            order.append("second")

    with locked(lambda: order.append("never")):
        thread = threading.Thread(target=second)
        thread.start()
        assert says_so.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
