"""What is asked of Feast, by its own Python: `python _jobs.py REPOSITORY COMMANDS.json`; one process for all of them.

COMMANDS is a list of {"apply": true}, {"historical": {"entities": parquet, "features": ["view:feature"], "out":
parquet}} and {"materialize": {"until": Unix seconds}}. Stands alone: nothing of ours is importable there.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from feast import FeatureStore

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


def apply(store: FeatureStore) -> None:
    """Register what features.py defines."""
    sys.path.insert(0, str(store.repo_path))
    features = importlib.import_module("features")
    store.apply([features.listener, features.track, features.listener_stats, features.track_features])


def historical(store: FeatureStore, entities: str, features: list[str], out: str) -> None:
    """For each row, what was known at its event_timestamp: a point-in-time join."""
    rows = pd.read_parquet(entities)
    found = store.get_historical_features(entity_df=rows, features=features).to_df()
    found.to_parquet(f"{out}.tmp", index=False)
    Path(f"{out}.tmp").replace(out)


def main(argv: list[str]) -> None:
    repository, commands = argv
    os.chdir(repository)
    store = FeatureStore(repo_path=repository)
    todo: list[dict[str, Any]] = json.loads(Path(commands).read_text(encoding="utf-8"))
    for command in todo:
        if "apply" in command:
            apply(store)
        elif "historical" in command:
            historical(store, **command["historical"])
        else:
            # Not incremental: what came late, of a time that was materialised before, must not be lost.
            store.materialize(BEGINNING, datetime.fromtimestamp(command["materialize"]["until"], UTC))


if __name__ == "__main__":
    main(sys.argv[1:])
