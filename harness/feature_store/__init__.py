"""A feature store for a rehearsal: Feast in an environment of its own, and sessions that its features are made of."""

from __future__ import annotations

from harness.feature_store.client import Features, OnlineFeatures
from harness.feature_store.sessions import Drift, Sessions, generate
from harness.feature_store.store import FeatureStore

__all__ = ["Drift", "FeatureStore", "Features", "OnlineFeatures", "Sessions", "generate"]
