"""What must not be reached by a push, nor by a run that is started from somebody's own hook."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import PushRefused
from harness.gitops.checks import Rules
from harness.gitops.git import environment, git, text
from harness.gitops.repository import TOKEN, Repository

TOKENS = {"release": "r-secret", "viewer": "v-secret"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "desired.git", TOKENS, tracking_uri="http://127.0.0.1:9", rules=Rules())


def test_a_run_that_is_started_from_a_git_hook_leaves_that_repository_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git tells a hook by GIT_DIR whose it is; and an author from outside is not the identity that pushes."""
    theirs = tmp_path / "theirs"
    git(tmp_path, "init", "-q", str(theirs))
    before = _content(theirs)
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(theirs / ".git" / "index"))
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "me@example.com")
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(theirs / ".git" / "objects" / "incoming"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(theirs / ".git" / "objects" / "incoming"))
    ours = Repository.create(tmp_path / "ours.git", TOKENS, tracking_uri="http://127.0.0.1:9", rules=Rules())
    pushed = ours.checkout(tmp_path / "release", "release", TOKENS["release"]).push({"docs/a.md": ""}, "Ours")
    assert [commit.author for commit in ours.log()] == ["release"]
    assert ours.head() == pushed.sha
    assert _content(theirs) == before


def test_of_what_is_outside_git_sees_where_our_own_hook_has_the_objects_of_a_push(tmp_path: Path) -> None:
    """A quarantine that is another repository's is not ours; configuration of the user never is."""
    ours = {"GIT_QUARANTINE_PATH": f"{tmp_path}/objects/x", "GIT_OBJECT_DIRECTORY": f"{tmp_path}/objects/x"}
    more = {"PATH": "/bin", "GIT_DIR": ".", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_GLOBAL": "/home/me/.gitconfig"}
    inside, elsewhere = environment({**ours, **more}, tmp_path), environment({**ours, **more}, tmp_path / "other")
    assert {name: inside.get(name) for name in ours} == ours
    assert not set(ours) & set(elsewhere)
    for seen in (inside, elsewhere):
        assert not {"GIT_DIR", "GIT_CONFIG_COUNT"} & set(seen)
        assert (seen["PATH"], seen["GIT_CONFIG_GLOBAL"]) == ("/bin", "/dev/null")


def test_a_tree_that_leads_out_of_its_folder_is_not_taken(repository: Repository, tmp_path: Path) -> None:
    """Made by hand, as git add makes none: a delivery would write its files outside of the export."""
    own = repository.checkout(tmp_path / "release", "release", TOKENS["release"])
    first = own.push({"docs/a.md": "1"}, "First")
    blob = _made(own.folder, "blob", b"evil")
    inner = _made(own.folder, "tree", b"100644 evil\0" + bytes.fromhex(blob))
    outer = _made(own.folder, "tree", b"40000 ..\0" + bytes.fromhex(inner))
    commit = text(own.folder, "commit-tree", outer, "-p", "HEAD", "-m", "Out of here")
    done = git(own.folder, "push", "-q", "origin", f"{commit}:main", env={TOKEN: own.token}, fails=True)
    assert done.returncode
    assert b"hasDotdot" in done.stderr
    assert repository.head() == first.sha


def test_who_may_change_nothing_may_push_nothing(repository: Repository, tmp_path: Path) -> None:
    """Not even a file that no environment and no training reads."""
    viewer = repository.checkout(tmp_path / "viewer", "viewer", TOKENS["viewer"])
    with pytest.raises(PushRefused, match="viewer may push nothing"):
        viewer.push({"docs/a.md": "1"}, "Hello")
    assert repository.head() == ""


def _made(folder: Path, kind: str, content: bytes) -> str:
    done = git(folder, "hash-object", "-t", kind, "-w", "--literally", "--stdin", given=content)
    return done.stdout.decode().strip()


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
