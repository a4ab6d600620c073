"""Features as of each moment: what is trained on was known then, and what is served is what was trained on."""

from __future__ import annotations

import time

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from harness import Platform
from harness.backends.backend import Capability
from harness.errors import RequestFailed
from harness.feature_store import Drift, FeatureStore, generate
from harness.feature_store.sessions import (
    AT,
    DAY_S,
    FEATURES,
    LABEL,
    LISTENER,
    REQUEST_COLUMNS,
    TRACK,
    naive_rows,
)
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import inference_service

SESSIONS, LISTENERS = 6_000, 600


@pytest.fixture
def store(platform: Platform) -> FeatureStore:
    """Sessions of sixty days, up to yesterday."""
    until = time.time() - DAY_S
    return platform.feature_store(generate(until=until, sessions=SESSIONS, listeners=LISTENERS))


def test_a_naive_join_is_too_good_offline_and_no_better_online(platform: Platform, store: FeatureStore) -> None:
    """It trains on what was not known then: held out it wins by far, asked in time it does not."""
    known = store.known_at(store.sessions.sessions, "then")
    honest = platform.train(store.dataset(known, "honest"), estimator="gradient-boosting", max_iter=40)
    joined = store.dataset(naive_rows(store.sessions), "leaky")
    leaky = platform.train(joined, estimator="gradient-boosting", max_iter=40)
    today = generate(until=time.time(), days=1, sessions=1_500, listeners=LISTENERS, first_session=SESSIONS)
    asked = store.known_at(today.sessions, "today")
    service = platform.deploy(leaky, name="leaky")
    answers = service.predict([{name: _value(row[name]) for name in FEATURES} for row in asked.to_dict("records")])
    online = float(roc_auc_score(asked[LABEL], answers))
    store.note(offline_auc=honest.metrics["auc"], leaky_auc=leaky.metrics["auc"], online_auc=online)

    assert leaky.metrics["auc"] > honest.metrics["auc"] + 0.03
    assert leaky.metrics["auc"] > online + 0.03


def test_what_is_served_is_what_was_trained_on_row_by_row(platform: Platform, store: FeatureStore) -> None:
    """Features online now equal those of a point-in-time join now, on every row, and so do the predictions."""
    model = platform.train(store.training_set(), estimator="gradient-boosting", max_iter=40)
    store.materialize()
    plain = platform.deploy(model, name="plain")
    through = platform.apply(
        store.looked_up(inference_service(model, name="looked-up", namespace="production", replicas=1)), model=model
    )
    rows = store.sessions.sessions.tail(200).assign(**{AT: _now()})
    then = store.known_at(rows, "parity")
    requests = [
        {**{key: int(row[key]) for key in (LISTENER, TRACK)}, **{name: float(row[name]) for name in REQUEST_COLUMNS}}
        for row in then.to_dict("records")
    ]
    expected = plain.predict([{name: _value(row[name]) for name in FEATURES} for row in then.to_dict("records")])
    served = through.predict(requests)
    differing = sum(abs(one - other) > 1e-12 for one, other in zip(served, expected, strict=True))
    store.note(parity_rows=len(served), parity_differences=differing)

    assert (len(served), differing) == (200, 0)
    assert len(set(served)) > 20
    lost = platform.apply(
        store.looked_up(
            inference_service(model, name="lost", namespace="production", replicas=1), url="http://127.0.0.1:9"
        ),
        model=model,
    )
    with pytest.raises(RequestFailed, match="the feature server does not answer") as away:
        lost.predict(requests[:1])
    assert away.value.status == 503
    with pytest.raises(RequestFailed, match="no track 99999 is known") as refused:
        through.predict([{**requests[0], TRACK: 99_999}])
    assert refused.value.status == 400


def test_what_is_too_old_is_missing_and_what_is_new_comes_with_the_next_materialisation(
    platform: Platform, store: FeatureStore
) -> None:
    """A listener who has not been there for a month is as good as unknown; after a session today he is not."""
    last = store.sessions.sessions.groupby(LISTENER)[AT].max()
    order = last.sort_values().index.tolist()
    gone, here = int(order[0]), int(order[-1])
    assert (_now() - last.min()).total_seconds() > 30 * DAY_S
    store.materialize()
    names = ("relaxed_rate", "sessions")
    with store.online() as online:
        old, fresh = online.get("listener_stats", names, LISTENER, [gone, here])
        today = generate(until=time.time(), days=1, sessions=40, listeners=LISTENERS, first_session=SESSIONS)
        today.sessions[LISTENER] = gone
        store.add(today)
        still, _ = online.get("listener_stats", names, LISTENER, [gone, here])
        store.materialize(time.time() + 120)
        back, _ = online.get("listener_stats", names, LISTENER, [gone, here])
    assert set(old.values.values()) == {None} == set(still.values.values())
    assert (old.stale, fresh.stale, back.stale) == (names, (), ())
    assert None not in fresh.values.values()
    assert (back.values["sessions"] or 0) >= 40


def test_faster_music_is_drift_and_the_same_music_is_not(platform: Platform, store: FeatureStore) -> None:
    """The generator's knob turns the drift check on, in the column that it is about."""
    platform.require(Capability.PREDICTION_LOG)
    model = platform.train(store.training_set(), estimator="gradient-boosting", max_iter=40)
    service = platform.deploy(model)
    watch = platform.watch_drift(service, window_s=4.0, grace_s=1.0, pages=False)
    drifted: list[set[str]] = []
    for number, drift in enumerate((Drift(), Drift(tempo=30.0)), start=1):
        today = generate(
            until=time.time(), days=2, sessions=1_000, listeners=LISTENERS, first_session=10_000 * number, drift=drift
        )
        rows = store.known_at(today.sessions, f"today-{number}")
        rows["tempo"] = rows[TRACK].map(today.tracks.set_index(TRACK)["tempo"])
        service.predict([{name: _value(row[name]) for name in FEATURES} for row in rows.to_dict("records")])
        wait(lambda: len(watch.records()) > len(drifted), what="a window", deadline=Deadline.after(60), every_s=0.2)
        drifted.append({column.column for column in watch.records()[-1].columns if column.drifted})
    assert ["tempo" in columns for columns in drifted] == [False, True]


def _value(found: float) -> float | None:
    return None if pd.isna(found) else float(found)


def _now() -> pd.Timestamp:
    return pd.Timestamp.now(tz="UTC").floor("us")
