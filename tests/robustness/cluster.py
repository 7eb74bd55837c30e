"""An etcd of three members and two replicas of each service, every one on a machine of its own, and who uses them.

Threads: one thread starts, stops and kills; what a process says may be read by any.
"""

import os
import pathlib
import signal
import subprocess
import threading

from tests import stack
from tests.faults import machine
from tests.robustness import network

ETCDS = ("etcd-1", "etcd-2", "etcd-3")
KEYDS, TASKDS, ENROLLDS = ("keyd-1", "keyd-2"), ("taskd-1", "taskd-2"), ("enrolld-1", "enrolld-2")
SERVICES = KEYDS + TASKDS + ENROLLDS
SERVERS = ETCDS + SERVICES
OFFICE = "office"
# Where clients are, the last one for probes: nothing is done to it.
CLIENTS = ("agents-1", "agents-2", OFFICE, "probes")
PORTS = {"keyd": 7441, "taskd": 7443, "enrolld": 7445}
# The clocks of these can be set.
WITH_CLOCK = ("keyd-2", "taskd-2", "enrolld-2")
# Short, so that a revocation need not wait long for a service that was cut off; as long as the lease of a keyd.
AWAY_LIMIT_S = 10
_SECRET_BYTES = 32


class Process:
    """One program of a machine, which can be started again."""

    def __init__(self, name, machine, command, output=None, on_end=None):
        self.name, self.machine = name, machine
        self._command, self._output, self._on_end = list(map(str, command)), output, on_end
        # The one that runs, and the one that was ended on purpose.
        self._process = self._killed = None
        self.stopped = False
        self.starts = 0

    def start(self):
        self.stopped = False
        self.starts += 1
        with open(self._output, "ab") as output:
            self._process = subprocess.Popen([*network.Network.at(self.machine), *self._command],
                                             stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        threading.Thread(target=self._wait, args=(self._process,), daemon=True).start()

    def _wait(self, process):
        code = process.wait()
        if self._on_end is not None:
            self._on_end(self, code, process is self._killed)

    def running(self):
        return self._process is not None and self._process.poll() is None

    def kill(self):
        self._killed = self._process
        self._process.kill()
        self._process.wait()

    def signal(self, number):
        self.stopped = number == signal.SIGSTOP
        self._process.send_signal(number)

    def said(self):
        return pathlib.Path(self._output).read_text(errors="replace")


class Cluster:
    """`on_end` is told of each process that has ended: itself, its exit code, whether it was killed by the test."""

    def __init__(self, folder, on_end):
        self.folder, self._on_end = pathlib.Path(folder), on_end
        self.network = network.Network()
        for name in SERVERS + CLIENTS:
            self.network.add(name)
        for name in ("log", "etcd", "home", "clocks", "run", "keyd-1", "keyd-2"):
            (self.folder / name).mkdir(mode=0o700)
        self.home = self.folder / "home"
        self.credentials = self.folder / "keyd-1/credentials"
        for name in ("kek", "seal.key"):
            self._write_secret(name, os.urandom(_SECRET_BYTES))
        self._make_certificates()
        for name in WITH_CLOCK:
            self.set_clock(name, 0)
        self.processes = {name: self._member(name) for name in ETCDS}
        for service, names, flags in (("keyd", KEYDS, self._keyd), ("taskd", TASKDS, self._taskd),
                                      ("enrolld", ENROLLDS, self._enrolld)):
            self.processes.update((name, self._service(service, name, flags())) for name in names)

    def _write_secret(self, name, content):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    def _make_certificates(self):
        """A CA, and under it a certificate that etcd's members and their clients share: of yesterday, so that they are
        good by a clock that is an hour behind."""
        names = ",".join("IP:" + self.network.addresses[member] for member in ETCDS)
        (self.folder / "extensions").write_text(
            "subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n" % names)
        key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=parley".split()
        for command in (
                ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-addext",
                 "basicConstraints=critical,CA:TRUE"],
                ["req", "-new", *key, "-keyout", "etcd.key", "-out", "etcd.csr"],
                ["x509", "-req", "-days", "30", "-in", "etcd.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-CAcreateserial", "-extfile", "extensions", "-out", "etcd.pem"]):
            subprocess.run(["openssl", *command], cwd=self.folder, check=True, capture_output=True,
                           env={**os.environ, **stack.FAKETIME, "FAKETIME": "-1d"})
        (self.folder / "etcd.key").chmod(0o600)

    # What runs where.

    def address(self, name):
        return "%s:%d" % (self.network.addresses[name], PORTS[name.split("-")[0]])

    def addresses(self, names):
        return ",".join(map(self.address, names))

    def client_urls(self):
        return ",".join("https://%s:2379" % self.network.addresses[member] for member in ETCDS)

    def _process(self, name, command):
        return Process(name, name, command, self.folder / "log" / (name + ".log"), self._on_end)

    def _member(self, name):
        at = self.network.addresses[name]
        peers = ",".join("%s=http://%s:2380" % (member, self.network.addresses[member]) for member in ETCDS)
        tls = ["--client-cert-auth=true", "--trusted-ca-file=ca.pem", "--cert-file=etcd.pem", "--key-file=etcd.key"]
        # Everything that was ever stored is read in the end: nothing is compacted.
        return self._process(name, [
            "env", "--chdir", self.folder, "etcd", "--name", name, "--data-dir", "etcd/" + name, *tls,
            "--listen-client-urls", "https://%s:2379" % at, "--advertise-client-urls", "https://%s:2379" % at,
            "--listen-peer-urls", "http://%s:2380" % at, "--initial-advertise-peer-urls", "http://%s:2380" % at,
            "--initial-cluster", peers, "--quota-backend-bytes", str(8 << 30), "--logger", "zap", "--log-level",
            "warn"])

    def _service(self, service, name, flags):
        clock = []
        if name in WITH_CLOCK:
            faked = {**stack.FAKETIME, "FAKETIME_TIMESTAMP_FILE": self._clock(name), "FAKETIME_CACHE_DURATION": "1"}
            clock = ["env", *("%s=%s" % item for item in faked.items())]
        program = {"keyd": stack.KEYD, "taskd": stack.TASKD, "enrolld": stack.ENROLLD}[service]
        return self._process(name, [
            *clock, program.absolute(), "--data", self.folder / name, "--ready-file", self._ready(name), "--listen",
            self.address(name), "--names", self.network.addresses[name], "--store", "etcd:" + self.client_urls(),
            "--store-ca", self.folder / "ca.pem", "--store-cert", self.folder / "etcd.pem", "--store-key",
            self.folder / "etcd.key", *flags])

    def _keyd(self):
        return ["--kek-file", self.folder / "kek", "--keyd-address", self.addresses(KEYDS), "--taskd-address",
                self.addresses(TASKDS), "--enrolld-address", self.addresses(ENROLLDS)]

    def _follower(self, service, names):
        return ["--public-address", self.addresses(names), "--keyd-credential",
                self.credentials / (service + ".credential"), "--keyd-away-limit", "%ds" % AWAY_LIMIT_S]

    def _taskd(self):
        return [*self._follower("taskd", TASKDS), "--seal-key-file", self.folder / "seal.key"]

    def _enrolld(self):
        return self._follower("enrolld", ENROLLDS)

    def _clock(self, name):
        return self.folder / "clocks" / name

    def set_clock(self, name, seconds):
        written = self._clock(name).with_suffix(".new")
        written.write_text("%+d\n" % seconds)
        written.rename(self._clock(name))

    # How they are started.

    def start(self):
        """All of them, each when what it needs is there: the first keyd founds the organisation."""
        for name in ETCDS:
            self.processes[name].start()
        for name in SERVICES:
            self._ready(name).unlink(missing_ok=True)
            self.processes[name].start()
            self.await_serving(name)

    def await_serving(self, name):
        """Until a service that was started serves."""
        ready = self._ready(name)
        try:
            machine.wait_for_files(ready.parent, lambda: ready.exists() or not self.processes[name].running())
        except AssertionError as why:
            raise AssertionError("%s does not serve: %s\n%s" % (name, why, self.processes[name].said())) from None
        if not ready.exists():
            raise AssertionError("%s has ended:\n%s" % (name, self.processes[name].said()))

    def _ready(self, name):
        return self.folder / "run" / name

    def etcdctl(self, *arguments, **options):
        """From where probes are."""
        return subprocess.Popen(
            [*network.Network.at("probes"), "env", "ETCDCTL_API=3", "etcdctl", "--endpoints", self.client_urls(),
             "--cacert", "ca.pem", "--cert", "etcd.pem", "--key", "etcd.key", *arguments], cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **options)
