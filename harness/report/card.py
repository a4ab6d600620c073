"""Model cards: one of each version, as a page and as Markdown, made from the record of a run alone.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from __future__ import annotations

from pathlib import Path

from harness.report._card_markdown import markdown
from harness.report._card_view import card_of
from harness.report.record import RunRecord
from harness.report.render import card_file, environment
from harness.report.store import record_text, write_text


def write_card(
    record: RunRecord, folder: Path, *, name: str | None = None, version: int | None = None
) -> tuple[Path, Path]:
    """Write a version's card as a page and as Markdown into the run folder; returns both paths.

    The version is the champion, else the last one, unless one is named. Errors: UsageError if the run has none such.
    """
    clean = RunRecord.model_validate_json(record_text(record))
    card = card_of(clean, name, version)
    file = folder / card_file(card.model.name, card.model.version)
    page = environment().get_template("card.html").render(card=card, run=clean)
    return (
        write_text(file.with_name(f"{file.name}.html"), page),
        write_text(file.with_name(f"{file.name}.md"), markdown(card)),
    )
