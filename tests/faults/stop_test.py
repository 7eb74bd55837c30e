"""Hindrances at every step: the agent stopped for longer than its lease, names that do not resolve, nothing left of
descriptors, space or inodes. All end confirmed once the hindrance is gone, no task halts, and nothing counts as failed.

A hindrance that is to last a while is held for HELD_S seconds: that is its length, and nothing is waited for by it.
Clients are stopped at every change of a name, which are the same in each run, and at POINTS other calls that are drawn.
"""

import contextlib
import os
import random
import resource
import select
import signal
import unittest

from tests import stack
from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD

SEED = int(os.environ.get("PARLEY_SEED", "1"))
POINTS = int(os.environ.get("PARLEY_POINTS", "4"))
HELD_S = 5
# The shortest that there are.
LEASES = {"answer": 1, "transfer": 1, "apply": 1, "session": 1}
AWAY = ("STATE_TIMED_OUT",)
BAD = ("declined", "rolledBack", "rolledBackFailed", "rollbackFailed", "timedOut", "ineligible", "hindered", "canceled")
# Where a client may be stopped: what it does to files, processes and the network.
CALLS = ",".join(("renameat2", "?renameat", "?rename", "mkdirat", "unlinkat", "fsync", "write", "openat2", "openat",
                  "sendmsg", "clone3", "clone", "connect", "statx", "flock"))
# Those of them by which each step of an update leaves something on the disk, always as often.
NAMES = ("mkdirat", "rename", "renameat2")
# So many clients are stopped at a time.
BATCH = 10


def draw(points):
    """POINTS of them, each call as likely as another; the same of the same after the same PARLEY_SEED."""
    generator, names = random.Random(SEED), sorted({name for name, _ in points})
    drawn = [generator.choice(names) for _ in range(POINTS)]
    return sorted({generator.choice([point for point in points if point[0] == name]) for name in drawn})


def in_batches(points):
    return [points[begin:begin + BATCH] for begin in range(0, len(points), BATCH)]


class Hindered(reported.Reported):

    def assert_nothing_failed(self, task):
        told = self.services.task(task)
        self.assertEqual(told["state"], "STATE_OPEN")
        self.assertEqual({name: told["counts"].get(name) for name in BAD if told["counts"].get(name)}, {})


class Stopped(Hindered):
    """As by the lid of a laptop. `max_failures` 1: the second failure of anybody halts the task."""

    def create(self, files=None, select=None, **fields):
        task, self.key = self.services.create_with_leases(
            "stop", files or NEW, LEASES, max_failures=1,
            **({"selector": {"name": select.name}} if select else {}), **fields)
        self.watch = self.services.watch(task)
        return task

    def stop(self, run):
        run.process.send_signal(signal.SIGSTOP)

    def go_on(self, run):
        run.process.send_signal(signal.SIGCONT)

    def stay_away(self, *states):
        """Until the server has given the client up."""
        self.watch.until_state(self.client.name, *(states or AWAY))

    def ends_confirmed(self, run, revision=1, files=None):
        run.until("confirmed", revision=revision)
        self.assert_settled(files or NEW)
        self.watch.until_state(self.client.name, *machine.CONFIRMED)
        self.assert_nothing_failed(self.watch.task["name"].split("/")[1])

    def in_a_command(self, option):
        gate = self.gate()
        self.create(select=self.client)
        run = self.agent(option, gate.command)
        gate.wait_until_begun()
        self.stop(run)
        self.stay_away()
        # The command ends while the agent does not see it; there may be another attempt.
        gate.open_for_good()
        self.go_on(run)
        self.ends_confirmed(run)

    def test_in_the_check(self):
        self.in_a_command("--check")

    def test_in_the_apply(self):
        self.in_a_command("--apply")

    def test_before_the_offer_is_answered(self):
        task = self.create(OLD, select=self.client)
        run = self.agent()
        run.until("upToDate", "confirmed")
        self.stop(run)
        self.services.publish(task, NEW)
        self.stay_away()
        self.go_on(run)
        self.ends_confirmed(run, revision=2)

    def test_while_the_task_is_paused(self):
        task = self.create(OLD, select=self.client)
        run = self.agent()
        run.until("upToDate", "confirmed")
        self.services.parley("task", "pause", task)
        self.services.publish(task, NEW)
        self.watch.until(lambda w: w.task.get("revision") == "2")
        self.stop(run)
        self.services.parley("task", "resume", task)
        self.stay_away()
        self.go_on(run)
        self.ends_confirmed(run, revision=2)

    def test_while_it_is_deferred(self):
        self.create()
        run = self.keep(self.client.join("--follow", "--defer-until", "2s", key=self.key))
        run.until("waiting")
        self.watch.until_state(self.client.name, "STATE_DEFERRED")
        self.stop(run)
        # On a slow machine it was faster.
        self.stay_away(*AWAY, *machine.CONFIRMED)
        self.go_on(run)
        self.ends_confirmed(run)

    def test_while_the_server_restarts_and_it_is_lost(self):
        gate = self.gate()
        task = self.create(select=self.client)
        run = self.agent("--check", gate.command)
        gate.wait_until_begun()
        self.stop(run)
        self.services.taskd.stop()
        self.services.start_taskd()
        self.watch = self.services.watch(task)
        self.stay_away()
        gate.open_for_good()
        self.go_on(run)
        self.ends_confirmed(run)

    def test_while_it_rolls_back(self):
        gate, armed = self.gate(), self.client.folder / "armed"
        task = self.create({"app.conf": "1\n"}, select=self.client)
        run = self.agent("--apply", "! grep -q bad app.conf && { ! test -e %s || { %s; }; }" % (armed, gate.command))
        run.until("confirmed", revision=1)
        armed.touch()
        self.services.publish(task, {"app.conf": "bad\n"})
        # For the old set, which is back.
        gate.wait_until_begun()
        self.stop(run)
        self.stay_away("STATE_TIMED_OUT", "STATE_ROLLED_BACK")
        gate.open_for_good()
        self.go_on(run)
        run.until("rolledBack")
        self.watch.until_state(self.client.name, "STATE_ROLLED_BACK")
        self.assert_settled({"app.conf": "1\n"})
        self.services.publish(task, {"app.conf": "3\n"})
        self.ends_confirmed(run, revision=3, files={"app.conf": "3\n"})

    def at_system_calls_all_along(self, method, *leases):
        task, key = self.services.create_with_leases("stop", NEW, LEASES, max_failures=1)
        watch, met = self.services.watch(task), set()
        named, others = learn_calls(self, method)
        points = [Point(self, *point) for point in named + draw(others)]
        for batch in in_batches(points):
            for point in batch:
                point.start(key, "--method", method)
            for point in batch:
                point.until_stopped()
            members = self.services.members(task)
            for name in [point.client.name for point in batch if point.client.name in members]:
                # The server does not wait for one that it has offered nothing to.
                if members[name]["state"] != "STATE_JOINED":
                    met.add(watch.until_state(name, *AWAY, *machine.CONFIRMED).get("reason"))
            for point in batch:
                point.go_on()
            for point in batch:
                point.ends_confirmed()
        self.assert_nothing_failed(task)
        self.assertLessEqual(set(leases), met)

    def test_at_system_calls_all_along(self):
        self.at_system_calls_all_along("exchange", "answer_lease", "transfer_lease", "apply_lease")

    def test_at_system_calls_all_along_in_place(self):
        # No name changes while it looks at an offer.
        self.at_system_calls_all_along("files", "transfer_lease", "apply_lease")


class Point:
    """A client of its own that is stopped at one system call."""

    def __init__(self, test, call, number, client=None):
        self.test, self.call, self.number = test, call, number
        self.client = client or test.machine(OLD)
        self.stopped = False

    def start(self, key, *arguments):
        self.trace = machine.Trace(self.call, "STOP", self.number)
        self.run = self.test.keep(self.client.join("--check", "true", "--apply", "true", *arguments, key=key,
                                                   prefix=self.trace.prefix, pass_fds=self.trace.pass_fds))
        self.trace.started()

    def until_stopped(self):
        self.stopped = self.trace.until_stopped(self.run.process.pid)
        return self.stopped

    def go_on(self):
        if self.stopped:
            self.run.process.send_signal(signal.SIGCONT)

    def ends_confirmed(self):
        code, events = self.run.end()
        self.test.assertEqual(code, 0, (self.call, self.number, events, self.run.errors))
        self.test.assertEqual(self.client.files(), NEW, (self.call, self.number))
        self.test.assertEqual(self.client.journals(), [])


def learn_calls(test, method="exchange"):
    """(points at changes of names, points at other calls) of an undisturbed client."""
    trace = machine.Trace(CALLS)
    _, key = test.services.create("calm", NEW)
    run = test.keep(test.machine(OLD).join("--check", "true", "--apply", "true", "--method", method, key=key,
                                           prefix=trace.prefix, pass_fds=trace.pass_fds))
    trace.started()
    code, events = run.end()
    test.assertEqual(code, 0, events)
    points = sorted((name, number) for name, count in trace.calls().items() for number in range(1, count + 1))
    return [point for point in points if point[0] in NAMES], [point for point in points if point[0] not in NAMES]


class UsedUp(Hindered):
    """What a client needs and does not get for some seconds, from some point of its way on."""

    def hinder(self, begin, end, clients=None):
        """All are stopped at their points; then begin(point), on they go for a while, and end(point)."""
        task, key = self.services.create("hindered", NEW, "--max-failures", "1")
        named, others = map(draw, learn_calls(self))
        points = [Point(self, *point, clients() if clients else None) for point in named + others]
        for batch in in_batches(points):
            self.hinder_some(key, batch, begin, end)
        self.assert_nothing_failed(task)

    def hinder_some(self, key, points, begin, end):
        for point in points:
            point.start(key)
        for point in points:
            point.until_stopped()
        # How often the others are made differs: a client whose point does not come stays undisturbed.
        self.assertTrue(all(point.stopped for point in points if point.call in NAMES))
        for point in points:
            begin(point)
        for point in points:
            point.go_on()
        machine.hold(HELD_S)
        for point in points:
            end(point)
        for point in points:
            point.ends_confirmed()

    def test_descriptors(self):
        def begin(point):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pid = point.run.process.pid
                most = max(int(name) for name in os.listdir("/proc/%d/fd" % pid))
                point.limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (most + 1, point.limits[1]))

        def end(point):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                resource.prlimit(point.run.process.pid, resource.RLIMIT_NOFILE, point.limits)

        self.hinder(begin, end)

    def test_descriptors_when_it_rolls_back(self):
        """The apply command cannot be run with the old set, which says nothing of either set."""
        self.task = self.create(OLD)
        self.join("--apply", "true")
        gate = self.gate()
        self.services.publish(self.task, NEW)
        run = self.keep(self.client.join("--apply", gate.command + "; grep old app.conf", task=self.task))
        gate.wait_until_begun()
        limits = resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE)
        # Those that it has it keeps.
        resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        gate.open_for_good()
        run.until("rollingBack", reason="apply_failed")
        run.until("hindered", code="hook_not_started")
        self.assertEqual(self.client.files(), OLD)
        self.assertNotEqual(self.client.journals(), [])
        resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE, limits)
        run.until("rolledBack")
        code, events = run.end()
        self.assertEqual(code, 3, events)
        self.never(events, "rollbackFailed")
        self.assert_settled(OLD)
        self.assertEqual(self.member(self.task)["state"], "STATE_ROLLED_BACK")

    def on_small_disk(self):
        """A machine whose target and state lie on a disk of its own."""
        client = self.machine()
        machine.mount("-t", "tmpfs", "-o", "size=2m,nr_inodes=300", "tmpfs", client.folder)
        client.target.mkdir()
        machine.write_files(client.target, OLD)
        return client

    def test_space(self):
        def begin(point):
            with contextlib.suppress(OSError), open(point.client.folder / "filler", "wb", buffering=0) as filler:
                while True:
                    filler.write(b"x" * 4096)

        def end(point):
            (point.client.folder / "filler").unlink()

        self.hinder(begin, end, self.on_small_disk)

    def test_inodes(self):
        def begin(point):
            (point.client.folder / "filler").mkdir()
            with contextlib.suppress(OSError):
                for number in range(1000):
                    (point.client.folder / "filler" / str(number)).touch()

        def end(point):
            machine.remove_all(point.client.folder / "filler")

        self.hinder(begin, end, self.on_small_disk)

    def test_the_server(self):
        stopped = []

        def begin(_):
            # At once: the way in which it ends would count for those that have not reached it yet, and give up in time.
            if not stopped:
                stopped.append(self.services.taskd.kill())

        def end(_):
            if stopped:
                self.services.start_taskd()
                stopped.clear()

        self.hinder(begin, end)


class NamedServices(machine.Services):
    """taskd is reached by a name, which this test's own /etc/hosts has or has not."""

    NAME = "taskd.parley.test"

    def __init__(self):
        super().__init__()
        self.hosts, self.resolver = self.folder / "hosts", self.folder / "resolv.conf"
        self.resolve(True)
        # Nobody answers there: looking a name up fails for now, and not for good.
        self.resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        machine.mount("--bind", self.hosts, "/etc/hosts")
        machine.mount("--bind", self.resolver, "/etc/resolv.conf")

    def resolve(self, works):
        # In place: it is a mount.
        with open(self.hosts, "w", encoding="utf-8") as file:
            file.write("127.0.0.1 localhost\n" + ("127.0.0.1 %s\n" % self.NAME if works else ""))

    def __exit__(self, *error):
        machine.unmount("/etc/hosts")
        machine.unmount("/etc/resolv.conf")
        super().__exit__(*error)

    def start_keyd(self):
        port = self.taskd_address.split(":")[1]
        self.keyd = stack.Service(
            stack.KEYD, "--data", self.folder / "keyd", "--listen", self.keyd_address, "--keyd-address",
            self.keyd_address, "--taskd-address", "%s:%s" % (self.NAME, port), "--enrolld-address",
            self.enrolld_address, "--names", "localhost,127.0.0.1," + self.NAME).wait_until_serving()

    def start_taskd(self):
        self.taskd = stack.Service(
            stack.TASKD, "--data", self.folder / "taskd", "--listen", self.taskd_address, "--keyd-credential",
            self.credentials / "taskd.credential", "--names", "localhost,127.0.0.1," + self.NAME).wait_until_serving()


class Names(UsedUp):
    """Row D1. The stream is cut too, else nobody looks a name up."""

    @classmethod
    def setUpClass(cls):
        cls.services = NamedServices().__enter__()
        cls.addClassCleanup(cls.services.__exit__, None, None, None)

    def cut(self):
        self.services.resolve(False)
        self.services.taskd.stop()
        self.services.start_taskd()

    def test_that_do_not_resolve(self):
        cut = []

        def begin(_):
            if not cut:
                cut.append(self.cut())

        def end(_):
            self.services.resolve(True)

        self.addCleanup(self.services.resolve, True)
        self.hinder(begin, end)

    def test_that_do_not_resolve_while_an_update_is_undecided(self):
        gate = self.gate()
        self.addCleanup(self.services.resolve, True)
        self.create(select=self.client)
        run = self.agent("--apply", gate.command)
        gate.wait_until_begun()
        self.cut()
        gate.let_go()
        run.until("applied")
        for _ in range(3):
            event = run.until("disconnected", "rollingBack")
            self.assertEqual(event["event"], "disconnected", run.events)
        self.assertEqual(self.client.files(), NEW)
        self.services.resolve(True)
        run.until("confirmed")
        self.assert_settled(NEW)

    def test_that_do_not_resolve_at_the_start(self):
        self.addCleanup(self.services.resolve, True)
        task = self.create(select=self.client)
        self.services.resolve(False)
        run = self.agent()
        for _ in range(2):
            run.until("disconnected")
        self.services.resolve(True)
        run.until("confirmed")
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")

    # Of the services with a name of their own.
    test_descriptors = test_descriptors_when_it_rolls_back = test_space = test_inodes = test_the_server = None


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
