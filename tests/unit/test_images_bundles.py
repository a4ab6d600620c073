"""Bundles of manifests: upstream's documents word for word, those that must be established first apart."""

from __future__ import annotations

import pytest
import yaml

from harness.errors import PlatformError
from harness.images.bundles import kustomization, split, substituted

CRD = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}"
ROLE = "# why\nkind: ClusterRole\nmetadata: {name: b}"
NESTED = "kind: ConfigMap\ndata:\n  a: |\n    kind: CustomResourceDefinition"


def test_definitions_come_apart_from_what_uses_them() -> None:
    """A cluster refuses an object whose definition is not established yet."""
    assert split([f"---\n{CRD}\n---\n{ROLE}\n", f"{NESTED}\n"]) == ([f"{CRD}\n"], [f"{ROLE}\n", f"{NESTED}\n"])


def test_empty_documents_and_comments_are_left_out() -> None:
    """Charts print many of them."""
    assert split(["---\n# only a comment\n---   \n\n---\n"]) == ([], [])


def test_no_document_is_changed_by_splitting() -> None:
    """What is applied is what upstream wrote."""
    crds, objects = split([f"{CRD}\n---\n{ROLE}\n---\n{NESTED}\n"])
    assert [yaml.safe_load(each) for each in (*crds, *objects)] == [
        yaml.safe_load(f"{each}\n") for each in (CRD, ROLE, NESTED)
    ]


def test_the_values_of_a_chart_are_filled_in() -> None:
    """A chart in a module is the template of the one that is released."""
    assert substituted("image: ${Image}\npolicy: ${Policy}", {"Image": "a:1", "Policy": "Never"}) == (
        "image: a:1\npolicy: Never"
    )


def test_a_value_that_nobody_gives_is_an_error() -> None:
    """A new release that wants another value is noticed at the build, not in the cluster."""
    with pytest.raises(PlatformError, match=r"\$\{New\}"):
        substituted("image: ${New}", {"Image": "a:1"})


def test_a_kustomization_sets_the_namespace_only_where_one_is_given() -> None:
    """Roles of kube-system must stay there."""
    assert kustomization(["base"], "x", {"image": "v1"}) == {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["base"],
        "images": [{"name": "image", "newTag": "v1"}],
        "namespace": "x",
    }
    assert "namespace" not in kustomization(["base"], None, {})
