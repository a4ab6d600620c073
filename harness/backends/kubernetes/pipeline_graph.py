"""What of a compiled pipeline can run now: a pure function of the pipeline, its arguments and what has ended so far.

Tasks are named by their path: "train", or "for-loop-2/0/train" for the first round of a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.backends.kubernetes.pipeline_conditions import holds
from harness.backends.kubernetes.pipeline_spec import Component, FinalStatus, FromTask, PipelineSpec, Task
from harness.backends.kubernetes.pipeline_values import (
    State,
    Values,
    collected,
    resolved,
    results,
    rounds,
    with_defaults,
)
from harness.errors import ConfigError

SETTLED = (State.PASSED, State.FAILED, State.SKIPPED)


@dataclass(frozen=True)
class Ended:
    """How a container task ended."""

    succeeded: bool
    outputs: Values = field(default_factory=Values)


@dataclass(frozen=True)
class Ready:
    """A container task whose inputs are there; `cleanup` runs after a failure too."""

    id: str
    task: Task
    component: Component
    inputs: Values
    cleanup: bool = False


@dataclass(frozen=True)
class Progress:
    """Where the pipeline stands; `states` has every task that is known by now, groups too."""

    state: State
    ready: tuple[Ready, ...]
    states: Mapping[str, State]
    outputs: Values


def progress(spec: PipelineSpec, arguments: Mapping[str, object], ended: Mapping[str, Ended]) -> Progress:
    """What can run now, those that run already included; after a failure only tasks that clean up.

    Errors: ConfigError for arguments that do not fit, StepFailed for outputs that a task did not make.
    """
    if unknown := sorted(set(arguments) - set(spec.root.parameters)):
        raise ConfigError(
            f"pipeline {spec.name}: no parameter {', '.join(unknown)}; it has {', '.join(spec.root.parameters)}"
        )
    walk = _Walk(spec, ended)
    state, outputs = walk.component(spec.root, Values(arguments), "", cleanup=False)
    failed = State.FAILED in walk.states.values()
    ready = tuple(each for each in walk.ready if each.cleanup or not failed)
    if failed:
        state = State.READY if ready else State.FAILED
    return Progress(state, ready, walk.states, outputs)


@dataclass
class _Walk:
    """One walk over the graph; it collects what it meets."""

    spec: PipelineSpec
    ended: Mapping[str, Ended]
    ready: list[Ready] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)

    def component(self, component: Component, given: Values, path: str, *, cleanup: bool) -> tuple[State, Values]:
        """The state and the outputs of a group of tasks."""
        inputs = with_defaults(component, given, path or self.spec.name, strict=not path)
        states: dict[str, State] = {}
        outputs: dict[str, Values] = {}
        for task in _ordered(component.tasks):
            name = f"{path}/{task.name}" if path else task.name
            state, made = self._task(task, inputs, states, outputs, name, cleanup=cleanup or task.always)
            states[task.name], outputs[task.name] = state, made
            self.states[name] = state
        return _together(states), results(component, outputs)

    def _task(
        self,
        task: Task,
        parent: Values,
        states: Mapping[str, State],
        outputs: Mapping[str, Values],
        name: str,
        *,
        cleanup: bool,
    ) -> tuple[State, Values]:
        before = {each: states[each] for each in _needs(task)}
        if any(state not in SETTLED for state in before.values()):
            return State.WAITING, Values()
        if not task.always and State.FAILED in before.values():
            return State.SKIPPED, Values()
        if any(states[source.task] is State.SKIPPED for source in _taken(task)):
            return State.SKIPPED, Values()
        inputs = resolved(task, parent, states, outputs, name)
        if task.condition and not holds(task.condition, inputs.parameters):
            return State.SKIPPED, Values()
        if task.loop is not None:
            return self._loop(task, inputs, name, cleanup=cleanup)
        return self._one(task, inputs, name, cleanup=cleanup)

    def _loop(self, task: Task, inputs: Values, name: str, *, cleanup: bool) -> tuple[State, Values]:
        assert task.loop is not None
        states: dict[str, State] = {}
        made: list[Values] = []
        running = 0
        for number, given in enumerate(rounds(task, inputs, name)):
            if task.loop.parallelism and running >= task.loop.parallelism:
                states[str(number)] = State.WAITING
                continue
            states[str(number)], outputs = self._one(task, given, f"{name}/{number}", cleanup=cleanup)
            running += states[str(number)] not in SETTLED
            made.append(outputs)
        state = _together(states)
        return state, collected(self.spec.components[task.component], made) if state is State.PASSED else Values()

    def _one(self, task: Task, inputs: Values, name: str, *, cleanup: bool) -> tuple[State, Values]:
        component = self.spec.components[task.component]
        if component.container is None:
            return self.component(component, inputs, name, cleanup=cleanup)
        if name in self.ended:
            ended = self.ended[name]
            return (State.PASSED if ended.succeeded else State.FAILED), ended.outputs
        inputs = with_defaults(component, inputs, name, strict=True)
        self.ready.append(Ready(name, task, component, inputs, cleanup))
        return State.READY, Values()


def _together(states: Mapping[str, State]) -> State:
    found = set(states.values())
    for state in (State.FAILED, State.READY, State.WAITING):
        if state in found:
            return state
    return State.PASSED


def _needs(task: Task) -> tuple[str, ...]:
    sources = (*task.parameters.values(), *task.artifacts.values())
    producers = (source.task for source in sources if isinstance(source, FromTask | FinalStatus))
    return tuple(dict.fromkeys((*task.after, *producers)))


def _taken(task: Task) -> Iterator[FromTask]:
    return (each for each in (*task.parameters.values(), *task.artifacts.values()) if isinstance(each, FromTask))


def _ordered(tasks: Mapping[str, Task]) -> Iterator[Task]:
    """Each task after those that it needs; ConfigError for a circle, which no compiler writes."""
    done: set[str] = set()
    left = dict(tasks)
    while left:
        free = [task for task in left.values() if done.issuperset(_needs(task))]
        if not free:
            raise ConfigError(f"compiled pipeline: tasks {', '.join(sorted(left))} wait for each other, or for no task")
        for task in free:
            yield left.pop(task.name)
        done.update(task.name for task in free)
