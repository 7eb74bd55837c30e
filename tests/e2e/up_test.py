"""parley up and parley down: one stack on a folder, and nothing left of it when it ends."""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import unittest

from tests.e2e import person


def children(pid):
    return [int(child) for child in pathlib.Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split()]


def services_of(pid):
    """Its children that run, from name to process."""
    found = {}
    for child in children(pid):
        try:
            name = pathlib.Path("/proc/%d/comm" % child).read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name in ("keyd", "taskd", "enrolld") and is_alive(child):
            found[name] = child
    return found


def is_alive(pid):
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Up(unittest.TestCase):

    def setUp(self):
        self.person = self.enterContext(person.Person())

    def refused(self, *arguments, says):
        code, output, errors = self.person.run(*arguments)
        self.assertNotEqual(code, 0, output)
        self.assertEqual(errors.count("\n"), 1, errors)
        for part in says:
            self.assertIn(part, errors)

    def test_ends_with_a_signal_and_leaves_nothing_running(self):
        up = self.person.up()
        services = children(up.pid)
        self.assertEqual(len(services), 3)
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(up.returncode, 0)
        self.assertFalse(any(map(is_alive, services)))

    def test_down_stops_it_and_knows_when_there_is_nothing_to_stop(self):
        self.person.up()
        self.assertEqual(self.person.down(), 0)
        self.refused("down", "--data", self.person.data, says=["no parley up", "--data"])

    def test_what_it_knows_stays(self):
        self.person.up()
        task, _ = self.person.create()
        self.person.down()
        self.person.up()
        # On other ports than before, and still reached.
        self.assertEqual(self.person.json("task", "get", task)["name"], "tasks/" + task)

    def test_second_one_on_the_same_folder_is_refused(self):
        up = self.person.up()
        self.refused("up", "--data", self.person.data,
                     says=["already running on %s" % self.person.data, "pid %d" % up.pid])
        self.assertIsNone(up.poll())

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            options = {"--listen": "127.0.0.1:0", "--listen-keyd": "127.0.0.1:0", "--listen-enrolld": "127.0.0.1:0"}
            for option in options:
                arguments = [part for item in {**options, option: address}.items() for part in item]
                self.refused("up", "--data", self.person.data, *arguments, says=[address])

    def test_a_service_that_dies_is_started_again_and_the_others_go_on(self):
        up = self.person.up()
        for victim in ("keyd", "taskd", "enrolld"):
            before = services_of(up.pid)
            os.kill(before[victim], signal.SIGKILL)
            # `up` says so.
            event = json.loads(up.stdout.readline())
            self.assertEqual((event["event"], event["service"]), ("serviceEnded", victim), event)
            self.assertIn(victim + " was killed", event["why"])
            while len(after := services_of(up.pid)) < 3 or after[victim] == before[victim]:
                self.assertIsNone(up.poll())
            self.assertEqual({name: pid for name, pid in after.items() if name != victim},
                             {name: pid for name, pid in before.items() if name != victim})
        # And it serves: this waits for it no longer than for any server.
        while self.person.run("task", "list")[0] != 0:
            self.assertIsNone(up.poll())
        self.assertEqual(self.person.down(), 0)

    def test_a_service_that_dies_again_and_again_ends_it_all(self):
        up = self.person.up()
        others = services_of(up.pid)
        for _ in range(5):
            while (taskd := services_of(up.pid).get("taskd")) is None:
                self.assertIsNone(up.poll())
            os.kill(taskd, signal.SIGKILL)
            line = up.stdout.readline()
        self.assertEqual(line, "")
        _, errors = up.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(up.returncode, 1)
        self.assertIn("taskd ended 5 times in a row", errors)
        self.assertFalse(any(map(is_alive, others.values())))

    def test_services_do_not_outlive_a_killed_up(self):
        up = self.person.up()
        services = children(up.pid)
        up.kill()
        up.communicate()
        for service in services:
            # The kernel tells them; a pidfd is readable once they have ended.
            try:
                descriptor = os.pidfd_open(service)
            except ProcessLookupError:
                continue
            self.assertTrue(select.select([descriptor], [], [], person.TIMEOUT_S)[0], "service %d goes on" % service)
            os.close(descriptor)
        self.person.up()

    def test_access_is_private_and_another_servers_stays(self):
        self.person.up()
        credential = pathlib.Path(self.person.ready["credential"])
        self.assertEqual(credential, self.person.home / ".config/parley/credential")
        self.assertEqual(os.stat(credential).st_mode & 0o777, 0o600)
        for folder in (self.person.data, credential.parent):
            self.assertEqual(os.stat(folder).st_mode & 0o077, 0, folder)
        for secret in self.person.data.rglob("*.credential"):
            self.assertEqual(os.stat(secret).st_mode & 0o777, 0o600, secret)
        before = credential.read_text()
        with self.person.popen("up", "--data", self.person.home / "second", "--listen", "127.0.0.1:0",
                               "--listen-keyd", "127.0.0.1:0", "--listen-enrolld", "127.0.0.1:0",
                               stdin=subprocess.DEVNULL) as second:
            shown = ""
            for line in second.stdout:
                shown += line
                if "parley down" in line:
                    break
            second.terminate()
            second.communicate(timeout=person.TIMEOUT_S)
        self.assertIn("export PARLEY_CREDENTIAL=", shown)
        self.assertEqual(credential.read_text(), before)

    def test_weak_permissions_are_refused(self):
        self.person.up()
        self.person.down()
        key = self.person.data / "keyd/kek"
        os.chmod(key, 0o644)
        self.refused("up", "--data", self.person.data, says=["kek"])

    def test_logs_hold_no_secret(self):
        self.person.up()
        task, key = self.person.create()
        into = self.person.home / "into"
        self.person.parley("join", "--into", into, "--state", self.person.home / "state", stdin=key)
        logs = "".join(log.read_text() for log in (self.person.data / "log").iterdir())
        for group in key.split(".")[1:]:
            self.assertNotIn(group, logs)
        for line in logs.splitlines():
            json.loads(line)


if __name__ == "__main__":
    unittest.main()
