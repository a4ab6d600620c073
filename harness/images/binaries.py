"""Images of static binaries alone, as upstream's distroless ones: the files, two users, the CA certificates, /tmp."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.images import docker
from harness.images.catalogue import Catalogue, Item
from harness.images.making import Making

NOBODY = 65532
_FORMAT = "binaries 1"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PASSWD = f"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{NOBODY}:{NOBODY}:nonroot:/tmp:/sbin/nologin\n"
_GROUP = f"root:x:0:\nnonroot:x:{NOBODY}:\n"
_IMPORT_TIMEOUT_S = 120


def inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """The layout; the binaries themselves are needs."""
    return [_FORMAT]


def make(making: Making) -> None:
    """Import the binaries at their paths as the image, with its user and entry point."""
    paths: Mapping[str, str] = making.item.options["binaries"]
    archive = making.folder / "image.tar"
    write_archive(archive, {path: making.binary(source) for path, source in paths.items()})
    changes = [
        f"ENTRYPOINT {json.dumps(making.item.options.get('entrypoint', [next(iter(paths))]))}",
        f"USER {making.item.options.get('user', NOBODY)}",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    argv = docker.import_argv(str(archive), making.item.name, making.key, changes)
    making.run(*argv, timeout_s=_IMPORT_TIMEOUT_S)


def write_archive(archive: Path, binaries: Mapping[str, Path]) -> None:
    """A root file system with these binaries as a tar file; all of it is root's."""
    with tarfile.open(archive, "w") as tar:
        _folders(tar, {"/tmp/x", "/etc/ssl/certs/x", *binaries})
        _text(tar, "etc/passwd", _PASSWD)
        _text(tar, "etc/group", _GROUP)
        if _CERTIFICATES.is_file():
            _text(tar, "etc/ssl/certs/ca-certificates.crt", _CERTIFICATES.read_text(encoding="utf-8"))
        for path, binary in binaries.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = binary.stat().st_size, 0o755
            with binary.open("rb") as file:
                tar.addfile(entry, file)


def _folders(tar: tarfile.TarFile, paths: set[str]) -> None:
    folders = {str(parent).lstrip("/") for path in paths for parent in PurePosixPath(path).parents} - {""}
    for folder in sorted(folders):
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
        tar.addfile(entry)


def _text(tar: tarfile.TarFile, path: str, text: str) -> None:
    body = text.encode()
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(body), 0o644
    tar.addfile(entry, io.BytesIO(body))
