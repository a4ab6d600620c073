"""The traffic router's decisions: from what is wanted and what the cluster shows to the next step; pure functions.

The order that loses no request: a revision is brought up -> its replicas are ready -> the gateway has reached it by a
route of its own -> it gets weight -> another one has lost its weight -> KServe is told to remove that. KServe deletes
the Deployment of a predictor at once when `predictor.name` changes, so a revision becomes the predictor only when it
carries the traffic as a canary; a document that asks for more is put into effect in these steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.backends.assignment import HeaderSplit, Split, UserSplit


@dataclass(frozen=True)
class Shape:
    """The revisions that KServe is told to run: the predictor and its canaries, in order."""

    predictor: str
    canaries: tuple[str, ...] = ()

    @property
    def revisions(self) -> tuple[str, ...]:
        return (self.predictor, *self.canaries)


@dataclass(frozen=True)
class Wanted:
    """What a document asks for: `percents` are the canaries' shares, the predictor has the rest."""

    predictor: str
    percents: Mapping[str, int] = field(default_factory=dict)
    split: Split | None = None
    copies: int = 0

    @property
    def shape(self) -> Shape:
        return Shape(self.predictor, tuple(self.percents))


@dataclass(frozen=True)
class Routing:
    """What the gateway does: `listed` revisions have a route of their own, `weights` (percent; their sum is 100 or 0).

    `split` assigns requests to the weights. `apart` is the canary that gets what a header chooses, or copies of
    `copies` percent of the requests.
    """

    listed: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    split: Split | None = None
    apart: str = ""
    copies: int = 0

    @property
    def words(self) -> str:
        """Who gets what, for people."""
        shares = [f"{name} {weight} %" for name, weight in self.weights.items()]
        if isinstance(self.split, UserSplit):
            shares.append(f"by the user in {self.split.header}")
        if isinstance(self.split, HeaderSplit) and self.apart:
            shares.append(f"{self.split.name}={self.split.value} to {self.apart}")
        if self.copies:
            shares.append(f"{self.copies} % copied to {self.apart}")
        return ", ".join(shares) or "none"

    def exposes(self, revision: str) -> bool:
        """Whether requests, or copies of them, go to the revision."""
        return self.weights.get(revision, 0) > 0 or (bool(revision) and revision == self.apart)


@dataclass(frozen=True)
class View:
    """What there is: what KServe was told, the routing in effect, and the state of the revisions.

    ready: all wanted replicas have the wanted content and answer; alive: at least one replica answers; reached: the
    gateway has had an answer from it by its own route.
    """

    told: Shape | None = None
    routing: Routing = field(default_factory=Routing)
    ready: frozenset[str] = frozenset()
    alive: frozenset[str] = frozenset()
    reached: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tell:
    """Have KServe run these revisions."""

    shape: Shape


@dataclass(frozen=True)
class Route:
    """Put this routing into effect."""

    routing: Routing


Step = Tell | Route | None


def plan(wanted: Wanted, view: View) -> Step:
    """The next step; None when nothing is to be done now. Asked again after each step and each change."""
    shape = _shape(wanted, view)
    if shape != view.told:
        return Tell(shape)
    routing = _routing(wanted, view)
    return Route(routing) if routing != view.routing else None


def done(wanted: Wanted, view: View) -> bool:
    """Whether the document is in effect: KServe runs what it names, and the gateway splits as it says."""
    shares = {wanted.predictor: 100 - sum(wanted.percents.values()), **wanted.percents}
    return view.told == wanted.shape and view.routing.weights == shares and plan(wanted, view) is None


def _shape(wanted: Wanted, view: View) -> Shape:
    """What KServe is to run: everything wanted, and everything that still has traffic; see the module's words."""
    if view.told is None:
        return wanted.shape
    predictor = view.told.predictor
    if predictor != wanted.predictor and _may_replace(predictor, wanted, view):
        predictor = wanted.predictor
    exposed = [name for name in view.told.revisions if view.routing.exposes(name)]
    canaries = [name for name in (*wanted.shape.revisions, *exposed) if name != predictor]
    return Shape(predictor, tuple(dict.fromkeys(canaries)))


def _may_replace(old: str, wanted: Wanted, view: View) -> bool:
    """Whether the wanted predictor has taken over; the old one is idle, or stays as a canary of the new one."""
    carries = view.routing.weights.get(wanted.predictor, 0) > 0 and wanted.predictor in view.alive
    return carries and (old in wanted.percents or not view.routing.exposes(old))


def _routing(wanted: Wanted, view: View) -> Routing:
    listed = _listed(wanted, view)
    if not _can(wanted.predictor, view):
        return _carried(listed, view)
    shares = {name: percent for name, percent in wanted.percents.items() if _can(name, view)}
    weights = {wanted.predictor: 100 - sum(shares.values()), **shares}
    alone = wanted.copies or isinstance(wanted.split, HeaderSplit)
    apart = next((name for name in shares if alone), "")
    return Routing(listed, weights, wanted.split, apart, wanted.copies if apart else 0)


def _listed(wanted: Wanted, view: View) -> tuple[str, ...]:
    """Who has a route: what is wanted once it is ready, and what has traffic; sorted, so that places are stable."""
    known = {name for name in wanted.shape.revisions if name in view.ready or name in view.routing.listed}
    exposed = {name for name in view.routing.listed if view.routing.exposes(name)}
    there = frozenset(view.told.revisions) if view.told else frozenset()
    return tuple(sorted((known | exposed) & there))


def _can(revision: str, view: View) -> bool:
    """Whether the revision may have traffic: all of it is ready, or it has traffic already and is not dead."""
    if revision not in view.reached or revision not in view.alive:
        return False
    return revision in view.ready or view.routing.exposes(revision)


def _carried(listed: tuple[str, ...], view: View) -> Routing:
    """While the predictor cannot serve, those that serve go on, wanted or not; if nobody does, nothing is changed."""
    current = view.routing
    serving = {name: weight for name, weight in current.weights.items() if weight > 0 and name in view.alive}
    apart = current.apart if current.apart in view.alive and isinstance(current.split, HeaderSplit) else ""
    if not serving:
        return Routing(listed, dict(current.weights), current.split, apart)
    return Routing(listed, to_hundred(serving), current.split, apart)


def to_hundred(weights: Mapping[str, int]) -> dict[str, int]:
    """Whole percents in the same proportions; what rounding leaves goes to the largest."""
    total = sum(weights.values())
    shares = {name: 100 * weight // total for name, weight in weights.items()}
    if shares:
        shares[max(shares, key=lambda name: shares[name])] += 100 - sum(shares.values())
    return shares
