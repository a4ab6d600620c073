"""The traffic router's order: what it does next, and what it never does, whatever is asked for and whatever dies."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backends.assignment import HeaderSplit, UserSplit
from harness.backends.kubernetes.plan import Route, Routing, Shape, Tell, View, Wanted, done, plan, to_hundred


@dataclass
class Cluster:
    """A cluster in which a revision that is told becomes ready when the test says so."""

    view: View = field(default_factory=View)
    broken: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def settle(self, wanted: Wanted, most: int = 40) -> None:
        """Do what is planned until nothing is; everything that is told and not broken becomes ready at once."""
        for _ in range(most):
            self._breathe()
            step = plan(wanted, self.view)
            if step is None:
                return
            self.do(step)
        raise AssertionError(f"no end: {self.steps}")

    def do(self, step: Tell | Route) -> None:
        if isinstance(step, Tell):
            self._tell(step.shape)
        else:
            self._route(step.routing)

    def kill(self, revision: str) -> None:
        self.broken.add(revision)
        self._breathe()

    def heal(self, revision: str) -> None:
        self.broken.discard(revision)
        self._breathe()

    def _breathe(self) -> None:
        told = self.view.told.revisions if self.view.told else ()
        up = frozenset(name for name in told if name not in self.broken)
        reached = frozenset(name for name in self.view.routing.listed if name in up) | (self.view.reached & set(told))
        self.view = replace(self.view, ready=up, alive=up, reached=reached)

    def _tell(self, shape: Shape) -> None:
        self.steps.append(f"tell {' '.join(shape.revisions)}")
        gone = set(self.view.told.revisions if self.view.told else ()) - set(shape.revisions)
        self.lost += [name for name in gone if self.view.routing.exposes(name)]
        self.view = replace(self.view, told=shape)

    def _route(self, routing: Routing) -> None:
        self.steps.append(f"route {routing.words}")
        for name in (*routing.weights, routing.apart):
            fresh = routing.exposes(name) and not self.view.routing.exposes(name)
            if fresh and name not in self.view.ready & self.view.reached:
                self.lost.append(name)
        self.view = replace(self.view, routing=routing)


def serving(predictor: str = "v1") -> Cluster:
    """A cluster in which one revision serves."""
    cluster = Cluster()
    cluster.settle(Wanted(predictor))
    cluster.steps.clear()
    return cluster


def test_a_first_service_is_told_then_listed_then_given_the_traffic() -> None:
    """Nothing is routed before the gateway has had an answer."""
    cluster = Cluster()
    cluster.settle(Wanted("v1"))
    assert cluster.steps == ["tell v1", "route none", "route v1 100 %"]
    assert done(Wanted("v1"), cluster.view)


def test_a_canary_that_is_not_ready_gets_nothing() -> None:
    """The baseline has all requests until the canary is up."""
    cluster = serving()
    cluster.kill("v2")
    cluster.settle(Wanted("v1", {"v2": 50}))
    assert cluster.view.routing.weights == {"v1": 100}
    assert not done(Wanted("v1", {"v2": 50}), cluster.view)


def test_a_canary_is_listed_before_it_gets_weight() -> None:
    """Ready replicas are not enough: the gateway must have reached them."""
    cluster = serving()
    cluster.settle(Wanted("v1", {"v2": 10}))
    assert cluster.steps == ["tell v1 v2", "route v1 100 %", "route v1 90 %, v2 10 %"]


def test_a_ready_canary_that_the_gateway_has_not_reached_gets_nothing() -> None:
    """Endpoints travel to the gateway later than readiness."""
    up = frozenset({"v1", "v2"})
    routing = Routing(("v1", "v2"), {"v1": 100})
    view = View(Shape("v1", ("v2",)), routing, ready=up, alive=up, reached=frozenset({"v1"}))
    assert plan(Wanted("v1", {"v2": 50}), view) is None


def test_promotion_moves_the_traffic_before_kserve_is_told() -> None:
    """All traffic to the canary, then the name is changed and the old revision dropped in one document."""
    cluster = serving()
    cluster.settle(Wanted("v1", {"v2": 50}))
    cluster.steps.clear()
    cluster.settle(Wanted("v2"))
    assert cluster.steps == ["route v2 100 %", "tell v2", "route v2 100 %"]
    assert cluster.view.routing.listed == ("v2",)


def test_a_direct_switch_brings_the_new_revision_up_as_a_canary_first() -> None:
    """KServe would delete the old Deployment at once; here it stays until the new one has the traffic."""
    cluster = serving()
    cluster.settle(Wanted("v2"))
    assert cluster.steps == ["tell v1 v2", "route v1 100 %", "route v2 100 %", "tell v2", "route v2 100 %"]


def test_a_direct_switch_to_what_cannot_run_leaves_the_old_one_serving() -> None:
    """The old revision stays the predictor, with all of the traffic."""
    cluster = serving()
    cluster.kill("v2")
    cluster.settle(Wanted("v2"))
    assert cluster.view.told == Shape("v1", ("v2",))
    assert cluster.view.routing.weights == {"v1": 100}


def test_rollback_takes_the_weight_before_the_canary() -> None:
    """The canary is dropped only once it has no traffic."""
    cluster = serving()
    cluster.settle(Wanted("v1", {"v2": 50}))
    cluster.steps.clear()
    cluster.settle(Wanted("v1"))
    assert cluster.steps == ["route v1 100 %", "tell v1", "route v1 100 %"]


def test_rollback_after_promotion_brings_the_old_one_back_as_a_canary() -> None:
    """The way back is the way forward with the names exchanged."""
    cluster = serving()
    cluster.settle(Wanted("v2"))
    cluster.steps.clear()
    cluster.settle(Wanted("v1"))
    assert cluster.steps[0] == "tell v2 v1"
    assert cluster.view.told == Shape("v1")
    assert not cluster.lost


def test_predictor_and_canary_can_change_places() -> None:
    """The old predictor becomes the canary of the new one, without a restart of either."""
    cluster = serving()
    cluster.settle(Wanted("v1", {"v2": 20}))
    cluster.settle(Wanted("v2", {"v1": 20}))
    assert cluster.view.told is not None
    assert set(cluster.view.told.revisions) == {"v1", "v2"}
    assert cluster.view.routing.weights == {"v2": 80, "v1": 20}
    assert not cluster.lost


def test_a_canary_that_dies_gives_its_share_back_and_takes_it_again() -> None:
    """Without a replica it has no weight; when all are back it has its share."""
    cluster = serving()
    wanted = Wanted("v1", {"v2": 30})
    cluster.settle(wanted)
    cluster.kill("v2")
    cluster.settle(wanted)
    assert cluster.view.routing.weights == {"v1": 100}
    cluster.heal("v2")
    cluster.settle(wanted)
    assert cluster.view.routing.weights == {"v1": 70, "v2": 30}


def test_a_canary_that_lost_some_replicas_keeps_its_share() -> None:
    """Alive is enough to keep weight, ready is needed to get it."""
    routing = Routing(("v1", "v2"), {"v1": 70, "v2": 30})
    both = frozenset({"v1", "v2"})
    view = View(Shape("v1", ("v2",)), routing, ready=frozenset({"v1"}), alive=both, reached=both)
    assert plan(Wanted("v1", {"v2": 30}), view) is None


def test_while_the_predictor_is_dead_the_canary_carries_on() -> None:
    """Who serves goes on serving, and the predictor gets its share back."""
    cluster = serving()
    wanted = Wanted("v1", {"v2": 30})
    cluster.settle(wanted)
    cluster.kill("v1")
    cluster.settle(wanted)
    assert cluster.view.routing.weights == {"v2": 100}
    cluster.heal("v1")
    cluster.settle(wanted)
    assert cluster.view.routing.weights == {"v1": 70, "v2": 30}


def test_when_nobody_lives_the_routing_stays() -> None:
    """The only revision's Pod is being started again: a route to it is worth more than none."""
    cluster = serving()
    cluster.kill("v1")
    cluster.settle(Wanted("v1"))
    assert cluster.view.routing.weights == {"v1": 100}
    assert cluster.view.told == Shape("v1")


def test_copies_go_to_a_canary_that_is_there() -> None:
    """A shadow has no weight, and no copies before it is reached."""
    cluster = serving()
    wanted = Wanted("v1", {"v2": 0}, copies=50)
    cluster.settle(wanted)
    assert cluster.view.routing == Routing(("v1", "v2"), {"v1": 100, "v2": 0}, None, "v2", 50)
    cluster.kill("v2")
    cluster.settle(wanted)
    assert (cluster.view.routing.apart, cluster.view.routing.copies) == ("", 0)


def test_a_header_sends_requests_to_the_canary_alone() -> None:
    """The header's canary is exposed, so it is not removed while requests go there."""
    split = HeaderSplit("x-beta", "yes")
    cluster = serving()
    cluster.settle(Wanted("v1", {"v2": 0}, split))
    assert cluster.view.routing.apart == "v2"
    cluster.steps.clear()
    cluster.settle(Wanted("v1"))
    assert cluster.steps[0].startswith("route")
    assert not cluster.lost


def test_users_are_split_by_their_header() -> None:
    """The split goes with the weights."""
    cluster = serving()
    cluster.settle(Wanted("v1", {"v2": 50}, UserSplit("x-user-id")))
    assert cluster.view.routing.split == UserSplit("x-user-id")


def test_two_canaries_share() -> None:
    """Each gets its percent, the predictor the rest, and one that fails falls to the predictor."""
    cluster = serving()
    wanted = Wanted("v1", {"v2": 10, "v3": 20})
    cluster.settle(wanted)
    assert cluster.view.routing.weights == {"v1": 70, "v2": 10, "v3": 20}
    cluster.kill("v3")
    cluster.settle(wanted)
    assert cluster.view.routing.weights == {"v1": 90, "v2": 10}


def test_a_first_document_with_a_canary_starts_both() -> None:
    """A service may begin with a canary."""
    cluster = Cluster()
    cluster.settle(Wanted("v1", {"v2": 25}))
    assert cluster.steps[0] == "tell v1 v2"
    assert cluster.view.routing.weights == {"v1": 75, "v2": 25}


def test_a_predictor_that_never_ran_is_replaced_by_one_that_does() -> None:
    """A first version that cannot load does not stand in the way of the next."""
    cluster = Cluster()
    cluster.kill("v1")
    cluster.settle(Wanted("v1"))
    cluster.settle(Wanted("v2"))
    assert cluster.view.told == Shape("v2")
    assert cluster.view.routing.weights == {"v2": 100}


@pytest.mark.parametrize(
    ("weights", "expected"), [({"a": 1, "b": 2}, {"a": 33, "b": 67}), ({}, {}), ({"a": 7}, {"a": 100})]
)
def test_shares_are_whole_percents_that_sum_to_a_hundred(weights: dict[str, int], expected: dict[str, int]) -> None:
    """What rounding leaves goes to the largest."""
    assert to_hundred(weights) == expected


NAMES = ("v1", "v2", "v3", "v4")


@st.composite
def documents(draw: st.DrawFn) -> Wanted:
    """Any document with up to two canaries."""
    names = draw(st.permutations(NAMES))
    count = draw(st.integers(0, 2))
    percents = {name: draw(st.integers(0, 50)) for name in names[1 : 1 + count]}
    copies = draw(st.sampled_from((0, 0, 30))) if count == 1 else 0
    return Wanted(names[0], dict.fromkeys(percents, 0) if copies else percents, None, copies)


@settings(max_examples=300, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=6), st.integers(0, 10_000))
def test_no_order_of_documents_and_deaths_loses_a_request(wanted: list[Wanted], seed: int) -> None:
    """Whatever is asked for while replicas die: nothing with traffic is removed, and nothing unready gets any.

    When all is healthy again, the last document is in effect.
    """
    chance = random.Random(seed)
    cluster = Cluster()
    for document in wanted:
        for name in NAMES:
            (cluster.kill if chance.random() < 0.2 else cluster.heal)(name)
        for _ in range(chance.randrange(8)):  # the document may change in the middle of the way
            cluster._breathe()
            if (step := plan(document, cluster.view)) is not None:
                cluster.do(step)
        if chance.random() < 0.5:
            cluster.settle(document)
    for name in NAMES:
        cluster.heal(name)
    cluster.settle(wanted[-1])
    assert cluster.lost == []
    assert done(wanted[-1], cluster.view)
