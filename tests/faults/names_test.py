"""Who a client is and whose a path is: rows G, H and J of the faults that were reported."""

import contextlib
import os
import shutil
import unittest

from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD


class Names(reported.Reported):

    def test_a_device_that_was_installed_anew_comes_back_under_its_name(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        before = self.member(task)
        run.stop()
        shutil.rmtree(self.client.folder)
        self.client.target.mkdir(parents=True)
        machine.write_files(self.client.target, OLD)
        run = self.agent()
        run.until("confirmed")
        self.assertEqual(self.client.files(), NEW)
        after = self.member(task)
        self.assertEqual((after["name"], after["state"]), (before["name"], "STATE_CONFIRMED"))

    def test_what_the_device_had_before_is_refused(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        run.stop()
        former = self.client.folder.with_name(self.client.name + "-former")
        shutil.copytree(self.client.state, former)
        shutil.rmtree(self.client.state)
        self.agent().until("confirmed", "upToDate")
        self.runs[-1].stop()
        # The former member key alone, as in a backup that somebody has found.
        self.client.state = former
        run = self.keep(self.client.join("--wait", "1s", task=task))
        code, events = run.end()
        self.assertNotEqual(code, 0, events)

    def test_the_name_of_a_client_whose_key_was_revoked_is_free(self):
        task = self.create()
        self.join()
        shutil.rmtree(self.client.state)
        refused = self.keep(self.client.join(key=self.key)).end()
        self.assertNotEqual(refused[0], 0)
        self.services.rpc("RevokeParticipant", name="tasks/%s/participants/%s" % (task, self.client.name))
        self.join()
        self.assertEqual(self.member(task)["state"] in machine.CONFIRMED, True)

    def test_a_server_that_was_put_back_from_a_backup(self):
        task = self.create(select=self.client)
        data, kept = self.services.folder / "taskd", self.services.folder / "taskd-kept"
        self.services.taskd.stop()
        shutil.copytree(data, kept)
        self.services.start_taskd()
        run = self.agent()
        run.until("confirmed")
        self.assertIn(self.client.name, self.services.members(task))
        self.services.taskd.stop()
        shutil.rmtree(data)
        kept.rename(data)
        self.services.start_taskd()
        watch = self.services.watch(task)
        watch.until_state(self.client.name, *machine.CONFIRMED)
        self.assertEqual(self.client.files(), NEW)
        self.assertTrue(run.running())


class Targets(reported.Reported):
    """Row H: what cannot begin is told to the server, and looked at again."""

    def test_devices_that_cannot_begin_are_listed_with_the_reason_and_go_on_when_it_has_passed(self):
        clients = {kind: self.machine() for kind in ("mount", "file", "below nothing", "read-only", "pipe")}
        for client in clients.values():
            client.folder.mkdir(exist_ok=True)
        payload = {"app.conf": "new\n"}
        clients["mount"].target.mkdir()
        (clients["mount"].target / "app.conf").write_text("below\n")
        other = clients["mount"].folder / "other"
        other.write_text("mounted\n")
        machine.mount("--bind", other, clients["mount"].target / "app.conf")
        clients["file"].target.write_text("a file\n")
        clients["below nothing"].target = clients["below nothing"].folder / "no/such/folder"
        clients["read-only"].target.mkdir()
        machine.mount("--bind", clients["read-only"].target, clients["read-only"].target)
        machine.mount("-o", "remount,bind,ro", clients["read-only"].target)
        clients["pipe"].target.mkdir()
        os.mkfifo(clients["pipe"].target / "app.conf")
        task, _ = self.services.create("hindered", payload, "--select", "kind=hindered", "--expected", "5")
        watch = self.services.watch(task)
        for client in clients.values():
            self.services.device(client.name, "kind=hindered")
            self.keep(client.agent())
        for kind, client in clients.items():
            member = watch.until(lambda w, name=client.name: w.member(name).get("hindered") and w.member(name))
            self.assertEqual(member["state"], "STATE_INELIGIBLE", kind)
            self.assertTrue(member["reason"], kind)
            self.assertIn(str(client.folder), member["detail"], kind)
        listed = self.services.parley("task", "members", task)
        for client in clients.values():
            self.assertIn(client.name, listed)
        self.assertEqual(self.services.task(task)["state"], "STATE_OPEN")
        machine.unmount(clients["mount"].target / "app.conf")
        clients["file"].target.unlink()
        clients["below nothing"].target.parent.mkdir(parents=True)
        machine.unmount(clients["read-only"].target)
        (clients["pipe"].target / "app.conf").unlink()
        watch.until(lambda w: w.task.get("state") == "STATE_COMPLETED", timeout=150)
        for kind, client in clients.items():
            self.assertEqual(client.files(), payload, kind)


class State(reported.Reported):
    """A state folder that cannot be used: the client cannot have joined, and so the machine alone can say it."""

    def unusable(self, kind):
        """A client whose state folder is of this kind, and what mends it."""
        client = self.machine(OLD)
        if kind == "a file":
            client.state.write_text("a file\n")
            return client, client.state.unlink
        if kind == "below a file":
            file = client.folder / "file"
            file.write_text("a file\n")
            client.state = file / "state"
            return client, file.unlink
        if kind == "a link to nothing":
            client.state.symlink_to("nothing")
            return client, client.state.unlink
        client.state.mkdir()
        machine.mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", client.state)
        if kind == "read-only":
            machine.mount("-o", "remount,ro", client.state)
            return client, lambda: machine.mount("-o", "remount,rw", client.state)
        filler = client.state / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return client, filler.unlink

    def check_refused(self, client, mend, task, reason):
        run = self.keep(client.join("--wait", "1s", key=self.key))
        code, events = run.end()
        self.assertEqual(code, 1, events)
        self.assertEqual(events[-1].get("reason"), reason, events)
        self.assertIn(str(client.state.parent), events[-1]["message"])
        self.assertEqual(client.files(), OLD)
        self.assertEqual(client.places()[0].exists(), False)
        self.assertEqual(self.services.members(task), {})
        mend()
        self.join(client=client)
        self.assertEqual(client.files(), NEW)

    def test_join_says_so_and_has_done_nothing(self):
        for kind, reason in (("a file", "STATE_UNUSABLE"), ("below a file", "STATE_UNUSABLE"),
                             ("a link to nothing", "STATE_UNUSABLE"), ("read-only", "DISK_READ_ONLY"),
                             ("full", "DISK_FULL")):
            with self.subTest(kind):
                client, mend = self.unusable(kind)
                self.check_refused(client, mend, self.create(), reason)

    def test_join_uses_no_folder_that_is_open_to_others(self):
        client = self.machine(OLD)
        task = self.create()
        folder = client.state / "tasks" / task
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        self.check_refused(client, lambda: folder.chmod(0o700), task, "STATE_UNUSABLE")

    def test_the_agent_waits_until_there_is_room_or_the_disk_can_be_written_to(self):
        for kind, code in (("read-only", "disk_read_only"), ("full", "disk_full")):
            with self.subTest(kind):
                client, mend = self.unusable(kind)
                task = self.create(select=client)
                run = self.agent(client=client)
                self.assertIn(str(client.state), run.until("hindered", code=code)["detail"])
                self.assertEqual(self.services.members(task), {})
                mend()
                run.until("confirmed")
                self.assertEqual(client.files(), NEW)
                run.stop()


class Paths(reported.Reported):
    """Row J: two tasks on one target."""

    def setUp(self):
        super().setUp()
        self.tasks = {}

    def install(self, name, files, *arguments):
        """The next revision of the task with this name, or its first, in the client's target."""
        if name in self.tasks:
            self.services.publish(self.tasks[name], files)
            return self.join(task=self.tasks[name])
        self.tasks[name] = self.create(files, *arguments)
        return self.join()

    def test_what_another_task_has_installed_since_stays(self):
        self.install("a", {"shared.conf": "a\n", "a.conf": "a\n"})
        self.install("b", {"shared.conf": "b\n"})
        self.install("a", {"a.conf": "2\n"})
        self.assertEqual(self.client.files(), {**OLD, "shared.conf": "b\n", "a.conf": "2\n"})
        self.assertEqual(self.member(self.tasks["b"])["state"], "STATE_CONFIRMED")
        self.assertFalse(self.member(self.tasks["b"]).get("drifted"))

    def test_the_task_whose_path_was_taken_is_shown(self):
        self.install("a", {"shared.conf": "a\n"})
        self.install("b", {"shared.conf": "b\n"})
        run = self.keep(self.client.join("--follow", task=self.tasks["a"]))
        watch = self.services.watch(self.tasks["a"])
        member = watch.until(lambda w: w.member(self.client.name).get("drifted") and w.member(self.client.name))
        self.assertEqual((member["state"], member["reason"]), ("STATE_INELIGIBLE", "taken_over"))
        self.assertIn(self.tasks["b"], member["detail"])
        self.assertEqual(self.client.files(), {**OLD, "shared.conf": "b\n"})
        # The next revision is another matter.
        self.services.publish(self.tasks["a"], {"shared.conf": "2\n"})
        run.until("confirmed", revision=2)
        self.assertEqual(self.client.files(), {**OLD, "shared.conf": "2\n"})

    def test_a_person_may_take_a_path_back(self):
        self.install("a", {"shared.conf": "a\n"})
        self.install("b", {"shared.conf": "b\n"})
        self.join(task=self.tasks["a"])
        self.assertEqual(self.client.files(), {**OLD, "shared.conf": "a\n"})

    def test_the_owner_may_drop_its_path(self):
        self.install("a", {"shared.conf": "a\n", "a.conf": "a\n"})
        self.install("b", {"shared.conf": "b\n", "b.conf": "b\n", "own.conf": "b\n"})
        self.install("b", {"b.conf": "b\n"})
        # What the other task has too is that one's again, and stays.
        self.assertEqual(self.client.files(), {**OLD, "a.conf": "a\n", "b.conf": "b\n", "shared.conf": "b\n"})
        self.install("a", {"a.conf": "a\n"})
        self.assertEqual(self.client.files(), {**OLD, "a.conf": "a\n", "b.conf": "b\n"})

    def test_what_a_target_in_the_target_has_stays(self):
        """A folder, and a single file."""
        outer = self.client.target
        self.install("a", {"a.conf": "a\n", "inner/b.conf": "a\n", "motd": "a\n"})
        for option, target, files in (("--into", outer / "inner", {"b.conf": "b\n"}),
                                      ("--into-file", outer / "motd", {"motd": "b\n"})):
            client = self.machine()
            client.place = lambda option=option, target=target, client=client: [option, target, "--state", client.state]
            self.create(files)
            self.join(client=client)
        self.install("a", {"a.conf": "2\n"})
        self.assertEqual(self.client.files(), {**OLD, "a.conf": "2\n", "inner/b.conf": "b\n", "motd": "b\n"})

    def test_a_task_that_supersedes_another_inherits_its_paths(self):
        self.install("a", {"a.conf": "a\n", "both.conf": "a\n"})
        self.tasks["b"] = self.create({"both.conf": "b\n", "b.conf": "b\n"}, "--supersedes", self.tasks["a"])
        self.join()
        self.assertEqual(self.client.files(), {**OLD, "both.conf": "b\n", "b.conf": "b\n"})


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
