"""Of a run record: what the checks of a model version showed, and its model card."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Number, Record, how_many_passed


class CheckResult(Record):
    """One check of a model version, with the counts it rests on."""

    name: str
    kind: str
    passed: bool | None = Field(description="None if there was nothing to judge by, or too little to tell")
    observed: str
    required: str
    detail: str = ""
    rows: int = Field(default=0, description="rows, requests, cases or columns that were looked at")
    bad: int = Field(default=0, description="those of them that broke what is required")
    low: Number | None = Field(default=None, description="bounds of what is judged, each wrong at most at error_rate")
    high: Number | None = None
    error_rate: float | None = Field(default=None, description="how often it may be wrong by chance; None: it cannot")
    examples: list[str] = Field(default=[], description="the worst of what was seen")


class ChecksRecord(Record):
    """The checks of one model version that were made at one time; `service` answered those that ask one."""

    model: str
    version: int
    service: str = ""
    results: list[CheckResult]
    duration_s: float = 0.0

    @property
    def passed(self) -> bool:
        """No check failed."""
        return not self.failed

    @property
    def failed(self) -> list[CheckResult]:
        return [each for each in self.results if each.passed is False]

    @property
    def refusal(self) -> str:
        """What each check that failed saw, and what it required; empty if none failed."""
        return "; ".join(f"{each.name}: {each.observed}, required {each.required}" for each in self.failed)

    @property
    def summary(self) -> str:
        """How many of the checks that were judged passed, and how many were not judged."""
        return how_many_passed([each.passed for each in self.results])


class CardRecord(Record):
    """What only people know of a model version, for its card; all else on the card is in the record already."""

    model: str
    version: int
    intended_use: str = ""
    not_for: str = ""
    owner: str = ""
    limitations: list[str] = []
    uri: str = Field(default="", description="where MLflow keeps the card: an artifact of the version's run")
