"""Mounts, open files, special files and metadata in the target: nothing that is not Parley's is lost, or said falsely.

Rows A, B and I of the faults that were reported, each by its smallest input, and what is like it. What is asserted is
on the other side of the mount.
"""

import errno
import fcntl
import os
import socket
import sqlite3
import struct
import subprocess
import unittest

from tests.faults import machine, reported

IMMUTABLE, APPEND_ONLY, NO_DUMP, NO_ATIME = 0x10, 0x20, 0x40, 0x80
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
NOBODY = 65534
# What the other side of a mount holds.
DATA = {"db/one": "precious\n", "db/two": "as well\n", "three": "and this\n"}


def flags_of(path):
    """As chattr sets them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("i", 0)))[0]
    finally:
        os.close(descriptor)


def set_flag(path, flag, on=True):
    """Skips the test where the file system has no such flags."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flags = flags_of(path)
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | flag if on else flags & ~flag))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise
        raise unittest.SkipTest("this file system has no flags") from error
    finally:
        os.close(descriptor)


def set_immutable(path, on):
    set_flag(path, IMMUTABLE, on)


def is_immutable(path):
    return bool(flags_of(path) & IMMUTABLE)


def acl(*entries):
    """POSIX ACL as the kernel stores it; entries are (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who) for tag, bits, who in entries)


READ_BY_NOBODY = acl((1, 6, 0xffffffff), (2, 4, NOBODY), (4, 4, 0xffffffff), (16, 4, 0xffffffff), (32, 0, 0xffffffff))


class Mounts(reported.Reported):

    def setUp(self):
        super().setUp()
        self.data = self.client.folder / "srv"
        self.data.mkdir()
        machine.write_files(self.data, DATA)

    def bind(self, name="data"):
        point = self.client.target / name
        point.mkdir()
        machine.mount("--bind", self.data, point)
        return point

    def assert_whole(self, files=None):
        self.assertEqual(machine.read_files(self.data), files or DATA)

    def goes_on_beside(self, point, files=None):
        """Installs a revision by files, or refuses; then whatever comes, what is behind the mount stays."""
        task = self.create(files)
        run = self.keep(self.client.join("--wait", "1s", key=self.key))
        code, events = run.end()
        self.assert_whole()
        self.assertIn(str(point), machine.mount_points(), events)
        if code == 0:
            self.assertEqual((self.client.target / "app.conf").read_text(), "new\n")
            self.says(events, "method", "files")
        else:
            self.says(events, "TARGET_MOUNT")
            self.never(events, "fetched")
        return task, events

    def test_a_bind_mount_of_the_same_disk_keeps_what_is_behind_it(self):
        self.goes_on_beside(self.bind())

    def test_at_a_later_start_what_is_behind_a_mount_stays_too(self):
        point = self.bind()
        task, _ = self.goes_on_beside(point)
        later = {"db/one": "written later\n", "new": "file\n"}
        machine.write_files(self.data, later)
        for _ in range(2):
            self.keep(self.client.join("--wait", "1s", task=task)).end()
            self.assert_whole({**DATA, **later})
        self.services.publish(task, {"app.conf": "newer\n"})
        self.keep(self.client.join("--wait", "1s", task=task)).end()
        self.assert_whole({**DATA, **later})

    def test_a_mount_within_a_folder_of_the_payload(self):
        (self.client.target / "conf.d").mkdir()
        point = self.bind("conf.d/data")
        self.goes_on_beside(point, {"app.conf": "new\n", "conf.d/a": "new\n"})

    def test_a_mount_of_another_file_system(self):
        point = self.client.target / "data"
        point.mkdir()
        machine.mount("-t", "tmpfs", "tmpfs", point)
        machine.write_files(point, DATA)
        self.goes_on_beside(point)
        self.assertEqual(machine.read_files(point), DATA)

    def test_a_target_that_is_a_mount_point(self):
        machine.mount("--bind", self.data, self.client.target)
        task = self.create()
        events = self.join()
        self.says(events, "method", "files")
        self.assert_whole({**DATA, **reported.NEW})
        self.assertIn(str(self.client.target), machine.mount_points())
        self.services.publish(task, {"other.conf": "2\n"})
        self.join(task=task)
        self.assert_whole({**DATA, "other.conf": "2\n"})

    def test_a_command_that_mounts_something_and_fails(self):
        for source in ("disk", "tmpfs"):
            with self.subTest(source):
                client = self.machine(reported.OLD)
                data = client.folder / "srv"
                data.mkdir()
                if source == "tmpfs":
                    machine.mount("-t", "tmpfs", "tmpfs", data)
                machine.write_files(data, DATA)
                self.create({**reported.NEW, "data/.keep": ""})
                # With the old set, which is back, it passes.
                apply = 'if grep new "$PARLEY_TARGET/app.conf"; then mount --bind %s "$PARLEY_TARGET"/data; exit 1; fi'
                events = self.join("--apply", apply % data, client=client, code=3)
                self.assertEqual(machine.read_files(data), DATA, events)
                self.assertEqual((client.target / "app.conf").read_text(), "old\n")
                # The tree with the mount in it is kept, and that is said.
                self.says(events + [self.runs[-1].errors], "aside")

    def test_a_file_that_is_mounted_over_is_refused_by_name_before_the_fetch(self):
        (self.client.target / "one.conf").write_text("below\n")
        other = self.client.folder / "other.conf"
        other.write_text("mounted\n")
        machine.mount("--bind", other, self.client.target / "one.conf")
        self.create({**reported.NEW, "one.conf": "new\n"})
        run = self.keep(self.client.join("--wait", "1s", key=self.key))
        code, events = run.end()
        self.assertNotEqual(code, 0)
        self.never(events, "fetched", "rollingBack", "confirmed")
        self.says(events, "one.conf")
        self.assertEqual(other.read_text(), "mounted\n")
        self.assertEqual((self.client.target / "app.conf").read_text(), "old\n")

    def test_a_file_that_is_mounted_over_and_not_in_the_payload_stays(self):
        (self.client.target / "one.conf").write_text("below\n")
        other = self.client.folder / "other.conf"
        other.write_text("mounted\n")
        machine.mount("--bind", other, self.client.target / "one.conf")
        task = self.create()
        self.join()
        self.services.publish(task, {"app.conf": "newer\n"})
        self.join(task=task)
        self.assertEqual(self.client.files(), {"app.conf": "newer\n", "one.conf": "mounted\n"})
        self.assertEqual(other.read_text(), "mounted\n")

    @unittest.skipUnless(machine.IS_ROOT, "only root makes files immutable")
    def test_an_immutable_file_is_kept_or_refused_by_name(self):
        local = self.client.target / "local"
        local.write_text("mine\n")
        set_immutable(local, True)
        self.addCleanup(lambda: local.exists() and set_immutable(local, False))
        task = self.create()
        for revision in (1, 2):
            entry = {"key": self.key} if revision == 1 else {"task": task}
            run = self.keep(self.client.join("--wait", "1s", **entry))
            code, events = run.end()
            self.assertTrue(is_immutable(local), events)
            if code == 0:
                self.assertEqual((self.client.target / "app.conf").read_text(), "new\n" if revision == 1 else "newer\n")
            else:
                self.says(events, "local")
                self.assertEqual((self.client.target / "app.conf").read_text(), "old\n")
            if revision == 1:
                self.services.publish(task, {"app.conf": "newer\n"})

    @unittest.skipUnless(machine.IS_ROOT, "only root makes files immutable")
    def test_a_protected_file_of_the_payload_is_refused_by_name(self):
        path = self.client.target / "app.conf"
        for flag in (IMMUTABLE, APPEND_ONLY):
            set_flag(path, flag)
            self.addCleanup(set_flag, path, flag, False)
            task = self.create()
            for method in ("auto", "files", "exchange"):
                run = self.keep(self.client.join("--wait", "1s", "--method", method, **(
                    {"key": self.key} if method == "auto" else {"task": task})))
                code, events = run.end()
                self.assertEqual((code, events[-1].get("reason")), (1, "TARGET_IMMUTABLE"), events)
                self.assertIn(str(path), events[-1]["message"])
                self.never(events, "fetched", "rollingBack", "confirmed")
                self.assert_settled(reported.OLD)
                self.assertTrue(flags_of(path) & flag)
            self.assertEqual(self.member(task)["state"], "STATE_INELIGIBLE")
            set_flag(path, flag, False)

    @unittest.skipUnless(machine.IS_ROOT, "only root makes folders append-only")
    def test_a_folder_that_is_append_only_is_waited_for(self):
        folder = self.client.target / "conf.d"
        folder.mkdir()
        set_flag(folder, APPEND_ONLY)
        self.addCleanup(lambda: folder.exists() and set_flag(folder, APPEND_ONLY, False))
        self.create({"conf.d/new": "new\n"}, select=self.client)
        run = self.agent()
        self.assertIn(str(folder), run.until("hindered", code="target_immutable")["detail"])
        self.assertEqual(self.client.files(), reported.OLD)
        set_flag(folder, APPEND_ONLY, False)
        run.until("confirmed")
        self.assertEqual(self.client.files(), {**reported.OLD, "conf.d/new": "new\n"})

    def test_other_flags_of_what_does_not_change_are_kept(self):
        local = self.client.target / "local"
        for method in ("exchange", "files"):
            local.write_text("mine\n")
            set_flag(local, NO_DUMP | NO_ATIME)
            set_flag(self.client.target, NO_DUMP)
            self.create({"app.conf": method + "\n"})
            self.join("--method", method)
            self.assertEqual(flags_of(local) & (NO_DUMP | NO_ATIME), NO_DUMP | NO_ATIME)
            self.assertTrue(flags_of(self.client.target) & NO_DUMP)
            local.unlink()
            self.client = self.machine(reported.OLD)
            local = self.client.target / "local"

    def test_a_container_that_has_the_target_mounted_sees_the_new_set(self):
        view = self.client.folder / "view"
        view.mkdir()
        container = subprocess.Popen(
            ["unshare", "-m", "sh", "-c",
             'mount --bind "$1" "$2" && echo ready; while read line; do cat "$2"/app.conf; echo; done', "sh",
             str(self.client.target), str(view)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(container.communicate)
        self.addCleanup(container.kill)
        self.assertEqual(container.stdout.readline(), "ready\n")
        self.create()
        run = self.keep(self.client.join("--wait", "1s", key=self.key))
        code, events = run.end()
        container.stdin.write("look\n")
        container.stdin.flush()
        seen = container.stdout.readline()
        if code == 0:
            self.assertEqual(seen, "new\n", events)
            self.says(events, "method", "files")
        else:
            self.assertEqual(seen, "old\n", events)
            self.says(events, str(container.pid))


class OpenFiles(reported.Reported):

    def test_a_check_in_the_working_folder_reads_the_new_set(self):
        self.create({"app.conf": "BROKEN\n"})
        self.client.place = lambda: ["--into", ".", "--state", self.client.state]
        events = self.join("--check", "! grep -q BROKEN app.conf", code=3, cwd=self.client.target)
        self.assertEqual(self.client.files(), reported.OLD, events)

    def test_what_a_program_writes_into_an_open_file_is_not_lost(self):
        self.create()
        with reported.held_open(self.client.target / "app.log", "before\n") as log:
            run = self.keep(self.client.join("--wait", "1s", key=self.key))
            code, events = run.end()
            log.write("after\n")
            log.flush()
            self.assertEqual((self.client.target / "app.log").read_text(), "before\nafter\n", events)
        if code == 0:
            self.assertEqual((self.client.target / "app.conf").read_text(), "new\n")
        else:
            self.says(events, "app.log")

    def test_a_database_that_is_open_goes_on(self):
        self.create()
        with sqlite3.connect(self.client.target / "app.db") as database:
            database.execute("CREATE TABLE t (x)")
            database.execute("INSERT INTO t VALUES (1)")
            database.commit()
            code, events = self.keep(self.client.join("--wait", "1s", key=self.key)).end()
            database.execute("INSERT INTO t VALUES (2)")
            database.commit()
        with sqlite3.connect(self.client.target / "app.db") as database:
            self.assertEqual(database.execute("SELECT x FROM t").fetchall(), [(1,), (2,)], events)
        if code != 0:
            self.says(events, "app.db")

    def test_a_socket_and_a_pipe_in_the_target_stay_what_they_are(self):
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.client.target / "s"))
            listening.listen()
            os.mkfifo(self.client.target / "p")
            task = self.create()
            self.says(self.join(), "method", "files")
            self.services.publish(task, {"app.conf": "newer\n"})
            self.join(task=task)
            with socket.socket(socket.AF_UNIX) as calling:
                calling.connect(str(self.client.target / "s"))
        self.assertTrue((self.client.target / "p").is_fifo())
        self.assertEqual(self.client.files(), {"app.conf": "newer\n"})

    def test_what_stands_in_the_way_for_a_while_is_looked_at_again(self):
        # At a path of the payload, so that no method can go round it.
        (self.client.target / "app.conf").unlink()
        os.mkfifo(self.client.target / "app.conf")
        task = self.create(None, "--max-failures", "1")
        run = self.keep(self.client.join("--follow", key=self.key))
        event = run.until("hindered", "declined", "confirmed", "failed")
        if event["event"] != "confirmed":
            self.assertEqual(event["event"], "hindered", run.events)
            self.assertIn("app.conf", event["detail"])
            (self.client.target / "app.conf").unlink()
            run.until("confirmed")
        self.assertEqual(self.client.files(), reported.NEW)
        self.assertEqual(self.services.task(task)["state"], "STATE_OPEN")

    def beside_programs(self, *scripts):
        """Revisions come while programs write to the target; they are installed then, or once the programs rest."""
        for number in range(3000):
            (self.client.target / ("many-%d" % number)).write_text("x" * 100)
        task = self.create(None, "--max-failures", "1")
        run = self.keep(self.client.join("--follow", key=self.key))
        for revision in (1, 2, 3):
            programs = [subprocess.Popen(["sh", "-c", script], cwd=self.client.target) for script in scripts]
            if revision > 1:
                self.services.publish(task, {"app.conf": "%d\n" % revision})
            event = run.until("hindered", "confirmed", "declined", "rolledBack", "failed")
            self.assertIn(event["event"], ("hindered", "confirmed"), run.events)
            for program in programs:
                program.kill()
                program.wait()
            if event["event"] == "hindered":
                run.until("confirmed", revision=revision)
            expected = "%d\n" % revision if revision > 1 else "new\n"
            self.assertEqual((self.client.target / "app.conf").read_text(), expected)
        self.assertEqual(self.services.task(task)["counts"].get("rolledBack", 0), 0)
        self.assertEqual(self.services.task(task)["state"], "STATE_OPEN")

    def test_a_program_that_writes_new_files(self):
        self.beside_programs('i=0; while sleep 0.05; do i=$((i+1)); echo x >"$PWD/out-$$-$i"; done')

    def test_two_programs_that_write_and_remove_temporary_files(self):
        self.beside_programs(*['while :; do : >"$PWD/%s.1"; : >"$PWD/%s.2"; rm "$PWD"/%s.*; done' % (name, name, name)
                               for name in ("a", "b")])


@unittest.skipUnless(machine.IS_ROOT, "only root gives files away")
class Metadata(reported.Reported):
    """Of files that Parley did not change, and of those that it did."""

    def setUp(self):
        super().setUp()
        self.same, self.changed = self.client.target / "same.pem", self.client.target / "app.conf"
        self.same.write_text("the same\n")
        for path in (self.same, self.changed):
            path.chmod(0o640)
            os.chown(path, 7, 8)
            os.setxattr(path, "user.origin", b"somebody")
            os.setxattr(path, "security.selinux", b"system_u:object_r:etc_t:s0\0")
            os.setxattr(path, "system.posix_acl_access", READ_BY_NOBODY)
        os.utime(self.same, (1_000_000_000, 1_000_000_000))
        self.files = {"same.pem": "the same\n", "app.conf": "new\n"}

    def told(self, path):
        names = ("user.origin", "security.selinux", "system.posix_acl_access")
        status, has = path.stat(), os.listxattr(path)
        return {name: os.getxattr(path, name) if name in has else None for name in names} | {
            "owner": (status.st_uid, status.st_gid)}

    def keeps(self, *arguments):
        payload = self.services.payload(self.files)
        for path in payload.iterdir():
            path.chmod(0o640)
        before = {path: self.told(path) for path in (self.same, self.changed)}
        created = self.services.json("task", "create", "metadata", "--payload", payload)
        self.key = created["joinKey"]["pasted"]
        self.join(*arguments)
        self.assertEqual(self.client.files(), self.files)
        for path, told in before.items():
            self.assertEqual(self.told(path), told, path)
        self.assertEqual(self.same.stat().st_mtime, 1_000_000_000)

    def test_is_kept_by_an_exchange(self):
        self.keeps()

    def test_is_kept_file_by_file(self):
        inode = self.same.stat().st_ino
        self.keeps("--method", "files")
        self.assertEqual(self.same.stat().st_ino, inode)

    def folders_stay(self, *arguments):
        data = self.client.target / "data"
        data.mkdir()
        (data / "a").write_text("a\n")
        (data / "b").write_text("b\n")
        data.chmod(0o700)
        os.chown(data, NOBODY, NOBODY)
        os.setxattr(data, "user.origin", b"somebody")
        task = self.create({"data/a": "1\n"})
        self.join(*arguments)
        self.services.publish(task, {"data/a": "1\n", "other": "2\n"})
        self.join(*arguments, task=task)
        status = data.stat()
        self.assertEqual((status.st_mode & 0o7777, status.st_uid, status.st_gid), (0o700, NOBODY, NOBODY))
        self.assertEqual(os.listxattr(data), ["user.origin"])

    def test_of_folders_is_kept_by_an_exchange(self):
        self.folders_stay()

    def test_of_folders_is_kept_file_by_file(self):
        self.folders_stay("--method", "files")

    def test_capabilities_of_a_program_that_is_replaced_are_kept(self):
        # cap_net_bind_service, effective and permitted.
        capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
        os.setxattr(self.changed, "security.capability", capability)
        self.create()
        self.join()
        self.assertIn("security.capability", os.listxattr(self.changed))
        self.assertEqual(os.getxattr(self.changed, "security.capability"), capability)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
