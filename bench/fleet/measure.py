"""Measures a fleet of live clients on a real keyd and taskd: measure.py [options]; tools/bench fleet runs it.

Every client has a connection of its own through the door, with a stream open. Members of one task have its revision and
wait for the next; devices wait for a task that their label matches. The clients are one process with 3 descriptors a
connection, as many as taskd has; the operator is another, so that its calls do not wait for the clients' work.

    connect   joins and connects N members, 64 at once: how long, and what a client costs taskd in memory, descriptors,
              idle processor time (percent of one core) and bytes on the disk
    publish   publishes revisions: from the start of the call until the first half, 99 percent, and the last of the
              clients were told; and how long GetTask takes meanwhile and before, one call each 5 milliseconds, whether
              or not the ones before it have ended. Then each declines, so that the next revision finds it at rest
    back      kills taskd by SIGKILL and starts it again: from its "serving", and from the kill, until all have their
              stream again; when all connect from one address, and from 128. The clients pause as agents do: 500 ms on
              average at first, doubling up to 30 s, at random from nothing to twice that
    failover  starts two taskds on one etcd, connects N members to them, kills one of the two by SIGKILL and measures
              from the kill until each of its clients has its stream at the other; and how many streams the two have
              begun in all before, a client
    create    connects N devices and creates tasks for them: how long the call takes, and until the last was told

Prints figures and ratios as ../rounds.py says. Smaller is better.

Server and clients share the machine. *_taskd_cpu and *_clients_cpu say how many seconds of a core each of them used.
"""

import argparse
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import time

import rounds
import services
from tests import stack

PROGRAMS = stack.PROGRAMS / "bench/fleet"

PARTS = ("connect", "publish", "back", "create")
# What another checkout need not have.
ALL_PARTS = PARTS + ("failover",)
# What a process needs beside its connections: at least so many descriptors, and a part of all for handshakes.
OTHER_DESCRIPTORS = 200
OTHER_PART = 0.075
DESCRIPTORS_A_CONNECTION = 3
# A door lets one address have no more of its connections.
ONE_ADDRESS_PART = 15 / 16
PUBLISHED = 3
CREATED = 5
MANY_ADDRESSES = 128
NEGOTIATE = r'grpc_server_started_total\{[^}]*grpc_method="Negotiate"'


class Peer:
    """A process that answers a line with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("%s ended at: %s" % (pathlib.Path(self.process.args[0]).name, words[0]))
        return line.split()

    def numbers(self, *words):
        return [float(word) for word in self.ask(*words)]

    def processor_seconds(self):
        return services.processor_seconds(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Usage:
    """Processor time that is used from here on."""

    def __init__(self, running, clients):
        self.parts = {"taskd": running.processor_seconds, "clients": clients.processor_seconds}
        self.before = {name: used() for name, used in self.parts.items()}

    def add_to(self, figures, name):
        for part, used in self.parts.items():
            figures.add("%s_%s_cpu" % (name, part), used() - self.before[part], "s")


class Round:
    """One build's services, measured once."""

    def __init__(self, options, running, figures):
        self.options = options
        self.running = running
        self.figures = figures

    def operator(self):
        return Peer(PROGRAMS / "operator", self.running.credentials / "operator.credential")

    def members(self):
        """Connects the members and measures what depends on them."""
        with self.operator() as operator, Peer(PROGRAMS / "clients") as clients:
            task, key, _, _ = operator.ask("create", "members")
            self.connect(clients, key)
            if "connect" in self.options.only:
                self.idle()
            if "publish" in self.options.only:
                operator.ask("get", task)
                for _ in range(PUBLISHED):
                    self.publish(operator, clients, task)
                operator.ask("rest")
            if "back" in self.options.only:
                self.back(clients, "back_one_address")
                clients.ask("sources", MANY_ADDRESSES)
                self.back(clients, "back_128_addresses")

    def connect(self, clients, key):
        stored = self.running.stored_bytes()
        joined, = clients.numbers("join", self.options.clients, key)
        descriptors, resident = self.running.descriptors(), self.running.resident_kib()
        usage = Usage(self.running, clients)
        seconds, p50, p99 = clients.numbers("connect")
        if "connect" not in self.options.only:
            return
        usage.add_to(self.figures, "connect")
        count = self.options.clients
        for name, value, unit in (
                ("join", joined, "s"), ("connect", seconds, "s"), ("connect_p50", p50, "ms"),
                ("connect_p99", p99, "ms"),
                ("client_memory", (self.running.resident_kib() - resident) / count, "KiB"),
                ("client_descriptors", (self.running.descriptors() - descriptors) / count, "descriptors"),
                ("client_stored", (self.running.stored_bytes() - stored) / count, "bytes")):
            self.figures.add(name, value, unit)

    def idle(self):
        before = self.running.processor_seconds()
        time.sleep(self.options.idle)
        used = self.running.processor_seconds() - before
        self.figures.add("idle_cpu", 100 * used / self.options.idle, "percent")

    def publish(self, operator, clients, task):
        quiet = time.monotonic()
        time.sleep(self.options.quiet)
        calm = operator.numbers("got", quiet, time.monotonic())
        clients.ask("expect")
        usage = Usage(self.running, clients)
        start, call = operator.numbers("publish", task)
        p50, p99, last, end = clients.numbers("told", start)
        usage.add_to(self.figures, "publish")
        busy = operator.numbers("got", start, end)
        for name, value in (("publish_call", call), ("offered_p50", p50), ("offered_p99", p99), ("offered_last", last),
                            ("get_quiet_p50", calm[0]), ("get_quiet_p99", calm[1]), ("get_quiet_max", calm[2]),
                            ("get_busy_p50", busy[0]), ("get_busy_p99", busy[1]), ("get_busy_max", busy[2])):
            self.figures.add(name, value, "ms")
        self.figures.add("declined", clients.numbers("decline")[0], "s")

    def back(self, clients, name):
        clients.ask("lose", 0)
        killed, serving = self.running.kill_taskd()
        usage = Usage(self.running, clients)
        half, most, last, failures = clients.numbers("back")
        usage.add_to(self.figures, name)
        self.figures.add(name + "_p50", half - serving, "s")
        self.figures.add(name + "_p99", most - serving, "s")
        self.figures.add(name, last - serving, "s")
        self.figures.add(name + "_from_kill", last - killed, "s")
        self.figures.add(name + "_started", serving - killed, "s")
        # A try follows each failure, of which the loss of the connection is the first.
        self.figures.add(name + "_tries", failures / self.options.clients, "a client")
        self.figures.add(name + "_turned_away", self.running.metric('parley_handshakes_total{outcome="overloaded"'),
                         "handshakes")

    def failover(self):
        """Connects the members to two taskds, and kills one."""
        with self.operator() as operator, Peer(PROGRAMS / "clients") as clients:
            _, key, _, _ = operator.ask("create", "members")
            clients.ask("join", self.options.clients, key)
            clients.ask("connect")
            begun = sum(self.running.metric(NEGOTIATE, taskd) for taskd in range(services.REPLICAS))
            self.figures.add("failover_streams", begun / self.options.clients, "a client")
            lost, = clients.numbers("lose", 0)
            killed = time.monotonic()
            self.running.taskds[0].kill()
            # The half of all clients are those that were at the other one all the while.
            _, most, last, failures = clients.numbers("back")
            self.figures.add("failover_lost", lost, "clients")
            for name, moment in (("p99", most), ("last", last)):
                self.figures.add("failover_" + name, moment - killed, "s")
            self.figures.add("failover_tries", failures / lost, "a client")

    def devices(self):
        """Connects devices and measures what it means to create a task for them."""
        with self.operator() as operator, Peer(PROGRAMS / "clients") as clients:
            self.figures.add("create_for_none", self.create(operator, "members"), "ms")
            clients.ask("issue", self.options.clients, self.running.credentials / "admin.credential")
            clients.ask("connect")
            for _ in range(CREATED):
                clients.ask("expect")
                usage = Usage(self.running, clients)
                task, _, start, call = operator.ask("create", "devices")
                p50, p99, last, _ = clients.numbers("told", start)
                usage.add_to(self.figures, "create")
                self.figures.add("create_call", float(call), "ms")
                for name, value in (("assigned_p50", p50), ("assigned_p99", p99), ("assigned_last", last)):
                    self.figures.add(name, value, "ms")
                operator.ask("abort", task)

    @staticmethod
    def create(operator, whom):
        calls = []
        for _ in range(CREATED):
            task, _, _, call = operator.ask("create", whom)
            calls.append(float(call))
            operator.ask("abort", task)
        return statistics.median(calls)


def clients_that_fit(wanted):
    """As many as descriptors allow. The soft limit is raised to the hard one, for the services too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    others = max(OTHER_DESCRIPTORS, int(OTHER_PART * hard))
    most = int((hard - others) / DESCRIPTORS_A_CONNECTION * ONE_ADDRESS_PART)
    if wanted > most:
        print("%d clients instead of %d: a process may have %d descriptors, a connection takes %d of them, and taskd "
              "does not let one address have all of its connections" % (most, wanted, hard, DESCRIPTORS_A_CONNECTION))
    return min(wanted, most)


def measure(options, programs):
    figures = rounds.Figures()
    if set(options.only) - {"failover"}:
        with services.Services(programs, options.folder) as running:
            one = Round(options, running, figures)
            if set(options.only) - {"create", "failover"}:
                one.members()
            if "create" in options.only:
                one.devices()
    if "failover" in options.only:
        with services.Replicas(programs, options.folder) as running:
            Round(options, running, figures).failover()
    return figures


def parts(text):
    named = text.split(",")
    for name in named:
        if name not in ALL_PARTS:
            raise argparse.ArgumentTypeError("%s is none of %s" % (name, ", ".join(ALL_PARTS)))
    return named


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--clients", type=int, default=5000)
    arguments.add_argument("--only", type=parts, default=PARTS)
    rounds.add_options(arguments)
    arguments.add_argument("--folder", default=str(pathlib.Path(__file__).parents[2] / ".tools"),
                           help="the services' data lies below it")
    arguments.add_argument("--quiet", type=float, help="seconds of GetTask before each revision")
    arguments.add_argument("--idle", type=float, help="seconds for which idle processor time is measured")
    options = arguments.parse_args()
    # The services must end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options.clients = clients_that_fit(options.clients)
    # A small fleet is for seeing that the measurement works.
    small = options.clients < 500
    options.quiet = options.quiet or (0.5 if small else 4)
    options.idle = options.idle or (1 if small else 20)
    rounds.in_turn(lambda programs: measure(options, programs), stack.PROGRAMS, options.earlier, options.rounds)


if __name__ == "__main__":
    main()
