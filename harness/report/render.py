"""The page of a run: one self-contained file, made from the record alone, so that any run can be rendered again."""

from __future__ import annotations

import base64
import re
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.report import (
    _access_view,
    _card_view,
    _drift_view,
    _findings,
    _format,
    _load_page,
    _load_view,
    _loop_view,
    _metrics_view,
    _rollout_view,
    _scaling_view,
    _view,
    cause,
    symptom,
)
from harness.report.record import RunRecord
from harness.report.store import load_record, record_text, write_record, write_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["load_record", "page", "render", "write_record"]

_MARKS = {"passed": "✓", "failed": "✕", "skipped": "–", "interrupted": "■", "running": "…"}

_FORMATS = ("number", "count", "seconds", "milliseconds", "percent", "points", "offset", "bound", "when", "scalar")


def render(record: RunRecord, folder: Path) -> Path:
    """Write folder/index.html from the record; returns its path."""
    return write_text(folder / "index.html", page(record))


def page(record: RunRecord) -> str:
    """The page as text; it loads nothing from anywhere, and no secret is on it."""
    clean = RunRecord.model_validate_json(record_text(record))
    text = environment().get_template("page.html").render(run=clean, keys=_view.keys(clean))
    return re.sub(r"\n\s*\n+", "\n", text)


def environment() -> Environment:
    """The templates, with the filters and the style that every page has."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(_format, name) for name in _FORMATS}
    environment.filters |= {
        "relative": relative,
        "picture": picture,
        "drawn": Markup,
        "mark": _MARKS.__getitem__,
        "ticked": ticked,
    }
    style = files("harness.report").joinpath("templates/style.css").read_text("utf-8")
    environment.globals |= {"view": _view, "findings": _findings, "cause": cause, "symptom": symptom}
    environment.globals |= {
        "rollout_view": _rollout_view,
        "load_view": _load_view,
        "load_page": _load_page,
        "scaling_view": _scaling_view,
        "access_view": _access_view,
        "drift_view": _drift_view,
        "card_view": _card_view,
        "card_file": card_file,
        "loop_view": _loop_view,
        "metrics_view": _metrics_view,
        "style": Markup(style),
    }
    return environment


def card_file(model: str, version: int) -> str:
    """Where a version's card is in the run folder, without its suffix."""
    return f"cards/{re.sub(r'[^A-Za-z0-9_.-]', '-', model).strip('.') or 'model'}-v{version}"


def relative(path: str) -> str:
    """The path if it is one inside the run folder, else "": a record must not make the page link elsewhere."""
    parts = PurePosixPath(path).parts
    inside = bool(parts) and ":" not in path and "\\" not in path and parts[0] != "/" and ".." not in parts
    return path if inside else ""


def ticked(text: str) -> Markup:
    """Text in which `backticks` mark commands, as HTML."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def picture(svg: str) -> str:
    """A stored SVG as a data URI: shown as an image, it can neither run scripts nor load anything."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")
