"""Policies as TOML files: the examples, and what a mistake is told."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.lifecycle.rollout import (
    ABTest,
    BlueGreen,
    ByHeader,
    ByUser,
    Canary,
    Shadow,
    State,
    load_policy,
    parse_policy,
    untestable,
)
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Standard

EXAMPLES = Path(__file__).parents[2] / "manifests" / "policies"
SLO_OF_EXAMPLES = SLO(errors=0.01, slower_than_ms=100, slow=0.05)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        (
            "canary",
            Canary(
                SLO_OF_EXAMPLES,
                steps=(10, 50, 100),
                min_step_s=2,
                min_step_requests=50,
                pause_s=5,
                manual=(50,),
                approval_s=900,
                prove_split=True,
            ),
        ),
        (
            "ab",
            ABTest(SLO(errors=0.02, slower_than_ms=100, slow=0.05), by=ByUser(), metric="positive", min_effect=0.05),
        ),
        ("blue-green", BlueGreen(SLO_OF_EXAMPLES, warm_requests=50, hold_s=10)),
        ("shadow", Shadow(SLO_OF_EXAMPLES, min_agreement=0.95, prediction_shift=0.1, min_s=2)),
    ],
)
def test_each_example_is_the_policy_that_it_says(name: str, policy: Any) -> None:
    """The files of manifests/policies are read as written."""
    assert load_policy(EXAMPLES / f"{name}.toml") == policy


def test_there_is_an_example_of_each_kind_and_no_other() -> None:
    """One file a kind, named after it."""
    assert sorted(path.stem for path in EXAMPLES.iterdir()) == ["ab", "blue-green", "canary", "shadow"]


@pytest.mark.parametrize("kind", ["canary", "ab", "blue-green", "shadow"])
def test_a_state_survives_as_json(kind: str) -> None:
    """Whatever the policy, a state that was written and read again is the same."""
    state = State(parse_policy({"kind": kind}, "test"), 12.5, names=("v1", "v2"))
    assert State.from_json(state.to_json()) == state


def test_a_table_may_set_the_standard_a_header_and_leave_a_comparison_out() -> None:
    """Nested tables and `false`."""
    policy = parse_policy({"kind": "canary", "standard": {"alpha": 0.01}}, "test")
    assert policy.standard == Standard(alpha=0.01)
    policy = parse_policy({"kind": "ab", "by": {"header": "x-variant", "value": "b"}}, "test")
    assert isinstance(policy, ABTest)
    assert policy.by == ByHeader("x-variant", "b")
    shadow = parse_policy({"kind": "shadow", "min_agreement": False}, "test")
    assert isinstance(shadow, Shadow)
    assert shadow.min_agreement is None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "kind: expected canary, ab, blue-green, shadow, got None"),
        ({"kind": "canry"}, "kind: expected canary, ab, blue-green, shadow (did you mean canary?), got 'canry'"),
        ({"kind": "canary", "stepz": [100]}, "stepz: unknown key; did you mean steps? Allowed: slo, standard,"),
        ({"kind": "canary", "warm_s": 1}, "warm_s: unknown key"),
        ({"kind": "canary", "steps": [50, 10, 100]}, "steps: expected whole percentages that grow and end with 100"),
        ({"kind": "canary", "steps": [10, 50]}, "such as 10, 50, 100, got 10, 50"),
        ({"kind": "canary", "steps": 100}, "steps: expected whole percentages"),
        (
            {"kind": "canary", "steps": [10, 100], "manual": [50]},
            "manual: expected some of the steps (10, 100), got 50",
        ),
        ({"kind": "canary", "manual": 50}, "manual: expected some of the steps (10, 50, 100), got 50"),
        ({"kind": "canary", "pause_s": -1}, "pause_s: expected a number of at least 0, got -1"),
        ({"kind": "canary", "prediction_shift": 5}, "prediction_shift: expected a share above 0 and below 1"),
        ({"kind": "canary", "prove_split": 1}, "prove_split: expected true or false, got 1"),
        ({"kind": "canary", "slo": {"eror": 0.1}}, "slo.eror: unknown key; did you mean errors?"),
        ({"kind": "canary", "slo": {"errors": 0}}, "slo.errors: expected a share above 0 and below 1"),
        ({"kind": "canary", "slo": {"slower_than_ms": 33}}, "no bound at 33 ms, use 30 or 40"),
        ({"kind": "canary", "slo": 0.01}, "slo: expected a table of keys, got 0.01"),
        ({"kind": "canary", "standard": {"alpha": 0}}, "standard.alpha: expected a share above 0"),
        (
            {"kind": "canary", "standard": {"margin_share": 50}},
            "standard.margin_share: expected a number from 0 to 1, got 50",
        ),
        ({"kind": "canary", "max_step_s": 0, "min_step_s": 0}, "max_step_s: expected a number of at least 0.1, got 0"),
        ({"kind": "shadow", "max_s": 0, "min_s": 0}, "max_s: expected a number of at least 0.1, got 0"),
        ({"kind": "canary", "max_age_s": 0}, "max_age_s: expected a number of at least 0.1, got 0"),
        ({"kind": "canary", "max_step_s": float("inf")}, "max_step_s: expected a number of at least 0.1, got inf"),
        ({"kind": "canary", "max_step_s": float("nan")}, "max_step_s: expected a number of at least 0.1, got nan"),
        ({"kind": "ab", "percent": 100}, "percent: expected a whole number from 1 to 99, got 100"),
        ({"kind": "ab", "metric": "revenue"}, "metric: expected errors or slow or positive, got 'revenue'"),
        ({"kind": "ab", "by": "user"}, 'by: expected { user = "x-user-id" } or { header = "x-variant", value = "b" }'),
        ({"kind": "ab", "by": {"header": "x"}}, "by: expected"),
        (
            {"kind": "ab", "by": {"user": "user id"}},
            "by: expected a header of letters, digits and hyphens, got 'user id'",
        ),
        (
            {"kind": "ab", "by": {"header": "x-variant", "value": "b or c"}},
            "by: expected a value of visible ASCII characters without spaces, got 'b or c'",
        ),
        ({"kind": "ab", "min_s": 20, "max_s": 10}, "min_s: expected at most max_s (10), got 20"),
        ({"kind": "blue-green", "hold_s": 90}, "hold_s: expected at most max_hold_s (60), got 90"),
        ({"kind": "blue-green", "warm_requests": 1.5}, "warm_requests: expected a whole number of at least 0, got 1.5"),
        ({"kind": "shadow", "min_agreement": 1}, "min_agreement: expected a share above 0 and below 1"),
        ({"kind": "shadow", "percent": 0}, "percent: expected a whole number from 1 to 100, got 0"),
        ({"kind": "shadow", "promote": "yes"}, "promote: expected true or false, got 'yes'"),
    ],
)
def test_a_mistake_is_one_line_with_the_file_the_field_and_what_is_allowed(table: dict[str, Any], words: str) -> None:
    """Every line begins with where the policy came from."""
    with pytest.raises(ConfigError) as caught:
        parse_policy(table, "release.toml")
    assert str(caught.value).startswith("release.toml: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_agreement_that_the_copies_cannot_show_is_told() -> None:
    """1 % other answers take twice the copies that 2 % errors take; an agreement that is not asked for takes none."""
    slo = SLO(errors=0.02)
    problem = untestable(Shadow(slo, min_agreement=0.99, max_s=30), 15)
    assert "showing that other answers are below 1.00% takes" in problem
    assert untestable(Shadow(slo, min_agreement=None, max_s=30), 15) == ""
    assert untestable(Shadow(slo, min_agreement=0.98, max_s=30), 15) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "no such file"), ("kind = canary", "not TOML: "), ("steps = [10, 100]", "kind: expected")],
)
def test_a_file_that_is_no_policy_is_one_line(tmp_path: Path, text: str | None, words: str) -> None:
    """The line names the file."""
    file = tmp_path / "release.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_policy(file)
    assert str(caught.value).startswith(f"{file}: {words}")


@pytest.mark.parametrize("policy", [Canary, ABTest, BlueGreen, Shadow])
def test_every_field_of_a_policy_is_in_its_reference(policy: type) -> None:
    """docs/rollouts.md names each key."""
    page = (EXAMPLES.parents[1] / "docs" / "rollouts.md").read_text(encoding="utf-8")
    missing = [field.name for field in fields(policy) if field.name != "_" and f"`{field.name}`" not in page]
    assert missing == []
