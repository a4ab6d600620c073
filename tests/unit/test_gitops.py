"""GitOps without a platform: what is rendered, what is refused, what is done about a difference, and git itself."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.cli import run_command
from harness.errors import ConfigError, PlatformError, PushRefused
from harness.gitops import overlays
from harness.gitops.checks import CODE, Change, Rules, problems, touched
from harness.gitops.git import git
from harness.gitops.gitops import commits
from harness.gitops.overlays import Pinned
from harness.gitops.plan import Abandon, Create, Heal, Release, Remove, differences, plan
from harness.gitops.reconciler import Reconciler
from harness.gitops.repository import TOKEN, Checkout, Repository, digest
from harness.gitops.statuses import FILE, Statuses, Subject
from harness.gitops.training import training_of
from harness.lifecycle.rollout import Canary
from harness.report.record import SyncRecord

V1, V2 = Pinned("risk", 1), Pinned("risk", 2)
FILES = {
    **overlays.first_files("risk", {"staging": V2, "production": V1}, {"staging": 1, "production": 2}),
    "environments/production/rollout.toml": 'kind = "canary"\nsteps = [50, 100]\n',
}
PATCH = "environments/production/risk.yaml"


def changed(*changes: tuple[str, str | None], base: Mapping[str, str] = FILES) -> dict[str, str]:
    files = dict(base)
    for path, text in changes:
        if text is None:
            del files[path]
        else:
            files[path] = text
    return files


def served(environment: str = "production", files: Mapping[str, str] = FILES):  # type: ignore[no-untyped-def]
    return overlays.render(files, environment)[0]


def known(version: Pinned) -> str:
    return "" if version in (V1, V2) else f"{version.uri} is unknown"


def wrong(after: Mapping[str, str], *, by: str = "release", author: str | None = None) -> list[str]:
    return problems(Change(author or by, by, FILES, after), Rules(), known)


def test_an_overlay_changes_the_namespace_the_version_and_the_size() -> None:
    staging, production = served("staging"), served()
    assert [differing.partition(":")[0] for differing in differences(staging, production)] == [
        "metadata.namespace",
        "spec.predictor.minReplicas",
        "spec.predictor.model.storageUri",
        "spec.predictor.name",
    ]
    assert (overlays.pinned(staging), overlays.pinned(production)) == (V2, V1)
    assert overlays.rollout(FILES, "production") == Canary(steps=(50, 100))
    assert overlays.rollout(FILES, "staging") is None


def test_another_version_in_an_overlay_leaves_its_size_alone() -> None:
    after = changed(*overlays.with_version(FILES, "production", "risk", V2).items())
    assert [each.partition(":")[0] for each in differences(served(files=after), served())] == [
        "spec.predictor.model.storageUri",
        "spec.predictor.name",
    ]


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (PATCH, "kind: [", "environments/production/risk.yaml: not YAML"),
        (PATCH, "- a", "environments/production/risk.yaml: expected one mapping"),
        (PATCH, None, "environments/production/risk.yaml: no such file"),
        (
            PATCH,
            "kind: InferenceService\nmetadata: {name: other}",
            "patches InferenceService/other, which the base has not; it has: InferenceService/risk",
        ),
        (
            PATCH,
            FILES[PATCH].replace("minReplicas", "replicas"),
            "spec.predictor.replicas: not honoured here",
        ),
        (
            "environments/production/kustomization.yaml",
            FILES["environments/production/kustomization.yaml"] + "images: []\n",
            "images: not honoured here (honoured: apiVersion, kind, namespace, patches, resources)",
        ),
        (
            "environments/production/kustomization.yaml",
            "namespace: production\nresources: [../../../etc]\n",
            "../../../etc: leads out of the repository",
        ),
        (
            "environments/production/kustomization.yaml",
            "namespace: production\npatches: [{patch: x}]\n",
            "patches: expected entries of one key, path, got {'patch': 'x'}",
        ),
        ("environments/production/rollout.toml", 'kind = "at once"', "kind: expected canary"),
        ("environments/production/rollout.toml", "kind", "environments/production/rollout.toml: not TOML"),
    ],
)
def test_what_cannot_be_rendered_is_refused_with_the_file_and_the_field(path: str, text: str, said: str) -> None:
    (first, *_) = wrong(changed((path, text)))
    assert said in first


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            FILES[PATCH],
            overlays.patch_of("risk", Pinned("risk", 3), replicas=2),
            "production/risk: models:/risk/3 is unknown",
        ),
        ("models:/risk/1", "models:/risk@champion", "expected models:/<name>/<version> (an alias moves"),
        ("name: v1", "name: v2", "spec.predictor.name: expected v1, as its version, got 'v2'"),
        ("minReplicas: 2", "minReplicas: 7", "production: minReplicas: 7 of all services together, the quota is 6"),
    ],
)
def test_what_may_not_be_served_is_refused(old: str, new: str, said: str) -> None:
    (only,) = wrong(changed((PATCH, FILES[PATCH].replace(old, new))))
    assert said in only


def test_a_training_that_the_pipeline_would_refuse_is_refused_before_it_is_asked() -> None:
    """One that was there before, and is not touched, keeps nobody from pushing."""
    bad = changed(("training/risk.toml", "depth = 3"))
    assert wrong(bad, by="data-scientist") == [
        "training/risk.toml: unknown key depth; allowed: data, estimator, params, trials"
    ]
    assert problems(Change("release", "release", bad, {**bad, "docs/a.md": ""}), Rules(), known) == []


def test_an_environment_is_not_dropped_by_deleting_its_folder() -> None:
    gone = {path: text for path, text in FILES.items() if not path.startswith("environments/staging/")}
    assert wrong(gone) == ["environments/staging: is gone; an environment is emptied service by service"]


BASE = "base/risk.yaml"
SLOWER = yaml.safe_dump({**yaml.safe_load(FILES[BASE]), "metadata": {"name": "risk", "labels": {"team": "a"}}})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ((PATCH, FILES[PATCH].replace("minReplicas: 2", "minReplicas: 3")), ["production"]),
        ((BASE, SLOWER), ["production", "staging"]),
        ((BASE, FILES[BASE] + "\n# a comment"), []),
        (("environments/production/rollout.toml", None), ["production"]),
        (("training/risk.toml", ""), [CODE]),
        (("data/visits.csv", ""), [CODE]),
        (("docs/notes.md", ""), []),
    ],
)
def test_a_commit_touches_what_would_run_otherwise_whichever_file_did_it(
    change: tuple[str, str | None], what: list[str]
) -> None:
    assert touched(Change("a", "a", FILES, changed(change))) == what


@pytest.mark.parametrize(
    ("by", "allowed"),
    [
        ("viewer", set()),
        ("data-scientist", {CODE}),
        ("ml-engineer", {CODE, "staging"}),
        ("release", {CODE, "staging", "production"}),
    ],
)
def test_each_identity_may_change_what_is_its_own(by: str, allowed: set[str]) -> None:
    changes = {
        CODE: ("training/risk.toml", ""),
        "staging": ("environments/staging/risk.yaml", overlays.patch_of("risk", V1)),
        "production": (PATCH, overlays.patch_of("risk", V2, replicas=2)),
    }
    refused = {what: wrong(changed(change), by=by) for what, change in changes.items()}
    assert {what for what, said in refused.items() if not said} == allowed
    assert all(said[0].startswith(f"{by} may not change {what}") for what, said in refused.items() if said)


def test_nobody_commits_as_somebody_else() -> None:
    assert wrong(changed(("docs/a.md", "")), by="ml-engineer", author="release") == [
        "author: expected ml-engineer, who pushes it, got release"
    ]


def test_the_plan_makes_what_is_desired_and_heals_what_was_edited() -> None:
    """A payload logger is the platform's, not an edit; what Git did not make is not removed."""
    document = served()
    edited = document.model_copy(
        update={
            "spec": document.spec.model_copy(
                update={"predictor": document.spec.predictor.model_copy(update={"timeout": 9})}
            )
        }
    )
    foreign = document.model_copy(
        update={"metadata": document.metadata.model_copy(update={"name": "other", "labels": {}})}
    )
    assert plan([document], []) == [Create(document)]
    assert plan([document], [document.with_logger("http://127.0.0.1:1/", "all"), foreign]) == []
    assert plan([document], [edited]) == [Heal(document, ("spec.predictor.timeout: 9, desired nothing",))]
    assert plan([], [document, foreign]) == [Remove(document)]


def test_a_release_that_was_left_half_way_is_abandoned_before_the_next_one() -> None:
    live, desired = served(), served(files=changed((PATCH, overlays.patch_of("risk", V2, replicas=2))))
    half = live.with_canary("v2", V2.uri, 50)
    assert plan([desired], [live]) == [Release(live, desired)]
    assert plan([desired], [half]) == [Abandon(half, desired), Release(live, desired)]
    assert plan([live], [half]) == [Abandon(half, live)]


def test_a_sync_that_fails_is_told_once_and_tried_again() -> None:
    """A registry that is away for a moment does not end the reconciler; what the last sync failed with is raised."""
    told = list[str]()
    events = SimpleNamespace(emit=lambda kind, where, words, **_: told.append(words))
    gitops: Any = SimpleNamespace(platform=SimpleNamespace(run=SimpleNamespace(events=events)), repository=None)
    answers = [PlatformError("away"), PlatformError("away"), None, PlatformError("gone")]
    over = threading.Event()

    class Flaky(Reconciler):
        def sync(self) -> list[SyncRecord]:
            if len(answers) == 1:
                over.set()
                raise PlatformError("gone")
            if (answer := answers.pop(0)) is not None:
                raise answer
            return []

    with pytest.raises(PlatformError, match="gone"), Flaky(gitops).running(every_s=0.001):
        assert over.wait(10)
    assert told == ["away", "gone"]


def test_of_a_commits_statuses_the_last_of_a_context_counts(tmp_path: Path) -> None:
    said = Statuses(tmp_path, unix=iter([1.0, 2.0, 3.0]).__next__)
    commit = Subject("abc", "A change", "release", 0.5)
    for context, state in (("gate", "pending"), ("validate", "success"), ("gate", "failure")):
        said.add(commit, context, state, "why")
    assert {name: each.state for name, each in said.of("abc").items()} == {"gate": "failure", "validate": "success"}
    (record,) = said.commits().values()
    assert [(each.context, each.at) for each in record.statuses] == [("validate", 2.0), ("gate", 3.0)]
    assert said.of("other") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("estimator = 1 2", "not TOML"),
        ("depth = 3", "unknown key depth; allowed: data, estimator, params, trials"),
        ("params = 3", "params: expected a table, got 3"),
        ("[data]\nfile = 'data/a.csv'\nsep = ';'", "data: unknown key sep; allowed: file, "),
        ("[data]\ntarget = 'y'", "data: file: required"),
        ("[data]\nfile = '../secret.csv'", "data: file: expected a path in the repository, got '../secret.csv'"),
        ("[data]\nfile = '/etc/passwd'", "data: file: expected a path in the repository, got '/etc/passwd'"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^training/risk.toml: ") as caught:
        training_of({"training/risk.toml": text}, "risk")
    assert said in caught.value.message


def test_a_training_that_is_not_there_says_what_it_would_be_for() -> None:
    with pytest.raises(ConfigError, match=r"training/risk.toml: no such file; it says what the pipeline trains"):
        training_of({}, "risk")


TOKENS = {"release": "r-secret", "viewer": "v-secret"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Its hook asks a registry at a port where nothing listens: no version can be served."""
    return Repository.create(tmp_path / "desired.git", TOKENS, tracking_uri="http://127.0.0.1:9", rules=Rules())


def checkout(repository: Repository, tmp_path: Path, identity: str = "release", token: str | None = None) -> Checkout:
    return repository.checkout(tmp_path / identity, identity, token or TOKENS[identity])


def test_what_is_pushed_is_read_again_byte_by_byte(repository: Repository, tmp_path: Path) -> None:
    """Text and bytes; a link is no file."""
    own = checkout(repository, tmp_path)
    (own.folder / "link").symlink_to("/etc/passwd")
    pushed = own.push({"docs/a.md": "ä\n", "data/b.bin": b"\x00\xff\n\n", "c": ""}, "First")
    assert repository.head() == pushed.sha
    assert repository.tree(pushed.sha) == {"docs/a.md": "ä\n".encode(), "data/b.bin": b"\x00\xff\n\n", "c": b""}
    assert sorted(repository.files(pushed.sha)) == ["c", "docs/a.md"]
    exported = repository.export(pushed.sha, tmp_path / "out")
    assert (exported / "data/b.bin").read_bytes() == b"\x00\xff\n\n"
    assert not (exported / "link").exists()


def test_a_registry_that_does_not_answer_lets_no_version_pass(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(PushRefused, match=r"the registry cannot be asked for models:/risk/1"):
        checkout(repository, tmp_path).push(dict(FILES), "First")
    assert repository.head() == ""
    (refused,) = commits(repository)
    assert (refused.taken, refused.subject, refused.author) == (False, "First", "release")


def test_what_was_pushed_is_neither_deleted_nor_overwritten(repository: Repository, tmp_path: Path) -> None:
    """With a reason of ours, and no status that says the commit may be applied."""
    own = checkout(repository, tmp_path)
    first = own.push({"docs/a.md": "1"}, "One")
    second = own.push({"docs/a.md": "2"}, "Two")
    token = {TOKEN: TOKENS["release"]}
    git(own.folder, "reset", "-q", "--hard", first.sha)
    git(own.folder, "commit", "-q", "--allow-empty", "-m", "Other")
    for refspec, said in (("+HEAD:main", f"expected a commit on top of {second.sha[:8]}"), (":main", "is not deleted")):
        done = git(own.folder, "push", "origin", refspec, env=token, fails=True)
        assert done.returncode != 0
        assert said in done.stderr.decode()
    assert repository.head() == second.sha
    assert {each.subject for each in commits(repository)} == {"One", "Two"}


def test_a_status_that_a_full_disk_cut_short_hides_no_other(tmp_path: Path) -> None:
    said = Statuses(tmp_path)
    said.add(Subject("abc"), "gate", "success", "fine")
    with (tmp_path / FILE).open("a") as file:
        file.write('{"commit": {"sha": "de')
    assert list(said.of("abc")) == ["gate"]


def test_a_git_that_has_no_end_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.gitops.git.TIMEOUT_S", 0.0)
    with pytest.raises(PlatformError, match="git init: no end within 0 s"):
        git(tmp_path, "init")


def test_a_push_without_a_known_secret_is_refused(repository: Repository, tmp_path: Path) -> None:
    stranger = checkout(repository, tmp_path, "viewer", "guess")
    with pytest.raises(PushRefused, match=f"no identity is known by this {TOKEN}"):
        stranger.push({"docs/a.md": ""}, "Hello")


def test_a_revert_is_a_commit_of_who_asks_for_it(repository: Repository, tmp_path: Path) -> None:
    own = checkout(repository, tmp_path)
    own.push({"docs/a.md": "1"}, "One")
    second = own.push({"docs/a.md": "2"}, "Two")
    back = own.revert(second.sha)
    assert repository.files(back.sha)["docs/a.md"] == "1"
    assert [each.subject for each in repository.log()] == ['Revert "Two"', "Two", "One"]


def test_no_secret_is_in_the_repository_or_in_words(repository: Repository, tmp_path: Path) -> None:
    """Only digests are kept, in a file that nobody else reads."""
    own = checkout(repository, tmp_path)
    own.push({"docs/a.md": ""}, "One")
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKENS["release"].encode() not in everything
    assert digest(TOKENS["release"]).encode() in everything
    assert TOKENS["release"] not in repr(own)
    assert (repository.folder / "rehearsal.json").stat().st_mode & 0o777 == 0o600
    assert repository.statuses._path.stat().st_mode & 0o777 == 0o600


def test_the_command_lists_commits_and_refuses_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 while the newest commit has a status that failed; a run without a repository is told so."""
    run = tmp_path / "20260101-000000-x"
    folder = run / "gitops" / "desired.git"
    none = tmp_path / "20260102-000000-none"
    none.mkdir()
    (none / "run.json").write_text("{}")
    repository = Repository.create(folder, TOKENS, tracking_uri="http://127.0.0.1:9", rules=Rules())
    own = checkout(repository, tmp_path)
    fine = own.push({"docs/a.md": ""}, "Fine")
    assert run_command(["gitops", str(run)]) == 0
    with pytest.raises(PushRefused):
        own.push(dict(FILES), "Bad")
    assert run_command(["gitops", str(run)]) == 1
    assert run_command(["gitops", str(run), "--commit", fine.sha[:6]]) == 0
    assert run_command(["gitops", str(run), "--commit", "zzz"]) == 2
    assert run_command(["gitops", str(none)]) == 2
    out, err = capsys.readouterr()
    assert f"{fine.sha[:8]}  release         Fine" in out
    assert "Bad  (refused)" in out
    assert f"gitops: --commit: expected one of {fine.sha[:8]}, " in err
    assert "gitops: 20260102-000000-none has no repository" in err
