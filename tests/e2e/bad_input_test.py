"""Bad input that a person will give: one sentence that says what and what to do, a code not 0, nothing half done."""

import json
import os
import pathlib
import shutil
import subprocess
import unittest

from tests import stack
from tests.e2e import person


class BadInput(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.person = person.Person().__enter__()
        cls.addClassCleanup(cls.person.__exit__)
        cls.person.up()
        cls.payload = cls.person.payload({"motd": "hello\n"}, "good")
        cls.task, cls.key = cls.person.create("good")
        # Root may read and write everything; for what is about permissions it gives that up.
        cls.powerless = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()

    def refused(self, *arguments, code=1, says=(), **options):
        """The sentence of a command that must fail."""
        got, output, errors = self.person.run(*arguments, **options)
        self.assertEqual(got, code, output + errors)
        self.assertEqual(errors.count("\n"), 1, "not one line: " + errors)
        self.assertTrue(errors.startswith("parley: "), errors)
        self.assertLess(len(errors), 400, errors)
        for part in says:
            self.assertIn(part, errors)
        return errors

    def no_new_task(self, *arguments, **options):
        """As `refused`, of a `task create` after which there must be no more tasks, keys or files than before."""
        before = self.person.parley("task", "list"), sorted(os.listdir(self.person.home)), self.signing_keys()
        sentence = self.refused("task", "create", *arguments, **options)
        self.assertEqual((self.person.parley("task", "list"), sorted(os.listdir(self.person.home)),
                          self.signing_keys()), before)
        return sentence

    def signing_keys(self):
        return sorted(os.listdir(self.person.home / ".config/parley/tasks"))

    def test_missing_folder(self):
        self.no_new_task("x", "--payload", "/nowhere/at/all", says=["/nowhere/at/all"])

    def test_empty_payload(self):
        empty = self.person.home / "empty"
        empty.mkdir()
        self.no_new_task("x", "--payload", empty, says=["empty"])

    def test_unreadable_file(self):
        folder = self.person.payload({"secret": "x"}, "unreadable")
        os.chmod(folder / "secret", 0)
        self.no_new_task("x", "--payload", folder, prefix=self.powerless, says=["secret", "ermission"])

    def test_file_of_two_gibibytes(self):
        folder = self.person.payload({"small": "x"}, "large")
        with open(folder / "disk.img", "wb") as file:
            file.truncate(2 << 30)
        self.no_new_task("x", "--payload", folder, says=["1"])

    def test_device_file_and_link_out_of_the_tree(self):
        folder = self.person.payload({"small": "x"}, "special")
        os.mkfifo(folder / "pipe")
        self.no_new_task("x", "--payload", folder, says=["pipe"])
        os.unlink(folder / "pipe")
        os.symlink("/etc/passwd", folder / "link")
        self.no_new_task("x", "--payload", folder, says=["link"])

    def test_name_with_spaces(self):
        self.no_new_task("my nginx config", "--payload", self.payload, code=2, says=["my-nginx-config"])

    def test_name_of_ten_thousand_letters(self):
        self.no_new_task("x" * 10_000, "--payload", self.payload, code=2, says=["10000 letters"])

    def test_ttl_of_nothing_and_of_ten_years(self):
        self.no_new_task("x", "--payload", self.payload, "--ttl", "0s", code=2, says=["--ttl 0s is too short", "24h"])
        self.no_new_task("x", "--payload", self.payload, "--ttl", "3650d", code=2, says=["too long", "366 days"])
        self.no_new_task("x", "--payload", self.payload, "--ttl", "soon", code=2, says=["soon", "24h"])

    def join(self, key, *arguments, **options):
        into = self.person.home / "never"
        sentence = self.refused("join", "--into", into, "--state", self.person.home / "never-state", *arguments,
                                stdin=key, **options)
        self.assertFalse(into.exists(), sentence)
        return sentence

    def test_key_with_one_wrong_letter(self):
        for place in (20, 60, len(self.key) - 2):
            wrong = self.key[:place] + ("A" if self.key[place] != "A" else "B") + self.key[place + 1:]
            if self.key[place] not in ".-":
                self.join(wrong, says=["join key"])

    def test_half_a_key_and_something_else(self):
        self.join(self.key[:len(self.key) // 2], says=["join key"])
        self.join("hunter2", says=["join key"])
        self.join("", code=2, says=["no join key"])
        self.join("x" * 100_000)

    def test_key_for_another_server(self):
        # The other server is at the address of this one's key: it has moved in.
        with person.Person() as other:
            other.up()
            _, key = other.create()
            address = other.ready["taskd"]
        self.join(key, says=[address])

    def test_key_of_another_organisation_at_this_address(self):
        with person.Person() as other:
            other.up("--public-address", self.person.ready["taskd"])
            _, key = self.create_directly(other)
        self.join(key, says=[self.person.ready["taskd"]])

    def create_directly(self, other):
        """A task on `other`, whose public address leads elsewhere."""
        listen = next(line for line in (other.data / "log/taskd.log").read_text().splitlines() if "serving" in line)
        address = json.loads(listen)["address"]
        payload = other.payload({"motd": "x"})
        created = other.json("task", "create", "x", "--payload", payload, "--server", address)
        return created["task"]["name"], created["joinKey"]["pasted"]

    def test_clock_that_is_an_hour_ahead(self):
        short = self.person.json("task", "key", self.task, "--ttl", "30m")["pasted"]
        self.join(short, env={**stack.FAKETIME, "FAKETIME": "+1h"}, says=["expired", "clock"])

    def test_clock_that_is_an_hour_behind_still_joins(self):
        into, state = self.person.home / "behind", self.person.home / "behind-state"
        self.person.parley("join", "--into", into, "--state", state, "--name", "behind", stdin=self.key,
                           env={**stack.FAKETIME, "FAKETIME": "-1h"})
        self.assertEqual(person.read_files(into), {"motd": "hello\n"})

    def test_task_made_by_a_clock_that_is_wrong(self):
        created = self.person.json("task", "create", "ahead", "--payload", self.payload, "--ttl", "30m",
                                   env={**stack.FAKETIME, "FAKETIME": "+1h"})
        into = self.person.home / "ahead"
        self.person.parley("join", "--into", into, "--state", self.person.home / "ahead-state", "--name", "ahead",
                           stdin=created["joinKey"]["pasted"])
        self.assertEqual(person.read_files(into), {"motd": "hello\n"})
        self.no_new_task("x", "--payload", self.payload, "--ttl", "30m", env={**stack.FAKETIME, "FAKETIME": "-1h"},
                         says=["clock", "behind"])

    def test_target_without_permission(self):
        locked = self.person.home / "locked"
        locked.mkdir()
        os.chmod(locked, 0o500)
        self.refused("join", "--into", locked / "into", "--state", self.person.home / "locked-state", "--name",
                     "locked", stdin=self.key, prefix=self.powerless, says=["locked", "ermission"])
        self.assertEqual(os.listdir(locked), [])

    def test_target_that_is_a_file(self):
        file = self.person.home / "a-file"
        file.write_text("mine\n")
        self.refused("join", "--into", file, "--state", self.person.home / "file-state", "--name", "file",
                     stdin=self.key, says=["a-file"])
        self.assertEqual(file.read_text(), "mine\n")

    def test_key_on_the_command_line(self):
        self.refused("join", "--into", "x", self.key, code=2, says=["command line", "--key-file"])
        self.refused("join", "--into", "x", "--key-file", self.key.lower(), code=2, says=["command line"])

    def test_key_file_that_others_may_read(self):
        file = self.person.home / "exposed.join"
        file.write_text(self.key)
        os.chmod(file, 0o644)
        self.refused("join", "--into", "x", "--key-file", file, says=["exposed.join"])

    def test_no_credential(self):
        self.refused("task", "list", env={"XDG_CONFIG_HOME": "/nowhere"}, says=["parley up", "--credential"])

    def test_credential_that_others_may_read(self):
        copy = self.person.home / "exposed.credential"
        shutil.copy(self.person.ready["credential"], copy)
        os.chmod(copy, 0o640)
        self.refused("--credential", copy, "task", "list", says=["exposed.credential"])

    def test_damaged_credential(self):
        copy = self.person.home / "damaged.credential"
        text = pathlib.Path(self.person.ready["credential"]).read_text()
        copy.touch(mode=0o600)
        copy.write_text(text[:100] + ("A" if text[100] != "A" else "B") + text[101:])
        self.refused("--credential", copy, "task", "list", says=["damaged.credential"])

    def test_server_that_is_not_there(self):
        address = stack.free_address()
        self.refused("--server", address, "task", "list", says=[address])

    def test_server_that_is_something_else(self):
        with subprocess.Popen(["/usr/bin/python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              cwd=self.payload) as server:
            port = server.stdout.readline().split("port ")[1].split()[0]
            self.refused("--server", "127.0.0.1:" + port, "task", "list", says=["127.0.0.1:" + port])
            server.terminate()

    def test_wrong_command_lines(self):
        for arguments in ([], ["nonsense"], ["task"], ["task", "create"], ["task", "get", "Not A Task"],
                          ["--output", "xml", "task", "list"], ["task", "create", "x", "--payload", ".", "--nonsense"],
                          ["join", "--into", "x", "--fact", "no-equals"], ["up", "--listen", "nonsense"],
                          ["key", "issue", "--role", "king", "--subject", "x", "--out", "y"]):
            self.refused(*arguments, code=2, stdin=self.key)

    def test_numbers_that_are_none(self):
        for number in ("-1", "1.5", "99999999999", "many"):
            for option in ("--max-failures", "--expected", "--max-members", "--max-deferrals"):
                self.refused("task", "create", "x", "--payload", ".", "%s=%s" % (option, number), code=2,
                             says=[option, '"%s" is not a whole number from 0 to 2147483647' % number])

    def test_join_key_that_cannot_be_kept(self):
        task, _ = self.person.create("kept", {"a": "a"})
        nowhere = self.person.home / "nowhere"
        self.refused("task", "key", task, "--join-key-folder", nowhere, says=[str(nowhere)])
        self.assertEqual(len(self.person.json("task", "key", task, "--list")["joinKeys"]), 1)

    def test_output_that_cannot_be_written(self):
        for arguments in (["task", "list"], ["task", "list", "--output", "json"]):
            with open("/dev/full", "w") as full:
                result = subprocess.run([stack.PARLEY, *arguments], env=self.person.environment(), stdout=full,
                                        stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual((result.returncode, result.stderr),
                             (1, "parley: cannot write the output: No space left on device\n"))

    def test_task_that_is_not_there(self):
        self.refused("task", "get", "nowhere-aaaa", says=["nowhere-aaaa"])
        self.refused("task", "members", "nowhere-aaaa", says=["nowhere-aaaa"])

    def test_clients_that_are_not_there(self):
        task, key = self.person.create("members")
        self.person.parley("join", "--into", self.person.home / "here", "--state", self.person.home / "here-state",
                           "--name", "here", stdin=key)
        for command, *clients in (["retry", "nobody"], ["retry", "here", "nobody"], ["revoke-member", "nobody"]):
            self.refused("task", command, task, *clients,
                         says=["tasks/%s has no client \"nobody\"; " % task, "parley task members"])
        self.refused("task", "retry", task, "a", "here", "b", says=["has no clients \"a\", \"b\"; "])

    def test_settling_what_is_no_target(self):
        file = self.person.home / "a-plain-file"
        file.write_text("mine\n")
        secret = self.person.home / "closed"
        (secret / "folder").mkdir(parents=True)
        secret.chmod(0o000)
        folders = {file: "is not a folder", "/proc/sys": "of the kernel's", "/": "cannot be a target"}
        for path, says in folders.items():
            self.refused("settle", "--into", path, says=[says])
        self.refused("settle", "--into-file", self.payload, says=["is a folder, not a file"])
        self.refused("settle", "--into", secret / "folder", prefix=self.powerless, says=["ermission"])
        self.assertIn("does not exist", self.person.parley("settle", "--into", self.person.home / "none" / "at-all"))

    def test_publishing_without_the_tasks_key(self):
        task, _ = self.person.create("keyless")
        os.unlink(self.person.home / ".config/parley/tasks" / (task + ".key"))
        self.refused("task", "publish", task, "--payload", self.payload, says=[task])

    def test_files_are_not_overwritten(self):
        taken = self.person.home / "taken.credential"
        taken.write_text("mine\n")
        self.refused("key", "issue", "--role", "device", "--subject", "x", "--out", taken, says=["taken.credential"])
        self.assertEqual(taken.read_text(), "mine\n")

    def test_errors_are_data_too(self):
        code, _, errors = self.person.run("task", "get", "nowhere-aaaa", "--output", "json")
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(errors)["error"]["code"], "NOT_FOUND")


if __name__ == "__main__":
    unittest.main()
