"""People who enrol one another while the services are in trouble: alice greets, newcomers claim, and some of it is
canceled, disturbed, or tried once more with a link that was used.

Threads: an Enroller's `run` is one thread; a Person may be used by several.
"""

import contextlib
import json
import queue
import random as randomness
import subprocess
import threading
import uuid

from tests import enrolment
from tests.robustness import checker, cluster, network
from tests.robustness.history import Refused

# A meeting that takes longer is broken off, and tried again so often.
PATIENCE_S = 25
MEETINGS = 4
# What ends a claim for good.
OVER = ("INVITATION_", "KEY_REFUSED")


class Person(enrolment.Member):
    """Sits where the operators do."""

    def command(self, *arguments):
        return [*network.Network.at(cluster.OFFICE), *super().command(*arguments)]

    def say(self, *arguments):
        """What a command prints; Refused when it fails."""
        try:
            code, output, errors = self.run(*arguments)
        except subprocess.TimeoutExpired as why:
            raise Refused("no answer") from why
        if code != 0:
            raise Refused(output[-300:] + errors[-600:])
        return [json.loads(line) for line in output.splitlines()]


class Enroller:

    def __init__(self, office):
        self._office = office
        # Who was told to be enrolled.
        self.enrolled = []

    def run(self, random, stop):
        while not stop.is_set():
            invitation = self._office.invite(random, random.choice(cluster.ENROLLDS))
            if invitation is not None:
                self._enrol(random, stop, invitation)
            stop.wait(random.uniform(0.2, 2))

    def _enrol(self, random, stop, invitation):
        meddler = threading.Thread(target=self._meddle,
                                   args=(randomness.Random(random.random()), stop, invitation))
        meddler.start()
        try:
            self._claim(random, stop, invitation)
        finally:
            meddler.join()
        self._office.read_invitation(invitation, random.choice(cluster.ENROLLDS))
        if random.random() < 0.3 and not stop.is_set():
            self._claim(random, stop, invitation)

    def _meddle(self, random, stop, invitation):
        """In the middle of it the invitation is canceled, or a second claimer comes."""
        what = random.random()
        stop.wait(random.uniform(0, 5))
        if what < 0.3:
            self._office.cancel(invitation, random.choice(cluster.ENROLLDS))
        elif what < 0.5:
            screen = self._newcomer().claim(invitation.link, *self._server(random))
            stop.wait(random.uniform(0.2, 2))
            screen.kill()

    def _newcomer(self):
        return Person(self._office.cluster, "claimer-" + uuid.uuid4().hex[:12])

    def _server(self, random):
        return "--server", self._office.cluster.address(random.choice(cluster.ENROLLDS))

    def _claim(self, random, stop, invitation):
        newcomer = self._newcomer()
        with self._office.history.operation(invitation.key, "enrol", newcomer.name) as operation:
            for _ in range(MEETINGS):
                why = self._meet(random, invitation, newcomer, operation)
                if why is None or why.startswith(OVER) or stop.is_set():
                    break
            if why is not None:
                raise Refused(why)
        if operation.acknowledged():
            self.enrolled.append(newcomer)

    def _meet(self, random, invitation, newcomer, operation):
        """Why the newcomer was not told to be enrolled; None when it was."""
        begun = newcomer.device.exists()
        claimer = newcomer.claim(None if begun else invitation.link, *self._server(random))
        greeter = self._office.alice.greet(invitation.id(), *self._server(random))
        # It may be gone when it is to be answered.
        with contextlib.suppress(queue.Empty, BrokenPipeError):
            enrolment.play(greeter, claimer, seconds=PATIENCE_S)
        greeter.kill()
        code, error = claimer.kill()
        claimer.shown()
        events = [event["event"] for event in claimer.events if event is not None and "event" in event]
        if checker.COMPARED in events:
            operation.about = checker.COMPARED
        return None if "enrolled" in events else error.get("reason", "ended with code %d" % code)


def devices(office, at):
    """(user, claimer) of each device in the chain of trust, as this keyd shows it, but for alice's first one."""
    shown = office.insist(office.alice.say, "device", "list", "--server", office.cluster.address(at))
    return [(each["userName"], each["label"].removesuffix(enrolment.PHONE)) for each in shown
            if each["label"].endswith(enrolment.PHONE)]


def useless(office, enrolled):
    """What is wrong with credentials of those who were told to be enrolled: each keyd shows the chain to whoever has
    one, with its device, unless its root was retired."""
    found = []
    for person in enrolled:
        serial = person.say("credentials", "show")[0]["serial"]
        retired = office.insist(office.json, "key", "get", serial).get("retired", False)
        for at in cluster.KEYDS:
            ask = ("device", "list", "--server", office.cluster.address(at))
            try:
                shown = person.say(*ask) if retired else office.insist(person.say, *ask)
            except Refused as why:
                shown, answer = [], str(why)
            else:
                answer = "the chain"
            if retired == any(each["label"] == person.name + enrolment.PHONE for each in shown):
                found.append("%s at %s, with a key of a root that %s retired, gets: %s" % (
                    person.name, at, "was" if retired else "was not", answer))
    return found
