"""The feature store without Feast: the sessions, what an online answer means, and the rows of the transformer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import kserve
import numpy as np
import pandas as pd
import pytest

from harness.errors import CapabilityMissing, RequestFailed, UsageError
from harness.feature_store import Drift, Features, OnlineFeatures, environment, generate
from harness.feature_store.client import features_of
from harness.feature_store.sessions import (
    AT,
    DAY_S,
    FEATURES,
    LABEL,
    LISTENER,
    SESSION,
    TRACK,
    listener_rows,
    naive_rows,
)
from harness.feature_store.transformer import checked, completed
from harness.feature_store.views import COLUMNS, KEYS, TTL_S

UNTIL = 1_796_000_000.0


def made(sessions: int = 2_000, **options: Any) -> pd.DataFrame:
    return generate(until=UNTIL, sessions=sessions, **options).sessions


def test_the_same_seed_gives_the_same_sessions_and_another_one_others() -> None:
    pd.testing.assert_frame_equal(made(seed=3), made(seed=3))
    assert not made(seed=3)["heart_rate"].equals(made(seed=4)["heart_rate"])


def test_sessions_are_spread_over_the_days_and_end_before_the_moment() -> None:
    frame = made(days=10)
    seconds = frame[AT].map(lambda at: at.timestamp())
    assert UNTIL - 10 * DAY_S < seconds.min() < seconds.max() < UNTIL
    assert frame[AT].is_monotonic_increasing
    assert frame[SESSION].is_unique


def test_later_sessions_are_of_the_same_people_and_tracks() -> None:
    first, second = (generate(until=UNTIL, first_session=number) for number in (0, 6_000))
    pd.testing.assert_frame_equal(first.tracks, second.tracks)
    assert not first.sessions["heart_rate"].equals(second.sessions["heart_rate"])
    assert second.sessions[SESSION].min() == 6_000


def test_the_outcome_depends_on_the_tempo_that_one_prefers() -> None:
    """Far from 80 beats a minute fewer relax; with the outcome's drift at 1 the tempo does not matter."""
    for drift, matters in ((Drift(), True), (Drift(outcome=1.0), False)):
        every = generate(until=UNTIL, sessions=20_000, drift=drift)
        joined = every.sessions.merge(every.tracks.drop(columns=AT), on=TRACK)
        near, far = joined["tempo"].between(70, 90), joined["tempo"] > 120
        gap = joined[near][LABEL].mean() - joined[far][LABEL].mean()
        assert (gap > 0.1) == matters
        assert abs(gap) < 0.4


@pytest.mark.parametrize(
    ("drift", "column", "moved"),
    [(Drift(sensor_failure=0.3), "heart_rate", 0.3), (Drift(), "heart_rate", 0.0)],
)
def test_a_sensor_that_fails_leaves_values_out(drift: Drift, column: str, moved: float) -> None:
    assert made(drift=drift)[column].isna().mean() == pytest.approx(moved, abs=0.04)


def test_the_season_moves_the_heart_rate_by_the_day() -> None:
    usual, season = made(), made(drift=Drift(season=8.0))
    assert (season["heart_rate"] - usual["heart_rate"]).abs().max() == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("name", ["sensor_failure", "new_genre", "outcome"])
def test_a_share_is_a_share(name: str) -> None:
    with pytest.raises(UsageError, match=f"drift.{name}: expected a share from 0 to 1, got 1.5"):
        Drift(**{name: 1.5})


@pytest.mark.parametrize("name", ["sessions", "listeners", "tracks", "days"])
def test_nothing_is_made_of_nothing(name: str) -> None:
    with pytest.raises(UsageError, match=f"sessions: {name}: expected at least 1, got 0"):
        generate(until=UNTIL, **{name: 0})  # type: ignore[arg-type]


def test_what_is_known_of_a_listener_is_of_his_past_alone() -> None:
    """By hand: two sessions of each of two listeners; he begins with four sessions' worth of a half."""
    at = pd.to_datetime([0, 6_000, 12_000, 18_000], unit="s", utc=True)
    sessions = pd.DataFrame(
        {
            LISTENER: [1, 2, 1, 2],
            AT: at,
            "minutes": [10.0, 20.0, 30.0, 40.0],
            "heart_rate": [60.0, np.nan, 80.0, 70.0],
            LABEL: [1, 0, 0, 1],
        }
    )
    rows = listener_rows(sessions).sort_values([LISTENER, AT])
    assert rows["relaxed_rate"].tolist() == [3 / 5, 3 / 6, 2 / 5, 3 / 6]
    assert rows["mean_heart_rate"].fillna(-1).tolist() == [60.0, 70.0, -1, 70.0]
    assert rows["sessions"].tolist() == [1, 2, 1, 2]
    assert [each.timestamp() for each in rows[AT]] == [660.0, 13_860.0, 7_260.0, 20_460.0]


def test_what_comes_later_changes_nothing_that_was_known() -> None:
    """The rows of the first half are the same without the second half."""
    every = made()
    whole, half = listener_rows(every), listener_rows(every.head(1_000))
    pd.testing.assert_frame_equal(whole.head(1_000), half)


def test_a_new_genre_is_tracks_that_nobody_knew() -> None:
    """A quarter of the sessions, of slow and sad tracks with ids of their own, which are among the tracks."""
    usual, drifted = (generate(until=UNTIL, drift=Drift(new_genre=share)) for share in (0.0, 0.25))
    fresh = drifted.sessions[~drifted.sessions[TRACK].isin(usual.tracks[TRACK])]
    assert len(fresh) / len(drifted.sessions) == pytest.approx(0.25, abs=0.02)
    known = drifted.tracks.set_index(TRACK).loc[fresh[TRACK].unique()]
    assert set(known["tempo"]) == {45.0}
    assert set(known["valence"]) == {0.05}
    assert usual.sessions[TRACK].isin(usual.tracks[TRACK]).all()


def test_a_naive_join_gives_every_session_the_end_of_its_listener() -> None:
    every = generate(until=UNTIL, sessions=1_000)
    joined = naive_rows(every)
    assert len(joined) == 1_000
    assert (joined.groupby(LISTENER)["sessions"].nunique() == 1).all()
    assert joined.groupby(LISTENER)["sessions"].first().equals(every.sessions.groupby(LISTENER).size())


def answer(values: Sequence[Any], statuses: Sequence[str], ages_s: Sequence[float]) -> dict[str, Any]:
    stamps = [pd.Timestamp(UNTIL - age, unit="s", tz="UTC").isoformat() for age in ages_s]
    column = {"values": list(values), "statuses": list(statuses), "event_timestamps": stamps}
    return {"metadata": {"feature_names": ["listener_id", "rate"]}, "results": [column, column]}


def test_what_is_too_old_is_missing_and_told_apart_from_what_is_unknown() -> None:
    told = answer([0.5, 0.6, None, 0.7], ["PRESENT", "PRESENT", "NOT_FOUND", "PRESENT"], [9.0, 11.0, 0.0, 10.0])
    fresh, old, nobody, just = features_of(told, ["rate"], 10.0, UNTIL, 4)
    assert [each.values["rate"] for each in (fresh, old, nobody, just)] == [0.5, None, None, 0.7]
    assert [each.stale for each in (fresh, old, nobody, just)] == [(), ("rate",), (), ()]
    assert [each.unknown for each in (fresh, old, nobody, just)] == [False, False, True, False]
    assert features_of(told, ["rate"], 0.0, UNTIL, 4)[1].values["rate"] == 0.6


def test_a_server_that_refuses_or_is_away_is_an_error_that_says_so() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for handler, said in ((away, "ConnectError"), (_broken, "answered 500")):
        transport = httpx.MockTransport(handler)
        with OnlineFeatures("http://f", TTL_S, transport=transport) as online, pytest.raises(RequestFailed, match=said):
            online.get("track_features", ["tempo"], TRACK, [1])


def _broken(_: httpx.Request) -> httpx.Response:
    return httpx.Response(500, text="no")


INSTANCE = {LISTENER: 1, TRACK: 2, "minutes": 20.0, "heart_rate": 70.0, "hrv": 40.0}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ([], 'expected {"instances"'),
        ({"instances": []}, 'expected {"instances"'),
        ({"instances": [[1, 2]]}, r"instances\[0\]: expected the keys heart_rate, hrv, listener_id, minutes, track_id"),
        ({"instances": [INSTANCE, {**INSTANCE, "age": 3}]}, r"instances\[1\]: expected the keys"),
        (
            {"instances": [{**INSTANCE, LISTENER: True}]},
            r"instances\[0\].listener_id: expected a whole number, got True",
        ),
        ({"instances": [{**INSTANCE, TRACK: "2"}]}, r"instances\[0\].track_id: expected a whole number, got '2'"),
    ],
)
def test_a_request_that_is_none_is_refused_in_one_line(payload: Any, said: str) -> None:
    with pytest.raises(kserve.errors.InvalidInput, match=said):
        checked(payload)


def test_a_row_is_completed_by_name_and_an_unknown_track_is_named() -> None:
    nobody = Features(dict.fromkeys(COLUMNS["listener_stats"]))
    track = Features({"tempo": 80.0, "valence": 0.5})
    (row,) = completed([INSTANCE], [nobody], [track])
    assert list(row) != []
    assert set(row) == set(FEATURES)
    assert (row["minutes"], row["tempo"], row["relaxed_rate"]) == (20.0, 80.0, None)
    with pytest.raises(kserve.errors.InvalidInput, match=r"instances\[0\].track_id: no track 2 is known"):
        completed([INSTANCE], [nobody], [Features(dict.fromkeys(COLUMNS["track_features"]))])


def test_our_views_are_those_that_feast_is_told() -> None:
    """The definitions are Feast's own, in an environment that this test has not: they are read as text."""
    text = (Path(environment.__file__).parent / "repository" / "features.py").read_text()
    for view, names in COLUMNS.items():
        assert f'name="{view}"' in text
        assert f'join_keys=["{KEYS[view]}"]' in text
        assert all(f'Field(name="{name}"' in text for name in names)
    assert f"timedelta(days={TTL_S['listener_stats'] / DAY_S:g})" in text
    assert "ttl=timedelta(0)" in text


def test_an_environment_that_cannot_be_made_says_why_and_leaves_nothing_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once from an index that nobody serves; what is left of it is made afresh the next time."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    assert "is installed when a rehearsal first asks" in environment.missing()
    with pytest.raises(CapabilityMissing, match=r"The feature store's environment could not be made: "):
        environment.python()
    assert environment.missing() != ""
    assert environment.place().parent == tmp_path


def test_two_that_ask_at_once_make_one_environment_and_a_half_made_one_is_made_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path))
    half = environment.place()
    (half / "bin").mkdir(parents=True)
    (half / "bin" / "left-over").touch()
    ran: list[list[str]] = []

    def run(argv: list[str]) -> None:
        ran.append(argv)
        half.mkdir(exist_ok=True)

    monkeypatch.setattr(environment, "_run", run)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: environment.python(), range(4)))
    assert set(found) == {half / "bin" / "python"}
    assert [argv[1] for argv in ran] == ["venv", "pip"]
    assert not (half / "bin" / "left-over").exists()
    assert environment.missing() == ""
