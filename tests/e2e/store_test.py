"""What the services know moves between SQLite and an etcd, by copies and by backups, and people and clients go on."""

import json
import os
import signal
import subprocess
import unittest

from tests import stack

SERVICES = ("keyd", "taskd", "enrolld")
PASSWORD = "four random words here"


class Etcd:
    """A member of Debian's etcd, alone. A context manager."""

    def __init__(self, folder):
        self.address = stack.free_address()
        peers = "http://" + stack.free_address()
        self.process = subprocess.Popen(
            ["etcd", "--name", "only", "--data-dir", folder, "--logger", "zap",
             "--listen-client-urls", "http://" + self.address, "--advertise-client-urls", "http://" + self.address,
             "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster",
             "only=" + peers], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "serving client traffic" in line or "serving insecure client requests" in line:
                break
        else:
            raise AssertionError("etcd has ended")
        # What follows is nobody's, but a full pipe would hold it up.
        self._drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self._drain.wait()

    def store(self, prefix="example"):
        return "etcd:http://%s/%s" % (self.address, prefix)

    def control(self, *arguments):
        return ["etcdctl", "--endpoints", "http://" + self.address, *arguments]


class Services(stack.Stack):
    """A stack whose services are stopped together, and started on the stores that are named."""

    def start(self, store=None):
        def options(service):
            if store is None:
                return ()
            keys = {"keyd": ("--kek-file", self.folder / "keyd/kek"),
                    "taskd": ("--seal-key-file", self.folder / "taskd/seal.key"), "enrolld": ()}
            return ("--store", store, *keys[service])
        self.start_keyd(*options("keyd"))
        self.start_taskd(*options("taskd"))
        self.start_enrolld(*options("enrolld"))

    def __enter__(self):
        self.start()
        return self

    def stop(self):
        for service in (self.enrolld, self.taskd, self.keyd):
            code = service.stop()
            if code != 0:
                raise AssertionError("exit code %d:\n%s" % (code, "".join(service.log)))

    def database(self, service):
        return self.folder / service / (service + ".db")

    def move_away(self, service):
        for file in self.database(service).parent.glob(service + ".db*"):
            file.rename(file.with_name("former-" + file.name))


class Stores(unittest.TestCase):

    def setUp(self):
        self.services = self.enterContext(Services())
        self.etcd = self.enterContext(Etcd(self.services.folder / "etcd"))
        os.environ["ETCDCTL_API"] = "3"

    def copy(self, *arguments, code=0):
        output = self.services.parley("--output", "json", "store", "copy", *arguments, code=code)
        # What is logged of an etcd that does not answer comes before.
        said = json.loads(output.splitlines()[-1])
        return said if code == 0 else said["error"]

    def copy_all(self, to_etcd):
        for service in SERVICES:
            database, etcd = "sqlite:%s" % self.services.database(service), self.etcd.store()
            if to_etcd:
                copied = self.copy(database, etcd)
            else:
                copied = self.copy("--service", service, etcd, database)
            self.assertEqual(copied["service"], service)
            if to_etcd:
                self.services.move_away(service)

    def create(self, name, files):
        payload = self.services.home / name
        payload.mkdir()
        for file, text in files.items():
            (payload / file).write_text(text)
        created = json.loads(self.services.parley("--output", "json", "task", "create", name, "--payload", payload,
                                                  "--expected", "2"))
        return created["task"]["name"], created["joinKey"]["pasted"]

    def join(self, name, key, *arguments):
        process = self.services.popen("join", "--into", self.services.home / name, "--state",
                                      self.services.home / (name + "-state"), "--name", name, "--output", "json",
                                      *arguments, stdin=subprocess.PIPE)
        process.stdin.write(key + "\n")
        process.stdin.close()
        process.stdin = None
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def assert_confirmed(self, process):
        output, errors = process.communicate(timeout=stack.TIMEOUT_S)
        self.assertEqual(process.returncode, 0, output + errors)
        self.assertEqual(json.loads(output.splitlines()[-1])["state"], "STATE_CONFIRMED")

    def assert_whole(self, task, state):
        self.assertEqual(json.loads(self.services.parley("--output", "json", "task", "get", task))["state"], state)
        self.assertIn("bob", self.services.parley("invite", "list", credential="admin"))
        self.assertIn("one unbroken chain", self.services.parley("audit", "verify", credential="admin"))

    def refused(self, program, *arguments):
        """What a service says that does not start: one sentence, beside its log."""
        ended = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True,
                               timeout=stack.TIMEOUT_S, check=False)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
        self.assertEqual(len(lines), 1, ended.stderr)
        return lines[0]

    def test_to_etcd_and_back_while_a_client_is_at_work(self):
        task, key = self.create("site", {"motd": "hello\n", "large": "0123456789abcdef" * 200_000})
        self.services.parley("invite", "user", "bob", "--role", "operator", credential="admin")
        watch = self.services.popen("task", "watch", task, "--output", "json")
        self.addCleanup(lambda: watch.poll() is None and watch.kill())
        watch.stdout.readline()
        begun, go = (self.services.home / pipe for pipe in ("begun", "go"))
        os.mkfifo(begun)
        os.mkfifo(go)
        early = self.join("early", key, "--check", "echo >%s; cat %s" % (begun, go))
        begun.read_text()
        self.assert_whole(task, "STATE_OPEN")

        # While they run, on either side.
        database = "sqlite:%s" % self.services.database("taskd")
        self.assertEqual(self.copy(database, self.etcd.store(), code=1)["reason"], "STORE_LOCKED")
        self.services.stop()
        self.copy_all(to_etcd=True)
        self.services.start(self.etcd.store())
        error = self.copy("--service", "taskd", self.etcd.store(), "sqlite:new.db", code=1)
        self.assertEqual(error["reason"], "STORE_IN_USE")
        self.assertIn("taskd serves from", error["message"])

        go.write_text("")
        self.assert_confirmed(early)
        self.assert_whole(task, "STATE_OPEN")
        self.services.stop()
        self.copy_all(to_etcd=False)
        self.services.start()
        self.assert_confirmed(self.join("late", key, "--check", "true"))
        self.assert_whole(task, "STATE_COMPLETED")
        output, errors = watch.communicate(timeout=stack.TIMEOUT_S)
        self.assertEqual(watch.returncode, 0, output + errors)

    def test_a_copy_that_was_killed_is_refused_by_the_service_and_begun_anew(self):
        # 40 commits of chunks.
        self.create("large", {"noise-%d" % i: os.urandom(5_000_000).hex() for i in range(5)})
        self.services.stop()
        database, to = "sqlite:%s" % self.services.database("taskd"), self.etcd.store()
        watch = subprocess.Popen(self.etcd.control("watch", "--prefix", "example/taskd/data/"),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        copy = self.services.popen("store", "copy", database, to)
        watch.stdout.readline()
        copy.send_signal(signal.SIGKILL)
        copy.communicate()
        self.assertEqual(copy.returncode, -signal.SIGKILL, "it was done before it was killed")

        # taskd needs keyd before it opens an etcd.
        keyd = "sqlite:%s" % self.services.database("keyd")
        self.copy(keyd, to)
        self.services.start_keyd("--store", to, "--kek-file", self.services.folder / "keyd/kek")
        error = self.refused(stack.TASKD, "--data", self.services.folder / "taskd", "--listen",
                             self.services.taskd_address, "--keyd-credential",
                             self.services.credentials / "taskd.credential", "--store", to, "--seal-key-file",
                             self.services.folder / "taskd/seal.key")
        self.assertIn("is a copy that was not finished", error)
        self.copy(database, to)
        self.services.start_taskd("--store", to, "--seal-key-file", self.services.folder / "taskd/seal.key")
        self.assertIn("large", self.services.parley("task", "list"))

    def test_refusals_are_one_sentence(self):
        self.services.stop()
        taskd, to = "sqlite:%s" % self.services.database("taskd"), self.etcd.store()
        self.copy(taskd, to)
        for arguments, code, reason in (
                ((taskd, to), 1, "STORE_NOT_EMPTY"),
                ((taskd, "sqlite:%s" % self.services.database("keyd")), 1, "STORE_NOT_EMPTY"),
                (("--service", "keyd", taskd, self.etcd.store("new")), 1, "STORE_FOREIGN"),
                (("--service", "keyd", to, "sqlite:new.db"), 1, "STORE_ABSENT"),
                (("sqlite:nowhere.db", to), 1, "STORE_ABSENT"),
                ((taskd, "etcd:http://127.0.0.1:1/new"), 1, "STORE_UNAVAILABLE"),
                ((to, "sqlite:new.db"), 2, "USAGE"),
                (("taskd.db", to), 2, "USAGE"),
                ((taskd, "etcd:https://127.0.0.1:1/new"), 2, "USAGE"),
                ((taskd, "etcd:http://192.0.2.1:1/new"), 2, "USAGE"),
                ((taskd,), 2, "USAGE"),
                ((taskd, to, "--service", "mail"), 2, "USAGE")):
            error = self.copy(*arguments, code=code)
            self.assertEqual(error["reason"], reason, error)
            self.assertNotIn("\n", error["message"])
        self.assertEqual(list(self.services.home.glob("*.db")), [])

    def test_a_backup_of_either_engine_is_restored_to_either(self):
        task, key = self.create("site", {"motd": "hello\n"})
        self.services.parley("invite", "user", "bob", "--role", "operator", credential="admin")
        folder, archive = self.services.folder, self.services.home / "parley.backup"
        self.services.parley("backup", "--data", folder, "--out", self.services.home / "sqlite.backup",
                             stdin=PASSWORD)
        self.services.stop()
        restored = ("restore", self.services.home / "sqlite.backup", "--data", folder / "from-sqlite", "--store",
                    self.etcd.store())
        self.assertIn("restored", self.services.parley(*restored, stdin=PASSWORD))
        self.assertIn("STORE_NOT_EMPTY", self.services.parley(
            "--output", "json", *restored[:3], folder / "again", *restored[4:], stdin=PASSWORD, code=1))
        # The database is in the store, and all else in the folder.
        self.assertEqual(sorted(str(file.relative_to(folder / "from-sqlite"))
                                for file in (folder / "from-sqlite").rglob("*") if file.is_file()),
                         sorted(["taskd/seal.key", "keyd/kek", *("keyd/credentials/%s.credential" % name for name in
                                                                 ("admin", "operator", "taskd", "enrolld"))]))
        self.services.start(self.etcd.store())
        self.assert_confirmed(self.join("early", key, "--check", "true"))

        # While they run.
        made = self.services.parley("backup", "--store", self.etcd.store(), "--out", archive, stdin=PASSWORD)
        self.assertIn("It does not have keyd's --kek-file and taskd's --seal-key-file", made)
        archive.unlink()
        made = json.loads(self.services.parley(
            "--output", "json", "backup", "--store", self.etcd.store(), "--kek-file", folder / "keyd/kek",
            "--seal-key-file", folder / "taskd/seal.key", "--out", archive, stdin=PASSWORD))
        self.assertEqual(made["services"], "taskd,enrolld,keyd")
        self.assertIn("whole", self.services.parley("restore", archive, "--check", stdin=PASSWORD))
        self.services.stop()
        for service in SERVICES:
            self.services.move_away(service)
        self.services.parley("restore", archive, "--data", folder / "restored", stdin=PASSWORD)
        for service in SERVICES:
            (folder / "restored" / service / (service + ".db")).rename(self.services.database(service))
        self.services.start()
        self.assert_confirmed(self.join("late", key, "--check", "true"))
        self.assert_whole(task, "STATE_COMPLETED")
        # A database elsewhere says whose it is, and the default folder is not looked at.
        made = json.loads(self.services.parley("--output", "json", "backup", "--store", "sqlite:%s" %
                                               self.services.database("taskd"), "--out", "taskd.backup",
                                               stdin=PASSWORD))
        self.assertEqual(made["services"], "taskd")


if __name__ == "__main__":
    unittest.main()
