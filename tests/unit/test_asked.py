"""What a service's clients sent, told from its prediction log: forms, columns and types, and how often each came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.lifecycle.checks import Asked
from harness.prediction_log.asked import shapes
from harness.prediction_log.events import REQUEST, RESPONSE
from harness.prediction_log.payloads import shape_of
from tests.unit.test_prediction_log import event, logged


def tensor(name: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": "FP64", "data": data}


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (
            {"instances": [{"age": 1.5, "town": "x"}, {"age": None, "town": "y"}]},
            Asked("named", ("age", "town"), (("null", "number"), ("text",))),
        ),
        ({"instances": [[3.0, True], [4, False]]}, Asked("in order", ("0", "1"), (("integer",), ("boolean",)))),
        ({"instances": [[[1], 2]]}, Asked("in order", ("0", "1"), (("other",), ("integer",)))),
        (
            {"inputs": [tensor("age", [1.5, 2.5]), tensor("visits", [3, 4])]},
            Asked("named", ("age", "visits"), (("number",), ("integer",))),
        ),
        (
            {"inputs": [tensor("input-0", [1.5, 2, 3.5, 4], [2, 2])]},
            Asked("in order", ("0", "1"), (("number",), ("integer",))),
        ),
        ({"instances": []}, None),
        ({"inputs": "x"}, None),
        ({"other": 1}, None),
        ([], None),
    ],
)
def test_the_shape_of_a_request(body: Any, shape: Asked | None) -> None:
    """Of both protocols; what is no inference request has none."""
    assert shape_of(json.dumps(body)) == shape


def test_shapes_are_counted_of_one_service_since_a_moment(tmp_path: Path) -> None:
    """Copies of an event count once, responses and other services not at all."""
    two, one = {"instances": [[1.5, 2.5]]}, {"instances": [[1.5]]}
    events = [
        event(REQUEST, "a", two), event(REQUEST, "a", two), event(REQUEST, "b", two, at=2_000.0),
        event(REQUEST, "c", one, at=2_000.0), event(RESPONSE, "c", {"predictions": [0.5]}, at=2_000.0),
        event(REQUEST, "d", one, service="another"), event(REQUEST, "e", {"x": 1}),
    ]  # fmt: skip
    logged(tmp_path, events)
    spec = {"folder": str(tmp_path), "namespace": "production", "service": "visits"}

    assert [(len(shape.columns), shape.requests) for shape in shapes(spec)] == [(2, 2), (1, 1)]
    assert [(len(shape.columns), shape.requests) for shape in shapes({**spec, "since": 1_500})] == [(2, 1), (1, 1)]
