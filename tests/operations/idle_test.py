"""What an agent costs that is connected and has nothing to do. Counts, over a minute; nothing here is about time."""

import json
import os
import pathlib
import select
import subprocess
import tempfile
import unittest

from bench.idle import wakes
from tests import stack

SECONDS = 60
# gRPC 1.51 as it is wakes an idle process 210 times a minute.
MOST_WAKES = 20
MOST_RESIDENT_MIB = 20
MOST_LOOKS = 15
# Of /proc/net/tcp: the connection stands; the kernel's timer probes it.
ESTABLISHED, KEEPALIVE = "01", "02"


class Idle(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)

    def setUp(self):
        folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
        self.into = folder / "into"
        self.stack.issue("device", "idle", "--label", "site=berlin")
        self.agent = self.stack.popen("agent", "--into", self.into, "--state", folder / "state", "--output", "json",
                                      credential="idle", stdin=subprocess.DEVNULL)
        self.addCleanup(self.agent.communicate)
        self.addCleanup(self.agent.terminate)
        self.events = (json.loads(line) for line in self.agent.stdout)
        next(event for event in self.events if event["event"] == "idle")

    def assert_silent(self, seconds):
        """Nothing happens to the agent for as long."""
        self.assertFalse(select.select([self.agent.stdout], [], [], seconds)[0])

    def timers_of_connections(self):
        """The kernel's timer for each connection of the agent to taskd."""
        inodes = {os.readlink(fd)[len("socket:["):-1] for fd in pathlib.Path("/proc/%d/fd" % self.agent.pid).iterdir()
                  if os.readlink(fd).startswith("socket:[")}
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
        return [row[5].split(":")[0] for row in rows if row[9] in inodes and row[3] == ESTABLISHED]

    def test_an_idle_agent_sleeps_and_still_hears(self):
        # What belongs to the connection is done when a second look finds that nothing happened. An agent that never
        # sleeps is measured as it is.
        before, after = {}, wakes.so_far(self.agent.pid)
        for _ in range(MOST_LOOKS):
            if before == after:
                break
            self.assert_silent(2)
            before, after = after, wakes.so_far(self.agent.pid)
        self.assert_silent(SECONDS)
        woken = wakes.since(self.agent.pid, before)
        self.assertLessEqual(sum(woken.values()), MOST_WAKES, woken)
        # One sign of life in two minutes may fall into this one: there, and back.
        self.assertLessEqual(max(wakes.own(woken).values()), 2, woken)
        self.assertLess(wakes.resident_mib(self.agent.pid), MOST_RESIDENT_MIB)
        # A network that dies is noticed by the kernel, which wakes nobody to look.
        self.assertEqual(set(self.timers_of_connections()), {KEEPALIVE})
        payload = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
        (payload / "motd").write_text("woken")
        self.stack.parley("task", "create", "wake", "--payload", payload, "--select", "site=berlin")
        next(event for event in self.events if event["event"] == "confirmed")
        self.assertEqual((self.into / "motd").read_text(), "woken")


if __name__ == "__main__":
    unittest.main()
