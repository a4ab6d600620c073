"""Feast's definitions: who listens, to what, and what is known of both; the sources lie beside this file.

Read by Feast in its own environment. The views' columns are those of harness.feature_store.sessions.
"""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

LISTENER_TTL = timedelta(days=30)
"""What is known of a listener is old after so long without a session."""

listener = Entity(name="listener", join_keys=["listener_id"], value_type=ValueType.INT64)
track = Entity(name="track", join_keys=["track_id"], value_type=ValueType.INT64)

listener_stats = FeatureView(
    name="listener_stats",
    entities=[listener],
    ttl=LISTENER_TTL,
    schema=[
        Field(name="relaxed_rate", dtype=Float64),
        Field(name="mean_heart_rate", dtype=Float64),
        Field(name="sessions", dtype=Int64),
    ],
    source=FileSource(name="listeners", path="listeners.parquet", timestamp_field="event_timestamp"),
)
track_features = FeatureView(
    name="track_features",
    entities=[track],
    ttl=timedelta(0),  # a track does not change
    schema=[Field(name="tempo", dtype=Float64), Field(name="valence", dtype=Float64)],
    source=FileSource(name="tracks", path="tracks.parquet", timestamp_field="event_timestamp"),
)
