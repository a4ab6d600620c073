"""The node of a world without a cluster: replicas get what they request, or wait with the scheduler's words."""

from __future__ import annotations

import pytest

from harness.backends.embedded.node import Node
from harness.backends.inference_service import Resources
from harness.backends.node import NodeOptions
from harness.backends.quantities import requested
from harness.backends.scaling import GPU
from harness.errors import ConfigError


def test_what_is_used_up_is_not_given_again_until_it_is_given_back() -> None:
    """Two devices: two replicas get one each, the third one waits."""
    told: list[str] = []
    node = Node({"cpu": 4, GPU: 2})
    node.changed = lambda: told.append("room")
    assert [node.place(number, {GPU: 1}) for number in (1, 2)] == ["", ""]
    assert node.place(3, {GPU: 1}) == "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    node.release(1)
    assert told == ["room"]
    assert node.place(3, {GPU: 1}) == ""


def test_all_that_is_short_is_named_and_nothing_of_it_is_taken() -> None:
    node = Node({"cpu": 1, "memory": 100, GPU: 1})
    assert node.place(1, {"cpu": 2, "memory": 50, "example.com/tpu": 1}) == (
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/tpu."
    )
    assert node.place(2, {"cpu": 1, "memory": 100, GPU: 1}) == ""


def test_tenths_of_a_core_add_up_to_the_core() -> None:
    """0.1 * 10 is not 1.0 in floats; the tenth replica has its place all the same, the eleventh has none."""
    node = Node({"cpu": 1})
    assert all(node.place(number, {"cpu": 0.1}) == "" for number in range(10))
    assert "Insufficient cpu" in node.place(10, {"cpu": 0.1})


def test_declared_devices_are_there_for_a_block_and_who_has_one_keeps_it() -> None:
    node = Node({})
    with node.advertised(GPU, 1):
        assert node.place(1, {GPU: 1}) == ""
    assert "Insufficient" in node.place(2, {GPU: 1})
    node.release(1)
    assert "Insufficient" in node.place(2, {GPU: 1})


def test_a_limit_without_a_request_is_one() -> None:
    """As the API server has it; devices are given as limits."""
    assert requested(Resources(requests={"cpu": "250m"}, limits={GPU: 1, "cpu": 2})) == {"cpu": 0.25, GPU: 1}
    assert requested(None) == {}


def test_a_node_is_the_machine_unless_it_is_declared() -> None:
    assert NodeOptions().capacity()["cpu"] >= 1
    declared = NodeOptions(gpus=3, cpus=2.5, memory="1Gi").capacity()
    assert declared == {"cpu": 2.5, "memory": 2**30, GPU: 3}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"gpus": -1}, "node: gpus: expected at least 0, got -1"),
        ({"cpus": 0}, "node: cpus: expected a number above 0, got 0"),
        ({"memory": "lots"}, "node: memory: expected a quantity such as 8Gi, got 'lots'"),
        ({"sync_s": 0}, "node: sync_s: expected a number above 0, got 0"),
        ({"down_s": -1}, "node: down_s: expected at least 0, got -1"),
    ],
)
def test_a_node_that_makes_no_sense_is_one_clear_line(wrong: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        NodeOptions(**wrong)  # type: ignore[arg-type]
    assert error.value.message == told
