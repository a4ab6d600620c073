"""What a policy's fields may be; each violation is one line with the field and what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from harness.errors import ConfigError
from harness.lifecycle.slo import is_number

_NAME, _VALUE = re.compile("[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"), re.compile("[!-~]+")
_RISING = "expected whole percentages that grow and end with 100, such as 10, 50, 100"


def number(where: str, value: object, *, least: float, most: float = math.inf, whole: bool = False) -> None:
    """Refuse what is not a finite number from `least` to `most`."""
    # NaN is neither below nor above anything, so it is asked whether the value is inside, not whether it is outside.
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value < math.inf
        and value <= most
        and (not whole or isinstance(value, int))
    ):
        return
    kind = "a whole number" if whole else "a number"
    span = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
    raise ConfigError(f"{where}: expected {kind} {span}, got {value!r}")


def share(where: str, value: object) -> None:
    """Refuse what is not a number above 0 and below 1."""
    if not (is_number(value) and 0 < value < 1):
        raise ConfigError(f"{where}: expected a share above 0 and below 1, such as 0.1, got {value!r}")


def flag(where: str, value: object) -> None:
    """Refuse what is not true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: expected true or false, got {value!r}")


def choice(where: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is not one of the allowed words."""
    if value not in allowed:
        raise ConfigError(f"{where}: expected {' or '.join(allowed)}, got {value!r}")


def instance(where: str, value: object, kinds: tuple[type, ...], words: str) -> None:
    """Refuse an object of another kind."""
    if not isinstance(value, kinds):
        raise ConfigError(f"{where}: expected {words}, got {value!r}")


def header(where: str, name: str, value: str = "-") -> None:
    """Refuse a header that cannot assign requests: its name and its value are written into a route."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: expected a header of letters, digits and hyphens, got {name!r}")
    if not _VALUE.fullmatch(value):
        raise ConfigError(f"{where}: expected a value of visible ASCII characters without spaces, got {value!r}")


def not_longer(where: str, value: float, limit: str, most: float) -> None:
    """Refuse a duration that the duration `limit` cannot hold."""
    if value > most:
        raise ConfigError(f"{where}: expected at most {limit} ({most:g}), got {value:g}")


def rising_weights(where: str, steps: object) -> tuple[int, ...]:
    """The steps as a tuple, if they are whole percentages that grow and end with 100."""
    if not isinstance(steps, tuple | list):
        raise ConfigError(f"{where}: {_RISING}, got {steps!r}")
    whole = all(isinstance(weight, int) and not isinstance(weight, bool) and 0 < weight <= 100 for weight in steps)
    if not (whole and steps and steps[-1] == 100 and list(steps) == sorted(set(steps))):
        raise ConfigError(f"{where}: {_RISING}, got {', '.join(map(str, steps)) or 'nothing'}")
    return tuple(steps)


def among(where: str, weights: object, steps: Sequence[int]) -> tuple[int, ...]:
    """The weights as a tuple, if each is one of the steps."""
    allowed = f"expected some of the steps ({', '.join(map(str, steps))})"
    if not isinstance(weights, tuple | list):
        raise ConfigError(f"{where}: {allowed}, got {weights!r}")
    if foreign := [weight for weight in weights if weight not in steps or isinstance(weight, bool)]:
        raise ConfigError(f"{where}: {allowed}, got {', '.join(map(str, foreign))}")
    return tuple(weights)
