"""An operator at work: creates, publishes, pauses, aborts, reads, issues, revokes, invites, cancels and rotates, at
random, and writes down what was asked and answered.

A set says by its size which one it is: the set of number n has SMALLEST_BYTES + n bytes, so that whoever reads a task
knows which set it has. Threads: an Office may be used by several threads at once.
"""

import dataclasses
import json
import random as randomness
import subprocess
import threading
import uuid

from tests import stack
from tests.faults import machine
from tests.robustness import cluster, network, people
from tests.robustness.history import Refused, now

GROUPS = ("red", "green", "blue", "gold")
# A command that hangs is ended, and nobody knows what became of it.
COMMAND_S = 90
SMALLEST_BYTES = 3000
MOST_OPEN_TASKS = 8
# Of the invitations that are read and canceled: the newest, as something happens to these.
LAST_INVITATIONS = 6
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


@dataclasses.dataclass(frozen=True)
class Invitation:
    key: str
    link: str

    def id(self):
        return self.key.split("/")[1]


class Office:

    def __init__(self, servers, history):
        self.cluster, self.history = servers, history
        self.home = servers.home
        self._lock = threading.Lock()
        self._numbers = {}
        self.tasks, self.credentials, self.invitations = [], [], []
        # The first admin of the chain of trust, who invites and greets.
        self.alice = people.Person(servers, "alice")
        # The file of an admin's credential, and the folder of its certificates, and alice's for enrolld.
        self._credential = self._exported = None

    # Commands.

    def _command(self, *arguments, place=cluster.OFFICE):
        return [*network.Network.at(place), "env", "HOME=%s" % self.home,
                "XDG_CONFIG_HOME=%s/.config" % self.home, "NO_COLOR=1", "PARLEY_CREDENTIAL=%s" % self._credential,
                stack.PARLEY.absolute(), *map(str, arguments)]

    def popen(self, *arguments, **options):
        return subprocess.Popen(self._command(*arguments, place="probes"), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd=self.home, **options)

    def parley(self, *arguments, place=cluster.OFFICE):
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
        """A call by grpcurl, in JSON with the names of the protos, at one replica: its answer alone is waited for."""
        folder = self._exported / at.split("-")[0]
        return json.loads(self._run([
            *network.Network.at(cluster.OFFICE), stack.GRPCURL, "-max-time", "30", "-cacert", folder / "ca.pem",
            "-cert", folder / "client.pem", "-key", folder / "client.key", "-d", json.dumps(request),
            self.cluster.address(at), method]))

    def open(self):
        """What the work needs, while nothing is wrong yet."""
        self.alice.found()
        self._use(self.cluster.credentials / "admin.credential")

    def _use(self, credential):
        exported = self.home / ("exported-" + uuid.uuid4().hex)
        exported.mkdir()
        for audience in cluster.PORTS:
            export = ["credentials", "export", "--audience", audience, "--out", exported / audience]
            if audience == "enrolld":
                self.alice.say(*export)
            else:
                self.parley(*export, "--credential", credential)
        self._credential, self._exported = credential, exported

    # Keys.

    def issue(self, role, subject, *options, name=None):
        """(the key of the credential in the history, its file)."""
        file = self.cluster.credentials / ((name or subject) + ".credential")
        with self.history.operation(None, "issue") as operation:
            record = self.json("key", "issue", "--role", role, "--subject", subject, *options, "--out", file)
            operation.key = "credential/" + record["name"].split("/")[1]
            operation.result = record["epoch"]
        return operation.key, file

    def revoke(self, key, at):
        """A credential, or a join key."""
        kind, name = key.split("/", 1)
        with self.history.operation(key, "revoke", about=at) as operation:
            if kind == "credential":
                self.rpc("parley.key.v1.KeyService/RevokeCredential", {"name": "credentials/" + name}, at)
            else:
                self.rpc("parley.task.v1.TaskService/RevokeJoinKey", {"name": self._name_of(key)}, at)
        return operation.acknowledged()

    def rotate(self, at, retire_before=None):
        """The operation, whose result is the new epoch."""
        retire = ["--retire-before", retire_before, "--yes"] if retire_before else []
        with self.history.operation("roots", "retire" if retire else "rotate", retire_before, at) as operation:
            operation.result = self.json("key", "rotate-root", *retire, at=at)["primaryEpoch"]
        return operation

    def renew(self):
        """From now on the operators work with keys of the root that is primary now, or a newer one. Whether all of that
        succeeded."""
        try:
            key, file = self.issue("admin", "admin", name="admin-" + uuid.uuid4().hex)
            if key is not None:
                self.alice.say("device", "renew")
                self._use(file)
            return key is not None
        except Refused:
            return False

    def read_credential(self, key, at):
        with self.history.operation(key, "read", about=at) as operation:
            record = self.json("key", "get", key.split("/")[1], at=at)
            operation.argument = (record["epoch"], record.get("retired", False))
            operation.result = ("revoked" if "revokeTime" in record else "good",)

    # Join keys.

    @staticmethod
    def _name_of(key):
        _, task, serial = key.split("/")
        return "tasks/%s/joinKeys/%s" % (task, serial)

    def make_join_key(self, random, most, at):
        """(its key in the history, the file with what a client pastes); None when there is none."""
        task = self._draw_task(random)
        if task is None:
            return None
        with self.history.operation(None, "make", most, at) as operation:
            made = self.rpc("parley.task.v1.TaskService/CreateJoinKey", {
                "requestId": str(uuid.uuid4()), "parent": "tasks/" + task.name, "maxMembers": most}, at)
            _, _, _, serial = made["join_key"]["name"].split("/")
            operation.key = "join_key/%s/%s" % (task.name, serial)
        if not operation.acknowledged():
            return None
        file = self.home / (serial + ".join")
        file.touch(mode=0o600)
        file.write_text(made["pasted"])
        return operation.key, file

    def read_join_key(self, key, at):
        name = self._name_of(key)
        with self.history.operation(key, "read", about=at) as operation:
            listed = self.rpc("parley.task.v1.TaskService/ListJoinKeys", {
                "parent": name.split("/joinKeys/")[0], "pageSize": 1000}, at)
            shown = [each for each in listed["join_keys"] if each["name"] == name]
            operation.result = (shown[0]["max_members"], shown[0].get("members", 0),
                                "revoked" if "revoke_time" in shown[0] else "good") if shown else ()

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

    def _do_rotate(self, random):
        self.rotate(random.choice(cluster.KEYDS))

    def _do_read_credential(self, random):
        if self.credentials:
            self.read_credential(random.choice(self.credentials), random.choice(cluster.KEYDS))

    def _do_invitation(self, random):
        at = random.choice(cluster.ENROLLDS)
        kind = random.choice(("invite", "cancel", "read", "read")) if self.invitations else "invite"
        if kind == "invite":
            self.invite(random, at)
            return
        invitation = random.choice(self.invitations[-LAST_INVITATIONS:])
        if kind == "cancel":
            self.cancel(invitation, at)
        else:
            self.read_invitation(invitation, at)

    # Invitations.

    def _invitations(self, method, request, at):
        return self.rpc("parley.enrol.v1.InvitationService/" + method, request, at)

    def invite(self, random, at):
        """An Invitation of somebody new, a machine, or another device of alice's; None when there is none."""
        request = {"requestId": str(uuid.uuid4()), "kind": "KIND_DEVICE"}
        if random.random() < 0.7:
            request |= {"kind": "KIND_USER", "userName": "user-" + uuid.uuid4().hex[:8],
                        "role": random.choice(("ROLE_OPERATOR", "ROLE_AUDITOR", "ROLE_DEVICE"))}
        user = request.get("userName", self.alice.name)
        with self.history.operation(None, "invite", user, at) as operation:
            made = self._invitations("CreateInvitation", request, at)
            operation.key = made["invitation"]["name"].replace("invitations/", "invitation/")
        if not operation.acknowledged():
            return None
        invitation = Invitation(operation.key, made["link"])
        self.invitations.append(invitation)
        return invitation

    def cancel(self, invitation, at):
        with self.history.operation(invitation.key, "cancel", about=at) as operation:
            operation.result = self._invitations("CancelInvitation", {"name": "invitations/" + invitation.id()},
                                                 at)["state"]

    def read_invitation(self, invitation, at):
        with self.history.operation(invitation.key, "read", about=at) as operation:
            operation.result = (self._invitations("GetInvitation", {"name": "invitations/" + invitation.id()},
                                                  at)["state"],)
