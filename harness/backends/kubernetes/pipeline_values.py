"""The values that flow through a compiled pipeline: how inputs are resolved and outputs are put together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.backends.kubernetes.pipeline_conditions import filled, selected
from harness.backends.kubernetes.pipeline_spec import (
    Component,
    Constant,
    FinalStatus,
    FromParent,
    FromTask,
    Source,
    Task,
)
from harness.errors import ConfigError, StepFailed


class State(StrEnum):
    """How far a task, or a group of tasks, is."""

    WAITING = "waiting"
    READY = "ready"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Artifact:
    """An artifact and where it lies; `schema` is its KFP type, such as "system.Model@0.0.1"."""

    name: str
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    schema: str = "system.Artifact@0.0.1"


Artifacts = Mapping[str, Artifact | tuple[Artifact, ...]]


@dataclass(frozen=True)
class Values:
    """Inputs or outputs: parameters, and artifacts, several of them where a loop was collected."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Artifacts = field(default_factory=dict)


def resolved(
    task: Task, parent: Values, states: Mapping[str, State], outputs: Mapping[str, Values], name: str
) -> Values:
    """A task's inputs: constants, inputs of its parent, and the outputs of tasks before it."""
    parameters: dict[str, Any] = {}
    for key, source in task.parameters.items():
        if not isinstance(source, FromParent) or source.name in parent.parameters:
            parameters[key] = _parameter(source, parent, states, outputs, name)
    for key, value in parameters.items():
        parameters[key] = filled(value, parameters) if isinstance(value, str) and _is_constant(task, key) else value
    artifacts: dict[str, Any] = {}
    for key, source in task.artifacts.items():
        if isinstance(source, FromTask):
            artifacts[key] = _made(outputs[source.task].artifacts, source, name)
        elif isinstance(source, FromParent) and source.name in parent.artifacts:
            artifacts[key] = parent.artifacts[source.name]
    return Values(parameters, artifacts)


def _is_constant(task: Task, key: str) -> bool:
    return isinstance(task.parameters[key], Constant)


def _parameter(
    source: Source, parent: Values, states: Mapping[str, State], outputs: Mapping[str, Values], name: str
) -> Any:
    if isinstance(source, Constant):
        return source.value
    if isinstance(source, FinalStatus):
        state = "SUCCEEDED" if states[source.task] is State.PASSED else "FAILED"
        return {"state": state, "pipelineTaskName": source.task, "error": {}}
    if isinstance(source, FromTask):
        value = _made(outputs[source.task].parameters, source, name)
    else:
        value = parent.parameters[source.name]
    return selected(value, source.selector) if source.selector else value


def _made(found: Mapping[str, Any], source: FromTask, name: str) -> Any:
    if source.output not in found:
        raise StepFailed(f"pipeline task {name}: {source.task} did not make its output {source.output!r}")
    return found[source.output]


def with_defaults(component: Component, given: Values, name: str, *, strict: bool) -> Values:
    """The inputs with defaults and whole numbers as such; `strict` misses what has neither value nor default."""
    parameters = dict(given.parameters)
    for key, wanted in component.parameters.items():
        if key not in parameters and wanted.default is not None:
            parameters[key] = wanted.default
        if strict and key not in parameters and not wanted.optional:
            raise ConfigError(f"pipeline: {name} was not given its parameter {key!r} ({wanted.type})")
        if wanted.type == "NUMBER_INTEGER" and isinstance(parameters.get(key), float):
            parameters[key] = int(parameters[key])
    missing = [key for key, wanted in component.artifacts.items() if key not in given.artifacts and not wanted.optional]
    if strict and missing:
        raise ConfigError(f"pipeline: {name} was not given its artifact {', '.join(missing)}")
    return Values(parameters, given.artifacts)


def rounds(task: Task, inputs: Values, name: str) -> Iterator[Values]:
    """The inputs of each round of a loop."""
    loop = task.loop
    assert loop is not None
    if loop.artifact:
        found = inputs.artifacts[loop.artifact]
        for artifact in found if isinstance(found, tuple) else (found,):
            yield Values(inputs.parameters, {**inputs.artifacts, loop.item: artifact})
        return
    items = loop.raw if loop.raw is not None else inputs.parameters[loop.parameter]
    items = json.loads(items) if isinstance(items, str) else items
    if not isinstance(items, list | tuple):
        raise StepFailed(f"pipeline task {name}: loops over a list, got {items!r}")
    for item in items:
        # KFP's compiler passes no value for a record's field that stands inside of text: it only names it so.
        fields = {f"{loop.item}-subvar-{key}": each for key, each in item.items()} if isinstance(item, dict) else {}
        yield Values({**inputs.parameters, loop.item: item, **fields}, inputs.artifacts)


def results(component: Component, outputs: Mapping[str, Values]) -> Values:
    """The outputs of a group, of those tasks that have run."""
    parameters: dict[str, Any] = {}
    artifacts: dict[str, Any] = {}
    for key, sources in component.results.items():
        for source in sources:
            made = outputs[source.task]
            if key in component.output_artifacts and source.output in made.artifacts:
                artifacts.setdefault(key, made.artifacts[source.output])
            elif source.output in made.parameters:
                parameters.setdefault(key, made.parameters[source.output])
    return Values(parameters, artifacts)


def collected(component: Component, made: list[Values]) -> Values:
    """What dsl.Collected gives: a list of the rounds' parameters, all of their artifacts."""
    artifacts: dict[str, tuple[Artifact, ...]] = {}
    for key in component.output_artifacts:
        found = [each.artifacts[key] for each in made if key in each.artifacts]
        artifacts[key] = tuple(one for each in found for one in (each if isinstance(each, tuple) else (each,)))
    parameters = {
        key: [each.parameters[key] for each in made if key in each.parameters] for key in component.output_parameters
    }
    return Values(parameters, artifacts)
