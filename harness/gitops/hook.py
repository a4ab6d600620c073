"""pre-receive: asked by git before it takes a push; says each thing that is wrong, and then nothing of the push stays.

python -P -m harness.gitops.hook < "<old> <new> <ref>" lines, in the bare repository
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from harness.clients.mlflow import MLflowClient
from harness.errors import RehearsalError, RequestFailed
from harness.gitops.checks import KnowsVersion, Rules, problems
from harness.gitops.git import git, text
from harness.gitops.overlays import Pinned
from harness.gitops.repository import BRANCH, REFUSED, SETTINGS, TOKEN, Repository, digest

CONTEXT = "validate"


def main(pushed: TextIO = sys.stdin) -> int:
    """0 if all of it may be taken; every commit gets its status."""
    repository = Repository(Path.cwd())
    settings = json.loads((repository.folder / SETTINGS).read_text(encoding="utf-8"))
    reasons = [reason for line in pushed for reason in judged(repository, settings, *line.split())]
    for reason in reasons:
        print(f"{REFUSED}{reason}", file=sys.stderr)
    return 1 if reasons else 0


def judged(repository: Repository, settings: dict[str, Any], old: str, new: str, ref: str) -> Iterator[str]:
    """What is wrong with what is pushed to one ref."""
    pusher = settings["pushers"].get(digest(os.environ.get(TOKEN, "")))
    if pusher is None:
        yield f"no identity is known by this {TOKEN}"
        return
    if ref != f"refs/heads/{BRANCH}":
        yield f"{ref}: expected refs/heads/{BRANCH}, the only branch"
        return
    if not new.strip("0"):
        yield f"{ref}: the branch is not deleted"
        return
    if old.strip("0") and git(repository.folder, "merge-base", "--is-ancestor", old, new, fails=True).returncode:
        yield f"{ref}: expected a commit on top of {old[:8]}; fetch and rebase"
        return
    rules = Rules(
        most_replicas=settings["most_replicas"],
        may_change={name: frozenset(rights) for name, rights in settings["may_change"].items()},
    )
    span = f"{old}..{new}" if old.strip("0") else new
    with MLflowClient(settings["tracking_uri"], login=_login(settings["login"])) as registry:
        for commit in text(repository.folder, "rev-list", "--reverse", span).splitlines():
            about, change = repository.change(commit, pusher)
            found = problems(change, rules, in_registry(registry))
            state, words = ("failure", "; ".join(found)) if found else ("success", "may be applied")
            repository.statuses.add(about.named(), CONTEXT, state, words)
            yield from found


def _login(told: list[str] | None) -> tuple[str, str] | None:
    return (told[0], Path(told[1]).read_text(encoding="utf-8")) if told else None


def in_registry(registry: MLflowClient) -> KnowsVersion:
    """Asks the registry for each version."""

    def why_not(version: Pinned) -> str:
        try:
            found = registry.version(version.name, version.version)
        except RequestFailed as error:
            if error.status == 404:
                return f"{version.name} version {version.version} does not exist in the registry"
            return f"the registry cannot be asked for {version.uri}: {error.message}"
        except RehearsalError as error:
            return f"the registry cannot be asked for {version.uri}: {error.message}"
        return "" if found.status in ("", "READY") else f"{version.uri} is {found.status}, not READY"

    return why_not


if __name__ == "__main__":
    sys.exit(main())
