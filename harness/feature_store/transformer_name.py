"""How a document names the transformer, without importing KServe."""

from __future__ import annotations

TRANSFORMER = "harness.feature_store.transformer:FeatureLookup"
URL = "REHEARSAL_FEATURES_URL"
"""The variable that tells it where the feature server is."""
