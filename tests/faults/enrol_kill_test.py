"""kill -9 of either person's program at every step of an enrolment, and a search for what servers must not hold.

After each kill the same command is given again. Then either the enrolment goes on to its end, or it ended with a reason
and another attempt, or another invitation, succeeds; no user is there twice or half; nobody waits for ever.
"""

import contextlib
import os
import random
import subprocess
import unittest

from tests import enrolment
from tests import stack

# A moment is the event that a screen showed last before its program is killed.
ROUNDS = int(os.environ.get("PARLEY_KILL_ROUNDS", "10"))
# About as long as steps 6 to 8 take.
LAST_STEPS_S = 0.1
MOMENTS = ("presence", "attempt", "readAloud", "confirmed")


class EnrolKill(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.__enter__()
        cls.alice = enrolment.Member(cls.stack, "alice").found()

    def users_named(self, name):
        return [user for user in self.alice.parley("user", "list") if user["userName"] == name and not user["revoked"]]

    def test_either_program_killed_at_each_moment(self):
        for number, (victim, moment) in enumerate((v, m) for v in ("greeter", "claimer") for m in MOMENTS):
            with self.subTest(victim=victim, moment=moment):
                self.kill_and_go_on("bob-%d" % number, victim, moment)

    def kill_and_go_on(self, name, victim, moment):
        bob = enrolment.Member(self.stack, name)
        invitation, link = self.alice.invite("user", name)
        screens = {"claimer": bob.claim(link), "greeter": self.alice.greet(invitation)}
        with self.assertRaises(enrolment.Reached):
            enrolment.play(screens["greeter"], screens["claimer"], screens[victim], moment)
        screens[victim].kill()
        screens[victim] = bob.claim() if victim == "claimer" else self.alice.greet(invitation)
        enrolment.play(screens["greeter"], screens["claimer"])
        ends = {who: screen.finish() for who, screen in screens.items()}
        events = {who: screen.events for who, screen in screens.items()}
        self.assertEqual([code for code, _ in ends.values()], [0, 0], (ends, events))
        self.assertEqual(len(self.users_named(name)), 1)
        bob.parley("org", "verify")

    def test_either_program_killed_while_keys_and_certificates_travel(self):
        moment = random.Random(20261122)
        for number in range(ROUNDS):
            victim = ("greeter", "claimer")[number % 2]
            with self.subTest(number=number, victim=victim):
                self.kill_late("late-%d" % number, victim, moment.uniform(0, LAST_STEPS_S))

    def kill_late(self, name, victim, delay):
        bob = enrolment.Member(self.stack, name)
        invitation, link = self.alice.invite("user", name)
        screens = {"claimer": bob.claim(link), "greeter": self.alice.greet(invitation)}
        with self.assertRaises(enrolment.Reached):
            enrolment.play(screens["greeter"], screens["claimer"], screens[victim], "confirmed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            screens[victim].process.wait(delay)
        if screens[victim].kill()[0] != 0:
            screens[victim] = bob.claim() if victim == "claimer" else self.alice.greet(invitation)
        enrolment.play(screens["greeter"], screens["claimer"])
        for who, screen in screens.items():
            code, error = screen.finish()
            # The victim had done its part, and the kill came just before its end.
            done = who == victim and error.get("reason") in ("DEVICE_FILE_EXISTS", "INVITATION_COMPLETED")
            self.assertTrue(code == 0 or done, (who, error, screen.events))
        self.assertEqual(len(self.users_named(name)), 1)
        bob.parley("org", "verify")

    def test_servers_killed_between_the_codes_lose_nothing(self):
        bob = enrolment.Member(self.stack, "bob-servers")
        invitation, link = self.alice.invite("user", bob.name)
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        code = claimer.until("readAloud")["code"]
        self.stack.enrolld.kill()
        self.stack.start_enrolld()
        greeter.pick(code)
        heard = greeter.until("readAloud")["code"]
        self.stack.keyd.kill()
        claimer.pick(heard)
        self.stack.start_keyd()
        for screen in (claimer, greeter):
            screen.until("enrolled")
            self.assertEqual(screen.finish()[0], 0)
        self.assertEqual(len(self.users_named(bob.name)), 1)

    def test_servers_hold_no_key_no_code_and_no_plaintext(self):
        bob = enrolment.Member(self.stack, "bob-secret")
        invitation, link = self.alice.invite("user", bob.name)
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        codes = [claimer.until("readAloud")["code"]]
        greeter.pick(codes[0])
        codes.append(greeter.until("readAloud")["code"])
        claimer.pick(codes[1])
        for screen in (claimer, greeter):
            screen.until("enrolled")
            screen.finish()
        secrets = {"code": codes[0].encode(), "other code": codes[1].encode(), "password": enrolment.PASSWORD.encode(),
                   "link": link.encode()[30:70]}
        # What the device holds: its credential's secrets, by the one command that gives them out.
        exported = bob.home / "exported"
        bob.parley("credentials", "export", "--out", exported, "--audience", "taskd")
        psk = (exported / "psk.txt").read_text().strip().split(":")[1]
        secrets["key"] = bytes.fromhex(psk)
        for service in ("keyd", "taskd", "enrolld"):
            log = "".join(getattr(self.stack, service).log).encode()
            for what, secret in secrets.items():
                self.assertNotIn(secret, log, (service, what))
            for path in (self.stack.folder / service).rglob("*"):
                if path.is_file() and path.suffix != ".credential":
                    content = path.read_bytes()
                    for what, secret in secrets.items():
                        # Four letters come about by chance in megabytes of sealed bytes: only whole words count.
                        if what.endswith("code"):
                            for form in (b'"%s"' % secret, b" %s " % b" ".join(bytes([c]) for c in secret)):
                                self.assertNotIn(form, content, (path, what))
                        else:
                            self.assertNotIn(secret, content, (path, what))


if __name__ == "__main__":
    unittest.main()
