"""Of a run record: the feature store's views, and whether what is served is what was trained on."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Record


class FeatureViewRecord(Record):
    name: str
    ttl_s: float = Field(description="how old its features may be; 0: they do not age")
    entities: int = Field(default=0, description="entities that have features online")
    newest_at: float | None = Field(default=None, description="of the newest event that is online, Unix seconds")
    materialized_until: float | None = None


class FeatureStoreRecord(Record):
    views: list[FeatureViewRecord]
    parity_rows: int = Field(default=0, description="rows whose served features were held against the trained-on ones")
    parity_differences: int = Field(default=0, description="of them, rows with a difference")
    offline_auc: float | None = Field(default=None, description="of a model on point-in-time rows, held out")
    leaky_auc: float | None = Field(default=None, description="of one on naively joined rows, held out: too good")
    online_auc: float | None = Field(default=None, description="of that one on what is known when it is asked")
