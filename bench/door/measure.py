"""Measures the door beside what it competes with, on one machine in one run:

measure.py FOLDER_OF_PROGRAMS [--earlier FOLDER_OF_PROGRAMS] [--rounds N] [--quick]

Five pairs of a server and a client process: plaintext gRPC, the same through a relay that only copies, gRPC's own
mutual TLS (P-256), stunnel-PSK in front of plaintext gRPC, and Parley's door. Each round measures every pair, one after
another, so that whatever else the machine does falls on all of them. A ratio is the median over the rounds of the
pair's figure against mutual TLS's of the same round. Prints `figure NAME VALUE` for every pair and `ratio NAME VALUE`
for Parley's; for latency and memory smaller is better. With the programs of an earlier build its door is a sixth pair,
to which the clients are this build's, and `against_earlier NAME VALUE LOW HIGH` is this door's figure to that one's of
the same round, the median and the extremes.
"""

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

KINDS = ("plain", "copy", "mtls", "stunnel", "parley")
STUNNEL = """foreground = yes
pid =
debug = emerg
{options}
[bench]
client = {client}
accept = 127.0.0.1:{accept}
connect = {connect}
PSKsecrets = {folder}/psk.stunnel
ciphers = ECDHE-PSK-CHACHA20-POLY1305
sslVersionMax = TLSv1.2
{identity}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


class Process:
    """A peer that answers a line with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended")
        return line.split()

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return [float(word) for word in self.line()]

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Pair:
    """A server, and how clients reach it."""

    def __init__(self, kind, programs, earlier, folder):
        door_peer, mtls_peer = (os.path.join(programs, "bench/door", name) for name in ("door_peer", "mtls_peer"))
        self.servers = []
        if kind == "mtls":
            address = self.serve(mtls_peer, "server", folder)
            self.client_command = (mtls_peer, "client", folder, address)
        elif kind == "stunnel":
            near, far = self.tunnel(folder, self.serve(door_peer, "server", "plain", folder))
            self.client_command = (door_peer, "client", "stunnel", folder, near, far)
        elif kind == "earlier":
            address = self.serve(os.path.join(earlier, "bench/door/door_peer"), "server", "door", folder)
            self.client_command = (door_peer, "client", "door", folder, address)
        else:
            mode = "door" if kind == "parley" else kind
            address = self.serve(door_peer, "server", mode, folder)
            self.client_command = (door_peer, "client", mode, folder, address)
        self.client = Process(*self.client_command)

    def serve(self, *command):
        server = Process(*command)
        self.servers.append(server)
        return server.line()[1]

    def tunnel(self, folder, server):
        far, near = free_port(), free_port()
        self.near = None
        for client, accept, connect in (("no", far, server), ("yes", near, f"127.0.0.1:{far}")):
            path = os.path.join(folder, f"stunnel-{client}.conf")
            with open(path, "w", encoding="ascii") as config:
                config.write(STUNNEL.format(client=client, accept=accept, connect=connect, folder=folder,
                                            options="socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1",
                                            identity="PSKidentity = bench" if client == "yes" else ""))
            tunnel = Process("stunnel4", path)
            wait_for(accept)
            # The near end is the client's, so its memory does not count.
            if client == "no":
                self.servers.append(tunnel)
            else:
                self.near = tunnel
        return f"127.0.0.1:{near}", f"127.0.0.1:{far}"

    def resident_kib(self):
        return sum(server.resident_kib() for server in self.servers)

    def idle_kib(self, count):
        """Resident memory of the server for each connection that has made a call and is quiet."""
        # A thousand each: a client of the door has four descriptors for a connection, and 20,000 at most. The door lets
        # one key have half of the places, which are a third of the descriptors.
        clients = [Process(*self.client_command) for _ in range(count // 1000)]
        clients[0].ask("idle", 1)
        before = self.resident_kib()
        for client in clients:
            client.ask("idle", 1000)
        time.sleep(0.3)
        used = (self.resident_kib() - before) / count
        for client in clients:
            client.stop()
        return used

    def stop(self):
        for process in (self.client, *self.servers, *filter(None, [getattr(self, "near", None)])):
            process.stop()


def measure_round(pairs, seconds, results):
    for kind, pair in pairs.items():
        results[kind]["handshakes"].append(pair.client.ask("handshakes", seconds)[0])
    for kind, pair in pairs.items():
        rate, p50, p99 = pair.client.ask("unary", 1, seconds)
        for name, value in (("unary_rate_1", rate), ("unary_p50", p50), ("unary_p99", p99)):
            results[kind][name].append(value)
    for kind, pair in pairs.items():
        results[kind]["unary_rate_64"].append(pair.client.ask("unary", 64, seconds)[0])
    for kind, pair in pairs.items():
        results[kind]["stream"].append(pair.client.ask("stream", seconds)[0])


UNITS = {
    "handshakes": "a second",
    "unary_rate_1": "a second",
    "unary_rate_64": "a second",
    "unary_p50": "microseconds",
    "unary_p99": "microseconds",
    "stream": "MiB/s",
    "idle_memory_1k": "KiB a connection",
    "idle_memory_3k": "KiB a connection",
}


def report(results):
    measured = [name for name in UNITS if results["mtls"][name]]
    for name in measured:
        for kind in results:
            print(f"figure {name}_{kind} {statistics.median(results[kind][name]):.1f} {UNITS[name]}")
    for kind in results:
        for name in measured:
            ratio = statistics.median(ours / theirs for ours, theirs in zip(results[kind][name], results["mtls"][name]))
            if kind == "parley":
                print(f"ratio {name} {ratio:.2f}")
            elif kind != "mtls":
                print(f"{kind}: ratio {name} {ratio:.2f}")
    for name in measured if "earlier" in results else ():
        ratios = [ours / theirs for ours, theirs in zip(results["parley"][name], results["earlier"][name])]
        print(f"against_earlier {name} {statistics.median(ratios):.2f} {min(ratios):.2f} {max(ratios):.2f}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("programs")
    arguments.add_argument("--earlier")
    arguments.add_argument("--rounds", type=int, help="6 if not given, 3 with --quick")
    arguments.add_argument("--quick", action="store_true")
    options = arguments.parse_args()
    kinds = KINDS + (("earlier",) if options.earlier else ())
    if not shutil.which("stunnel4"):
        raise SystemExit("stunnel4 is missing; tools/install installs it")
    folder = tempfile.mkdtemp()
    pairs = {}
    try:
        subprocess.run((os.path.join(options.programs, "bench/door/door_peer"), "keys", folder), check=True)
        results = {kind: {name: [] for name in UNITS} for kind in kinds}
        # Servers of their own: what another measurement has left behind would be used again.
        for kind in kinds:
            for count in (1000,) if options.quick else (1000, 3000):
                pair = Pair(kind, options.programs, options.earlier, folder)
                results[kind][f"idle_memory_{count // 1000}k"].append(pair.idle_kib(count))
                pair.stop()
        for kind in kinds:
            pairs[kind] = Pair(kind, options.programs, options.earlier, folder)
        for _ in range(options.rounds or (3 if options.quick else 6)):
            measure_round(pairs, 0.25 if options.quick else 0.6, results)
        report(results)
    finally:
        for pair in pairs.values():
            pair.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
