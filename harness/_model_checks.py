"""Checks of a model version, carried out: what asks the model in one job, what asks a service through the gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.errors import RequestFailed, UsageError
from harness.lifecycle.checks import (
    Asked,
    Check,
    Compared,
    Consumers,
    Latency,
    Probe,
    Robustness,
    Skew,
    as_table,
)
from harness.lifecycle.checks.robustness import probes
from harness.lifecycle.signature import FLOATS, Column
from harness.report.record import CheckResult, ChecksRecord

if TYPE_CHECKING:
    from harness.clients.inference import Protocol
    from harness.model_version import ModelVersion
    from harness.platform import Platform
    from harness.service import Service

JOB, ASKED = "harness.lifecycle.checks.job:main", "harness.prediction_log.asked:main"
NO_SERVICE = "it asks a service that serves this version"
NO_LIVE = "it reads the prediction log of the live service"
TRIES = 3
MOST_ROWS = 500
"""Of a latency check: its requests go round in them."""
PER_COLUMN = 10
"""So many rows are asked again with one column as its other type."""


def check_version(
    platform: Platform,
    model: ModelVersion,
    checks: Sequence[Check],
    *,
    service: Service | None = None,
    live: Service | None = None,
) -> ChecksRecord:
    """Make all checks; see Platform.check."""
    if service is not None and service.model is not None and service.model.uri != model.uri:
        raise UsageError(f"checks of {model.uri}: the service {service.name} serves {service.model.uri}")
    began = time.monotonic()
    results, columns = _offline(platform, model, checks)
    if service is not None:
        results |= _Served(service, model, columns, _drawn(platform, model, checks)).judged(checks)
    if live is not None:
        consumers = (check for check in checks if isinstance(check, Consumers))
        results |= {check.label: _of_clients(platform, check, columns, live) for check in consumers}
    names = dict.fromkeys(name for check in checks for name in (check.label, _served_label(check)) if name in results)
    return ChecksRecord(
        model=model.name,
        version=model.version,
        service=f"{service.namespace}/{service.name}" if service else "",
        results=[results[name] for name in names],
        duration_s=round(time.monotonic() - began, 3),
    )


def _offline(
    platform: Platform, model: ModelVersion, checks: Sequence[Check]
) -> tuple[dict[str, CheckResult], list[Column]]:
    """What the model itself shows; a check of a service is not judged yet."""
    spec = {
        "checks": [as_table(check) for check in checks if not check.served],
        "model_name": model.name,
        "version": model.version,
        "tracking_uri": platform.backend.tracking_uri,
        "heldout": model.result.heldout,
        "target": model.dataset.target,
        "task": model.dataset.task,
        "seed": platform.seed,
    }
    found = platform.job(JOB, spec, name=f"checks-v{model.version}")
    results = {check.label: _not_judged(check) for check in checks if check.served}
    results |= {each["name"]: CheckResult.model_validate(each) for each in found["results"]}
    return results, [Column(name, kind) for name, kind in found["columns"]]


def _drawn(platform: Platform, model: ModelVersion, checks: Sequence[Check]) -> dict[str, Any]:
    """As many held-out rows as the check that asks for most, with the model's own answers; drawn once."""
    asked = [check.rows for check in checks if isinstance(check, Skew | Robustness)]
    asked += [min(check.requests, MOST_ROWS) for check in checks if isinstance(check, Latency)]
    if not asked:
        return {"rows": [], "offline": []}
    drawn: dict[str, Any] = platform.sample(model, [{"name": "checks", "rows": max(asked)}])["checks"]
    return drawn


def _not_judged(check: Check) -> CheckResult:
    why = NO_LIVE if isinstance(check, Consumers) else NO_SERVICE
    return CheckResult(name=check.label, kind=check.kind, passed=None, observed="not judged", required="–", detail=why)


def _of_clients(platform: Platform, check: Consumers, columns: Sequence[Column], live: Service) -> CheckResult:
    """What the live service's clients sent, held against the version's columns."""
    log = platform.prediction_log(live)
    spec = {"folder": str(log.place.folder), "namespace": live.namespace, "service": live.name}
    shapes = [
        Asked(**{**each, "columns": tuple(each["columns"]), "kinds": tuple(map(tuple, each["kinds"]))})
        for each in platform.job(ASKED, spec, name="asked")["shapes"]
    ]
    return check.judge(shapes, columns, live.model.features if live.model else ())


def _served_label(check: Check) -> str:
    """Robustness is looked at twice: of the model, and as served."""
    return f"{check.label}, served" if isinstance(check, Robustness) else check.label


class _Served:
    """Asks a service what the checks want to know of it."""

    def __init__(
        self, service: Service, model: ModelVersion, columns: Sequence[Column], drawn: Mapping[str, Any]
    ) -> None:
        self._service, self._model, self._columns = service, model, columns
        self._all, self._offline = drawn["rows"], drawn["offline"]

    def judged(self, checks: Sequence[Check]) -> dict[str, CheckResult]:
        found: dict[str, CheckResult] = {}
        for check in checks:
            match check:
                case Skew():
                    found[check.label] = check.judge(list(self._compared(check)))
                case Latency():
                    found[check.label] = check.judge(self._latencies_ms(check))
                case Robustness():
                    told = check.judge(list(self._probed(check)), self._model.dataset.task)
                    found[_served_label(check)] = told.model_copy(update={"name": _served_label(check)})
        return found

    def _compared(self, check: Skew) -> Iterator[Compared]:
        rows, offline = self._all[: check.rows], self._offline[: check.rows]
        for at, (row, said) in enumerate(zip(rows, offline, strict=True)):
            named = dict(zip(self._model.features, row, strict=True))
            yield self._one(Compared("list", at, said), row)
            yield self._one(Compared("by name", at, said), dict(reversed(named.items())))
            yield self._one(Compared("V2 tensors", at, said), named, "v2")
        for at, served in enumerate(self._answers(rows)):
            yield replace(Compared("batch", at, offline[at]), served=served)
        for column, at in self._as_integers(rows):
            whole = [int(value) if place == column else value for place, value in enumerate(rows[at])]
            yield self._one(Compared(f"{self._model.features[column]} as integer", at, offline[at]), whole)

    def _as_integers(self, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[int, int]]:
        """(column, row) of whole numbers in columns of numbers, some of each column."""
        for column, known in enumerate(self._columns):
            if known.kind in FLOATS:
                whole = [at for at, row in enumerate(rows) if row[column] is not None and row[column] % 1 == 0]
                yield from ((column, at) for at in whole[:PER_COLUMN])

    def _one(self, asked: Compared, row: Any, protocol: Protocol = "v1") -> Compared:
        try:
            return replace(asked, served=self._service.predict([row], protocol=protocol)[0])
        except RequestFailed as error:
            return replace(asked, error=error.message.splitlines()[0])

    def _answers(self, rows: Sequence[Any]) -> Sequence[float | None]:
        try:
            return self._service.predict(rows)
        except RequestFailed:
            return [None] * len(rows)

    def _latencies_ms(self, check: Latency) -> list[float]:
        rows = self._all[: min(check.requests, MOST_ROWS)]
        return [self._took_ms(rows[at % len(rows)], check.p99_ms) for at in range(check.requests)]

    def _took_ms(self, row: Any, budget_ms: float) -> float:
        """The best of a few tries, unless the first is within the budget."""
        best = float("inf")
        for _ in range(TRIES):
            started = time.perf_counter()
            self._service.predict([row])
            best = min(best, 1000 * (time.perf_counter() - started))
            if best <= budget_ms:
                break
        return best

    def _probed(self, check: Robustness) -> Iterator[Probe]:
        for probe in probes(self._all[: check.rows], self._columns):
            try:
                yield replace(probe, answer=self._service.predict([probe.row])[0])
            except RequestFailed as error:
                clean = error.status is not None and 400 <= error.status < 500
                yield replace(probe, refused=clean, error="" if clean else error.message.splitlines()[0][:200])
