"""Every error that Rehearsal raises, as one tree.

RehearsalError                 what failed, on what input, and what to do next
├── UsageError                 the user's input is wrong: one line, exit code 2
│   ├── ConfigError            rehearsal.toml, flags
│   │   └── ClusterUnfit       the cluster that was named lacks what nothing can be rehearsed without
│   ├── DataError              the data file, its columns, its target
│   ├── TrainingFunctionError  the user's training function raises, hangs, or returns no model
│   ├── DocumentError          an InferenceService field that is unknown or not honoured here
│   ├── PushRefused            a commit that the desired state's repository does not take
│   └── AccessDenied           the credentials given for a cluster may not do it
├── CapabilityMissing          this machine or backend cannot do it: reported as a skip
├── PlatformError              a component did what it should not
│   ├── ProcessExited          a child ended before it was ready, or died
│   ├── PortTaken              somebody else took a port between its choice and its use
│   ├── WaitTimeout            a deadline passed; carries the last state seen
│   └── ServiceFailed          an InferenceService cannot become ready
├── StepFailed                 a step of the rehearsal failed
│   ├── TrainingFailed         the pipeline
│   ├── GateRefused            a model version may not be promoted
│   └── LoadFailed             the load generator, or its ledger
└── RequestFailed              an HTTP answer that is an error
"""

from __future__ import annotations


class RehearsalError(Exception):
    """What failed, on what input; `hint` says what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} Hint: {self.hint}" if self.hint else self.message


class UsageError(RehearsalError):
    """The user's input is wrong; printed as one line, without a traceback."""

    exit_code = 2


class ConfigError(UsageError):
    """A key, flag or value of the configuration is wrong."""


class ClusterUnfit(ConfigError):
    """The cluster that was named lacks what nothing can be rehearsed without, such as KServe; no skip mends that."""


class DataError(UsageError):
    """The data file cannot be used as given."""


class TrainingFunctionError(UsageError):
    """The user's training function raised, did not end, or returned what cannot be served."""


class PushRefused(UsageError):
    """The repository of the desired state does not take a commit; the message has every reason."""


class DocumentError(UsageError):
    """An InferenceService document has a field that is unknown, or that this backend does not honour."""


class AccessDenied(UsageError):
    """A cluster refused what its credentials may not do; the message names the verb and the resource."""


class CapabilityMissing(RehearsalError):
    """This machine or this backend cannot do it; the report prints the reason."""


class PlatformError(RehearsalError):
    """A component of the platform failed."""


class ProcessExited(PlatformError):
    """A child process ended when it should have run."""


class PortTaken(PlatformError):
    """A port of this machine was taken by somebody else; another one will do."""


class WaitTimeout(PlatformError):
    """A deadline passed; the message carries the last state seen."""


class ServiceFailed(PlatformError):
    """An InferenceService cannot become ready."""


class StepFailed(RehearsalError):
    """A step of the rehearsal did not do what it promised."""


class TrainingFailed(StepFailed):
    """The pipeline failed."""


class GateRefused(StepFailed):
    """A model version may not be promoted."""


class LoadFailed(StepFailed):
    """The load generator failed, or requests are unaccounted for."""


class RequestFailed(RehearsalError):
    """An HTTP request was answered with an error, or not at all."""

    def __init__(self, message: str, *, status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
