"""`parley task watch`: one screen on a terminal, that fits it and gives it back; a few lines in a log."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from tests import stack
from tests.e2e import person


class Emulator:
    """What a person sees: two screens, of which one is shown, and a cursor."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.main, self.other = {}, {}
        self.on_other, self.cursor_shown = False, True
        self.row = self.column = 0
        self.scrolled = False
        self.raw = b""

    @property
    def cells(self):
        return self.other if self.on_other else self.main

    def feed(self, piece):
        self.raw += piece
        text = piece.decode()
        for token in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]", text):
            self.take(token)

    def take(self, token):
        if token == "\r":
            self.column = 0
        elif token == "\n":
            self.row += 1
        elif token == "\x1b[H":
            self.row = self.column = 0
        elif token == "\x1b[2J":
            self.cells.clear()
        elif token == "\x1b[K":
            self.erase(lambda row, column: row == self.row and column >= self.column)
        elif token == "\x1b[J":
            self.erase(lambda row, column: (row, column) >= (self.row, self.column))
        elif token in ("\x1b[?1049h", "\x1b[?1049l"):
            self.on_other = token.endswith("h")
        elif token in ("\x1b[?25h", "\x1b[?25l"):
            self.cursor_shown = token.endswith("h")
        elif token.startswith("\x1b") and token.endswith("m"):
            pass
        elif token.startswith("\x1b"):
            raise AssertionError("unknown: %r" % token)
        else:
            self.cells[self.row, self.column] = token
            self.column += 1
            self.scrolled = self.scrolled or self.row >= self.rows or self.column > self.columns

    def erase(self, which):
        for place in [place for place in self.cells if which(*place)]:
            del self.cells[place]

    def lines(self):
        last = max((row for row, _ in self.cells), default=-1)
        return ["".join(self.cells.get((row, column), " ") for column in range(self.columns)).rstrip()
                for row in range(last + 1)]

    def text(self):
        return "\n".join(self.lines())


class Watching:
    """The command on a terminal of this size. A context manager."""

    def __init__(self, test, task, rows=24, columns=80, **environment):
        self.screen = Emulator(rows, columns)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(test.person.home)
            os.read(0, 1)
            os.execve(stack.PARLEY, ["parley", "task", "watch", task],
                      test.person.environment(**{"TERM": "xterm", **environment}))
        self.before = termios.tcgetattr(self.terminal)
        self.resize(rows, columns)
        os.write(self.terminal, b"\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.end()
        os.close(self.terminal)

    def resize(self, rows, columns):
        self.screen.rows, self.screen.columns = rows, columns
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        """Whether something more was shown."""
        piece, wait = b"", person.TIMEOUT_S
        # What comes at once belongs together: whole characters, a whole frame.
        while select.select([self.terminal], [], [], wait)[0]:
            try:
                more = os.read(self.terminal, 65536)
            except OSError:
                break
            piece += more
            wait = 0.02
            if not more:
                break
        self.screen.feed(piece)
        return bool(piece)

    def until(self, *parts):
        """Reads until the screen shows all of these."""
        end = time.monotonic() + person.TIMEOUT_S
        while not all(part in self.screen.text() for part in parts):
            if time.monotonic() > end or not self.read():
                raise AssertionError("never shown: %s\n%s" % (parts, self.screen.text()))

    def end(self):
        """How it ended, when it has."""
        while self.read():
            pass
        status = os.waitpid(self.pid, 0)[1]
        self.pid = None
        return os.waitstatus_to_exitcode(status)


class Watch(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.person = person.Person().__enter__()
        cls.addClassCleanup(cls.person.__exit__)
        cls.person.up()
        cls.number = 0

    def setUp(self):
        # The task's join key is for all of its clients.
        self.task, self.key = self.person.create("watched")

    def join(self, name, *arguments, code=0):
        return self.person.parley("join", "--into", self.person.home / self.task / name, "--state",
                                  self.person.home / ("%s-%s-state" % (self.task, name)), "--name", name, *arguments,
                                  stdin=self.key, code=code)

    def test_a_screen_fits_the_terminal_and_is_given_back(self):
        (self.person.home / self.task).mkdir()
        with Watching(self, self.task) as watching:
            watching.until(self.task + " r1  open until", "0 of 0 confirmed")
            self.assertTrue(watching.screen.on_other)
            self.assertFalse(watching.screen.cursor_shown)
            self.join("web-1")
            self.join("web-2", "--check", "echo 'nginx: no such file'; exit 1", code=3)
            watching.until("1 of 2 confirmed", "50 %", "1 confirmed, 1 rolled back",
                           "✘ web-2  rolled back  nginx: no such file")
            self.assertNotIn("web-1", watching.screen.text())

            watching.resize(5, 30)
            watching.until("1 of 2 confirmed", "✘ web-2  rolled back  ngi")
            # Redrawn from its beginning, and no line is wider than the window.
            watching.screen.scrolled = False
            watching.screen.other.clear()
            self.join("web-3", "--decline", "not now", code=4)
            watching.until("1 of 3 confirmed")
            self.assertLessEqual(len(watching.screen.lines()), 5)
            self.assertFalse(watching.screen.scrolled)

            watching.resize(24, 80)
            self.person.json("task", "abort", self.task)
            self.assertEqual(watching.end(), 1)
            self.assertFalse(watching.screen.on_other)
            self.assertTrue(watching.screen.cursor_shown)
            self.assertIn("aborted", watching.screen.lines()[0])
            self.assertIn("1 of 3 confirmed", watching.screen.text())
            self.assertIn("✘ web-2  rolled back  nginx: no such file", watching.screen.text())

    def test_ctrl_c_gives_the_terminal_back(self):
        with Watching(self, self.task) as watching:
            watching.until("0 of 0 confirmed")
            self.assertFalse(termios.tcgetattr(watching.terminal)[3] & termios.ECHO)
            os.write(watching.terminal, b"\x03")
            self.assertEqual(watching.end(), -signal.SIGINT)
            self.assertFalse(watching.screen.on_other)
            self.assertTrue(watching.screen.cursor_shown)
            self.assertIn("0 of 0 confirmed", watching.screen.text())
            self.assertEqual(termios.tcgetattr(watching.terminal), watching.before)

    def test_a_terminal_that_is_closed_ends_it(self):
        with Watching(self, self.task) as watching:
            watching.until("0 of 0 confirmed")
            os.kill(watching.pid, signal.SIGHUP)
            self.assertEqual(watching.end(), -signal.SIGHUP)

    def test_it_is_stopped_and_goes_on(self):
        with Watching(self, self.task) as watching:
            watching.until("0 of 0 confirmed")
            os.write(watching.terminal, b"\x1a")
            os.waitpid(watching.pid, os.WUNTRACED)
            watching.read()
            self.assertFalse(watching.screen.on_other)
            os.kill(watching.pid, signal.SIGCONT)
            watching.until("0 of 0 confirmed")
            self.assertTrue(watching.screen.on_other)

    def test_a_task_that_is_not_there_leaves_the_terminal_as_it_was(self):
        with Watching(self, "nowhere-aaaa") as watching:
            self.assertEqual(watching.end(), 1)
            self.assertFalse(watching.screen.on_other)
            self.assertIn("nowhere-aaaa", watching.screen.text())
            self.assertEqual(termios.tcgetattr(watching.terminal), watching.before)

    def test_no_color_is_respected_and_a_dumb_terminal_gets_lines(self):
        with Watching(self, self.task, NO_COLOR="1") as watching:
            watching.until("0 of 0 confirmed")
            os.write(watching.terminal, b"\x03")
            watching.end()
            self.assertNotRegex(watching.screen.raw, rb"\x1b\[[0-9;]*m")
        with Watching(self, self.task, TERM="dumb") as watching:
            watching.until("open: nobody yet")
            self.assertNotIn(b"\x1b", watching.screen.raw)

    def watch(self, *arguments):
        return self.person.popen("task", "watch", self.task, *arguments, stdin=subprocess.DEVNULL)

    def test_a_log_has_a_line_for_each_client_that_ends(self):
        (self.person.home / self.task).mkdir()
        with self.watch() as watch:
            self.assertIn("nobody yet", watch.stdout.readline())
            for name in ("web-1", "web-2", "web-3"):
                self.join(name)
            self.join("web-4", "--check", "echo bad; exit 1", code=3)
            self.person.json("task", "abort", self.task)
            output, errors = watch.communicate(timeout=person.TIMEOUT_S)
        self.assertEqual(watch.returncode, 1, errors)
        lines = output.splitlines()
        clients = [line for line in lines if re.match(r"  [✔✘·] ", line)]
        self.assertEqual([line.split()[1] for line in clients], ["web-1", "web-2", "web-3", "web-4"])
        self.assertEqual(clients[0], "  ✔ web-1  r1 confirmed")
        self.assertIn("rolled back (bad", clients[3])
        self.assertIn("aborted: 3 confirmed, 1 rolled back", lines[-1])
        self.assertNotIn("\x1b", output)

    def test_all_gives_every_change(self):
        (self.person.home / self.task).mkdir()
        with self.watch("--all") as watch:
            self.assertIn("nobody yet", watch.stdout.readline())
            self.join("web-1")
            self.person.json("task", "abort", self.task)
            output, _ = watch.communicate(timeout=person.TIMEOUT_S)
        self.assertGreater(len(re.findall(r"^  . web-1 ", output, re.MULTILINE)), 2, output)
        self.assertIn("  ✔ web-1  r1 confirmed\n", output)

    def test_members_are_shown_with_what_they_have_and_why(self):
        (self.person.home / self.task).mkdir()
        self.join("web-2", "--check", "echo 'nginx: no such file'; exit 1", code=3)
        self.join("web-1")
        head, first, second, footer = self.person.parley("task", "members", self.task).splitlines()
        self.assertEqual(head.split(), ["CLIENT", "INSTALLED", "OFFERED", "CONNECTED", "WHY"])
        self.assertRegex(first, r"^web-1 +r1 +r1 confirmed ")
        self.assertRegex(second, r"^web-2 +none +r1 rolled back .*nginx: no such file")
        self.assertIn("2 clients: 1 confirmed, 1 rolled back", footer)


if __name__ == "__main__":
    unittest.main()
