"""Signals and readers of the commands that carry out updates: a closed terminal, a pipe that nobody empties, Ctrl-S."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import signal
import subprocess
import termios
import time
import unittest

from tests import stack
from tests.e2e import person

CTRL_S = b"\x13"


def full_pipe():
    """(reader, writer) of a pipe that takes nothing more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    return reader, writer


class Manners(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.person = person.Person().__enter__()
        cls.addClassCleanup(cls.person.__exit__)
        cls.up = cls.person.up()
        cls.number = 0

    def setUp(self):
        type(self).number += 1
        self.into = self.person.home / ("into-%d" % self.number)
        self.name = "web-%d" % self.number
        self.place = ["--into", self.into, "--state", self.person.home / ("state-%d" % self.number)]

    def key_file(self, key):
        path = self.person.home / ("key-%d" % self.number)
        path.touch(mode=0o600)
        path.write_text(key)
        return path

    def agent(self, *arguments, **options):
        credential = self.person.home / (self.name + ".credential")
        self.person.parley("key", "issue", "--role", "device", "--subject", self.name, "--label",
                           "name=" + self.name, "--out", credential)
        command = [stack.PARLEY, "agent", "--credential", credential, *self.place, *arguments]
        return subprocess.Popen(list(map(str, command)), env=self.person.environment(), stdin=subprocess.DEVNULL,
                                cwd=self.person.home, **options)

    def wait_for(self, task, state):
        """Follows the task until this test's client stands there."""
        with self.person.popen("task", "watch", task, "--output", "json", stdin=subprocess.DEVNULL) as watch:
            for line in watch.stdout:
                for client in json.loads(line).get("participants", ()):
                    if client["name"].endswith("/" + self.name) and client["state"] == state:
                        watch.kill()
                        return
        self.fail("the task ended before %s was %s" % (self.name, state))

    def installed(self):
        return person.read_files(self.into) if self.into.exists() else {}

    def test_an_agent_ignores_a_hangup(self):
        with self.agent("--output", "json", stdout=subprocess.PIPE, text=True) as agent:
            next(line for line in agent.stdout if json.loads(line)["event"] in ("idle", "connected"))
            agent.send_signal(signal.SIGHUP)
            self.person.create("hup", None, "--select", "name=" + self.name)
            next(line for line in agent.stdout if json.loads(line)["event"] == "confirmed")
            agent.send_signal(signal.SIGHUP)
            agent.terminate()
            agent.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(agent.returncode, 0)

    def test_a_client_that_follows_ignores_a_hangup(self):
        task, key = self.person.create("follows")
        with self.person.popen("join", *self.place, "--name", self.name, "--key-file", self.key_file(key), "--follow",
                               "--output", "json", stdin=subprocess.DEVNULL) as client:
            next(line for line in client.stdout if json.loads(line)["event"] == "confirmed")
            client.send_signal(signal.SIGHUP)
            self.person.json("task", "publish", task, "--payload", self.person.payload({"motd": "2\n"}))
            next(line for line in client.stdout if json.loads(line)["event"] == "confirmed")
            client.terminate()
            client.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(self.installed(), {"motd": "2\n"})

    def end_in_apply(self, number):
        """(exit code, what the target has) of a join that gets the signal within its apply."""
        task, key = self.person.create("apply")
        started = self.person.home / ("started-%d-%d" % (self.number, number))
        os.mkfifo(started)
        with self.person.popen("join", *self.place, "--name", self.name, "--key-file", self.key_file(key), "--apply",
                               "[ -p %s ] && echo > %s && sleep 1000 || true" % (started, started),
                               "--apply-timeout", "5s", stdin=subprocess.DEVNULL) as client:
            started.read_text()
            started.unlink()
            client.send_signal(number)
            client.communicate(timeout=person.TIMEOUT_S)
        return client.returncode, self.installed()

    def test_a_hangup_in_an_apply_is_as_a_request_to_end(self):
        terminated = self.end_in_apply(signal.SIGTERM)
        self.setUp()
        hung_up = self.end_in_apply(signal.SIGHUP)
        self.assertEqual(hung_up, terminated)
        # By a signal it would have ended in the middle.
        self.assertGreaterEqual(hung_up[0], 0)

    def test_nohup_is_respected(self):
        _, key = self.person.create("nohup")
        with self.person.popen("join", *self.place, "--name", self.name, "--key-file", self.key_file(key), "--apply",
                               "kill -HUP $PPID", stdin=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as client:
            client.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(client.returncode, 0)
        self.assertEqual(self.installed(), {"motd": "hello\n"})

    def test_the_services_and_up_ignore_a_hangup(self):
        services = [int(pid) for pid in pathlib.Path("/proc/%d/task/%d/children" % (self.up.pid, self.up.pid))
                    .read_text().split()]
        self.assertEqual(len(services), 3)
        for pid in [self.up.pid, *services]:
            os.kill(pid, signal.SIGHUP)
        self.person.parley("task", "list")
        self.person.parley("key", "list")
        self.person.parley("invite", "list")
        self.assertIsNone(self.up.poll())

    def test_an_agent_whose_pipe_is_full_updates_and_ends_when_asked(self):
        reader, writer = full_pipe()
        with self.agent("--output", "json", stdout=writer, stderr=writer) as agent:
            task, _ = self.person.create("full", None, "--select", "name=" + self.name)
            self.wait_for(task, "STATE_CONFIRMED")
            agent.terminate()
            self.assertEqual(agent.wait(timeout=person.TIMEOUT_S), 0)
        os.close(reader)
        os.close(writer)
        self.assertEqual(self.installed(), {"motd": "hello\n"})

    def test_an_agent_whose_reader_is_gone_goes_on(self):
        reader, writer = os.pipe()
        os.close(reader)
        with self.agent(stdout=writer, stderr=writer) as agent:
            os.close(writer)
            task, _ = self.person.create("gone", None, "--select", "name=" + self.name)
            self.wait_for(task, "STATE_CONFIRMED")
            agent.terminate()
            self.assertEqual(agent.wait(timeout=person.TIMEOUT_S), 0)

    def test_a_join_whose_pipe_is_full_updates_and_ends_by_itself(self):
        _, key = self.person.create("full")
        reader, writer = full_pipe()
        result = subprocess.run([stack.PARLEY, "join", *map(str, self.place), "--name", self.name, "--key-file",
                                 self.key_file(key)], env=self.person.environment(), stdin=subprocess.DEVNULL,
                                stdout=writer, stderr=writer, timeout=person.TIMEOUT_S, cwd=self.person.home,
                                check=False)
        os.close(reader)
        os.close(writer)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(self.installed(), {"motd": "hello\n"})

    def test_a_slow_reader_gets_every_line(self):
        _, key = self.person.create("slow")
        with self.person.popen("join", *self.place, "--name", self.name, "--key-file", self.key_file(key),
                               stdin=subprocess.DEVNULL) as client:
            fcntl.fcntl(client.stdout, fcntl.F_SETPIPE_SZ, 8192)
            while not self.installed():
                self.assertIsNone(client.poll())
                os.sched_yield()
            output, errors = client.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(client.returncode, 0, errors)
        self.assertEqual([line.split()[1] for line in output.splitlines()],
                         ["connected", "offered", "fetched", "applied", "confirmed"])

    def test_a_terminal_that_is_stopped_holds_nothing_up(self):
        _, key = self.person.create("stopped")
        key_file = self.key_file(key)
        pid, terminal = pty.fork()
        if pid == 0:
            # Only what comes after Ctrl-S matters: until then nothing is started.
            os.read(0, 1)
            os.chdir(self.person.home)
            os.execve(stack.PARLEY, ["parley", "join", *map(str, self.place), "--name", self.name, "--key-file",
                                     str(key_file)], self.person.environment(TERM="xterm"))
        settings = termios.tcgetattr(terminal)
        self.assertTrue(settings[0] & termios.IXON)
        os.write(terminal, CTRL_S + b"\n")
        begun = time.monotonic()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.assertLess(time.monotonic() - begun, person.TIMEOUT_S)
        os.close(terminal)
        self.assertEqual(code, 0)
        self.assertEqual(self.installed(), {"motd": "hello\n"})

    def test_a_terminal_that_is_closed_in_an_apply_leaves_a_whole_set(self):
        _, key = self.person.create("closed")
        key_file, started = self.key_file(key), self.person.home / ("started-%d" % self.number)
        os.mkfifo(started)
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.person.home)
            os.execve(stack.PARLEY, ["parley", "join", *map(str, self.place), "--name", self.name, "--key-file",
                                     str(key_file), "--apply", "[ -p %s ] && echo > %s && sleep 1000 || true"
                                     % (started, started), "--apply-timeout", "5s"],
                      self.person.environment(TERM="xterm"))
        started.read_text()
        started.unlink()
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        self.assertTrue(os.WIFEXITED(status), status)
        self.assertIn(self.installed(), ({}, {"motd": "hello\n"}))

    def test_a_settled_target_and_one_that_an_agent_has(self):
        for event, make in (("absent", self.into.mkdir), ("settled", lambda: None)):
            self.assertEqual(self.person.json("settle", *self.place), {"event": event, "target": str(self.into)})
            make()
        with self.agent("--output", "json", stdout=subprocess.PIPE, text=True) as agent:
            next(line for line in agent.stdout if json.loads(line)["event"] in ("idle", "connected"))
            self.assertIn(self.person.json("settle", *self.place)["event"], ("inUse", "settled"))
            agent.terminate()
            agent.communicate(timeout=person.TIMEOUT_S)


if __name__ == "__main__":
    unittest.main()
