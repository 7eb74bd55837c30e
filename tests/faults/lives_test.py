"""Random lives: tasks on two targets with one state folder, kills, people who change things, a server that lies.

A life is a row of steps that are drawn: a client joins or goes on, undisturbed or killed at a random moment; something
settles; an operator publishes, aborts, supersedes, retries, pauses; the server is put back from a copy of before; a
person edits what was installed. After each step the disk is compared with a small model of it, which knows what every
task has installed and who owns each path, and with what was said: exit code 0 means that the task's files are there
and that the server says so; any other that what was there before is there still; after a kill and its settling it is
one of the two, and the new set only if the server has confirmed it.
"""

import os
import random
import shutil
import subprocess
import unittest

from tests.faults import machine

LIVES = int(os.environ.get("PARLEY_LIVES", "4"))
STEPS = int(os.environ.get("PARLEY_STEPS", "14"))
SEED = int(os.environ.get("PARLEY_SEED", str(random.SystemRandom().randrange(1 << 32))))
PATHS = ("a", "b", "shared", "d/a", "d/b", "d/e/shared")
LOCAL = {"local": "mine\n"}
# When a life is over no one else must confirm: long enough for a slow machine, short enough to be waited for.
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
        """Whether everything of the revision is there, and no other task has taken a path of it."""
        return all(self.files.get(path) == text and self.owners.get(path) == task for path, text in files.items())


class Task:

    def __init__(self, name, key, files, supersedes=None):
        self.name, self.key, self.files, self.supersedes = name, key, files, supersedes
        self.revisions = {1: files}
        self.joined = False
        self.open = True


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

    def publish(self):
        task = self.draw_task()
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
        """Now and then; to be what the server remembers later on."""
        if self.copy is not None:
            return
        self.services.taskd.stop()
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
        self.copy.rename(self.services.folder / "taskd")
        self.copy = None
        self.services.start_taskd()
        self.say("the server is what it was")
        self.tasks = [task for task, _, _ in self.kept]
        for task, revisions, was_open in self.kept:
            task.open, task.joined = was_open, False
            # What its client has is newer: nothing is offered to it that it would have to go back to.
            task.files = revisions[max(revisions)]
            task.forgotten = max(task.revisions) > max(revisions)
            task.revisions = revisions

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

    def place_of(self, task):
        """A task stays with its target."""
        return self.targets[0] if self.tasks.index(task) % 2 == 0 else self.targets[1]

    def start(self, task, target, *arguments):
        loaded = self.client.folder / (target.name + "-runs")
        method = self.random.choice(([], [], ["--method", "files"]))
        arguments = ["--wait", "1s", "--confirm-timeout", CONFIRM_TIMEOUT, "--apply", "echo >>%s" % loaded, *method,
                     *arguments]
        self.say("join %s into %s %s" % (task.name, target.name, arguments))
        # One that was killed while it joined gives its key again.
        entry = {"task": task.name} if task.joined else {"key": task.key}
        return self.on(target).join(*arguments, **entry)

    def draw_place(self, task):
        # A third of the lives have both tasks in one target.
        return self.place_of(task) if self.number % 3 else self.targets[0]

    def join(self, fails=False):
        task = self.draw_task()
        target = task.target = getattr(task, "target", None) or self.draw_place(task)
        run = self.start(task, target, *(["--check", "false"] if fails else []))
        code, events = run.end()
        self.say("-> %d %s" % (code, [event.get("event") for event in events if event.get("event") != "progress"]))
        after = target.install(task.name, task.files, task.supersedes)
        found = self.disk(target)
        self.check(not self.on(target).journals(), "undecided at the end: %s" % events)
        task.joined = task.joined or code in (0, 3)
        if code == 0:
            # Said to be installed: then it is, or was and stays so.
            self.check(found == after.files, "said to be installed and is not: %s\nfound %s\nexpected %s" % (
                events, found, after.files))
            member = self.services.members(task.name)[self.client.name]
            self.check(member["state"] in machine.CONFIRMED and not member.get("drifted"), "not confirmed: %s" % member)
            self.replace(target, after)
        else:
            self.check(found == target.files, "failed, and something is changed: %s\nfound %s\nexpected %s" % (
                events, found, target.files))
            self.check(fails or not target.has(task.name, task.files) or getattr(task, "forgotten", False),
                       "failed though it was there: %s" % events)

    def join_and_fail(self):
        self.join(fails=True)

    def replace(self, target, after):
        target.files, target.owners, target.paths = after.files, after.owners, after.paths

    def join_and_die(self):
        task = self.draw_task()
        target = task.target = getattr(task, "target", None) or self.draw_place(task)
        run = self.start(task, target)
        after = target.install(task.name, task.files, task.supersedes)
        try:
            run.process.wait(self.random.uniform(0, 0.5))
        except subprocess.TimeoutExpired:
            pass
        code, _ = run.kill()
        self.say("-> killed, %d" % code)
        away = self.random.random() < 0.5
        if away:
            self.services.taskd.stop()
        try:
            self.settle(target)
        finally:
            if away:
                self.services.start_taskd()
        found = self.disk(target)
        self.check(found in (target.files, after.files), "neither old nor new: %s\nold %s\nnew %s" % (
            found, target.files, after.files))
        if found == after.files and found != target.files:
            member = self.services.members(task.name)[self.client.name]
            self.check(member["state"] in machine.CONFIRMED, "new, and not confirmed: %s" % member)
        if found != target.files:
            self.replace(target, after)
        elif found == after.files and after.owners != target.owners:
            # The two look the same, and who owns what may be either: until the next confirmation.
            code, events = self.start(task, target).end()
            self.check(code == 0 or getattr(task, "forgotten", False), "not installed after a kill: %s" % events)
            if code == 0:
                self.replace(target, after)

    def settle(self, target):
        code, events = self.on(target).settle().end()
        self.say("settle %s -> %d" % (target.name, code))
        self.check(code == 0, "settle: %s" % events)
        self.check(not self.on(target).journals(), "undecided after settle: %s" % events)

    def step(self):
        actions = ([self.join] * 5 + [self.join_and_die] * 5 + [self.join_and_fail] + [self.publish] * 4 +
                   [self.end_task] + [self.retry] + [self.edit] + [self.keep_copy] + [self.put_back])
        self.random.choice(actions)()

    def end(self):
        """Whatever has happened, a person can have every task that is open installed."""
        for task in [task for task in self.tasks if task.open]:
            task.files = self.draw_files()
            if getattr(task, "forgotten", False):
                continue
            task.revisions[self.services.publish(task.name, task.files)] = task.files
            target = task.target = getattr(task, "target", None) or self.draw_place(task)
            after = target.install(task.name, task.files, task.supersedes)
            code, events = self.start(task, target).end()
            self.check(code == 0, "not installed at the end: %s" % events)
            self.check(self.disk(target) == after.files, "another set at the end: %s\nfound %s\nexpected %s" % (
                events, self.disk(target), after.files))
            self.replace(target, after)


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
