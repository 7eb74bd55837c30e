"""Invitations by e-mail, through a real SMTP server: what arrives, by which way, and what becomes of a refusal."""

import email
import email.policy
import json
import ssl
import subprocess
import unittest

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests import enrolment, stack

FROM = "parley@example.com"
PASSWORD = "a mail password"


class Inbox:
    """Takes all mail, but for one address."""

    def __init__(self):
        self.mails = []
        self.sessions = []

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address == "nobody@example.org":
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, session, envelope):
        self.mails.append((envelope.mail_from, envelope.rcpt_tos,
                           email.message_from_bytes(envelope.content, policy=email.policy.default)))
        self.sessions.append((session.ssl is not None, session.authenticated))
        return "250 OK"


class Server(Controller):
    """On a port of the system's choice."""

    def __init__(self, inbox, **options):
        host, port = stack.free_address().split(":")
        super().__init__(inbox, hostname=host, port=int(port), **options)

    @property
    def url(self):
        return "smtp://%s:%d" % (self.hostname, self.port)


class Mail(unittest.TestCase):

    def setUp(self):
        self.stack = self.enterContext(stack.Stack())
        self.alice = enrolment.Member(self.stack, "alice").found()
        self.inbox = Inbox()

    def serve(self, *options, **server):
        """Enrolld with a mail server."""
        controller = Server(self.inbox, **server)
        controller.start()
        self.addCleanup(controller.stop)
        self.stack.enrolld.stop()
        self.stack.start_enrolld("--smtp-url", controller.url, "--smtp-from", FROM, *options)

    def mail(self, name, state):
        """The mail's record, once it is in this state."""
        while True:
            listed = json.loads(self.stack.parley("--output", "json", "invite", "list", "--all", credential="admin"))
            mail = next(entry["mail"] for entry in listed["invitations"] if entry["name"] == name)
            if mail["state"] == state:
                return mail

    def invite(self, address):
        created = self.alice.parley("invite", "user", "bob", "--role", "operator", "--email", address)[0]
        return created["invitation"]["name"], created["link"]

    def test_link_arrives_and_enrols(self):
        self.serve("--smtp-tls", "off")
        name, link = self.invite("bob@example.org")
        self.mail(name, "STATE_SENT")
        (sender, recipients, mail), = self.inbox.mails
        self.assertEqual((sender, recipients), (FROM, ["bob@example.org"]))
        self.assertEqual(mail["To"], "bob@example.org")
        self.assertIn("alice invites you", mail["Subject"])
        plain, html = mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()
        pasted = next(line for line in plain.splitlines() if line.startswith("parley://"))
        self.assertEqual(pasted, link)
        self.assertIn(link, html)
        bob = enrolment.Member(self.stack, "bob")
        claimer, greeter = bob.claim(pasted), self.alice.greet(name.split("/")[1])
        enrolment.compare(greeter, claimer)
        claimer.until("enrolled")
        self.assertEqual([greeter.finish()[0], claimer.finish()[0]], [0, 0])

    def test_login_and_mail_go_over_tls_to_the_right_server_alone(self):
        certificate, key = self.stack.folder / "mail.pem", self.stack.folder / "mail.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", certificate, "-subj", "/CN=mail", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-days", "2"], check=True, capture_output=True)
        password = self.stack.folder / "mail.password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD + "\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        seen = []

        def authenticate(_server, _session, _envelope, _mechanism, data):
            seen.append((data.login, data.password))
            return AuthResult(success=data.password == PASSWORD.encode())

        login = ("--smtp-user", "parley", "--smtp-password-file", password)
        self.serve("--smtp-ca-file", certificate, *login, tls_context=context, require_starttls=True,
                   authenticator=authenticate, auth_required=True)
        name, _ = self.invite("bob@example.org")
        self.mail(name, "STATE_SENT")
        self.assertEqual(self.inbox.sessions, [(True, True)])
        self.assertEqual(seen, [(b"parley", PASSWORD.encode())])
        # Another certificate than the one that is trusted: nothing is said to it.
        self.stack.enrolld.stop()
        self.serve(*login, tls_context=context, require_starttls=True, authenticator=authenticate, auth_required=True)
        name, _ = self.invite("bob@example.org")
        self.assertIn("certificate", self.failed(name)["sentence"])
        # And none without TLS where it is demanded.
        self.serve(*login)
        name, _ = self.invite("bob@example.org")
        self.assertIn("STARTTLS", self.failed(name)["sentence"])
        self.assertEqual((len(self.inbox.mails), len(seen)), (1, 1))
        self.assertNotIn(PASSWORD, "".join(self.stack.enrolld.log))

    def failed(self, name):
        """The mail's record, after its first try."""
        while True:
            mail = self.mail(name, "STATE_QUEUED")
            if mail.get("tries", 0) > 0:
                return mail

    def test_refused_address_is_shown_to_the_inviter(self):
        self.serve("--smtp-tls", "off")
        name, _ = self.invite("nobody@example.org")
        self.assertIn("550", self.mail(name, "STATE_FAILED")["sentence"])

    def test_address_that_forges_a_header_is_refused(self):
        self.serve("--smtp-tls", "off")
        for address in ("bob@example.org\r\nBcc: eve@example.net", "bob@example.org,eve@example.net"):
            error = self.alice.parley("invite", "user", "bob", "--role", "operator", "--email", address, code=1)
            self.assertIn("EMAIL_MALFORMED", str(error))
        self.assertEqual(self.inbox.mails, [])

    def test_password_is_never_sent_in_the_clear(self):
        refused = subprocess.run(
            [stack.ENROLLD, "--data", self.stack.folder / "other", "--keyd-credential",
             self.stack.credentials / "enrolld.credential", "--smtp-url", "smtp://127.0.0.1:1", "--smtp-from", FROM,
             "--smtp-tls", "off", "--smtp-user", "parley", "--smtp-password-file", self.alice.password_file],
            capture_output=True, text=True, timeout=stack.TIMEOUT_S, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("would show the password", refused.stderr)


if __name__ == "__main__":
    unittest.main()
