"""A task from one command to a confirmed client, and every other way that it may end."""

import contextlib
import json
import os
import socket
import subprocess
import textwrap
import threading
import unittest

from tests import stack
from tests.e2e import person


class Forwarder:
    """Another address of a server. A context manager."""

    def __init__(self, to):
        self._to = to.rsplit(":", 1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._sockets = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in [self._listener, *self._sockets]:
            each.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection((self._to[0], int(self._to[1])))
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)


SITE = {"nginx.conf": "worker_processes 1;\n", "sites/hello.conf": "listen 8088;\n", "empty": ""}


class Update(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.person = person.Person().__enter__()
        cls.addClassCleanup(cls.person.__exit__)
        cls.person.up()
        cls.number = 0

    def setUp(self):
        type(self).number += 1
        self.into = self.person.home / ("into-%d" % self.number)
        self.state = self.person.home / ("state-%d" % self.number)
        self.name = "web-%d" % self.number

    def join(self, *arguments, key="", code=0):
        output = self.person.parley("join", "--into", self.into, "--state", self.state, "--name", self.name,
                                    "--output", "json", *arguments, stdin=key + "\n", code=code)
        return [json.loads(line) for line in output.splitlines()]

    def member(self, task):
        members = self.person.json("task", "members", task)["participants"]
        return next(member for member in members if member["name"].endswith("/" + self.name))

    def publish(self, task, files):
        return self.person.json("task", "publish", task, "--payload", self.person.payload(files))

    def test_is_fetched_checked_applied_and_confirmed(self):
        task, key = self.person.create("site", SITE)
        events = self.join("--check", "test -f \"$PARLEY_TARGET/nginx.conf\"",
                           "--apply", "touch \"$PARLEY_TARGET\".applied", key=key)
        self.assertEqual(person.read_files(self.into), SITE)
        self.assertTrue(os.path.exists(str(self.into) + ".applied"))
        names = [event["event"] for event in events if event["event"] != "progress"]
        self.assertEqual([name for name in names if name not in ("connected", "joined", "ended")],
                         ["method", "offered", "fetched", "checkPassed", "applied", "confirmed", "outcome"])
        self.assertEqual(events[-1]["state"], "STATE_CONFIRMED")
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")

    def test_in_a_pipe_is_told_in_plain_lines(self):
        _, key = self.person.create("plain", SITE)
        output = self.person.parley("join", "--into", self.into, "--state", self.state, "--name", self.name,
                                    "--check", "true", stdin=key)
        self.assertNotIn("\x1b", output)
        self.assertNotIn("\r", output)
        lines = [line.split()[1] for line in output.splitlines()]
        self.assertEqual(lines, ["connected", "offered", "fetched", "applied", "confirmed"])
        self.assertIn("TLS 1.2 ECDHE-PSK-CHACHA20-POLY1305", output)

    def test_key_may_come_in_upper_case_as_from_a_qr_code(self):
        _, key = self.person.create("upper", SITE)
        self.assertEqual(self.join(key=key.upper())[-1]["state"], "STATE_CONFIRMED")

    def test_key_may_come_folded_as_from_mail(self):
        for number, typed in enumerate((lambda key: "\n".join(textwrap.wrap(key, 76)), '"{}"'.format, "'{}'".format,
                                        lambda key: "\n\n> " + "\r\n> ".join(textwrap.wrap(key, 31)))):
            _, key = self.person.create("folded", SITE)
            self.state = self.person.home / ("folded-state-%d" % number)
            self.assertEqual(self.join(key=typed(key))[-1]["state"], "STATE_CONFIRMED")

    def test_what_follows_a_key_is_left_to_its_reader(self):
        _, key = self.person.create("reader", SITE)
        folded = "\n".join(textwrap.wrap(key, 76))
        result = subprocess.run(["/bin/sh", "-c", '"$@" && cat', "sh", stack.PARLEY, "join", "--into", self.into,
                                 "--state", self.state, "--name", self.name, "--output", "json"],
                                input=folded + "\nwhat follows\n", env=self.person.environment(), check=True,
                                capture_output=True, text=True, cwd=self.person.home, timeout=person.TIMEOUT_S)
        self.assertTrue(result.stdout.endswith("\nwhat follows\n"), result.stdout)

    def test_another_address_of_the_server_is_obeyed_and_remembered(self):
        task, key = self.person.create("elsewhere", SITE)
        with Forwarder(self.person.ready["taskd"]) as forwarder:
            for arguments, given in ((["--server", forwarder.address], key), (["--task", task], "")):
                connected = [event["address"] for event in self.join(*arguments, key=given)
                             if event["event"] == "connected"]
                self.assertEqual(set(connected), {forwarder.address})
                self.publish(task, dict(SITE, empty="2"))
        # Back to where the key says.
        connected = next(event for event in self.join("--task", task, "--server", self.person.ready["taskd"])
                         if event["event"] == "connected")
        self.assertEqual(connected["address"], self.person.ready["taskd"])

    def test_a_client_that_failed_gets_another_attempt(self):
        task, key = self.person.create("retried", SITE)
        mended = self.person.home / "mended"
        check = "test -e %s" % mended
        self.join("--check", check, key=key, code=3)
        mended.touch()
        self.assertIn("1 client has another attempt", self.person.parley("task", "retry", task, self.name))
        self.assertEqual(self.join("--check", check, "--task", task)[-1]["state"], "STATE_CONFIRMED")
        self.assertIn("nobody has failed", self.person.parley("task", "retry", task))
        code, _, errors = self.person.run("task", "retry", task, "nobody-else")
        self.assertEqual((code, errors.count("\n")), (1, 1), errors)

    def test_next_revision_needs_no_key(self):
        task, key = self.person.create("next", SITE)
        self.join(key=key)
        changed = dict(SITE, empty="no more\n")
        self.assertEqual(self.publish(task, changed)["revision"], "2")
        events = self.join("--task", task)
        self.assertEqual(events[-1]["revision"], 2)
        self.assertEqual(person.read_files(self.into), changed)

    def test_rolls_back_when_the_check_fails(self):
        task, key = self.person.create("broken", SITE)
        self.join("--check", "! grep -q broken \"$PARLEY_TARGET/nginx.conf\"", key=key)
        self.publish(task, {"nginx.conf": "broken\n"})
        check = "! grep -q broken \"$PARLEY_TARGET/nginx.conf\" || { echo 'nginx: unknown directive'; false; }"
        events = self.join("--check", check, "--task", task, code=3)
        self.assertEqual(person.read_files(self.into), SITE)
        rolling_back = next(event for event in events if event["event"] == "rollingBack")
        self.assertEqual(rolling_back["reason"], "check_failed")
        self.assertIn("unknown directive", rolling_back["detail"])
        self.assertEqual(self.member(task)["state"], "STATE_ROLLED_BACK")
        self.assertIn("unknown directive", self.person.parley("task", "members", task))

    def test_rolls_back_when_the_apply_fails(self):
        _, key = self.person.create("apply", SITE)
        self.into.mkdir()
        (self.into / "nginx.conf").write_text("old\n")
        events = self.join("--apply", "grep old \"$PARLEY_TARGET/nginx.conf\"", key=key, code=3)
        self.assertEqual(person.read_files(self.into), {"nginx.conf": "old\n"})
        self.assertIn("apply_failed", [event.get("reason") for event in events])

    def test_a_first_installation_that_fails_had_nothing_before(self):
        _, key = self.person.create("first", SITE)
        shown = self.person.parley("join", "--into", self.into, "--state", self.state, "--name", self.name,
                                   "--check", "false", stdin=key, code=3)
        self.assertIn("nothing was there before, and the new set is gone again", shown)
        self.assertFalse(self.into.exists())

    def test_a_check_that_hangs_is_ended_and_rolled_back(self):
        _, key = self.person.create("hangs", SITE)
        events = self.join("--check", "sleep 1000", "--check-timeout", "1s", key=key, code=3)
        self.assertEqual(person.read_files(self.into) if self.into.exists() else {}, {})
        self.assertIn("check_failed", [event.get("reason") for event in events])

    def test_declined_is_counted_apart_from_failure(self):
        task, key = self.person.create("declined", SITE)
        self.join("--decline", "not on a Friday", key=key, code=4)
        self.assertFalse(self.into.exists() and person.read_files(self.into))
        member = self.member(task)
        self.assertEqual(member["state"], "STATE_DECLINED")
        self.assertIn("not on a Friday", member["detail"])

    def test_deferred_comes_back_by_itself(self):
        task, key = self.person.create("later", SITE)
        events = self.join("--defer-until", "2s", "--reason", "busy", key=key)
        self.assertIn("waiting", [event["event"] for event in events])
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")
        self.assertEqual(self.member(task)["deferrals"], 1)

    def test_the_same_set_again_is_up_to_date(self):
        task, key = self.person.create("again", SITE)
        self.join(key=key)
        self.publish(task, SITE)
        self.assertEqual(self.join("--task", task)[-1]["state"], "STATE_UP_TO_DATE")

    def test_watch_ends_with_the_task(self):
        task, key = self.person.create("watched", SITE, "--expected", "1")
        with self.person.popen("task", "watch", task, stdin=subprocess.DEVNULL) as watch:
            self.assertIn("nobody yet", watch.stdout.readline())
            self.join(key=key)
            output, errors = watch.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(watch.returncode, 0, errors)
        self.assertIn("completed: 1 confirmed", output)

    def test_abort_ends_a_task_for_those_who_have_not_begun(self):
        task, key = self.person.create("aborted", SITE)
        self.assertEqual(self.person.json("task", "abort", task, "--reason", "wrong")["state"], "STATE_ABORTED")
        code, _, errors = self.person.run("join", "--into", self.into, "--state", self.state, stdin=key)
        self.assertEqual(code, 1)
        self.assertEqual(errors.count("\n"), 1, errors)
        self.assertFalse(self.into.exists())

    def test_pause_and_resume(self):
        task, key = self.person.create("paused", SITE)
        self.assertEqual(self.person.json("task", "pause", task)["state"], "STATE_PAUSED")
        with self.person.popen("join", "--into", self.into, "--state", self.state, "--name", self.name, "--output",
                               "json", stdin=subprocess.PIPE) as client:
            client.stdin.write(key + "\n")
            client.stdin.flush()
            for line in client.stdout:
                if json.loads(line)["event"] == "waiting":
                    break
            self.assertFalse(self.into.exists() and person.read_files(self.into))
            self.person.json("task", "resume", task)
            client.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(client.returncode, 0)
        self.assertEqual(person.read_files(self.into), SITE)

    def test_a_halted_task_is_mended_by_a_revision_or_resumed(self):
        task, key = self.person.create("halted", SITE, "--max-failures", "0")

        def fail(name):
            into, state = self.into.with_name(name), self.state.with_name(name + "-state")
            code, _, errors = self.person.run("join", "--into", into, "--state", state, "--name", name, "--check",
                                              "false", stdin=key)
            self.assertEqual(code, 3, errors)

        fail("web-bad")
        # The watch of a task that stands still ends, with what can be done.
        code, output, errors = self.person.run("task", "watch", task)
        self.assertEqual(code, 1, errors)
        self.assertIn("✘ halted after 1 failure, over the limit of 0\n", output)
        self.assertIn(f"parley task resume {task}\n", output)
        self.assertIn(f"parley task publish {task} --payload FOLDER\n", output)
        self.assertIn("why        halted after 1 failure", self.person.parley("task", "get", task))
        with self.person.popen("join", "--into", self.into, "--state", self.state, "--name", self.name, "--output",
                               "json", "--follow", stdin=subprocess.PIPE) as client:
            client.stdin.write(key + "\n")
            client.stdin.flush()
            events = (json.loads(line) for line in client.stdout)
            waits = next(e for e in events if e["event"] == "waiting")
            self.assertEqual(waits["reason"], "the task was halted after too many failures")
            self.assertEqual(self.person.json("task", "resume", task)["state"], "STATE_OPEN")
            self.assertEqual(next(e for e in events if e["event"] == "confirmed")["revision"], 1)
            # Another failure is one too many again; a revision mends it for all.
            fail("web-worse")
            self.assertEqual(self.person.run("task", "watch", task)[0], 1)
            self.publish(task, dict(SITE, empty="2"))
            self.assertEqual(next(e for e in events if e["event"] == "confirmed")["revision"], 2)
            self.assertEqual(self.person.json("task", "get", task)["state"], "STATE_OPEN")
            self.person.json("task", "abort", task)
            client.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual((self.into / "empty").read_text(), "2")

    def test_follow_takes_later_revisions(self):
        task, key = self.person.create("follow", SITE)
        with self.person.popen("join", "--into", self.into, "--state", self.state, "--name", self.name, "--output",
                               "json", "--follow", stdin=subprocess.PIPE) as client:
            client.stdin.write(key + "\n")
            client.stdin.flush()
            confirmed = (json.loads(line) for line in client.stdout)
            self.assertEqual(next(e for e in confirmed if e["event"] == "confirmed")["revision"], 1)
            self.publish(task, dict(SITE, empty="2"))
            self.assertEqual(next(e for e in confirmed if e["event"] == "confirmed")["revision"], 2)
            self.person.json("task", "abort", task)
            client.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual((self.into / "empty").read_text(), "2")

    def test_a_revoked_join_key_joins_nobody(self):
        task, key = self.person.create("revoked", SITE)
        listed = self.person.json("task", "key", task, "--list")["joinKeys"]
        self.person.parley("task", "key", task, "--revoke", listed[0]["name"].split("/")[-1])
        code, _, errors = self.person.run("join", "--into", self.into, "--state", self.state, stdin=key)
        self.assertEqual(code, 1, errors)
        self.assertEqual(errors.count("\n"), 1, errors)
        # A new one lets in as many as it says.
        second = self.person.json("task", "key", task, "--max-members", "1")["pasted"]
        self.join(key=second)
        self.name, self.state = "other", self.person.home / "other-state"
        code, _, errors = self.person.run("join", "--into", self.into, "--state", self.state, "--name", self.name,
                                          stdin=second)
        self.assertEqual(code, 1, errors)
        self.assertEqual(errors.count("\n"), 1, errors)

    def test_a_revoked_member_is_out(self):
        task, key = self.person.create("out", SITE)
        self.join(key=key)
        self.person.parley("task", "revoke-member", task, self.name)
        self.publish(task, dict(SITE, empty="2"))
        code, _, errors = self.person.run("join", "--into", self.into, "--state", self.state, "--task", task)
        self.assertEqual(code, 1, errors)
        self.assertEqual(person.read_files(self.into), SITE)

    def test_a_device_takes_part_by_its_labels(self):
        credential = self.person.home / "device.credential"
        self.person.parley("key", "issue", "--role", "device", "--subject", self.name, "--label", "site=rome", "--out",
                           credential)
        self.assertEqual(os.stat(credential).st_mode & 0o777, 0o600)
        with self.person.popen("agent", "--credential", credential, "--into", self.into, "--state", self.state,
                               "--fact", "site=paris", "--output", "json", stdin=subprocess.DEVNULL) as agent:
            events = (json.loads(line) for line in agent.stdout)
            next(event for event in events if event["event"] in ("connected", "idle"))
            self.person.parley("key", "label", self.name, "rack=7", "site=rome")
            labelled = self.person.json("key", "label", self.name, "site=berlin", "rack-")
            self.assertEqual(labelled["labels"], {"site": "berlin"})
            self.assertIn("site=berlin", self.person.parley("key", "list"))
            self.person.create("elsewhere", {"motd": "not for Berlin"}, "--select", "site=paris")
            self.person.create("berlin", SITE, "--select", "site=berlin")
            next(event for event in events if event["event"] == "confirmed")
            agent.terminate()
            agent.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(agent.returncode, 0)
        self.assertEqual(person.read_files(self.into), SITE)

    def test_who_did_what_is_in_an_unbroken_log(self):
        self.person.create("logged", SITE)
        self.assertIn("unbroken chain", self.person.parley("audit", "verify"))
        self.assertIn("at the last verification", self.person.parley("audit", "verify"))
        self.assertIn("credential.issued", self.person.parley("audit", "list"))

    def test_credentials_are_issued_listed_and_revoked(self):
        auditor = self.person.home / "auditor.credential"
        issued = self.person.json("key", "issue", "--role", "auditor", "--subject", "eve", "--out", auditor)
        serial = issued["name"].split("/")[1]
        self.assertIn(serial, self.person.parley("key", "list"))
        self.person.parley("--credential", auditor, "task", "list")
        code, _, errors = self.person.run("--credential", auditor, "task", "create", "x", "--payload", "/etc/hostname")
        self.assertEqual(code, 1)
        self.assertIn("auditor", errors)
        self.person.parley("key", "revoke", serial)
        code, _, errors = self.person.run("--credential", auditor, "audit", "list")
        self.assertEqual(code, 1)
        self.assertEqual(errors.count("\n"), 1, errors)


if __name__ == "__main__":
    unittest.main()
