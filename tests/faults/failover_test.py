"""Clients of a name with two addresses, of which one ends, hangs, or is cut off: they go on at the other.

Behind both is one taskd, by a forwarder for each address, which can be killed and stopped like a replica. All of it is
in a network of its own, where packets can be dropped.
"""

import contextlib
import json
import os
import pathlib
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from tests import stack
from tests.faults import machine

NAME = "taskd.test"
ADDRESSES = ("127.0.0.2", "127.0.0.3")
# States of /proc/net/tcp.
ESTABLISHED, SYN_SENT = "01", "02"
FORWARD = """
import socket, sys, threading
here, there = [(host, int(port)) for host, port in (text.split(":") for text in sys.argv[1:])]
listener = socket.create_server(here, backlog=64)
print("ready", flush=True)
def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
while True:
    client, _ = listener.accept()
    try:
        server = socket.create_connection(there)
    except OSError:
        client.close()
        continue
    for pair in ((client, server), (server, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""
# What a client promises: to be at another address after the connection was closed, and after its peer fell silent.
AFTER_CLOSE_S, AFTER_SILENCE_S = 1, 10
# The longest try at one silent address, and what a program takes besides on a busy machine.
TRY_S, BESIDES_S = 3, 2


class Lines:
    """What a program prints, as JSON, read as it comes."""

    def __init__(self, process):
        self.process = process
        self._queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    def until(self, condition):
        """Waits for the next event of which this holds."""
        end = time.monotonic() + stack.TIMEOUT_S
        while True:
            event = self._queue.get(timeout=max(0, end - time.monotonic()))
            if event is None:
                raise AssertionError("the program has ended: " + self.process.stderr.read())
            if condition(event):
                return event


class Failover(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)
        hosts = cls.stack.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join("%s %s\n" % (address, NAME) for address in ADDRESSES))
        machine.mount("--bind", hosts, "/etc/hosts")
        cls.addClassCleanup(machine.unmount, "/etc/hosts")
        cls.port = stack.free_address().split(":")[1]
        cls.server = "%s:%s" % (NAME, cls.port)
        cls.stack.issue("device", "web", "--label", "site=berlin")

    def setUp(self):
        self.forwarders = {}
        for address in ADDRESSES:
            self.forward(address)
        self.addCleanup(lambda: [self.end(address) for address in ADDRESSES])

    def forward(self, address):
        process = subprocess.Popen([sys.executable, "-c", FORWARD, "%s:%s" % (address, self.port),
                                    self.stack.taskd_address], stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.forwarders[address] = process

    def end(self, address):
        self.forwarders[address].kill()
        self.forwarders[address].communicate()

    def connections(self, state):
        """From the address and port here to those there."""
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
        decoded = []
        for row in rows:
            if row[3] == state:
                ends = [end.split(":") for end in row[1:3]]
                decoded.append([(".".join(str(byte) for byte in reversed(bytes.fromhex(host))), int(port, 16))
                                for host, port in ends])
        return decoded

    def in_use(self):
        """The address that the one client is connected to."""
        found = {there[0] for _, there in self.connections(ESTABLISHED) if there[1] == int(self.port)}
        self.assertEqual(len(found), 1, found)
        return found.pop()

    @contextlib.contextmanager
    def dropped(self, *match):
        rule = ["INPUT", "-p", "tcp", *match, "-j", "DROP"]
        subprocess.run(["iptables", "-w", "-I", *rule], check=True)
        try:
            yield
        finally:
            subprocess.run(["iptables", "-w", "-D", *rule], check=True)

    @contextlib.contextmanager
    def killed(self, address):
        self.end(address)
        yield
        self.forward(address)

    @contextlib.contextmanager
    def stopped(self, address):
        self.forwarders[address].send_signal(signal.SIGSTOP)
        yield
        self.forwarders[address].send_signal(signal.SIGCONT)

    def deaf(self, address):
        """Nothing arrives there."""
        return self.dropped("-d", address, "--dport", self.port)

    def mute(self, address):
        """Nothing arrives from there."""
        return self.dropped("-s", address, "--sport", self.port)

    def agent(self):
        folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
        agent = self.stack.popen("agent", "--into", folder / "into", "--state", folder / "state", "--server",
                                 self.server, "--output", "json", credential="web", stdin=subprocess.DEVNULL)
        self.addCleanup(agent.communicate)
        self.addCleanup(agent.terminate)
        return Lines(agent)

    def absence(self, agent, fault):
        """Seconds from the fault at the address in use to the agent's connection to the other one."""
        agent.until(lambda event: event["event"] == "idle")
        address = self.in_use()
        began = time.monotonic()
        with fault(address):
            agent.until(lambda event: event["event"] == "connected")
            taken = time.monotonic() - began
        return taken

    def test_an_agent_is_at_another_replica_at_once_when_its_own_ends(self):
        agent = self.agent()
        taken = [self.absence(agent, self.killed) for _ in range(5)]
        print("seconds from the kill of a replica to the connection to another:", taken)
        self.assertLess(statistics.median(taken), AFTER_CLOSE_S, taken)

    def test_an_agent_is_at_another_replica_soon_when_its_own_falls_silent(self):
        agent = self.agent()
        for fault in (self.deaf, self.mute):
            with self.subTest(fault.__name__):
                self.assertLess(self.absence(agent, fault), AFTER_SILENCE_S + BESIDES_S)

    def watched(self, server, watches=1):
        """A task, and what watches of it print."""
        payload = self.stack.home / "motd"
        payload.write_text("hello\n")
        made = json.loads(self.stack.parley("--output", "json", "task", "create", "watched", "--payload", payload))
        task = made["task"]["name"].split("/")[1]
        watching = []
        for _ in range(watches):
            process = self.stack.popen("--output", "json", "task", "watch", task, "--server", server,
                                       stdin=subprocess.DEVNULL)
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
            watching.append(Lines(process))
        for watch in watching:
            watch.until(lambda event: "cursor" in event)
        return task, watching

    def shows(self, task, watching):
        """Whether the watches show changes; the seconds until the last one showed the slowest of them."""
        slowest = 0
        for command, state in (("pause", "STATE_PAUSED"), ("resume", "STATE_OPEN")):
            self.stack.parley("task", command, task)
            began = time.monotonic()
            for watch in watching:
                watch.until(lambda event, wanted=state: event.get("task", {}).get("state") == wanted)
            slowest = max(slowest, time.monotonic() - began)
        return slowest

    def end_with_the_task(self, task, watching):
        self.stack.parley("task", "abort", task)
        for watch in watching:
            watch.until(lambda event: event.get("task", {}).get("state") == "STATE_ABORTED")
            self.assertEqual(watch.process.wait(stack.TIMEOUT_S), 1)
            self.assertEqual(watch.process.stderr.read(), "")

    def test_a_watch_goes_on_at_another_replica(self):
        task, watching = self.watched(self.server)
        for fault in (self.killed, self.stopped, self.deaf, self.mute):
            with self.subTest(fault.__name__), fault(self.in_use()):
                self.assertLess(self.shows(task, watching), AFTER_SILENCE_S + BESIDES_S)
        self.end_with_the_task(task, watching)

    def test_watches_outlive_restarts_of_their_server(self):
        # Some of them come back while the server is still ending what it does.
        task, watching = self.watched(self.stack.taskd_address, watches=16)
        for _ in range(3):
            self.assertEqual(self.stack.taskd.stop(), 0)
            self.stack.start_taskd()
            self.shows(task, watching)
        self.end_with_the_task(task, watching)

    def test_a_command_passes_over_an_address_that_swallows_packets(self):
        with self.deaf(ADDRESSES[0]):
            for _ in range(6):
                began = time.monotonic()
                self.stack.parley("task", "list", "--server", self.server)
                self.assertLess(time.monotonic() - began, TRY_S + BESIDES_S)

    def test_a_way_that_was_lost_is_not_waited_for(self):
        # An address that leads to a pod that has gone, until a new connection is led to another.
        address = "%s:%s" % (ADDRESSES[0], self.port)
        with contextlib.ExitStack() as lost:
            with self.deaf(ADDRESSES[0]):
                began = time.monotonic()
                command = self.stack.popen("task", "list", "--server", address, stdin=subprocess.DEVNULL)
                while not (trying := self.connections(SYN_SENT)):
                    self.assertLess(time.monotonic() - began, stack.TIMEOUT_S)
                ((_, port), _), = trying
                lost.enter_context(self.dropped("-d", ADDRESSES[0], "--sport", str(port)))
            _, errors = command.communicate(timeout=stack.TIMEOUT_S)
            self.assertEqual(command.returncode, 0, errors)
            self.assertLess(time.monotonic() - began, TRY_S + BESIDES_S)


if __name__ == "__main__":
    machine.enter_private_mounts()
    if machine.enter_private_network():
        unittest.main()
