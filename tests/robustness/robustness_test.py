"""Parley as an organisation runs it, under kills, stops, partitions and wrong clocks; what was acknowledged is checked.

Three members of etcd, two replicas of each service, agents in tasks, and an operator at work, each on a machine of its
own. Faults and work are drawn from PARLEY_SEED, which is printed; the same seed gives the same faults at the same
times, and what they meet differs. PARLEY_ROBUSTNESS_SECONDS says how long the faults last, PARLEY_ROBUSTNESS_AGENTS how
many agents there are. Afterwards everything is put right, every agent must come to rest with the right files, and the
history must keep the promises that checker.py names. What a failed run has left is kept, and said where.
"""

import collections
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from tests import stack
from tests.faults import machine
from tests.robustness import checker, cluster, faults, fleet, history, network, office, people, rounds

SEED = int(os.environ.get("PARLEY_SEED", "1"))
SECONDS = int(os.environ.get("PARLEY_ROBUSTNESS_SECONDS", "75"))
AGENTS = int(os.environ.get("PARLEY_ROBUSTNESS_AGENTS", "16"))
OPERATORS = 2
REVOKERS = 4
JOIN_KEYS = 2
ENROLLERS = 2
# Agents whose credentials are revoked in the middle.
DOOMED = 2
# From the moment when all is right again. An agent whose server hung notices after two and a half minutes.
AT_REST_WITHIN_S = 240
MARK = "end"
PROBER = stack.PROGRAMS / "tests/robustness/prober"
AT_REST = machine.CONFIRMED
TREE = pathlib.Path(__file__).absolute().parents[2]


def begin_threads(count, name, run):
    """Threads that draw from their own numbers."""
    threads = [threading.Thread(target=run, args=(random.Random("%d %s %d" % (SEED, name, number)),), name=name)
               for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


class Robustness(unittest.TestCase):

    def setUp(self):
        self.begin = time.monotonic()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-robustness-", dir="/tmp"))
        self.history, self.stop = history.History(), threading.Event()
        self.faults, self.passed, self.closing = None, False, False
        self.addCleanup(self.keep_or_remove)
        self.cluster = cluster.Cluster(self.folder, self.on_end)
        self.office = office.Office(self.cluster, self.history)
        self.enroller = people.Enroller(self.office)
        self.fleet = fleet.Fleet(self.cluster, self.office, AGENTS + DOOMED, self.on_end)
        self.addCleanup(self.kill_all)
        self.faults = faults.Faults(self.cluster, self.fleet.processes, self.say)
        self.errors = []

    def say(self, text):
        print("%7.1f  %s" % (time.monotonic() - self.begin, text), flush=True)

    def on_end(self, process, code, killed):
        if not self.closing:
            self.faults.ended(process, code, killed)

    def keep_or_remove(self):
        if self.passed:
            shutil.rmtree(self.folder)
        else:
            print("what the run has left is in", self.folder, flush=True)

    def kill_all(self):
        self.closing = True
        self.stop.set()
        for process in (*self.fleet.processes.values(), *self.cluster.processes.values()):
            if process.running():
                process.kill()

    def test_what_was_acknowledged_holds(self):
        print("PARLEY_SEED=%d PARLEY_ROBUSTNESS_SECONDS=%d PARLEY_ROBUSTNESS_AGENTS=%d" % (SEED, SECONDS, AGENTS),
              flush=True)
        self.start()
        prober = rounds.Prober(self.cluster, PROBER.absolute(), self.folder / "probes")
        threads = begin_threads(OPERATORS, "operator", self.guarded(self.operate))
        threads += begin_threads(1, "doom", self.guarded(self.doom))
        for count, work in ((REVOKERS, rounds.Revoker(self.office, prober)),
                            (JOIN_KEYS, rounds.JoinKeys(self.office, prober)),
                            (1, rounds.Retirer(self.office, prober, self.renew, self.faults.begin)),
                            (ENROLLERS, self.enroller)):
            threads += begin_threads(count, type(work).__name__, self.guarded(
                lambda draws, work=work: work.run(draws, self.stop)))
        plan = faults.plan(random.Random(SEED), SECONDS, self.fleet.names[:AGENTS])
        self.faults.run(plan, SECONDS)
        self.say("all is put right: %s" % self.faults.counts)
        self.stop.set()
        for thread in threads:
            thread.join()
        self.say("the operators have stopped")
        resting = threading.Event()
        keeper = threading.Thread(target=self.faults.keep_running, args=(resting,))
        keeper.start()
        try:
            self.come_to_rest()
            self.say("every agent is at rest")
        finally:
            resting.set()
            keeper.join()
        prober.close()
        self.check()
        self.passed = True

    def start(self):
        self.cluster.start()
        self.say("%d servers serve" % len(cluster.SERVERS))
        self.office.open()
        self.fleet.start()
        for group in office.GROUPS:
            while not self.office.create(group):
                pass
        self.await_confirmed()
        self.say("%d agents have confirmed" % len(self.fleet.names))

    def guarded(self, run):
        """What a thread raises fails the test."""
        def guard(draws):
            try:
                run(draws)
            except Exception as error:  # pylint: disable=broad-exception-caught
                self.errors.append("%s: %r" % (threading.current_thread().name, error))
                raise
        return guard

    def operate(self, draws):
        while not self.stop.is_set():
            self.office.step(draws)
            self.stop.wait(draws.uniform(0, 0.3))

    def doom(self, draws):
        """Revokes some agents' credentials."""
        for name in self.fleet.names[AGENTS:]:
            self.stop.wait(draws.uniform(0, SECONDS / (DOOMED + 1)))
            key = self.fleet.credentials[name]
            while not self.office.revoke(key, draws.choice(cluster.KEYDS)) and not self.stop.is_set():
                self.stop.wait(draws.uniform(0, 1))

    def renew(self, stop):
        return self.fleet.renew(self.fleet.names[:AGENTS], stop, self.faults.start_anew)

    # After the faults.

    def come_to_rest(self):
        for task in self.office.list():
            known = self.office.find(task)
            while task["state"] == "STATE_PAUSED" and not self.office.change(known, "resume"):
                pass
        self.await_confirmed(self.fleet.names[:AGENTS])
        for task in self.office.tasks:
            for at in cluster.TASKDS:
                self.office.read(task, at)

    def await_confirmed(self, names=None):
        """Until each agent has the newest revision of each open task, as the server says."""
        end = time.monotonic() + AT_REST_WITHIN_S
        for task in self.office.list():
            if task["state"] != "STATE_OPEN":
                continue
            clients = [name for name in names or self.fleet.names
                       if self.fleet.groups[name] == task["selector"]["group"]]
            watch = machine.Watch(self.office, task["name"].split("/")[1])
            try:
                watch.until(lambda w, clients=clients: w.task and all(
                    w.member(client).get("state") in AT_REST and w.member(client)["revision"] == w.task["revision"]
                    for client in clients), max(1, end - time.monotonic()))
            finally:
                watch.close()

    def expected(self):
        """What may be on each disk: of an open task the newest set, of an ended one any that it had, or nothing."""
        expected = {name: {} for name in self.fleet.names}
        for task in self.office.list():
            title, newest = task["title"], int(task["payloadBytes"]) - office.SMALLEST_BYTES
            numbers = [newest] if task["state"] == "STATE_OPEN" else range(1, self.office.last(title) + 1)
            sets = [office.files(title, number) for number in numbers]
            for name, group in self.fleet.groups.items():
                if group != task["selector"]["group"]:
                    continue
                for path in sets[0]:
                    expected[name][path] = [each[path] for each in sets] + (
                        [] if task["state"] == "STATE_OPEN" else [None])
        for name in self.fleet.names[AGENTS:]:
            expected[name] = self.expected_of_the_doomed(name)
        return expected

    def expected_of_the_doomed(self, name):
        """Nothing whose publishing began after the acknowledgement that its credential was revoked."""
        key = self.fleet.credentials[name]
        ends = [call.end for call in self.history.of("revoke", key) if call.acknowledged()]
        may = collections.defaultdict(lambda: [None])
        for call in self.history.all():
            late = ends and call.begin > min(ends)
            if call.kind in ("create", "publish") and not late and call.about.startswith(self.fleet.groups[name]):
                for path, text in office.files(call.about, call.argument).items():
                    may[path].append(text)
        return may

    def stored(self):
        """What etcd has kept of every change: (records of clients, (task, set, revision) of every revision)."""
        marked = self.cluster.etcdctl("put", MARK, "")
        marked.communicate()
        watch = self.cluster.etcdctl("watch", "--prefix", "", "--rev", "1", "--write-out", "json")
        stubs = stack.python_stubs("services/taskd/domain/record.proto", roots=(
            TREE, TREE / "proto", stack.GOOGLEAPIS))
        lines = []
        for line in watch.stdout:
            lines.append(line)
            if any(event["kv"]["key"] == "ZW5k" for event in json.loads(line).get("Events") or []):
                break
        watch.kill()
        watch.communicate()
        read = subprocess.run([stack.PYTHON, TREE / "tests/robustness/puts.py", stubs],
                              input="".join(lines), capture_output=True, text=True, check=True)
        records = [json.loads(line) for line in read.stdout.splitlines()]
        return ([history.Put(**each) for each in records if "client" in each],
                {("task/" + each["task"], each["bytes"] - office.SMALLEST_BYTES, each["revision"])
                 for each in records if "client" not in each})

    def check(self):
        calls = self.history.all()
        probes = [history.Probe(**json.loads(line)) for line in (self.folder / "probes").read_text().splitlines()]
        puts, revisions = self.stored()
        found = list(self.errors)
        found += ["%s ended by itself with code %d" % each for each in self.faults.ended_alone]
        found += checker.registers(checker.settle([*calls, *checker.joins(probes)], revisions))
        found += checker.admissions(calls, probes)
        found += checker.retirements(calls, probes, rounds.RETIRED_WITHIN_S)
        found += checker.joined(probes, {put.client for put in puts})
        found += checker.chain(calls, {at: people.devices(self.office, at) for at in cluster.KEYDS})
        found += people.useless(self.office, self.enroller.enrolled)
        found += checker.confirmations(puts)
        found += checker.disks(self.expected(), self.fleet.found())
        try:
            self.assertIn("unbroken chain", self.office.insist(self.office.parley, "audit", "verify"))
        except (AssertionError, history.Refused) as why:
            found.append("the audit log: %s" % why)
        self.tell(calls, probes, puts)
        if found:
            (self.folder / "calls").write_text("".join("%s: %s\n" % (call.key, checker.show(call)) for call in calls))
            (self.folder / "puts").write_text("".join("%s\n" % put for put in puts))
            self.fail("%d promises are broken:\n%s" % (len(found), "\n".join(found)))

    def tell(self, calls, probes, puts):
        acknowledged = collections.Counter(call.kind for call in calls if call.acknowledged())
        self.say("acknowledged: %s" % dict(acknowledged))
        self.say("failed: %s" % dict(collections.Counter(call.kind for call in calls if not call.acknowledged())))
        self.say("probes: %d, of which %d were admitted: %s" % (
            len(probes), sum(probe.admitted() for probe in probes),
            dict(collections.Counter(probe.answer for probe in probes))))
        self.say("%d records of clients, %d confirmations" % (
            len(puts), sum(put.state == checker.CONFIRMED for put in puts)))
        self.say("tries to join: %s" % dict(collections.Counter(each.result for each in checker.joins(probes))))
        self.say("%d admissions under a root that had just been retired" % len(checker.retirements(calls, probes, 0)))


if __name__ == "__main__":
    if network.enter():
        unittest.main()
