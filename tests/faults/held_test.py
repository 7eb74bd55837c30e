"""What the kernel holds in a target is not lost, and what could keep a machine from ever getting on does not.

Each by its smallest input, on the built programs; what is asserted is on the other side of the mount, or what the
command says and ends with.
"""

import contextlib
import os
import pathlib
import subprocess
import unittest

from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD

HAS_LOOP_DEVICES = os.path.exists("/dev/loop-control")
# Says 7 for the old set as for the new one, until the file `mended` is there.
CANNOT_RELOAD = "test -e %s || { echo cannot reload; exit 7; }"


class Held(reported.Reported):
    """By the kernel, which no process shows."""

    @unittest.skipUnless(HAS_LOOP_DEVICES, "this kernel has no loop devices")
    def test_what_is_written_through_a_mounted_image_is_not_lost(self):
        image, point = self.client.target / "fs.img", self.client.folder / "point"
        image.write_bytes(b"\0" * (2 << 20))
        subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", image], check=True)
        point.mkdir()
        machine.mount("-o", "loop", image, point)
        self.create()
        self.says(self.join(), "method", "files", "loop device")
        (point / "customer").write_text("data\n")
        subprocess.run(["umount", point], check=True)
        machine.mount("-o", "loop", image, point)
        self.assertEqual((point / "customer").read_text(), "data\n")
        self.create({"fs.img": "another\n"})
        events = self.join("--wait", "1s", code=1)
        self.says(events, "target_busy", str(image))
        self.never(events, "fetched")
        subprocess.run(["umount", point], check=True)

    def test_swap_space(self):
        swap = self.client.target / "swap"
        swap.write_bytes(b"\0" * (1 << 20))
        swap.chmod(0o600)
        subprocess.run(["/usr/sbin/mkswap", swap], check=True, capture_output=True)
        if subprocess.run(["/usr/sbin/swapon", swap], capture_output=True, check=False).returncode != 0:
            self.skipTest("this kernel, or this file system, has no swap files")
        self.addCleanup(subprocess.run, ["/usr/sbin/swapoff", swap], check=True)
        self.create()
        self.says(self.join(), "method", "files", "swap space")
        self.assertIn(str(swap), pathlib.Path("/proc/swaps").read_text())

    def test_an_overlay_whose_layers_lie_in_the_target(self):
        point = self.client.folder / "point"
        layers = {name: self.client.target / "layers" / name for name in ("lower", "upper", "work")}
        for folder in (point, *layers.values()):
            folder.mkdir(parents=True, exist_ok=True)
        options = ",".join("%sdir=%s" % layer for layer in layers.items())
        machine.mount("-t", "overlay", "-o", options, "overlay", point)
        (point / "db").write_text("first\n")
        self.create()
        self.says(self.join(), "method", "files", "layer")
        (point / "db").write_text("second\n")
        (point / "db2").write_text("new\n")
        self.assertEqual((layers["upper"] / "db").read_text(), "second\n")
        self.assertEqual((layers["upper"] / "db2").read_text(), "new\n")

    def test_the_state_whatever_path_leads_to_it(self):
        (self.client.folder / "link").symlink_to(self.client.target)
        for number, state in enumerate(("target/one", self.client.folder / "link" / "two",
                                        self.client.folder / ".." / self.client.name / "target" / "three")):
            self.create({"app.conf": "%d\n" % number})
            self.client.state = state
            inode = self.client.target.stat().st_ino
            self.says(self.join(), "method", "files", "state of the agent")
            self.assertEqual(self.client.target.stat().st_ino, inode)


class Settled(reported.Reported):
    """What is said of an old set that does not work."""

    def test_that_the_apply_command_failed_on_it(self):
        mended, begun = self.client.folder / "mended", self.gate()
        task = self.create()
        apply = "! grep -q new app.conf || { %s; }; " % begun.command + CANNOT_RELOAD % mended
        run = self.keep(self.client.join("--confirm-timeout", "2s", "--apply", apply, key=self.key))
        begun.wait_until_begun()
        run.kill()
        for first in (True, False):
            code, events = self.keep(self.client.settle()).end()
            self.assertEqual(code, 1, events)
            self.says(events, "ROLLBACK_FAILED")
            self.never(events, "settled", "rolledBack")
            if first:
                self.says(events, "rollbackFailed", "cannot reload")
            self.assert_settled(OLD)
        mended.touch()
        self.says(self.join("--apply", CANNOT_RELOAD % mended, task=task), "offered")
        self.assert_settled(NEW)
        code, events = self.keep(self.client.settle()).end()
        self.assertEqual((code, events[-1]["event"]), (0, "settled"), events)

    def fill(self, room):
        """Leaves no room on the disk of the folder: a file `filler` to remove."""
        filler = room / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return filler

    def test_that_the_apply_command_failed_on_it_when_there_is_no_room_to_note_that(self):
        # The record knows nothing of the task before its first update is confirmed.
        for revision in (1, 2):
            with self.subTest(revision):
                mended, room = self.client.folder / "mended", self.client.folder / ("room-%d" % revision)
                room.mkdir()
                machine.mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", room)
                self.client.target = room / "target"
                self.client.target.mkdir()
                machine.write_files(self.client.target, OLD)
                task, begun = self.create(OLD if revision == 2 else NEW), self.gate("gate-%d" % revision)
                if revision == 2:
                    self.join()
                    self.services.publish(task, NEW)
                apply = "! grep -q new app.conf || { %s; }; " % begun.command + CANNOT_RELOAD % mended
                entry = {"task": task} if revision == 2 else {"key": self.key}
                run = self.keep(self.client.join("--confirm-timeout", "2s", "--apply", apply, **entry))
                begun.wait_until_begun()
                run.kill()
                filler = self.fill(room)
                for _ in range(2):
                    code, events = self.keep(self.client.settle()).end()
                    self.assertEqual(code, 1, events)
                    self.says(events, "ROLLBACK_FAILED", "cannot reload")
                    self.never(events, "settled", "rolledBack")
                    self.assertEqual(self.client.files(), OLD)
                filler.unlink()
                mended.touch()
                code, events = self.keep(self.client.settle()).end()
                self.assertEqual((code, events[-1]["event"]), (0, "settled"), events)
                self.assert_settled(OLD)
                mended.unlink()

    def test_that_is_not_there(self):
        self.client.target = self.client.folder / "no" / "such" / "folder"
        code, events = self.keep(self.client.settle()).end()
        self.assertEqual((code, events[-1]["event"]), (0, "absent"), events)


class GetsOn(reported.Reported):
    """Where it would have waited for ever."""

    def test_when_a_command_has_removed_the_target(self):
        for method in ("exchange", "files"):
            with self.subTest(method):
                self.client = self.machine(OLD)
                self.create()
                events = self.join("--method", method, "--apply",
                                   'grep -q new app.conf || exit 0; rm -rf "$PARLEY_TARGET"; exit 1', code=3)
                self.never(events, "rollbackFailed")
                self.assert_settled(OLD)

    def test_when_another_folder_stands_where_the_new_set_stood(self):
        # ext4 gives it, more often than not, the inode of the one that was removed.
        for _ in range(4):
            self.client = self.machine(OLD)
            self.create()
            self.join("--apply", 'grep -q new app.conf || exit 0; rm -rf "$PARLEY_TARGET"; mkdir "$PARLEY_TARGET"; '
                      'echo theirs >"$PARLEY_TARGET/theirs"; exit 1', code=3)
            self.assert_settled(OLD)
            self.assertEqual((self.client.places()[0] / "kept-1/theirs").read_text(), "theirs\n")

    def test_when_a_command_has_removed_the_place(self):
        for method in ("exchange", "files"):
            for code in (0, 1):
                with self.subTest("%s %d" % (method, code)):
                    self.client = self.machine(OLD)
                    task = self.create()
                    apply = 'rm -rf "$PARLEY_TARGET"/../.parley-target; exit %d' % code
                    events = self.join("--method", method, "--apply", apply, code=code)
                    # The old set has gone with it.
                    self.assert_settled(NEW)
                    if code == 0:
                        self.says(self.join(task=task), "upToDate")
                        continue
                    self.says(events, "rollbackFailed", "cannot come back")
                    self.assertEqual(self.member(task)["state"], "STATE_ROLLBACK_FAILED")
                    self.says(self.join(task=task), "confirmed")

    def test_when_a_command_has_moved_the_folder_above(self):
        for code in (0, 1):
            with self.subTest(code):
                self.client = self.machine()
                above = self.client.folder / "above"
                self.client.target = above / "target"
                self.client.target.mkdir(parents=True)
                machine.write_files(self.client.target, OLD)
                task = self.create()
                apply = 'mv %s %s-away; mkdir -p "$PARLEY_TARGET"; exit %d' % (above, above, code)
                events = self.join("--apply", apply, code=1)
                self.says(events, "rollbackFailed", "moved the folder above")
                self.never(events, "confirmed", "rolledBack")
                self.assertEqual(machine.read_files(above.with_name("above-away") / "target"), OLD)
                self.assertEqual(self.client.files(), {})
                self.assertEqual(self.member(task)["state"], "STATE_ROLLBACK_FAILED")

    def test_where_the_file_system_gives_no_size(self):
        self.client = self.machine()
        machine.mount("-t", "ramfs", "ramfs", self.client.folder)
        self.client.target.mkdir()
        machine.write_files(self.client.target, OLD)
        self.create()
        self.join("--wait", "1s")
        self.assert_settled(NEW)

    def test_when_the_place_is_removed_or_the_folder_above_replaced(self):
        above = self.client.folder / "above"
        self.client.target = above / "target"
        self.client.target.mkdir(parents=True)
        task = self.create({"app.conf": "1\n"}, select=self.client)
        run = self.agent()
        run.until("confirmed", revision=1)
        subprocess.run(["rm", "-rf", above / ".parley-target"], check=True)
        self.services.publish(task, {"app.conf": "2\n"})
        run.until("confirmed", revision=2)
        subprocess.run("mv above former && cp -a former above", shell=True, check=True, cwd=self.client.folder)
        self.services.publish(task, {"app.conf": "3\n"})
        run.until("confirmed", revision=3)
        self.assertEqual(self.client.files(), {"app.conf": "3\n"})
        machine.mount("-t", "tmpfs", "tmpfs", above)
        self.client.target.mkdir()
        self.services.publish(task, {"app.conf": "4\n"})
        run.until("confirmed", revision=4)
        self.assertEqual(self.client.files(), {"app.conf": "4\n"})
        self.never(run.events, "rollingBack", "failed")

    def test_when_the_record_was_damaged(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed", revision=1)
        run.stop()
        record = self.client.places()[0] / "record"
        record.write_bytes(b"")
        run = self.agent()
        run.until("hindered", code="state_damaged")
        self.services.watch(task).until(lambda watch: "record" in str(watch.member(self.client.name)))
        record.unlink()
        run.until("upToDate", "confirmed")


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
