"""Images from a registry: asked whether it answers, pulled where it does, and built under the same name where not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.images import docker
from harness.images.builder import Builder, Source
from harness.images.catalogue import Catalogue, Item
from harness.images.graph import How
from harness.images.kinds import KINDS
from harness.images.making import LABEL, Kind, Making
from harness.runtime.events import Event
from tests.unit.fake_programs import FakePrograms, fake_programs

FACTS = {"ServerVersion": "28.5.1", "MemTotal": 2**36, "CgroupVersion": "2"}
# Its images are the lines of a file, each with the key that it was made with, "-" for a pulled one.
DOCKER = f"""
touch "$FAKES/images"
case "$1 $2" in
  "info --format") echo '{json.dumps(FACTS)}' ;;
  "image ls") cut -d' ' -f1 "$FAKES/images" ;;
  "image inspect")
    shift 2; comma=""; printf '['
    for name; do
      key=$(grep "^$name " "$FAKES/images" | tail -n1 | cut -d' ' -f2); labels=null
      [ "$key" = - ] || labels="{{\\"{LABEL}\\": \\"$key\\"}}"
      printf '%s{{"Id":"1","Size":5,"RepoTags":["%s"],"Config":{{"Labels":%s}}}}' "$comma" "$name" "$labels"
      comma=,
    done; printf ']' ;;
  "pull --quiet")
    [ -e "$FAKES/empty" ] && {{ echo "Error response from daemon: manifest for $3 not found" >&2; exit 1; }}
    echo "$3 -" >> "$FAKES/images" ;;
  made*) echo "$2 $3" >> "$FAKES/images" ;;
esac
"""


class Registry(BaseHTTPRequestHandler):
    """Says on /v2/, as every registry does, that it is one."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """A Docker without images, an empty cache, and a kind of image that tells that Docker that it was made."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    programs = fake_programs(tmp_path, monkeypatch)
    programs.put("docker", DOCKER)

    def make(making: Making) -> None:
        making.run("docker", "made", making.item.name, making.key, timeout_s=30)

    monkeypatch.setitem(KINDS, "told", Kind(lambda item, catalogue: [], make))
    return programs


@pytest.fixture
def registry() -> Iterator[str]:
    """The host of a registry on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def items(host: str) -> dict[str, Item]:
    """An image that the registry may have, and one of ours that stands upon it."""
    upstream, own = f"{host}/upstream:v1", "rehearsal/own:1"
    return {
        upstream: Item(upstream, "image", upstream, "told", (), {"upstream": True}),
        own: Item(own, "image", own, "told", (upstream,)),
    }


def get(host: str, source: Source = Source.AUTO) -> tuple[list[How], list[tuple[str, str]]]:
    """How both images are had after a build, and what was done for it."""
    found, events = items(host), list[Event]()
    states = Builder(Catalogue(found, Path()), source, events.append).get(list(found))
    done = [(event.subject, event.message) for event in events if event.kind == "step.passed"]
    return [state.how for state in states.values()], done


def did(programs: FakePrograms, word: str) -> list[str]:
    return [call for call in programs.calls() if call.startswith(f"docker {word}")]


def test_a_registry_that_answers_gives_what_is_upstreams_and_ours_is_made(
    programs: FakePrograms, registry: str
) -> None:
    """Each once: what is there is asked for no second time."""
    how, done = get(registry)
    assert how == [How.PULLED, How.BUILT]
    assert done == [(f"{registry}/upstream:v1", "pulled"), ("rehearsal/own:1", "")]
    assert did(programs, "pull") == [f"docker pull --quiet {registry}/upstream:v1"]
    assert get(registry) == ([How.PULLED, How.BUILT], [])
    assert len(did(programs, "pull")) == 1


def test_without_a_registry_in_reach_everything_is_made_and_nothing_is_pulled(programs: FakePrograms) -> None:
    """Nobody listens on port 1: no time is lost on pulls that must fail."""
    how, done = get("127.0.0.1:1")
    assert how == [How.BUILT, How.BUILT]
    assert [name for name, _ in done] == ["127.0.0.1:1/upstream:v1", "rehearsal/own:1"]
    assert did(programs, "pull") == []


def test_what_a_registry_does_not_have_is_made(programs: FakePrograms, registry: str) -> None:
    """It answers, and knows the name not."""
    (programs.folder / "empty").touch()
    assert get(registry)[0] == [How.BUILT, How.BUILT]
    assert len(did(programs, "pull")) == 1


def test_with_pull_what_a_registry_does_not_have_is_a_mistake_in_one_line(
    programs: FakePrograms, registry: str
) -> None:
    """With the registry's reason; nothing is built in its place."""
    (programs.folder / "empty").touch()
    said = r"^images: .*/upstream:v1 cannot be pulled: .*manifest for .* not found\. Hint: without --pull"
    with pytest.raises(UsageError, match=said):
        get(registry, Source.PULL)
    assert did(programs, "made") == []


def test_with_build_an_image_that_was_pulled_is_made_again(programs: FakePrograms, registry: str) -> None:
    """And the registry is left alone."""
    get(registry)
    how, done = get(registry, Source.BUILD)
    assert how == [How.BUILT, How.BUILT]
    assert f"{registry}/upstream:v1" in [name for name, _ in done]
    assert len(did(programs, "pull")) == 1


def test_a_dry_run_names_what_is_left_and_changes_nothing(programs: FakePrograms, registry: str) -> None:
    found = items(registry)
    builder = Builder(Catalogue(found, Path()), Source.AUTO, lambda event: None)
    assert builder.missing(list(found)) == list(found)
    assert {call.split()[1] for call in programs.calls()} == {"info", "image"}
    get(registry)
    assert builder.missing(list(found)) == []


def test_a_registry_of_this_machine_may_speak_plain_http_and_no_other(registry: str) -> None:
    """As Docker has it; a name that answers nothing is not waited for."""
    assert docker.answering([registry, "127.0.0.1:1", "no-such-host.invalid"]) == {registry}
    assert docker.answering([registry.replace("127.0.0.1", "localhost")]) == {
        registry.replace("127.0.0.1", "localhost")
    }
