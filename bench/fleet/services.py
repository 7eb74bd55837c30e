"""keyd and taskd for a fleet, as their own processes, and what the system says of them."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

from tests import stack

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
REPLICAS = 2


def processor_seconds(pid):
    """What a process has used, in user space and in the kernel."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_kib(pid):
    with open("/proc/%d/statm" % pid, encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE / 1024


def metric(address, pattern):
    """The sum of a service's metrics whose lines begin with the pattern."""
    with urllib.request.urlopen("http://%s/metrics" % address) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(pattern, line))


class Services:
    """A context manager. The data lies below `folder`, and goes away at the end."""

    def __init__(self, programs, folder):
        self.programs = pathlib.Path(programs)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fleet-", dir=folder))
        self.credentials = self.folder / "keyd/credentials"
        self.taskd_address = stack.free_address()
        self.metrics_address = stack.free_address()
        self.keyd = self.taskd = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        keyd_address = stack.free_address()
        self.keyd = stack.Service(
            self.programs / "services/keyd/keyd", "--data", self.folder / "keyd", "--listen", keyd_address,
            "--taskd-address", self.taskd_address).wait_until_serving()
        self.start_taskd()

    def __exit__(self, *_):
        for service in (self.taskd, self.keyd):
            if service is not None and service.process.poll() is None:
                service.kill()
        shutil.rmtree(self.folder)

    def start_taskd(self):
        """The moment at which it serves."""
        self.taskd = stack.Service(
            self.programs / "services/taskd/taskd", "--data", self.folder / "taskd", "--listen", self.taskd_address,
            "--keyd-credential", self.credentials / "taskd.credential", "--metrics-listen", self.metrics_address)
        self.taskd.wait_until_serving()
        return time.monotonic()

    def kill_taskd(self):
        """kill -9, and a new process on the same data. The moments of the kill and of serving again."""
        killed = time.monotonic()
        self.taskd.kill()
        return killed, self.start_taskd()

    def processor_seconds(self):
        return processor_seconds(self.taskd.process.pid)

    def resident_kib(self):
        return resident_kib(self.taskd.process.pid)

    def metric(self, pattern):
        """The sum of taskd's metrics whose lines begin with the pattern."""
        return metric(self.metrics_address, pattern)

    def descriptors(self):
        # In /proc only the superuser sees those of a service.
        return self.metric("process_open_fds ")

    def stored_bytes(self):
        return sum(path.stat().st_size for path in (self.folder / "taskd").rglob("*") if path.is_file())


class Replicas(Services):
    """A keyd, and taskds that share an etcd of one member with it."""

    def __init__(self, programs, folder):
        super().__init__(programs, folder)
        self.etcd = None
        self.metrics_addresses = []
        self.taskds = []

    def start(self):
        etcd_address = stack.free_address()
        url = "http://" + etcd_address
        self.etcd = subprocess.Popen(
            ["etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
             "--listen-peer-urls", "http://" + stack.free_address(), "--quota-backend-bytes", str(8 << 30),
             "--log-level", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("kek", "seal.key"):
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_bytes(os.urandom(32))
        addresses = [stack.free_address() for _ in range(REPLICAS)]
        self.metrics_addresses = [stack.free_address() for _ in range(REPLICAS)]
        # They wait for the etcd.
        self.keyd = stack.Service(
            self.programs / "services/keyd/keyd", "--data", self.folder / "keyd", "--listen", stack.free_address(),
            "--taskd-address", ",".join(addresses), "--store", "etcd:" + url, "--kek-file",
            self.folder / "kek").wait_until_serving()
        for i, address in enumerate(addresses):
            self.taskds.append(stack.Service(
                self.programs / "services/taskd/taskd", "--data", self.folder / ("taskd-%d" % i), "--listen", address,
                "--public-address", ",".join(addresses), "--keyd-credential", self.credentials / "taskd.credential",
                "--metrics-listen", self.metrics_addresses[i], "--store", "etcd:" + url, "--seal-key-file",
                self.folder / "seal.key").wait_until_serving())

    def __exit__(self, *_):
        for taskd in self.taskds:
            if taskd.process.poll() is None:
                taskd.kill()
        if self.etcd is not None:
            self.etcd.kill()
            self.etcd.wait()
        super().__exit__()

    def metric(self, pattern, taskd):  # pylint: disable=arguments-differ
        """The sum of one taskd's metrics whose lines begin with the pattern."""
        return metric(self.metrics_addresses[taskd], pattern)
