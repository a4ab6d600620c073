"""A KServe transformer that looks features up: the request names who and what, the predictor gets the whole row.

Its environment: REHEARSAL_FEATURES_URL, the feature server. A request's instances are mappings with `listener_id`,
`track_id` and what only the request knows. An unknown track is the caller's mistake (400 with its id); what is not
known of a listener, or no more, is a missing value; a feature server that does not answer is 503.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

import kserve
from fastapi import HTTPException

from harness.errors import RequestFailed
from harness.feature_store.client import Features, OnlineFeatures
from harness.feature_store.sessions import LISTENER, LISTENER_COLUMNS, REQUEST_COLUMNS, TRACK, TRACK_COLUMNS
from harness.feature_store.transformer_name import URL
from harness.feature_store.views import LISTENERS, TRACKS, TTL_S


class FeatureLookup(kserve.Model):
    """Completes each instance of a V1 request."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._online = OnlineFeatures(os.environ[URL], TTL_S)
        self.ready = True

    async def preprocess(self, payload: Any, headers: Any = None) -> Any:
        instances = checked(payload)
        try:
            listeners, tracks = await asyncio.gather(
                asyncio.to_thread(self._online.get, LISTENERS, LISTENER_COLUMNS, LISTENER, _ids(instances, LISTENER)),
                asyncio.to_thread(self._online.get, TRACKS, TRACK_COLUMNS, TRACK, _ids(instances, TRACK)),
            )
        except RequestFailed as error:
            raise HTTPException(503, f"the feature server does not answer: {error.message}") from error
        return {"instances": completed(instances, listeners, tracks)}


def checked(payload: Any) -> list[Mapping[str, Any]]:
    """The instances of a request; InvalidInput, in one line, for what is none."""
    instances = payload.get("instances") if isinstance(payload, Mapping) else None
    if not isinstance(instances, list) or not instances:
        raise kserve.errors.InvalidInput('expected {"instances": [{...}, ...]}')
    wanted = {LISTENER, TRACK, *REQUEST_COLUMNS}
    for number, each in enumerate(instances):
        if not isinstance(each, Mapping) or set(each) != wanted:
            raise kserve.errors.InvalidInput(f"instances[{number}]: expected the keys {', '.join(sorted(wanted))}")
        for key in (LISTENER, TRACK):
            if not isinstance(each[key], int) or isinstance(each[key], bool):
                raise kserve.errors.InvalidInput(
                    f"instances[{number}].{key}: expected a whole number, got {each[key]!r}"
                )
    return instances


def completed(
    instances: Sequence[Mapping[str, Any]], listeners: Sequence[Features], tracks: Sequence[Features]
) -> list[dict[str, Any]]:
    """The rows for the predictor, by column. InvalidInput names a track that nobody knows."""
    rows: list[dict[str, Any]] = []
    for number, (instance, listener, track) in enumerate(zip(instances, listeners, tracks, strict=True)):
        if track.unknown:
            raise kserve.errors.InvalidInput(f"instances[{number}].{TRACK}: no track {instance[TRACK]} is known")
        request = {name: instance[name] for name in REQUEST_COLUMNS}
        rows.append({**request, **track.values, **listener.values})
    return rows


def _ids(instances: Sequence[Mapping[str, Any]], key: str) -> list[int]:
    return [int(instance[key]) for instance in instances]
