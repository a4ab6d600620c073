"""The desired state's bare repository, and checkouts of it: each identity pushes with a secret of its own.

A push is judged by the repository itself, in its pre-receive hook (harness.gitops.hook), so that nobody gets past it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import PushRefused
from harness.gitops.checks import Change, Rules
from harness.gitops.git import git, text
from harness.gitops.overlays import BASE, ENVIRONMENTS
from harness.gitops.statuses import Statuses, Subject

BRANCH = "main"
TOKEN = "REHEARSAL_GIT_TOKEN"  # the name of a variable
SETTINGS = "rehearsal.json"
REFUSED = "refused: "
DOMAIN = "rehearsal.invalid"
_REGULAR = ("100644", "100755")
_LOG = "%H%x00%s%x00%ae%x00%at"


@dataclass(frozen=True)
class Commit:
    """One commit; `author` is an identity, `at` in Unix seconds."""

    sha: str
    subject: str
    author: str
    at: float

    def named(self) -> Subject:
        return Subject(self.sha, self.subject, self.author, self.at)


class Repository:
    """A bare repository with a branch, commit statuses, and a hook that refuses what may not be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.statuses = Statuses(folder)

    @classmethod
    def create(
        cls,
        folder: Path,
        tokens: Mapping[str, str],
        *,
        tracking_uri: str,
        rules: Rules,
        login: tuple[str, Path] | None = None,
    ) -> Repository:
        """Make one; `tokens` are the secrets that the identities push with, and only their digests are kept.

        `login`: a user of the registry, and the file that has the password, where the registry asks for one.
        """
        folder.mkdir(parents=True)
        git(folder, "init", "-q", "--bare", f"--initial-branch={BRANCH}")
        # fsckObjects: a tree made by hand may name "..", and be written outside of the folder it is exported to.
        for key in ("receive.denyNonFastForwards", "receive.denyDeletes", "receive.fsckObjects"):
            git(folder, "config", key, "true")
        settings = {
            "tracking_uri": tracking_uri,
            "login": [login[0], str(login[1])] if login else None,
            "pushers": {digest(token): name for name, token in tokens.items()},
            "most_replicas": dict(rules.most_replicas),
            "may_change": {name: sorted(rights) for name, rights in rules.may_change.items()},
        }
        _write(folder / SETTINGS, json.dumps(settings), 0o600)
        hook = f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m harness.gitops.hook\n"
        _write(folder / "hooks" / "pre-receive", hook, 0o755)
        return cls(folder)

    def head(self) -> str:
        """The newest commit; "" before the first."""
        return self.resolved(f"refs/heads/{BRANCH}")

    def resolved(self, name: str) -> str:
        """The commit that a ref or an expression means; "" if there is none."""
        done = git(self.folder, "rev-parse", "-q", "--verify", name, fails=True)
        return done.stdout.decode().strip()

    def log(self, *limits: str) -> list[Commit]:
        """Commits, the newest first; `limits` as git log takes them."""
        if not self.head():
            return []
        return [commit_of(line) for line in text(self.folder, "log", f"--format={_LOG}", *limits).splitlines()]

    def last_change(self, environment: str) -> Commit:
        """The last commit that says something of an environment."""
        return self.log("-1", BRANCH, "--", f"{ENVIRONMENTS}/{environment}", BASE)[0]

    def tree(self, commit: str) -> dict[str, bytes]:
        """Path -> content of every regular file of a commit; no links."""
        if not commit.strip("0"):
            return {}
        listed = git(self.folder, "ls-tree", "-r", "-z", commit).stdout.decode().split("\0")
        blobs: dict[str, str] = {}
        for line in filter(None, listed):
            about, _, path = line.partition("\t")
            mode, _, sha = about.split(" ")
            if mode in _REGULAR:
                blobs[path] = sha
        return dict(zip(blobs, _contents(self.folder, list(blobs.values())), strict=True))

    def files(self, commit: str) -> dict[str, str]:
        """Those of them that are text."""
        found: dict[str, str] = {}
        for path, content in self.tree(commit).items():
            try:
                found[path] = content.decode()
            except UnicodeDecodeError:
                continue
        return found

    def export(self, commit: str, folder: Path) -> Path:
        """Write the files of a commit to a folder."""
        for path, content in self.tree(commit).items():
            place = folder / PurePosixPath(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return folder

    def change(self, commit: str, pusher: str) -> tuple[Commit, Change]:
        """A commit with all files before and after it."""
        (about,) = [commit_of(line) for line in text(self.folder, "log", "-1", f"--format={_LOG}", commit).splitlines()]
        return about, Change(about.author, pusher, self.files(self.resolved(f"{commit}^")), self.files(commit))

    def checkout(self, folder: Path, identity: str, token: str) -> Checkout:
        """A clone in which an identity commits and pushes."""
        git(self.folder, "clone", "-q", str(self.folder), str(folder))
        git(folder, "config", "user.name", identity)
        git(folder, "config", "user.email", f"{identity}@{DOMAIN}")
        git(folder, "symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
        return Checkout(self, folder, identity, token)


@dataclass(frozen=True)
class Checkout:
    """A clone of one identity; its token is given to the hook by the environment, never as an argument."""

    repository: Repository
    folder: Path
    identity: str
    token: str

    def __repr__(self) -> str:
        return f"Checkout({self.folder}, {self.identity})"

    def push(self, files: Mapping[str, str | bytes | None], message: str) -> Commit:
        """Commit these files (None: gone) on top of the newest state, and push. PushRefused says every reason."""
        self._newest()
        for path, content in files.items():
            self._put(path, content)
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", message)
        return self._pushed()

    def revert(self, commit: str) -> Commit:
        """`git revert` of a commit, pushed. PushRefused as above."""
        self._newest()
        git(self.folder, "revert", "--no-edit", commit)
        return self._pushed()

    def _newest(self) -> None:
        if self.repository.head():
            git(self.folder, "fetch", "-q", "origin", BRANCH)
            git(self.folder, "reset", "-q", "--hard", f"origin/{BRANCH}")

    def _put(self, path: str, content: str | bytes | None) -> None:
        place = self.folder / PurePosixPath(path)
        if content is None:
            place.unlink()
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)

    def _pushed(self) -> Commit:
        commit = commit_of(text(self.folder, "log", "-1", f"--format={_LOG}"))
        done = git(self.folder, "push", "-q", "origin", f"HEAD:{BRANCH}", env={TOKEN: self.token}, fails=True)
        if done.returncode:
            raise PushRefused(f"{self.identity}: {commit.subject!r} is refused: {_reasons(done.stderr.decode())}")
        return commit


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def commit_of(line: str) -> Commit:
    """A line of git log in our format."""
    sha, subject, email, at = line.split("\0")
    return Commit(sha, subject, email.partition("@")[0], float(at))


def _contents(folder: Path, blobs: list[str]) -> list[bytes]:
    """Of so many blobs, by one git."""
    if not blobs:
        return []
    out = git(folder, "cat-file", "--batch", given="".join(f"{sha}\n" for sha in blobs).encode()).stdout
    found: list[bytes] = []
    at = 0
    for _ in blobs:
        end = out.index(b"\n", at)
        size = int(out[at:end].rsplit(b" ", 1)[1])
        found.append(out[end + 1 : end + 1 + size])
        at = end + 2 + size
    return found


def _reasons(said: str) -> str:
    lines = [line.removeprefix("remote: ").strip() for line in said.splitlines()]
    reasons = [line.removeprefix(REFUSED) for line in lines if line.startswith(REFUSED)]
    return "; ".join(reasons) or " ".join(filter(None, lines))


def _write(path: Path, content: str, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    path.chmod(mode)
