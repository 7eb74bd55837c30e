"""Every RPC that the services' reflection shows, for every role: REST answers as gRPC does, field for field, and nobody
gets an answer from a handler who may not. Without a good key nothing answers at all."""

import contextlib
import json
import os
import pathlib
import socket
import ssl
import sys
import time
import unittest

from tests import stack

PYTHON = stack.TOOLS / "python"
if pathlib.Path(sys.prefix).resolve() != PYTHON.resolve():
    # That one has gRPC, which would write of every connection that is refused here.
    os.environ["GRPC_VERBOSITY"] = "NONE"
    os.execv(PYTHON / "bin/python", [PYTHON / "bin/python", *sys.argv])

from tests.rest import api, keyring, scene  # pylint: disable=wrong-import-position

# Both directions at once: not for HTTP/1.1.
CONVERSATIONS = {"Negotiate", "Exchange"}
# Without an end: their first reply is compared.
ENDLESS = {"WatchAudienceKeys", "WatchRevocations", "WatchDeviceLabels", "WatchCertificates", "WatchAssignments"}
# Others with every call, or by what goes on meanwhile.
VARYING = {"IssueServerCertificate": {"certificatePem", "expireTime"}, "ListAuditEvents": {"lastSequence"},
           "WatchRevocations": {"cursor"}}


def reason(answer):
    return answer["error"] and answer["error"]["details"][0]["reason"]


def received(address, context, sent):
    """All that comes back, until the server closes."""
    host, port = address.split(":")
    data = b""
    try:
        with socket.create_connection((host, int(port)), api.TIMEOUT_S) as tcp, \
                context.wrap_socket(tcp, server_hostname=host) as connection:
            connection.sendall(sent)
            while piece := connection.recv(4096):
                data += piece
    except (ssl.SSLError, ConnectionError):
        pass
    return data


class EveryRpc(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.scene = scene.Scene().__enter__()
        cls.addClassCleanup(cls.scene.__exit__, None, None, None)

    def test_has_a_request_here_and_a_route_unless_it_is_a_conversation(self):
        self.assertEqual(set(self.scene.requests("admin")), set(self.scene.rpcs))
        self.assertEqual({name for name, rpc in self.scene.rpcs.items() if not rpc.method}, CONVERSATIONS)
        self.assertEqual({name for name, rpc in self.scene.rpcs.items() if rpc.streams and rpc.uploads}, CONVERSATIONS)

    def test_answers_as_grpc_does_and_only_whom_it_may(self):
        connections = {key: api.connect(self.scene.address(key[0]), certificate)
                       for key, certificate in self.scene.certificates.items()}
        for name in self.scene.requests("admin"):
            for role in self.scene.keys.roles(self.scene.audience_of[name]):
                with self.subTest(rpc=name, role=role):
                    self.check(name, role, connections[self.scene.audience_of[name], role])
        for connection in connections.values():
            connection.close()

    def check(self, name, role, connection):
        rpc, audience = self.scene.rpcs[name], self.scene.audience_of[name]
        request, refusal = self.scene.requests(role)[name]
        if role not in rpc.roles:
            refusal = "ROLE_NOT_ALLOWED"
        elif name in CONVERSATIONS:
            return
        at_most = 1 if name in ENDLESS else None
        answer = rpc.by_grpc(self.scene.channels[audience, role], request, at_most)
        self.assertEqual(reason(answer), refusal, answer)
        if refusal is None:
            self.assertTrue(answer["replies"])
            self.scene.replies[name, role] = answer["replies"][0]
        if name in CONVERSATIONS:
            return
        over_rest = rpc.by_rest(connection, request, at_most)
        for reply in answer["replies"] + over_rest["replies"]:
            for field in VARYING.get(name, ()):
                reply[field] = type(reply[field]).__name__
        self.assertEqual(over_rest, answer)

    def expired_certificates(self):
        """By audience. What was open with them has been closed when they expired."""
        certificates = {audience: self.scene.certificate(audience, "admin", seconds=4)
                        for audience in keyring.AUDIENCES}
        connections = [api.connect(self.scene.address(audience), certificate)
                       for audience, certificate in certificates.items()]
        for connection in connections:
            self.assert_serves(connection)
        for connection in connections:
            self.assert_closes(connection)
        return certificates

    def bad_certificates(self, audience):
        """By what is wrong with them."""
        credential = self.scene.issue("admin", "mallory")
        revoked = keyring.Certificate(self.scene.stack.exported(credential, audience))
        identity = (revoked.key.parent / "psk.txt").read_text().split(":")[0]
        self.revoke(credential, api.connect(self.scene.address(audience), revoked))
        return {"wrong": self.scene.keys.export(audience, identity, bytes(32)), "revoked": revoked}

    def revoke(self, credential, connection):
        """Ends when the service has closed what was open with the credential."""
        self.assert_serves(connection)
        shown = json.loads(self.scene.stack.parley("credentials", "show", "--output", "json", credential=credential))
        self.scene.stack.parley("key", "revoke", shown["serial"], credential="admin")
        self.assert_closes(connection)

    def assert_serves(self, connection):
        connection.request("GET", "/openapi.json")
        self.assertEqual(connection.getresponse().read()[:1], b"{")

    def assert_closes(self, connection):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            self.assertEqual(connection.sock.recv(1), b"")
        connection.close()

    def test_is_answered_by_nobody_without_a_good_key(self):
        for audience, expired in self.expired_certificates().items():
            ca = (self.scene.stack.exported() / "ca.pem").read_bytes()
            nobody = ssl.create_default_context(cadata=ca.decode())
            nobody.set_alpn_protocols(["http/1.1"])
            callers = {"no": (nobody, api.channel_of_nobody(self.scene.address(audience), ca))}
            for wrong, certificate in {"expired": expired, **self.bad_certificates(audience)}.items():
                callers[wrong] = (certificate.context(), api.channel(self.scene.address(audience), certificate))
            for name, rpc in self.scene.rpcs.items():
                if self.scene.audience_of[name] != audience:
                    continue
                request, _ = self.scene.requests("admin")[name]
                for wrong, (context, channel) in callers.items():
                    with self.subTest(rpc=name, key=wrong):
                        answer = rpc.by_grpc(channel, request)
                        self.assertEqual((answer["replies"], answer["error"]["code"]), ([], api.UNAVAILABLE), answer)
                        self.assertEqual(answer["error"]["details"], [])
                        self.assertEqual(received(self.scene.address(audience), context, rpc.http_bytes(request)), b"")
            for _, channel in callers.values():
                channel.close()


if __name__ == "__main__":
    unittest.main()
