"""Small KFP pipelines, each with one thing that a back end must get right.

No `from __future__ import annotations` here: KFP reads the annotations themselves.
"""

from typing import Any

from kfp import dsl

component = dsl.component(base_image="example/steps:1", install_kfp_package=False)


@component
def numbers(count: int) -> list[int]:
    return list(range(count))


@component
def double(x: int) -> int:
    return 2 * x


@component
def write(x: int, rows: dsl.Output[dsl.Dataset]) -> None:
    pass


@component
def join(xs: list[int], parts: dsl.Input[list[dsl.Dataset]]) -> str:
    return ""


@component
def say(text: str, loud: bool = True, share: float = 0.5) -> str:
    return text


@component
def tell(status: dsl.PipelineTaskFinalStatus) -> None:
    pass


@dsl.pipeline
def loop(count: int = 3) -> str:
    made = numbers(count=count)
    with dsl.ParallelFor(made.output, parallelism=2) as x:
        doubled = double(x=x)
        written = write(x=doubled.output)
    joined = join(xs=dsl.Collected(doubled.output), parts=dsl.Collected(written.outputs["rows"]))
    joined.set_retry(num_retries=2)
    joined.set_cpu_limit("500m").set_memory_limit("1G")
    return joined.output  # type: ignore[no-any-return]


@dsl.pipeline
def records() -> None:
    with dsl.ParallelFor([{"depth": 2, "label": "a"}, {"depth": 3, "label": "b"}]) as item:
        said = say(text=f"tree {item.label}")
        double(x=item.depth).after(said)


@dsl.pipeline
def branches(which: str = "a", count: int = 3) -> int:
    said = say(text=which)
    with dsl.If(said.output == "a"):
        first = double(x=1)
    with dsl.Elif(count > 4):
        first_else = double(x=2)
    with dsl.Else():
        second = double(x=3)
    last = double(x=dsl.OneOf(first.output, first_else.output, second.output))
    return last.output  # type: ignore[no-any-return]


@dsl.pipeline
def skipped(rate: float = 0.5) -> None:
    with dsl.If(rate < 0.2):
        double(x=1)


@dsl.pipeline
def handled() -> None:
    end = tell()
    with dsl.ExitHandler(end):
        first = double(x=1)
        double(x=2)
        say(text="never").after(first)


@dsl.pipeline
def inner(x: int) -> int:
    return double(x=x).output  # type: ignore[no-any-return]


@dsl.pipeline
def nested(count: int) -> int:
    once = inner(x=count)
    return inner(x=once.output).output  # type: ignore[no-any-return]


@dsl.pipeline
def imported() -> None:
    found: Any = dsl.importer(artifact_uri="gs://bucket/rows", artifact_class=dsl.Dataset)
    join(xs=[1], parts=[found.output]) if False else say(text="x").after(found)
