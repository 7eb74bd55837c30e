"""No command ignores an option: what it does not use it refuses, and so what is given twice, empty or as nonsense."""

import os
import re
import subprocess
import unittest

from tests import stack
from tests.e2e import person

GLOBAL = ("--credential", "--device", "--password-file", "--remember", "--server")
# What a command needs to come as far as it uses the options; {…} are the test's own. Each command is here.
ARGUMENTS = {
    "agent": ["--into", "{into}", "--state", "{state}"],
    "audit list": [], "audit verify": [],
    "backup": ["--out", "x"],
    "claim": [],
    "credentials export": ["--out", "certs"], "credentials show": [],
    "device forget": [], "device list": [], "device password": [], "device renew": [], "device revoke": ["laptop"],
    "down": [],
    "greet": [],
    "invite cancel": ["{id}"], "invite device": [], "invite list": [], "invite resend": ["{id}"],
    "invite user": ["bob"],
    "join": ["--into", "{into}", "--state", "{state}", "--key-file", "{key}", "--require-operator-signature"],
    "key get": ["{id}"], "key issue": ["--role", "device", "--subject", "web-1", "--out", "new"],
    "key label": ["web-1", "site=berlin"], "key list": [],
    "key revoke": ["{id}"], "key rotate-root": [],
    "org init": ["--user", "bob"], "org verify": [],
    "proxy": ["--socket", "socket"],
    "restore": ["x"],
    "settle": ["--into", "{into}"],
    "store copy": ["sqlite:a.db", "sqlite:b.db"],
    "task abort": ["{task}"], "task advance": ["{task}"], "task create": ["new", "--payload", "{payload}"],
    "task delete": ["{task}"], "task diff": ["{task}", "--from", "1"], "task explain": ["{task}", "web-1"],
    "task get": ["{task}"], "task history": ["{task}"], "task key": ["{task}"], "task list": [],
    "task members": ["{task}"], "task pause": ["{task}"], "task publish": ["{task}", "--payload", "{payload}"],
    "task resume": ["{task}"], "task retry": ["{task}"], "task revoke-member": ["{task}", "web-1"],
    "task rollback": ["{task}"], "task show": ["{task}"], "task status": ["{task}"], "task watch": ["{task}"],
    "up": [],
    "user list": [], "user revoke": ["bob"], "user role": ["bob", "admin"],
}
# Where they do not reach a server at once, or wait for it: --server of these is in tests of their own.
SERVER_ELSEWHERE = ("agent", "join", "proxy", "claim")
PASSWORD = "correct horse battery"


class CommandLine(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.person = person.Person().__enter__()
        cls.addClassCleanup(cls.person.__exit__)
        cls.person.up()
        cls.payload = cls.person.payload({"motd": "hello\n"}, "good")
        cls.task, key = cls.person.create("good")
        cls.secret("key", key)
        password = cls.secret("password", PASSWORD)
        cls.device = cls.person.home / ".config/parley/device"
        cls.unlocked = {"PARLEY_DEVICE_PASSWORD_FILE": str(password)}
        cls.person.parley("org", "init", "--user", "alice", "--device-name", "laptop", env=cls.unlocked)
        cls.commands = cls.read_commands()

    @classmethod
    def secret(cls, name, text):
        path = cls.person.home / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        return path

    @classmethod
    def read_commands(cls, *path):
        """The help of each command, by its path."""
        text = cls.person.parley(*path, "--help")
        part = text.partition("\nSubcommands:\n")[2].partition("\n\n")[0]
        names = re.findall(r"^  (\S+)", part, re.MULTILINE)
        if not names:
            return {" ".join(path): text}
        found = {}
        for name in names:
            found.update(cls.read_commands(*path, name))
        return found

    def refused(self, *arguments, code=2, **options):
        got, output, errors = self.person.run(*arguments, **{"env": self.unlocked, **options})
        self.assertEqual(got, code, "%s: %s%s" % (arguments, output, errors))
        self.assertEqual(errors.count("\n"), 1, "not one line: " + errors)
        self.assertTrue(errors.startswith("parley: "), errors)
        return errors

    def arguments(self, command):
        values = {"into": self.person.home / "into", "state": self.person.home / "state", "id": "0" * 32,
                  "key": self.person.home / "key", "task": self.task, "payload": self.payload}
        return command.split() + [argument.format(**values) for argument in ARGUMENTS[command]]

    def used(self, command):
        """The global options that its help lists."""
        line = re.search(r"Takes these of parley's own options: (.*)\.$", self.commands[command], re.MULTILINE)
        listed = line.group(1)
        self.assertTrue(set(listed.split(", ")) <= {*GLOBAL, "--output"}, listed)
        return set(listed.split(", "))

    def test_every_command_is_here(self):
        self.assertEqual(sorted(self.commands), sorted(ARGUMENTS))

    def test_every_command_has_an_example_of_itself(self):
        for command, text in self.commands.items():
            example = re.search(r"^ +(?:.*[|] )?parley %s\b" % command, text, re.MULTILINE)
            self.assertTrue(example, "%s: %s" % (command, text))

    def test_a_command_that_is_spelt_almost_rightly_is_named(self):
        for typed, meant in (("tsak list", "task"), ("task wacth x", "task watch"), ("jion", "join"),
                             ("key revok x", "key revoke")):
            self.assertIn("did you mean `parley %s`?" % meant, self.refused(*typed.split()))
        self.assertNotIn("did you mean", self.refused("frobnicate"))

    def test_a_key_that_is_given_twice_is_refused(self):
        commands = {
            "--select": ["task", "create", "new", "--payload", self.payload],
            "--label": ["key", "issue", "--role", "device", "--subject", "web-1", "--out", "new"],
            "--fact": ["agent", "--into", self.person.home / "into", "--state", self.person.home / "state"]}
        for option, command in commands.items():
            self.assertIn("site is given twice", self.refused(*command, option, "site=a", option, "site=b"))
        for changes in (["site=a", "site=b"], ["site=a", "site-"], ["site-", "site-"]):
            self.assertIn("site is given twice", self.refused("key", "label", "web-1", *changes))

    def test_a_change_that_changes_no_label_is_refused(self):
        for change in ("site", "-", "", "=berlin"):
            self.refused("key", "label", "web-1", "--", change)

    def test_a_machine_that_says_its_labels_itself_is_told_who_does(self):
        for command in (["join", "--into", "x"], ["agent", "--into", "x"]):
            said = self.refused(*command, "--label", "site=berlin")
            for word in ("parley key label", "--fact"):
                self.assertIn(word, said)
            self.assertNotRegex(self.commands[command[0]], "(?m)^ +--label")

    def test_a_global_option_that_a_command_has_no_use_for_is_refused(self):
        refused = 0
        for command in self.commands:
            for option in set(GLOBAL) - self.used(command):
                value = [] if option == "--remember" else ["127.0.0.1:1" if option == "--server" else "/dev/null/x"]
                for line in ([*command.split(), option, *value], [option, *value, *command.split()],
                             [*self.arguments(command), option, *value]):
                    self.assertIn("`parley %s` has no use for %s;" % (command, option), self.refused(*line))
                refused += 1
        self.assertGreater(refused, 40)

    def test_a_global_option_that_a_command_lists_is_used(self):
        for command in self.commands:
            # What is asked there is a keyring, and it knows of no such file.
            for option in self.used(command) & {"--credential", "--device"} if command != "device forget" else ():
                path = "/dev/null/" + option[2:]
                errors = self.refused(*self.arguments(command), option, path, code=1,
                                      stdin=self.link() if command == "claim" else "")
                self.assertIn("/dev/null", errors, (command, option))
            if "--password-file" in self.used(command):
                device = self.device if command not in ("claim", "org init") else self.person.home / "new-device"
                errors = self.refused(*self.arguments(command), "--device", device, "--password-file",
                                      "/dev/null/password", code=1, stdin=self.link() if command == "claim" else "")
                self.assertIn("/dev/null/password", errors, command)
            self.assertEqual("--remember" in self.used(command), "--password-file" in self.used(command))
            if "--server" in self.used(command) and command not in SERVER_ELSEWHERE:
                elsewhere = ["--device", self.person.home / "founded"] if command == "org init" else []
                _, output, errors = self.person.run(*self.arguments(command), "--server", "127.0.0.1:1", *elsewhere,
                                                    env=self.unlocked)
                self.assertIn("127.0.0.1:1", output + errors, command)

    def link(self):
        return self.person.json("invite", "device", env=self.unlocked)["link"]

    def test_proxy_and_claim_take_the_server(self):
        with self.person.popen("proxy", "--socket", self.person.home / "socket", "--server", "127.0.0.1:1",
                               env=self.unlocked) as proxy:
            self.assertIn("127.0.0.1:1", proxy.stdout.readline())
            proxy.terminate()
            proxy.communicate(timeout=person.TIMEOUT_S)
        with self.person.popen("claim", "--device", self.person.home / "claimed", "--server", "127.0.0.1:1",
                               env=self.unlocked, stdin=subprocess.PIPE) as claim:
            claim.stdin.write(self.link() + "\n")
            claim.stdin.flush()
            self.assertIn("through 127.0.0.1:1.", claim.stdout.readline())
            claim.terminate()
            claim.communicate(timeout=person.TIMEOUT_S)

    def test_what_unlocks_a_device_file_is_refused_where_none_is_used(self):
        credential = self.person.ready["credential"]
        for option in (["--password-file", "x"], ["--remember"]):
            self.assertIn(option[0], self.refused("task", "list", *option, env={"PARLEY_CREDENTIAL": credential}))
            self.assertIn(option[0], self.refused("join", "--into", "x", "--state", "y", "--key-file",
                                                  self.person.home / "key", *option))

    def test_a_server_that_is_nonsense_is_one_sentence(self):
        for server in ("taskd.example", "taskd.example:", ":7443", "https://taskd.example:7443", "taskd.example:0",
                       "taskd.example:70000", "task d:7443", "taskd.example:7443/", "a\x1b[2J:7443", ""):
            for command in ("task list", "join", "credentials export"):
                errors = self.refused(*self.arguments(command), "--server", server)
                self.assertIn("--server", errors)
                self.assertNotIn("\x1b", errors)

    def options(self, command):
        """Of a command and of parley itself: those that take one value, with one that will do."""
        listed = re.findall(r"^  (?:-\w,)?(--[a-z-]+) (\S+)", self.commands[command], re.MULTILINE)
        values = {"N": "1", "INT": "1"}
        return [(name, values.get(kind, "1")) for name, kind in listed] + [("--server", "a:1"), ("--output", "json")]

    def test_an_option_that_takes_one_value_is_refused_when_it_comes_twice(self):
        for command in self.commands:
            for option, value in self.options(command):
                line = [*self.arguments(command), option, value, option, value]
                got, _, errors = self.person.run(*line, env=self.unlocked)
                self.assertEqual((got, errors.count("\n")), (2, 1), (line, errors))

    def test_it_is_named_in_one_sentence(self):
        for line in (["task", "list", "--server", "a:1", "--server", "b:1"],
                     ["--output", "text", "down", "--output", "text"], ["join", "--into", "a", "--into", "b"],
                     ["task", "key", "good-aaaa", "--ttl", "1h", "--ttl", "2h"]):
            option = next(word for word in line if line.count(word) == 2 and word.startswith("--"))
            self.assertIn("%s was given more than once" % option, self.refused(*line))

    def test_an_empty_value_is_refused(self):
        for command in self.commands:
            for option, _ in self.options(command):
                if option not in ("--reason", "--title"):
                    got, _, errors = self.person.run(*self.arguments(command), option, "", env=self.unlocked)
                    self.assertEqual((got, errors.count("\n")), (2, 1), (command, option, errors))
        self.assertIn("--into is empty", self.refused("settle", "--into", ""))

    def test_what_is_no_text_is_refused(self):
        for arguments in (["join", "--into", os.fsdecode(b"/srv/\xff")],
                          ["settle", "--into", os.fsdecode(b"/srv/\xff")],
                          ["task", "create", "x", "--payload", os.fsdecode(b"\xc0\x80")],
                          ["join", "--into", "x", "--fact", os.fsdecode(b"site=\xed\xa0\x80")]):
            result = subprocess.run([stack.PARLEY, *arguments], env=self.person.environment(), capture_output=True,
                                    stdin=subprocess.DEVNULL, timeout=person.TIMEOUT_S, cwd=self.person.home,
                                    check=False)
            self.assertEqual(result.returncode, 2)
            sentence = result.stderr.decode()
            self.assertEqual(sentence.count("\n"), 1)
            self.assertIn("UTF-8", sentence)

    def test_options_that_would_be_ignored_beside_others_are_refused(self):
        for line in (["join", "--into", "x", "--into-file", "y"], ["join", "--into", "x", "--check-timeout", "1s"],
                     ["join", "--into", "x", "--apply-timeout", "1s"],
                     ["join", "--into", "x", "--follow", "--wait", "1s"],
                     ["join", "--into", "x", "--task", "good-aaaa", "--key-file", "y"],
                     ["join", "--into", "x", "--decline", "no", "--window", "1h/2h"], ["join"], ["agent"], ["settle"],
                     ["settle", "--into", "x", "--into-file", "y"], ["join", "--into", "x", "--method", "magic"],
                     ["task", "key", self.task, "--list", "--ttl", "1h"],
                     ["task", "key", self.task, "--list", "--max-members", "1"],
                     ["task", "key", self.task, "--revoke", "x", "--join-key-folder", "y"],
                     ["restore", "x", "--check", "--data", "y"], ["claim", "--discard", "--device-name", "x"],
                     ["device", "renew", "--from", "x", "--server", "127.0.0.1:1"]):
            self.refused(*line)

    def test_a_join_key_of_another_task_is_refused_beside_its_name(self):
        key = (self.person.home / "key").read_text()
        self.assertIn(self.task, self.refused("join", "--into", "x", "--state", "y", "--task", "other-aaaa",
                                              env={"PARLEY_JOIN_KEY": key}))

    def test_help_lists_what_commands_see(self):
        for command in ("join", "agent"):
            for word in ("PARLEY_TASK", "PARLEY_REVISION", "PARLEY_TARGET", "PARLEY_DIGEST", "PARLEY_LABEL_",
                         "PARLEY_FACT_", "target folder", "--into-file", "--method", "exchange", "files"):
                self.assertIn(word, self.commands[command], command)
        self.assertIn("--wait", self.commands["join"])


if __name__ == "__main__":
    unittest.main()
