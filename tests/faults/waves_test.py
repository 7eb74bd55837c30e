"""Roll-outs in waves under real clients: a broken set stays with one of them, and kill -9 of taskd opens no gate.

PARLEY_WAVE_CLIENTS and PARLEY_WAVE_KILLS say how many there are; PARLEY_SEED draws other moments.
"""

import datetime
import json
import math
import os
import random
import subprocess
import unittest

from tests import stack

CLIENTS = int(os.environ.get("PARLEY_WAVE_CLIENTS", "16"))
KILLS = int(os.environ.get("PARLEY_WAVE_KILLS", "12"))
SEED = int(os.environ.get("PARLEY_SEED", "20261201"))


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Waves(unittest.TestCase):

    def setUp(self):
        self.random = random.Random(SEED)
        self.stack = self.enterContext(stack.Stack())
        self.payload = self.stack.folder / "payload"
        self.payload.mkdir()
        (self.payload / "site.conf").write_text("new\n")
        self.joins = {}
        self.addCleanup(self.end_joins)

    def end_joins(self):
        for process in self.joins.values():
            if process.poll() is None:
                process.kill()
            process.communicate()

    def create(self, *arguments):
        created = self.json("task", "create", "waves", "--payload", self.payload, "--ttl", "2h", *arguments)
        self.task = created["task"]["name"].split("/")[1]
        self.key = created["joinKey"]["pasted"]

    def json(self, *arguments):
        return json.loads(self.stack.parley("--output", "json", *arguments))

    def status(self):
        return self.json("task", "get", self.task)

    def members(self):
        listed = self.json("task", "members", self.task).get("participants", [])
        return {member["name"].rsplit("/", 1)[1]: member for member in listed}

    def join(self, name, check="true"):
        """`parley join` of this client, under way; the former one of that name has ended."""
        folder = self.stack.folder / name
        process = self.stack.popen("join", "--into", folder / "target", "--state", folder / "state", "--name", name,
                                   "--check", check, "--apply", "true", stdin=subprocess.PIPE)
        process.stdin.write(self.key + "\n")
        process.stdin.flush()
        self.joins[name] = process

    def wait_for(self, process, seconds):
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def until(self, condition):
        """What the server says of the task once that holds: between here and there are its commits only."""
        last = None
        for _ in range(1000):
            last = self.status()
            if condition(last):
                return last
        raise AssertionError("it does not come: %s" % last)

    def test_a_broken_set_reaches_one_client_while_others_come_and_go(self):
        self.create("--waves", "1,10%,all")
        names = ["web-%d" % number for number in range(CLIENTS)]
        for name in names:
            self.join(name, check="false")
        halted = self.until(lambda task: task["state"] == "STATE_HALTED")
        self.assertIn("1 of 1 client of the open waves failed", halted["stateReason"])
        self.until(lambda task: task["counts"]["joined"] == CLIENTS)
        failed = [name for name, member in self.members().items() if member["state"] == "STATE_ROLLED_BACK"]
        for name in self.random.sample([name for name in names if name not in failed], CLIENTS // 2):
            self.joins[name].kill()
            self.joins[name].communicate()
            self.join(name, check="false")
        self.join("late", check="false")
        self.until(lambda task: task["counts"]["joined"] == CLIENTS + 1)
        members = self.members()
        reached = [name for name, member in members.items() if member.get("attempt", 0) > 0]
        self.assertEqual(len(reached), 1, reached)
        self.assertEqual(members[reached[0]]["state"], "STATE_ROLLED_BACK")
        touched = [name for name in members if (self.stack.folder / name / "target" / "site.conf").exists()]
        self.assertEqual(touched, [])

    def test_no_wave_opens_before_its_gate_whenever_taskd_is_killed(self):
        self.create("--waves", "1,25%,50%,all")
        names = ["web-%d" % number for number in range(CLIENTS)]
        for name in names:
            self.join(name)
        left = KILLS
        while any(process.poll() is None for process in self.joins.values()):
            waiting = next(process for process in self.joins.values() if process.poll() is None)
            self.wait_for(waiting, self.random.uniform(0, 0.7) if left else stack.TIMEOUT_S)
            if left:
                self.stack.taskd.kill()
                self.stack.start_taskd()
                left -= 1
        for name, process in self.joins.items():
            output, errors = process.communicate()
            self.assertEqual(process.returncode, 0, name + ":\n" + output + errors)
        self.check_history()

    def check_history(self):
        """No client had the revision before the wave that it is in opened, nor did a wave before its gate held."""
        task, members = self.status(), self.members()
        opened = [moment(wave["openTime"]) for wave in task["rolloutStatus"]["openWaves"]]
        self.assertEqual(len(opened), len(task["rollout"]["waves"]))
        self.assertEqual(opened, sorted(opened))
        self.assertEqual(len(members), CLIENTS)
        for name, member in members.items():
            self.assertEqual(member["state"], "STATE_CONFIRMED", name)
            # Offered once: neither a kill nor another wave makes a second attempt.
            self.assertEqual(member["attempt"], 1, name)
            wave, confirmed = member["wave"], moment(member["confirmTime"])
            self.assertGreaterEqual(confirmed, opened[wave - 1], name)
            if wave < len(opened):
                self.assertLessEqual(confirmed, opened[wave], "wave %d opened before %s had it" % (wave + 1, name))
        for number, most in enumerate((1, math.ceil(CLIENTS / 4), math.ceil(CLIENTS / 2)), start=1):
            inside = [name for name, member in members.items() if member["wave"] <= number]
            self.assertTrue(1 <= len(inside) <= most, "wave %d has %s" % (number, inside))


if __name__ == "__main__":
    unittest.main()
