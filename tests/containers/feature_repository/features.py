"""One entity and one view of its features over a Parquet file, which the test writes beside this file."""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

person = Entity(name="person", join_keys=["person_id"], value_type=ValueType.INT64)
visits = FeatureView(
    name="visits",
    entities=[person],
    ttl=timedelta(days=3650),
    schema=[Field(name="visits", dtype=Int64), Field(name="coinsurance", dtype=Float64)],
    source=FileSource(path="visits.parquet", timestamp_field="at"),
)
