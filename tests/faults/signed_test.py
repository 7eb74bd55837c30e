"""An operator's signature on what is offered, and the chain that it depends on: clocks, and keyd that is away."""

import contextlib
import json
import signal
import subprocess
import unittest

from tests import enrolment, stack
from tests.faults import machine

FILES = {"app.conf": "new\n"}
CONFIRMED_WITHIN_S = 60
# How long keyd is away. An agent that asks twice a second connects more than 30 times.
AWAY_S = 15


class ForwardedStack(stack.Stack):
    """keyd and taskd are reached by other addresses, where connections are counted, also while one is away."""

    def start_keyd(self):
        if self.keyd is None:
            self.forwarders = [machine.Forwarder(address) for address in (self.keyd_address, self.taskd_address)]
        self.keyd = stack.Service(
            stack.KEYD, "--data", self.folder / "keyd", "--listen", self.keyd_address, "--keyd-address",
            self.forwarders[0].address, "--taskd-address", self.forwarders[1].address, "--enrolld-address",
            self.enrolld_address, "--names", "localhost,127.0.0.1").wait_until_serving()


class Signed(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = ForwardedStack()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.__enter__()
        for forwarder in cls.stack.forwarders:
            cls.addClassCleanup(forwarder.close)
        cls.alice = enrolment.Member(cls.stack, "alice").found()
        cls.bob = cls.enrolled("bob", "operator")

    @classmethod
    def enrolled(cls, name, role):
        member = enrolment.Member(cls.stack, name)
        enrolment.enrol(cls.alice, member, "user", name, "--role", role)
        return member

    def payload(self, files):
        payload = self.bob.home / "payload"
        payload.mkdir(exist_ok=True)
        machine.write_files(payload, files)
        return payload

    def create(self, name, *arguments):
        return self.bob.parley("task", "create", name, "--payload", self.payload(FILES), "--server",
                               self.stack.taskd_address, *arguments)[0]

    def agent(self, web, clock=None):
        self.alice.parley("key", "label", web.name, "name=" + web.name)
        process = subprocess.Popen(
            web.command("agent", "--into", web.home / "into", "--state", web.home / "state",
                        "--require-operator-signature"),
            env={**web.environment(), **(clock.environment() if clock else {})}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        run = machine.Run(process)
        self.addCleanup(machine.end_all, [run])
        return run

    def assert_confirmed_without_failure(self, run, task, web):
        run.until("confirmed", timeout=CONFIRMED_WITHIN_S)
        self.assertEqual(machine.read_files(web.home / "into"), FILES)
        for event in run.events:
            self.assertNotIn(event["event"], ("declined", "rollingBack", "failed"), run.events)
        told = json.loads(self.stack.parley("--output", "json", "task", "get", task))
        self.assertEqual({key: value for key, value in told["counts"].items() if value}, {"joined": 1, "confirmed": 1})
        self.assertEqual(told["state"], "STATE_OPEN")

    def clock_is_behind_at_boot(self, name, *arguments):
        web = self.enrolled(name, "device")
        clock = machine.Clock(web.home, "-1h")
        task = self.create(name, "--select", "name=" + name, "--max-failures", "1", *arguments)["task"]["name"]
        run = self.agent(web, clock)
        event = run.until("hindered", "declined", "rollingBack", "confirmed")
        self.assertEqual(event["event"], "hindered", run.events)
        self.assertIn("clock", event["detail"])
        self.assertFalse((web.home / "into").exists())
        clock.set("+0")
        self.assert_confirmed_without_failure(run, task, web)

    def test_clock_is_behind_at_boot(self):
        self.clock_is_behind_at_boot("web-1")

    def test_clock_is_behind_at_boot_and_the_task_is_forced(self):
        self.clock_is_behind_at_boot("web-2", "--forced")

    def test_keyd_is_away_while_an_offer_waits(self):
        web = self.enrolled("web-3", "device")
        run = self.agent(web)
        run.until("idle")
        run.process.send_signal(signal.SIGSTOP)
        task = self.create("web-3", "--select", "name=web-3")["task"]["name"]
        self.stack.keyd.kill()
        for forwarder in self.stack.forwarders:
            forwarder.of = run.process.pid
        run.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(AssertionError):
            run.until("confirmed", "declined", timeout=AWAY_S)
            self.fail(run.events)
        asked = sum(forwarder.connections for forwarder in self.stack.forwarders)
        self.stack.start_keyd()
        self.assertGreater(asked, 0)
        self.assertLess(asked, 2 * AWAY_S, run.events)
        self.assert_confirmed_without_failure(run, task, web)

    def test_each_revision_that_is_followed_is_said_to_be_signed(self):
        web = self.enrolled("web-4", "device")
        created = self.create("web-4")
        process = subprocess.Popen(
            web.command("join", "--into", web.home / "into", "--state", web.home / "state", "--name", web.name,
                        "--follow"), env={**web.environment(), "PARLEY_JOIN_KEY": created["joinKey"]["pasted"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        run = machine.Run(process)
        self.addCleanup(machine.end_all, [run])
        run.until("confirmed", revision=1)
        for revision in (2, 3):
            self.bob.parley("task", "publish", created["task"]["name"].split("/")[1], "--payload",
                            self.payload({"app.conf": "%d\n" % revision}), "--server", self.stack.taskd_address)
            run.until("confirmed", revision=revision)
        for name in ("offered", "operatorVerified"):
            self.assertEqual(len([event for event in run.events if event["event"] == name]), 3, run.events)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
