"""The prediction log: what a service was asked and answered, kept so that no acknowledged event is ever lost.

A server takes KServe's payload events and late ground truth (server), appends them to a write-ahead log before it
acknowledges them (wal), and a process beside it makes Parquet of them (compactor). Readers join the two (reader).
"""

from harness.prediction_log.events import Event, Label, Malformed

__all__ = ["Event", "Label", "Malformed"]
