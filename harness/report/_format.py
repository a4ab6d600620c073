"""Numbers as people read them: three significant digits, one unit, thin spaces."""

from __future__ import annotations

import math
from datetime import UTC, datetime

THIN = "\u202f"  # narrow no-break space
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | str | None) -> str:
    """Three significant digits; thin spaces between thousands; powers of ten for the very small and very large."""
    if value is None or isinstance(value, str):
        return value or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e7):
        return _power(value)
    exponent = int(f"{size:.2e}".partition("e")[2])
    whole, _, rest = f"{size:.{max(0, 2 - exponent)}f}".partition(".")
    rest = "" if value.is_integer() else rest
    return _signed(value, _grouped(whole) + (f".{rest}" if rest else ""))


def power_of_ten(exponent: int) -> str:
    """Such as 10³ or 10⁻⁴."""
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


def _power(value: float) -> str:
    mantissa, _, exponent = f"{abs(value):.1e}".partition("e")
    power = power_of_ten(int(exponent))
    return _signed(value, power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}×{power}")


def _signed(value: float, text: str) -> str:
    return f"−{text}" if value < 0 and any(digit in text for digit in "123456789") else text


def count(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return _signed(value, _grouped(str(abs(round(value)))))


def _grouped(digits: str) -> str:
    return f"{int(digits):,}".replace(",", THIN) if len(digits) > 3 else digits


def seconds(value: float) -> str:
    """A duration in the unit that suits it: ms, s, or min and s."""
    if value < 0.9995:
        return f"{number(float(round(value * 1000, 1) if value < 0.1 else round(value * 1000)))}{THIN}ms"
    if value < 119.5:
        return f"{number(float(value))}{THIN}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}{THIN}min" + (f" {rest}{THIN}s" if rest else "")


def offset(value: float) -> str:
    """A time from a moment, in seconds, with its sign."""
    return f"{'−' if value < 0 else '+'}{abs(value):.2f}{THIN}s"


def milliseconds(value: float) -> str:
    """A latency, always in ms, so that a column compares by eye."""
    return f"{number(float(value))}{THIN}ms"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage."""
    return f"{number(float(share) * 100)}{THIN}%"


def points(share: float) -> str:
    """A signed difference of two shares in [0, 1], in percentage points."""
    sign = "+" if share > 0 else ""
    return f"{sign}{number(float(share) * 100)}{THIN}pp"


def bound(share: float) -> str:
    """A share that somebody set, as a percentage: as short as it was written."""
    return f"{round(share * 100, 6):g}{THIN}%"


def limit(value: float) -> str:
    """A threshold of evidence: a power of ten as one."""
    exponent = math.log10(value) if 0 < value < math.inf else math.nan
    return number(value) if math.isnan(exponent) or exponent % 1 else power_of_ten(int(exponent))


def when(unix_s: float) -> str:
    """A moment in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")


def scalar(value: object) -> str:
    """Whatever stands in a parameter or an environment: numbers formatted, collections joined."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {scalar(item)}" for key, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(scalar(item) for item in value) or "–"
    return number(value) if isinstance(value, int | float) or value is None else str(value)
