"""TOML files that users write: reading one, and what to say about a key that is not known."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.errors import ConfigError


def read_toml(path: Path, *, hint: str = "") -> dict[str, Any]:
    """The tables of a file; ConfigError, in one line, for one that cannot be read. `hint` says where one is shown."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def unknown_key(shown: str, name: str, allowed: Iterable[str]) -> str:
    """One line about a key that is not known: the nearest one, and all that are allowed."""
    known = list(allowed)
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"{shown}: unknown key; {guess}Allowed: {', '.join(known)}"
