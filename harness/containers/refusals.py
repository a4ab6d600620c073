"""What goes wrong between testcontainers and the engine, in this project's words: one line, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

from harness.errors import CapabilityMissing, PlatformError, PortTaken
from harness.images import engine, load
from harness.images.docker import answering, registry_of

_TAKEN = ("port is already allocated", "address already in use")


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """CapabilityMissing if there is no engine to talk to, PortTaken, and PlatformError for what else it refuses."""
    try:
        yield
    except (DockerException, RequestException) as error:
        if not isinstance(error, APIError):
            engine.probe()  # it knows what is missing, and how to get it
        if any(words in str(error) for words in _TAKEN):
            raise PortTaken(f"{what}: {_reason(error)}", hint="name no port of the host: Docker picks one") from error
        raise PlatformError(f"{what}: {_reason(error)}") from error


@contextmanager
def in_a_line(what: str) -> Iterator[None]:
    """PlatformError for whatever the engine refuses to a thing that runs, also where there is no engine any more."""
    try:
        yield
    except (DockerException, RequestException) as error:
        raise PlatformError(f"{what}: {_reason(error)}") from error


def require_image(client: DockerClient, image: str) -> None:
    """Pull an image that is not in Docker if a registry has it; else CapabilityMissing that says how to get it."""
    try:
        client.client.images.get(image)
        return
    except ImageNotFound:
        known = load().items.get(image)
    if (known is None or known.upstream) and answering([registry_of(image)]):
        try:
            client.client.images.pull(image)
            return
        except APIError as error:
            raise CapabilityMissing(
                f"The image {image} cannot be pulled: {_reason(error)}.", hint=_get(image)
            ) from error
    raise CapabilityMissing(f"The image {image} is not in Docker.", hint=_get(image))


def reaper(client: DockerClient) -> bool:
    """Whether testcontainers' own reaper is used: where its image is in Docker, unless the user has switched it off.

    It is not pulled: the labels do its work.
    """
    if testcontainers_config.ryuk_disabled:
        return False
    try:
        client.client.images.get(testcontainers_config.ryuk_image)
    except ImageNotFound:
        testcontainers_config.ryuk_disabled = True
    return not testcontainers_config.ryuk_disabled


def _get(image: str) -> str:
    if image in load().items:
        return f"rehearse images build {image}"
    return f"docker pull {image}, or name an image that is there"


def _reason(error: DockerException | RequestException) -> str:
    said = str(getattr(error, "explanation", None) or error)
    return said.strip().splitlines()[-1].rstrip(".")
