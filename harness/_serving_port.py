"""The rollout driver's hands on a service: each call changes its document and returns when that is in effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.lifecycle.answers import Answers
from harness.lifecycle.rollout import ABTest, By, ByUser, Canary, Policy, Shadow
from harness.report.record import RevisionCounts

if TYPE_CHECKING:
    from harness.backends.backend import AnswerSource, Backend
    from harness.backends.inference_service import InferenceService
    from harness.service import Service

SAME_ANSWER = 1e-6
"""By so much two predictions may differ where a policy does not say."""


class DocumentPort:
    """Rolls out by editing the service's InferenceService document.

    The canary is `revision` with the model at `uri`; `before` is the document that a roll back returns to. The calls
    can be done twice, because a rollout whose process died does its last action again; after that (`resumed`) nothing
    is known to be in effect.
    """

    def __init__(
        self,
        service: Service,
        backend: Backend,
        policy: Policy,
        *,
        revision: str,
        uri: str,
        before: InferenceService | None = None,
        resumed: bool = False,
    ) -> None:
        self._service = service
        self._backend = backend
        self._uri = uri
        self._policy = policy
        self._collector: AnswerSource | None = None
        self._in_effect = not resumed  # the service's document, as far as is known
        self.before = before or service.document
        self.service = f"{service.namespace}/{service.name}"
        self.baseline = self.before.spec.predictor.name
        self.canary = revision

    def start_canary(self) -> None:
        self._apply(self._with_canary())

    def set_weight(self, percent: int) -> None:
        document = self._present().with_mirror(0).with_split_by("")
        self._apply(document.with_traffic(self.canary, percent))

    def assign(self, percent: int, by: By) -> None:
        document = self._present()
        if isinstance(by, ByUser):
            document = document.with_traffic(self.canary, percent).with_split_by(f"user {by.header.lower()}")
        else:
            document = document.with_split_by(f"header {by.name.lower()}={by.value}")
        self._apply(document)

    def mirror(self, percent: int) -> None:
        self._apply(self._present().with_mirror(percent))

    def promote(self) -> None:
        document = self._service.document
        if document.spec.predictor.name != self.canary:
            document = document.promoted(self.canary)
        self._apply(document)
        if needs_answers(self._policy):
            logger = self.before.spec.predictor.logger
            self._apply(document.with_logger(logger.url, logger.mode) if logger else document.without_logger())

    def roll_back(self) -> None:
        """Back to the document from before the rollout, also from a promotion that got stuck half-way."""
        document = self._service.document
        if document == self.before and self._in_effect:
            return
        if needs_answers(self._policy) and document.spec.canary:
            # Replicas without the logger take a moment to start; the users go back to the baseline before that.
            self._apply(document.without_canary(self.canary))
        self._apply(self.before)

    def counts(self) -> list[RevisionCounts]:
        return self._service.counts(self._policy.slo.slower_than_ms)

    def read_at(self) -> float | None:
        return None

    def answers(self) -> Answers | None:
        return self._collector.answers() if self._collector else None

    def withheld(self) -> str:
        bound_ms = self._policy.slo.slower_than_ms
        return next(filter(None, (load.withheld(bound_ms) for load in self._service.loads)), "")

    def close(self) -> None:
        """Stop collecting answers."""
        if self._collector is not None:
            self._collector.close()
            self._collector = None

    def _present(self) -> InferenceService:
        """The document with the canary in it; what interrupted a rollout had taken it out."""
        document = self._service.document
        return document if document.spec.canary else self._with_canary()

    def _with_canary(self) -> InferenceService:
        document = self.before
        if needs_answers(self._policy):
            document = document.with_logger(self._collect().url)
        return document.with_canary(self.canary, self._uri, 0)

    def _apply(self, document: InferenceService) -> None:
        self._in_effect = False
        self._service.apply(document)
        self._in_effect = True

    def _collect(self) -> AnswerSource:
        if self._collector is None:
            tolerance = self._policy.tolerance if isinstance(self._policy, Shadow) else SAME_ANSWER
            self._collector = self._backend.collect_answers(
                self._service.namespace,
                self._service.name,
                baseline=self.baseline,
                canary=self.canary,
                tolerance=tolerance,
                cuts=(self._policy.cut,) if isinstance(self._policy, ABTest) else (),
            )
        return self._collector


def needs_answers(policy: Policy) -> bool:
    """Whether a policy judges predictions, which the payload loggers must tell."""
    if isinstance(policy, Shadow):
        return policy.min_agreement is not None or policy.prediction_shift is not None
    if isinstance(policy, ABTest):
        return policy.metric == "positive"
    return isinstance(policy, Canary) and policy.prediction_shift is not None
