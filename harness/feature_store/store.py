"""The feature store of a run: a repository in its folder, Feast's jobs on it, and its server."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.inference_service import Container, EnvVar, InferenceService, Transformer
from harness.errors import StepFailed
from harness.feature_store import environment
from harness.feature_store.client import OnlineFeatures
from harness.feature_store.sessions import AT, LABEL, LISTENER, SESSION, TRACK, Sessions
from harness.feature_store.transformer_name import TRANSFORMER, URL
from harness.feature_store.views import COLUMNS, KEYS, LISTENERS, TRACKS, TTL_S
from harness.lifecycle.dataset import Dataset
from harness.report.record import FeatureStoreRecord, FeatureViewRecord
from harness.runtime.clock import Deadline
from harness.runtime.process import ending
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness.platform import Platform

JOB_S = 180.0
FOLDER = "features"
_DEFINITIONS = Path(__file__).with_name("repository")
_JOBS = Path(__file__).with_name("_jobs.py")


class FeatureStore:
    """Feast over sessions of music therapy: what they tell is known point by point in time, and online."""

    def __init__(self, platform: Platform, sessions: Sessions) -> None:
        self._platform = platform
        self._python = environment.python(lambda words: platform.run.progress("feature store", words))
        self._jobs = 0
        self.sessions = sessions
        self.folder = platform.run.folder / FOLDER
        shutil.copytree(_DEFINITIONS, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._record = FeatureStoreRecord(views=[FeatureViewRecord(name=view, ttl_s=TTL_S[view]) for view in COLUMNS])
        self._platform.run.record.features = self._record
        self._write_sources()
        self._run([{"apply": True}], "feast-apply")

    def training_set(self, name: str = "relaxation") -> Dataset:
        """Every session with what was known when it began, as a data set to train on: a point-in-time join by Feast."""
        entities = self.sessions.sessions
        return self.dataset(self.known_at(entities, name), name)

    def dataset(self, frame: Any, name: str) -> Dataset:
        """Sessions with their features as a data set; ids and the time are no features."""
        path = self._platform.run.new_file(f"{name}.parquet")
        frame.drop(columns=AT).to_parquet(path, index=False)
        ids = (SESSION, LISTENER, TRACK)
        return Dataset(name=name, source=str(path), target=LABEL, ignore=ids)

    def known_at(self, rows: Any, name: str) -> Any:
        """Rows (listener, track, event_timestamp, and whatever else) with the features as they were known then.

        A row of which nothing was known yet has missing values.
        """
        import pandas as pd

        files = {
            view: [self.folder / f"{name}-{view}-{what}.parquet" for what in ("asked", "known")] for view in COLUMNS
        }
        commands = []
        for view, (asked, known) in files.items():
            # Each thing once, and one view at a time: of rows that are alike, and of those that one of several views
            # knows nothing of, Feast gives none back.
            rows[[KEYS[view], AT]].drop_duplicates().to_parquet(asked, index=False)
            features = [f"{view}:{feature}" for feature in COLUMNS[view]]
            commands.append({"historical": {"entities": str(asked), "features": features, "out": str(known)}})
        self._run(commands, f"feast-{name}")
        for view, (_, known) in files.items():
            found = pd.read_parquet(known)[[KEYS[view], AT, *COLUMNS[view]]]
            rows = rows.merge(found, on=[KEYS[view], AT], how="left", validate="many_to_one")
        return rows

    def materialize(self, until: float | None = None) -> None:
        """Make what is known up to a moment (Unix seconds; now) available online."""
        moment = time.time() if until is None else until
        self._run([{"materialize": {"until": moment}}], "feast-materialize")
        self._note_freshness(moment)

    def add(self, later: Sessions) -> None:
        """Take later sessions, and what their tracks are now, into the sources; online after the next `materialize`."""
        import pandas as pd

        from harness.feature_store.sessions import listener_rows

        every = pd.concat([self.sessions.sessions, later.sessions], ignore_index=True)
        tracks = pd.concat([self.sessions.tracks, later.tracks], ignore_index=True).drop_duplicates()
        self.sessions = replace(self.sessions, sessions=every, listeners=listener_rows(every), tracks=tracks)
        self._write_sources()

    @property
    def url(self) -> str:
        """The feature server's; it is started when first asked for."""
        return self._platform.backend.feature_server(self.folder, self._python)

    def online(self) -> OnlineFeatures:
        """A client of the feature server; close it with `with`."""
        return OnlineFeatures(self.url, TTL_S)

    def looked_up(self, document: InferenceService, *, url: str = "") -> InferenceService:
        """The service with a transformer that looks features up: requests then name a listener and a track.

        `url` is another feature server than the store's own.
        """
        container = Container(args=[TRANSFORMER], env=[EnvVar(name=URL, value=url or self.url)])
        model = document.spec.predictor.model.model_copy(update={"protocol_version": "v1"})
        predictor = document.spec.predictor.model_copy(update={"model": model})
        changes = {"predictor": predictor, "transformer": Transformer(containers=[container])}
        spec = document.spec.model_copy(update=changes)
        return document.model_copy(update={"spec": spec})

    def note(self, **findings: Any) -> None:
        """Put findings into the run's record: parity_rows, parity_differences, offline_auc, leaky_auc, online_auc."""
        for name, value in findings.items():
            setattr(self._record, name, value)

    def _write_sources(self) -> None:
        sources: Mapping[str, Any] = {"listeners": self.sessions.listeners, "tracks": self.sessions.tracks}
        for name, frame in sources.items():
            path = self.folder / f"{name}.parquet"
            frame.to_parquet(path.with_suffix(".tmp"), index=False)
            path.with_suffix(".tmp").replace(path)

    def _note_freshness(self, until: float) -> None:
        frames = {LISTENERS: self.sessions.listeners, TRACKS: self.sessions.tracks}
        for view in self._record.views:
            frame = frames[view.name]
            known = frame[frame[AT].map(lambda at: at.timestamp()) <= until]
            view.entities = int(known[KEYS[view.name]].nunique())
            view.newest_at = float(known[AT].max().timestamp()) if len(known) else None
            view.materialized_until = until

    def _run(self, commands: list[dict[str, Any]], name: str) -> None:
        """One process of Feast's Python for all of these. StepFailed with the end of its log."""
        self._jobs += 1
        told = self.folder / f"{self._jobs:02}-{name}.json"
        told.write_text(json.dumps(commands), encoding="utf-8")
        supervisor = self._platform.backend.supervisor
        argv = [str(self._python), str(_JOBS), str(self.folder), str(told)]
        child = supervisor.spawn(f"{name}-{self._jobs}", argv, env={"FEAST_USAGE": "False"}, task=True)
        try:
            wait(lambda: child.poll() is not None, what=name, deadline=Deadline.after(JOB_S), every_s=0.05)
        finally:
            supervisor.stop(child)
        if child.poll():
            raise StepFailed(f"feature store: {name} {ending(child.poll())}.\n{child.tail()}")
