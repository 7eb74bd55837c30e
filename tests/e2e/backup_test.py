"""Backup while agents are at work, the loss of everything, restore, and on: as on one machine, and as in a cluster."""

import json
import os
import shutil
import signal
import subprocess
import unittest

from tests import stack
from tests.e2e import person

PASSWORD = "four random words here\n"


class Backup(unittest.TestCase):

    def setUp(self):
        self.person = self.enterContext(person.Person())
        self.archive = self.person.home / "parley.backup"
        self.key_file = self.person.home / "password"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(PASSWORD)

    def backup(self, **options):
        return self.person.json("backup", "--data", self.person.data, "--out", self.archive, "--key-file",
                                self.key_file, **options)

    def restore(self, *arguments, **options):
        return self.person.parley("restore", self.archive, "--data", self.person.data, "--key-file", self.key_file,
                                  *arguments, **options)

    def agent(self, name, key):
        """An agent that tells when its check begins, and stays in it until it is let go."""
        begun, go = (self.person.home / (name + suffix) for suffix in ("-begun", "-go"))
        for pipe in (begun, go):
            os.mkfifo(pipe)
        process = self.person.popen("join", "--into", self.person.home / name, "--state",
                                    self.person.home / (name + "-state"), "--name", name, "--check",
                                    "echo >%s; cat %s" % (begun, go), "--output", "json", stdin=subprocess.PIPE)
        process.stdin.write(key + "\n")
        process.stdin.close()
        process.stdin = None
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process, begun, go

    def outcome(self, process):
        output, errors = process.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(process.returncode, 0, output + errors)
        return json.loads(output.splitlines()[-1])["state"]

    def test_agents_go_on_after_everything_was_lost(self):
        self.person.up()
        files = {"motd": "hello\n", "large": "0123456789abcdef" * 40_000}
        task, key = self.person.create("site", files, "--expected", "3")
        early = self.agent("early", key)
        early[1].read_text()
        early[2].write_text("")
        self.assertEqual(self.outcome(early[0]), "STATE_CONFIRMED")
        # Two are in the middle of it; one of them is done before the loss, and the backup does not know.
        between, late = self.agent("between", key), self.agent("late", key)
        for agent in (between, late):
            agent[1].read_text()
        self.person.parley("audit", "verify")
        made = self.backup()
        self.assertEqual(made["services"], "taskd,enrolld,keyd")
        between[2].write_text("")
        self.assertEqual(self.outcome(between[0]), "STATE_CONFIRMED")

        self.assertEqual(self.person.down(), 0)
        shutil.rmtree(self.person.data)
        self.restore()
        self.person.up(at=self.person.ready)

        late[2].write_text("")
        self.assertEqual(self.outcome(late[0]), "STATE_CONFIRMED")
        self.assertEqual(person.read_files(self.person.home / "late"), files)
        # Who was done asks again, as an agent does at its next start.
        again = self.person.popen("join", "--into", self.person.home / "between", "--state",
                                  self.person.home / "between-state", "--task", task, "--output", "json")
        self.assertIn(self.outcome(again), ("STATE_CONFIRMED", "STATE_UP_TO_DATE"))
        self.assertEqual(self.person.json("task", "get", task)["state"], "STATE_COMPLETED")
        # What the log said then it still says; what has been done since is in it.
        self.assertIn("one unbroken chain, which holds what was seen", self.person.parley("audit", "verify"))
        self.person.create("another")

    def test_refusals_are_one_sentence_and_change_nothing(self):
        self.person.up()
        self.backup()
        whole = self.archive.read_bytes()
        for arguments, code, sentence in (
                (("backup", "--data", self.person.data, "--out", self.archive), 1, "exists already"),
                (("backup", "--data", self.person.home / "nowhere", "--out", "new"), 1, "there is no data"),
                (("backup", "--data", self.person.data), 2, "--out is required"),
                (("restore", self.archive, "--data", self.person.data), 1, "there is something at"),
                (("restore", self.archive, "--check"), 1, "")):
            got, _, errors = self.person.run(*arguments, stdin=PASSWORD if sentence else "a wrong one")
            self.assertEqual((got, errors.count("\n")), (code, 1), errors)
            self.assertIn(sentence or "the password is not the one of", errors)
        got, _, errors = self.person.run("backup", "--data", self.person.data, "--out", "new", stdin="short")
        self.assertEqual(got, 1)
        self.assertIn("at least 8 characters", errors)
        self.key_file.chmod(0o644)
        got, _, errors = self.person.run("restore", self.archive, "--key-file", self.key_file, "--check")
        self.assertIn("chmod 600", errors)
        self.assertEqual(self.archive.read_bytes(), whole)
        self.assertFalse((self.person.home / "new").exists())
        self.assertIn("whole", self.person.parley("restore", self.archive, "--check", stdin=PASSWORD))

    def test_a_restore_that_is_killed_leaves_its_place_empty_and_what_is_lost_is_noticed(self):
        self.person.up()
        self.person.create("large", {"noise-%d" % i: os.urandom(1_500_000).hex() for i in range(3)})
        self.backup()
        # One who verifies the log later than this knows of something that the backup does not.
        self.person.parley("key", "issue", "--role", "device", "--subject", "web-1", "--out",
                           self.person.home / "web-1.credential")
        self.person.parley("audit", "verify")
        self.person.down()
        shutil.rmtree(self.person.data)
        restore = self.person.popen("restore", "-", "--data", self.person.data, "--key-file", self.key_file,
                                    stdin=subprocess.PIPE)
        # It writes as it reads, and has not had the end: the pipe is full of what it has not taken.
        restore.stdin.buffer.write(self.archive.read_bytes()[:-70_000])
        restore.stdin.buffer.flush()
        self.assertFalse(self.person.data.exists())
        self.assertEqual(len(list(self.person.home.glob("data.restoring-*"))), 1)
        restore.send_signal(signal.SIGKILL)
        restore.communicate()
        self.assertFalse(self.person.data.exists())
        self.restore()
        self.person.up()
        self.assertIn("large", self.person.parley("task", "list"))
        code, _, errors = self.person.run("audit", "verify", "--output", "json")
        self.assertEqual(code, 1)
        # The end is missing; with enough new events at its place, it is another one.
        self.assertIn(json.loads(errors)["error"]["reason"], ("AUDIT_TRUNCATED", "AUDIT_REWRITTEN"))


class Cluster(unittest.TestCase):
    """Each service alone, through pipes: docs/kubernetes.md."""

    def test_each_service_by_itself(self):
        with stack.Stack() as services:
            (services.home / "motd").write_text("hello\n")
            created = json.loads(services.parley("--output", "json", "task", "create", "pod", "--payload",
                                                 services.home / "motd"))
            services.parley("invite", "user", "bob", "--role", "operator", credential="admin")
            (services.folder / "password").touch(mode=0o600)
            (services.folder / "password").write_text(PASSWORD)
            # In the order of docs/adr/0007-backup.md.
            for service in ("taskd", "enrolld", "keyd"):
                with open(services.folder / (service + ".backup"), "wb") as archive:
                    subprocess.run([stack.PARLEY, "backup", "--data", services.folder / service, "--out", "-"],
                                   env=services.environment(), input=PASSWORD.encode(), stdout=archive, check=True,
                                   timeout=stack.TIMEOUT_S)
            for service in (services.enrolld, services.taskd, services.keyd):
                self.assertEqual(service.stop(), 0)
            for service in ("taskd", "enrolld", "keyd"):
                shutil.rmtree(services.folder / service)
                with open(services.folder / (service + ".backup"), "rb") as archive:
                    subprocess.run([stack.PARLEY, "restore", "-", "--data", services.folder, "--key-file",
                                    services.folder / "password"], env=services.environment(), stdin=archive,
                                   stdout=subprocess.DEVNULL, check=True, timeout=stack.TIMEOUT_S)
            services.start_keyd()
            services.start_taskd()
            services.start_enrolld()
            listed = json.loads(services.parley("--output", "json", "task", "get", created["task"]["name"]))
            self.assertEqual(listed["name"], created["task"]["name"])
            self.assertIn("bob", services.parley("invite", "list", credential="admin"))


if __name__ == "__main__":
    unittest.main()
