"""kill -9 of taskd, keyd or the client at random moments, over and over.

Each round a client with an old set of files joins a task and one of the three is killed somewhere in between. After
that: the client's folder holds the whole old set or the whole new one; the same command, given again, ends with the
new set and a confirmation; and the server still knows of every confirmation that it ever acknowledged.
"""

import json
import os
import random
import subprocess
import unittest

from tests import stack

ROUNDS = int(os.environ.get("PARLEY_KILL_ROUNDS", "200"))
FILES = {"nginx.conf": 3000, "site/index.html": 70_000, "site/empty": 0, "conf.d/a b.conf": 300_000}
OLD = {"nginx.conf": b"old", "site/index.html": b"old page", "kept": b"not part of the payload"}
VICTIMS = ("client", "taskd", "keyd")


def write_files(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Kill(unittest.TestCase):

    def setUp(self):
        self.random = random.Random(20261122)
        self.stack = self.enterContext(stack.Stack())
        payload = self.stack.folder / "payload"
        self.payload = {name: self.random.randbytes(size) for name, size in FILES.items()}
        write_files(payload, self.payload)
        self.new = {**OLD, **self.payload}
        created = json.loads(self.stack.parley("--output", "json", "task", "create", "faults", "--payload", payload))
        self.task = created["task"]["name"].split("/")[1]
        self.key = created["joinKey"]["pasted"]

    def begin(self, client):
        """`parley join` of this client, under way."""
        process = self.stack.popen("join", "--into", client / "target", "--state", client / "state", "--name",
                                   client.name, "--check", 'test -s "$PARLEY_TARGET/nginx.conf"', "--apply", "true",
                                   stdin=subprocess.PIPE)
        process.stdin.write(self.key + "\n")
        process.stdin.flush()
        return process

    def finish(self, process):
        output, errors = process.communicate(timeout=stack.TIMEOUT_S)
        return process.returncode, output + errors

    def kill(self, victim, client_process):
        if victim == "client":
            client_process.kill()
        elif victim == "taskd":
            self.stack.taskd.kill()
            self.stack.start_taskd()
        else:
            self.stack.keyd.kill()
            self.stack.start_keyd()

    def round(self, number, duration):
        """One client and one kill; how long the client ran."""
        client = self.stack.folder / ("client-%03d" % number)
        write_files(client / "target", OLD)
        victim = VICTIMS[number % len(VICTIMS)]
        process = self.begin(client)
        try:
            # Waiting for the process, for a random time, is the random moment.
            process.wait(self.random.uniform(0, duration))
        except subprocess.TimeoutExpired:
            pass
        self.kill(victim, process)
        code, output = self.finish(process)
        found = read_files(client / "target")
        self.assertTrue(found in (OLD, self.new), "round %d, %s killed: neither old nor new: %s\n%s" % (
            number, victim, sorted(found), output))
        if victim == "client" or code != 0:
            self.assertEqual(victim, "client", output)
            code, output = self.finish(self.begin(client))
        self.assertEqual(code, 0, "round %d, %s killed:\n%s" % (number, victim, output))
        self.assertEqual(read_files(client / "target"), self.new, "round %d" % number)

    def confirmed(self):
        listed = json.loads(self.stack.parley("--output", "json", "task", "members", self.task))
        return {participant["name"].split("/")[-1] for participant in listed["participants"]
                if participant["state"] == "STATE_CONFIRMED"}

    def test_nothing_acknowledged_is_lost_and_no_set_is_half(self):
        # An undisturbed run shows how long one takes, so that the kills fall all over it.
        calm = self.stack.folder / "calm"
        write_files(calm / "target", OLD)
        start = os.times().elapsed
        code, output = self.finish(self.begin(calm))
        duration = os.times().elapsed - start
        self.assertEqual(code, 0, output)
        self.assertEqual(read_files(calm / "target"), self.new)
        for number in range(ROUNDS):
            self.round(number, duration)
        self.assertEqual(self.confirmed(), {"calm"} | {"client-%03d" % number for number in range(ROUNDS)})


if __name__ == "__main__":
    unittest.main()
