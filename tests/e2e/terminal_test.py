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

    def at_terminal(self, *arguments, typed=None, after=None, **environment):
        """(exit code, everything shown). Types `typed` once `after` is shown."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.person.home)
            os.execve(stack.PARLEY, ["parley", *map(str, arguments)],
                      self.person.environment(TERM="xterm", **environment))
        shown = b""
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
            if typed is not None and after.encode() in shown:
                os.write(terminal, typed.encode())
                typed = None
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()

    def test_join_key_is_asked_for_and_not_shown(self):
        _, key = self.person.create()
        into = self.person.home / "into"
        code, shown = self.at_terminal("join", "--into", into, "--state", self.person.home / "state",
                                       typed=key + "\n", after="Join key")
        self.assertEqual(code, 0, shown)
        self.assertNotIn(key[:30], shown)
        self.assertIn("█", shown)
        self.assertIn("\x1b[32m✔\x1b[0m confirmed", shown)
        self.assertEqual(person.read_files(into), {"motd": "hello\n"})

    def test_prompt_can_be_given_up(self):
        code, shown = self.at_terminal("join", "--into", "x", "--state", "y", typed="\x03", after="Join key")
        self.assertEqual(code, 1, shown)
        self.assertIn("given up", shown)

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
