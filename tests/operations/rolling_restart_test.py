"""Every service restarted in turn while 500 agents hold their streams: all are back, not at once, and no task fails."""

import collections
import json
import subprocess
import threading
import time
import unittest

from tests import stack

AGENTS = 500
AGENTS_PROGRAM = stack.PROGRAMS / "tests/operations/agents"
TIMEOUT_S = 120
# Of those who were cut off together, so many may choose to come back within the same tenth of a second. When they are
# back then depends on the machine too.
MOST_IN_A_BURST = 0.3
BURST_S = 0.1


class Agents:
    """The agents' process, and what they have said."""

    def __init__(self, services):
        self._changed = threading.Condition()
        self._events = []
        folder = services.folder / "agents"
        folder.mkdir()
        self.process = subprocess.Popen(
            [AGENTS_PROGRAM, services.credentials / "admin.credential", str(AGENTS), folder], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self._events.append(json.loads(line))
                self._changed.notify_all()

    def mark(self):
        with self._changed:
            return len(self._events)

    def since(self, mark, *kinds):
        with self._changed:
            return [event for event in self._events[mark:] if event["event"] in kinds]

    def wait(self, kind, count, mark=0):
        """Until so many agents have told of this; their first of each."""
        def found():
            first = {}
            for event in self._events[mark:]:
                if event["event"] == kind:
                    first.setdefault(event["agent"], event["seconds"])
            return first if len(first) >= count else None
        with self._changed:
            first = self._changed.wait_for(found, TIMEOUT_S)
        if first is None:
            raise AssertionError("not %d agents are %s: %s" % (count, kind, collections.Counter(
                (event["event"], event["why"]) for event in self.since(mark, kind, "disconnected", "failed", "ended"))))
        return first

    def stop(self):
        self.process.stdin.close()
        self._reader.join(TIMEOUT_S)
        self.process.stdout.close()
        return self.process.wait(TIMEOUT_S)


def largest_burst(seconds):
    """How many fall into the fullest tenth of a second."""
    times = sorted(seconds)
    return max(sum(1 for other in times if begin <= other < begin + BURST_S) for begin in times)


class RollingRestart(unittest.TestCase):

    def restart(self, services, name):
        began = time.monotonic()
        self.assertEqual(getattr(services, name).stop(), 0)
        took = time.monotonic() - began
        getattr(services, "start_" + name)()
        return took, time.monotonic() - began

    def test_every_agent_comes_back_and_no_task_fails(self):
        services = self.enterContext(stack.Stack())
        agents = Agents(services)
        self.addCleanup(agents.process.kill)
        began = time.monotonic()
        agents.wait("connected", AGENTS)
        print("agents: connected in %.1f s" % (time.monotonic() - began))

        for name in ("keyd", "enrolld"):
            mark = agents.mark()
            ended, served = self.restart(services, name)
            print("%s: ended in %.2f s, served again after %.2f s" % (name, ended, served))
            self.assertEqual(agents.since(mark, "disconnected"), [], "agents hold streams of taskd alone")
        mark = agents.mark()
        ended, served = self.restart(services, "taskd")
        back = agents.wait("connected", AGENTS, mark)
        pauses = {}
        for event in agents.since(mark, "disconnected"):
            pauses.setdefault(event["agent"], event["pause"])
        self.assertEqual(len(pauses), AGENTS)
        burst = largest_burst(pauses.values())
        print("taskd: ended in %.2f s, served again after %.2f s; %d agents back in %.2f s, %d chose the same %.1f s" %
              (ended, served, len(back), max(back.values()) - min(back.values()), burst, BURST_S))
        self.assertLess(burst, AGENTS * MOST_IN_A_BURST)

        began = time.monotonic()
        payload = services.home / "motd"
        payload.write_text("hello\n" * 1000)
        task = json.loads(services.parley("--output", "json", "task", "create", "rolling", "--payload", payload,
                                          "--select", "fleet=rolling"))["task"]["name"]
        agents.wait("confirmed", 1)
        for name in ("taskd", "keyd", "enrolld"):
            self.restart(services, name)
        agents.wait("confirmed", AGENTS)
        print("task: %d agents confirmed in %.1f s" % (AGENTS, time.monotonic() - began))
        self.assertEqual(agents.since(0, "rolling_back", "declined", "failed", "ended"), [])
        counts = json.loads(services.parley("--output", "json", "task", "get", task.removeprefix("tasks/")))["counts"]
        self.assertEqual({state: count for state, count in counts.items() if count},
                         {"joined": AGENTS, "confirmed": AGENTS})
        began = time.monotonic()
        self.assertEqual(agents.stop(), 0)
        print("agents: ended in %.1f s" % (time.monotonic() - began))


if __name__ == "__main__":
    unittest.main()
