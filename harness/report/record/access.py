"""Of a run record: cells of the access matrix that were tried."""

from __future__ import annotations

from pydantic import Field

from harness.report.record._base import Record


class AccessCell(Record):
    """One verb on one resource, tried with a role's own credentials."""

    role: str
    verb: str
    resource: str
    expected: bool = Field(description="whether the matrix allows it")
    status: int = Field(description="of the answer; 0: none came")
    passed: bool = Field(description="it was answered where allowed, and refused with 401 or 403 where not")
    detail: str = ""
