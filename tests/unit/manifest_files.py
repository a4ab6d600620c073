"""The YAML below manifests/: read, rendered, and held against the schemas of the API."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from harness import images
from harness.backends.kubernetes.manifests import components, fill
from harness.errors import CapabilityMissing
from harness.runtime.paths import find_program

Document = dict[str, Any]
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
OVERLAYS = ("overlays/staging", "overlays/production", "overlays/gpu", "network/system", "network/gateway")
KUBERNETES = "1.34"
_NO_DOCUMENTS = ("kustomization.yaml", "component.yaml")
_RENDER_S = 60


def sources() -> list[Path]:
    """Every YAML file below manifests/ that holds documents of the API."""
    return [path for path in sorted(MANIFESTS.rglob("*.y*ml")) if path.name not in _NO_DOCUMENTS]


def documents(path: Path) -> list[Document]:
    """The documents of a file as they are applied: with something in each of their places."""
    found = yaml.safe_load_all(path.read_text(encoding="utf-8").replace('"{port}"', "30100"))
    return [fill(each, {"id": "a1b2c3d4"}) for each in found if isinstance(each, dict) and "kind" in each]


def everything() -> list[tuple[str, Document]]:
    """Every document with its file's name."""
    return [(str(path.relative_to(MANIFESTS)), each) for path in sources() for each in documents(path)]


def kubectl() -> Path | None:
    """The kubectl that `rehearse images build` made, else the one on PATH."""
    try:
        return images.program("kubectl")
    except CapabilityMissing:
        return find_program("kubectl")


@cache
def rendered(overlay: str) -> list[Document]:
    """What `kubectl kustomize` makes of a folder below manifests/; CapabilityMissing without a kubectl."""
    program = kubectl()
    if program is None:
        raise CapabilityMissing("rendering: no kubectl here", hint="rehearse images build kubectl, or put one on PATH")
    argv = [str(program), "kustomize", str(MANIFESTS / overlay)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_RENDER_S, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def problem(document: Mapping[str, Any]) -> str:
    """What the API would refuse of a document, unknown fields included; LookupError for a kind without a schema."""
    try:
        kubernetes_validate.validate(dict(document), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return _said(document, error)
    except kubernetes_validate.SchemaNotFoundError:
        key = (document["apiVersion"], document["kind"])
        if key not in (known := custom_schemas()):
            raise LookupError("/".join(key)) from None
        errors = jsonschema.Draft202012Validator(known[key]).iter_errors(dict(document))
        return next((_said(document, error) for error in errors), "")
    return ""


def _said(document: Mapping[str, Any], error: jsonschema.ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{document['kind']}/{document['metadata']['name']}: {where}: {error.message}"


@cache
def custom_schemas() -> dict[tuple[str, str], Any]:
    """The schemas of the custom resources whose definitions have been built here: (apiVersion, kind) -> schema."""
    names = {bundle.name for component in components(MANIFESTS / "system").values() for bundle in component.bundles}
    return {
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): strict(_body(version))
        for name in sorted(names)
        for crd in definitions(name)
        for version in crd["spec"]["versions"]
    }


def definitions(bundle: str) -> Iterator[Document]:
    """The CustomResourceDefinitions of a bundle ("name/file"); none where it has not been built."""
    name, _, file = bundle.partition("/")
    try:
        folder = images.bundle(name)
    except CapabilityMissing:
        return
    found = yaml.load_all((folder / f"{file}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    yield from (each for each in found if each and each["kind"] == "CustomResourceDefinition")


def _body(version: Mapping[str, Any]) -> Any:
    schema = version["schema"]["openAPIV3Schema"]
    metadata = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {**schema, "properties": {**schema["properties"], "metadata": metadata}}


def strict(schema: Any) -> Any:
    """An OpenAPI schema of a custom resource as JSON Schema: unknown fields refused, int-or-string and null known."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: strict(value) for key, value in schema.items() if key not in ("properties", "default", "enum")}
    if "enum" in schema:
        made["enum"] = [*schema["enum"], *([None] if schema.get("nullable") else [])]
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            # Within allOf, anyOf and oneOf a schema lists only some of the fields.
            made["additionalProperties"] = schema.get("type") != "object"
    if "modelFormat" in schema.get("properties", {}) and "required" in schema:
        # KServe's webhook gives the container of a model its name before the API server looks for one.
        made["required"] = [name for name in schema["required"] if name != "name"]
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        made["type"] = [schema["type"], "null"]
    return made
