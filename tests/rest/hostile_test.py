"""Hostile bytes behind a good key, on the ports of real services: they get a 4xx, nothing that is hidden in them
happens, and the service goes on serving."""

import json
import re
import socket
import ssl
import unittest
import uuid

from tests import stack

JSON = "Content-Type: application/json\r\n"
AUDIENCES = ("taskd", "keyd", "enrolld")
# More than the services have threads for REST.
SLOW = 50


def post(path, fields, body=b""):
    return ("POST %s HTTP/1.1\r\nHost: h\r\n%s\r\n" % (path, fields)).encode() + body


def with_body(path, body):
    return post(path, JSON + "Content-Length: %d\r\n" % len(body), body)


class Hostile(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.contexts = {}
        for audience in AUDIENCES:
            folder = cls.stack.exported("admin", audience)
            cls.contexts[audience] = context = ssl.create_default_context(cafile=folder / "ca.pem")
            context.load_cert_chain(folder / "client.pem", folder / "client.key")
            context.set_alpn_protocols(["http/1.1"])

    def connect(self, audience):
        host, port = getattr(self.stack, audience + "_address").split(":")
        tcp = socket.create_connection((host, int(port)), stack.TIMEOUT_S)
        return self.contexts[audience].wrap_socket(tcp, server_hostname=host)

    @staticmethod
    def read(connection):
        data = b""
        while piece := connection.recv(1 << 16):
            data += piece
        return data

    def said(self, audience, sent):
        """All that comes back until the server closes. It may stop reading first."""
        with self.connect(audience) as connection:
            try:
                connection.sendall(sent)
            except (ssl.SSLError, ConnectionError):
                pass
            return self.read(connection)

    def assert_serves(self, audience):
        self.assertTrue(self.said(audience, b"GET /openapi.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                        .startswith(b"HTTP/1.1 200 "))

    def assert_refused(self, audience, sent):
        answer = self.said(audience, sent)
        self.assertRegex(answer, rb"^HTTP/1\.1 (4\d\d|505) ")
        self.assertEqual(len(re.findall(rb"HTTP/1\.1 \d", answer)), 1, answer)
        status = json.loads(answer.partition(b"\r\n\r\n")[2])
        self.assertTrue(status["message"] and status["details"][0]["reason"], status)

    def test_nothing_is_smuggled(self):
        created = self.said("taskd", with_body("/v1/tasks", json.dumps({
            "requestId": str(uuid.uuid4()), "title": "victim",
            "files": {"files": [{"path": "motd", "content": "aGVsbG8K"}]}}).encode()
        ).replace(b"Host: h\r\n", b"Host: h\r\nConnection: close\r\n"))
        task = json.loads(created.partition(b"\r\n\r\n")[2])["task"]["name"]
        hidden = with_body("/v1/%s:abort" % task, b"{}")
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
        for fields, body in (
                ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + hidden),
                ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + hidden),
                ("Content-Length: 2\r\nContent-Length: %d\r\n" % (2 + len(hidden)), b"{}" + hidden),
                ("Content-Length: 2, %d\r\n" % (2 + len(hidden)), b"{}" + hidden),
                ("Content-Length: 2\r\nTransfer-Encoding:\r\n chunked\r\n", b"{}" + hidden),
                ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n" + hidden),
                ("Transfer-Encoding: xchunked\r\n", chunk),
                ("Transfer-Encoding : chunked\r\n", chunk),
                ("X: 1\nTransfer-Encoding: chunked\r\n", chunk),
                ("X: 1\rContent-Length: 2\r\n", b"{}" + hidden),
                ("Transfer-Encoding: chunked\r\n", b"0x2\r\n{}\r\n0\r\n\r\n" + hidden),
                ("Transfer-Encoding: chunked\r\n", b"2\r\n{}" + hidden)):
            with self.subTest(fields=fields):
                self.assert_refused("taskd", post("/v1/tasks", JSON + fields, body))
        shown = json.loads(self.stack.parley("task", "get", task, "--output", "json"))
        self.assertEqual(shown["state"], "STATE_OPEN")

    def test_what_is_too_much_or_nonsense_is_refused(self):
        deep = b"[" * 100_000
        for audience, path in (("taskd", "/v1/tasks"), ("keyd", "/v1/credentials"), ("enrolld", "/v1/invitations")):
            for name, sent in {
                    "100,000 headers": post(path, "".join("X-%d: 1\r\n" % i for i in range(100_000))),
                    "a header of 1 MiB": post(path, "X: %s\r\n" % ("x" * (1 << 20))),
                    "a body of 10 GB": post(path, JSON + "Content-Length: 10000000000\r\n", b"{}"),
                    "bad UTF-8": with_body(path, b'{"requestId":"\xff\xfe"}'),
                    "a surrogate": with_body(path, b'{"requestId":"\xed\xa0\x80"}'),
                    "half a surrogate": with_body(path, b'{"requestId":"\\ud800"}'),
                    "deep JSON": with_body(path, b'{"ttl":' + deep),
                    "deep unknown JSON": with_body(path, b'{"x":' + deep),
                    "a large duration": with_body(path, b'{"ttl":"99999999999999s"}'),
                    "a float's infinity": with_body(path, b'{"ttl":1e999}'),
                    "a large number": ("GET %s?pageSize=2147483648 HTTP/1.1\r\nHost: h\r\n\r\n" % path).encode(),
                    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n"}.items():
                with self.subTest(audience=audience, what=name):
                    # What fails in the body leaves the connection open.
                    sent = sent.replace(b"Host: h\r\n", b"Host: h\r\nConnection: close\r\n")
                    self.assert_refused(audience, sent)
            self.assert_serves(audience)

    def test_many_who_are_slow_keep_nobody_waiting(self):
        slow = [self.connect(audience) for audience in AUDIENCES for _ in range(SLOW)]
        for connection in slow:
            connection.sendall(b"GET /v1/ta")
        for audience in AUDIENCES:
            for _ in range(SLOW):
                self.assert_serves(audience)
        for connection in slow:
            self.assertTrue(self.read(connection).startswith(b"HTTP/1.1 408 "))
            connection.close()


if __name__ == "__main__":
    unittest.main()
