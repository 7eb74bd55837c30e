"""kill -9 of the client at system calls drawn at random: by both methods, on a disk, a tmpfs and an overlay.

In each round a revision is published, and every client is killed somewhere on its way to it. The server is gone before
anything else runs; then one parley command for the target runs, drawn from those that there are. After it, within the
confirm-timeout: the target is the whole old set or the whole new one, nothing is undecided, the new one only if the
server has confirmed it, and the program has been told of the set that is there. With the server back, the same command
as before ends with the new set and a confirmation.
"""

import concurrent.futures
import os
import pathlib
import random
import unittest

from tests import stack
from tests.faults import machine

LIVES = int(os.environ.get("PARLEY_LIVES", "216"))
SEED = int(os.environ.get("PARLEY_SEED", str(random.SystemRandom().randrange(1 << 32))))
METHODS = os.environ.get("PARLEY_METHODS", "exchange,files").split(",")
# Far from what an update has that says nothing of it, which is longer than anything is waited for here.
CONFIRM_TIMEOUT_S = 2
AT_ONCE = 4
# What changes the disk, starts and ends processes, or goes over the network.
CALLS = ",".join((
    "?rename", "?renameat", "renameat2", "?mkdir", "mkdirat", "?unlink", "unlinkat", "?rmdir", "write", "pwrite64",
    "writev", "fsync", "fdatasync", "?fchmod", "fchmodat", "fchown", "fchownat", "utimensat", "fsetxattr", "setxattr",
    "ftruncate", "ioctl", "copy_file_range", "symlinkat", "linkat", "flock", "clone", "clone3", "?fork", "?vfork",
    "wait4", "waitid", "sendmsg", "connect", "pidfd_open", "openat2", "statx", "getdents64"))


def content(revision):
    """Files that come, stay, change and go from revision to revision; one is large enough for two chunks."""
    files = {"app.conf": "revision %d\n" % revision, "always": "the same\n",
             "conf.d/r%d.conf" % revision: "only in %d\n" % revision,
             "conf.d/deep/odd" if revision % 2 else "conf.d/even": "%d\n" % revision}
    if revision % 3 == 0:
        files["large"] = ("%08d" % revision) * 40_000
    return files


LOCAL = {"local.conf": "not part of any revision\n", "app.conf": "revision 0\n"}


class Life:
    """A client in one place, which updates by one method, and what it had before this round."""

    def __init__(self, services, place, method, number):
        self.method, self.name = method, "%s-%s-%d" % (place.name, method, number)
        self.client = machine.Client(services, self.name, LOCAL, parent=place)
        self.loaded = self.client.folder / "loaded"
        self.loaded.write_text(LOCAL["app.conf"])
        self.before = dict(LOCAL)

    def options(self):
        """The program reads app.conf when it is told to."""
        return [*([] if self.method == "exchange" else ["--method", self.method]),
                "--confirm-timeout", "%ds" % CONFIRM_TIMEOUT_S, "--check", 'test -s "$PARLEY_TARGET/app.conf"',
                "--apply", 'cat "$PARLEY_TARGET/app.conf" >%s' % self.loaded]


class AgentKill(unittest.TestCase):

    def setUp(self):
        print("PARLEY_SEED=%d" % SEED, flush=True)
        self.random = random.Random(SEED)
        self.services = self.enterContext(machine.Services())
        self.places = [self.services.folder / name for name in ("disk", "tmpfs", "overlay")]
        for place in self.places:
            place.mkdir()
        machine.mount("-t", "tmpfs", "tmpfs", self.places[1])
        layers = self.services.folder / "layers"
        for name in ("lower", "upper", "work"):
            (layers / name).mkdir(parents=True)
        # As in a container: the folder is one of the image's.
        for number in range(2):
            machine.write_files(layers / "lower" / ("target-overlay-files-%d" % number), LOCAL)
        machine.mount("-t", "overlay", "overlay", "-o", "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % (
            layers, layers, layers), self.places[2])
        for place in self.places[1:]:
            self.addCleanup(machine.unmount, place)
        self.task, self.key = self.services.create("kill", content(1))
        self.lives = [Life(self.services, place, method, number)
                      for place in self.places for method in METHODS for number in range(2)]
        self.calls = {}
        self.pool = self.enterContext(concurrent.futures.ThreadPoolExecutor(AT_ONCE))

    def for_all(self, action):
        list(self.pool.map(action, self.lives))

    def learn(self, life):
        """An undisturbed first revision; which calls it makes."""
        trace = machine.Trace(CALLS)
        run = life.client.join(*life.options(), key=self.key, prefix=trace.prefix, pass_fds=trace.pass_fds)
        trace.started()
        code, events = run.end()
        self.assertEqual(code, 0, events)
        life.before = {**LOCAL, **content(1)}
        self.assertEqual(life.client.files(), life.before, life.name)
        for name, count in trace.calls().items():
            self.calls[life.method, name] = max(self.calls.get((life.method, name), 0), count)

    def draw(self):
        """For each life a call and a number. A seed gives the same ones again, whatever thread comes first."""
        for life in self.lives:
            names = sorted(name for method, name in self.calls if method == life.method)
            life.call = self.random.choice(names)
            life.number = self.random.randint(1, self.calls[life.method, life.call])
            life.command = self.random.choice(("settle", "settle", "join", "follow"))

    def kill(self, life):
        trace = machine.Trace(life.call, "KILL", life.number, output="/dev/null")
        life.code, life.events = life.client.join(*life.options(), task=self.task, prefix=trace.prefix).end()
        # Undisturbed when the call was not made as often.
        self.assertIn(life.code, (-9, 0, 3), (life.name, life.call, life.number, life.events))

    def settle(self, life):
        """With the server gone."""
        life.undecided = bool(life.client.journals())
        if life.command == "settle":
            code, events = life.client.settle().end()
            self.assertEqual(code, 0, (life.name, events))
        else:
            follow = ["--follow"] if life.command == "follow" else []
            run = life.client.join(*life.options(), *follow, task=self.task)
            try:
                life.client.wait_until_settled()
            finally:
                events = run.stop()[1]
        self.judge(life, events)

    def judge(self, life, events):
        said = "%s killed at %s %d, then %s (undecided: %s)\n%s\n%s" % (
            life.name, life.call, life.number, life.command, life.undecided, life.events, events)
        found = life.client.files()
        self.assertTrue(found in (life.before, life.after), "neither old nor new: %s\nfound %s" % (said, found))
        self.assertEqual(life.client.journals(), [], said)
        self.assertEqual(life.loaded.read_text(), found["app.conf"], "another set is loaded: " + said)
        life.found, life.said = found, said

    def finish(self, life):
        code, events = life.client.join(*life.options(), task=self.task).end()
        self.assertEqual(code, 0, life.said + "\n%s" % events)
        self.assertEqual(life.client.files(), life.after, life.said)
        self.assertEqual(life.loaded.read_text(), life.after["app.conf"], life.said)
        self.assertEqual(sorted(path.name for path in life.client.parent.iterdir() if life.name in path.name and
                                path.name not in (life.client.target.name, ".parley-" + life.client.target.name)), [])
        life.before = life.after

    def test_old_or_new_and_settled_without_the_server(self):
        self.for_all(self.learn)
        rounds = max(1, LIVES // len(self.lives))
        killed = undecided = 0
        for number in range(rounds):
            revision = self.services.publish(self.task, content(number + 2))
            for life in self.lives:
                life.after = {"local.conf": LOCAL["local.conf"], **content(revision)}
            self.draw()
            self.for_all(self.kill)
            self.services.taskd.stop()
            self.for_all(self.settle)
            self.services.start_taskd()
            members = self.services.members(self.task)
            for life in self.lives:
                if life.found == life.after:
                    self.assertIn(members[life.name]["state"], machine.CONFIRMED, life.said)
            self.for_all(self.finish)
            killed += sum(life.code == -9 for life in self.lives)
            undecided += sum(life.undecided for life in self.lives)
            print("%d of %d lives, %d killed, %d of them undecided" % (
                (number + 1) * len(self.lives), rounds * len(self.lives), killed, undecided), flush=True)
        members = self.services.members(self.task)
        self.assertEqual({life.name for life in self.lives if members[life.name]["state"] in machine.CONFIRMED},
                         {life.name for life in self.lives})
        # Else nothing was tried.
        self.assertGreater(killed, rounds * len(self.lives) // 2)
        self.assertGreater(undecided, 0)
        self.assertEqual(self.services.task(self.task)["state"], "STATE_OPEN")


if __name__ == "__main__":
    machine.enter_private_mounts()
    unittest.main()
