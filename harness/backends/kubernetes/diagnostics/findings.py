"""The abnormal things that a cluster can tell of, each said in one way whoever tells it: an event or a condition.

Weights follow harness/report/cause.py: how much of what went wrong a thing explains by itself, so that a cause outranks
what follows from it. A missing image, a quota, a webhook or a lost node explain all that they stop; a probe that fails,
a back-off or an InferenceService that is not ready follow from something else.
"""

from __future__ import annotations

import re

from harness.backends.kubernetes.diagnostics.snapshot import Snapshot
from harness.backends.kubernetes.registry import how_to_get
from harness.report.record import ClusterFinding
from harness.runtime.redact import redact_text

NODE_W, IMAGE_W, QUOTA_W, WEBHOOK_W, CONFIG_W = 0.9, 0.92, 0.93, 0.92, 0.9
MEMORY_W, PLACE_W, REFUSED_W, EVICTED_W, CRASH_W, VOLUME_W = 0.9, 0.86, 0.88, 0.85, 0.8, 0.75
ROUTE_W, FAILED_W, STOPPED_W, PROBE_W, SCALE_W, FOLLOWS_W = 0.7, 0.6, 0.4, 0.45, 0.3, 0.35

_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<asked>.*), used: (?P<used>.*), limited: (?P<hard>[^\s]*)"
)
_WEBHOOK = re.compile(r'failed calling webhook \\?"(?P<name>[^"\\]+)\\?"')
_SERVICE = re.compile(r"https?://(?P<service>[\w-]+)\.(?P<namespace>[\w-]+)\.svc")
_DENIED = re.compile(r'admission webhook \\?"(?P<name>[^"\\]+)\\?" denied the request: (?P<why>.*)', re.DOTALL)
_REFUSED = re.compile(r"is forbidden: (?P<why>violates PodSecurity.*|.*)", re.DOTALL)


class Teller:
    """Makes findings about one object of a snapshot."""

    def __init__(self, seen: Snapshot, namespace: str, what: str, at: float, *, lasting: bool) -> None:
        self.seen, self.namespace, self.what, self.at, self.lasting = seen, namespace, what, at, lasting

    def say(
        self, reason: str, words: str, because: str, weight: float, *, next: str = "", about: str = ""
    ) -> ClusterFinding:
        """A finding in general; `next` is a kubectl command without its beginning."""
        command = next or f"describe {self.what}"
        return ClusterFinding(
            at=self.at,
            namespace=self.namespace,
            object=self.what,
            reason=reason,
            words=one_line(words),
            because=because,
            next=f"Run `{self.seen.commands(self.namespace)} {command}`.",
            weight=weight,
            about=about or f"{self.namespace}/{self.what} {reason}",
            lasting=self.lasting,
        )

    @property
    def pod(self) -> str:
        """The object without its kind, for sentences."""
        return self.what.partition("/")[2]

    def image(self, reason: str, image: str, told: str) -> ClusterFinding:
        """An image that cannot be had."""
        get = how_to_get(image)
        hint = f"Get it: {get}" if get else "`rehearse images list` says which images are ours"
        words = f"the image {image} of {self.what} cannot be pulled: {told}"
        found = self.say(reason, words, "its container cannot start without it", IMAGE_W, about=f"image {image}")
        return found.model_copy(update={"next": f"{hint}; {found.next[0].lower()}{found.next[1:]}"})

    def place(self, told: str) -> ClusterFinding:
        """A Pod that no node takes; one that is cordoned or drained is the reason, where it is said."""
        # The scheduler goes on about claims and preemption, which would not have helped either.
        why = re.split(r"\.? (?:no new claims|preemption:)", told.partition(": ")[2] or told)[0]
        only_cordoned = "unschedulable" in told and "Insufficient" not in told
        weight = FAILED_W if only_cordoned else PLACE_W
        words = f"no node takes {self.what}: {why}"
        command = "describe nodes" if "Insufficient" in told else ""
        return self.say("FailedScheduling", words, "it waits for a node with room", weight, next=command)

    def configuration(self, reason: str, told: str) -> ClusterFinding:
        """A container that names a Secret, a ConfigMap or a program that is not there."""
        words, about = (
            f"a container of {self.what} cannot be made: {told}",
            f"{self.namespace}/{self.what} configuration",
        )
        return self.say(reason, words, "it never starts", CONFIG_W, about=about)

    def memory(self, container: str, limit: str) -> ClusterFinding:
        """A container that was killed because it used more memory than it may."""
        bound = f"its limit of {limit}" if limit else "what the node had"
        words = f"{container} of {self.what} was killed: it used more memory than {bound}"
        about = f"{self.namespace}/{self.what} ended"
        return self.say("OOMKilled", words, "its requests were cut off", MEMORY_W, about=about)

    def crash(self, container: str, code: int, restarts: int, told: str) -> ClusterFinding:
        """A container that ended by itself."""
        how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
        if container == "storage-initializer":
            words = f"the model of {self.what} cannot be downloaded: {container} {how}"
            because = "without its model it cannot serve"
        else:
            again = f", {restarts} restarts" if restarts else ""
            words, because = f"{container} of {self.what} {how}{again}", "its requests were cut off"
        return self.say(
            "Error",
            f"{words}: {told}" if told else words,
            because,
            CRASH_W,
            next=f"logs {self.pod} -c {container}{' --previous' if restarts else ''}",
            about=f"{self.namespace}/{self.what} ended",
        )

    def evicted(self, reason: str, told: str) -> ClusterFinding:
        """A Pod that its node, the scheduler or a drain turned out."""
        words = f"{self.what} was turned out of its node: {told}"
        about = f"{self.namespace}/{self.what} evicted"
        return self.say(reason, words, "its requests moved or were cut off", EVICTED_W, about=about)

    def refused(self, told: str) -> ClusterFinding:
        """What the API server did not let anybody create, and by whose word: a quota, a webhook, Pod Security."""
        if match := _QUOTA.search(told):
            name = match["name"]
            words = f"the quota {name} of {self.namespace} is used up: {self.what} asks for {match['asked']}"
            words += f", {match['used']} are used, {match['hard']} is the limit"
            about = f"quota {self.namespace}/{name}"
            because = "what is over a quota is not created"
            return self.say("FailedCreate", words, because, QUOTA_W, next=f"describe quota {name}", about=about)
        if match := _WEBHOOK.search(told):
            return self._webhook(match["name"], told)
        if match := _DENIED.search(told):
            words = f"the webhook {match['name']} refused {self.what}: {match['why']}"
            return self.say("FailedCreate", words, "it was not created", REFUSED_W)
        why = match["why"] if (match := _REFUSED.search(told)) else told
        weight = REFUSED_W if match else FAILED_W
        return self.say("FailedCreate", f"the cluster refused {self.what}: {why}", "it was not created", weight)

    def _webhook(self, name: str, told: str) -> ClusterFinding:
        service = _SERVICE.search(told)
        where = f"{self.seen.kubectl} -n {service['namespace']} get pods,endpointslices" if service else ""
        why = told.rpartition(": ")[2]
        words = f"the webhook {name} does not answer: {why}"
        found = self.say(
            "WebhookDown", words, "what it guards cannot change meanwhile", WEBHOOK_W, about="webhook " + name
        )
        return found.model_copy(update={"next": f"Run `{where}`."}) if where else found


def one_line(text: str) -> str:
    """Text for a sentence: in one line, without secrets, and not without end."""
    line = " ".join(redact_text(text).split())
    return line if len(line) <= 400 else f"{line[:399]}…"
