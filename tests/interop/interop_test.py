"""Programs that know nothing of Parley on its real port: OpenSSL, GnuTLS, stunnel, grpcurl, Python's gRPC."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from tests import stack

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
TASK = {"request_id": "7b0c5a52-8a1f-4a51-9b5b-0d3b7e4f1a01", "title": "from grpcurl",
        "files": {"files": [{"path": "motd", "content": "aGVsbG8K"}]}}


class Interop(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.host, cls.port = cls.stack.taskd_address.split(":")
        # "identity:hex", the form that stunnel and GnuTLS read.
        cls.identity, cls.psk = (cls.stack.exported() / "psk.txt").read_text().strip().split(":")

    def run_program(self, *command, stdin=b"", code=0):
        result = subprocess.run([str(part) for part in command], input=stdin, capture_output=True, check=False,
                                timeout=stack.TIMEOUT_S)
        self.assertEqual(result.returncode, code, (result.stdout + result.stderr).decode(errors="replace"))
        return (result.stdout + result.stderr).decode(errors="replace")

    def grpcurl(self, *arguments, code=0):
        return self.run_program(stack.GRPCURL, *arguments, code=code)

    def certificates(self, credential="operator"):
        folder = self.stack.exported(credential)
        return ["-cacert", folder / "ca.pem", "-cert", folder / "client.pem", "-key", folder / "client.key"]

    def openssl(self, *arguments, psk=None, stdin=b""):
        """(everything printed, did the handshake complete). The client closes after it has sent `stdin`."""
        result = subprocess.run(
            ["openssl", "s_client", "-connect", self.stack.taskd_address, "-psk_identity", self.identity, "-psk",
             psk or self.psk, *arguments], input=stdin, capture_output=True, check=False, timeout=stack.TIMEOUT_S)
        text = (result.stdout + result.stderr).decode(errors="replace")
        return text, "Cipher is (NONE)" not in text and "alert" not in text

    def test_openssl_by_psk(self):
        text, connected = self.openssl("-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305", "-alpn", "h2")
        self.assertTrue(connected, text)
        self.assertIn("Cipher is ECDHE-PSK-CHACHA20-POLY1305", text)
        self.assertIn("X25519", text)
        self.assertIn("Extended master secret: yes", text)
        self.assertIn("ALPN protocol: h2", text)

    def test_openssl_with_a_wrong_key_is_refused(self):
        text, connected = self.openssl("-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305", psk="00" * 32)
        self.assertFalse(connected, text)

    def test_openssl_with_another_cipher_is_refused(self):
        for cipher in ("PSK-AES128-CBC-SHA", "ECDHE-PSK-AES128-CBC-SHA", "DHE-PSK-CHACHA20-POLY1305"):
            text, connected = self.openssl("-tls1_2", "-cipher", cipher + ":@SECLEVEL=0")
            self.assertFalse(connected, text)

    def test_gnutls_by_psk(self):
        client = stack.RUNFILES / "tests/interop/gnutls_client"
        text = self.run_program(client, self.host, self.port, self.identity, self.psk)
        self.assertIn("TLS1.2 ECDHE-PSK CHACHA20-POLY1305", text)
        self.assertIn("HTTP/2 settings", text)
        self.assertIn("handshake", self.run_program(client, self.host, self.port, self.identity, "00" * 32, code=1))

    def test_grpcurl_with_certificates(self):
        listed = self.grpcurl(*self.certificates(), self.stack.taskd_address, "list")
        self.assertIn("parley.task.v1.TaskService", listed)
        created = json.loads(self.grpcurl(*self.certificates(), "-d", json.dumps(TASK), self.stack.taskd_address,
                                          "parley.task.v1.TaskService/CreateTask"))
        self.assertEqual(created["task"]["state"], "STATE_OPEN")
        self.assertTrue(created["join_key"]["pasted"].startswith("prl1."))
        # The key that grpcurl printed is one that a client can use.
        into = self.stack.folder / "grpcurl-into"
        self.stack.parley("join", "--into", into, "--state", self.stack.folder / "state", "--name", "web-1",
                          stdin=created["join_key"]["pasted"] + "\n")
        self.assertEqual((into / "motd").read_text(), "hello\n")
        participants = json.loads(self.grpcurl(
            *self.certificates(), "-d", json.dumps({"parent": created["task"]["name"]}), self.stack.taskd_address,
            "parley.task.v1.TaskService/ListParticipants"))
        self.assertEqual(participants["participants"][0]["state"], "STATE_CONFIRMED")

    def test_grpcurl_without_a_certificate_is_refused(self):
        text = self.grpcurl("-cacert", self.stack.exported() / "ca.pem", "-max-time", "10", self.stack.taskd_address,
                            "list", code=1)
        self.assertNotIn("parley.task", text)

    def test_grpcurl_through_the_proxy(self):
        path = self.stack.folder / "proxy.sock"
        with self.stack.popen("proxy", "--socket", path) as proxy:
            try:
                self.assertIn(str(path), proxy.stdout.readline())
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                text = self.grpcurl("-plaintext", "-unix", path, "parley.task.v1.TaskService/ListTasks")
                self.assertIsInstance(json.loads(text), dict)
            finally:
                proxy.send_signal(signal.SIGTERM)
                proxy.communicate(timeout=stack.TIMEOUT_S)

    def test_grpcurl_through_stunnel(self):
        local = stack.free_address()
        with tempfile.TemporaryDirectory() as folder:
            secrets = pathlib.Path(folder) / "psk.txt"
            secrets.touch(mode=0o600)
            secrets.write_text("%s:%s\n" % (self.identity, self.psk))
            configuration = pathlib.Path(folder) / "stunnel.conf"
            configuration.write_text(
                "foreground = yes\npid =\n[parley]\nclient = yes\naccept = %s\nconnect = %s\n"
                "sslVersionMax = TLSv1.2\nciphers = ECDHE-PSK-CHACHA20-POLY1305\nPSKsecrets = %s\nPSKidentity = %s\n" %
                (local, self.stack.taskd_address, secrets, self.identity))
            with subprocess.Popen(["stunnel", configuration], stderr=subprocess.PIPE, text=True) as tunnel:
                try:
                    for line in tunnel.stderr:
                        if "Configuration successful" in line:
                            break
                    drain = threading.Thread(target=tunnel.stderr.read)
                    drain.start()
                    text = self.grpcurl("-plaintext", local, "parley.task.v1.TaskService/ListTasks")
                    self.assertIsInstance(json.loads(text), dict)
                finally:
                    tunnel.terminate()
                    drain.join()

    def test_python_stubs(self):
        folder = stack.python_stubs("parley/task/v1/task_service.proto")
        program = pathlib.Path(__file__).resolve().parent / "python_client.py"
        result = subprocess.run([stack.PYTHON, program, self.stack.taskd_address, self.stack.exported()],
                                env={"PYTHONPATH": folder, "PATH": os.environ["PATH"]}, capture_output=True, text=True,
                                timeout=stack.TIMEOUT_S, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertRegex(result.stdout, re.compile(r"created tasks/from-python-[a-z0-9]{4} STATE_OPEN"))

    def test_plain_text_is_refused(self):
        with socket.create_connection((self.host, int(self.port)), timeout=stack.TIMEOUT_S) as connection:
            connection.sendall(HTTP2_PREFACE)
            received = b""
            while True:
                try:
                    piece = connection.recv(4096)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                received += piece
        # At most a TLS alert: nothing of HTTP/2.
        self.assertLessEqual(len(received), 7)


if __name__ == "__main__":
    for peer in ("openssl", "stunnel"):
        if not any(os.access(os.path.join(folder, peer), os.X_OK) for folder in os.environ["PATH"].split(":")):
            sys.exit("%s is missing; run tools/install" % peer)
    unittest.main()
