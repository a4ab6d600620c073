"""Bundles: CRDs, RBAC and charts as plain YAML, read out of the Go module that owns them.

Each is a folder with crds.yaml (the CustomResourceDefinitions, which must be established first) and objects.yaml (the
rest, in upstream's order); one that would be empty is left out.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.errors import PlatformError
from harness.images.catalogue import Catalogue, Item
from harness.images.golang import source_folder, source_version
from harness.images.making import Making

_RENDER_TIMEOUT_S = 120
_FORMAT = "bundles 1"
_SEPARATOR = re.compile(r"^---[ \t]*$", re.MULTILINE)
_KIND = re.compile(r"^kind:\s*(\S+)", re.MULTILINE)


def inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """The checksum of the module that it is read from, and the format of what is written."""
    return [_FORMAT, *source_version(catalogue, item.options["module"], item.options["source"])]


def make(making: Making) -> None:
    """Write crds.yaml and objects.yaml into `folder`."""
    options = making.item.options
    source = source_folder(making, options["module"], options["source"])
    texts: list[str] = []
    for pattern in options.get("files", ()):
        texts += _files(source, pattern)
    work = making.scratch()
    if "kustomize" in options:
        texts.append(_kustomize(making, source, work))
    if "chart" in options:
        texts.append(_chart(making, source, work))
    shutil.rmtree(work)
    crds, objects = split(texts)
    for name, documents in (("crds", crds), ("objects", objects)):
        if documents:
            (making.folder / f"{name}.yaml").write_text("---\n".join(documents), encoding="utf-8")


def split(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The documents of several YAML texts, word for word: CustomResourceDefinitions, and the others."""
    crds: list[str] = []
    objects: list[str] = []
    for text in texts:
        for document in _SEPARATOR.split(text):
            if kind := _KIND.search(document):
                target = crds if kind[1] == "CustomResourceDefinition" else objects
                target.append(document.strip() + "\n")
    return crds, objects


def substituted(template: str, variables: dict[str, str]) -> str:
    """A chart's values.tmpl.yaml with its ${Name} filled in; PlatformError names one that has no value."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise PlatformError(f"images: the chart's values need ${{{match[1]}}}, which `variables` does not give.")
        return variables[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, template)


def kustomization(resources: Sequence[str], namespace: str | None, tags: Mapping[str, str]) -> dict[str, Any]:
    """A kustomization of these resources, all in `namespace` if one is given, with the tags of these images set."""
    document: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
        "images": [{"name": name, "newTag": tag} for name, tag in tags.items()],
    }
    return {**document, "namespace": namespace} if namespace else document


def _files(source: Path, pattern: str) -> list[str]:
    found = sorted(source.glob(pattern))
    if not found:
        raise PlatformError(f"images: {source} has no {pattern}.")
    return [path.read_text(encoding="utf-8") for path in found]


def _copy(source: Path, work: Path, top: str) -> None:
    """A writable copy of one folder: kustomize takes a path with github.com or an @ in it for a repository to clone."""
    shutil.copytree(source / top, work / top, copy_function=shutil.copyfile)
    for path in (work / top, *(work / top).rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _kustomize(making: Making, source: Path, work: Path) -> str:
    folders: list[str] = making.item.options["kustomize"]
    for top in sorted({folder.partition("/")[0] for folder in folders}):
        _copy(source, work, top)
    document = kustomization(folders, making.item.options.get("namespace"), making.item.options.get("tags", {}))
    (work / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    rendered = work / "rendered.yaml"
    kubectl = making.part("module/kubernetes") / "bin" / "kubectl"
    making.run(str(kubectl), "kustomize", str(work), "-o", str(rendered), timeout_s=_RENDER_TIMEOUT_S)
    return rendered.read_text(encoding="utf-8")


def _chart(making: Making, source: Path, work: Path) -> str:
    options = making.item.options
    _copy(source, work, options["chart"])
    chart = work / options["chart"]
    template = chart / "values.tmpl.yaml"
    if template.is_file():
        values = substituted(template.read_text(encoding="utf-8"), dict(options.get("variables", {})))
        (chart / "values.yaml").write_text(values, encoding="utf-8")
    ours, rendered = work / "values.yaml", work / "chart.yaml"
    ours.write_text(yaml.safe_dump(options.get("values", {})), encoding="utf-8")
    renderer = making.part("module/envoy-gateway") / "bin" / "chart"
    release, namespace = options.get("release", making.item.name), options.get("namespace", "default")
    making.run(str(renderer), str(chart), release, namespace, str(ours), str(rendered), timeout_s=_RENDER_TIMEOUT_S)
    return rendered.read_text(encoding="utf-8")
