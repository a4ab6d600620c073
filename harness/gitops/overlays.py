"""The desired state as Kustomize has it: a base, and an overlay an environment. Pure: texts in, documents out.

    base/kustomization.yaml, base/<service>.yaml            what all environments share
    environments/<name>/kustomization.yaml, <service>.yaml  the namespace, and a merge patch: version and size
    environments/<name>/rollout.toml                        how a new version is released there; without it at once

`kubectl apply -k environments/production` and Argo CD understand the same files; here only what is above is honoured,
and everything else is refused by its name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from harness.backends.document import parse
from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes.manifests import merged
from harness.errors import ConfigError, DocumentError, UsageError
from harness.lifecycle.rollout import Policy, parse_policy

Files = Mapping[str, str]
"""Path in the repository -> text."""

BASE, ENVIRONMENTS = "base", "environments"
KUSTOMIZATION, ROLLOUT = "kustomization.yaml", "rollout.toml"
MANAGED = "rehearsal.dev/managed-by"
GITOPS = "gitops"
_ALLOWED = {"apiVersion", "kind", "namespace", "resources", "patches"}
_MODEL_URI = re.compile(r"models:/([^/@]+)/(\d+)")


@dataclass(frozen=True)
class Pinned:
    """One version of a registered model, as a document names it."""

    name: str
    version: int

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def environments(files: Files) -> list[str]:
    """The environments that the repository has."""
    return sorted({PurePosixPath(path).parts[1] for path in files if path.startswith(f"{ENVIRONMENTS}/")})


def render(files: Files, environment: str) -> list[InferenceService]:
    """The documents of an environment. Errors: DocumentError with the file and the field."""
    folder = f"{ENVIRONMENTS}/{environment}"
    overlay = _kustomization(files, folder)
    if overlay.get("namespace") != environment:
        raise DocumentError(
            f"{folder}/{KUSTOMIZATION}: namespace: expected {environment!r}, as the folder is called, "
            f"got {overlay.get('namespace')!r}"
        )
    documents = {_title(each): each for each in _resources(files, folder, overlay)}
    for path in _patches(folder, overlay):
        patch = _yaml(files, path)
        if _title(patch) not in documents:
            known = ", ".join(sorted(documents)) or "none"
            raise DocumentError(f"{path}: patches {_title(patch)}, which the base has not; it has: {known}")
        documents[_title(patch)] = merged(documents[_title(patch)], patch)
    return [_parsed(document, environment) for document in documents.values()]


def rollout(files: Files, environment: str) -> Policy | None:
    """How a new version is released in an environment; None: at once. ConfigError for a policy that is none."""
    path = f"{ENVIRONMENTS}/{environment}/{ROLLOUT}"
    if path not in files:
        return None
    try:
        return parse_policy(tomllib.loads(files[path]), path)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def pinned(document: InferenceService) -> Pinned:
    """The version that a document serves. DocumentError unless it is models:/<name>/<version>."""
    uri = document.spec.predictor.model.storage_uri
    found = _MODEL_URI.fullmatch(uri)
    if found is None:
        raise DocumentError(
            f"{document.namespace}/{document.name}: spec.predictor.model.storageUri: expected models:/<name>/<version> "
            f"(an alias moves without a commit), got {uri!r}"
        )
    return Pinned(found[1], int(found[2]))


def patch_of(service: str, version: Pinned, *, replicas: int | None = None) -> str:
    """The overlay's patch of a service: its version and, if given, its replicas."""
    predictor: dict[str, Any] = {"name": f"v{version.version}", "model": {"storageUri": version.uri}}
    if replicas is not None:
        predictor["minReplicas"] = replicas
    return yaml.safe_dump(_document(service, {"predictor": predictor}), sort_keys=False)


def with_version(files: Files, environment: str, service: str, version: Pinned) -> dict[str, str]:
    """The changed file of a commit that gives a service another version; its size stays."""
    path = f"{ENVIRONMENTS}/{environment}/{service}.yaml"
    patch = _yaml(files, path)
    change = yaml.safe_load(patch_of(service, version))
    return {path: yaml.safe_dump(merged(patch, change), sort_keys=False)}


def first_files(service: str, versions: Mapping[str, Pinned], replicas: Mapping[str, int]) -> dict[str, str]:
    """A repository's first files: one service in every environment that is named."""
    any_version = next(iter(versions.values()))
    predictor = {"minReplicas": 1, "model": {"modelFormat": {"name": "mlflow"}, "protocolVersion": "v2"}}
    files = {
        f"{BASE}/{KUSTOMIZATION}": _kustomize({"resources": [f"{service}.yaml"]}),
        f"{BASE}/{service}.yaml": yaml.safe_dump(
            merged(_document(service, {"predictor": predictor}), yaml.safe_load(patch_of(service, any_version))),
            sort_keys=False,
        ),
    }
    for environment, version in versions.items():
        folder = f"{ENVIRONMENTS}/{environment}"
        files[f"{folder}/{KUSTOMIZATION}"] = _kustomize(
            {"namespace": environment, "resources": [f"../../{BASE}"], "patches": [{"path": f"{service}.yaml"}]}
        )
        files[f"{folder}/{service}.yaml"] = patch_of(service, version, replicas=replicas.get(environment, 1))
    return files


def _document(service: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": service},
        "spec": dict(spec),
    }


def _kustomize(content: Mapping[str, Any]) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return yaml.safe_dump({**head, **content}, sort_keys=False)


def _kustomization(files: Files, folder: str) -> dict[str, Any]:
    path = f"{folder}/{KUSTOMIZATION}"
    found = _yaml(files, path)
    if unknown := sorted(set(found) - _ALLOWED):
        raise DocumentError(f"{path}: {unknown[0]}: not honoured here (honoured: {', '.join(sorted(_ALLOWED))})")
    return found


def _resources(files: Files, folder: str, kustomization: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for entry in kustomization.get("resources", []):
        path = _joined(folder, str(entry))
        if f"{path}/{KUSTOMIZATION}" in files:
            found += _resources(files, path, _kustomization(files, path))
        else:
            found.append(_yaml(files, path))
    return found


def _patches(folder: str, kustomization: Mapping[str, Any]) -> list[str]:
    entries = kustomization.get("patches", [])
    if wrong := [entry for entry in entries if not isinstance(entry, Mapping) or set(entry) != {"path"}]:
        raise DocumentError(f"{folder}/{KUSTOMIZATION}: patches: expected entries of one key, path, got {wrong[0]!r}")
    return [_joined(folder, entry["path"]) for entry in entries]


def _joined(folder: str, entry: str) -> str:
    """A path that an entry of a kustomization means; it may not lead out of the repository."""
    parts: list[str] = []
    for part in (*PurePosixPath(folder).parts, *PurePosixPath(entry).parts):
        if part == ".." and not parts:
            raise DocumentError(f"{folder}/{KUSTOMIZATION}: {entry}: leads out of the repository")
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _yaml(files: Files, path: str) -> dict[str, Any]:
    if path not in files:
        raise DocumentError(f"{path}: no such file")
    try:
        found = yaml.safe_load(files[path])
    except yaml.YAMLError as error:
        raise DocumentError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise DocumentError(f"{path}: expected one mapping")
    return found


def _title(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{document.get('kind')}/{name}"


def _parsed(document: Mapping[str, Any], environment: str) -> InferenceService:
    metadata = {**document["metadata"], "namespace": environment}
    metadata["labels"] = {**metadata.get("labels", {}), MANAGED: GITOPS}
    try:
        return parse({**document, "metadata": metadata})
    except UsageError as error:
        raise DocumentError(f"{ENVIRONMENTS}/{environment}: {error.message}", hint=error.hint) from None
