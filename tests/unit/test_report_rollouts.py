"""What the page shows of rollouts, loads and chaos: the evidence, what it is held against, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.report import _findings, _load_view, _rollout_view, _view
from harness.report.junit import junit
from harness.report.record import Effect, EventRecord, EvidencePoint, RolloutRecord, RunRecord, Status
from harness.report.render import page, render
from tests.unit import sample_record, sample_rollouts
from tests.unit.read_page import Page

MAKES = [sample_rollouts.all_kinds, sample_rollouts.rolled_back_run, sample_rollouts.chaos]
THIN = "\u202f"


@pytest.fixture(params=MAKES, ids=lambda make: make.__name__)
def record(request: pytest.FixtureRequest) -> RunRecord:
    make: Callable[[], RunRecord] = request.param
    return make()


def text_of(record: RunRecord) -> str:
    return Page(page(record)).text.replace(THIN, " ")


def test_every_kind_of_rollout_has_a_page_that_is_whole_and_small(record: RunRecord, tmp_path: Path) -> None:
    """Elements nest, ids are unique, every table has a caption, nothing is loaded, at most 0.5 MB."""
    path = render(record, tmp_path)
    found = Page(path.read_text(encoding="utf-8"))
    ids = found.all("id")

    assert path.stat().st_size < 500_000
    assert found.open == []
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in found.all("href") if link.startswith("#")} <= set(ids)
    assert {name for names in found.all("aria-labelledby") for name in names.split()} <= set(ids)
    assert [tag for tag, _ in found.tags].count("table") == [tag for tag, _ in found.tags].count("caption") > 0
    assert "script" not in {tag for tag, _ in found.tags}


def test_a_rollout_with_as_many_points_as_are_kept_stays_small(tmp_path: Path) -> None:
    """400 points of each of 6 guards, the longest a rollout may be."""
    record = sample_rollouts.all_kinds()
    record.rollouts[0].evidence = [
        EvidencePoint(t_s=t * 1.3, percent=10, guard=f"guard {guard}", good=1.7**t, bad=0.9**t)
        for guard in range(6)
        for t in range(400)
    ]

    assert render(record, tmp_path).stat().st_size < 500_000


def test_evidence_is_drawn_for_each_guard_with_its_limits_and_in_words() -> None:
    rollout = sample_rollouts.rolled_back()
    rollout.steps[0].guards[0].promote_at = 2e3

    drawn = [ElementTree.fromstring(svg) for svg in _rollout_view.evidence_charts(rollout, "e")]
    errors = drawn[0]

    assert [figure.findtext("figcaption") for figure in drawn] == [
        "Errors ", "Errors against baseline ", "Slow ", "Slow against baseline "
    ]  # fmt: skip
    assert len(errors.findall(".//path[@class='limit']")) == 2
    assert [span.text for span in errors.findall(".//span[@class='limit']")] == [
        "rolls back at 10³", f"promotes at 2{THIN}000"
    ]  # fmt: skip
    assert {path.get("class") for path in errors.findall(".//path")} >= {"line good", "line bad"}
    assert "evidence that the bound is broken: highest" in str(errors.findtext(".//desc"))
    assert "rolls back at 10³" in str(errors.findtext(".//desc"))


def test_evidence_stands_at_its_power_of_ten_and_beyond_the_axis_at_its_edge() -> None:
    """A limit of 10³ in a chart from 10⁻⁴ to 10⁴: e-values of 1, 10³, 1e-9, 1e300 and 0."""
    rollout = sample_rollouts.rolled_back()
    values = [(1.0, 1e-9), (1e3, 0.0)]
    rollout.evidence = [
        EvidencePoint(t_s=t, percent=10, guard="errors", good=good, bad=bad) for t, (good, bad) in enumerate(values)
    ]

    figure = ElementTree.fromstring(_rollout_view.evidence_charts(rollout, "e")[0])

    paths = {str(path.get("class")): path.get("d") for path in figure.findall("div/svg/path")}
    assert paths["line good"] == "M0 500L1000 125"
    assert paths["line bad"] == "M0 1000L1000 1000"
    assert paths["limit"] == "M0 125H1000"


def test_each_step_is_marked_where_it_began() -> None:
    figure = ElementTree.fromstring(_rollout_view.evidence_charts(sample_rollouts.promoted(), "e")[0])

    assert [span.text for span in figure.findall(".//div[@class='marks']/span") if span.get("class") != "limit"] == [
        f"10{THIN}%", f"50{THIN}%", f"100{THIN}%"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "title"),
    [
        (sample_rollouts.promoted, "Share of traffic for v2 "),
        (sample_rollouts.blue_green, "Share of traffic for v2 "),
        (sample_rollouts.ab_test, "Share of requests assigned to v2 "),
        (sample_rollouts.shadow, "Copies, as a share of all requests, given to v2 "),
    ],
)
def test_the_weight_chart_knows_each_kind(make: Callable[[], RolloutRecord], title: str) -> None:
    figure = ElementTree.fromstring(_rollout_view.weight_chart(make(), "w", 1))

    assert figure.findtext("figcaption") == title


@pytest.mark.parametrize(
    ("make", "last"),
    [(sample_rollouts.blue_green, 0.0), (sample_rollouts.ab_test, 1000.0), (sample_rollouts.rolled_back, 1000.0)],
)
def test_the_weight_ends_where_the_outcome_leaves_the_traffic(make: Callable[[], RolloutRecord], last: float) -> None:
    """Up at 100 % if it was promoted, else down at 0; the box has its origin at the top."""
    figure = ElementTree.fromstring(_rollout_view.weight_chart(make(), "w", 1))
    path = str(figure.find(".//path[@class='line k1']").get("d"))  # type: ignore[union-attr]

    assert float(path.rpartition("V")[2]) == last


def test_a_shadow_takes_no_traffic_and_has_no_split() -> None:
    rollout = sample_rollouts.shadow()
    path = ElementTree.fromstring(_rollout_view.weight_chart(rollout, "w", 1)).find(".//path[@class='line k1']")

    assert _rollout_view.splits(rollout) == []
    assert "V57.5" in str(path.get("d"))  # type: ignore[union-attr]  # 3,391 copies of 3,598 requests, from the top
    assert "copies" in text_of(sample_rollouts.all_kinds())


def test_the_split_is_that_of_the_verdict_with_the_requests_it_needs() -> None:
    """By what each revision was given, not by what it answered, where the record has it."""
    rollout = sample_rollouts.ab_test()
    rollout.steps[0].counts[1].requests -= 9
    found = _rollout_view.splits(rollout)
    text = text_of(sample_rollouts.all_kinds())

    assert [(split.hits, split.total, split.needed, split.power) for split in found] == [(1_790, 3_612, 8_413, 0.5016)]
    assert "Needed to catch 5 points" in text
    assert "3 549 these catch it in 82.2 %" in text
    assert "Needed to catch 5 points" not in text_of(sample_record.passed())


def test_a_rollback_says_what_it_cost_in_the_tiles_the_section_and_the_evidence() -> None:
    text = text_of(sample_rollouts.rolled_back_run())

    assert "Rollback 1.29 s 23 requests harmed, 116 % of the error budget" in text
    assert "The rollback took 1.29 s and cost 23 requests, 116 % of the error budget." in text
    assert "First bad answer seen 420 ms after the start" in text
    assert "Reaction 1.29 s from the first bad answer to no traffic" in text
    assert "Requests harmed 23 of 1 988 during the rollout" in text


def test_without_a_bad_answer_the_reaction_counts_from_the_decision() -> None:
    rollout = sample_rollouts.rolled_back()
    assert rollout.rollback is not None
    rollout.rollback.first_bad_at = None

    price = dict(_rollout_view.price(rollout))

    assert "First bad answer seen" not in price
    assert price["Reaction"] == f"90{THIN}ms from the decision to no traffic"


def test_a_shadow_that_is_rolled_back_harmed_nobody() -> None:
    record = sample_rollouts.rolled_back_run()
    cost = record.rollouts[0].rollback
    assert cost is not None
    cost.requests = cost.harmed = 0

    assert dict(_rollout_view.price(record.rollouts[0]))["Requests harmed"] == "none: it got copies only"
    assert "Rollback 1.29 s copies only: nobody was harmed" in text_of(record)


def test_an_effect_says_which_way_only_if_its_interval_leaves_out_zero() -> None:
    effects = sample_rollouts.ab_test().effects
    text = text_of(sample_rollouts.all_kinds())

    assert [_rollout_view.effect_says(effect) for effect in effects] == ["no difference shown", "higher", "lower"]
    assert "positive 31 % 25 % −6 pp −11 pp to −1.20 pp 99.9 %" in text


def test_effects_are_drawn_around_zero_on_one_axis() -> None:
    effects = [
        Effect(metric="errors", baseline=0, canary=0, difference=0.0, low=-0.1, high=0.1, confidence=0.999),
        Effect(metric="slow", baseline=0, canary=0, difference=0.1, low=0.05, high=0.2, confidence=0.999),
    ]
    drawn = [ElementTree.fromstring(_rollout_view.effect_drawn(effect, effects)) for effect in effects]

    assert [svg.find("path[@class='wanted']").get("d") for svg in drawn] == ["M500.0 0V10"] * 2  # type: ignore[union-attr]
    assert drawn[0].find("path[@class='range']").get("d") == "M282.6 5H717.4"  # type: ignore[union-attr]


def test_effects_that_are_all_zero_can_be_drawn() -> None:
    effect = Effect(metric="errors", baseline=0, canary=0, difference=0, low=0, high=0, confidence=0.999)

    assert "nan" not in _rollout_view.effect_drawn(effect, [effect])


def test_a_shadows_answers_show_agreement_with_its_exact_interval_and_both_distributions() -> None:
    rollout = sample_rollouts.shadow()
    figure = ElementTree.fromstring(_rollout_view.answers_chart(rollout, "a", {"v1": 0, "v2": 1}))

    assert "3 377 of 3 391 copies agree with the baseline: 99.6 %, exact 99.9 % interval 99.1 % to 99.9 %" in text_of(
        sample_rollouts.all_kinds()
    )
    assert "differ by 3.30\u202f% at most" in str(figure.findtext(".//desc"))
    assert len(figure.findall("ul/li")) == 2


def test_answers_that_were_never_compared_do_not_agree_or_disagree() -> None:
    rollout = sample_rollouts.shadow()
    assert rollout.answers is not None
    rollout.answers.compared = rollout.answers.agreed = 0

    assert _rollout_view.agreement(rollout.answers) == ""


def test_pauses_gates_and_resumptions_are_told() -> None:
    text = text_of(sample_rollouts.all_kinds())

    assert "It was resumed 1 time after its process had died." in text
    assert "At 50 %: approved by ada, 1.90 s after it was asked." in text
    assert "Between steps: 1.00 s after 10 %, 2.00 s after 50 %; nothing is judged then." in text


def test_a_cleared_rollout_is_a_good_end() -> None:
    record = sample_rollouts.all_kinds()
    record.rollouts = [sample_rollouts.shadow()]

    assert next(fact for fact in _view.facts(record) if fact.name == "Shadow").tone == "good"


def test_latencies_of_a_late_generator_are_marked_and_their_verdict_withheld() -> None:
    """In the tile, above the figures, in the table's and the charts' titles; the counts hold."""
    late, fine = sample_rollouts.all_kinds(), sample_rollouts.all_kinds()
    fine.loads[0].distrust = ""
    text = text_of(late)

    assert "The latencies are not to be trusted: the generator sent 1 % of the requests more than 6.4 ms late" in text
    assert "The verdict on latency is withheld" in text
    assert "– withheld 17 of 3 598" in text
    assert "Latency, p99 (17.3 ms) not to be trusted" in text
    assert "99th percentile, not to be trusted" in text
    assert "Requests per second, not to be trusted" not in text
    assert "✓ within the SLO 17 of 3 598" in text_of(fine)
    assert "not to be trusted" not in text_of(fine)


def test_how_the_load_was_offered_is_told() -> None:
    text = text_of(sample_rollouts.all_kinds())

    for words in (
        "Arrivals poisson, from 2 processes", "Users 5 000", "Retried by the gateway 3", "Copies to a shadow 1 402",
        "Sent late by 0.210 ms (median), 6.40 ms (p99)", "Generator 97 % of a core in its busiest process",
    ):  # fmt: skip
        assert words in text


def test_a_revision_has_one_colour_in_the_ledger_and_in_the_charts() -> None:
    """Whatever the order of the classes; the others get the colours that are left."""
    load = sample_record.load(0)
    load.classes = {"answered:v2": 3, "refused:UO": 1, "answered:v1": 2, "unexplained": 0}

    assert _load_view.class_keys(load, {"v1": 0, "v2": 1}) == {
        "answered:v2": 1, "refused:UO": 2, "answered:v1": 0, "unexplained": 3
    }  # fmt: skip


def test_a_passed_run_opens_with_no_finding() -> None:
    """A late generator is no reason for having passed."""
    record = sample_rollouts.all_kinds()
    record.decided_by = ""

    assert "✓ passed Every step passed." in text_of(record)


def test_chaos_cases_that_broke_come_first_and_each_invariant_is_counted() -> None:
    record = sample_rollouts.chaos()
    text = text_of(record)

    assert _view.invariants(record) == [
        ("traffic always served", 64, 64), ("one promotion", 64, 64), ("weights sum to 100", 64, 64),
        ("baseline keeps its capacity", 63, 64),
    ]  # fmt: skip
    assert _view.cases(record)[0].policy == "ab"
    assert "✕ 1 broken baseline keeps its capacity: v1-1 drained before the canary was promoted" in text
    assert "Chaos 64 cases 1 broke an invariant" in text
    assert text.count("v1-1 drained before the canary was promoted") == 2  # at the top and in the table


def test_a_case_that_broke_is_evidence_once() -> None:
    """Its step fails with the same words."""
    record = sample_rollouts.chaos()
    record.decided_by = "1 of 64 cases broke an invariant"
    record.steps[0].status, record.steps[0].error = Status.FAILED, "ab/shifting/replica-errors: broken"

    assert [finding.anchor for finding in _findings.evidence(record)] == ["chaos"]


def test_a_run_without_a_stated_cause_opens_with_the_likely_one() -> None:
    """Then what was decided, the evidence, the others, and the next step."""
    gone = EventRecord(at=sample_rollouts.BEGAN + 0.1, kind="process.died", subject="envoy", message="envoy was killed")
    text = text_of(sample_rollouts.rolled_back_run([gone]))

    places = [
        text.index(words)
        for words in (
            "Most likely: envoy was killed (320 ms before the first bad answer of v2", "was rolled back at 10 %",
            "Evidence", "Other possible causes", "v2 itself", "What to do next", "Read the end of logs/envoy.log",
            "Timeline", "Around the first symptom", "−0.32 s envoy was killed process.died, envoy",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_a_failed_rollout_in_junit_carries_the_cause() -> None:
    gone = EventRecord(at=sample_rollouts.BEGAN + 0.1, kind="process.died", subject="envoy", message="envoy was killed")

    failure = ElementTree.fromstring(junit(sample_rollouts.rolled_back_run([gone]))).find(".//failure")

    assert failure is not None
    assert "Most likely: envoy was killed (320" in str(failure.text)
    assert "Next: Read the end of `logs/envoy.log`." in str(failure.text)
