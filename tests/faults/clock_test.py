"""A clock that is wrong: an hour behind at boot or ahead, set while the agent runs, and while an update is undecided.

libfaketime gives the agent the time of a file, and leaves the monotonic clocks alone as whoever sets a clock does. What
an operator has signed is in signed_test.
"""

import signal
import time
import unittest

from tests.faults import machine

FILES = {"app.conf": "new\n"}
OLD = {"app.conf": "old\n"}
# From the moment at which the clock is right.
CONFIRMED_WITHIN_S = 60
FAILED = ("STATE_DECLINED", "STATE_ROLLED_BACK", "STATE_ROLLBACK_FAILED", "STATE_TIMED_OUT", "STATE_CANCELED")


class WrongClock(unittest.TestCase):

    number = 0

    @classmethod
    def setUpClass(cls):
        cls.services = machine.Services().__enter__()
        cls.addClassCleanup(cls.services.__exit__, None, None, None)

    def setUp(self):
        type(self).number += 1
        self.client = machine.Client(self.services, "m%d" % self.number, OLD)
        self.runs = []
        self.addCleanup(machine.end_all, self.runs)

    def task(self, *arguments):
        task, self.key = self.services.create("clock", FILES, *arguments)
        return task, self.services.watch(task)

    def begin(self, run):
        self.runs.append(run)
        return run

    def agent(self, clock, *arguments):
        return self.begin(self.client.agent(*arguments, env=clock.environment()))

    def select(self):
        return ["--select", "name=" + self.client.name]

    def waits(self, run, watch, may_go_on=False):
        """It says so, and the server knows. False when it has gone on."""
        event = run.until("hindered", "declined", "rollingBack", "failed", "confirmed")
        if may_go_on and event["event"] == "confirmed":
            return False
        self.assertEqual(event["event"], "hindered", run.events)
        self.assertIn("clock", event["detail"])
        member = watch.until(lambda w: w.member(self.client.name).get("hindered") and w.member(self.client.name))
        self.assertIn("clock", member["detail"], member)
        return True

    def confirmed(self, run, watch, task):
        right = time.monotonic()
        watch.until_state(self.client.name, *machine.CONFIRMED, timeout=CONFIRMED_WITHIN_S)
        self.assertLess(time.monotonic() - right, CONFIRMED_WITHIN_S)
        run.until("confirmed")
        self.assertEqual(self.client.files(), FILES)
        told = self.services.task(task)
        self.assertEqual(told["state"], "STATE_OPEN")
        counts = {key: value for key, value in told["counts"].items() if value}
        self.assertEqual(counts, {"joined": 1, "confirmed": 1})
        for event in run.events:
            self.assertNotIn(event["event"], ("declined", "rollingBack", "rollbackFailed"), run.events)

    def wrong_at_boot(self, offset, *arguments):
        clock = machine.Clock(self.client.folder, offset)
        task, watch = self.task(*self.select(), "--max-failures", "1", *arguments)
        run = self.agent(clock)
        # Behind, nothing that it is offered is over: unless an operator's signature says when it was made.
        if self.waits(run, watch, may_go_on=offset.startswith("-")):
            self.assertEqual(self.client.files(), OLD)
            clock.set("+0")
            self.confirmed(run, watch, task)
        self.assertEqual(self.client.files(), FILES)

    def test_behind_at_boot(self):
        self.wrong_at_boot("-1h")

    def test_behind_at_boot_and_the_task_is_forced(self):
        self.wrong_at_boot("-1h", "--forced")

    def test_ahead_at_boot_and_the_task_seems_over(self):
        self.wrong_at_boot("+1h", "--ttl", "30m")

    def test_ahead_at_boot_and_the_task_is_forced(self):
        self.wrong_at_boot("+1h", "--ttl", "30m", "--forced")

    def test_a_join_waits_too(self):
        clock = machine.Clock(self.client.folder, "+0")
        task, watch = self.task("--ttl", "30m")
        run = self.begin(self.client.join("--defer-until", "3s", key=self.key, env=clock.environment()))
        run.until("waiting")
        clock.set("+1h")
        self.waits(run, watch)
        clock.set("+0")
        code, events = run.end()
        self.assertEqual(code, 0, events)
        self.assertEqual(self.client.files(), FILES)
        self.assertEqual(self.services.task(task)["state"], "STATE_OPEN")

    def test_set_to_and_fro_while_the_agent_runs(self):
        clock = machine.Clock(self.client.folder, "+0")
        task, watch = self.task(*self.select(), "--ttl", "30m", "--max-failures", "1")
        run = self.agent(clock)
        run.until("confirmed")
        for revision, offset in ((2, "-1h"), (3, "+1h"), (4, "-3d")):
            clock.set(offset)
            # A program looks at a clock every other second, and counts in between.
            machine.hold(3)
            self.services.publish(task, {"app.conf": "%d\n" % revision})
            if self.waits(run, watch, may_go_on=offset.startswith("-")):
                clock.set("+0")
                run.until("confirmed", revision=revision)
            clock.set("+0")
            self.assertEqual(self.client.files(), {"app.conf": "%d\n" % revision})
        counts = self.services.task(task)["counts"]
        self.assertEqual({key: value for key, value in counts.items() if value}, {"joined": 1, "confirmed": 1})

    def set_while_the_check_runs(self, offset):
        check = machine.Gate(self.client.folder)
        clock = machine.Clock(self.client.folder, "+0")
        task, watch = self.task(*self.select(), "--ttl", "30m")
        run = self.agent(clock, "--check", check.command, "--confirm-timeout", "5m")
        check.wait_until_begun()
        clock.set(offset)
        check.let_go()
        # Its key, which ends with the task, seems to be over, and perhaps nothing is.
        if run.until("confirmed", "disconnected", "hindered", "rollingBack")["event"] != "confirmed":
            clock.set("+0")
            run.until("confirmed")
        self.assertEqual(self.client.files(), FILES)
        watch.until_state(self.client.name, "STATE_CONFIRMED")
        self.assertEqual(self.services.task(task)["state"], "STATE_OPEN")

    def test_set_ahead_while_the_check_runs(self):
        self.set_while_the_check_runs("+1h")

    def test_set_behind_while_the_check_runs(self):
        self.set_while_the_check_runs("-1h")

    def undecided_without_the_server(self, offset, timeout):
        """A client whose set is applied and not confirmed, its task, the watch, and its clock, which has been set."""
        taskd = self.services.taskd.process
        self.addCleanup(taskd.send_signal, signal.SIGCONT)
        clock = machine.Clock(self.client.folder, "+0")
        task, watch = self.task(*self.select())
        run = self.agent(clock, "--check", "kill -STOP %d" % taskd.pid, "--apply", "true", "--confirm-timeout", timeout)
        run.until("applied")
        clock.set(offset)
        return run, task, watch, clock

    def test_set_ahead_while_undecided_ends_nothing_early(self):
        run, task, watch, clock = self.undecided_without_the_server("+1h", "10m")
        run.until("disconnected")
        self.assertEqual(self.client.files(), FILES)
        clock.set("+0")
        self.services.taskd.process.send_signal(signal.SIGCONT)
        self.confirmed(run, watch, task)

    def test_set_behind_while_undecided_makes_nothing_last_longer(self):
        start = time.monotonic()
        run, _, _, _ = self.undecided_without_the_server("-1h", "5s")
        run.until("rolledBack")
        self.assertLess(time.monotonic() - start, 60)
        self.assertEqual(self.client.files(), OLD)


if __name__ == "__main__":
    unittest.main()
