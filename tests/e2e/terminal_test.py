"""At a terminal: a prompt that does not show the key, a QR code, colours that can be turned off."""

import os
import pty
import re
import subprocess
import unittest

from tests import stack
from tests.e2e import person


class Terminal(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.person = person.Person().__enter__()
        cls.addClassCleanup(cls.person.__exit__)
        cls.person.up()

    def at_terminal(self, *arguments, answers=(), **environment):
        """(exit code, everything shown). Types each answer once its question is shown: (question, answer) in order."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.person.home)
            os.execve(stack.PARLEY, ["parley", *map(str, arguments)],
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
                          ["up", "--help"], ["agent", "--help"], ["key", "issue", "--help"], ["proxy", "--help"],
                          ["credentials", "export", "--help"]):
            result = subprocess.run([stack.PARLEY, *arguments], capture_output=True, text=True, check=True)
            if arguments != ["task", "--help"]:
                self.assertIn("parley " + arguments[0].replace("--help", "up"), result.stdout)
            self.assertLess(max(map(len, result.stdout.splitlines())), 140, result.stdout)


if __name__ == "__main__":
    unittest.main()
