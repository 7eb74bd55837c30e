"""The manners of a process: signals, output that nobody reads, keys as people paste them. Row K of what was reported.
"""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import textwrap
import time
import unittest

from tests import stack
from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, client, *arguments, begin=None):
        """`begin`: what a shell with job control, as a person's is, does with the command in its arguments."""
        command = [str(stack.PARLEY), *map(str, arguments)]
        if begin:
            command = ["/bin/bash", "-mc", begin, "bash", *command]
        self.shown = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(client.folder)
            os.execve(command[0], command, {**client.services.environment(), "TERM": "xterm"})

    def until(self, text):
        end = time.monotonic() + machine.TIMEOUT_S
        while text.encode() not in self.shown:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._terminal], [], [], left)[0] or not self._read():
                raise AssertionError("%r is not shown: %r" % (text, self.shown))

    def _read(self):
        try:
            piece = os.read(self._terminal, 65536)
        except OSError:
            return False
        self.shown += piece
        return bool(piece)

    def type(self, text):
        os.write(self._terminal, text.encode())

    def close(self):
        os.close(self._terminal)

    def end(self):
        """The exit code, once everything has been read."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Signals(reported.Reported):

    def hangs_up(self, run, gate):
        gate.wait_until_begun()
        run.process.send_signal(signal.SIGHUP)
        gate.let_go()
        code, events = run.end()
        self.assertNotEqual(code, -signal.SIGHUP, events)
        self.assertEqual(self.client.journals(), [], events)
        self.assertIn(self.client.files(), (OLD, NEW))
        self.assertEqual(self.client.files() == NEW, code == 0, events)

    def test_hangup_in_the_apply_leaves_nothing_undecided(self):
        gate = self.gate()
        self.create()
        self.hangs_up(self.keep(self.client.join("--apply", gate.command, key=self.key)), gate)

    def test_hangup_in_the_check_leaves_nothing_undecided(self):
        gate = self.gate()
        self.create()
        self.hangs_up(self.keep(self.client.join("--check", gate.command, key=self.key)), gate)

    def test_a_terminal_that_is_closed_in_the_apply_leaves_nothing_undecided(self):
        gate = self.gate()
        task = self.create()
        file = self.client.folder / "key"
        file.touch(mode=0o600)
        file.write_text(self.key)
        terminal = Terminal(self.client, "join", *self.client.place(), "--name", self.client.name, "--key-file", file,
                            "--apply", gate.command)
        gate.wait_until_begun()
        terminal.close()
        gate.let_go()
        os.waitpid(terminal.pid, 0)
        self.assertEqual(self.client.journals(), [])
        self.assertEqual(self.client.files() == NEW, self.member(task)["state"] == "STATE_CONFIRMED")
        self.assertIn(self.client.files(), (OLD, NEW))

    def test_quit_in_the_apply_leaves_nothing_undecided(self):
        gate = self.gate()
        self.create()
        run = self.keep(self.client.join("--apply", gate.command, key=self.key))
        gate.wait_until_begun()
        run.process.send_signal(signal.SIGUSR1)
        run.process.send_signal(signal.SIGQUIT)
        gate.let_go()
        code, events = run.end()
        self.assertEqual(self.client.journals(), [], events)
        self.assertEqual(self.client.files(), NEW if code == 0 else OLD)

    def test_an_idle_agent_does_not_mind(self):
        run = self.agent()
        run.until("idle")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            run.process.send_signal(number)
        self.create(select=self.client)
        run.until("confirmed")
        self.assert_settled(NEW)

    def test_services_do_not_mind(self):
        for service in (self.services.taskd, self.services.keyd):
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                service.process.send_signal(number)
        self.create()
        self.join()
        for service in (self.services.taskd, self.services.keyd):
            self.assertIsNone(service.process.poll())

    def test_after_term_an_agent_in_the_apply_has_settled(self):
        gate = self.gate()
        self.create(select=self.client)
        run = self.agent("--apply", gate.command)
        gate.wait_until_begun()
        run.process.terminate()
        gate.let_go()
        code, events = run.end()
        self.assertEqual(code, 0, events)
        self.assertEqual(self.client.journals(), [])


class Output(reported.Reported):
    """An update never waits for who reads of it."""

    def full_pipe(self):
        """The end to write to of a pipe that holds all that it can, and that nobody reads."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        flags = fcntl.fcntl(writer, fcntl.F_GETFL)
        fcntl.fcntl(writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        # One byte at a time, to the last.
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x")
        fcntl.fcntl(writer, fcntl.F_SETFL, flags)
        return writer

    def unread(self, output, *arguments):
        process = subprocess.Popen(
            [stack.PARLEY, *arguments, "agent", "--credential", self.services.device(self.client.name),
             *self.client.place()], env=self.services.environment(),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.client.folder)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        task = self.create(select=self.client)
        watch = self.services.watch(task)
        watch.until_state(self.client.name, "STATE_CONFIRMED")
        self.services.publish(task, {"app.conf": "2\n"})
        watch.until(lambda w: w.member(self.client.name).get("confirmedRevision") == "2")
        process.terminate()
        self.assertEqual(process.wait(machine.TIMEOUT_S), 0)
        self.assert_settled({"app.conf": "2\n"})

    def test_a_pipe_that_is_full(self):
        self.unread(self.full_pipe())

    def test_a_pipe_that_is_full_with_events(self):
        self.unread(self.full_pipe(), "--output", "json")

    def test_a_pipe_that_nobody_has_open_any_more(self):
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        self.unread(writer)

    def test_streams_that_are_closed(self):
        """Whatever the process opens next would get their numbers, and be printed into."""
        def run(streams, *arguments):
            return subprocess.run(["sh", "-c", 'exec "$@" ' + streams, "sh", stack.PARLEY, *arguments], check=False,
                                  env=self.services.environment(), stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=machine.TIMEOUT_S)
        listed = run(">&-", "task", "list")
        self.assertEqual((listed.returncode, listed.stderr),
                         (1, "parley: cannot write the output: Bad file descriptor\n"))
        task = self.create()
        self.join()
        self.services.publish(task, {"app.conf": "2\n"})
        run("<&- >&- 2>&-", "join", *self.client.place(), "--task", task, "--apply", "echo said; echo said >&2")
        self.assertEqual(self.member(task)["confirmedRevision"], "2")
        self.assert_settled({"app.conf": "2\n"})

    def test_a_limit_of_what_a_file_may_hold_is_no_end(self):
        self.create({"app.conf": "new\n" * 100_000})
        events = self.join("--wait", "1s", code=1, prefix=["sh", "-c", 'ulimit -f 64; exec "$@"', "sh"])
        self.says(events, "File too large")
        self.assert_settled(OLD)

    def test_a_terminal_that_stops_who_prints_in_the_background(self):
        task = self.create(select=self.client)
        terminal = Terminal(self.client, "agent", "--credential", self.services.device(self.client.name),
                            *self.client.place(), begin='stty tostop; "$@" & read line; kill -KILL $!')
        self.addCleanup(terminal.end)
        self.addCleanup(terminal.type, "\n")
        self.services.watch(task).until_state(self.client.name, "STATE_CONFIRMED")
        self.services.publish(task, {"app.conf": "2\n"})
        self.services.watch(task).until(lambda w: w.member(self.client.name).get("confirmedRevision") == "2")

    def test_a_warning_is_one_sentence_for_people_and_json_for_programs(self):
        apply = ('grep -q new app.conf || exit 0; mv "$PARLEY_TARGET" "$PARLEY_TARGET-away"; mkdir "$PARLEY_TARGET"; '
                 'touch "$PARLEY_TARGET/theirs"; exit 1')
        for output in ("text", "json"):
            with self.subTest(output):
                client = self.machine(OLD)
                self.create()
                kept = client.places()[0] / "kept-1"
                run = subprocess.run(
                    [stack.PARLEY, "--output", output, "join", *client.place(), "--name", client.name, "--apply",
                     apply], env=self.services.environment(), input=self.key, capture_output=True, text=True,
                    check=False, timeout=machine.TIMEOUT_S)
                self.assertEqual(run.returncode, 3, run)
                self.assertEqual(client.files(), OLD)
                self.assertTrue((kept / "theirs").exists(), run)
                said = "something else stood where the old set belongs, and is kept"
                if output == "text":
                    self.assertEqual(run.stderr, "parley: warning: %s (target %s, path %s)\n" % (
                        said, client.target, kept))
                    continue
                warning = json.loads(run.stderr)
                self.assertEqual((warning["level"], warning["message"], warning["path"]), ("warning", said, str(kept)))

    def test_a_terminal_that_was_stopped(self):
        task = self.create(select=self.client)
        watch = self.services.watch(task)
        terminal = Terminal(self.client, "agent", "--credential", self.services.device(self.client.name),
                            *self.client.place())
        self.addCleanup(terminal.close)
        # Ctrl-S.
        terminal.type("\x13")
        watch.until_state(self.client.name, "STATE_CONFIRMED")
        os.kill(terminal.pid, signal.SIGTERM)
        machine.wait_until_ended(terminal.pid)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]), 0)


class Keys(reported.Reported):

    def pasted(self, text):
        self.join(key=text)
        self.assert_settled(NEW)

    def test_folded_over_lines(self):
        self.create()
        self.pasted("\n".join(textwrap.wrap(self.key, 76)))

    def test_folded_with_carriage_returns_and_indented(self):
        self.create()
        self.pasted("\r\n".join("   " + line for line in textwrap.wrap(self.key, 60)) + "\r\n")

    def test_quoted(self):
        for before, after in (('"', '"'), ("'", "'"), ("“", "”"), ("<", ">"), ("> ", "")):
            with self.subTest(before):
                self.client = self.machine(OLD)
                self.create()
                self.pasted(before + self.key + after)

    def test_as_a_quoted_mail(self):
        self.create()
        self.pasted("\n".join("> " + line for line in textwrap.wrap(self.key, 70)))

    def test_pasted_line_by_line_at_a_terminal(self):
        self.create()
        terminal = Terminal(self.client, "join", *self.client.place(), "--name", self.client.name)
        terminal.until("Join key")
        for line in textwrap.wrap(self.key, 76):
            terminal.type(line + "\n")
        code = terminal.end()
        self.assertEqual(code, 0, terminal.shown)
        self.assertNotIn(self.key[30:50].encode(), terminal.shown)
        self.assert_settled(NEW)

    def test_what_is_no_key_is_one_sentence(self):
        self.create()
        for text in ("", "no key at all", self.key[:-20], self.key[:50] + "!" + self.key[50:]):
            with self.subTest(text[:10]):
                code, events = self.keep(self.client.join(key=text)).end()
                self.assertIn(code, (1, 2))
                self.assertEqual(len(self.runs[-1].errors.splitlines()), 1, self.runs[-1].errors)
                self.assertNotIn(self.key[60:90], self.runs[-1].errors)
                self.assertFalse(self.client.state.exists() and any(self.client.state.rglob("membership")), events)


class Server(reported.Reported):

    def forwarder(self, to=None):
        forwarder = machine.Forwarder(to or self.services.taskd_address)
        self.addCleanup(forwarder.close)
        return forwarder

    def test_of_join_is_obeyed_and_remembered(self):
        other = self.forwarder()
        task = self.create()
        events = self.join("--server", other.address)
        self.assertEqual({event["address"] for event in events if event["event"] == "connected"}, {other.address})
        self.services.publish(task, {"app.conf": "2\n"})
        events = self.join(task=task)
        self.assertEqual({event["address"] for event in events if event["event"] == "connected"}, {other.address})
        self.assert_settled({"app.conf": "2\n"})

    def test_of_join_that_goes_on_is_obeyed(self):
        other = self.forwarder()
        task = self.create()
        self.join()
        self.services.publish(task, {"app.conf": "2\n"})
        events = self.join("--server", other.address, task=task)
        self.assertEqual({event["address"] for event in events if event["event"] == "connected"}, {other.address})

    def test_that_is_nonsense_is_one_sentence(self):
        self.create()
        for address in ("", ":", "host", "host:", "host:99999", "host:x", "ho st:1", "ho\nst:1", "http://host:1/x"):
            with self.subTest(address):
                run = self.keep(self.client.join("--server", address, key=self.key))
                code, events = run.end()
                self.assertEqual(code, 2, (events, run.errors))
                self.assertEqual(len(run.errors.splitlines()), 1, run.errors)
                self.assertEqual(self.client.files(), OLD)

    def test_an_option_that_a_command_ignores_is_an_error(self):
        for arguments in (["up", "--server", "127.0.0.1:1"], ["down", "--server", "127.0.0.1:1"],
                          ["restore", "x", "--check", "--server", "127.0.0.1:1"],
                          ["join", *self.client.place(), "--credential", "x", "--task", "demo"],
                          ["settle", *self.client.place(), "--server", "127.0.0.1:1"]):
            with self.subTest(arguments[0]):
                run = self.keep(self.client.start(*arguments))
                code, _ = run.end()
                self.assertEqual(code, 2, run.errors)
                self.assertRegex(run.errors, "--server|--credential")


class Commands(reported.Reported):

    def test_of_a_first_installation_are_not_run_for_what_was_not_there(self):
        client = self.machine()
        ran = client.folder / "ran"
        task = self.create()
        events = self.join("--apply", 'echo "$PARLEY_TARGET" >>%s; false' % ran, client=client, code=3)
        self.never(events, "rollbackFailed")
        self.assertEqual(len(ran.read_text().splitlines()), 1)
        self.assertFalse(client.target.exists())
        self.assertEqual(self.member(task, client)["state"], "STATE_ROLLED_BACK")

    def test_see_labels_and_facts_and_their_folder(self):
        task = self.create(select=self.client)
        out = self.client.folder / "out"
        run = self.agent("--fact", "rack=7", "--check", "{ env; pwd -P; } >%s" % out)
        run.until("confirmed")
        lines = out.read_text().splitlines()
        for line in ("PARLEY_LABEL_NAME=%s" % self.client.name, "PARLEY_FACT_RACK=7",
                     "PARLEY_TARGET=%s" % self.client.target):
            self.assertIn(line, lines)
        self.assertEqual(lines[-1], str(self.client.target))
        member = self.member(task)
        self.assertEqual((member["labels"], member["facts"]["rack"]), ({"name": self.client.name}, "7"))

    def test_that_leave_children_fill_the_output_or_close_it_hold_nothing_up(self):
        pids = self.client.folder / "pids"
        task = self.create()
        for number, command in enumerate(("sleep 1000 & echo $! >>%s" % pids, "exec >&- 2>&-; true",
                                          "head -c 100000000 /dev/zero", "yes | head -n 10000000")):
            with self.subTest(command):
                self.join("--check", command, **({} if number == 0 else {"task": task}))
                self.services.publish(task, {"app.conf": "%d\n" % number})
        for pid in pids.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def test_each_revision_that_is_followed_is_told(self):
        task = self.create()
        run = self.keep(self.client.join("--follow", key=self.key))
        for revision in (1, 2, 3):
            run.until("confirmed", revision=revision)
            if revision < 3:
                self.services.publish(task, {"app.conf": "%d\n" % revision})
        offered = [event["revision"] for event in run.events if event["event"] == "offered"]
        self.assertEqual(offered, [1, 2, 3])


class TheTarget(reported.Reported):
    """Bad input: each gets one sentence and the right exit code, and nothing is half done."""

    def refused(self, *words):
        run = self.keep(self.client.join("--wait", "1s", key=self.key))
        code, events = run.end()
        self.assertEqual(code, 1, events)
        self.says(events, *words)
        self.never(events, "fetched", "rollingBack")

    def test_that_is_a_file(self):
        self.create()
        self.client.target = self.client.folder / "file"
        self.client.target.write_text("mine\n")
        self.refused(str(self.client.target))
        self.assertEqual(self.client.target.read_text(), "mine\n")

    def copy_of_the_system(self):
        """A root folder like this machine's, in which a faulty program harms nobody."""
        layers = self.client.folder / "layers"
        layers.mkdir()
        machine.mount("-t", "tmpfs", "tmpfs", layers)
        for name in ("upper", "work", "root"):
            (layers / name).mkdir()
        root = layers / "root"
        machine.mount("-t", "overlay", "overlay", "-o",
                      "lowerdir=/,upperdir=%s/upper,workdir=%s/work" % (layers, layers), root)
        for shared in ("/dev", "/proc", "/tmp"):
            machine.mount("--rbind", shared, str(root) + shared)
        return root

    def test_that_is_of_the_system_is_not_exchanged(self):
        root = self.copy_of_the_system()
        name = "parley-test-that-nobody-has"
        for target in ("/", "/etc", "/usr", "/var", "/opt", "/home", "/root", "/boot"):
            with self.subTest(target):
                inode = os.stat(str(root) + target).st_ino
                self.create({name: "x\n"})
                client = self.machine()
                client.place = lambda target=target, client=client: ["--into", target, "--state", client.state]
                run = self.keep(client.join("--wait", "1s", "--method", "exchange", key=self.key,
                                            prefix=["/usr/sbin/chroot", root]))
                code, events = run.end()
                self.assertNotEqual(code, 0, events)
                self.says(events, target)
                self.never(events, "applied")
                self.assertFalse(os.path.lexists("%s/%s/%s" % (root, target, name)))
                self.assertEqual(os.stat(str(root) + target).st_ino, inode)

    def test_that_holds_the_state_is_not_exchanged(self):
        self.create()
        self.client.place = lambda: ["--into", self.client.folder, "--state", self.client.state]
        inode = self.client.state
        self.join()
        self.assertEqual((self.client.folder / "app.conf").read_text(), "new\n")
        self.assertTrue(inode.is_dir())
        self.says(self.runs[-1].events, "method", "files")

    def test_that_is_a_link_which_moves(self):
        task = self.create()
        first, second, link = (self.client.folder / name for name in ("first", "second", "link"))
        first.mkdir()
        second.mkdir()
        link.symlink_to(first)
        self.client.target = link
        self.join()
        self.assertEqual(machine.read_files(first), NEW)
        link.unlink()
        link.symlink_to(second)
        self.services.publish(task, {"app.conf": "2\n"})
        run = self.keep(self.client.join("--wait", "1s", task=task))
        code, events = run.end()
        # The other folder gets the whole set, or one sentence says why not; the first is left as it was.
        self.assertEqual(machine.read_files(first), NEW, events)
        self.assertEqual(machine.read_files(second), {"app.conf": "2\n"} if code == 0 else {}, events)
        self.assertTrue(link.is_symlink())

    def test_whose_way_leads_elsewhere_while_the_agent_runs(self):
        """As of a program of which several versions lie beside one another."""
        first, second, link = (self.client.folder / name for name in ("first", "second", "current"))
        for folder in (first, second):
            (folder / "conf").mkdir(parents=True)
        link.symlink_to(first)
        self.client.target = link / "conf"
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        link.unlink()
        link.symlink_to(second)
        self.services.publish(task, {"app.conf": "2\n"})
        detail = run.until("hindered", code="state_conflict")["detail"]
        self.assertIn("%s leads to %s now" % (link / "conf", second / "conf"), detail)
        self.assertEqual(machine.read_files(first / "conf"), NEW)
        self.assertEqual(machine.read_files(second / "conf"), {})
        link.unlink()
        link.symlink_to(first)
        run.until("confirmed", revision=2)

    def test_that_is_not_utf_8(self):
        self.create()
        target = os.fsencode(self.client.folder) + b"/\xff\xfe"
        os.mkdir(target)
        process = subprocess.run([os.fsencode(stack.PARLEY), "--output", "json", "join", "--into", target, "--state",
                                  os.fsencode(self.client.state), "--name", "latin"], input=self.key.encode(),
                                 env=self.services.environment(), capture_output=True, timeout=machine.TIMEOUT_S,
                                 check=False)
        self.assertIn(process.returncode, (0, 1, 2))
        for line in process.stdout.decode().splitlines():
            json.loads(line)
        self.assertEqual(os.listdir(target), [b"app.conf"] if process.returncode == 0 else [])

    def test_of_one_file(self):
        motd = self.client.folder / "motd"
        motd.write_text("old\n")
        inode = motd.parent.stat().st_ino
        self.create({"motd": "hello\n"})
        self.client.place = lambda: ["--into-file", motd, "--state", self.client.state]
        self.join("--check", "grep -q hello \"$PARLEY_TARGET\"")
        self.assertEqual(motd.read_text(), "hello\n")
        self.assertEqual(motd.parent.stat().st_ino, inode)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
