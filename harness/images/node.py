"""The node of a kind cluster: Debian with systemd and containerd, kind's own files, Kubernetes, and every image in it.

kind's entry point, units and hooks come from its Go module, with the changes that `PATCHES` lists; what kind does not
have and a cluster without a registry needs lies in images/node/files.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import PlatformError
from harness.images import engine
from harness.images.archive import LAYER, pack
from harness.images.cache import digest_of_files
from harness.images.catalogue import Catalogue, Item
from harness.images.golang import source_folder, source_version
from harness.images.leftovers import container_name
from harness.images.making import LABEL, Making
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

_FORMAT = "node 1"
_KIND = ("kind", "sigs.k8s.io/kind")
_FILES = "images/base/files"
_STORAGE = "pkg/build/nodeimage/const_storage.go"
_OWN = "node/files"
_ENTRYPOINT = ["/usr/local/bin/entrypoint", "/sbin/init"]
_IMPORT = ("ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--no-unpack", "--digests")
_PIN = "ctr -n k8s.io images ls -q | xargs -I NAME ctr -n k8s.io images label NAME io.cri-containerd.pinned=pinned"
"""Without it the kubelet would throw images away when the disk gets full, and no registry gives them back."""
_TIMEOUT_S = 600
_READY_S = 30
_STOP_S = 30

PATCHES: Mapping[str, Sequence[tuple[str, str]]] = {
    # Debian's places; no limits that a root without CAP_SYS_RESOURCE could not raise.
    "etc/systemd/system/containerd.service": (
        (r"^(?:Limit\w+|OOMScoreAdjust)=.*\n", ""),
        (r"/usr/local/bin/containerd", "/usr/bin/containerd"),
    ),
    "etc/containerd/config.toml": (
        (r"restrict_oom_score_adj = false", "restrict_oom_score_adj = true"),
        (r'sandbox_image = "[^"]+"', 'sandbox_image = "{pause}"'),
    ),
}
"""Per file of kind's: patterns, each of which must be found, and what comes in their place."""


def files_inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """kind's version, our own files, and the patches."""
    own = catalogue.folder / _OWN
    ours = digest_of_files((path for path in own.rglob("*") if path.is_file()), own)
    return [_FORMAT, repr(PATCHES), *source_version(catalogue, *_KIND), *ours]


def make_files(making: Making) -> None:
    """The layer with kind's files, ours, and the binaries at their paths."""
    root, kind = making.scratch(), source_folder(making, *_KIND)
    _copy(kind / _FILES, root)
    for name, patches in PATCHES.items():
        path = root / name
        path.write_text(patched(path.read_text(encoding="utf-8"), _filled(patches, making.item.options), name))
    storage = root / "kind/manifests/default-storage.yaml"
    storage.parent.mkdir(parents=True, exist_ok=True)
    storage.write_text(go_text((kind / _STORAGE).read_text(encoding="utf-8"), "defaultStorageManifest"))
    _copy(making.catalogue.folder / _OWN, root)
    (root / "kind/version").write_text(making.item.options["version"], encoding="utf-8")
    for path, source in making.item.options["binaries"].items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(making.binary(source), target)
    pack(root, making.folder / LAYER)
    shutil.rmtree(root)


def require(item: Item, catalogue: Catalogue) -> None:
    """CapabilityMissing where no privileged container can be started, as the one that images are imported in."""
    engine.require_engine()


def inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """Nothing but the format: the images are needs."""
    return [_FORMAT]


def make(making: Making) -> None:
    """Start the parent with containerd in it, import the images, and keep that as the node's image."""
    options = making.item.options
    container = container_name(making.item.name)
    argv = ["run", "--detach", "--privileged", "--network=none", f"--name={container}", "--entrypoint=sleep"]
    try:
        engine.docker(*argv, options["parent"], "infinity", timeout_s=_TIMEOUT_S)
        engine.docker("exec", "--detach", container, "containerd")
        _wait_for_containerd(container)
        _import(making, container, options["images"])
        making.run("docker", "exec", container, "sh", "-c", _PIN, timeout_s=_TIMEOUT_S)
        engine.docker("exec", container, "pkill", "-x", "containerd")
        _wait_for_its_end(container)
        changes = [f"ENTRYPOINT {json.dumps(_ENTRYPOINT)}", f"LABEL {LABEL}={making.key}"]
        told = [word for change in changes for word in ("--change", change)]
        making.run("docker", "commit", *told, container, making.item.name, timeout_s=_TIMEOUT_S)
    finally:
        engine.succeeds("rm", "--force", "--volumes", container, timeout_s=_STOP_S)  # it may never have come to be


def patched(text: str, patches: Iterable[tuple[str, str]], name: str) -> str:
    """A file of kind's with the patches; PlatformError names one whose place is gone, as after an upgrade of kind."""
    for pattern, replacement in patches:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if count == 0:
            raise PlatformError(
                f"images: kind's {name} has no {pattern!r} any more: harness.images.node.PATCHES is old."
            )
    return text


def go_text(source: str, name: str) -> str:
    """The value of a Go constant that is made of raw strings and of other constants of the same file."""
    words = dict(re.findall(r'^const (\w+) = "([^"]*)"', source, re.MULTILINE))
    found = re.search(rf"^const {name} = (`[^`]*`(?:\s*\+\s*(?:`[^`]*`|\w+))*)", source, re.MULTILINE)
    if found is None:
        raise PlatformError(f"images: kind's module has no constant {name} any more.")
    return "".join(raw or words[word] for raw, word in re.findall(r"`([^`]*)`|(\w+)", found[1]) if raw or word)


def _filled(patches: Sequence[tuple[str, str]], options: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(pattern, replacement.replace("{pause}", options["pause"])) for pattern, replacement in patches]


def _copy(source: Path, root: Path) -> None:
    """Files of one folder into another, those in a `bin` executable: a module's zip keeps no modes."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_dir() or name.name.startswith("README"):
            continue
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if "bin" in name.parts else 0o644)


def _import(making: Making, container: str, images: Sequence[str]) -> None:
    """Stream the images out of Docker into the containerd of `container`."""
    with tempfile.TemporaryFile() as said:
        save = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE, stderr=said)
        assert save.stdout is not None
        try:
            argv = ["docker", "exec", "--interactive", container, *_IMPORT, "-"]
            making.run(*argv, stdin=save.stdout.fileno(), timeout_s=_TIMEOUT_S)
        finally:
            save.stdout.close()
            code = save.wait(_STOP_S)
        if code != 0:
            said.seek(0)
            raise PlatformError(f"docker save: {said.read().decode(errors='replace').strip()}")


def _wait_for_containerd(container: str) -> None:
    def answers() -> bool:
        return engine.succeeds("exec", container, "ctr", "version")

    wait(answers, what="containerd in the node's build", deadline=Deadline.after(_READY_S), every_s=0.1)


def _wait_for_its_end(container: str) -> None:
    def ended() -> bool:
        return not engine.succeeds("exec", container, "pgrep", "-x", "containerd")

    wait(ended, what="the end of containerd in the node's build", deadline=Deadline.after(_STOP_S), every_s=0.1)
