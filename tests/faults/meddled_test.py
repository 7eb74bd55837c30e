"""Somebody meddles with the target in the middle of an update: links, mounts and files where they were not before.

Nothing that is not Parley's is written to or removed, what is said is what the disk has, and once what was done is
undone the target has one whole set.
"""

import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import unittest

from tests.faults import machine, reported

OLD = {"app.conf": "old\n", "d/x": "old\n", "mine": "mine\n"}
NEW = {"app.conf": "new\n", "d/x": "new\n", "d/y": "new\n", "e/z": "new\n"}
WHOLE_NEW = {**NEW, "mine": "mine\n"}
# What lies elsewhere under the names that the payload has.
THEIRS = {"app.conf": "theirs\n", "d/x": "theirs\n", "x": "theirs\n", "mine": "theirs\n", "e/z": "theirs\n"}
METHODS = ("exchange", "files")
# With which code the apply command ends.
ENDS = (0, 1)


class Meddled(reported.Reported):

    def begin(self):
        self.client = self.machine(OLD)
        self.theirs = self.client.folder / "theirs"
        machine.write_files(self.theirs, THEIRS)
        return self.create(NEW)

    def by_apply(self, method, script, end, *codes):
        """The apply command runs the script with the new set, and ends with `end`; the events."""
        apply = 'grep -q new "$PARLEY_TARGET/app.conf" || exit 0; cd /; %s; exit %d' % (script, end)
        run = self.keep(self.client.join("--method", method, "--wait", "1s", "--confirm-timeout", "5s", "--apply",
                                         apply, key=self.key))
        code, events = run.end()
        self.assertIn(code, codes, events)
        self.assertEqual(machine.read_files(self.theirs), THEIRS, events)
        if code != 0:
            self.never(events, "confirmed")
        return code, events

    def assert_settles(self, files=None):
        """Without a server, once what was in the way is gone."""
        code, events = self.keep(self.client.settle()).end()
        self.assertEqual((code, events[-1]["event"]), (0, "settled"), events)
        self.assert_settled(files or OLD)
        self.assertEqual(machine.read_files(self.theirs), THEIRS)


class Links(Meddled):
    """A link to somebody else's, of the same names, in place of the target or of what is in it."""

    def link(self, path):
        return "mv {0} {0}.away; ln -s {1} {0}".format(path, self.theirs)

    def test_in_place_of_the_target(self):
        for method, end in itertools.product(METHODS, ENDS):
            with self.subTest("%s %d" % (method, end)):
                self.begin()
                target = self.client.target
                code, events = self.by_apply(method, self.link(target), end, 1, 3)
                if code == 1:
                    self.says(events, "rollbackFailed", str(target), "move away")
                    self.assertTrue(target.is_symlink())
                    target.unlink()
                    target.with_name("target.away").rename(target)
                    self.assert_settles()
                else:
                    self.assert_settled(OLD)
                    self.assertTrue((self.client.places()[0] / "kept-1").is_symlink())

    def test_in_place_of_a_folder(self):
        for method, name, end in itertools.product(METHODS, ("d", "e"), ENDS):
            with self.subTest("%s %s %d" % (method, name, end)):
                self.begin()
                path = self.client.target / name
                code, events = self.by_apply(method, self.link(path), end, 1, 3)
                if code == 1:
                    self.says(events, "rollbackFailed", str(path), "move away")
                    path.unlink()
                    path.with_name(name + ".away").rename(path)
                    self.assert_settles()
                # What the command had put there besides is the target's own, of no set's.
                shutil.rmtree(path.with_name(name + ".away"), ignore_errors=True)
                self.assert_settled(OLD)

    def test_in_place_of_a_file(self):
        for method, name, end in itertools.product(METHODS, ("app.conf", "d/y"), ENDS):
            with self.subTest("%s %s %d" % (method, name, end)):
                self.begin()
                path = self.client.target / name
                self.by_apply(method, "ln -sf %s %s" % (self.theirs / "app.conf", path), end, 3)
                self.assert_settled(OLD)

    def test_between_two_renames(self):
        for name in ("", "d", "app.conf", "d/x"):
            with self.subTest(name):
                self.begin()
                path = self.client.target / name
                trace = machine.Trace("renameat2", "STOP")
                run = self.keep(self.client.join("--method", "files", "--wait", "1s", key=self.key,
                                                 prefix=trace.prefix, pass_fds=trace.pass_fds))
                trace.started()
                self.assertTrue(trace.until_stopped(run.process.pid))
                self.assertEqual((self.client.target / "app.conf").read_text(), "new\n")
                away = path.with_name(path.name + ".away")
                path.rename(away)
                path.symlink_to(self.theirs / name)
                run.process.send_signal(signal.SIGCONT)
                code, events = run.end()
                self.assertEqual(machine.read_files(self.theirs), THEIRS, events)
                # What has been put in place already comes back whatever stands there; what has not is looked at again.
                self.assertEqual(code, {"app.conf": 3, "d/x": 0}.get(name, 1), events)
                if code == 1:
                    self.says(events, str(path))
                    self.never(events, "confirmed", "rolledBack")
                    self.assertTrue(path.is_symlink())
                    path.unlink()
                    away.rename(path)
                    self.assert_settles()
                    continue
                away.unlink()
                self.assert_settled(OLD if code == 3 else WHOLE_NEW)


class Mounts(Meddled):

    def test_over_the_target(self):
        for method, end in itertools.product(METHODS, ENDS):
            with self.subTest("%s %d" % (method, end)):
                self.begin()
                mount = "mount --bind %s %s" % (self.theirs, self.client.target)
                _, events = self.by_apply(method, mount, end, 1)
                self.says(events, "rollbackFailed", str(self.client.target), "mount")
                code, events = self.keep(self.client.settle()).end()
                self.assertEqual(code, 1, events)
                self.says(events, "TARGET_MOUNT", "unmount")
                machine.unmount(self.client.target)
                self.assert_settles()

    def test_over_a_target_into_which_files_only_came(self):
        """Taking back what is not there any more is nothing to do; what is hidden is there."""
        self.begin()
        files = {"new/file": "new\n", "other": "new\n"}
        self.create(files)
        apply = "cd /; mount --bind %s %s; exit 1" % (self.theirs, self.client.target)
        code, events = self.keep(self.client.join("--method", "files", "--apply", apply, key=self.key)).end()
        self.assertEqual(code, 1, events)
        self.assertEqual(machine.read_files(self.theirs), THEIRS)
        self.never(events, "rolledBack", "confirmed")
        machine.unmount(self.client.target)
        code, events = self.keep(self.client.settle()).end()
        # It mounts again when it runs with the old set.
        self.assertEqual((code, self.client.journals()), (1, []), events)
        machine.unmount(self.client.target)
        self.assert_settled(OLD)
        self.assertEqual(sorted(path.name for path in self.client.target.iterdir()), ["app.conf", "d", "mine"])

    def test_over_a_folder_in_the_target(self):
        for method in METHODS:
            with self.subTest(method):
                self.begin()
                point = self.client.target / "d"
                code, events = self.by_apply(method, "mount --bind %s %s" % (self.theirs, point), 1, 1, 3)
                self.assertEqual(code, 1 if method == "files" else 3, events)
                if method == "files":
                    self.says(events, "rollbackFailed", str(point), "mount")
                    machine.unmount(point)
                    self.assert_settles()
                self.assert_settled(OLD)

    def unmounted(self, end, again=False):
        """A target that is a mount and is unmounted; below it lies another folder."""
        self.begin()
        target, disk = self.client.target, self.client.folder / "disk"
        below = machine.read_files(target)
        disk.mkdir()
        machine.write_files(disk, OLD)
        machine.mount("--bind", disk, target)
        script = "umount -l {1}; mount --bind {0} {1}" if again else "umount -l {1}"
        _, events = self.by_apply("files", script.format(disk, target), end, 0, 1, 3)
        return target, disk, below, events

    def test_that_is_the_target_taken_away(self):
        for end in ENDS:
            with self.subTest(end):
                target, disk, below, events = self.unmounted(end)
                self.never(events, "confirmed", "rolledBack")
                self.says(events, "rollbackFailed", str(target), "unmounted")
                self.assertEqual(machine.read_files(target), below)
                self.assertEqual(sorted(path.name for path in target.iterdir()), ["app.conf", "d", "mine"])
                machine.mount("--bind", disk, target)
                self.assert_settles()

    def test_that_is_the_target_taken_away_and_put_back(self):
        for end in ENDS:
            with self.subTest(end):
                _, disk, _, events = self.unmounted(end, again=True)
                self.assert_settled(WHOLE_NEW if end == 0 else OLD)
                self.assertEqual(machine.read_files(disk), WHOLE_NEW if end == 0 else OLD)
                self.says(events, "confirmed" if end == 0 else "rolledBack")

    def test_that_is_the_target_with_another_disk_in_its_place(self):
        """Both are targets, each with its record."""
        self.begin()
        target, disk, other = self.client.target, self.client.folder / "disk", self.client.folder / "other"
        for folder in (disk, other):
            folder.mkdir()
            machine.write_files(folder, OLD)
            machine.mount("--bind", folder, target)
            self.create({"app.conf": "first\n"})
            self.client.state = self.client.folder / (folder.name + "-state")
            self.join()
            machine.unmount(target)
        before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
        machine.mount("--bind", disk, target)
        self.create(NEW)
        self.client.state = self.client.folder / "third-state"
        swap = "umount -l {0}; mount --bind {1} {0}".format(target, other)
        _, events = self.by_apply("files", swap, 0, 1)
        self.says(events, "rollbackFailed")
        after = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
        self.assertEqual(after, before)
        machine.unmount(target)
        machine.mount("--bind", disk, target)
        self.assert_settles({**OLD, "app.conf": "first\n"})

    def test_that_the_agent_has_lost_for_a_while(self):
        self.begin()
        target, disk = self.client.target, self.client.folder / "disk"
        disk.mkdir()
        machine.write_files(disk, OLD)
        machine.mount("--bind", disk, target)
        self.create(NEW, select=self.client)
        apply = "! grep -q new app.conf || { cd /; umount -l %s; exit 1; }" % target
        run = self.agent("--apply", apply)
        run.until("rollbackFailed")
        machine.mount("--bind", disk, target)
        run.until("rolledBack", timeout=150)
        self.assert_settled(OLD)


class Kinds(Meddled):
    """Flags, file systems and what stands where it should not."""

    def test_a_file_in_place_of_the_target(self):
        for method, end in itertools.product(METHODS, ENDS):
            with self.subTest("%s %d" % (method, end)):
                self.begin()
                target = self.client.target
                code, events = self.by_apply(method, "mv {0} {0}.away; echo theirs >{0}".format(target), end, 1, 3)
                if code == 1:
                    self.says(events, "rollbackFailed", str(target), "move away")
                    self.assertEqual(target.read_text(), "theirs\n")
                    target.unlink()
                    target.with_name("target.away").rename(target)
                    self.assert_settles()
                else:
                    self.assert_settled(OLD)
                    self.assertEqual((self.client.places()[0] / "kept-1").read_text(), "theirs\n")

    def test_nothing_in_place_of_the_target_and_of_what_would_bring_it_back(self):
        for method in METHODS:
            with self.subTest(method):
                task = self.begin()
                place = self.client.places()[0]
                _, events = self.by_apply(method, "rm -rf %s %s" % (self.client.target, place), 1, 1)
                self.says(events, "rollbackFailed", "cannot come back")
                self.assertEqual(self.member(task)["state"], "STATE_ROLLBACK_FAILED")
                # It does not need a person on this machine.
                self.services.publish(task, {"app.conf": "2\n"})
                self.join(task=task)
                self.assertEqual(self.client.files()["app.conf"], "2\n")
                self.assertEqual(self.client.journals(), [])

    def protected(self, path, script, flag):
        for method, end in itertools.product(METHODS, ENDS):
            with self.subTest("%s %d" % (method, end)):
                self.begin()
                found = path()
                self.addCleanup(subprocess.run, ["chattr", "-f", "-i", "-a", found], check=False)
                code, events = self.by_apply(method, script % (flag, found), end, 0, 1, 3)
                if code == 0:
                    self.assert_settled(WHOLE_NEW)
                elif code == 3:
                    self.assert_settled(OLD)
                else:
                    self.says(events, "rollbackFailed", str(self.client.target))
                subprocess.run(["chattr", "-f", "-i", "-a", found], check=False)
                if code == 1:
                    self.assert_settles()

    @unittest.skipUnless(machine.IS_ROOT, "only root makes files immutable")
    def test_the_target_made_immutable(self):
        for flag in ("i", "a"):
            self.protected(lambda: self.client.target, "chattr +%s %s", flag)

    @unittest.skipUnless(machine.IS_ROOT, "only root makes files immutable")
    def test_a_file_made_immutable(self):
        for flag in ("i", "a"):
            self.protected(lambda: self.client.target / "app.conf", "chattr +%s %s", flag)

    @unittest.skipUnless(machine.IS_ROOT, "only root makes files immutable")
    def test_the_folder_above_made_immutable(self):
        for flag in ("i", "a"):
            self.protected(lambda: self.client.folder, "chattr +%s %s", flag)

    def test_a_disk_that_becomes_read_only(self):
        for method, end in itertools.product(METHODS, ENDS):
            with self.subTest("%s %d" % (method, end)):
                self.begin()
                disk = self.client.folder / "disk"
                disk.mkdir()
                machine.mount("-t", "tmpfs", "tmpfs", disk)
                self.client.target = disk / "target"
                machine.write_files(self.client.target, OLD)
                _, events = self.by_apply(method, "mount -o remount,ro %s" % disk, end, 1)
                self.says(events, "rollbackFailed", "ead-only")
                code, events = self.keep(self.client.settle()).end()
                self.assertEqual(code, 1, events)
                machine.mount("-o", "remount,rw", disk)
                self.assert_settles()

    def test_an_overlay_of_two_disks(self):
        """As on a router or in a container: what has only been read lies on another disk."""
        for method in ("auto", "files"):
            with self.subTest(method):
                self.begin()
                disks = {name: self.client.folder / name for name in ("lower", "upper")}
                for disk in disks.values():
                    disk.mkdir()
                    machine.mount("-t", "tmpfs", "tmpfs", disk)
                machine.write_files(disks["lower"] / "target", OLD)
                for name in ("files", "work"):
                    (disks["upper"] / name).mkdir()
                point = self.client.folder / "point"
                point.mkdir()
                machine.mount("-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s/files,workdir=%s/work" % (
                    disks["lower"], disks["upper"], disks["upper"]), point)
                self.client.target = point / "target"
                task = self.create(NEW)
                self.join("--method", method)
                self.assert_settled(WHOLE_NEW)
                self.services.publish(task, {"d/x": "newer\n", "mine": "theirs now\n"})
                self.join("--method", method, "--apply", "! grep -q newer d/x", task=task, code=3)
                self.assert_settled(WHOLE_NEW)
                self.join("--method", method, task=task)
                self.assert_settled({"d/x": "newer\n", "mine": "theirs now\n"})

    def test_a_disk_without_inodes(self):
        for method, end in itertools.product(METHODS, ENDS):
            with self.subTest("%s %d" % (method, end)):
                self.begin()
                disk = self.client.folder / "disk"
                disk.mkdir()
                machine.mount("-t", "tmpfs", "-o", "nr_inodes=40", "tmpfs", disk)
                self.client.target = disk / "target"
                machine.write_files(self.client.target, OLD)
                fill = "i=0; while mkdir %s/fill-$i 2>/dev/null; do i=$((i+1)); done" % disk
                code, events = self.by_apply(method, fill, end, 1, 3)
                self.assertEqual(self.client.files(), OLD, events)
                self.says(events, "rolledBack")
                self.assertEqual(self.client.journals(), [])

    def test_the_mask_of_the_process_and_the_folder_above_have_no_say(self):
        for method in METHODS:
            for mask in ("000", "077"):
                with self.subTest("%s %s" % (method, mask)):
                    self.begin()
                    self.client.folder.chmod(0o2755)
                    os.chown(self.client.folder, 0, 12)
                    self.join("--method", method, prefix=["sh", "-c", 'umask %s; exec "$0" "$@"' % mask])
                    self.assert_settled(WHOLE_NEW)
                    modes = {path.name: path.stat().st_mode & 0o777 for path in self.client.target.rglob("*")}
                    self.assertEqual({modes[name] for name in ("d", "e")}, {0o755}, modes)
                    self.assertEqual({modes[name] for name in ("app.conf", "x", "y", "z")}, {0o644}, modes)
                    self.assertEqual(self.client.places()[0].stat().st_mode & 0o777, 0o700)

    def test_names_as_long_as_they_may_be(self):
        for method in METHODS:
            for length in (247, 255):
                with self.subTest("%s %d" % (method, length)):
                    self.begin()
                    names = ["%s%d" % (kind * (length - 1), number) for kind, number in (("n", 1), ("m", 2), ("f", 3))]
                    files = {names[0]: "new\n", "%s/%s" % (names[1], names[2]): "new\n"}
                    machine.write_files(self.client.target, {names[0]: "old\n"})
                    task = self.create(files)
                    self.join("--method", method)
                    self.assert_settled({**OLD, **files})
                    self.services.publish(task, {names[0]: "newer\n"})
                    self.join("--method", method, "--apply", "! grep -q newer nnn*", task=task, code=3)
                    self.assert_settled({**OLD, **files})
                    self.join("--method", method, task=task)
                    self.assert_settled({**OLD, names[0]: "newer\n"})

    def test_a_target_with_the_longest_name_and_one_that_is_too_long(self):
        for option in ("--into", "--into-file"):
            for length in (247, 248, 255, 256):
                with self.subTest("%s %d" % (option, length)):
                    self.begin()
                    target = self.client.folder / ("t" * length)
                    self.client.place = lambda target=target: [option, target, "--state", self.client.state]
                    self.create({"app.conf": "new\n"})
                    code, events = self.keep(self.client.join(key=self.key)).end()
                    if length == 247:
                        self.assertEqual(code, 0, events)
                        file = target if option == "--into-file" else target / "app.conf"
                        self.assertEqual(file.read_text(), "new\n")
                        continue
                    self.assertEqual((code, events[-1].get("reason")), (1, "TARGET_ROOT"), events)
                    self.assertFalse(any(path.name.startswith("t" * 200) for path in self.client.folder.iterdir()))

    def test_paths_as_long_as_they_may_be(self):
        for length in (3500, 4072, 4073, 4080, 4095):
            with self.subTest(length):
                self.begin()
                above = str(self.client.folder)
                while len(above) < length - 240:
                    above += "/" + "p" * 200
                target = pathlib.Path(above) / ("t" * (length - len(above) - 1))
                target.parent.mkdir(parents=True)
                self.client.target = target
                path = "/".join(["q" * 200] * 5)
                task = self.create({path: "new\n"})
                code, events = self.keep(self.client.join("--apply", "true", key=self.key)).end()
                if code != 0:
                    self.assertGreater(length, 4060)
                    self.assertEqual((code, events[-1].get("reason")), (1, "TARGET_ROOT"), events)
                    self.assertEqual(list(target.parent.iterdir()), [])
                    continue
                for content in ("newer\n", "newest\n"):
                    self.services.publish(task, {path: content})
                    self.join("--method", "files", task=task)
                    found = subprocess.run("cd %s && cat %s" % (target, path), shell=True, check=True,
                                           capture_output=True, text=True)
                    self.assertEqual(found.stdout, content)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
