"""An operator at work: creates, publishes, pauses, aborts, reads, issues, revokes, invites and rotates, at random, and
writes down what was asked and answered.

A set says by its size which one it is: the set of number n has SMALLEST_BYTES + n bytes, so that whoever reads a task
knows which set it has. Threads: an Office may be used by several threads at once.
"""

import contextlib
import json
import random as randomness
import subprocess
import threading
import uuid

from tests import stack
from tests.faults import machine
from tests.robustness import cluster, network
from tests.robustness.history import Refused, now

MACHINE = "office"
GROUPS = ("red", "green", "blue", "gold")
# A command that hangs is ended, and nobody knows what became of it.
COMMAND_S = 90
SMALLEST_BYTES = 3000
MOST_OPEN_TASKS = 8
# With which probability of what is done in a step.
STEPS = (("read", 40), ("publish", 20), ("create", 8), ("pause", 6), ("abort", 2), ("read_credential", 8),
         ("invitation", 10), ("rotate", 1))


def files(title, number):
    """The set of this number of a task."""
    name = "%s %d\n" % (title, number)
    body = randomness.Random(name).randbytes(SMALLEST_BYTES).hex()[:SMALLEST_BYTES + number - len(name)]
    return {title + "/conf": name, title + "/body": body}


class Task:

    def __init__(self, name, title, group):
        self.name, self.title, self.group = name, title, group
        self.key = "task/" + name
        self.paused = self.ended = False


class Office:

    def __init__(self, servers, history):
        self.cluster, self.history = servers, history
        self.home = servers.home
        self._lock = threading.Lock()
        self._numbers = {}
        self.tasks, self.credentials, self.invitations = [], [], []
        # From service to the folder of the admin's certificate for it.
        self._exported = {}

    # Commands.

    def _command(self, *arguments, place=MACHINE, credential="admin"):
        return [*network.Network.at(place), "env", "HOME=%s" % self.home, "XDG_CONFIG_HOME=%s/.config" % self.home,
                "NO_COLOR=1", "PARLEY_CREDENTIAL=%s" % (self.cluster.credentials / (credential + ".credential")),
                stack.PARLEY.absolute(), *map(str, arguments)]

    def popen(self, *arguments, **options):
        return subprocess.Popen(self._command(*arguments, place="probes"), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd=self.home, **options)

    def parley(self, *arguments, place=MACHINE):
        """What a command prints; Refused when it fails."""
        return self._run(self._command(*arguments, place=place))

    def json(self, *arguments, at=None, **options):
        server = ["--server", self.cluster.address(at)] if at else []
        return json.loads(self.parley("--output", "json", *arguments, *server, **options))

    def _run(self, command):
        try:
            result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                    timeout=COMMAND_S, cwd=self.home, check=False)
        except subprocess.TimeoutExpired as why:
            raise Refused("no answer within %d s" % COMMAND_S) from why
        if result.returncode != 0:
            raise Refused(result.stdout[-300:] + result.stderr[-600:])
        return result.stdout

    def rpc(self, method, request, at):
        """A call by grpcurl, in the JSON of protobuf, at one replica: its answer alone is waited for."""
        folder = self._exported[at.split("-")[0]]
        return json.loads(self._run([
            *network.Network.at(MACHINE), stack.GRPCURL, "-max-time", "30", "-cacert", folder / "ca.pem", "-cert",
            folder / "client.pem", "-key", folder / "client.key", "-d", json.dumps(request), self.cluster.address(at),
            method]))

    def open(self):
        """What the work needs, while nothing is wrong yet."""
        for audience in ("keyd", "enrolld"):
            self._exported[audience] = self.home / ("exported-" + audience)
            self.insist(self.parley, "credentials", "export", "--audience", audience, "--out",
                        self._exported[audience])

    def issue(self, role, subject, *options, name=None):
        """(the key of the credential in the history, its file)."""
        file = self.cluster.credentials / ((name or subject) + ".credential")
        with self.history.operation(None, "issue") as operation:
            record = self.json("key", "issue", "--role", role, "--subject", subject, *options, "--out", file)
            operation.key = "credential/" + record["name"].split("/")[1]
        return operation.key, file

    def revoke(self, key, at):
        with self.history.operation(key, "revoke", about=at) as operation:
            self.rpc("parley.key.v1.KeyService/RevokeCredential", {"name": "credentials/" + key.split("/")[1]}, at)
        return operation.acknowledged()

    @staticmethod
    def insist(call, *arguments):
        """What a call gives that succeeds, when nothing is wrong. On a machine that has much else to do, a service may
        lose a lease and admit nobody for a moment."""
        end = now() + stack.TIMEOUT_S * 1_000_000_000
        while True:
            try:
                return call(*arguments)
            except Refused:
                if now() > end:
                    raise

    # Tasks.

    def payload(self, title):
        """(the number of a set that was not published yet, its folder)."""
        with self._lock:
            number = self._numbers[title] = self._numbers.get(title, 0) + 1
        folder = self.home / ("%s-%d" % (title, number))
        folder.mkdir()
        machine.write_files(folder, files(title, number))
        return number, folder

    def last(self, title):
        """The number of the last set that was made for a task of this title."""
        with self._lock:
            return self._numbers[title]

    def create(self, group):
        title = "%s-%s" % (group, uuid.uuid4().hex[:8])
        number, folder = self.payload(title)
        with self.history.operation(None, "create", number, title) as operation:
            made = self.json("task", "create", group, "--title", title, "--select", "group=" + group, "--payload",
                             folder)
            task = Task(made["task"]["name"].split("/")[1], title, group)
            operation.key = task.key
            with self._lock:
                self.tasks.append(task)
        return operation.acknowledged()

    def publish(self, task):
        number, folder = self.payload(task.title)
        with self.history.operation(task.key, "publish", number, task.title) as operation:
            operation.result = int(self.json("task", "publish", task.name, "--payload", folder)["revision"])

    def find(self, shown):
        """The Task of one that a list shows; its creation may never have been acknowledged."""
        name = shown["name"].split("/")[1]
        known = [task for task in self.tasks if task.name == name]
        return known[0] if known else Task(name, shown["title"], shown["selector"]["group"])

    def list(self):
        return self.insist(self.json, "task", "list")["tasks"]

    def change(self, task, kind):
        with self.history.operation(task.key, kind) as operation:
            self.json("task", kind, task.name)
        if operation.acknowledged():
            task.paused = kind == "pause"
            task.ended = kind == "abort"
        return operation.acknowledged()

    def read(self, task, at):
        with self.history.operation(task.key, "read", about=at) as operation:
            found = self.json("task", "get", task.name, at=at)
            operation.result = (found["state"], int(found["revision"]), int(found["payloadBytes"]) - SMALLEST_BYTES)

    # What is drawn.

    def _draw_task(self, random):
        with self._lock:
            open_tasks = [task for task in self.tasks if not task.ended]
        return random.choice(open_tasks) if open_tasks else None

    def step(self, random):
        getattr(self, "_do_" + random.choices([name for name, _ in STEPS], [weight for _, weight in STEPS])[0])(random)

    def _do_read(self, random):
        if task := self._draw_task(random):
            self.read(task, random.choice(cluster.TASKDS))

    def _do_publish(self, random):
        if task := self._draw_task(random):
            self.publish(task)

    def _do_create(self, random):
        if sum(not task.ended for task in self.tasks) < MOST_OPEN_TASKS:
            self.create(random.choice(GROUPS))

    def _do_pause(self, random):
        if task := self._draw_task(random):
            self.change(task, "resume" if task.paused else "pause")

    def _do_abort(self, random):
        if (task := self._draw_task(random)) and sum(not task.ended for task in self.tasks) > len(GROUPS):
            self.change(task, "abort")

    def _do_rotate(self, _):
        with self.history.operation(None, "rotate"):
            self.json("key", "rotate-root")

    def _do_read_credential(self, random):
        if self.credentials:
            key, at = random.choice(self.credentials), random.choice(cluster.KEYDS)
            with self.history.operation(key, "read", about=at) as operation:
                record = self.json("key", "get", key.split("/")[1], at=at)
                operation.result = ("revoked" if "revokeTime" in record else "good",)

    def _do_invitation(self, random):
        at, service = random.choice(cluster.ENROLLDS), "parley.enrol.v1.InvitationService/"
        kind = random.choice(("invite", "cancel", "read", "read")) if self.invitations else "invite"
        key = None if kind == "invite" else random.choice(self.invitations)
        name = {} if key is None else {"name": key.replace("invitation/", "invitations/")}
        with self.history.operation(key, kind, about=at) as operation:
            if kind == "invite":
                made = self.rpc(service + "CreateInvitation", {
                    "requestId": str(uuid.uuid4()), "kind": "KIND_USER", "userName": "bob",
                    "role": "ROLE_OPERATOR"}, at)
                operation.key = made["invitation"]["name"].replace("invitations/", "invitation/")
            elif kind == "cancel":
                self.rpc(service + "CancelInvitation", name, at)
            else:
                operation.result = (self.rpc(service + "GetInvitation", name, at)["state"],)
        if kind == "invite" and operation.acknowledged():
            self.invitations.append(operation.key)


class Revoker:
    """Issues credentials of which each is tried at every replica until some time after its revocation."""

    def __init__(self, office, prober):
        self._office, self._prober = office, prober

    def run(self, random, stop):
        while not stop.is_set():
            key, file = self._office.issue("admin", "revoked-" + uuid.uuid4().hex[:8])
            if key is None:
                stop.wait(random.uniform(0.1, 1))
                continue
            self._office.credentials.append(key)
            self._prober.begin(key, file)
            stop.wait(random.uniform(0.5, 3))
            while not self._office.revoke(key, random.choice(cluster.KEYDS)) and not stop.is_set():
                stop.wait(random.uniform(0.1, 1))
            # What is admitted afterwards is found in this time.
            stop.wait(random.uniform(1, 8))
            self._prober.end(key)


class Prober:
    """tests/robustness/prober.cc."""

    def __init__(self, servers, program, output):
        replicas = ["%s=%s@%s" % (name, name.split("-")[0], servers.address(name)) for name in cluster.SERVICES]
        self.output, self._lock = output, threading.Lock()
        with open(output, "wb") as file, open(output.with_suffix(".errors"), "wb") as errors:
            self._process = subprocess.Popen([*network.Network.at("probes"), program, *replicas],
                                             stdin=subprocess.PIPE, stdout=file, stderr=errors, text=True)

    def _write(self, line):
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def begin(self, key, file):
        self._write("+%s %s" % (key, file))

    def end(self, key):
        self._write("-" + key)

    def close(self):
        """Waits until the last try has ended."""
        self._process.stdin.close()
        code = self._process.wait(stack.TIMEOUT_S)
        if code != 0:
            raise AssertionError("prober: %d\n%s" % (code, self.output.with_suffix(".errors").read_text()))
