"""Two of each service on an etcd of three: any process may die or stand still at any moment, and nobody notices.

What is killed is started again by `parley up`. Clients and people are told several addresses, and go on at another.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import time
import unittest

from tests.e2e import person

ROUNDS = int(os.environ.get("PARLEY_REPLICA_ROUNDS", "18"))
AWAY_LIMIT_S = 5
OLD = {"app.conf": "old\n"}
NEW = {"app.conf": "new\n", "site/index.html": "page\n" * 20_000}


def processes(up):
    """Those that `parley up` runs, from name to process: the name is that of the log."""
    found = {}
    for child in pathlib.Path("/proc/%d/task/%d/children" % (up.pid, up.pid)).read_text().split():
        try:
            log = os.readlink("/proc/%s/fd/1" % child)
        except OSError:
            continue
        found[pathlib.Path(log).stem] = int(child)
    return found


class Replicas(unittest.TestCase):

    def setUp(self):
        self.random = random.Random(20261130)
        self.person = self.enterContext(person.Person())
        os.environ["PARLEY_TASKD_KEYD_AWAY_LIMIT"] = os.environ["PARLEY_ENROLLD_KEYD_AWAY_LIMIT"] = (
            "%ds" % AWAY_LIMIT_S)
        self.up = self.person.up("--replicas", "2")
        self.names = sorted(processes(self.up))

    def write(self, client, files):
        for name, text in files.items():
            path = self.person.home / client / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.person.home / client

    def begin(self, client, key):
        """`parley join` of this client, under way."""
        target = self.write(client, OLD)
        process = self.person.popen("join", "--into", target, "--state", self.person.home / (client + ".state"),
                                    "--name", client, "--check", "true", "--apply", "true", stdin=subprocess.PIPE)
        process.stdin.write(key + "\n")
        process.stdin.flush()
        return process

    def finish(self, client, process, why):
        output, errors = process.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(process.returncode, 0, "%s\n%s%s" % (why, output, errors))
        self.assertEqual(person.read_files(self.person.home / client), {**OLD, **NEW}, why)

    def await_all(self):
        """Until what was killed runs again."""
        while sorted(processes(self.up)) != self.names:
            self.assertIsNone(self.up.poll(), "parley up has ended")

    def test_any_process_may_be_killed_and_every_client_confirms(self):
        self.assertEqual(self.names, ["enrolld", "enrolld-2", "etcd-1", "etcd-2", "etcd-3", "keyd", "keyd-2", "taskd",
                                      "taskd-2"])
        task, key = self.person.create(files=NEW)
        start = time.monotonic()
        self.finish("calm", self.begin("calm", key), "nothing was killed")
        duration = time.monotonic() - start
        # In turn, so that none dies five times in a row within a minute, which ends `parley up`.
        victims = []
        while len(victims) < ROUNDS:
            victims += self.random.sample(self.names, len(self.names))
        clients = ["calm"]
        for number, victim in enumerate(victims[:ROUNDS]):
            client = "client-%02d" % number
            process = self.begin(client, key)
            try:
                # Waiting for the process, for a random time, is the random moment.
                process.wait(self.random.uniform(0, duration))
            except subprocess.TimeoutExpired:
                pass
            os.kill(processes(self.up)[victim], signal.SIGKILL)
            self.finish(client, process, "round %d: %s was killed" % (number, victim))
            clients.append(client)
            self.await_all()
        members = self.person.json("task", "members", task)["participants"]
        self.assertEqual({member["name"].split("/")[-1]: member["state"] for member in members},
                         {client: "STATE_CONFIRMED" for client in clients})
        self.assertIn("unbroken chain", self.person.parley("audit", "verify"))

    def test_a_revocation_holds_everywhere_once_it_is_acknowledged(self):
        _, key = self.person.create(files=NEW)
        for name in ("taskd-2", "keyd-2", None):
            credential = self.person.home / "operator.credential"
            issued = self.person.json("key", "issue", "--role", "operator", "--subject", "olga", "--out", credential)
            serial = issued["name"].split("/")[-1]
            self.person.parley("task", "list", env={"PARLEY_CREDENTIAL": str(credential)})
            if name is not None:
                stopped = processes(self.up)[name]
                os.kill(stopped, signal.SIGSTOP)
            try:
                self.person.parley("key", "revoke", serial)
            finally:
                if name is not None:
                    os.kill(stopped, signal.SIGCONT)
            # Whichever replica is asked, also the one that stood still.
            for _ in range(6):
                code, _, errors = self.person.run("task", "list", env={"PARLEY_CREDENTIAL": str(credential)})
                self.assertNotEqual(code, 0)
                self.assertIn("refused the key", errors)
            credential.unlink()
        self.finish("late", self.begin("late", key), "after all that")


if __name__ == "__main__":
    unittest.main()
