"""A server that is away for longer than anybody waits: rows D2 and E3 of what was reported, and roll-backs without it.

The time for which it is away is over when this has been so for AWAY_S seconds; a client that gives up does so before.
"""

import concurrent.futures
import os
import subprocess
import unittest

from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD

AWAY_S = int(os.environ.get("PARLEY_AWAY_S", "70"))


class Away(reported.Reported):

    def test_clients_wait_for_it(self):
        started = [self.machine(OLD) for _ in range(4)]
        agent, follower, killed, joined = started
        task = self.create(select=agent)
        _, follower_key = self.services.create("follow", NEW)
        killed_task, killed_key = self.services.create("killed", NEW)
        apply = machine.Gate(killed.folder)
        run = self.keep(killed.join("--apply", apply.command, key=killed_key))
        apply.wait_until_begun()
        run.kill()
        apply.open_for_good()
        joined_task, joined_key = self.services.create("joined", NEW)
        self.join(client=joined, key=joined_key)
        self.services.publish(joined_task, {"app.conf": "2\n"})

        self.services.taskd.stop()
        runs = {
            "an agent that starts": self.agent(client=agent),
            "a join --follow that starts": self.keep(follower.join("--follow", key=follower_key)),
            "a join that was killed in the apply, with ten minutes to confirm": self.keep(
                killed.join("--apply", "true", "--confirm-timeout", "10m", task=killed_task)),
            "a join --follow that goes on": self.keep(joined.join("--follow", task=joined_task)),
        }
        with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
            ended = dict(zip(runs, pool.map(self.ends, runs.values())))
        self.assertFalse([name for name, code in ended.items() if code is not None], ended)
        self.assertEqual(killed.files(), NEW, "rolled back before its confirm-timeout")
        for name, run in runs.items():
            tries = [event for event in run.shown() if event and event["event"] == "disconnected"]
            self.assertLess(len(tries), 40, name)
        self.services.start_taskd()
        for name, run in runs.items():
            with self.subTest(name):
                run.until("confirmed")
        self.assertEqual([client.files() for client in started], [NEW, NEW, NEW, {"app.conf": "2\n"}])
        self.assertEqual(self.services.members(killed_task)[killed.name]["state"], "STATE_CONFIRMED")
        self.assertEqual(self.services.members(task)[agent.name]["state"], "STATE_CONFIRMED")

    @staticmethod
    def ends(run):
        """The exit code of a client that gives up, None when it has not."""
        try:
            return run.process.wait(AWAY_S)
        except subprocess.TimeoutExpired:
            return None


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
