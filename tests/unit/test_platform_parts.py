"""Which parts of a platform can be had: a part goes by its capability, whatever the two are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.backends.backend import CAPABILITY_OF, Part
from harness.platform import Platform


@pytest.mark.parametrize("part", list(Part))
def test_a_part_whose_capability_is_missing_is_left_out_and_told(part: Part) -> None:
    """The others start; the event has the reason."""
    told: list[tuple[Any, ...]] = []
    backend = SimpleNamespace(missing=lambda: {CAPABILITY_OF[part]: "not in this world"})
    run = SimpleNamespace(events=SimpleNamespace(emit=lambda *args, **_: told.append(args)))
    platform = cast(Platform, SimpleNamespace(backend=backend, run=run))
    assert Platform.available(platform, *Part) == [other for other in Part if other is not part]
    assert told == [("capability.missing", part.value, "not in this world")]
