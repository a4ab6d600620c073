"""Asking a program that may be here for its version."""

from __future__ import annotations

PROBE_TIMEOUT_S = 10
