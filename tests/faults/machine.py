"""Machines that take part in tasks, for tests that look from outside: real programs, signals, mounts and clocks.

Nothing sleeps: what a program does is heard from its events, from the server's watch, from inotify or from strace.
"""

import base64
import contextlib
import ctypes
import json
import os
import pathlib
import queue
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

from tests import enrolment, stack

# Only what hangs takes so long.
TIMEOUT_S = stack.TIMEOUT_S
CONFIRMED = ("STATE_CONFIRMED", "STATE_UP_TO_DATE")
HALTED = "STATE_HALTED"

FAKETIME = stack.FAKETIME

# Root of the machine, and not of a user namespace.
IS_ROOT = os.geteuid() == 0 and pathlib.Path("/proc/self/uid_map").read_text().split()[2] != "1"

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_IN_CREATE, _IN_DELETE, _IN_MOVE, _IN_CLOSE_WRITE, _IN_MODIFY = 0x100, 0x200, 0xC0, 0x8, 0x2


def _check(result, doing):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (doing, os.strerror(number)))
    return result


def enter_private_mounts():
    """From now on what this process and its children mount is theirs alone; as an ordinary user too.

    Call it before any thread is started.
    """
    if os.geteuid() == 0:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    else:
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text("0 %d 1" % user)
        pathlib.Path("/proc/self/gid_map").write_text("0 %d 1" % group)
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")


def enter_private_network():
    """From now on this process and its children have a network of their own, which has nothing but itself.

    Call it after enter_private_mounts, before any thread is started. Returns whether there is one, and a way to drop
    packets in it; with CI=true it fails if not.
    """
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        for command in (["ip", "link", "set", "lo", "up"], ["iptables", "-w", "-L"]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as why:
        if os.environ.get("CI") == "true":
            raise
        print("not tried, as packets cannot be dropped here:", why)
        return False
    return True


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def mount_points():
    return [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]


def unmount_below(folder):
    for point in reversed(mount_points()):
        if point.startswith(str(folder) + "/"):
            unmount(point)


def unmount(path):
    subprocess.run(["umount", "-l", str(path)], check=True)


def write_files(folder, files):
    """`files`: from path to text or bytes."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def read_files(folder):
    """From path to text of every file below the folder that is not the client's own; {} when it is not there."""
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))
             if path.is_file() and not path.is_symlink()}
    return {name: path.read_text(errors="surrogateescape") for name, path in paths.items()
            if not name.startswith(".parley")}


def wait_for_files(folder, condition, timeout=None):
    """Waits until condition() holds, which is looked at again whenever something in the folder changes."""
    timeout = timeout or TIMEOUT_S
    descriptor = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")
    try:
        _check(_libc.inotify_add_watch(descriptor, os.fsencode(folder), ctypes.c_uint32(
            _IN_CREATE | _IN_DELETE | _IN_MOVE | _IN_CLOSE_WRITE | _IN_MODIFY)), "inotify")
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError("in vain for %d s: %s" % (timeout, sorted(os.listdir(folder))))
            if select.select([descriptor], [], [], left)[0]:
                os.read(descriptor, 65536)
    finally:
        os.close(descriptor)


def hold(seconds):
    """The length of a hindrance, which is part of what is tried; nothing is waited for by it."""
    end = time.monotonic() + seconds
    while end > time.monotonic():
        select.select([], [], [], end - time.monotonic())


def wait_until_ended(pid, timeout=None):
    """Of a process that need not be a child of ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([descriptor], [], [], timeout or TIMEOUT_S)[0]:
            raise AssertionError("process %d goes on" % pid)
    finally:
        os.close(descriptor)


class Watch:
    """`parley task watch`: what the server says of a task, as it changes."""

    def __init__(self, services, task):
        self.task, self.members = {}, {}
        self._process = services.popen("--output", "json", "task", "watch", task, stdin=subprocess.DEVNULL)
        self._queue = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._queue.put(json.loads(line))
        self._queue.put(None)

    def _take(self, timeout):
        event = self._queue.get(timeout=max(timeout, 0))
        if event is None:
            raise AssertionError("the watch has ended: %s\n%s" % (self.task, self._process.stderr.read()))
        self.task = event.get("task") or self.task
        for member in event.get("participants", []):
            self.members[member["name"].split("/")[-1]] = member

    def until(self, condition, timeout=None):
        """Waits until condition(watch) holds, and gives what it gave."""
        timeout = timeout or TIMEOUT_S
        end = time.monotonic() + timeout
        while True:
            result = condition(self)
            if result:
                return result
            try:
                self._take(end - time.monotonic())
            except queue.Empty:
                raise AssertionError("in vain for %d s:\n%s\n%s" % (timeout, json.dumps(self.members, indent=1),
                                                                   json.dumps(self.task))) from None

    def until_state(self, client, *states, timeout=None):
        return self.until(lambda watch: watch.member(client).get("state") in states and watch.member(client), timeout)

    def member(self, client):
        return self.members.get(client, {})

    def close(self):
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()
        self._process.stderr.close()


class Services(stack.Stack):
    """keyd and taskd, with an operator's hands. A context manager."""

    def __enter__(self):
        self.start_keyd()
        self.start_taskd()
        self._exits = contextlib.ExitStack()
        return self

    def __exit__(self, *error):
        self._exits.close()
        unmount_below(self.folder)
        # A failed test may have left files that nobody may remove.
        subprocess.run(["chattr", "-R", "-f", "-ia", self.folder], stderr=subprocess.DEVNULL, check=False)
        super().__exit__(*error)

    def json(self, *arguments, **options):
        return json.loads(self.parley("--output", "json", *arguments, **options))

    def rpc(self, method, **request):
        """A call of TaskService, in the JSON of protobuf."""
        folder = self.exported()
        result = subprocess.run(
            [str(stack.GRPCURL), "-cacert", folder / "ca.pem", "-cert", folder / "client.pem", "-key",
             folder / "client.key", "-d", json.dumps(request), self.taskd_address,
             "parley.task.v1.TaskService/" + method], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if result.returncode != 0:
            raise AssertionError("%s: %s" % (method, result.stderr))
        return json.loads(result.stdout)

    def payload(self, files):
        folder = self.folder / ("payload-%s" % uuid.uuid4().hex)
        folder.mkdir()
        write_files(folder, files)
        return folder

    def create(self, name, files, *arguments):
        """(the task's id, the join key), signed by the operator."""
        created = self.json("task", "create", name, "--payload", self.payload(files), *arguments)
        return created["task"]["name"].split("/")[1], created["joinKey"]["pasted"]

    def create_with_leases(self, name, files, leases, **fields):
        """As create, signed by the server; `leases` from name to seconds."""
        task = "%s-%s" % (name, uuid.uuid4().hex[:4])
        content = [{"path": path, "content": base64.b64encode(text.encode()).decode()} for path, text in files.items()]
        created = self.rpc("CreateTask", request_id=str(uuid.uuid4()), task_id=task, title=name,
                           files={"files": content}, leases={key: "%ds" % s for key, s in leases.items()}, **fields)
        return created["task"]["name"].split("/")[1], created["join_key"]["pasted"]

    def publish(self, task, files):
        return int(self.json("task", "publish", task, "--payload", self.payload(files))["revision"])

    def task(self, task):
        return self.json("task", "get", task)

    def members(self, task):
        listed = self.json("task", "members", task)["participants"]
        return {member["name"].split("/")[-1]: member for member in listed}

    def watch(self, task):
        watch = Watch(self, task)
        self._exits.callback(watch.close)
        return watch

    def device(self, name, label=None):
        """The file of a device's credential. Its label is `name` with its name, or the one that is given."""
        file = self.credentials / (name + ".credential")
        if not file.exists():
            self.issue("device", name, "--label", label or "name=" + name)
        return file

    def label(self, name, *changes):
        """Sets and removes labels of a device."""
        self.parley("key", "label", name, *changes, credential="admin")


class Run(enrolment.Screen):
    """A client that is running: its events, and its end."""

    def until(self, *names, timeout=None, **fields):
        """The next event with one of these names and these fields, if it comes within the time."""
        end = time.monotonic() + (timeout or TIMEOUT_S)
        while True:
            try:
                event = self._queue.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError("in vain for %s %s: %s" % (names, fields, self.events)) from None
            self.events.append(event)
            if event is None:
                raise AssertionError("ended before %s %s: %s\n%s" % (names, fields, self.events, self.finish()))
            if event.get("event") in names and all(event.get(key) == value for key, value in fields.items()):
                return event

    def end(self):
        """(exit code, all events). The error as JSON, if any, is the last event."""
        while True:
            try:
                if self.next() is None:
                    break
            except queue.Empty:
                raise AssertionError("it does not end: %s" % self.events) from None
        code, error = self.finish()
        return code, [event for event in self.events if event is not None] + ([error] if error else [])

    def stop(self):
        """SIGTERM; (exit code, all events)."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return self.end()

    def running(self):
        return self.process.poll() is None


class Client:
    """A machine's folder, its state, and the commands that it runs."""

    def __init__(self, services, name, files=None, parent=None):
        self.services, self.name = services, name
        self.folder = services.folder / "clients" / name
        self.folder.mkdir(parents=True)
        self.parent = parent or self.folder
        self.target = self.parent / ("target-" + name if parent else "target")
        self.state = self.folder / "state"
        if files is not None:
            self.target.mkdir(parents=True, exist_ok=True)
            write_files(self.target, files)

    def start(self, *arguments, prefix=(), env=None, key=None, **options):
        """A command of parley, under way, with events."""
        process = subprocess.Popen(
            [*map(str, prefix), str(stack.PARLEY), "--output", "json", *map(str, arguments)],
            env={**self.services.environment(), **(env or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=options.pop("cwd", self.folder), **options)
        with contextlib.suppress(BrokenPipeError):
            if key is not None:
                process.stdin.write(key + "\n")
            process.stdin.close()
        return Run(process)

    def place(self):
        return ["--into", self.target, "--state", self.state]

    def join(self, *arguments, key=None, task=None, **options):
        name = ["--name", self.name] if key is not None else ["--task", task]
        return self.start("join", *self.place(), *name, *arguments, key=key, **options)

    def agent(self, *arguments, **options):
        return self.start("agent", "--credential", self.services.device(self.name), *self.place(), *arguments,
                          **options)

    def settle(self, **options):
        return self.start("settle", *self.place(), **options)

    def files(self):
        return read_files(self.target)

    def places(self):
        """Where the client keeps what it needs to settle an update: beside the target, or in one that is a mount."""
        return (self.target.parent / (".parley-" + self.target.name), self.target / ".parley")

    def journals(self):
        """Of an update that is undecided."""
        return [place / "journal" for place in self.places() if (place / "journal").exists()]

    def wait_until_settled(self, timeout=None):
        for journal in self.journals():
            wait_for_files(journal.parent, lambda: not self.journals(), timeout)


class Gate:
    """A command of a client's that tells when it begins, and stays until it is let go."""

    def __init__(self, folder, name="gate"):
        self._begun, self._go, self._kept = folder / (name + "-begun"), folder / (name + "-go"), []
        for pipe in (self._begun, self._go):
            os.mkfifo(pipe)
        # `read` is the shell's own: what is killed leaves no child behind.
        self.command = "echo >%s; read line <%s" % (self._begun, self._go)

    def _open(self, path, flags, timeout):
        # Not to wait for ever for a command that never comes.
        end = time.monotonic() + timeout
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            if flags == os.O_RDONLY and not select.select([descriptor], [], [], end - time.monotonic())[0]:
                raise AssertionError("the command has not begun")
            if flags == os.O_RDONLY:
                os.read(descriptor, 100)
                return None
            os.write(descriptor, b"\n")
            kept, descriptor = descriptor, None
            return kept
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def wait_until_begun(self):
        self._open(self._begun, os.O_RDONLY, TIMEOUT_S)

    def let_go(self):
        """Also one that begins later: the line waits for it."""
        self._kept.append(self._open(self._go, os.O_WRONLY, TIMEOUT_S))

    def open_for_good(self):
        """From now on the command ends whenever it is run, up to a thousand times."""
        self._kept.append(os.open(self._begun, os.O_RDWR | os.O_NONBLOCK))
        self._kept.append(os.open(self._go, os.O_RDWR | os.O_NONBLOCK))
        os.write(self._kept[-1], b"\n" * 1000)


class Clock:
    """The time as one client sees it."""

    def __init__(self, folder, offset):
        self._file = folder / "clock"
        self.set(offset)

    def set(self, offset):
        other = self._file.with_suffix(".new")
        other.write_text(offset + "\n")
        other.rename(self._file)

    def environment(self):
        return {**FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1"}


def has_port(pid, port):
    """Whether a socket of this process has this local port."""
    found = {line.split()[9] for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
             if int(line.split()[1].split(":")[1], 16) == port}
    with contextlib.suppress(OSError):
        for descriptor in pathlib.Path("/proc/%d/fd" % pid).iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(descriptor).removeprefix("socket:[").rstrip("]") in found:
                    return True
    return False


class Forwarder:
    """Another address for a server, which counts the connections of the process `of`."""

    def __init__(self, to):
        host, port = to.rsplit(":", 1)
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.connections, self.of = 0, None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, address = self._listener.accept()
                self.connections += self.of is not None and has_port(self.of, address[1])
                try:
                    server = socket.create_connection(self._to)
                except OSError:
                    client.close()
                    continue
                for source, to in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=(source, to), daemon=True).start()

    @staticmethod
    def _copy(source, to):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                to.sendall(piece)
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()


class Trace:
    """strace around a command, which stops it or ends it at a system call; the command keeps its process id."""

    def __init__(self, calls, action=None, number=1, output=None):
        self._reader, self._writer = (None, None) if output else os.pipe()
        inject = ["-e", "inject=%s:signal=%s:when=%d" % (calls, action, number)] if action else []
        # Not the commands that it runs.
        self.prefix = ["strace", "-D", "-f", "-b", "execve", "-qq", "-e", "signal=SIGSTOP", "-e",
                       "trace=" + calls, *inject, "-o", str(output) if output else "/proc/self/fd/%d" % self._writer]
        self.pass_fds = () if output else (self._writer,)
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._lines = [] if action is None else None
        self._thread = None

    def started(self):
        """After the start of the command: only it and strace hold the pipe, which is read to its end."""
        os.close(self._writer)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with open(self._reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if self._lines is not None:
                    self._lines.append(line)
                if "--- stopped by SIGSTOP ---" in line:
                    self._stopped.set()
                    self._ended.set()
        self._ended.set()

    def calls(self):
        """How often the busiest thread of the command made each call, when all of it has ended."""
        self._thread.join(TIMEOUT_S)
        return traced_calls(self._lines)

    def until_stopped(self, pid):
        """True once a thread of the command has been stopped, False when the command has ended before."""
        if not self._ended.wait(TIMEOUT_S):
            raise AssertionError("neither stopped nor ended")
        if not self._stopped.is_set():
            return False
        # Without strace, which is not good at a process with many threads that is stopped and goes on.
        os.kill(pid, signal.SIGSTOP)
        status = pathlib.Path("/proc/%d/status" % pid).read_text()
        tracer = int(re.search(r"TracerPid:\s*(\d+)", status)[1])
        if tracer != 0:
            os.kill(tracer, signal.SIGKILL)
            wait_until_ended(tracer)
        os.kill(pid, signal.SIGSTOP)
        return True


def traced_calls(lines):
    """How often the busiest thread made each call, from what strace wrote."""
    by_thread = {}
    for line in lines:
        match = re.match(r"(\d+) +(\w+)\(", line)
        if match:
            calls = by_thread.setdefault(match[1], {})
            calls[match[2]] = calls.get(match[2], 0) + 1
    most = {}
    for calls in by_thread.values():
        for name, count in calls.items():
            most[name] = max(most.get(name, 0), count)
    return most


def remove_all(folder):
    shutil.rmtree(folder, ignore_errors=True)


def end_all(runs):
    """Ends what a failed test has left."""
    for run in runs:
        if run.running():
            with contextlib.suppress(ProcessLookupError):
                run.process.send_signal(signal.SIGKILL)
            run.process.wait()


def command_lines():
    """Of every process that there is."""
    lines = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return lines
