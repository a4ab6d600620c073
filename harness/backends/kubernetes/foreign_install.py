"""What --install brings to a cluster that is not ours: what it lacks, from its registry, with no port on its nodes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.backends.kubernetes.detect import Found
from harness.backends.kubernetes.install import INSTALLED, Installer, Told, prepare
from harness.backends.kubernetes.manifests import Component, Object, closure, components
from harness.backends.kubernetes.metrics import prometheus_values
from harness.backends.kubernetes.registry import in_registry
from harness.backends.kubernetes.world import SYSTEM
from harness.errors import AccessDenied
from harness.runtime.clock import Deadline
from harness.runtime.paths import data_folder

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

INSTALL_S = 300.0
BEGUN = "begun"
"""Of the ConfigMap that says what is installed: what an --install brings, until its end."""


def install(kube: Kube, found: Found, told: Told, *, image_prefix: str = "") -> list[str]:
    """Bring the components that a cluster lacks, and say which; they stay.

    Errors: AccessDenied for who is no administrator, ConfigError for an image that the cluster cannot pull.
    """
    from harness import images

    if not kube.allowed("create", "customresourcedefinitions", group="apiextensions.k8s.io"):
        raise AccessDenied(
            "Not allowed: create customresourcedefinitions.apiextensions.k8s.io", hint="--install needs cluster-admin"
        )
    known = components(data_folder("manifests") / "system")
    noted = (kube.find("v1/ConfigMap", INSTALLED, SYSTEM) or {}).get("data") or {}
    names = to_bring(found.there(), known, json.loads(noted.get(BEGUN, "[]")))
    if not names:
        return []
    deadline = Deadline.after(INSTALL_S)
    prepare(kube, deadline)
    # A component that was brought once and is gone must not count as installed.
    kube.patch("v1/ConfigMap", INSTALLED, {"data": {**dict.fromkeys(names), BEGUN: json.dumps(names)}}, SYSTEM)
    installer = Installer(
        kube,
        without_needs(names, known),
        images.bundle,
        values=prometheus_values(),
        told=told,
        adapt=lambda document: off_the_nodes(in_registry(document, image_prefix)),
    )
    try:
        installer.install(names, deadline)
    finally:
        installer.stop()
    kube.patch("v1/ConfigMap", INSTALLED, {"data": {BEGUN: None}}, SYSTEM)
    return names


def to_bring(there: Mapping[str, bool], known: Mapping[str, Component], begun: Collection[str]) -> list[str]:
    """The components to be applied: those that are lacking, and what they need that is not there.

    `begun`: what an --install was bringing that did not come to its end; half of it may look as if it were all there.
    """
    wanted = [name for name in known if name in begun or not there.get(name, True)]
    present = [name for name, is_there in there.items() if is_there and name not in wanted]
    needless = set(closure(present, known)) - set(wanted)
    return [name for name in closure(wanted, known) if name not in needless]


def without_needs(names: Collection[str], known: Mapping[str, Component]) -> dict[str, Component]:
    """These components, as if what is there already were not needed: it is its owner's, and not touched."""
    return {
        name: replace(known[name], needs=tuple(need for need in known[name].needs if need in names)) for name in names
    }


def off_the_nodes(document: Object) -> Object:
    """A document that opens no port on the nodes: in the kind world they lead to this machine, here to everybody."""
    spec = document.get("spec", {})
    if document["kind"] == "Service" and spec.get("type") == "NodePort":
        ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec["ports"]]
        return {**document, "spec": {**spec, "type": "ClusterIP", "ports": ports}}
    if document["kind"] == "EnvoyProxy":
        provider = spec["provider"]
        kubernetes = {**provider["kubernetes"], "envoyService": {"type": "ClusterIP"}}
        return {**document, "spec": {**spec, "provider": {**provider, "kubernetes": kubernetes}}}
    return document
