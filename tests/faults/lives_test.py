"""Random lives: tasks on two targets with one state folder, kills, people who change things, a server that lies.

A life is a row of steps that are drawn: a client joins or goes on, undisturbed or killed at a random moment; something
settles; an operator publishes, aborts, supersedes, retries; the server is put back from a copy of before, also between
a kill and what settles it, and knows nothing of what it has confirmed since; a person edits what was installed. After
each step the disk is compared with a small model of it, which knows what every task has installed and who owns each
path, and with what was said: exit code 0 means that the newest revision's files are there and that the server says so;
any other that what was there before is there still, and that the newest revision is one that this client must not
take; after a kill and its settling it is one of the two, and the new set only if the server has confirmed it.

A seed gives the same steps again. When a kill comes, and so what it meets, differs: the model allows both.
"""

import contextlib
import os
import random
import shutil
import subprocess
import unittest

from tests.faults import machine

LIVES = int(os.environ.get("PARLEY_LIVES", "12"))
STEPS = int(os.environ.get("PARLEY_STEPS", "14"))
SEED = int(os.environ.get("PARLEY_SEED", "1"))
PATHS = ("a", "b", "shared", "d/a", "d/b", "d/e/shared")
LOCAL = {"local": "mine\n"}
# Of an update whose client is killed, which is waited for.
CONFIRM_TIMEOUT = "2s"


class Target:
    """What a folder should hold, and whose each path is."""

    def __init__(self, name):
        self.name = name
        self.files = dict(LOCAL)
        self.owners = {}
        # By task: the paths of what it has installed last.
        self.paths = {}

    def copy(self):
        other = Target(self.name)
        other.files, other.owners, other.paths = dict(self.files), dict(self.owners), dict(self.paths)
        return other

    def install(self, task, files, supersedes=None):
        """What this folder holds once a revision with these files is installed."""
        after = self.copy()
        if supersedes in after.paths:
            after.paths[task] = after.paths.get(task, set()) | after.paths.pop(supersedes)
            after.owners = {path: task if owner == supersedes else owner for path, owner in after.owners.items()}
        for path, owner in list(after.owners.items()):
            if owner == task and path not in files:
                others = [other for other, paths in after.paths.items() if other != task and path in paths]
                if others:
                    # Another task has it too: it stays, and is that one's.
                    after.owners[path] = others[-1]
                else:
                    del after.owners[path]
                    after.files.pop(path, None)
        after.paths[task] = set(files)
        for path, text in files.items():
            after.files[path], after.owners[path] = text, task
        return after

    def has(self, task, files):
        """Whether the revision is there, all of it and nothing else, and no other task has taken a path of it."""
        return self.paths.get(task) == set(files) and all(
            self.files.get(path) == text and self.owners.get(path) == task for path, text in files.items())


class Task:

    def __init__(self, name, key, files, supersedes=None):
        self.name, self.key, self.files, self.supersedes = name, key, files, supersedes
        self.revisions = {1: files}
        self.joined = False
        self.open = True
        # What has become of it on the client: its folder, and the highest revision that was ever installed there.
        self.target = None
        self.highest, self.highest_files = 0, None

    @property
    def newest(self):
        return max(self.revisions)

    def may_be_installed(self):
        """Not one older than what was there, nor another under the same number: its server has forgotten."""
        return self.newest > self.highest or (self.newest == self.highest and self.files == self.highest_files)


class Life:
    """One machine and its services, from a seed."""

    def __init__(self, test, services, seed):
        self.test, self.services, self.random = test, services, random.Random(seed)
        self.client = machine.Client(services, "m%d" % seed)
        self.targets = [Target("one"), Target("two")]
        for target in self.targets:
            (self.client.folder / target.name).mkdir()
            machine.write_files(self.client.folder / target.name, LOCAL)
        self.tasks = []
        self.number = 0
        self.told = ["seed %d" % seed]
        self.copy = None
        for _ in range(2):
            self.create()

    def say(self, text):
        self.told.append(text)

    def check(self, condition, text):
        self.test.assertTrue(condition, "%s\n%s" % (text, "\n".join(self.told)))

    # What the disk has.

    def disk(self, target):
        return machine.read_files(self.client.folder / target.name)

    def on(self, target):
        """This client, for that target."""
        client = machine.Client.__new__(machine.Client)
        client.__dict__.update(self.client.__dict__)
        client.target = self.client.folder / target.name
        return client

    # What an operator does.

    def draw_files(self):
        self.number += 1
        chosen = self.random.sample(PATHS, self.random.randint(1, len(PATHS)))
        return {path: "%s of %d\n" % (path, self.number if self.random.random() < 0.8 else 0) for path in chosen}

    def create(self, supersedes=None):
        files = self.draw_files()
        arguments = ["--supersedes", supersedes.name] if supersedes else []
        name, key = self.services.create("life", files, *arguments)
        self.tasks.append(Task(name, key, files, supersedes.name if supersedes else None))
        self.say("create %s %s %s" % (name, files, arguments))

    def draw_task(self):
        tasks = [task for task in self.tasks if task.open]
        return self.random.choice(tasks)

    def publish(self, task=None):
        task = task or self.draw_task()
        task.files = self.draw_files()
        revision = self.services.publish(task.name, task.files)
        task.revisions[revision] = task.files
        self.say("publish %s r%d %s" % (task.name, revision, task.files))

    def end_task(self):
        task = self.draw_task()
        task.open = False
        if self.random.random() < 0.5:
            self.services.parley("task", "abort", task.name, "--reason", "a life")
            self.say("abort " + task.name)
            self.create()
        else:
            self.create(supersedes=task)

    def retry(self):
        task = self.draw_task()
        self.services.parley("task", "retry", task.name)
        self.say("retry " + task.name)

    def keep_copy(self):
        """To be what the server remembers later on."""
        self.services.taskd.stop()
        if self.copy is not None:
            shutil.rmtree(self.copy)
        self.number += 1
        self.copy = self.services.folder / ("copy-%d" % self.number)
        shutil.copytree(self.services.folder / "taskd", self.copy)
        self.services.start_taskd()
        self.kept = [(task, dict(task.revisions), task.open) for task in self.tasks]
        self.say("copy of the server")

    def put_back(self):
        """The server forgets: tasks, revisions and clients that have come since are unknown to it."""
        if self.copy is None:
            return
        self.services.taskd.stop()
        shutil.rmtree(self.services.folder / "taskd")
        shutil.copytree(self.copy, self.services.folder / "taskd")
        self.services.start_taskd()
        self.say("the server is what it was")
        self.tasks = [task for task, _, _ in self.kept]
        for task, revisions, was_open in self.kept:
            task.open, task.joined, task.revisions = was_open, False, dict(revisions)
            task.files = revisions[max(revisions)]

    # What a person does on the machine.

    def edit(self):
        target = self.random.choice(self.targets)
        owned = sorted(path for path in target.owners if path in target.files)
        if not owned:
            return
        path = self.random.choice(owned)
        target.files[path] = "edited %d\n" % self.number
        (self.client.folder / target.name / path).write_text(target.files[path])
        self.say("edit %s %s" % (target.name, path))

    # What clients do.

    def target_of(self, task):
        """A task stays with its target. In a third of the cases that is one with another task's."""
        if task.target is None:
            task.target = self.targets[self.tasks.index(task) % 2 if self.number % 3 else 0]
        return task.target

    def start(self, task, *arguments):
        target = self.target_of(task)
        loaded = self.client.folder / (target.name + "-runs")
        method = self.random.choice(([], [], ["--method", "files"]))
        arguments = ["--apply", "echo >>%s" % loaded, *method, *arguments]
        self.say("join %s r%d into %s %s" % (task.name, task.newest, target.name, arguments))
        # One that was killed while it joined gives its key again.
        entry = {"task": task.name} if task.joined else {"key": task.key}
        return self.on(target).join(*arguments, **entry)

    def join(self, task=None, fails=False):
        task = task or self.draw_task()
        target = self.target_of(task)
        was_there, may = target.has(task.name, task.files), task.may_be_installed()
        code, events = self.start(task, *(["--check", "false"] if fails else [])).end()
        self.say("-> %d %s" % (code, [event.get("event") for event in events if event.get("event") != "progress"]))
        self.check(not self.on(target).journals(), "undecided at the end: %s" % events)
        task.joined = task.joined or code in (0, 3)
        expected = (0,) if was_there or (may and not fails) else (3,) if may else (1, 4)
        self.check(code in expected, "another end than %s: %s" % (expected, events))
        for event in events:
            # What a kill had cut off before it was applied is carried to its end first.
            if event.get("event") == "confirmed" and event["revision"] < task.newest:
                files = task.revisions[event["revision"]]
                self.install(task, target.install(task.name, files, task.supersedes), event["revision"], files)
        after = target.install(task.name, task.files, task.supersedes) if code == 0 else target
        found = self.disk(target)
        self.check(found == after.files, "said %d: %s\nfound %s\nexpected %s" % (code, events, found, after.files))
        if code == 0:
            self.check(self.is_confirmed(task, task.newest), "not confirmed: %s" % self.members(task))
        if code == 0 and not was_there:
            self.install(task, after, task.newest, task.files)

    def join_and_fail(self):
        self.join(fails=True)

    def members(self, task):
        """{} of a task that the server does not know any more."""
        return self.services.members(task.name) if task in self.tasks else {}

    def is_confirmed(self, task, revision):
        member = self.members(task).get(self.client.name, {})
        return (member.get("state") in machine.CONFIRMED and int(member["revision"]) == revision and
                not member.get("drifted"))

    @staticmethod
    def install(task, after, revision, files):
        task.highest, task.highest_files = revision, files
        task.target.files, task.target.owners, task.target.paths = after.files, after.owners, after.paths

    def join_and_die(self, put_back=False):
        task = self.draw_task()
        target = self.target_of(task)
        after = target.install(task.name, task.files, task.supersedes)
        if after.files == target.files and not target.has(task.name, task.files):
            # By the disk nobody could tell whether it has been installed.
            self.join(task)
            return
        revision, files, may = task.newest, task.files, task.may_be_installed()
        run = self.start(task, "--confirm-timeout", CONFIRM_TIMEOUT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(self.random.uniform(0, 0.5))
        code, _ = run.kill()
        self.say("-> killed, %d" % code)
        confirmed = self.is_confirmed(task, revision)
        if put_back:
            self.put_back()
        self.settle(target, away=not put_back and self.random.random() < 0.5)
        found = self.disk(target)
        self.check(found == target.files or (may and found == after.files),
                   "neither old nor new: %s\nold %s\nnew %s" % (found, target.files, after.files))
        if found != target.files:
            confirmed = confirmed or self.is_confirmed(task, revision)
            self.check(confirmed, "new, and not confirmed: %s" % self.members(task))
            self.install(task, after, revision, files)

    def join_and_die_and_be_forgotten(self):
        self.join_and_die(put_back=True)

    def settle(self, target, away):
        if away:
            self.services.taskd.stop()
        code, events = self.on(target).settle().end()
        self.say("settle %s%s -> %d" % (target.name, " without the server" if away else "", code))
        if away:
            self.services.start_taskd()
        self.check(code == 0, "settle: %s" % events)
        self.check(not self.on(target).journals(), "undecided after settle: %s" % events)

    def step(self):
        actions = ([self.join] * 5 + [self.join_and_die] * 5 + [self.join_and_die_and_be_forgotten] +
                   [self.join_and_fail] + [self.publish] * 4 + [self.end_task] + [self.retry] + [self.edit] +
                   [self.keep_copy] * 2 + [self.put_back])
        self.random.choice(actions)()

    def end(self):
        """Whatever has happened, a person can have every task that is open installed."""
        for task in [task for task in self.tasks if task.open]:
            self.publish(task)
            while not task.may_be_installed():
                self.publish(task)
            self.join(task)


class Lives(unittest.TestCase):

    def test_the_disk_is_what_was_said(self):
        print("PARLEY_SEED=%d" % SEED, flush=True)
        for number in range(LIVES):
            with machine.Services() as services:
                life = Life(self, services, SEED + number)
                for _ in range(STEPS):
                    life.step()
                    for target in life.targets:
                        life.check(life.disk(target) == target.files, "%s has %s, expected %s" % (
                            target.name, life.disk(target), target.files))
                life.end()
            print("life %d of %d is over: PARLEY_SEED=%d" % (number + 1, LIVES, SEED + number), flush=True)


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
