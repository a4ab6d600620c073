"""The objects of an API server: apply, read, patch, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.clients._kubernetes_http import ApiServer, failure
from harness.errors import PlatformError, RequestFailed
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

Object = dict[str, Any]
_Objects = list[Object]
MANAGER = "rehearsal"


@dataclass(frozen=True)
class Resource:
    """Where the objects of a kind lie."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        where = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return self.prefix + where + "".join(f"/{part}" for part in (self.plural, name, subresource) if part)

    def named(self, namespace: str | None, name: str = "") -> str:
        """The resource for errors: "pods of namespace x" and which."""
        group = self.prefix.split("/")[2] if self.prefix.startswith("/apis/") else ""
        resource = f"{self.plural}.{group}" if group else self.plural
        return resource + (f" {name!r}" if name else "") + (f" in namespace {namespace!r}" if namespace else "")


class Objects:
    """Calls on objects by kind and name."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._resources: dict[str, Resource] = {}

    def apply(self, document: Mapping[str, Any], *, dry_run: bool = False, deadline: Deadline | None = None) -> Object:
        """Server-side apply as field manager "rehearsal", taking over fields that others manage; the applied object.

        With a deadline, a webhook that does not answer yet and a kind that is not served yet are tried again.
        """
        if deadline is None:
            return self._apply(document, dry_run)
        last = RequestFailed("not tried yet")

        def applied() -> Object | None:
            nonlocal last
            try:
                return self._apply(document, dry_run)
            except RequestFailed as error:
                if not _transient(error):
                    raise
                last = error
                return None

        name = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
        return wait(applied, what=f"applying {name}", deadline=deadline, state=lambda: str(last), every_s=0.25)

    def apply_all(self, documents: Iterable[Mapping[str, Any]], *, deadline: Deadline | None = None) -> _Objects:
        """Apply documents in their order."""
        return [self.apply(document, deadline=deadline) for document in documents]

    def create(self, document: Mapping[str, Any], *, subresource: str = "", name: str = "") -> Object:
        """Create an object (its name may be generated), or POST to a subresource, such as a token, of `name`."""
        resource, namespace = self._resource(kind_of(document)), _namespace(document)
        what = resource.named(namespace, name)
        return self._object("POST", resource.path(namespace, name, subresource), body=document, what=what)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """One object; RequestFailed with status 404 if it is not there."""
        resource = self._resource(kind)
        return self._object("GET", resource.path(namespace, name), what=resource.named(namespace, name))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None; None also if its kind is not served here."""
        try:
            return self.get(kind, name, namespace)
        except RequestFailed as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> _Objects:
        """Objects of a kind in a namespace (None: in all), by label and field selectors; kind and apiVersion set."""
        return self._list(kind, namespace, labels, fields)[0]

    def patch(
        self,
        kind: str,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str = "",
    ) -> Object:
        """A JSON merge patch of an object or of one of its subresources (status, scale)."""
        resource = self._resource(kind)
        path, what = resource.path(namespace, name, subresource), resource.named(namespace, name)
        return self._object("PATCH", path, body=patch, content="application/merge-patch+json", what=what)

    def delete(
        self, kind: str, name: str, namespace: str | None = None, *, grace_s: int | None = None, orphan: bool = False
    ) -> bool:
        """Delete an object; whether it was there. What it owns goes after it, or stays with `orphan`."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        body["propagationPolicy"] = "Orphan" if orphan else "Background"
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            resource = self._resource(kind)
            path, what = resource.path(namespace, name), resource.named(namespace, name)
            self._object("DELETE", path, body=body, what=what)
        except RequestFailed as error:
            if error.status == 404:
                return False
            raise
        return True

    def delete_all(self, kind: str, namespace: str | None, *, labels: str) -> int:
        """Delete the objects that a label selector names (it may not be empty), one by one; how many there were."""
        if not labels:
            raise PlatformError(f"A label selector is needed to delete {kind} objects.")
        found = self.list(kind, namespace, labels=labels)
        for item in found:
            self.delete(kind, item["metadata"]["name"], item["metadata"].get("namespace"))
        return len(found)

    def _apply(self, document: Mapping[str, Any], dry_run: bool) -> Object:
        resource, namespace = self._resource(kind_of(document)), _namespace(document)
        name = document["metadata"]["name"]
        query = {"fieldManager": MANAGER, "force": True, "dryRun": "All" if dry_run else None}
        content, what = "application/apply-patch+yaml", resource.named(namespace, name)
        return self._object(
            "PATCH", resource.path(namespace, name), query=query, body=document, content=content, what=what
        )

    def _list(self, kind: str, namespace: str | None, labels: str, fields: str) -> tuple[_Objects, str]:
        resource = self._resource(kind)
        query, what = selectors(labels, fields), resource.named(namespace)
        found = self._object("GET", resource.path(namespace), query=query, what=what)
        version, _, name = kind.rpartition("/")
        items = [{"apiVersion": version, "kind": name, **item} for item in found["items"]]
        return items, str(found["metadata"]["resourceVersion"])

    def _object(self, method: str, path: str, **options: Any) -> Object:
        found: Object = self.server.json(method, path, **options)
        return found

    def _resource(self, kind: str) -> Resource:
        if kind not in self._resources:
            version, _, name = kind.rpartition("/")
            prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for found in self.server.json("GET", prefix)["resources"]:
                if "/" not in found["name"]:
                    resource = Resource(prefix, found["name"], bool(found["namespaced"]))
                    self._resources[f"{version}/{found['kind']}"] = resource
            if kind not in self._resources:
                raise failure("GET", f"{kind} (the server knows no such kind in {version})", 404, name)
        return self._resources[kind]


def kind_of(document: Mapping[str, Any]) -> str:
    """The kind of a document, as Kube takes it."""
    return f"{document['apiVersion']}/{document['kind']}"


def _transient(error: RequestFailed) -> bool:
    late_webhook = error.status == 500 and "failed calling webhook" in error.message
    return error.status in (None, 404, 429, 503) or late_webhook


def _namespace(document: Mapping[str, Any]) -> str | None:
    namespace: str | None = document.get("metadata", {}).get("namespace")
    return namespace


def selectors(labels: str, fields: str) -> dict[str, Any]:
    """The query of a list by label and field selectors."""
    return {"labelSelector": labels or None, "fieldSelector": fields or None}
