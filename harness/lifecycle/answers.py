"""What two revisions answered: counts of predictions at fixed cuts, and how many mirrored copies agreed."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Answers:
    """Growing totals of the predictions of both revisions over the same time.

    `baseline_below` and `canary_below` count the predictions at or below each of the `cuts`, which were fixed before
    any of the counted predictions was seen; `compared` are mirrored copies whose answer was held against the
    baseline's, `agreed` those within the tolerance.
    """

    cuts: tuple[float, ...] = ()
    baseline_below: tuple[int, ...] = ()
    canary_below: tuple[int, ...] = ()
    baseline: int = 0
    canary: int = 0
    compared: int = 0
    agreed: int = 0

    @property
    def shift(self) -> float:
        """The largest difference of the two empirical distribution functions at the cuts; 0 without predictions."""
        if not (self.baseline and self.canary):
            return 0.0
        pairs = zip(self.baseline_below, self.canary_below, strict=True)
        return max((abs(yours / self.canary - mine / self.baseline) for mine, yours in pairs), default=0.0)

    def restarted(self, earlier: Answers) -> bool:
        """Whether counting began anew after `earlier`, as it does when the process that counted has died."""
        if earlier.cuts and self.cuts != earlier.cuts:
            return True
        return any(getattr(self, name) < getattr(earlier, name) for name in ("baseline", "canary", "compared"))

    def since(self, earlier: Answers) -> Answers:
        """What was counted after an earlier reading; all of it if there were no cuts by then."""
        if not earlier.cuts:
            return replace(self, compared=self.compared - earlier.compared, agreed=self.agreed - earlier.agreed)
        return Answers(
            self.cuts,
            tuple(now - then for now, then in zip(self.baseline_below, earlier.baseline_below, strict=True)),
            tuple(now - then for now, then in zip(self.canary_below, earlier.canary_below, strict=True)),
            self.baseline - earlier.baseline,
            self.canary - earlier.canary,
            self.compared - earlier.compared,
            self.agreed - earlier.agreed,
        )
