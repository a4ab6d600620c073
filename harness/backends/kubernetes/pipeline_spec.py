"""A compiled KFP pipeline (PipelineSpec 2.1 as YAML) as frozen data; what is not supported is a named error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ConfigError

SCHEMA = "2.1.0"
_TASK_KEYS = {
    "artifactIterator",
    "cachingOptions",
    "componentRef",
    "dependentTasks",
    "inputs",
    "iteratorPolicy",
    "parameterIterator",
    "retryPolicy",
    "taskInfo",
    "triggerPolicy",
}
_CONTAINER_KEYS = {"args", "command", "env", "image", "resources"}
_STRATEGIES = {"": False, "ALL_UPSTREAM_TASKS_SUCCEEDED": False, "ALL_UPSTREAM_TASKS_COMPLETED": True}


@dataclass(frozen=True)
class Constant:
    """A value of the file; text may hold {{$.inputs.parameters['x']}}."""

    value: Any


@dataclass(frozen=True)
class FromParent:
    """An input of the component that the task is a part of."""

    name: str
    selector: str = ""


@dataclass(frozen=True)
class FromTask:
    """An output of another task of the same component."""

    task: str
    output: str
    selector: str = ""


@dataclass(frozen=True)
class FinalStatus:
    """How another task ended, as dsl.PipelineTaskFinalStatus has it."""

    task: str


Source = Constant | FromParent | FromTask | FinalStatus


@dataclass(frozen=True)
class Loop:
    """dsl.ParallelFor: `item` is given each of the items; `parallelism` 0 is no limit."""

    item: str
    raw: tuple[Any, ...] | None = None
    parameter: str = ""
    artifact: str = ""
    parallelism: int = 0


@dataclass(frozen=True)
class Task:
    """A use of a component; `always` runs it even after a failure before it, `retries` is how often it is run again."""

    name: str
    component: str
    parameters: Mapping[str, Source] = field(default_factory=dict)
    artifacts: Mapping[str, Source] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    condition: str = ""
    always: bool = False
    loop: Loop | None = None
    retries: int = 0
    cache: bool = False


@dataclass(frozen=True)
class Input:
    """An input parameter or artifact."""

    type: str
    optional: bool = False
    default: Any = None
    is_list: bool = False


@dataclass(frozen=True)
class Container:
    """What a task runs; resources as Kubernetes writes them."""

    image: str
    command: tuple[Any, ...] = ()
    args: tuple[Any, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Component:
    """Either a container or a graph of tasks; artifact outputs carry their schema ("system.Model@0.0.1") as type.

    results: output of a graph -> where it comes from; the first that ran, if there are several (dsl.OneOf).
    """

    name: str
    parameters: Mapping[str, Input] = field(default_factory=dict)
    artifacts: Mapping[str, Input] = field(default_factory=dict)
    output_parameters: Mapping[str, str] = field(default_factory=dict)
    output_artifacts: Mapping[str, str] = field(default_factory=dict)
    container: Container | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    results: Mapping[str, tuple[FromTask, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PipelineSpec:
    """A whole compiled file."""

    name: str
    root: Component
    components: Mapping[str, Component]


def load(path: Path) -> PipelineSpec:
    """The pipeline in a compiled file; ConfigError for another schema or a feature that is not supported."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> PipelineSpec:
    """As `load`, from the text; platform specs (a second YAML document) are refused."""
    documents = [each for each in yaml.safe_load_all(text) if each]
    if len(documents) != 1 or "root" not in documents[0]:
        raise ConfigError(
            f"compiled pipeline: expected one PipelineSpec document, found {len(documents)} documents",
            hint="platform-specific configuration (kfp-kubernetes) is not supported by the cluster runner.",
        )
    spec = documents[0]
    if spec.get("schemaVersion") != SCHEMA:
        raise ConfigError(f"compiled pipeline: expected schemaVersion {SCHEMA}, got {spec.get('schemaVersion')!r}")
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    components = {name: _component(name, each, executors) for name, each in spec.get("components", {}).items()}
    root = _component("root", spec["root"], executors)
    for component in (root, *components.values()):
        for task in component.tasks.values():
            if task.component not in components:
                raise ConfigError(f"compiled pipeline: task {task.name}: there is no component {task.component!r}")
    return PipelineSpec(spec["pipelineInfo"]["name"], root, components)


def _component(name: str, raw: Mapping[str, Any], executors: Mapping[str, Any]) -> Component:
    inputs, outputs = raw.get("inputDefinitions", {}), raw.get("outputDefinitions", {})
    dag = raw.get("dag", {})
    label = raw.get("executorLabel", "")
    return Component(
        name=name,
        parameters={
            key: Input(each["parameterType"], each.get("isOptional", False), each.get("defaultValue"))
            for key, each in inputs.get("parameters", {}).items()
        },
        artifacts={
            key: Input(_schema(each), each.get("isOptional", False), is_list=each.get("isArtifactList", False))
            for key, each in inputs.get("artifacts", {}).items()
        },
        output_parameters={key: each["parameterType"] for key, each in outputs.get("parameters", {}).items()},
        output_artifacts={key: _schema(each) for key, each in outputs.get("artifacts", {}).items()},
        container=_container(name, executors.get(label, {})) if label else None,
        tasks={key: _task(key, each) for key, each in dag.get("tasks", {}).items()},
        results=_results(name, dag.get("outputs", {})),
    )


def _schema(raw: Mapping[str, Any]) -> str:
    kind = raw["artifactType"]
    return f"{kind.get('schemaTitle', 'system.Artifact')}@{kind.get('schemaVersion', '0.0.1')}"


def _container(component: str, executor: Mapping[str, Any]) -> Container:
    if "container" not in executor:
        kinds = ", ".join(executor) or "nothing"
        raise ConfigError(
            f"compiled pipeline: {component} runs {kinds}, not a container", hint="a dsl.importer is not supported."
        )
    raw = executor["container"]
    _check_keys(f"the container of {component}", raw, _CONTAINER_KEYS)
    resources = raw.get("resources", {})
    if "accelerator" in resources:
        raise ConfigError(f"compiled pipeline: {component} wants an accelerator, which is not supported")
    wanted = {"limits": ("resourceCpuLimit", "resourceMemoryLimit")}
    wanted["requests"] = ("resourceCpuRequest", "resourceMemoryRequest")
    given = {
        kind: {unit: str(resources[key]) for unit, key in zip(("cpu", "memory"), keys, strict=True) if key in resources}
        for kind, keys in wanted.items()
    }
    return Container(
        image=raw["image"],
        command=tuple(raw.get("command", ())),
        args=tuple(raw.get("args", ())),
        env={each["name"]: each.get("value", "") for each in raw.get("env", ())},
        **given,
    )


def _task(name: str, raw: Mapping[str, Any]) -> Task:
    _check_keys(f"task {name}", raw, _TASK_KEYS)
    trigger, inputs = raw.get("triggerPolicy", {}), raw.get("inputs", {})
    strategy = trigger.get("strategy", "")
    if strategy not in _STRATEGIES:
        raise ConfigError(f"compiled pipeline: task {name}: trigger strategy {strategy!r} is not supported")
    return Task(
        name=name,
        component=raw["componentRef"]["name"],
        parameters={key: _source(name, each) for key, each in inputs.get("parameters", {}).items()},
        artifacts={key: _source(name, each) for key, each in inputs.get("artifacts", {}).items()},
        after=tuple(raw.get("dependentTasks", ())),
        condition=trigger.get("condition", ""),
        always=_STRATEGIES[strategy],
        loop=_loop(raw),
        retries=int(raw.get("retryPolicy", {}).get("maxRetryCount", 0)),
        cache=bool(raw.get("cachingOptions", {}).get("enableCache", False)),
    )


def _source(task: str, raw: Mapping[str, Any]) -> Source:
    selector = raw.get("parameterExpressionSelector", "")
    match raw:
        case {"runtimeValue": {"constant": value}}:
            return Constant(value)
        case {"componentInputParameter": name} | {"componentInputArtifact": name}:
            return FromParent(name, selector)
        case {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": key}}:
            return FromTask(producer, key, selector)
        case {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": key}}:
            return FromTask(producer, key)
        case {"taskFinalStatus": {"producerTask": producer}}:
            return FinalStatus(producer)
    raise ConfigError(f"compiled pipeline: task {task}: input {', '.join(raw)} is not supported")


def _loop(raw: Mapping[str, Any]) -> Loop | None:
    limit = int(raw.get("iteratorPolicy", {}).get("parallelismLimit", 0))
    if iterator := raw.get("parameterIterator"):
        items = iterator["items"]
        known = tuple(json.loads(items["raw"])) if "raw" in items else None
        return Loop(iterator["itemInput"], raw=known, parameter=items.get("inputParameter", ""), parallelism=limit)
    if iterator := raw.get("artifactIterator"):
        return Loop(iterator["itemInput"], artifact=iterator["items"]["inputArtifact"], parallelism=limit)
    return None


def _results(component: str, raw: Mapping[str, Any]) -> dict[str, tuple[FromTask, ...]]:
    found: dict[str, tuple[FromTask, ...]] = {}
    for key, each in raw.get("artifacts", {}).items():
        selectors = each.get("artifactSelectors", ())
        found[key] = tuple(FromTask(one["producerSubtask"], one["outputArtifactKey"]) for one in selectors)
    for key, each in raw.get("parameters", {}).items():
        match each:
            case {"valueFromParameter": one}:
                selectors = [one]
            case {"valueFromOneof": {"parameterSelectors": several}}:
                selectors = several
            case _:
                raise ConfigError(f"compiled pipeline: {component}: output {key} from {', '.join(each)}: not supported")
        found[key] = tuple(FromTask(one["producerSubtask"], one["outputParameterKey"]) for one in selectors)
    return found


def _check_keys(where: str, raw: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(raw) - known):
        raise ConfigError(f"compiled pipeline: {where}: {', '.join(unknown)} is not supported by the cluster runner")
