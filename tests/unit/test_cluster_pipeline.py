"""A compiled pipeline as a graph: which tasks can run, with which inputs; loops, branches, failures, cleaning up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.backends.kubernetes.pipeline_conditions import filled, holds, selected
from harness.backends.kubernetes.pipeline_graph import Ended, Ready, progress
from harness.backends.kubernetes.pipeline_graph import Progress as Standing
from harness.backends.kubernetes.pipeline_spec import PipelineSpec, load, parse
from harness.backends.kubernetes.pipeline_values import Artifact, State, Values
from harness.errors import ConfigError, StepFailed
from harness.lifecycle.dataset import high_utiliser
from harness.lifecycle.pipeline import arguments
from harness.lifecycle.spec import TrainingSpec

Act = Callable[[Ready], Ended]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PipelineSpec]:
    """A small pipeline as KFP's own compiler writes it."""
    from kfp import compiler

    from tests.unit import small_pipelines

    folder = tmp_path_factory.mktemp("compiled")

    def compile_small(name: str) -> PipelineSpec:
        path = folder / f"{name}.yaml"
        if not path.exists():
            compiler.Compiler().compile(getattr(small_pipelines, name), str(path))
        return load(path)

    return compile_small


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from harness.lifecycle.kfp_pipeline import compile_to

    path = tmp_path_factory.mktemp("training") / "pipeline.yaml"
    compile_to(path)
    return path


def act(ready: Ready) -> Ended:
    """What the small pipelines' components do."""
    given = ready.inputs.parameters
    artifacts = {key: Artifact(key, f"store/{ready.id}/{key}") for key in ready.component.output_artifacts}
    made: dict[str, Callable[[], Any]] = {
        "numbers": lambda: list(range(given["count"])),
        "double": lambda: 2 * given["x"],
        "say": lambda: given["text"],
        "join": lambda: f"{given['xs']}",
    }
    kind = ready.component.name.removeprefix("comp-").split("-")[0]
    parameters = {"Output": made[kind]()} if kind in made else {}
    return Ended(True, Values(parameters, artifacts))


def fail(*ids: str) -> Act:
    return lambda ready: Ended(False) if ready.id in ids else act(ready)


def run(spec: PipelineSpec, given: Mapping[str, Any] | None = None, do: Act = act) -> tuple[Standing, list[list[str]]]:
    """Run wave by wave; the end, and the ids of each wave."""
    ended: dict[str, Ended] = {}
    waves = []
    while (now := progress(spec, given or {}, ended)).ready:
        waves.append([each.id for each in now.ready])
        ended |= {each.id: do(each) for each in now.ready}
    return now, waves


def test_the_training_pipeline_runs_in_the_order_that_its_data_asks_for(training: Path) -> None:
    """Every task has its parameters and the artifacts of the tasks before it; nothing is left waiting."""
    spec = load(training)
    asked = TrainingSpec(high_utiliser(), "model", "http://mlflow:5000", "experiment", "/run")
    end, waves = run(spec, arguments(asked))
    assert waves == [[name] for name in ("ingest", "validate", "features", "search", "train", "evaluate", "register")]
    assert end.state is State.PASSED
    ended = {name: act(progress(spec, arguments(asked), {}).ready[0]) for name in ("ingest",)}
    (validate,) = progress(spec, arguments(asked), ended).ready
    assert validate.inputs.artifacts == {"rows": Artifact("rows", "store/ingest/rows")}
    assert validate.inputs.parameters["dataset"] == asked.dataset.to_json()
    assert validate.task.cache
    assert validate.component.container is not None
    assert validate.component.container.image.startswith("rehearsal/pipeline:")


def test_a_loop_runs_its_rounds_in_parallel_up_to_its_limit_and_is_collected(
    compiled: Callable[[str], PipelineSpec],
) -> None:
    """Two rounds of three at once; the next begins as one ends; outputs come together in the order of the items."""
    spec = compiled("loop")
    end, waves = run(spec)
    assert waves[:2] == [["numbers"], ["for-loop-1/0/double", "for-loop-1/1/double"]]
    assert not any("/2/" in each for wave in waves[:3] for each in wave)
    assert end.outputs.parameters == {"Output": "[0, 2, 4]"}
    join = {each.id: each for each in (progress(spec, {}, _until(spec, "join"))).ready}["join"]
    parts = join.inputs.artifacts["parts"]
    assert isinstance(parts, tuple)
    assert [each.uri.split("/")[2] for each in parts] == ["0", "1", "2"]
    assert join.task.retries == 2
    assert join.component.container is not None
    assert join.component.container.limits == {"cpu": "500m", "memory": "1G"}


def _until(spec: PipelineSpec, last: str) -> dict[str, Ended]:
    """What has ended once `last` is ready."""
    ended: dict[str, Ended] = {}
    ready = progress(spec, {}, ended).ready
    while last not in [each.id for each in ready]:
        assert ready
        ended |= {each.id: act(each) for each in ready}
        ready = progress(spec, {}, ended).ready
    return ended


def test_a_loop_over_nothing_ends_with_empty_lists(compiled: Callable[[str], PipelineSpec]) -> None:
    """What follows it runs all the same."""
    end, waves = run(compiled("loop"), {"count": 0})
    assert waves == [["numbers"], ["join"]]
    assert end.outputs.parameters == {"Output": "[]"}


def test_a_loop_over_records_hands_out_their_fields(compiled: Callable[[str], PipelineSpec]) -> None:
    """As parameters of their own, and inside of text."""
    seen: dict[str, Any] = {}

    def note(ready: Ready) -> Ended:
        seen[ready.id.split("/", 1)[1]] = ready.inputs.parameters.get("x", ready.inputs.parameters.get("text"))
        return act(ready)

    run(compiled("records"), do=note)
    assert seen == {"0/say": "tree a", "0/double": 2, "1/say": "tree b", "1/double": 3}


@pytest.mark.parametrize(
    ("given", "result"), [({"which": "a"}, 4), ({"which": "b", "count": 5}, 8), ({"which": "b", "count": 4}, 12)]
)
def test_one_branch_runs_and_its_output_is_the_one_of(
    compiled: Callable[[str], PipelineSpec], given: dict[str, Any], result: int
) -> None:
    """If, Elif, Else: exactly one; the others are skipped, which is no failure."""
    end, waves = run(compiled("branches"), given)
    assert len([name for wave in waves for name in wave if "condition" in name]) == 1
    assert end.state is State.PASSED
    assert end.outputs.parameters == {"Output": result}


def test_a_condition_that_does_not_hold_runs_nothing_and_is_no_failure(
    compiled: Callable[[str], PipelineSpec],
) -> None:
    """The group is skipped; the pipeline has passed."""
    end, waves = run(compiled("skipped"), {"rate": 0.5})
    assert (waves, end.state, end.states["condition-1"]) == ([], State.PASSED, State.SKIPPED)
    assert run(compiled("skipped"), {"rate": 0.1})[1] == [["condition-1/double"]]


def test_a_failure_starts_nothing_more_but_the_exit_handler(compiled: Callable[[str], PipelineSpec]) -> None:
    """It is told how the rest ended; the pipeline has failed."""
    told = []

    def note(ready: Ready) -> Ended:
        told.append(ready.inputs.parameters.get("status", {}).get("state"))
        return fail("exit-handler-1/double")(ready)

    end, waves = run(compiled("handled"), do=note)
    assert waves == [["exit-handler-1/double", "exit-handler-1/double-2"], ["tell"]]
    assert told[-1] == "FAILED"
    assert end.state is State.FAILED
    assert run(compiled("handled"))[0].state is State.PASSED


def test_a_pipeline_inside_a_pipeline_has_inputs_and_outputs_of_its_own(
    compiled: Callable[[str], PipelineSpec],
) -> None:
    """Names inside of it do not meet those outside."""
    end, waves = run(compiled("nested"), {"count": 3})
    assert waves == [["inner/double"], ["inner-2/double"]]
    assert end.outputs.parameters == {"Output": 12}


def test_defaults_fill_in_and_whole_numbers_stay_whole(compiled: Callable[[str], PipelineSpec]) -> None:
    """JSON knows one kind of number; a component that asks for an int must not be given 3.0."""
    (numbers,) = progress(compiled("loop"), {}, {}).ready
    assert repr(numbers.inputs.parameters["count"]) == "3"
    (said,) = progress(compiled("branches"), {}, {}).ready
    assert said.inputs.parameters == {"text": "a", "loud": True, "share": 0.5}


def test_arguments_that_do_not_fit_are_refused_by_name(compiled: Callable[[str], PipelineSpec]) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError, match="no parameter depth; it has count"):
        progress(compiled("loop"), {"depth": 1}, {})
    with pytest.raises(ConfigError, match=r"nested was not given its parameter 'count' \(NUMBER_INTEGER\)"):
        progress(compiled("nested"), {}, {})


def test_a_task_that_did_not_write_its_output_is_named(compiled: Callable[[str], PipelineSpec]) -> None:
    """Rather than a missing key in what comes after it."""
    with pytest.raises(StepFailed, match="numbers did not make its output 'Output'"):
        progress(compiled("loop"), {}, {"numbers": Ended(True)})


def test_features_that_would_be_ignored_are_refused(
    compiled: Callable[[str], PipelineSpec], training: Path, tmp_path: Path
) -> None:
    """An importer, an unknown key of a task, another schema, a second document for a platform."""
    with pytest.raises(ConfigError, match="importer"):
        compiled("imported")
    text = training.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"task evaluate: stopPolicy is not supported"):
        parse(
            text.replace(
                "taskInfo:\n          name: evaluate", "stopPolicy: {}\n        taskInfo:\n          name: evaluate"
            )
        )
    with pytest.raises(ConfigError, match=r"expected schemaVersion 2\.1\.0, got '3\.0\.0'"):
        parse(text.replace("schemaVersion: 2.1.0", "schemaVersion: 3.0.0"))
    with pytest.raises(ConfigError, match="found 2 documents"):
        parse(f"{text}\n---\nplatforms: {{kubernetes: {{}}}}\n")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("inputs.parameter_values['a'] == 'x'", True),
        ("!(inputs.parameter_values['a'] == 'x') && int(inputs.parameter_values['n']) > 4", False),
        ("inputs.parameter_values['a'] != 'y' || int(inputs.parameter_values['n']) > 4", True),
        ("double(inputs.parameter_values['n']) <= 3.0", True),
        ("inputs.parameter_values['on'] == true", True),
        ("inputs.parameter_values['n'] < -1.5", False),
        ("inputs.parameter_values['quoted'] == 'it\\'s'", True),
    ],
)
def test_conditions_hold_as_kfp_writes_them(condition: str, expected: bool) -> None:
    """Comparisons with casts, joined and negated."""
    assert holds(condition, {"a": "x", "n": 3, "on": True, "quoted": "it's"}) is expected


@pytest.mark.parametrize(
    "condition", ["a ==", "size('a') > 1", "inputs.parameter_values['gone'] == 1", "1 == 1 )", "1 $"]
)
def test_a_condition_beyond_that_is_refused_as_a_whole(condition: str) -> None:
    """Never half evaluated."""
    with pytest.raises(ConfigError, match="cannot be evaluated"):
        holds(condition, {})


def test_selectors_and_text() -> None:
    """A field of a record, also of one that is text; parameters in a sentence, and one that stands alone."""
    assert selected({"a": 1}, 'parseJson(string_value)["a"]') == 1
    assert selected('{"a": 1}', 'parseJson(string_value)["a"]') == 1
    with pytest.raises(ConfigError, match="there is no 'b'"):
        selected({"a": 1}, 'parseJson(string_value)["b"]')
    with pytest.raises(ConfigError, match="is not supported"):
        selected([1], "string_value[0]")
    parameters = {"n": 3, "m": [1]}
    assert filled("n={{$.inputs.parameters['n']}} m={{$.inputs.parameters['m']}}", parameters) == "n=3 m=[1]"
    assert filled("{{$.inputs.parameters['n']}}", parameters) == 3


def test_a_loop_over_text_that_is_a_json_list(compiled: Callable[[str], PipelineSpec]) -> None:
    """A list that travelled as text is still a list; anything else is refused."""
    spec = compiled("loop")

    def numbers(value: Any) -> dict[str, Ended]:
        return {"numbers": Ended(True, Values({"Output": value}))}

    assert len(progress(spec, {}, numbers("[7]")).ready) == 1
    with pytest.raises(StepFailed, match="loops over a list, got 7"):
        progress(spec, {}, numbers(7))
