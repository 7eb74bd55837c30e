"""A stack with something in it to ask about, a key of every role for every service, and a request for every RPC."""

import base64
import contextlib
import hashlib
import queue
import time
import uuid

from google.protobuf import descriptor_pool, json_format, message_factory

from tests import enrolment, stack
from tests.rest import api, keyring
from tests.vectors import make_keys_vectors as vectors

LABELS, FACTS = {"site": "berlin"}, {"os": "debian"}
NOWHERE = "00000000000000000000000000000000"
HELLO = b"hello\n"
# A zstd frame with one raw block.
HELLO_ZSTD = bytes.fromhex("28b52ffd2006310000") + HELLO


def text(data):
    return base64.b64encode(data).decode()


def files(content=HELLO):
    return {"files": [{"path": "motd", "content": text(content)}]}


def request_id(*names):
    """The same one for the same names."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(names)))


def message_type(name):
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


class Negotiation:
    """A client of a task up to CHECKING, so that it may fetch and confirm."""

    def __init__(self, channel, task):
        self._task, self._sequence, self._version, self.attempt = task, 0, 0, 0
        self._type = message_type("parley.task.v1.NegotiateRequest")
        self._requests = queue.Queue()
        rpc = channel.stream_stream("/parley.task.v1.ParticipationService/Negotiate", self._type.SerializeToString,
                                    message_type("parley.task.v1.NegotiateResponse").FromString)
        self._responses = rpc(iter(self._requests.get, None))
        offered = self._say(declare={"free_bytes": 1 << 30, "encodings": ["zstd"]})
        self.manifest = message_type("parley.task.v1.Manifest").FromString(offered.offer.manifest.manifest)
        self._say(accept={})
        for state in ("TRANSFERRING", "STAGED", "APPLYING", "CHECKING"):
            self._say(progress={"state": "STATE_" + state})

    def _say(self, **said):
        self._sequence += 1
        self._requests.put(self._type(task=self._task, attempt=self.attempt, sequence=self._sequence,
                                      expected_version=self._version, **said))
        for response in self._responses:
            if response.sequence == self._sequence:
                self.attempt, self._version = response.attempt, response.version
                return response
        raise AssertionError("the stream has ended")

    def end(self):
        self._requests.put(None)


class Scene:
    """A context manager. Requests are those of protobuf's JSON; keys and channels go by (audience, role)."""

    def __init__(self):
        self.certificates, self.channels, self.rpcs, self.audience_of = {}, {}, {}, {}
        # First reply by (RPC, role), as the test has got it.
        self.replies = {}

    def __enter__(self):
        with contextlib.ExitStack() as self._exits:
            self._set_up()
            self._exits = self._exits.pop_all()
        return self

    def __exit__(self, *error):
        return self._exits.__exit__(*error)

    def _set_up(self):
        self.stack = self._exits.enter_context(stack.Stack())
        self.keys = keyring.Keyring(self.stack, {audience: self._audience_keys(audience)
                                                 for audience in keyring.MINTING})
        for audience in keyring.AUDIENCES:
            for role in self.keys.roles(audience):
                self._use(audience, role, self.certificate(audience, role))
        self._found()
        for audience in keyring.AUDIENCES:
            for rpc in api.reflected(self.channels[audience, "admin"]):
                self.rpcs[rpc.short_name], self.audience_of[rpc.short_name] = rpc, audience
        self._set_up_tasks()

    def certificate(self, audience, role, seconds=keyring.LIFE_S):
        """A new key's."""
        # keyd answers a service by its name.
        subject = "taskd" if role == "service" else "some-" + role
        if audience in keyring.MINTING:
            return self.keys.certificate(audience, role, subject=subject, not_after=int(time.time()) + seconds)
        return keyring.Certificate(self.stack.exported(self.issue(role, subject, seconds), audience))

    def address(self, audience):
        return getattr(self.stack, audience + "_address")

    def issue(self, role, subject, seconds=keyring.LIFE_S):
        """The name of the credential."""
        name = uuid.uuid4().hex
        self.stack.issue(role, subject, "--ttl", "%ds" % seconds, name=name)
        return name

    def _audience_keys(self, audience):
        certificate = keyring.Certificate(self.stack.exported(self.issue("service", audience), "keyd"))
        with api.channel(self.stack.keyd_address, certificate) as channel:
            rpc = next(rpc for rpc in api.reflected(channel) if rpc.short_name == "WatchAudienceKeys")
            return rpc.by_grpc(channel, {}, at_most=1)["replies"][0]

    def _use(self, audience, role, certificate):
        self.certificates[audience, role] = certificate
        self.channels[audience, role] = self._exits.enter_context(api.channel(self.address(audience), certificate))

    def _found(self):
        """From now on keyd's admin is a device of the organisation."""
        alice, folder = enrolment.Member(self.stack, "alice").found(), self.stack.folder / "exported-alice"
        alice.parley("credentials", "export", "--audience", "keyd", "--out", folder)
        self._use("keyd", "admin", keyring.Certificate(folder))

    def _call(self, name, role, request):
        answer = self.rpcs[name].by_grpc(self.channels[self.audience_of[name], role], request)
        if answer["error"]:
            raise AssertionError((name, answer))
        return answer["replies"][0]

    def _set_up_tasks(self):
        """`open` has a client that checks, `steered` one that has joined; `ended` was aborted."""
        self.tasks, created = {}, {}
        for name in ("open", "steered", "ended"):
            created[name] = self._call("CreateTask", "operator", {
                "requestId": request_id("set up", name), "title": name, "taskId": name + "-task", "files": files(),
                "selector": LABELS if name == "open" else {}})
            self.tasks[name] = created[name]["task"]["name"]
        self._call("LabelDevice", "admin", {"name": "deviceLabels/some-device", "set": LABELS})
        # Once taskd has heard of it.
        self.rpcs["WatchAssignments"].by_grpc(self.channels["taskd", "device"], {}, at_most=1)
        self._call("AbortTask", "operator", {"name": self.tasks["ended"]})
        self.join_key = created["steered"]["joinKey"]["joinKey"]["name"]
        for name in ("steered", "open"):
            # A key with the claims of the join key is the join key.
            record = created[name]["joinKey"]["joinKey"]
            key = json_format.ParseDict(record, message_type("parley.task.v1.JoinKey")())
            self._use("taskd", "joiner", self.keys.certificate(
                "taskd", "joiner", subject=self.tasks[name].split("/")[1],
                serial=bytes.fromhex(key.name.split("/")[-1]), not_after=key.expire_time.seconds))
            joined = self._call("Join", "joiner", {"client": "web-1", "nonce": text(bytes(32))})
        self._use("taskd", "member", self.keys.export("taskd", joined["identity"],
                                                      base64.b64decode(joined["secret"])))
        # Confirm has to come over another connection.
        channel = self._exits.enter_context(api.channel(self.stack.taskd_address, self.certificates["taskd", "member"],
                                                        ("grpc.use_local_subchannel_pool", 1)))
        self._negotiation = Negotiation(channel, self.tasks["open"])
        self._exits.callback(self._negotiation.end)

    def requests(self, role):
        """Of a role, to every RPC in the order in which they are to be called: (request, reason of its refusal; None
        when it is answered)."""
        return {**self._to_taskd(role), **self._to_keyd(role), **self._to_enrolld(role)}

    def _to_taskd(self, role):
        open_task, steered, ended = self.tasks["open"], self.tasks["steered"], self.tasks["ended"]
        chunk = text(self._negotiation.manifest.files[0].chunks[0])
        device = role == "device"
        return {
            "CreateTask": ({"requestId": request_id("task", role), "title": role, "files": files(), "ttl": "3600s",
                            "selector": {"role": role}, "maxDeferrals": 0, "leases": {"answer": "3600s"}}, None),
            "PublishRevision": ({"requestId": request_id("publish", role), "name": steered,
                                 "files": files(role.encode())}, None),
            "ListRevisions": ({"parent": steered, "pageSize": 2}, None),
            "GetRevision": ({"name": open_task + "/revisions/1"}, None),
            "GetTask": ({"name": open_task}, None),
            "ListTasks": ({"pageSize": 2, "states": ["STATE_OPEN", "STATE_ABORTED"]}, None),
            "PauseTask": ({"name": steered}, None),
            "ResumeTask": ({"name": open_task}, None),
            "AdvanceTask": ({"name": steered}, "NO_ROLLOUT"),
            "AbortTask": ({"name": ended, "reason": "not needed"}, None),
            # One that can be deleted is gone the second time.
            "DeleteTask": ({"name": open_task}, "TASK_NOT_ENDED"),
            "WatchTask": ({"name": ended, "cursor": "0"}, None),
            "CreateJoinKey": ({"requestId": request_id("key", role), "parent": open_task, "ttl": "3600s",
                               "maxMembers": 1}, None),
            "ListJoinKeys": ({"parent": steered, "pageSize": 1}, None),
            "RevokeJoinKey": ({"name": self.join_key}, None),
            "ListParticipants": ({"parent": open_task, "states": ["STATE_CHECKING", "STATE_JOINED"]}, None),
            "GetParticipant": ({"name": open_task + "/participants/web-1"}, None),
            "ExplainParticipant": ({"name": open_task + "/participants/web-1"}, None),
            "RevokeParticipant": ({"name": steered + "/participants/web-1", "reason": "lost"}, None),
            "RetryClients": ({"name": open_task, "clients": ["web-1"]}, None),
            # Of a credential that was revoked it would answer once; of another one after seconds.
            "AwaitEndedKeys": ({"credentials": ["tasks/1"]}, "CREDENTIAL_NAME"),
            "FindMissingChunks": ({"digests": [chunk, text(bytes(32))]}, None),
            "UploadChunks": ({"digest": text(hashlib.sha256(HELLO).digest()), "zstd": text(HELLO_ZSTD)}, None),
            "FetchChunks": ({"task": open_task, "revision": "1", "chunks": [{"digest": chunk, "offset": "1"}]}, None),
            "FetchRevisionChunks": ({"name": open_task + "/revisions/1", "chunks": [{"digest": chunk}]}, None),
            "Join": ({"client": "some-device" if device else "web-1", "nonce": text(bytes(32)),
                      **({"task": open_task, "facts": FACTS} if device else {})}, None),
            "Negotiate": ({"task": open_task}, None),
            "Confirm": ({"task": open_task, "attempt": self._negotiation.attempt,
                         "installedDigest": text(self._negotiation.manifest.digest)}, None),
            "WatchAssignments": ({"facts": FACTS}, None),
        }

    def _to_keyd(self, role):
        issued = self.replies.get(("IssueCredential", "admin"), {"record": {"name": "credentials/" + NOWHERE}})
        return {
            "IssueCredential": ({"requestId": request_id("credential", role), "role": "ROLE_DEVICE",
                                 "subject": "web-1", "ttl": "3600s", "labels": LABELS}, None),
            "GetCredential": ({"name": issued["record"]["name"]}, None),
            "ListCredentials": ({"pageSize": 2}, None),
            "LabelDevice": ({"name": "deviceLabels/web-1", "set": {"role": "web"}, "remove": ["site"]}, None),
            "RevokeCredential": ({"name": issued["record"]["name"], "reason": "lost"}, None),
            # A rotation that succeeds makes another epoch each time.
            "RotateRoot": ({"retireBefore": 1000}, "RETIRE_BEFORE"),
            "WatchAudienceKeys": ({}, None),
            "WatchRevocations": ({"cursor": "0"}, None),
            "WatchDeviceLabels": ({}, None),
            # It leaves at once, as revocations would wait for it.
            "KeepReplica": ({"replica": request_id("replica", role), "lease": "60s", "leaving": True}, None),
            "IssueServerCertificate": ({"publicKey": text(vectors.p256_public_key(bytes(32))),
                                        "names": ["localhost"]}, None),
            "AppendAuditEvents": ({"events": [{"id": request_id("event", role), "service": "taskd",
                                               "time": "2026-11-22T23:10:00.5Z", "action": "a", "outcome": "ok"}]},
                                  None),
            "ListAuditEvents": ({"afterSequence": "1", "pageSize": 2}, None),
            "FoundOrganisation": ({"requestId": request_id("found", role)}, "CERTIFICATES"),
            "Enrol": ({"requestId": request_id("enrol", role)}, "CERTIFICATES"),
            "AppendCertificates": ({"reason": "none"}, "CERTIFICATES"),
            "RenewCredential": ({"requestId": request_id("renew", role)}, None if role == "admin" else
                                "DEVICE_UNKNOWN"),
            "ListCertificates": ({"afterSequence": "0", "pageSize": 1}, None),
            "WatchCertificates": ({"afterSequence": "1"}, None),
        }

    def _to_enrolld(self, role):
        user = {"kind": "KIND_USER", "userName": "bob", "role": "ROLE_OPERATOR"}
        created = self.replies.get(("CreateInvitation", role), {"invitation": {"name": "invitations/" + NOWHERE}})
        name = created["invitation"]["name"]
        return {
            "CreateInvitation": ({"requestId": request_id("invitation", role), "ttl": "3600s",
                                  **(user if role == "admin" else {"kind": "KIND_DEVICE"})}, None),
            "GetInvitation": ({"name": name}, None),
            "ListInvitations": ({"pageSize": 1, "states": ["STATE_PENDING"]}, None),
            "AwaitEndedInvitations": ({}, "CREDENTIALS"),
            "ResendInvitation": ({"requestId": request_id("resend", role), "name": name},
                                 None),
            "CancelInvitation": ({"name": name, "reason": "not needed"}, None),
            "Exchange": ({"hello": {"invitation": "invitations/" + NOWHERE}}, None),
        }
