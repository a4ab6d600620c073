"""The Services that routes lead to: their port is one that every ready Pod of the revision has."""

from __future__ import annotations

import pytest

from harness.backends.kubernetes.entrances import AGENT_PORT, MODEL_PORT, entrance, port_of
from harness.backends.kubernetes.pods import Replica, replicas_of


def replica(revision: str = "v1", *, ready: bool = True, agent: bool = False) -> Replica:
    return Replica(name="pod", revision=revision, content="c", ready=ready, agent=agent)


@pytest.mark.parametrize(
    ("replicas", "logged", "port"),
    [
        pytest.param([replica()], False, MODEL_PORT, id="nothing is logged"),
        pytest.param([replica()], True, MODEL_PORT, id="the logger is wanted, and no Pod has an agent"),
        pytest.param([replica(), replica(agent=True)], True, MODEL_PORT, id="one Pod has none yet"),
        pytest.param(
            [replica(), replica(agent=True, ready=False)], True, MODEL_PORT, id="the one with it is not ready"
        ),
        pytest.param([replica(agent=True), replica(ready=False)], True, AGENT_PORT, id="the one without gets nothing"),
        pytest.param([replica(agent=True)], False, MODEL_PORT, id="the logger is to go, before Pods without it come"),
        pytest.param([replica("v2")], True, MODEL_PORT, id="no Pod at all"),
        pytest.param([replica(agent=True), replica("v2")], True, AGENT_PORT, id="another revision's Pods do not count"),
    ],
)
def test_the_agents_port_is_used_when_each_ready_pod_has_an_agent(
    replicas: list[Replica], logged: bool, port: int
) -> None:
    """And the model server's own, which every Pod has, at any other time."""
    assert port_of(replicas, "v1", logged=logged) == port


def test_a_pod_with_kserves_agent_is_told_apart() -> None:
    """By the name of the container."""
    labels = {"rehearsal.dev/revision": "v1"}
    pods = [
        {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": each} for each in containers]}}
        for name, containers in (("a", ["kserve-container"]), ("b", ["kserve-container", "agent"]))
    ]
    assert [found.agent for found in replicas_of(pods)] == [False, True]


def test_an_entrance_selects_one_revision_of_one_service() -> None:
    """By the labels that KServe's Pods carry; its name is none that KServe gives."""
    made = entrance("model", "production", "v2", AGENT_PORT, {"rehearsal.dev/run": "r"})
    assert made["metadata"] == {"name": "model--v2", "namespace": "production", "labels": {"rehearsal.dev/run": "r"}}
    assert made["spec"]["selector"] == {
        "serving.kserve.io/inferenceservice": "model",
        "rehearsal.dev/revision": "v2",
    }
    assert made["spec"]["ports"][0]["targetPort"] == AGENT_PORT
