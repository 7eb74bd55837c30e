"""Who else is on the machine: targets of other users within one another, single files that are none, and what commands
leave running.

Each is told of the other, or refused in one sentence; an update comes to an end in a time that is known.
"""

import os
import signal
import stat
import unittest

from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD

# A user that others' folders are closed to.
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
NOBODY = 65534
# How long the commands' children sleep: a time by which they are known from those of other tests.
SLEEP = str(1_000_000 + os.getpid())


@unittest.skipUnless(machine.IS_ROOT, "only root can act for another user")
class OtherUsers(reported.Reported):
    """An outer target of one user, and one of another user in it."""

    def inner(self):
        client = self.machine()
        client.target = self.client.target / "inner"
        return client

    def give_away(self, folder):
        """It is another user's, as if that one had made it."""
        os.chown(folder, NOBODY, NOBODY)
        self.addCleanup(lambda: folder.exists() and os.chown(folder, 0, 0))

    def test_an_undecided_update_around_the_target_is_waited_for(self):
        for method in ("exchange", "files"):
            with self.subTest(method):
                self.client = self.machine(OLD)
                inner = self.inner()
                inner.target.mkdir()
                self.create()
                self.kill_in_the_apply({"key": self.key}, "--method", method, "--confirm-timeout", "1s")
                place = self.client.places()[0]
                self.give_away(place)
                self.create({"b.conf": "b\n"})
                run = self.keep(inner.join("--wait", "1s", key=self.key, prefix=POWERLESS))
                code, events = run.end()
                self.assertEqual((code, events[-1].get("reason")), (1, "TARGET_TURN"), events)
                self.assertIn(str(self.client.target), events[-1]["message"])
                self.assertEqual(machine.read_files(inner.target), {})
                os.chown(place, 0, 0)
                self.assertEqual(self.keep(self.client.settle()).end()[0], 0)
                self.assert_settled(OLD)
                self.give_away(place)
                self.create({"b.conf": "b\n"})
                inner.state = inner.folder / "next-state"
                self.join(client=inner, prefix=POWERLESS)
                self.assertEqual(machine.read_files(inner.target), {"b.conf": "b\n"})

    def test_an_outer_set_does_not_take_what_the_inner_target_has(self):
        inner = self.inner()
        inner.target.mkdir()
        self.create({"b.conf": "b\n"})
        self.join(client=inner)
        self.give_away(inner.places()[0])
        self.create({"app.conf": "new\n", "inner/b.conf": "outer\n"})
        code, events = self.keep(self.client.join("--wait", "1s", key=self.key, prefix=POWERLESS)).end()
        self.assertEqual((code, events[-1].get("reason")), (1, "TARGET_IN_USE"), events)
        self.assertIn(str(inner.target), events[-1]["message"])
        self.assertEqual(self.client.files(), {**OLD, "inner/b.conf": "b\n"})
        self.create()
        self.join("--method", "auto", prefix=POWERLESS)
        self.assertEqual(self.client.files(), {**NEW, "inner/b.conf": "b\n"})


class SingleFiles(reported.Reported):

    def settle_and_join(self, path, reason, *words):
        self.client.place = lambda: ["--into-file", path, "--state", self.client.state]
        self.create({"app.conf": "new\n"})
        code, events = self.keep(self.client.join(key=self.key)).end()
        self.assertEqual((code, events[-1].get("reason")), (1, reason), events)
        for word in words:
            self.assertIn(word, events[-1]["message"])
        self.never(events, "fetched")
        code, events = self.keep(self.client.settle()).end()
        self.assertIn(code, (0, 1))

    def test_that_are_none(self):
        folder = self.client.folder
        before = sorted(path.name for path in folder.iterdir())
        fifo, device, nothing, to_folder, closed = (folder / name for name in (
            "fifo", "device", "nothing", "to-folder", "socket"))
        os.mkfifo(fifo)
        if machine.IS_ROOT:
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        nothing.symlink_to(folder / "no-such-file")
        to_folder.symlink_to(self.client.target)
        os.mknod(closed, stat.S_IFSOCK | 0o666)
        self.settle_and_join(fifo, "TARGET_NOT_FOLDER", str(fifo), "not a plain file")
        self.settle_and_join(closed, "TARGET_NOT_FOLDER", str(closed), "not a plain file")
        if machine.IS_ROOT:
            self.settle_and_join(device, "TARGET_NOT_FOLDER", str(device), "not a plain file")
            self.assertTrue(device.is_char_device())
        self.settle_and_join("/dev/null", "TARGET_NOT_FOLDER", "/dev/null", "not a plain file")
        self.settle_and_join(nothing, "TARGET_NOT_FOLDER", str(nothing), "leads nowhere")
        self.settle_and_join(to_folder, "TARGET_NOT_FOLDER", "is a folder")
        self.settle_and_join(self.client.target, "TARGET_NOT_FOLDER", "is a folder")
        self.settle_and_join(folder / "no/such/motd", "TARGET_PARENT", "does not exist")
        self.assertTrue(fifo.is_fifo() and closed.is_socket())
        self.assertEqual((os.readlink(nothing), os.readlink(to_folder)),
                         (str(folder / "no-such-file"), str(self.client.target)))
        self.assertEqual(self.client.files(), OLD)
        for path in (fifo, device, nothing, to_folder, closed):
            path.unlink(missing_ok=True)
        after = sorted(path.name for path in folder.iterdir() if path.name != "state")
        self.assertEqual(after, before)

    def test_that_a_link_leads_to(self):
        """The file gets the set, and the link stays."""
        file, link = self.client.target / "app.conf", self.client.folder / "link"
        link.symlink_to(file)
        self.client.place = lambda: ["--into-file", link, "--state", self.client.state]
        task = self.create({"motd": "new\n"})
        self.join()
        self.assertTrue(link.is_symlink())
        self.assertEqual(file.read_text(), "new\n")
        self.services.publish(task, {"motd": "newer\n"})
        self.join("--apply", "! grep -q newer app.conf", task=task, code=3)
        self.assertEqual(file.read_text(), "new\n")
        other = self.client.folder / "other"
        other.write_text("theirs\n")
        for end in (0, 1):
            apply = "grep -q newer app.conf || exit 0; ln -sf %s %s; exit %d" % (other, file, end)
            self.join("--apply", apply, task=task, code=3)
            self.assertEqual((file.is_symlink(), file.read_text(), other.read_text()), (False, "new\n", "theirs\n"))


class Commands(reported.Reported):
    """What does not want to end."""

    def assert_nothing_left(self):
        lines = [line.split() for line in machine.command_lines()]
        self.assertEqual([line for line in lines if line == ["sleep", SLEEP]], [])

    def ends(self, command, *options):
        task = self.create()
        run = self.keep(self.client.join("--apply", command, *options, key=self.key))
        code, events = run.end()
        return task, code, events

    def test_that_ignores_the_request_to_end(self):
        _, code, events = self.ends("grep -q new app.conf || exit 0; trap '' TERM INT HUP; sleep %s & while :; do "
                                    "wait; done" % SLEEP, "--apply-timeout", "1s")
        self.assertEqual(code, 3, events)
        self.says(events, "apply_failed", "did not end within 1s")
        self.assert_nothing_left()
        self.assert_settled(OLD)

    def test_that_leaves_its_group_and_keeps_the_output(self):
        for end, expected in (("exit 0", 0), ("exit 1", 3), ("while :; do sleep 1; done", 3)):
            with self.subTest(end):
                self.client = self.machine(OLD)
                begun = self.client.folder / "begun"
                os.mkfifo(begun)
                left = self.client.folder / "left"
                daemon = "trap \"\" TERM HUP; echo $$ >%s; exec sleep 2222" % begun
                leave = "setsid sh -c '%s' & read left <%s" % (daemon, begun)
                command = "grep -q new app.conf || exit 0; %s; echo $left >%s; %s" % (leave, left, end)
                _, code, events = self.ends(command, "--apply-timeout", "5s")
                self.assertEqual(code, expected, events)
                os.kill(int(left.read_text()), signal.SIGKILL)
                self.assert_settled(NEW if expected == 0 else OLD)

    def test_that_leaves_a_writer_that_never_stops(self):
        _, code, events = self.ends("setsid yes & exit 0", "--apply-timeout", "20s")
        self.assertEqual(code, 0, events)
        self.assert_settled(NEW)

    def test_that_stops_itself(self):
        _, code, events = self.ends("grep -q new app.conf || exit 0; kill -STOP $$", "--apply-timeout", "1s")
        self.assertEqual(code, 3, events)
        self.says(events, "did not end within 1s")
        self.assert_settled(OLD)

    def test_that_makes_another_group(self):
        """As timeout(1) and a shell with job control do."""
        for end in ("wait", "exit 1"):
            with self.subTest(end):
                self.client = self.machine(OLD)
                begun = self.client.folder / "begun"
                os.mkfifo(begun)
                _, code, events = self.ends(
                    "grep -q new app.conf || exit 0; timeout 900 sh -c 'echo >%s; exec sleep %s' & read line <%s; "
                    "%s" % (begun, SLEEP, begun, end), "--apply-timeout", "3s")
                self.assertEqual(code, 3, events)
                self.assert_nothing_left()
                self.assert_settled(OLD)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
