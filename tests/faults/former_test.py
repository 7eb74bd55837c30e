"""What earlier programs have left goes on: stores, state folders and undecided journals, made by tests/fixtures.

They are put where they were made, on a file system of this test's own, and the programs are given the time of then, as
keys end some day.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import tarfile
import time
import unittest
import unittest.mock

from tests.faults import machine

ARCHIVES = sorted(pathlib.Path(__file__).parent.glob("former/*.tar.gz"))
FOLDER = pathlib.Path("/tmp/parley-former")
OLD, NEW = {"app.conf": "old\n", "local.conf": "local\n"}, {"app.conf": "new\n", "local.conf": "local\n"}
UNDECIDED = ("check", "apply", "rolling-back")
# Fields of Journal that name inodes.
NEW_INODE, OLD_INODE = 8, 9


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def write_varint(value):
    data = bytearray()
    while value > 0x7f:
        data.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(data) + bytes([value])


def with_varints(message, values):
    """A protobuf message in which some fields, all varints, have other values."""
    at, result = 0, b""
    while at < len(message):
        start = at
        tag, at = read_varint(message, at)
        if tag & 7 == 0:
            value, at = read_varint(message, at)
            result += write_varint(tag) + write_varint(values.get(tag >> 3, value))
            continue
        length, at = read_varint(message, at)
        at += length
        result += message[start:at]
    return result


def move_journal(client):
    """Its inodes become those that the trees have here. The old set lies in `tree` while an update is undecided."""
    journal = client / ".parley-target/journal"
    record = journal.read_bytes()
    assert record[:32] == hashlib.sha256(record[32:]).digest()
    installed, kept = (os.stat(path).st_ino for path in (client / "target", client / ".parley-target/tree"))
    new_is_installed = (client / "target/app.conf").read_text() == "new\n"
    inodes = {NEW_INODE: installed if new_is_installed else kept, OLD_INODE: kept if new_is_installed else installed}
    message = with_varints(record[32:], inodes)
    journal.write_bytes(hashlib.sha256(message).digest() + message)


class FormerServices(machine.Services):

    def __init__(self, archive):
        with tarfile.open(archive) as tar:
            tar.extractall(FOLDER)
        for client in (FOLDER / "clients").iterdir():
            if (client / ".parley-target/journal").exists():
                move_journal(client)
        made = int((FOLDER / "time").read_text())
        self.then = {**machine.FAKETIME, "FAKETIME": "%+d" % (made + 60 - time.time())}
        super().__init__(FOLDER)

    def environment(self, credential="operator"):
        return {**super().environment(credential), **self.then}

    def start_keyd(self):
        with unittest.mock.patch.dict(os.environ, self.then):
            super().start_keyd()

    def start_taskd(self):
        with unittest.mock.patch.dict(os.environ, self.then):
            super().start_taskd()

    def __exit__(self, *error):
        # The folder itself is a mount, and its stack does not remove it.
        for service in (self.taskd, self.keyd):
            if service is not None and service.process.poll() is None:
                service.kill()
        self._exits.close()

    def client(self, name):
        client = machine.Client.__new__(machine.Client)
        client.services, client.name = self, name
        client.folder = client.parent = FOLDER / "clients" / name
        client.target, client.state = client.folder / "target", client.folder / "state"
        return client

    def name_of(self, short):
        return next(task["name"].split("/")[1] for task in self.json("task", "list")["tasks"]
                    if task["title"] == short)


@unittest.skipUnless(ARCHIVES, "there are no archives")
class Former(unittest.TestCase):

    def setUp(self):
        # The archives name this folder, so that two runs take turns.
        lock = self.enterContext(open("%s.lock" % FOLDER, "w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        machine.mount("-t", "tmpfs", "tmpfs", FOLDER)
        self.addCleanup(shutil.rmtree, FOLDER, ignore_errors=True)
        self.addCleanup(machine.unmount, FOLDER)
        self.services = self.enterContext(FormerServices(ARCHIVES[0]))
        self.runs = []
        self.addCleanup(machine.end_all, self.runs)

    def join(self, name, *arguments, code=0):
        task = self.services.name_of(name) if self.services.taskd.process.poll() is None else self.tasks[name]
        run = self.services.client(name).join("--server", self.services.taskd_address, *arguments, task=task)
        self.runs.append(run)
        if code is None:
            return run
        got, events = run.end()
        self.assertEqual(got, code, events)
        return events

    def test_stores_open_and_say_what_they_said(self):
        self.assertEqual({task["title"] for task in self.services.json("task", "list")["tasks"]},
                         {"confirmed", "device", *UNDECIDED})
        for name in ("confirmed", "device"):
            self.assertEqual(self.services.members(self.services.name_of(name))[name]["state"], "STATE_CONFIRMED")
        self.assertIn("unbroken chain", self.services.parley("audit", "verify", credential="admin"))

    def test_what_was_confirmed_is_so_and_the_next_revision_comes(self):
        task = self.services.name_of("confirmed")
        self.assertIn(self.join("confirmed")[-1]["state"], machine.CONFIRMED)
        self.services.publish(task, {"other.conf": "2\n"})
        self.join("confirmed")
        # What its former record says of paths holds: app.conf was the task's.
        self.assertEqual(self.services.client("confirmed").files(), {"local.conf": "local\n", "other.conf": "2\n"})

    def test_an_agent_goes_on(self):
        task = self.services.name_of("device")
        watch = self.services.watch(task)
        run = self.services.client("device").agent("--server", self.services.taskd_address)
        self.runs.append(run)
        run.until("idle")
        self.services.publish(task, {"app.conf": "2\n"})
        # It had said its label itself, which is no label any more: an admin says it now.
        self.assertEqual(self.services.members(task)["device"].get("labels", {}), {})
        self.services.label("device", "name=device")
        watch.until(lambda w: w.member("device").get("confirmedRevision") == "2")
        self.assertEqual(self.services.client("device").files(), {**OLD, "app.conf": "2\n"})

    def test_what_is_undecided_is_settled_with_the_server(self):
        for name in UNDECIDED:
            with self.subTest(name):
                self.join(name, "--apply", "true", "--check", "true", "--confirm-timeout", "20s")
                client = self.services.client(name)
                self.assertEqual((client.files(), client.journals()), (NEW, []))
                self.assertEqual(self.services.members(self.services.name_of(name))[name]["state"], "STATE_CONFIRMED")

    def test_what_is_undecided_is_settled_without_the_server(self):
        self.tasks = {name: self.services.name_of(name) for name in UNDECIDED}
        self.services.taskd.stop()
        for name in UNDECIDED:
            with self.subTest(name):
                client = self.services.client(name)
                run = self.join(name, "--apply", "true", "--confirm-timeout", "2s", code=None)
                client.wait_until_settled()
                run.stop()
                self.assertEqual(client.files(), OLD)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
