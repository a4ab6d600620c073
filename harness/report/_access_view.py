"""What the page says of access: a row a resource and verb, a column a role."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.record import AccessCell, RunRecord

Row = tuple[str, str, list[AccessCell | None]]


def roles(record: RunRecord) -> list[str]:
    """The roles that were tried, sorted."""
    return sorted({cell.role for cell in record.access})


def rows(record: RunRecord) -> Iterator[Row]:
    """(resource, verb, the last try of each role, in the order of `roles`), in the order of the first try."""
    tried = {(cell.resource, cell.verb, cell.role): cell for cell in record.access}
    for resource, verb in dict.fromkeys((cell.resource, cell.verb) for cell in record.access):
        yield resource, verb, [tried.get((resource, verb, role)) for role in roles(record)]


def wrong(record: RunRecord) -> list[AccessCell]:
    """The cells that are not as the matrix says."""
    return [cell for cell in record.access if not cell.passed]


def words(cell: AccessCell) -> str:
    """What happened."""
    return f"{'let in' if cell.status == 200 else 'refused'} ({cell.status})"
