"""The feature views, as our side of the feature server knows them; repository/features.py says the same to Feast."""

from __future__ import annotations

from harness.feature_store.sessions import DAY_S, LISTENER, LISTENER_COLUMNS, TRACK, TRACK_COLUMNS

LISTENERS, TRACKS = "listener_stats", "track_features"
TTL_S = {LISTENERS: 30 * DAY_S, TRACKS: 0.0}
"""How old a view's features may be; 0: they do not age."""
COLUMNS = {LISTENERS: LISTENER_COLUMNS, TRACKS: TRACK_COLUMNS}
KEYS = {LISTENERS: LISTENER, TRACKS: TRACK}
