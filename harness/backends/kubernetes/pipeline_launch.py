"""What a Pod is told of the step that it runs: a pure function of the ready task; see harness.components.pipeline_step.

In the Pod an artifact's URI is the path of a file below /rehearsal, as under kfp.local; in the store it is
mlflow-artifacts:/<path>.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.backends.kubernetes.pipeline_conditions import as_text
from harness.backends.kubernetes.pipeline_graph import Ready
from harness.backends.kubernetes.pipeline_values import Artifact, Values
from harness.errors import ConfigError

IN_POD = "/rehearsal"
SCHEME = "mlflow-artifacts:/"
RESULT = "result.json"
ERROR = "error.json"
_OUTPUT = f"{IN_POD}/out"
_EXECUTOR_OUTPUT = f"{_OUTPUT}/executor_output.json"
_PLACEHOLDER = re.compile(r"\{\{\$(?:\.(?P<path>[^}]*))?\}\}")
_PARTS = re.compile(r"[A-Za-z_]+|\['([^']+)'\]|\[\"([^\"]+)\"\]")


@dataclass(frozen=True)
class Files:
    """Files of the user's that steps read: path in the store -> path in the Pod; an archive is unpacked there."""

    plain: Mapping[str, str] = field(default_factory=dict)
    archives: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    """A step of a pipeline, ready for its Pod; `folder` of the store is where it leaves what it makes."""

    folder: str
    cached: bool
    document: Mapping[str, Any]


def launch(ready: Ready, pipeline: str, files: Files | None = None) -> Launch:
    """What the Pod of a task is told; `pipeline` is the store's folder for what only this pipeline can use.

    A task that may be cached leaves its outputs below a digest of all that it is asked, where the next one looks.
    """
    container = ready.component.container
    assert container is not None, ready.id
    local, downloads = _in_pod(ready.inputs)
    asked = executor_input(ready, local)
    argv = [*_resolved(container.command, asked), *_resolved(container.args, asked)]
    folder = f"{pipeline}/{ready.id}"
    if ready.task.cache:
        key = [container.image, argv, dict(container.env), downloads]
        folder = f"{pipeline.rpartition('/')[0]}/cache/{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}"
    needed = _needed(files or Files(), argv)
    document = {
        "step": ready.task.name,
        "argv": argv,
        "env": dict(container.env),
        "downloads": [*downloads, *needed.plain.items()],
        "archives": list(needed.archives.items()),
        "artifacts": {
            key: {"path": f"{_OUTPUT}/{key}", "store": f"{folder}/{key}"} for key in ready.component.output_artifacts
        },
        "parameters": {
            key: {"path": f"{_OUTPUT}/{key}", "type": kind} for key, kind in ready.component.output_parameters.items()
        },
        "executor_output": _EXECUTOR_OUTPUT,
        "result": f"{folder}/{RESULT}",
        "error": f"{folder}/{ERROR}",
    }
    return Launch(folder, ready.task.cache, document)


def outputs(ready: Ready, result: Mapping[str, Any]) -> Values:
    """The outputs that a Pod wrote as its result."""
    artifacts = {
        key: Artifact(key, each["uri"], each["metadata"], ready.component.output_artifacts[key])
        for key, each in result["artifacts"].items()
    }
    return Values(dict(result["parameters"]), artifacts)


def executor_input(ready: Ready, artifacts: Mapping[str, Sequence[Artifact]]) -> dict[str, Any]:
    """KFP's ExecutorInput as JSON, with the paths that hold in the Pod."""
    made = {
        key: {"artifacts": [_runtime(Artifact(key, f"{_OUTPUT}/{key}", {}, schema))]}
        for key, schema in ready.component.output_artifacts.items()
    }
    return {
        "inputs": {
            "parameterValues": dict(ready.inputs.parameters),
            "artifacts": {key: {"artifacts": [_runtime(one) for one in each]} for key, each in artifacts.items()},
        },
        "outputs": {
            "parameters": {key: {"outputFile": f"{_OUTPUT}/{key}"} for key in ready.component.output_parameters},
            "artifacts": made,
            "outputFile": _EXECUTOR_OUTPUT,
        },
    }


def _in_pod(inputs: Values) -> tuple[dict[str, list[Artifact]], list[tuple[str, str]]]:
    """The input artifacts with the paths that they have in the Pod, and what to download for it: store, path."""
    local: dict[str, list[Artifact]] = {}
    downloads: list[tuple[str, str]] = []
    for key, found in inputs.artifacts.items():
        local[key] = []
        for number, each in enumerate(found if isinstance(found, tuple) else (found,)):
            path = each.uri
            if each.uri.startswith(SCHEME):
                stored = each.uri.removeprefix(SCHEME)
                path = f"{IN_POD}/in/{key}/{number}/{stored.rpartition('/')[2]}"
                downloads.append((stored, path))
            local[key].append(Artifact(each.name, path, each.metadata, each.schema))
    return local, downloads


def _runtime(artifact: Artifact) -> dict[str, Any]:
    title, _, version = artifact.schema.partition("@")
    kind = {"schemaTitle": title, "schemaVersion": version}
    return {"name": artifact.name, "type": kind, "uri": artifact.uri, "metadata": dict(artifact.metadata)}


def _needed(files: Files, argv: Sequence[str]) -> Files:
    """Those of the user's files that the step's arguments name."""
    text = "\n".join(argv)

    def named(given: Mapping[str, str]) -> dict[str, str]:
        return {stored: path for stored, path in given.items() if path in text}

    return Files(named(files.plain), named(files.archives))


def _resolved(words: Sequence[Any], asked: Mapping[str, Any]) -> list[str]:
    """The words of a command with their placeholders replaced; optional ones may vanish, or become several."""
    made: list[str] = []
    for word in words:
        found = _structure(word, asked)
        made.extend(_filled(one, asked) for one in (found if isinstance(found, list) else [found]) if one is not None)
    return made


def _structure(word: Any, asked: Mapping[str, Any]) -> Any:
    """A word without Concat and IfPresent, which stand in the file as JSON."""
    if isinstance(word, str) and word.startswith(('{"Concat": ', '{"IfPresent": ')):
        word = json.loads(word)
    match word:
        case str():
            return word
        case {"Concat": parts}:
            return "".join(_structure(part, asked) or "" for part in parts)
        case {"IfPresent": {"InputName": name, "Then": then, **rest}}:
            inputs = asked["inputs"]
            present = inputs["parameterValues"].get(name) is not None or name in inputs["artifacts"]
            chosen = then if present else rest.get("Else")
            return [_structure(one, asked) for one in chosen] if isinstance(chosen, list) else chosen
    raise ConfigError(f"compiled pipeline: {word!r} in a command is not supported")


def _filled(word: str, asked: Mapping[str, Any]) -> str:
    return _PLACEHOLDER.sub(lambda found: _value(found["path"], asked), word)


def _value(path: str | None, asked: Mapping[str, Any]) -> str:
    if path is None:
        return json.dumps(asked)
    parts = [found[1] or found[2] or found[0] for found in _PARTS.finditer(path)]
    match parts:
        case ["inputs", "parameters", name] if name in asked["inputs"]["parameterValues"]:
            return as_text(asked["inputs"]["parameterValues"][name])
        case ["outputs", "parameters", name, "output_file"] if name in asked["outputs"]["parameters"]:
            return str(asked["outputs"]["parameters"][name]["outputFile"])
        case [("inputs" | "outputs") as side, "artifacts", name, ("uri" | "path")] if name in asked[side]["artifacts"]:
            return str(asked[side]["artifacts"][name]["artifacts"][0]["uri"])
        case [("inputs" | "outputs") as side, "artifacts", name, "metadata", key] if name in asked[side]["artifacts"]:
            return as_text(asked[side]["artifacts"][name]["artifacts"][0]["metadata"].get(key))
    raise ConfigError(f"compiled pipeline: placeholder {{{{$.{path}}}}} is not supported")
