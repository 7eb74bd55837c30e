"""Tasks that are deleted, and what becomes of their payloads: in a folder, in a bounded store, over kills."""

import os
import pathlib
import shutil
import signal
import unittest

from tests.e2e import person

FILES = {"motd": "hello\n", "large": "0123456789abcdef" * 40_000}


def pid_of(up, service):
    """That of a service that `parley up` runs; None while it does not."""
    for child in pathlib.Path("/proc/%d/task/%d/children" % (up.pid, up.pid)).read_text().split():
        try:
            if pathlib.Path(os.readlink("/proc/%s/exe" % child)).name == service:
                return int(child)
        except OSError:
            pass
    return None


class Deletion(unittest.TestCase):

    def setUp(self):
        self.person = self.enterContext(person.Person())
        self.folder = self.person.home / "payloads"
        self.folder.mkdir()

    def up(self, **settings):
        return self.person.up(env={"PARLEY_TASKD_" + name.upper(): str(value) for name, value in settings.items()})

    def files(self):
        return [path for path in self.folder.rglob("*") if path.is_file() and path.name != "parley-chunks"]

    def await_no_files(self):
        """Nothing but the service is between."""
        while self.files():
            pass

    def join(self, name, key):
        into = self.person.home / name
        self.person.parley("join", "--into", into, "--state", self.person.home / (name + ".state"), "--name", name,
                           stdin=key + "\n")
        return person.read_files(into)

    def refused(self, *arguments):
        """The sentence."""
        code, output, errors = self.person.run(*arguments)
        self.assertNotEqual(code, 0)
        self.assertEqual(output, "")
        return errors

    def test_a_task_with_its_payload_in_a_folder_comes_and_goes(self):
        self.up(chunks=self.folder)
        task, key = self.person.create("site", FILES)
        self.assertTrue(self.files())
        self.assertEqual(self.join("web-1", key), FILES)
        self.assertIn("has not ended; abort it before you delete it", self.refused("task", "delete", task))
        self.person.parley("task", "abort", task)
        self.assertIn("is deleted", self.person.parley("task", "delete", task))
        self.assertIn("there is no task", self.refused("task", "get", task))
        self.assertEqual(self.person.json("task", "list")["tasks"], [])
        self.await_no_files()
        self.assertIn("task.deleted", self.person.parley("audit", "list"))
        # What it had may come again at once, while it still goes.
        for number in range(5):
            task, key = self.person.create("again", FILES)
            self.assertEqual(self.join("web-%d" % (2 + number), key), FILES)
            self.person.parley("task", "abort", task)
            self.assertEqual(self.person.json("task", "delete", task), {})
        self.await_no_files()

    def test_a_kill_in_the_middle_leaves_nothing_behind_and_takes_nothing_else(self):
        up = self.up(chunks=self.folder)
        kept, key = self.person.create("kept", {"motd": "kept\n" * 1000})
        self.assertEqual(len(self.files()), 1)
        # Five within a minute would end `parley up`.
        for number in range(4):
            files = {"motd": "%d\n" % number, "large": "%d 0123456789abcdef" % number * 40_000}
            task, _ = self.person.create("gone", files)
            self.person.parley("task", "abort", task)
            taskd = pid_of(up, "taskd")
            self.person.parley("task", "delete", task)
            os.kill(taskd, signal.SIGKILL)
            # Until it serves again.
            while self.person.run("task", "list")[0] != 0:
                self.assertIsNone(up.poll())
        while len(self.files()) != 1:
            self.assertIsNone(up.poll())
        self.assertEqual(self.join("web-1", key), {"motd": "kept\n" * 1000})
        self.assertEqual([task["name"] for task in self.person.json("task", "list")["tasks"]], ["tasks/" + kept])

    def test_a_full_store_says_what_to_set(self):
        self.up(chunks_limit="1MiB")
        large = self.person.home / "large"
        large.write_bytes(os.urandom(2 << 20))
        sentence = self.refused("task", "create", "large", "--payload", large)
        self.assertIn("may take 1 MiB in the store", sentence)
        for option in ("--chunks FOLDER", "--chunks-limit"):
            self.assertIn(option, sentence)
        _, key = self.person.create("small", {"motd": "hello\n"})
        self.assertEqual(self.join("web-1", key), {"motd": "hello\n"})

    def test_a_backup_says_that_the_folder_is_not_in_it(self):
        self.up(chunks=self.folder)
        _, key = self.person.create("site", FILES)
        password = self.person.home / "password"
        password.touch(mode=0o600)
        password.write_text("four random words here\n")
        archive = self.person.home / "parley.backup"
        said = self.person.parley("backup", "--data", self.person.data, "--out", archive, "--key-file", password)
        self.assertIn("Not in it: the payloads in %s; copy that folder" % self.folder, said)
        copy = self.person.home / "copy"
        shutil.copytree(self.folder, copy)
        self.person.down()
        shutil.rmtree(self.person.data)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.person.parley("restore", archive, "--data", self.person.data, "--key-file", password)
        # An empty folder is not the one.
        settings = {"PARLEY_TASKD_CHUNKS": str(self.folder)}
        with self.assertRaisesRegex(AssertionError, "is the volume mounted"):
            self.person.up(at=self.person.ready, env=settings)
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)
        self.person.up(at=self.person.ready, env=settings)
        self.assertEqual(self.join("web-1", key), FILES)


if __name__ == "__main__":
    unittest.main()
