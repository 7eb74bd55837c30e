"""kill -9 of enrolld at every step of an enrolment, and at random moments, with the shipped programs at both ends.

It starts again at once, and both sides go on where they were: nobody is asked twice, nothing is suspected, and
the newcomer is enrolled once.
"""

import json
import os
import random
import threading
import unittest

from tests import enrolment
from tests import stack

ROUNDS = int(os.environ.get("PARLEY_ENROLLD_KILL_ROUNDS", "8"))
# What has just happened when enrolld is killed.
MOMENTS = ("invited", "the claimer waits", "an attempt began", "the claimer reads its code", "the greeter chooses",
           "the greeter chose", "the greeter reads its code", "the claimer chose", "both are confirmed", "enrolled")


class EnrolldKill(unittest.TestCase):

    def setUp(self):
        self.random = random.Random(20261122)
        self.stack = self.enterContext(stack.Stack())
        self.alice = enrolment.Member(self.stack, "alice").found()

    def kill(self):
        self.stack.enrolld.kill()
        self.stack.start_enrolld()

    def enrol(self, name, reached, settle=lambda: None):
        """Two people enrol one of them; `reached` is told each moment, and `settle` ends with enrolld serving."""
        bob = enrolment.Member(self.stack, name)
        invitation, link = self.alice.invite("user", name, "--role", "operator")
        reached("invited")
        claimer = bob.claim(link)
        claimer.until("presence")
        reached("the claimer waits")
        greeter = self.alice.greet(invitation)
        claimer.until("attempt")
        reached("an attempt began")
        code = claimer.until("readAloud")["code"]
        reached("the claimer reads its code")
        choices = greeter.until("choose")["choices"]
        reached("the greeter chooses")
        greeter.type(str(choices.index(code) + 1))
        reached("the greeter chose")
        code = greeter.until("readAloud")["code"]
        reached("the greeter reads its code")
        claimer.pick(code)
        reached("the claimer chose")
        claimer.until("confirmed")
        reached("both are confirmed")
        claimer.until("enrolled")
        reached("enrolled")
        for screen in (greeter, claimer):
            code, error = screen.finish()
            self.assertEqual(code, 0, (error, screen.events))
        settle()
        self.assert_enrolled_once(bob, invitation)

    def assert_enrolled_once(self, bob, invitation):
        users = [user["userName"] for user in self.alice.parley("user", "list")]
        self.assertEqual(users.count(bob.name), 1, users)
        bob.parley("org", "verify")
        listed = json.loads(self.stack.parley("--output", "json", "invite", "list", "--all", credential="admin"))
        entry = next(entry for entry in listed["invitations"] if entry["name"].endswith(invitation))
        self.assertEqual((entry["state"], entry.get("suspectedAttempts", 0)), ("STATE_COMPLETED", 0))

    def test_killed_at_each_step_it_loses_nothing(self):
        for number, moment in enumerate(MOMENTS):
            with self.subTest(moment):
                self.enrol("bob-%d" % number, lambda reached, at=moment: reached == at and self.kill())

    def test_killed_at_random_moments_it_loses_nothing(self):
        start = os.times().elapsed
        self.enrol("calm", lambda _: None)
        duration = os.times().elapsed - start
        for number in range(ROUNDS):
            killer = threading.Timer(self.random.uniform(0, duration), self.kill)

            def reached(moment, killer=killer):
                # Not before the invitation is made: a command that loses its one call says so, and is given again.
                if moment == "invited":
                    killer.start()

            with self.subTest(number):
                self.enrol("carol-%d" % number, reached, killer.join)


if __name__ == "__main__":
    unittest.main()
