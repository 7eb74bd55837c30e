"""What happens to the processes, the network and the clocks, drawn from a seed before anything begins.

Threads: `Faults.run` is one thread; `ended`, `start_anew` and `begin` may be called by any.
"""

import dataclasses
import heapq
import itertools
import signal
import threading
import time

from tests.robustness import cluster

KINDS = (("kill", 30), ("stop", 25), ("cut", 35), ("unplug", 10), ("clock", 10))
# Where probes are, everything stays right.
MACHINES = cluster.SERVERS + cluster.CLIENTS[:-1]
# A process that ended by itself is started again after so long.
PAUSE_S = 1


@dataclasses.dataclass(frozen=True)
class Fault:
    at: float
    kind: str
    targets: tuple
    length: float
    # With "cut": from whom, and whether only what comes from the targets is dropped.
    others: tuple = ()
    one_way: bool = False
    # With "clock": by how much it is set.
    seconds: int = 0

    def __str__(self):
        way = " %s %s" % ("to" if self.one_way else "from", " and ".join(self.others)) if self.others else ""
        by = " by %+d s" % self.seconds if self.seconds else ""
        return "%6.1f s: %s %s%s%s for %.1f s" % (
            self.at, self.kind, " and ".join(self.targets), way, by, self.length)

    def ways(self):
        """(source, target) of each way on which nothing passes."""
        there = [(target, other) for target in self.targets for other in self.others]
        return there if self.one_way else there + [(other, target) for target, other in there]


def _length(random):
    """Mostly short; every third one is about as long as a lease, or longer."""
    return random.uniform(0.1, 4) if random.random() < 0.65 else random.uniform(6, 18)


def _process(random, agents):
    return random.choice(agents if random.random() < 0.2 else cluster.SERVERS)


def _cut(random):
    """Any two machines, or one from all of those that it depends on."""
    one_way = random.random() < 0.3
    if random.random() < 0.35:
        target, other = random.sample(MACHINES, 2)
        return (target,), (other,), one_way
    target = random.choice(cluster.SERVICES)
    followed = cluster.KEYDS if target not in cluster.KEYDS and random.random() < 0.7 else cluster.ETCDS
    return (target,), followed, one_way


def _draw(random, at, agents):
    kind = random.choices([name for name, _ in KINDS], [weight for _, weight in KINDS])[0]
    length = _length(random)
    if kind == "kill" and random.random() < 0.15:
        return Fault(at, kind, random.choice((cluster.ETCDS, cluster.KEYDS, cluster.TASKDS, cluster.ENROLLDS)), length)
    if kind in ("kill", "stop"):
        return Fault(at, kind, (_process(random, agents),), length)
    if kind == "clock":
        jump = random.choice((-1, 1)) * random.choice((20, 300, 3600))
        return Fault(at, kind, (random.choice(cluster.WITH_CLOCK),), length, seconds=jump)
    if kind == "unplug":
        return Fault(at, kind, (random.choice(MACHINES),), length)
    targets, others, one_way = _cut(random)
    # From all that it depends on: for as long as it takes until that shows.
    return Fault(at, kind, targets, length if len(others) == 1 else random.uniform(3, 18), others, one_way)


def plan(random, seconds, agents):
    """Bursts of faults that overlap, with calm between them in which things go on. Each begins with a service that does
    not hear from keyd, as that is when a revocation is hardest to keep."""
    faults, at = [], 0.0
    while at < seconds:
        burst = at + random.uniform(8, 25)
        follower = random.choice(cluster.TASKDS + cluster.ENROLLDS)
        faults.append(Fault(at, "cut", (follower,), random.uniform(6, 15), cluster.KEYDS, random.random() < 0.3))
        while at < min(burst, seconds):
            faults.append(_draw(random, at, agents))
            at += random.uniform(0.5, 6)
        at += random.uniform(3, 10)
    return faults


class Faults:
    """Carries out a plan, and starts again what has ended."""

    def __init__(self, servers, agents, say):
        """`agents`: from name to Process."""
        self._cluster, self._processes, self._say = servers, {**servers.processes, **agents}, say
        self._due, self._number, self._changed = [], itertools.count(), threading.Condition()
        self._unplugged = set()
        self._healing = False
        # (name, exit code) of those that ended without having been killed.
        self.ended_alone = []
        self.counts = {}

    def _later(self, seconds, action, *arguments):
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), action, arguments))
            self._changed.notify_all()

    def ended(self, process, code, killed):
        """Of any process; the others' end is planned."""
        if killed:
            return
        self.ended_alone.append((process.name, code))
        self._say("%s has ended by itself, with code %d" % (process.name, code))
        self._later(PAUSE_S, self._start, process)

    def start_anew(self, process):
        """Ends a process and starts it again, whatever is wrong with it now. By any thread."""
        self._later(0, self._start_anew, process)

    def begin(self, fault):
        """Begins one that is not in the plan. By any thread."""
        self._later(0, self._begin, fault)

    def run(self, faults, seconds):
        """All of the plan, for so long; then what is still wrong is put right."""
        for fault in faults:
            self._later(fault.at, self._begin, fault)
        end = time.monotonic() + seconds
        while self._do_next(end):
            pass
        self._healing = True
        while self._do_next(0):
            pass

    def keep_running(self, stop):
        """Starts again what ends by itself, until `stop` is set and `wake` is called."""
        while not stop.is_set():
            self._do_next(time.monotonic() + PAUSE_S)

    def _do_next(self, end):
        """Waits for the next thing that is due before the end, and does it. At an end of 0 all are due, but what would
        begin."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = self._due[0][0] if self._due else None
                if due is not None and (due <= now or end == 0):
                    _, _, action, arguments = heapq.heappop(self._due)
                    break
                if end == 0 or now >= end:
                    return False
                self._changed.wait(min(end, due or end) - now)
        action(*arguments)
        return True

    def _begin(self, fault):
        if self._healing:
            return
        undo = getattr(self, "_" + fault.kind)(fault)
        if undo is None:
            return
        self._say(str(fault))
        self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
        self._later(fault.length, *undo)

    # Each begins one kind, and gives what puts it right; None when it is not to be had now.

    def _kill(self, fault):
        killed = [self._processes[name] for name in fault.targets if self._processes[name].running()]
        for process in killed:
            process.kill()
        return (self._start, *killed) if killed else None

    @staticmethod
    def _start(*killed):
        for process in killed:
            if not process.running():
                process.start()

    @staticmethod
    def _start_anew(process):
        if process.running():
            process.kill()
        process.start()

    def _stop(self, fault):
        process = self._processes[fault.targets[0]]
        if not process.running() or process.stopped:
            return None
        process.signal(signal.SIGSTOP)
        return self._continue, process, process.starts

    @staticmethod
    def _continue(process, starts):
        if process.running() and process.starts == starts:
            process.signal(signal.SIGCONT)

    def _cut(self, fault):
        for source, target in fault.ways():
            self._cluster.network.drop(source, target)
        return self._join, fault

    def _join(self, fault):
        for source, target in fault.ways():
            self._cluster.network.pass_on(source, target)

    def _unplug(self, fault):
        machine = fault.targets[0]
        if machine in self._unplugged:
            return None
        self._unplugged.add(machine)
        self._cluster.network.unplug(machine)
        return self._plug_in, machine

    def _plug_in(self, machine):
        self._unplugged.discard(machine)
        self._cluster.network.plug_in(machine)

    def _clock(self, fault):
        self._cluster.set_clock(fault.targets[0], fault.seconds)
        return self._cluster.set_clock, fault.targets[0], 0
