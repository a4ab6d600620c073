"""From zero in containers: who holds the first requests is a container as well, and may die like one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from harness import Platform
from harness.backends.containers.session import ContainerSession
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.events import Event
from harness.runtime.wait import wait
from harness.service import inference_service


def test_when_the_activator_dies_what_waits_fails_by_name_and_the_next_is_served(
    containers_world: ContainerSession, platform: Platform, high_utiliser: Dataset
) -> None:
    """Killed while requests wait in it: it is started again as its recipe says, and holds what comes from then on."""
    events: list[Event] = []
    platform.run.events.listen(events.append)
    model = platform.train(high_utiliser, max_depth=2, runner="local")
    document = inference_service(model, name=model.name, namespace="production", replicas=1)
    service = platform.apply(document.with_autoscaling(2, metric="rps", target=20, least=0), model=model)
    with platform.scaling(service) as scaling:
        scaling.wait_ready(0, Deadline.after(60))
        with ThreadPoolExecutor(1) as aside:  # a load has begun when its first request is answered
            killed = aside.submit(kill_once_needed, platform, events)
            with platform.load(service, rps=5) as load:
                scaling.wait_ready(1, Deadline.after(60))
        killed.result()
        scaling.wait_ready(0, Deadline.after(60))
        assert len(service.predict(platform.sample(model, [{"name": "one", "rows": 1}])["one"]["rows"])) == 1
    restarted = [event.message for event in events if event.kind == "component.restarted"]
    assert restarted == ["activator was killed by signal 9; started again (1 of 3)"]
    refused = {name: count for name, count in load.ledger.classes.items() if name.startswith("refused:U")}
    assert refused["refused:UC"] > 0, "what waited, and no other"
    assert sum(refused.values()) == load.ledger.lost == load.ledger.overall.failed < load.ledger.sent / 2
    assert load.ledger.unexplained == 0


def kill_once_needed(platform: Platform, events: list[Event]) -> None:
    """Kill the activator as soon as a replica was asked for because somebody waits in it."""

    def woken() -> bool:
        return any(event.kind == "service.scaled" and "wait" in event.message for event in events)

    wait(woken, what="a request waits", deadline=Deadline.after(60))
    next(child for child in platform.backend.supervisor.children() if child.name == "activator").kill()
