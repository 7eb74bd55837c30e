"""At a terminal: a prompt that does not show the key, a QR code, colours that can be turned off."""

import os
import pty
import re
import signal
import subprocess
import termios
import unittest

from tests import stack
from tests.e2e import person


class Terminal(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.person = person.Person().__enter__()
        cls.addClassCleanup(cls.person.__exit__)
        cls.person.up()
        cls.number = 0

    def at_terminal(self, *arguments, answers=(), program=None, **environment):
        """(exit code, everything shown). Types each answer once its question is shown: (question, answer) in order."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.person.home)
            os.execve(program or stack.PARLEY, ["parley", *map(str, arguments)],
                      self.person.environment(TERM="xterm", **environment))
        shown, asked, answers = b"", 0, list(answers)
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
            if answers and answers[0][0].encode() in shown[asked:]:
                asked = len(shown)
                os.write(terminal, answers.pop(0)[1].encode())
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()

    def test_join_key_is_asked_for_and_not_shown(self):
        _, key = self.person.create()
        into = self.person.home / "into"
        code, shown = self.at_terminal("join", "--into", into, "--state", self.person.home / "state",
                                       answers=[("Join key", key + "\n")])
        self.assertEqual(code, 0, shown)
        self.assertNotIn(key[:30], shown)
        self.assertIn("█", shown)
        self.assertIn("\x1b[32m✔\x1b[0m confirmed", shown)
        self.assertEqual(person.read_files(into), {"motd": "hello\n"})

    def join(self, *answers, **environment):
        """As at_terminal, of a join of a new task whose key is in the answers as {}; also what was installed."""
        type(self).number += 1
        _, key = self.person.create()
        into = self.person.home / ("into-%d" % self.number)
        code, shown = self.at_terminal("join", "--into", into, "--state", self.person.home / ("state-%d" % self.number),
                                       "--name", "web-%d" % self.number, **environment,
                                       answers=[(question, typed(key)) for question, typed in answers])
        for at in range(0, len(key) - 20, 20):
            self.assertNotIn(key[at:at + 20], shown)
        return code, shown, person.read_files(into) if into.exists() else {}

    def test_join_key_may_be_pasted_folded_quoted_and_spaced(self):
        def folded(key, width, end):
            return end.join(key[at:at + width] for at in range(0, len(key), width))
        for typed in (lambda key: folded(key, 76, "\n") + "\n", lambda key: folded(key, 40, "\r\n\r\n") + "\r\n",
                      lambda key: '"%s"\n' % key, lambda key: "\u201c%s\u201d\n" % folded(key, 60, " \n  "),
                      lambda key: "'%s'\n" % folded(key, 31, " "), lambda key: "\n\n%s\n\n\nThanks,\nBob\n" % key,
                      lambda key: "\x1b[200~%s\x1b[201~\n" % folded(key, 76, "\n")):
            code, shown, installed = self.join(("Join key", typed))
            self.assertEqual(code, 0, shown)
            self.assertEqual(installed, {"motd": "hello\n"})
            self.assertNotIn("Bob", shown)

    def test_join_key_may_be_typed_line_by_line(self):
        code, shown, installed = self.join(("Join key", lambda key: key[:90] + "\n"),
                                           ("the rest of it", lambda key: "oops\x7f\x7f\x7f\x7f" + key[90:150] + "\n"),
                                           (".", lambda key: "wrong\x15" + key[150:] + "\n"))
        self.assertEqual(code, 0, shown)
        self.assertEqual(installed, {"motd": "hello\n"})

    def test_a_key_that_ends_too_early_is_given_up_by_an_empty_line(self):
        code, shown, _ = self.join(("Join key", lambda key: key[:90] + "\n"), ("the rest of it", lambda key: "\n"))
        self.assertEqual(code, 1, shown)
        self.assertIn("not complete", shown)
        for given_up in ("\x03", "\x04"):
            code, shown, _ = self.join(("Join key", lambda key: key[:90] + "\n"),
                                       ("the rest of it", lambda key, typed=given_up: typed))
            self.assertEqual(code, 1, shown)
            self.assertIn("given up", shown)

    def test_nothing_of_what_is_no_key_reaches_the_shell(self):
        for typed in ("hunter2\nls -l\nwhoami\n", "prl1.0!\nmore of it\n", "x" * 20_000 + "\ny\n"):
            # What is left on the terminal, `cat` would get and show.
            code, shown = self.at_terminal(
                "-c", "stty -echo; %s join --into never --state never-state; echo ended; cat" % stack.PARLEY,
                program="/bin/sh", answers=[("Join key", typed), ("ended", "\x04")])
            self.assertEqual(code, 0, shown)
            self.assertIn("parley: this is", shown.replace("parley: the join key", "parley: this is"))
            self.assertEqual(shown.replace("\r", "").partition("ended\n")[2], "", shown)
        self.assertFalse((self.person.home / "never").exists())

    def test_a_signal_at_the_prompt_leaves_the_terminal_with_its_echo(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(stack.PARLEY, ["parley", "join", "--into", "never"], self.person.environment(TERM="xterm"))
        before, shown = termios.tcgetattr(terminal), b""
        while b"Join key" not in shown:
            shown += os.read(terminal, 4096)
        self.assertFalse(termios.tcgetattr(terminal)[3] & termios.ECHO)
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGTERM)
        self.assertEqual(termios.tcgetattr(terminal), before)
        os.close(terminal)

    def test_prompt_can_be_given_up(self):
        code, shown = self.at_terminal("join", "--into", "x", "--state", "y", answers=[("Join key", "\x03")])
        self.assertEqual(code, 1, shown)
        self.assertIn("given up", shown)

    def test_a_backups_password_is_asked_for_twice_and_not_shown(self):
        first, second, third = "A password", "The same once more", "Password of the backup"
        code, shown = self.at_terminal("backup", "--data", self.person.data, "--out", "it.backup", answers=[
            (first, "correct horse\n"), (second, "corect horse\n"), (first, "correct horse\n"),
            (second, "correct horse\n")])
        self.assertEqual(code, 0, shown)
        self.assertIn("The two differ", shown)
        code, checked = self.at_terminal("restore", "it.backup", "--check", answers=[(third, "correct horse\n")])
        self.assertEqual(code, 0, checked)
        self.assertNotIn("horse", shown + checked)

    def test_no_color_is_respected(self):
        code, shown = self.at_terminal("credentials", "show", NO_COLOR="1")
        self.assertEqual(code, 0)
        self.assertNotIn("\x1b", shown)

    def test_join_key_comes_as_a_qr_code_and_a_private_file(self):
        payload = self.person.payload({"motd": "hello\n"})
        code, shown = self.at_terminal("task", "create", "shown", "--payload", payload)
        self.assertEqual(code, 0, shown)
        self.assertRegex(shown, "[▀▄█]{10}")
        task = re.search(r"shown-[a-z2-7]{4}", shown).group()
        file = self.person.home / (task + ".join")
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        self.assertIn(file.read_text().strip(), shown.replace("\r", ""))

    def test_help_teaches(self):
        for arguments in (["--help"], ["task", "--help"], ["task", "create", "--help"], ["join", "--help"],
                          ["up", "--help"], ["agent", "--help"], ["settle", "--help"], ["task", "watch", "--help"],
                          ["task", "retry", "--help"], ["task", "members", "--help"],
                          ["key", "issue", "--help"], ["proxy", "--help"],
                          ["credentials", "export", "--help"]):
            result = subprocess.run([stack.PARLEY, *arguments], capture_output=True, text=True, check=True)
            if arguments != ["task", "--help"]:
                self.assertIn("parley " + arguments[0].replace("--help", "up"), result.stdout)
            self.assertLess(max(map(len, result.stdout.splitlines())), 140, result.stdout)


if __name__ == "__main__":
    unittest.main()
