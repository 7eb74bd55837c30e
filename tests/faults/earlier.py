"""Clients of this version with services of an earlier one, whose programs lie in the folder PARLEY_EARLIER; and the
other way round. What the earlier one cannot do is said in one sentence, with what to upgrade; all else works.
"""

import os
import pathlib
import unittest

from tests import stack
from tests.faults import machine

EARLIER = pathlib.Path(os.environ.get("PARLEY_EARLIER", "/nonexistent")).resolve()
OLD = {"app.conf": "old\n"}
GOOD_IF_NOT_BAD = '! grep -q bad "$PARLEY_TARGET/app.conf"'


class Mixed(unittest.TestCase):

    # The programs that are of the earlier version.
    earlier = ("KEYD", "TASKD", "ENROLLD")

    def setUp(self):
        for name in self.earlier:
            self.addCleanup(setattr, stack, name, getattr(stack, name))
            setattr(stack, name, EARLIER / name.lower())
        self.services = self.enterContext(machine.Services())
        self.task, self.key = self.services.create("mixed", {"app.conf": "1\n", "gone": "1\n"})
        self.client = machine.Client(self.services, "m1", OLD)

    def join(self, *arguments, code=0, **entry):
        got, events = self.client.join(*arguments, **(entry or {"task": self.task})).end()
        self.assertEqual(got, code, events)
        return events

    def test_what_both_know(self):
        self.join("--check", GOOD_IF_NOT_BAD, "--apply", "true", key=self.key)
        self.assertEqual(self.services.publish(self.task, {"app.conf": "2\n"}), 2)
        self.join("--check", GOOD_IF_NOT_BAD)
        self.assertEqual(self.client.files(), {"app.conf": "2\n"})
        self.services.publish(self.task, {"app.conf": "bad\n"})
        self.join("--check", GOOD_IF_NOT_BAD, code=3)
        self.assertEqual(self.client.files(), {"app.conf": "2\n"})
        self.services.publish(self.task, {"app.conf": "4\n"})
        gate = machine.Gate(self.client.folder)
        run = self.client.join("--apply", gate.command, task=self.task)
        gate.wait_until_begun()
        run.kill()
        gate.open_for_good()
        self.join()
        self.assertEqual(self.client.files(), {"app.conf": "4\n"})
        self.assertEqual(self.services.members(self.task)["m1"]["state"], "STATE_CONFIRMED")
        self.services.watch(self.task).until_state("m1", *machine.CONFIRMED)


class EarlierServices(Mixed):

    def assert_says_upgrade(self, text):
        self.assertIn("upgrade", text)

    def test_a_device_has_no_labels_there(self):
        file = self.services.credentials / "m1.credential"
        self.assert_says_upgrade(self.services.parley("key", "issue", "--role", "device", "--subject", "m1", "--label",
                                                      "name=m1", "--out", file, credential="admin", code=1))
        self.assert_says_upgrade(self.services.parley("key", "label", "m1", "name=m1", credential="admin", code=1))
        # It is of no task, but its credential is good, and waits for the upgrade.
        self.services.create("device", {"app.conf": "1\n"}, "--select", "name=m1")
        run = self.client.agent("--check", "true")
        run.until("idle")
        code, events = run.stop()
        self.assertEqual(code, 0, events)

    def test_waves_are_refused_before_anything_goes_out(self):
        payload = self.services.payload({"app.conf": "2\n"})
        for arguments in (("create", "waves"), ("publish", self.task)):
            said = self.services.parley("task", *arguments, "--payload", payload, "--waves", "1,all", code=1)
            self.assert_says_upgrade(said)
        self.assertEqual(self.services.task(self.task)["revision"], "1")

    def test_what_only_this_version_knows(self):
        self.assert_says_upgrade(self.services.parley("task", "retry", self.task, code=1))
        self.join("--check", "false", code=3, key=self.key)
        self.assert_says_upgrade(str(self.join(code=3)))
        self.services.publish(self.task, {"app.conf": "2\n"})
        self.join()
        self.assertEqual(self.client.files(), {"app.conf": "2\n"})
        self.assert_says_upgrade(self.services.parley("task", "members", self.task))
        (self.client.target / "app.conf").write_text("edited\n")
        self.assert_says_upgrade(str(self.join(code=1)))
        code, events = self.client.settle().end()
        self.assertEqual(code, 0, events)


class EarlierClients(Mixed):

    earlier = ("PARLEY",)

    def test_a_device_takes_part_by_what_an_admin_says_of_it(self):
        task, _ = self.services.create("device", {"app.conf": "1\n"}, "--select", "name=m1")
        stack.PARLEY = self.now
        self.services.device("m1", "name=another")
        stack.PARLEY = EARLIER / "parley"
        # What it says of itself is a fact now.
        run = self.client.agent("--label", "name=m1", "--check", "true")
        run.until("idle")
        stack.PARLEY = self.now
        self.services.label("m1", "name=m1")
        run.until("confirmed")
        self.assertEqual(self.services.members(task)["m1"]["facts"]["name"], "m1")
        self.services.publish(task, {"app.conf": "2\n"})
        run.until("confirmed", revision=2)
        # The next revision is not for a device whose label was taken away; one sentence says what to do about it.
        self.services.label("m1", "name-")
        self.services.publish(task, {"app.conf": "3\n"})
        member = self.services.watch(task).until(
            lambda w: w.member("m1").get("state") == "STATE_INELIGIBLE" and w.member("m1"))
        self.assertIn("parley key label", member["detail"])
        stack.PARLEY = EARLIER / "parley"
        code, events = run.stop()
        self.assertEqual(code, 0, events)
        self.assertEqual(self.client.files(), {"app.conf": "2\n"})

    def test_what_only_the_services_know(self):
        self.join("--check", "false", code=3, key=self.key)
        stack.PARLEY = self.now
        self.services.parley("task", "retry", self.task)
        stack.PARLEY = EARLIER / "parley"
        self.join()
        (self.client.target / "app.conf").write_text("edited\n")
        self.join()
        self.assertEqual(self.client.files()["app.conf"], "1\n")

    def setUp(self):
        self.now = stack.PARLEY
        super().setUp()


if __name__ == "__main__":
    machine.enter_private_mounts()
    del Mixed
    unittest.main()
