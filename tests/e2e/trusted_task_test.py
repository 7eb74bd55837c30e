"""Tasks in an organisation with a chain of trust: enrolled operators sign, enrolled machines verify."""

import json
import subprocess
import time
import unittest

from tests import enrolment
from tests import stack


class TrustedTask(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.__enter__()
        cls.alice = enrolment.Member(cls.stack, "alice").found()

    def enrolled(self, name, role):
        """A newcomer of this name, let in by Alice."""
        member = enrolment.Member(self.stack, name)
        enrolment.enrol(self.alice, member, "user", name, "--role", role)
        return member

    def payload(self, member, text):
        folder = member.home / "payload"
        folder.mkdir(exist_ok=True)
        (folder / "motd").write_text(text)
        return folder

    def create(self, operator, name, text="hello\n", *arguments):
        """(the task's id, the join key)"""
        created = operator.parley("task", "create", name, "--payload", self.payload(operator, text), "--server",
                                  self.stack.taskd_address, *arguments)[0]
        self.assertEqual(created["signer"], "%s on %s's phone" % (operator.name, operator.name))
        return created["task"]["name"].split("/")[1], created["joinKey"]["pasted"]

    def join(self, machine, key, *arguments, code=0):
        """Events, or the error's reason; the machine's name in the task is its own."""
        got, output, errors = machine.run("join", "--into", machine.home / "into", "--state", machine.home / "state",
                                          "--name", machine.name, *arguments, stdin=key + "\n")
        self.assertEqual(got, code, output + errors)
        return json.loads(errors)["error"]["reason"] if code else [json.loads(line) for line in output.splitlines()]

    def agent(self, machine, site, *arguments):
        self.alice.parley("key", "label", machine.name, "site=" + site)
        agent = subprocess.Popen(
            machine.command("agent", "--into", machine.home / "into", "--state", machine.home / "state",
                            "--require-operator-signature", *arguments),
            env=machine.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.addCleanup(agent.communicate)
        self.addCleanup(agent.kill)
        return agent

    def until(self, agent, name):
        """The next event of this name."""
        while True:
            event = json.loads(agent.stdout.readline())
            if event["event"] == name:
                return event

    def test_an_agent_renews_its_credential_and_outlives_the_former(self):
        eve, web = self.enrolled("eve", "operator"), self.enrolled("web-2", "device")
        # Alive a moment longer than it takes to start.
        web.parley("device", "renew", "--ttl", "20s")
        agent = self.agent(web, "munich", "--server", self.stack.taskd_address.replace("127.0.0.1", "localhost"))
        self.until(agent, "connected")
        # Of keyd's 90 days.
        self.assertGreater(self.until(agent, "renewed")["notAfter"],
                           time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 89 * 24 * 3600)))
        # The door closes what the former credential had opened, and the agent comes with the next to where it was told.
        self.assertTrue(self.until(agent, "connected")["address"].startswith("localhost:"))
        self.create(eve, "later", "hello\n", "--select", "site=munich")
        self.until(agent, "operatorVerified")
        self.until(agent, "confirmed")
        # The next start finds it in the device file.
        web.parley("org", "verify")

    def test_agent_applies_what_an_enrolled_operator_signed(self):
        bob, web = self.enrolled("bob", "operator"), self.enrolled("web-1", "device")
        agent = self.agent(web, "berlin")
        task, _ = self.create(bob, "motd", "hello\n", "--select", "site=berlin")
        events = []
        while not events or events[-1]["event"] != "confirmed":
            events.append(json.loads(agent.stdout.readline()))
        verified = next(event for event in events if event["event"] == "operatorVerified")
        self.assertEqual((verified["user"], verified["device"]), ("bob", "bob's phone"))
        self.assertEqual((web.home / "into/motd").read_text(), "hello\n")
        # Nothing that nobody enrolled has signed, though taskd offers it: made by a credential without a device.
        by_hand = self.stack.parley("task", "create", "unsigned", "--payload", self.payload(bob, "by hand\n"),
                                    "--select", "site=berlin", "--output", "json")
        self.assertEqual(json.loads(by_hand)["signer"], "")
        while events[-1]["event"] != "declined":
            events.append(json.loads(agent.stdout.readline()))
        self.assertIn("not signed by an operator's device", events[-1]["detail"])
        self.assertEqual((web.home / "into/motd").read_text(), "hello\n")
        self.assertNotEqual(task, "")

    def test_an_operator_vouches_for_a_content_that_comes_back(self):
        rob, web = self.enrolled("rob", "operator"), self.enrolled("web-7", "device")
        task, key = self.create(rob, "returns", "first\n")
        for command in (["publish", task, "--payload", self.payload(rob, "second\n")], ["rollback", task]):
            rob.parley("task", *command, "--server", self.stack.taskd_address)
        events = self.join(web, key, "--require-operator-signature")
        self.assertEqual(events[-1]["revision"], 3)
        verified = next(event for event in events if event["event"] == "operatorVerified")
        self.assertEqual((verified["user"], verified["device"]), ("rob", "rob's phone"))
        self.assertEqual((web.home / "into/motd").read_text(), "first\n")

    def test_a_role_that_changes_takes_its_credentials_with_it(self):
        gus = self.enrolled("gus", "auditor")
        self.assertEqual(gus.refusal("task", "create", "no", "--payload", self.payload(gus, "no\n"), "--server",
                                     self.stack.taskd_address), "ROLE_NOT_ALLOWED")
        self.assertEqual(self.alice.parley("user", "role", "gus", "operator")[0]["revokedCredentials"], 0)
        gus.parley("device", "renew")
        self.create(gus, "as-operator")
        self.assertEqual(self.alice.parley("user", "list")[-1]["role"], "operator")
        # Down again: what was issued for the higher role is refused, and an admin gives another.
        self.assertEqual(self.alice.parley("user", "role", "gus", "auditor")[0]["revokedCredentials"], 1)
        self.assertEqual(gus.refusal("task", "list"), "KEY_REFUSED")
        given = self.alice.home / "gus.credential"
        self.alice.parley("key", "issue", "--for-device", "gus's phone", "--out", given)
        gus.parley("device", "renew", "--from", given)
        gus.parley("task", "list")
        self.assertEqual(gus.refusal("task", "create", "no", "--payload", self.payload(gus, "no\n"), "--server",
                                     self.stack.taskd_address), "ROLE_NOT_ALLOWED")
        # What is for somebody else is not taken, and names that are none are named.
        self.assertEqual(self.alice.refusal("device", "renew", "--from", given), "OTHER_SUBJECT")
        given.unlink()
        self.assertEqual(self.alice.refusal("key", "issue", "--for-device", "nobody's", "--out", given),
                         "MEMBER_NOT_FOUND")
        self.assertEqual(self.alice.refusal("user", "role", "gus", "device"), "USAGE")
        self.assertEqual(gus.refusal("user", "role", "gus", "admin"), "CHAIN_ROLE")

    def test_what_a_revoked_operator_signed_is_refused_everywhere(self):
        carol = self.enrolled("carol", "operator")
        machines = [self.enrolled("db-%d" % number, "device") for number in (1, 2, 3)]
        task, key = self.create(carol, "rules")
        self.join(machines[0], key, "--require-operator-signature")
        self.assertEqual((machines[0].home / "into/motd").read_text(), "hello\n")
        ended = self.alice.parley("user", "revoke", "carol", "--reason", "left")[0]["ended"]
        self.assertEqual((ended["joinKeys"], ended["openTasks"]), (1, [{"name": "tasks/" + task}]))
        # Nobody joins any more with the key that she had made; with another one they would.
        self.assertEqual(self.join(machines[1], key, code=1), "KEY_REFUSED")
        key = self.alice.parley("task", "key", task, "--join-key-folder", self.alice.home, "--server",
                                self.stack.taskd_address)[0]["pasted"]
        # She can do nothing more, and what she did before is not taken by anybody who knows.
        self.assertEqual(carol.refusal("task", "list"), "KEY_REFUSED")
        self.assertEqual(self.join(machines[1], key, "--require-operator-signature", code=1), "OPERATOR_REVOKED")
        self.assertEqual(self.join(machines[2], key, code=1), "OPERATOR_REVOKED")
        for machine in machines[1:]:
            self.assertFalse((machine.home / "into/motd").exists())

    def test_a_revoked_device_of_an_operator_who_stays_signs_no_more(self):
        dora = self.enrolled("dora", "operator")
        laptop, machine = enrolment.Member(self.stack, "laptop"), self.enrolled("web-9", "device")
        enrolment.enrol(dora, laptop, "device")
        _, key = self.create(dora, "first")
        dora.parley("device", "revoke", "laptop's phone")
        self.assertEqual(laptop.refusal("task", "list"), "KEY_REFUSED")
        self.join(machine, key, "--require-operator-signature")

    def test_a_revoked_machine_is_out(self):
        machine = self.enrolled("web-8", "device")
        listed = self.alice.parley("device", "list", "--user", "web-8")
        self.alice.parley("device", "revoke", listed[0]["name"])
        self.assertEqual(machine.refusal("org", "verify"), "KEY_REFUSED")
        self.assertTrue(self.alice.parley("device", "list", "--user", "web-8")[0]["revoked"])


if __name__ == "__main__":
    unittest.main()
