"""The manifests: what the API would refuse of them, what they allow, and that they are what the matrix says."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import pytest

from harness.backends.document import parse
from harness.backends.kubernetes import access, arrows, pipeline_job, rehearsal_role
from harness.backends.kubernetes.arrows import Party, Place
from harness.backends.kubernetes.manifests import load
from harness.backends.kubernetes.rehearsal_role import CALL, Where
from harness.backends.kubernetes.world import SYSTEM
from harness.errors import CapabilityMissing
from harness.lifecycle.access import STAGES
from tests.unit import manifest_files
from tests.unit.manifest_files import MANIFESTS, OVERLAYS, Document, everything, problem, rendered

_ALL = everything()
_IDS = [f"{where}:{document['kind']}/{document['metadata']['name']}" for where, document in _ALL]
# What a transformer's container may do is held by the Pod Security of its namespace.
_FOR_EMBEDDED_TOO = "inferenceservice/example.yaml"


@pytest.fixture
def left_out(pytestconfig: pytest.Config) -> Callable[[str], NoReturn]:
    """Ends a test for which a schema or kubectl is missing: a skip, but a failure in kind, whose images bring both."""
    return pytest.fail if pytestconfig.getoption("--backend") == "kind" else pytest.skip


def test_every_file_below_manifests_holds_documents_of_the_api() -> None:
    """So that no check below passes because it found nothing to check."""
    empty = [path for path in manifest_files.sources() if not manifest_files.documents(path)]
    assert not empty
    assert {document["kind"] for _, document in _ALL} >= {
        "InferenceService", "LimitRange", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "ResourceQuota", "Role"
    }  # fmt: skip


@pytest.mark.parametrize(("where", "document"), _ALL, ids=_IDS)
def test_a_document_is_valid(where: str, document: Document, left_out: Callable[[str], NoReturn]) -> None:
    """By the schemas of the Kubernetes version that we run and, where they are built, of the custom resources."""
    try:
        assert problem(document) == ""
    except LookupError as missing:
        left_out(f"no schema of {missing} here: its module's bundle is not built (rehearse images build)")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_rendered_overlay_is_valid(overlay: str, left_out: Callable[[str], NoReturn]) -> None:
    """As it would be applied: patches and all."""
    found = _rendered(overlay, left_out)
    assert [line for each in found if _has_schema(each) and (line := problem(each))] == []
    if without := {each["kind"] for each in found if not _has_schema(each)}:
        left_out(f"no schema of {', '.join(sorted(without))} here; the other documents are valid")


@pytest.mark.parametrize("stage", STAGES)
def test_a_rendered_stage_lies_in_one_namespace_with_everything_that_holds_it(
    stage: str, left_out: Callable[[str], NoReturn]
) -> None:
    """Pod Security, a quota, limits, roles, denied connections, and a budget for disruptions."""
    found = _rendered(f"overlays/{stage}", left_out)
    kinds = {each["kind"] for each in found}
    assert kinds >= {"LimitRange", "NetworkPolicy", "PodDisruptionBudget", "ResourceQuota", "Role", "RoleBinding"}
    namespace = next(each for each in found if each["kind"] == "Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {each["metadata"].get("namespace", stage) for each in found} == {stage}
    assert namespace["name"] == stage
    denied = next(each for each in found if each["metadata"]["name"] == "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_gpu_overlay_asks_for_a_gpu_and_has_a_quota_of_them(left_out: Callable[[str], NoReturn]) -> None:
    """The other stages have none."""
    quotas, asked = {}, {}
    for name in ("staging", "production", "gpu"):
        found = {each["kind"]: each for each in _rendered(f"overlays/{name}", left_out)}
        quotas[name] = found["ResourceQuota"]["spec"]["hard"]["requests.nvidia.com/gpu"]
        resources = found["InferenceService"]["spec"]["predictor"]["model"]["resources"]
        asked[name] = resources["limits"].get("nvidia.com/gpu", "0")
    assert quotas == {"staging": "0", "production": "0", "gpu": "4"}
    assert asked == {"staging": "0", "production": "0", "gpu": "1"}


@pytest.mark.parametrize("overlay", ["overlays/staging", "overlays/production", "overlays/gpu"])
def test_the_platform_takes_the_service_of_an_overlay(overlay: str, left_out: Callable[[str], NoReturn]) -> None:
    """The InferenceService is the document that `platform.apply` reads."""
    document = next(each for each in _rendered(overlay, left_out) if each["kind"] == "InferenceService")
    document = {**document, "spec": {"predictor": {**document["spec"]["predictor"]}}}
    document["spec"]["predictor"].pop("tolerations", None)  # a matter of nodes, which no other world has
    assert parse(document).name == "high-utiliser"


def test_what_is_generated_is_up_to_date() -> None:
    """Roles, network policies and the tables of the documentation are what the code makes of the matrix."""
    generate = MANIFESTS.parent / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("docs_generate", generate)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    manifests: dict[Path, str] = module.generated_manifests()
    assert len(manifests) == 7
    assert {path: path.read_text(encoding="utf-8") for path in manifests} == manifests
    assert module.access_reference() in (generate.parent / "access.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("where", "document"), _ALL, ids=_IDS)
def test_nothing_runs_as_root(where: str, document: Document) -> None:
    """Each container is made non-root, without privileges to gain and without capabilities."""
    pods = [] if where == _FOR_EMBEDDED_TOO else list(_pods(document))
    assert [line for pod in pods for line in _unsafe(pod)] == []


@pytest.mark.parametrize(("where", "document"), _ALL, ids=_IDS)
def test_no_tag_can_move(where: str, document: Document) -> None:
    """A version as a tag, or a digest; never `latest`, never none."""
    assert [image for image in _images(document) if not _fixed(image)] == []


@pytest.mark.parametrize(
    ("image", "fixed"),
    [("a/b:v1.2", True), ("a/b@sha256:00", True), ("a/b", False), ("a/b:latest", False), ("localhost:5000/b", False)],
)
def test_a_moving_tag_is_told_from_a_fixed_one(image: str, fixed: bool) -> None:
    """A registry's port is no tag."""
    assert _fixed(image) is fixed


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"containers": [{"name": "a"}]}, "a: may run as root"),
        ({"hostNetwork": True, "containers": []}, "hostNetwork"),
        ({"containers": [{"name": "a", "securityContext": {"privileged": True}}]}, "a: privileged"),
        ({"securityContext": {"runAsUser": 0}, "containers": []}, "runAsUser 0"),
    ],
)
def test_an_unsafe_pod_is_noticed(pod: Document, said: str) -> None:
    """The check above sees what it is for."""
    assert any(said in line for line in _unsafe(pod))


def test_a_schema_of_a_custom_resource_refuses_what_it_does_not_know() -> None:
    """As the API server's strict validation does; where anything may stand, it does."""
    schema = {"type": "object", "properties": {"a": {"x-kubernetes-int-or-string": True}, "b": {"type": "object"}}}
    validator = jsonschema.Draft202012Validator(manifest_files.strict(schema))
    assert validator.is_valid({"a": "1", "b": {"c": 2}})
    assert not validator.is_valid({"d": 1})
    assert not validator.is_valid({"a": []})


def test_each_direction_of_an_arrow_is_in_the_policies_of_its_end() -> None:
    """A connection needs the source's egress and the target's ingress: an arrow with one of them would be none."""
    names = {
        place: {policy["metadata"]["name"]: policy["spec"] for policy in arrows.policies(place, "somewhere")}
        for place in (Place.MODELS, Place.SYSTEM, Place.PROXIES)
    }
    held = {party: spec for place in names.values() for party, spec in place.items() if party != "default-deny"}
    assert set(held) >= {"predictor", "gateway", "mlflow", "prometheus", "postgresql", "collector"}
    for arrow in arrows.ARROWS:
        for party, direction in ((arrow.source, "egress"), (arrow.target, "ingress")):
            if party.place in names and party is not arrows.CONTROL_PLANE:
                spec = names[party.place][arrows.slug(party)]
                ports = {port["port"] for rule in spec[direction] for port in rule["ports"]}
                assert ports >= set(arrow.ports), (arrow.why, direction)


def test_the_pods_that_we_make_carry_the_labels_of_their_parties() -> None:
    """A policy that selects labels which no Pod has would hold nobody, and be green."""
    documents = [document for name in ("system", "load") for document in load(MANIFESTS / name)]
    made = [(document, template) for document in documents if (template := _pods_of(document))]
    pods = [(place_of(document), template["metadata"]["labels"]) for document, template in made]
    steps = pipeline_job.Cluster("staging", "r", "http://s", "http://mlflow:5000")
    pods.append((Place.MODELS, pipeline_job.labels(steps, "p")))
    parties = {party.name: party for arrow in arrows.ARROWS for party in (arrow.source, arrow.target) if party.labels}
    ours = [arrows.STEP, arrows.LOAD, arrows.OWN_MLFLOW, arrows.CONTROL_PLANE]
    ours += [party for party in parties.values() if party.place is Place.SYSTEM]
    labelled = [Party("a Pod", place, labels) for place, labels in pods]
    assert [party.name for party in ours if not any(arrows.covers(party, pod) for pod in labelled)] == []


def place_of(document: Any) -> Place:
    """Where a workload's Pods are; one without a namespace of the platform's is made beside the models."""
    places = {SYSTEM: Place.SYSTEM, arrows.PROXIES: Place.PROXIES}
    return places.get(document["metadata"].get("namespace", ""), Place.MODELS)


def _pods_of(document: Any) -> Any:
    """What the Pods of a workload are made from; nothing for other documents."""
    workload = document.get("kind") in ("Deployment", "StatefulSet", "Job")
    return document["spec"]["template"] if workload else None


def test_the_role_of_a_run_holds_in_namespaces_alone() -> None:
    """It makes no namespaces, reads no Secrets, and changes nothing of what holds a namespace in check."""
    documents = [*rehearsal_role.shared(), *rehearsal_role.documents(Where.GIVEN, "team-a")]
    assert {document["kind"] for document in documents} == {"ServiceAccount", "Role", "RoleBinding"}
    names = {grant.resource.name for grant in rehearsal_role.GRANTS}
    assert not names & {"secrets", "namespaces", "roles", "rolebindings", "serviceaccounts", "serviceaccounts/token"}
    guards = ("resourcequotas", "limitranges", "networkpolicies")
    only_read = [grant for grant in rehearsal_role.GRANTS if grant.resource.name in guards]
    only_read += [grant for grant in rehearsal_role.GRANTS if grant.where is not Where.GIVEN and grant.verbs != CALL]
    assert all(set(grant.verbs) <= {"get", "list", "watch"} for grant in only_read)


def test_nobody_may_change_what_holds_a_namespace_or_act_as_another() -> None:
    """In the matrix that manifests, tests and documentation come from."""
    guards = {"resourcequotas", "limitranges", "networkpolicies", "roles", "rolebindings", "serviceaccounts"}
    held = guards | {"secrets", "serviceaccounts/token", "pods/exec"}
    changing = {"create", "update", "patch", "delete", "deletecollection"}
    for stage in STAGES:
        granted = {(cell.resource.name, cell.verb) for cell in access.cells(stage) if cell.allowed}
        assert not [cell for cell in granted if cell[0] in held and cell[1] in changing]
        assert not [cell for cell in granted if cell[1] == "deletecollection"]


def test_only_release_changes_the_services_of_production() -> None:
    """Whatever else the matrix says."""
    changers = {
        cell.role
        for cell in access.cells("production")
        if cell.allowed and cell.resource.name == "inferenceservices" and cell.verb in ("create", "patch", "delete")
    }
    assert changers == {"release"}


def _rendered(overlay: str, left_out: Callable[[str], NoReturn]) -> list[Document]:
    try:
        return rendered(overlay)
    except CapabilityMissing as missing:
        left_out(f"{missing}; each document was checked alone")


def _has_schema(document: Document) -> bool:
    try:
        problem(document)
    except LookupError:
        return False
    return True


def _pods(node: Any) -> Iterator[Document]:
    """Every mapping that is a Pod's spec, a runtime's, a storage container's or a proxy's."""
    if isinstance(node, dict):
        if isinstance(node.get("containers"), list):
            yield node
        elif isinstance(node.get("container"), dict):
            yield {**node.get("pod", {}), "containers": [{"name": "container", **node["container"]}]}
        for key, value in node.items():
            if key != "patch":  # the change of a Pod that is made elsewhere
                yield from _pods(value)
    elif isinstance(node, list):
        for value in node:
            yield from _pods(value)


def _unsafe(pod: Document) -> Iterator[str]:
    shared = pod.get("securityContext", {})
    yield from (f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    yield from ("hostPath" for volume in pod.get("volumes", []) if "hostPath" in volume)
    if shared.get("runAsUser") == 0:
        yield "runAsUser 0"
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext", {})
        if not own.get("runAsNonRoot", shared.get("runAsNonRoot")) or own.get("runAsUser") == 0:
            yield f"{container['name']}: may run as root"
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']}: privileged, or may gain privileges"
        if "ALL" not in own.get("capabilities", {}).get("drop", []) or own["capabilities"].get("add"):
            yield f"{container['name']}: capabilities"


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from _images(value)
    elif isinstance(node, list):
        for value in node:
            yield from _images(value)


def _fixed(image: str) -> bool:
    return bool(re.search(r"@sha256:|:(?!latest$)[\w][\w.-]*$", image))
