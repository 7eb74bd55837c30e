"""What the tests of reported faults have in common: services, and for each test a machine with a task of its own."""

import contextlib
import unittest

from tests.faults import machine

OLD = {"app.conf": "old\n"}
NEW = {"app.conf": "new\n"}


class Reported(unittest.TestCase):

    number = 0

    @classmethod
    def setUpClass(cls):
        cls.services = machine.Services().__enter__()
        cls.addClassCleanup(cls.services.__exit__, None, None, None)

    def setUp(self):
        self.runs = []
        self.client = self.machine(OLD)
        self.addCleanup(self._clean_up)

    def _clean_up(self):
        machine.end_all(self.runs)
        machine.unmount_below(self.services.folder / "clients")

    def machine(self, files=None):
        """Another client."""
        Reported.number += 1
        return machine.Client(self.services, "m%d" % Reported.number, files)

    def create(self, files=None, *arguments, select=None):
        """A task, for `self.key` or for the device `select`."""
        chosen = ["--select", "name=" + select.name] if select else []
        task, self.key = self.services.create("reported", files or NEW, *chosen, *arguments)
        return task

    def keep(self, run):
        """Ends it with the test."""
        self.runs.append(run)
        return run

    def join(self, *arguments, client=None, key=None, task=None, code=0, **options):
        """`parley join` to its end; its events. With the new task's key, unless `task` is given."""
        run = self.keep((client or self.client).join(*arguments, key=None if task else key or self.key, task=task,
                                                     **options))
        got, events = run.end()
        self.assertEqual(got, code, events)
        return events

    def agent(self, *arguments, client=None, **options):
        client = client or self.client
        return self.keep(client.agent(*arguments, **options))

    def member(self, task, client=None):
        return self.services.members(task).get((client or self.client).name, {})

    def gate(self, name="gate"):
        return machine.Gate(self.client.folder, name)

    def assert_settled(self, files, client=None):
        client = client or self.client
        self.assertEqual(client.files(), files)
        self.assertEqual(client.journals(), [])

    def says(self, events, *words):
        """One of the events, or the error, has these words."""
        self.assertTrue(any(all(word in str(event) for word in words) for event in events),
                        "%s is not said: %s" % (words, events))

    def never(self, events, *names):
        for event in events:
            self.assertNotIn(event.get("event"), names, events)

    def kill_in_the_apply(self, task_or_key, *arguments, start=None):
        """Kills a client whose apply command runs. The journal has that command, which ends at once from then on."""
        apply = machine.Gate(self.client.folder, "kill-%d" % len(self.runs))
        if start is None:
            run = self.keep(self.client.join("--apply", apply.command, *arguments, **task_or_key))
        else:
            run = start("--apply", apply.command, *arguments)
        apply.wait_until_begun()
        run.kill()
        self.assertNotEqual(self.client.journals(), [])
        apply.open_for_good()
        return apply


@contextlib.contextmanager
def held_open(path, text):
    """As a program that writes into a file which it has open."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield file
