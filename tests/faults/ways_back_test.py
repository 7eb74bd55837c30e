"""Nothing is stuck, and nothing is said that the disk does not have: rows C to F of the faults that were reported.

An end has a way back; what passes is waited for; what lies undecided is settled whatever has become of its task; and
what counts is the disk. Clocks are in clock_test, stopped agents and names that do not resolve in stop_test, servers
that are away for long in away_test.
"""

import shutil
import signal
import unittest

from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD


class WaysBack(reported.Reported):
    """Row C1: what a person has mended is tried again."""

    def test_join_given_again_after_the_check_failed(self):
        task = self.create()
        mended = self.client.folder / "mended"
        events = self.join("--check", "test -e %s" % mended, code=3)
        self.says(events, "check_failed")
        self.assert_settled(OLD)
        mended.touch()
        events = self.join("--check", "test -e %s" % mended, task=task)
        self.says(events, "offered")
        self.assert_settled(NEW)
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")

    def test_join_given_again_while_the_cause_stands_fails_again(self):
        task = self.create()
        self.join("--check", "false", code=3)
        for _ in range(2):
            events = self.join("--check", "false", task=task, code=3)
            self.says(events, "offered")
            outcome = events[-1]
            self.assertEqual((outcome["event"], outcome["reason"]), ("outcome", "check_failed"), outcome)
            self.assert_settled(OLD)
        self.assertEqual(self.services.task(task)["counts"]["rolledBack"], 1)

    def test_join_given_again_after_an_update_was_settled_without_the_server(self):
        task = self.create()
        self.kill_in_the_apply({"key": self.key}, "--confirm-timeout", "1s")
        self.services.taskd.stop()
        self.assertEqual(self.keep(self.client.settle()).end()[0], 0)
        self.assert_settled(OLD)
        self.services.start_taskd()
        self.says(self.join(task=task), "offered")
        self.assert_settled(NEW)

    def test_join_ends_with_the_revision_that_was_published_meanwhile(self):
        task = self.create()
        apply = self.gate()
        run = self.keep(self.client.join("--apply", apply.command, key=self.key))
        apply.wait_until_begun()
        self.services.publish(task, {"app.conf": "newer\n"})
        apply.open_for_good()
        code, events = run.end()
        self.assertEqual((code, events[-1]["revision"]), (0, 2), events)
        self.assert_settled({"app.conf": "newer\n"})

    def test_join_given_again_after_a_kill_ends_with_the_newest_revision(self):
        task = self.create()
        self.kill_in_the_apply({"key": self.key})
        self.services.publish(task, {"app.conf": "newer\n"})
        self.join(task=task)
        self.assert_settled({"app.conf": "newer\n"})
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")

    def test_an_operator_gives_failed_clients_another_attempt(self):
        other = self.machine(OLD)
        mended = self.client.folder / "mended"
        # Two devices with one label.
        task = self.create(select=self.client)
        self.services.device(other.name, "name=" + self.client.name)
        runs = [self.keep(client.agent("--check", "test -e %s" % mended)) for client in (self.client, other)]
        for run in runs:
            run.until("rolledBack")
        watch = self.services.watch(task)
        for client in (self.client, other):
            watch.until_state(client.name, "STATE_ROLLED_BACK")
        mended.touch()
        self.services.parley("task", "retry", task, self.client.name)
        watch.until_state(self.client.name, "STATE_CONFIRMED")
        self.assertEqual(watch.member(other.name)["state"], "STATE_ROLLED_BACK")
        self.services.parley("task", "retry", task)
        watch.until_state(other.name, "STATE_CONFIRMED")
        self.assertEqual((self.client.files(), other.files()), (NEW, NEW))

    def test_a_failure_is_not_repeated_by_itself(self):
        ran = self.client.folder / "ran"
        task = self.create(select=self.client)
        run = self.agent("--check", "echo >>%s; false" % ran)
        run.until("rolledBack")
        self.services.watch(task).until_state(self.client.name, "STATE_ROLLED_BACK")
        # A restart of the agent and of the server, with nothing changed, are no reason.
        run.stop()
        self.services.taskd.stop()
        self.services.start_taskd()
        run = self.agent("--check", "echo >>%s; false" % ran)
        run.until("connected")
        self.services.publish(task, {"app.conf": "newer\n"})
        run.until("rolledBack")
        self.assertEqual(ran.read_text(), "\n\n")

    def test_another_command_is_a_reason_for_another_attempt(self):
        task = self.create(select=self.client)
        run = self.agent("--check", "false")
        run.until("rolledBack")
        self.services.watch(task).until_state(self.client.name, "STATE_ROLLED_BACK")
        run.stop()
        run = self.agent("--check", "true")
        run.until("confirmed")
        self.assert_settled(NEW)

    def test_of_declining_a_person_may_think_again(self):
        task = self.create()
        self.join("--decline", "not today", code=4)
        self.join(task=task)
        self.assert_settled(NEW)


class Unsettled(reported.Reported):
    """Row E: what lies undecided is settled at the start, whatever the server says or does not say."""

    def tell(self, task):
        """What becomes of the task while its client is dead."""
        return {"aborted": lambda: self.services.parley("task", "abort", task, "--reason", "wrong"),
                "superseded": lambda: self.services.create("next", NEW, "--supersedes", task),
                "revoked": lambda: self.services.rpc("RevokeParticipant", name="tasks/%s/participants/%s" % (
                    task, self.client.name)),
                "new revision": lambda: self.services.publish(task, {"app.conf": "newer\n"}),
                "paused": lambda: self.services.parley("task", "pause", task)}

    def settled_by_an_agent(self, what, *expected):
        task = self.create(select=self.client)
        self.kill_in_the_apply({}, "--confirm-timeout", "2s", start=self.agent)
        self.tell(task)[what]()
        run = self.agent("--apply", "true", "--confirm-timeout", "2s")
        self.client.wait_until_settled()
        if expected:
            self.assertIn(self.client.files(), expected, run.events)
            self.assertEqual(self.client.files() == NEW, self.member(task)["state"] == "STATE_CONFIRMED")
        else:
            run.until("confirmed", revision=2)
            self.assertEqual(self.client.files(), {"app.conf": "newer\n"})
        self.assertTrue(run.running())

    def test_when_the_task_was_aborted(self):
        self.settled_by_an_agent("aborted", OLD)

    def test_when_the_task_was_superseded(self):
        self.settled_by_an_agent("superseded", OLD)

    def test_when_the_client_was_revoked(self):
        self.settled_by_an_agent("revoked", OLD)

    def test_when_there_is_a_new_revision(self):
        self.settled_by_an_agent("new revision")

    def test_when_the_task_is_paused(self):
        # It had begun, and is let finish if it asks.
        self.settled_by_an_agent("paused", OLD, NEW)

    def test_when_the_labels_have_changed(self):
        self.create(select=self.client)
        self.kill_in_the_apply({}, "--confirm-timeout", "2s", start=self.agent)
        self.services.label(self.client.name, "name=another")
        run = self.agent("--confirm-timeout", "2s")
        self.client.wait_until_settled()
        self.assertEqual(self.client.files(), OLD)
        self.assertTrue(run.running())

    def test_by_an_agent_without_the_server(self):
        task = self.create(select=self.client)
        self.kill_in_the_apply({}, "--confirm-timeout", "3s", start=self.agent)
        self.services.taskd.stop()
        self.addCleanup(lambda: self.services.taskd.process.poll() is not None and self.services.start_taskd())
        run = self.agent("--apply", "true", "--confirm-timeout", "3s")
        self.client.wait_until_settled()
        self.assertEqual(self.client.files(), OLD)
        self.assertTrue(run.running(), run.events)
        # A set that could not be confirmed may have cut the machine off: it comes again when somebody says so.
        self.services.start_taskd()
        watch = self.services.watch(task)
        member = watch.until_state(self.client.name, "STATE_ROLLED_BACK")
        self.assertEqual(member["reason"], "unconfirmed")
        self.services.parley("task", "retry", task, self.client.name)
        run.until("confirmed")
        self.assert_settled(NEW)
        watch.until_state(self.client.name, "STATE_CONFIRMED")

    def test_by_another_task_that_is_joined_for_the_same_target(self):
        task = self.create()
        self.kill_in_the_apply({"key": self.key}, "--confirm-timeout", "2s")
        self.services.parley("task", "abort", task, "--reason", "wrong")
        self.create({"other.conf": "other\n"})
        self.join()
        self.assert_settled({**OLD, "other.conf": "other\n"})

    def test_by_settle_which_knows_the_commands_from_the_journal(self):
        loaded = self.client.folder / "loaded"
        self.create()
        apply = machine.Gate(self.client.folder)
        command = 'cat "$PARLEY_TARGET/app.conf" >%s; ! grep new %s || { %s; }' % (loaded, loaded, apply.command)
        run = self.keep(self.client.join("--confirm-timeout", "2s", "--apply", command, key=self.key))
        apply.wait_until_begun()
        run.kill()
        self.assertEqual(loaded.read_text(), "new\n")
        self.services.taskd.stop()
        self.addCleanup(self.services.start_taskd)
        run = self.keep(self.client.settle())
        code, events = run.end()
        self.assertEqual(code, 0, events)
        self.assert_settled(OLD)
        self.assertEqual(loaded.read_text(), "old\n")


class Disk(reported.Reported):
    """Row F: what the server remembers is not what the disk has."""

    def again(self, task, expected):
        """Given again, it either mends what is missing or says that it is not there."""
        run = self.keep(self.client.join(task=task))
        code, events = run.end()
        if code == 0:
            self.assertEqual(self.client.files(), expected, events)
        else:
            self.assertTrue(self.member(task).get("drifted"), events)
        # An exit code of 0 without the files is the fault; that a machine mends itself is the aim.
        self.assertEqual(code, 0, events)

    def confirmed(self, files=None):
        task = self.create(files)
        self.join()
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")
        return task

    def test_a_target_that_was_removed(self):
        task = self.confirmed()
        shutil.rmtree(self.client.target)
        self.again(task, NEW)

    def test_a_file_that_was_edited(self):
        task = self.confirmed()
        (self.client.target / "app.conf").write_text("edited\n")
        self.again(task, NEW)

    def test_a_file_that_was_removed(self):
        task = self.confirmed({"a": "a\n", "b": "b\n"})
        (self.client.target / "b").unlink()
        self.again(task, {**OLD, "a": "a\n", "b": "b\n"})

    def test_a_machine_that_is_back_from_a_snapshot(self):
        task = self.confirmed()
        snapshot = self.client.folder.with_suffix(".snapshot")
        shutil.copytree(self.client.folder, snapshot, symlinks=True)
        self.services.publish(task, {"app.conf": "2\n"})
        self.join(task=task)
        self.assertEqual(self.client.files(), {"app.conf": "2\n"})
        shutil.rmtree(self.client.folder)
        snapshot.rename(self.client.folder)
        self.assertEqual(self.client.files(), NEW)
        self.again(task, {"app.conf": "2\n"})

    def test_an_agent_finds_it_by_itself_at_its_start(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        run.stop()
        (self.client.target / "app.conf").write_text("edited\n")
        run = self.agent()
        run.until("confirmed")
        self.assertEqual(self.client.files(), NEW)
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")

    def test_until_an_apply_has_passed_nothing_is_up_to_date(self):
        works, ran = self.client.folder / "works", self.client.folder / "ran"
        works.touch()
        apply = "cat \"$PARLEY_TARGET/app.conf\" >>%s; test -e %s" % (ran, works)
        task = self.create({"app.conf": "1\n"})
        self.join("--apply", apply)
        works.unlink()
        self.services.publish(task, {"app.conf": "2\n"})
        run = self.keep(self.client.join("--apply", apply, task=task))
        self.assertNotEqual(run.end()[0], 0)
        self.assertEqual(self.member(task)["state"], "STATE_ROLLBACK_FAILED")
        self.assertEqual(self.client.files(), {"app.conf": "1\n"})
        works.touch()
        ran.unlink()
        self.services.publish(task, {"app.conf": "1\n"})
        events = self.join("--apply", apply, task=task)
        self.assertEqual(ran.read_text(), "1\n", events)
        self.assertEqual(self.member(task)["state"], "STATE_CONFIRMED")

    def test_a_first_apply_that_failed_leaves_nothing_that_is_up_to_date(self):
        ran = self.client.folder / "ran"
        task = self.create(OLD)
        # As the apply fails on the old set, which is the same, a person must look.
        self.assertNotEqual(self.keep(self.client.join("--apply", "false", key=self.key)).end()[0], 0)
        # What it has is what the payload has, and no apply of it has passed.
        self.join("--apply", "echo >>%s" % ran, task=task)
        self.assertEqual(ran.read_text(), "\n")

    def test_clones_of_one_machine_are_shown(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        run.stop()
        clone = self.client.folder.with_name(self.client.name + "-clone")
        shutil.copytree(self.client.folder, clone, symlinks=True)
        watch = self.services.watch(task)
        self.agent()
        # At the same path, as another machine has it.
        self.agent(prefix=["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', clone,
                           self.client.folder])
        watch.until(lambda w: w.member(self.client.name).get("duplicateTime"))
        self.assertRegex(self.services.parley("task", "members", task), "twice|two machines|duplicate")


class Left(reported.Reported):
    """Commands that were under way when the agent died."""

    def test_what_is_left_of_a_command_does_not_run_beside_its_successor(self):
        lock, log = self.client.folder / "lock", self.client.folder / "log"
        gate = machine.Gate(self.client.folder)
        script = self.client.folder / "migrate.sh"
        # The lock goes with the last process that has it.
        script.write_text('exec 9>>%s\nflock -n 9 || echo twice >>%s\n%s\n' % (lock, log, gate.command))
        # The shell waits for a child, which does not die with it.
        apply = "sh %s && true" % script
        task = self.create()
        run = self.keep(self.client.join("--apply", apply, key=self.key))
        gate.wait_until_begun()
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        again = self.keep(self.client.join("--apply", apply, task=task))
        gate.wait_until_begun()
        scripts = [line for line in machine.command_lines() if str(script) in line and "&& true" not in line]
        self.assertEqual(len(scripts), 1, scripts)
        gate.let_go()
        self.assertEqual(again.end()[0], 0, again.events)
        self.assertFalse(log.exists())
        self.assert_settled(NEW)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
