"""Go programs out of wrapper modules: all programs of a module in one `go build`, with verified checksums."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import PlatformError, UsageError
from harness.images.cache import digest_of_files
from harness.images.catalogue import Catalogue, Item
from harness.images.making import Making

FLAGS = "-mod=readonly -trimpath -buildvcs=false"
_BUILD_TIMEOUT_S = 1800
_ASKING_TIMEOUT_S = 30
_FETCH_TIMEOUT_S = 300
_UNVERIFIED = ("GONOSUMCHECK", "GONOSUMDB", "GOINSECURE", "GOFLAGS")
"""Variables with which a machine could switch checksums off, or change what is built: they are not passed on."""
_NO_NETWORK = re.compile(
    r"(?:dial (?:tcp|udp)|no such host|i/o timeout|connection refused|TLS handshake|network is unreachable|"
    r"proxyconnect|module lookup disabled|\b(?:403|404|410|50[0234]) )[^\n]*"
)
_COMPILED = re.compile(r"^[\w.-]+(?:/[\w.~-]+)*$")


@functools.cache
def go_facts() -> Mapping[str, str]:
    """What `go env` says of this machine's Go: GOVERSION, GOARCH, GOPROXY, GOTOOLCHAIN; empty without Go."""
    go = shutil.which("go")
    if go is None:
        return {}
    names = ("GOVERSION", "GOARCH", "GOPROXY", "GOTOOLCHAIN")
    done = subprocess.run(
        [go, "env", "-json", *names], cwd="/", capture_output=True, text=True, timeout=_ASKING_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise UsageError(f"images: `go env` fails: {done.stderr.strip()}")
    facts: dict[str, str] = json.loads(done.stdout)
    return {**facts, "go": go}


def require_go() -> str:
    """The path of the go command; UsageError if it is not installed."""
    if not go_facts():
        raise UsageError(
            "images: Go is not here: no `go` on PATH.", hint="install Go 1.26.7 or newer, and build again."
        )
    return go_facts()["go"]


def require(item: Item, catalogue: Catalogue) -> None:
    """UsageError if there is no Go, or, for a module, an older one than it asks for."""
    require_go()
    if item.section == "module":
        check_version(catalogue.folder / "go" / item.name, go_facts())


def inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """Everything that decides on the binaries: the wrapper's files, programs, flags, Go's version and the machine."""
    folder = catalogue.folder / "go" / item.name
    facts = go_facts()
    return [
        *digest_of_files((path for path in folder.rglob("*") if path.name.endswith((".go", ".mod", ".sum"))), folder),
        FLAGS,
        facts.get("GOVERSION", "no Go"),
        facts.get("GOARCH", ""),
    ]


def make(making: Making) -> None:
    """Build all programs of a wrapper module into `folder`/bin, static and stripped."""
    module, programs = making.item.name, making.item.options["programs"]
    wrapper = making.catalogue.folder / "go" / module
    go = require_go()
    check_version(wrapper, go_facts())
    target = making.folder / "bin"
    target.mkdir()
    ldflags = f"-s -w {making.item.options.get('ldflags', '')}".strip()
    argv = [go, "build", "-v", "-ldflags", ldflags, "-o", f"{target}/", *programs.values()]
    making.say(f"compiling {len(programs)} program{'s' if len(programs) > 1 else ''}")
    try:
        making.run(*argv, cwd=wrapper, env=environment(os.environ), timeout_s=_BUILD_TIMEOUT_S, watch=_count(making))
    except PlatformError as error:
        raise explained(error, making.log) from error
    for program, package in programs.items():
        (target / built_name(package, module)).rename(target / program)


def source_folder(making: Making, module: str, source: str) -> Path:
    """Where the module cache has `source`, in the version of the wrapper `module`; fetched if it is not there."""
    wrapper = making.catalogue.folder / "go" / module
    go, env = require_go(), environment(os.environ)
    try:
        making.run(go, "mod", "download", source, cwd=wrapper, env=env, timeout_s=_FETCH_TIMEOUT_S)
    except PlatformError as error:
        raise explained(error, making.log) from error
    argv = [go, "list", "-m", "-f", "{{.Dir}}", source]
    done = subprocess.run(
        argv, cwd=wrapper, env=env, capture_output=True, text=True, timeout=_ASKING_TIMEOUT_S, check=False
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise PlatformError(f"{source} is not in images/go/{module}: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def source_version(catalogue: Catalogue, module: str, source: str) -> list[str]:
    """The lines of the wrapper's go.sum on `source`: its version and its checksum."""
    text = (catalogue.folder / "go" / module / "go.sum").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith(f"{source} ") and "/go.mod " not in line]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of `go build`: static programs, read-only go.mod, and no way round the checksums.

    GOGC: the compiler collects its garbage less often, for 400 MB instead of 300 and a fifth less CPU time.
    """
    kept = {name: value for name, value in given.items() if name not in _UNVERIFIED}
    if kept.get("GOSUMDB") == "off":
        del kept["GOSUMDB"]
    return {"GOGC": "400", **kept, "CGO_ENABLED": "0", "GOOS": "linux", "GOFLAGS": FLAGS, "GOWORK": "off"}


def built_name(package: str, module: str) -> str:
    """The name that `go build` gives the program of a package: the path's last part that is not a major version."""
    if package == ".":
        return module
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v[2-9]\d*", parts[-1]) else parts[-1]


def check_version(wrapper: Path, facts: Mapping[str, str]) -> None:
    """UsageError if the wrapper's go.mod asks for a newer Go than the one here, which may not fetch another."""
    found = re.search(r"^go (\d+(?:\.\d+)*)", (wrapper / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    needed, here = found[1] if found else "1", facts["GOVERSION"].removeprefix("go")
    if _numbers(needed) > _numbers(here) and facts["GOTOOLCHAIN"].startswith("local"):
        raise UsageError(
            f"images: {wrapper.name} needs Go {needed} or newer, and this is Go {here}.",
            hint=f"install Go {needed}, or let Go fetch it: GOTOOLCHAIN=auto rehearse images build.",
        )


def explained(error: PlatformError, log: Path) -> PlatformError | UsageError:
    """The same error, and where it was the network: which proxy was asked, and which variable says so."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 100_000))
        reason = _NO_NETWORK.search(file.read().decode(errors="replace"))
    if reason is None:
        return error
    return UsageError(
        f"images: Go modules cannot be downloaded: {reason[0].strip()} (GOPROXY={go_facts()['GOPROXY']}).",
        hint="set GOPROXY to a module proxy in reach, or HTTPS_PROXY to your way out, and build again.",
    )


def _count(making: Making) -> Callable[[Path], None]:
    def look(log: Path) -> None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        making.say(f"{sum(1 for line in lines if _COMPILED.match(line))} packages compiled")

    return look


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
