"""What only people know of a model, for its card."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CardWords:
    """What only people know of a model: what it is for, what not, who answers for it, what it cannot do."""

    intended_use: str = ""
    not_for: str = ""
    owner: str = ""
    limitations: tuple[str, ...] = ()


RAND_WORDS = CardWords(
    intended_use="Rehearsal's own example: ranks people by how likely they visit a doctor five times a year or more, "
    "to rehearse the release of a model.",
    not_for="Decisions about anybody's insurance, price or care.",
    owner="the Rehearsal project",
    limitations=(
        "The data is of the United States, 1974 to 1982; care and prices have changed since.",
        "Rows carry no person id: years of one person may be on both sides of the split, so scores are optimistic.",
        "Whoever had no visit because care was not affordable looks like somebody who needed none.",
    ),
)
