"""Feast's feature server over a feature repository of this machine."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from harness.components import feast
from harness.components.component import Component
from harness.containers.recipe import RecipeContainer
from harness.errors import UsageError


class FeastContainer(RecipeContainer):
    """Feast's feature server: the repository is applied and materialised up to now when it starts.

        with FeastContainer(Path("features")) as server:
            asked = {"features": ["visits:mdvis"], "entities": {"person_id": [1, 2]}}
            httpx.post(server.get_features_url(), json=asked)

    The repository is a folder with a feature_store.yaml, its definitions and its files, by relative paths; the
    container works on a copy of it. Errors: UsageError for a folder that is none.
    """

    def __init__(self, repository: Path, image: str = feast.IMAGE, **kwargs: Any) -> None:
        if not (repository / "feature_store.yaml").is_file():
            raise UsageError(f"feature repository {repository}: there is no feature_store.yaml in it")
        super().__init__(image, **kwargs)
        self._repository = repository
        self._until: str | None = None

    def with_materialization(self, until: datetime | None) -> Self:
        """Materialise up to this time (default: the start's), or not at all (None): what is in the online store serves.

        A time without a zone is UTC.
        """
        self._until = until.strftime("%Y-%m-%dT%H:%M:%S") if until is not None else ""
        return self

    def recipe(self) -> Component:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return feast.feast(until=now if self._until is None else self._until, image=self.image)

    def get_features_url(self) -> str:
        """Where online features are asked for: POST {"features": […], "entities": {"<key>": […]}}."""
        return f"{self.get_url()}/get-online-features"

    def _lay_out(self, recipe: Component) -> None:
        shutil.copytree(self._repository, self.folder / feast.REPOSITORY, dirs_exist_ok=True)
        super()._lay_out(recipe)
