"""Every cell of the access matrix, tried with the real tokens of real service accounts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from harness.backends.kubernetes import access
from harness.backends.kubernetes.access import Cell
from harness.backends.kubernetes.world import MANAGED_BY, MANAGER
from harness.clients.kubernetes import Kube
from harness.lifecycle.access import ROLES, STAGES
from tests.kubernetes.access_lab import Outcome, ask, path, with_token


@pytest.fixture(scope="module")
def admin(kind_cluster: Any) -> Iterator[Kube]:
    with Kube.connect(kind_cluster.kubeconfig_path, kind_cluster.context) as kube:
        yield kube


@pytest.fixture(scope="module")
def namespaces(admin: Kube) -> Iterator[Mapping[str, str]]:
    """A namespace for each stage, with its roles; stage -> name."""
    suffix = uuid.uuid4().hex[:8]
    names = {stage: f"access-{stage}-{suffix}" for stage in STAGES}
    try:
        for stage, name in names.items():
            labels = {MANAGED_BY: MANAGER}
            admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
            admin.apply_all(access.documents(stage, name))
        yield names
    finally:
        for name in names.values():
            admin.delete("v1/Namespace", name)


@pytest.fixture(scope="module")
def served(admin: Kube, every_kind: bool) -> frozenset[str]:
    """The groups of the matrix that this cluster has resources of; all of them where they can be installed."""
    groups = {row.resource.group for row in access.MATRIX}
    there = {item["name"] for item in admin.server.json("GET", "/apis")["groups"]}
    assert not every_kind or groups - {""} <= there
    return frozenset(groups & there | {""})


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_in_its_stage_what_the_matrix_says_and_nothing_else(
    admin: Kube, namespaces: Mapping[str, str], served: frozenset[str], role: str, stage: str
) -> None:
    """Each verb of each resource: past RBAC where the cell allows it, refused by RBAC for that verb where not."""
    namespace = namespaces[stage]
    cells = [cell for cell in access.cells(stage) if cell.role == role]
    with with_token(admin, namespace, role) as kube:
        outcomes = {cell: ask(kube, cell, namespace) for cell in cells}
    wrong = [line for cell, outcome in outcomes.items() if (line := _wrong(cell, outcome, served))]
    assert wrong == []
    assert {cell.allowed for cell in cells} == {True, False}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("account", [*ROLES, "default"])
def test_what_a_role_may_do_ends_with_its_stage(
    admin: Kube, namespaces: Mapping[str, str], account: str, stage: str
) -> None:
    """A role's account of one stage may do nothing at all in the other; an account without a role, nowhere."""
    homes = [namespaces[stage]] if account == "default" else [namespaces[other] for other in STAGES if other != stage]
    cells = [cell for cell in access.cells(stage) if cell.role == ROLES[0]]
    with with_token(admin, homes[0], account) as kube:
        let_past = [cell for cell in cells if not ask(kube, cell, namespaces[stage]).refused]
    assert let_past == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_nothing_to_the_whole_cluster(
    admin: Kube, namespaces: Mapping[str, str], served: frozenset[str], role: str
) -> None:
    """Neither to nodes, roles of the cluster, definitions and webhooks, nor to what is in every namespace."""
    cells = [cell for cell in access.cluster_cells() if cell.role == role]
    with with_token(admin, namespaces["production"], role) as kube:
        let_past = [cell for cell in cells if not ask(kube, cell, "").refused]
    assert let_past == []
    assert {cell.verb for cell in cells} == set(access.VERBS)


@pytest.mark.parametrize("role", ROLES)
def test_a_person_may_do_what_the_service_account_of_the_role_may(
    admin: Kube, namespaces: Mapping[str, str], role: str
) -> None:
    """People come by the group rehearsal:<role>; the API server's own review is asked: nobody can sign in here."""
    differing = [
        (stage, cell)
        for stage in STAGES
        for cell in access.cells(stage)
        if cell.role == role and _person_may(admin, cell, namespaces[stage]) != cell.allowed
    ]
    assert differing == []


def _wrong(cell: Cell, outcome: Outcome, served: frozenset[str]) -> str:
    """What is not as the matrix says; nothing named `tried` is there, so 404 is what a call of it gets past RBAC."""
    what = f"{cell.role}: {cell.verb} {path(cell.resource, cell.verb, cell.stage)}: {outcome}"
    if not cell.allowed:
        return "" if outcome.refused else f"let past {what}"
    if cell.resource.group not in served:
        expected = {404}
    elif cell.verb in ("list", "watch"):
        expected = {200}
    elif cell.verb == "create":
        expected = {201}
    else:
        expected = {404}
    by_webhook = outcome.status in (400, 403) and "admission webhook" in outcome.message
    return "" if outcome.status in expected or by_webhook else f"not let past {what}"


def _person_may(admin: Kube, cell: Cell, namespace: str) -> bool:
    plural, _, subresource = cell.resource.name.partition("/")
    asked = {"verb": cell.verb, "group": cell.resource.group, "resource": plural, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "somebody",
            "groups": [f"rehearsal:{cell.role}"],
            "resourceAttributes": {**asked, **({"subresource": subresource} if subresource else {})},
        },
    }
    answer = admin.server.json("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)
    return bool(answer["status"]["allowed"])
