"""Masks secrets in text and nested data, so that none reaches a log or run.json."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
SHORTEST = 6
"""A value with fewer characters is masked by its name only: it would be found in ordinary words."""

_SECRET_WORD = (
    r"(?:password|(?<!etc/)passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key"
    r"|credentials?|authorization|cookie|dsn)"
)
_NAME = rf"[\w.-]*{_SECRET_WORD}[\w.-]*"
_SECRET_NAME = re.compile(rf"^(?:{_NAME}|auth|key)$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@", re.IGNORECASE)
# Words that count or describe secrets ("max_tokens", "token_count") hold numbers; only text is masked by its name.
_TEXT_RULES = (
    # user:password@host in a URL
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE), rf"\g<1>{MASK}"),
    # Authorization: Bearer xyz
    (re.compile(r"\b(bearer|basic)(\s+)[\w.~+/=-]{6,}", re.IGNORECASE), rf"\g<1>\g<2>{MASK}"),
    # "--token abc", "--api-key=abc", "PASSWORD=abc", '"secret": "abc"', "key=abc" in a query; "==" alone is where
    # base64 ends, and "pwd" stands before it sooner or later
    (
        re.compile(
            rf"(?P<name>(?<![\w.-])(?:--)?(?:{_NAME}|(?<=[?&])key)[\"']?\s*[=:]\s*[\"']?)"
            r"(?!\s|\*\*\*|(?:bearer|basic)\s|=(?:[\s\"'&,;}]|$))(?P<value>[^\s\"'&,;}]+)",
            re.IGNORECASE,
        ),
        rf"\g<name>{MASK}",
    ),
    (re.compile(rf"(?<![\w.-])(--{_NAME}\s+)(?!-)[^\s\"']+", re.IGNORECASE), rf"\g<1>{MASK}"),
    # forms that are secrets wherever they stand: AWS key id, GitHub token, JWT, PEM block
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), MASK),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}\b"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), MASK),
)


def redact_text(text: str) -> str:
    """The text with the values of passwords, tokens, keys and URL credentials replaced by ***.

    Whatever form it has, the value of one of this process's environment variables with a secret's name is masked too.
    """
    for value in environment_secrets():
        text = text.replace(value, MASK)
    for pattern, replacement in _TEXT_RULES:
        text = pattern.sub(replacement, text)
    return text


@functools.cache
def environment_secrets() -> tuple[str, ...]:
    """The secrets that the programs of a run are given by their environment, longest first."""
    return secrets_of(os.environ)


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values of variables with a secret's name ("HF_TOKEN"), and passwords in URLs; no paths, nothing that is short."""
    named = {value for name, value in environment.items() if _is_secret(name) and not value.startswith(("/", "~"))}
    in_urls = {found[1] for value in environment.values() for found in _URL_PASSWORD.finditer(value)}
    return tuple(sorted((value for value in named | in_urls if len(value) >= SHORTEST), key=len, reverse=True))


def redact(value: Any) -> Any:
    """A copy of JSON-like data with secrets masked: text under a secret's name entirely, other text by its form."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {key: _masked(item) if _is_secret(key) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and bool(_SECRET_NAME.match(name))


def _masked(value: Any) -> Any:
    """Text and what holds text is masked; a number, a flag or nothing is not a secret (`max_tokens`: 512)."""
    if isinstance(value, Mapping):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return MASK if isinstance(value, str) and value else value
