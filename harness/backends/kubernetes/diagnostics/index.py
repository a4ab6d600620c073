"""The index of a diagnosis: what is the likely cause, what was abnormal in its order, which files there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.backends.kubernetes.diagnostics.abnormal import ranked
from harness.backends.kubernetes.diagnostics.describe import clock
from harness.backends.kubernetes.diagnostics.keep import Shelf
from harness.backends.kubernetes.diagnostics.snapshot import Snapshot
from harness.report.record import ClusterFinding


def index(seen: Snapshot, findings: Sequence[ClusterFinding], shelf: Shelf) -> str:
    """The page as Markdown."""
    return (
        "\n".join([*_lead(seen, findings), *_order(findings, shelf.folder.name), *_files(shelf), *_missed(shelf)])
        + "\n"
    )


def lead(findings: Sequence[ClusterFinding]) -> str:
    """The likely cause in a sentence, with since when and the next command; "" if nothing is abnormal."""
    for best in ranked(findings)[:1]:
        return f"{best.words} (since {clock(best.at)}; {best.because}). {best.next}"
    return ""


def _lead(seen: Snapshot, findings: Sequence[ClusterFinding]) -> Iterator[str]:
    yield f"# Diagnostics, collected at {clock(seen.at)}"
    yield ""
    told = lead(findings)
    yield f"Most likely: {told}" if told else "Nothing in the cluster was abnormal."


def _order(findings: Sequence[ClusterFinding], folder: str) -> Iterator[str]:
    if findings:
        yield "\n## What was abnormal, the first first\n"
        yield "| since | reason | what | object |"
        yield "|---|---|---|---|"
    for each in findings:
        link = f"[{each.object}]({each.file.removeprefix(f'{folder}/')})" if each.file else each.object
        words = each.words.replace("|", "\\|")
        where = each.namespace or "cluster"
        yield f"| {clock(each.at)}{' and still' if each.lasting else ''} | {each.reason} | {words} | {where}: {link} |"


def _files(shelf: Shelf) -> Iterator[str]:
    yield "\n## Files\n"
    for path, what in sorted(shelf.files.items()):
        yield f"- [{path}]({path}): {what}, {(shelf.folder / path).stat().st_size / 1024:.1f} KB"


def _missed(shelf: Shelf) -> Iterator[str]:
    if shelf.missed:
        yield "\n## What could not be had\n"
        yield from (f"- {what}" for what in sorted(shelf.missed))
