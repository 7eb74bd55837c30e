"""keyd and taskd for a fleet, as their own processes, and what the system says of them."""

import os
import pathlib
import re
import shutil
import tempfile
import time
import urllib.request

from tests import stack

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid):
    """What a process has used, in user space and in the kernel."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_kib(pid):
    with open("/proc/%d/statm" % pid, encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE / 1024


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
        with urllib.request.urlopen("http://%s/metrics" % self.metrics_address) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(pattern, line))

    def descriptors(self):
        # In /proc only the superuser sees those of a service.
        return self.metric("process_open_fds ")

    def stored_bytes(self):
        return sum(path.stat().st_size for path in (self.folder / "taskd").rglob("*") if path.is_file())
