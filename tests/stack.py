"""A real Parley on this machine for tests: keyd, taskd and enrolld as their own processes, on data that goes away.

Nothing sleeps: a service is ready when it says so on its standard error, which is read until then.
"""

import contextlib
import fcntl
import glob
import hashlib
import hmac
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading

RUNFILES = pathlib.Path(os.environ.get("TEST_SRCDIR", "bazel-bin")) / ("parley" if "TEST_SRCDIR" in os.environ else "")
# Programs of another build, as it leaves them in its bazel-bin, for trying a test on them by hand.
PROGRAMS = pathlib.Path(os.environ.get("PARLEY_BIN") or RUNFILES)
PARLEY = PROGRAMS / "clients/cli/parley"
KEYD = PROGRAMS / "services/keyd/keyd"
TASKD = PROGRAMS / "services/taskd/taskd"
ENROLLD = PROGRAMS / "services/enrolld/enrolld"
TOOLS = pathlib.Path(os.environ.get("PARLEY_TOOLS") or
                     pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache/parley/tools")
GRPCURL = TOOLS / "bin/grpcurl"
# The one with gRPC.
PYTHON = TOOLS / "python/bin/python"
# Where Debian has google/api; the Python package of it is the peers'.
GOOGLEAPIS = "/usr/share/gocode/src/github.com/gogo/googleapis"
# The time alone, as whoever sets a clock changes it: the monotonic clocks and the times of files stay as they are. The
# program `faketime` is not used: it names a semaphore by its process id, which two sandboxes may have at once.
FAKETIME = {"LD_PRELOAD": next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), ""),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
# Where Debian has iptables; Bazel's own PATH leaves it out.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
# Only what hangs takes so long, also on a machine that has much else to do.
TIMEOUT_S = 240


# What this process has been given; closed, and so given back, with it.
_ports = []


def free_address():
    """An address that is this process's until it ends: no other test is given it, even while nothing listens there.

    The port is below those that the kernel gives out by itself, so that no connection takes it either.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as given_out:
        end = int(given_out.read().split()[0])
    folder = pathlib.Path("/tmp/parley-test-ports-%d" % os.getuid())
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(range(10_000, end), 1000):
        lock = open(folder / str(port), "w", encoding="ascii")  # pylint: disable=consider-using-with
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.closing(socket.socket()) as probe:
                # As services do: what is left of an earlier one's connections is not in the way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _ports.append(lock)
        return "127.0.0.1:%d" % port
    raise AssertionError("no port is free")


class Service:
    """One process; its log is kept, and `ready` is set by the line that says it serves."""

    def __init__(self, *command):
        self.log = []
        # What it said when it was ready: its addresses.
        self.serving = None
        self._ended = False
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._said:
                self.log.append(line)
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def said(self, message):
        """The lines with this message."""
        found = []
        for line in list(self.log):
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("message") == message:
                    found.append(event)
        return found

    def wait_until_said(self, message):
        """Waits for a line with this message; the last one that there is."""
        with self._said:
            self._said.wait_for(lambda: self._ended or self.said(message), TIMEOUT_S)
        found = self.said(message)
        if not found:
            raise AssertionError("the service never said \"%s\":\n%s" % (message, "".join(self.log)))
        return found[-1]

    def wait_until_serving(self):
        self.serving = self.wait_until_said("serving")
        if any("gRPC works on threads of its own" in line for line in self.log):
            raise AssertionError("the relay does not do gRPC's work:\n" + "".join(self.log))
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()

    def stop(self):
        """SIGTERM; its exit code."""
        self.process.terminate()
        code = self.process.wait(TIMEOUT_S)
        self._reader.join()
        self.process.stderr.close()
        return code


class Stack:
    """keyd, taskd and enrolld on one folder. A context manager."""

    def __init__(self, folder=None):
        # Not below TEST_TMPDIR: a socket's path must be short.
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="parley-", dir="/tmp"))
        self.home = self.folder / "home"
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.credentials = self.folder / "keyd/credentials"
        self.keyd_address = free_address()
        self.taskd_address = free_address()
        self.enrolld_address = free_address()
        self.keyd = self.taskd = self.enrolld = None

    def __enter__(self):
        self.start_keyd()
        self.start_taskd()
        self.start_enrolld()
        return self

    def __exit__(self, *_):
        for service in (self.enrolld, self.taskd, self.keyd):
            if service is not None and service.process.poll() is None:
                service.kill()
        shutil.rmtree(self.folder)

    def start_keyd(self, *options):
        self.keyd = Service(KEYD, "--data", self.folder / "keyd", "--listen", self.keyd_address, "--keyd-address",
                            self.keyd_address, "--taskd-address", self.taskd_address, "--enrolld-address",
                            self.enrolld_address, "--names", "localhost,127.0.0.1", *options).wait_until_serving()

    def start_taskd(self, *options):
        self.taskd = Service(TASKD, "--data", self.folder / "taskd", "--listen", self.taskd_address,
                             "--keyd-credential", self.credentials / "taskd.credential",
                             "--names", "localhost,127.0.0.1", *options).wait_until_serving()

    def start_enrolld(self, *options):
        self.enrolld = Service(ENROLLD, "--data", self.folder / "enrolld", "--listen", self.enrolld_address,
                               "--keyd-credential", self.credentials / "enrolld.credential",
                               "--names", "localhost,127.0.0.1", *options).wait_until_serving()

    def environment(self, credential="operator"):
        return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "HOME": str(self.home),
                "XDG_CONFIG_HOME": str(self.home / ".config"), "NO_COLOR": "1",
                "PARLEY_CREDENTIAL": str(self.credentials / (credential + ".credential"))}

    def popen(self, *arguments, credential="operator", **options):
        return subprocess.Popen([PARLEY, *map(str, arguments)], env=self.environment(credential),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.home, **options)

    def parley(self, *arguments, stdin="", credential="operator", code=0):
        """Runs the command to its end; its standard output. Fails unless it exits with `code`."""
        result = subprocess.run([PARLEY, *map(str, arguments)], env=self.environment(credential), input=stdin,
                                capture_output=True, text=True, timeout=TIMEOUT_S, cwd=self.home, check=False)
        if result.returncode != code:
            raise AssertionError("parley %s: exit code %d, expected %d\n%s%s" % (
                " ".join(map(str, arguments)), result.returncode, code, result.stdout, result.stderr))
        return result.stdout if code == 0 else result.stderr

    def issue(self, role, subject, *options, name=None):
        """A credential of that name, else of the subject's, which `credential=` takes."""
        self.parley("key", "issue", "--role", role, "--subject", subject, *options, "--out",
                    self.credentials / ((name or subject) + ".credential"), credential="admin")

    def exported(self, credential="operator", audience="taskd"):
        """ca.pem, client.pem and client.key of a credential, in a folder."""
        folder = self.folder / ("exported-%s-%s" % (credential, audience))
        if not folder.exists():
            self.parley("credentials", "export", "--audience", audience, "--out", folder, credential=credential)
        return folder


def with_imports(protos, roots):
    """The files and those of Parley's that they import, each once."""
    found = []
    wanted = list(protos)
    while wanted:
        path = wanted.pop()
        if path in found:
            continue
        found.append(path)
        text = next((root / path).read_text() for root in map(pathlib.Path, roots) if (root / path).exists())
        wanted += re.findall(r'^import "((?:parley|services)/[^"]+)";', text, re.MULTILINE)
    return found


def python_stubs(*protos, roots=(RUNFILES / "proto", GOOGLEAPIS)):
    """A folder with what grpcio's compiler makes of them and of what they import."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
    includes = [part for root in roots for part in ("-I", root)]
    subprocess.run([PYTHON, "-m", "grpc_tools.protoc", *includes, "--python_out", folder, "--grpc_python_out", folder,
                    *with_imports(protos, roots)], check=True)
    return folder


def hkdf(secret, info, size=32):
    """RFC 5869 with SHA-256 and no salt, for one block."""
    pseudorandom = hmac.new(b"\0" * 32, secret, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()[:size]
