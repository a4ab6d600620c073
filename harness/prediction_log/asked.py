"""Job: the shapes of the requests that a service's clients sent, as its prediction log has them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.lifecycle.checks.consumers import Asked
from harness.prediction_log import reader
from harness.prediction_log.payloads import shape_of
from harness.runtime.job import answer


def main(spec_json: str, result_path: str) -> None:
    """Spec: {"folder", "namespace", "service", "since"?: Unix seconds}. Answer: {"shapes": [fields of Asked]}, the most
    frequent first; what is no inference request is left out.
    """
    answer(result_path, lambda: {"shapes": [asdict(shape) for shape in shapes(json.loads(spec_json))]})


def shapes(spec: Mapping[str, Any]) -> list[Asked]:
    """Each shape of request with how often it came."""
    since = spec.get("since")
    bodies = reader.requests(
        Path(spec["folder"]), spec["namespace"], spec["service"], -math.inf if since is None else float(since)
    )
    counted = Counter(shape for body in bodies if (shape := shape_of(body)) is not None)
    return [replace(shape, requests=count) for shape, count in counted.most_common()]
