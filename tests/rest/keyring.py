"""Keys of every role. For taskd and enrolld also of roles to which nobody gives one: made as docs/protocol/keys.md
says, from the audience's keys that keyd gives those services."""

import base64
import ssl
import time
import uuid

from tests import stack
from tests.vectors import make_keys_vectors as vectors

AUDIENCES = ("taskd", "keyd", "enrolld")
MINTING = ("taskd", "enrolld")
# Of those that keyd issues for itself.
ISSUED = ("admin", "operator", "auditor", "service", "device")
ROLES = {"admin": 1, "operator": 2, "auditor": 3, "service": 4, "device": 5, "joiner": 6, "member": 7, "invitee": 8}
LIFE_S = 3600


class Certificate:
    """ca.pem, client.pem and client.key as `parley credentials export` writes them."""

    def __init__(self, folder):
        self.ca, self.certificate, self.key = (folder / name for name in ("ca.pem", "client.pem", "client.key"))

    def context(self):
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["http/1.1"])
        return context


class Keyring:

    def __init__(self, services, audience_keys):
        """`audience_keys` is WatchAudienceKeys' answer as JSON, by audience."""
        self._stack = services
        self._keys = {}
        for audience, answer in audience_keys.items():
            keys = {epoch["epoch"]: base64.b64decode(epoch["key"]) for epoch in answer["epochs"]}
            self._keys[audience] = (answer["primaryEpoch"], keys[answer["primaryEpoch"]])

    def roles(self, audience):
        return list(ROLES) if audience in self._keys else ISSUED

    def mint(self, audience, role, subject="somebody", serial=None, not_after=None):
        """(identity, secret)."""
        epoch, key = self._keys[audience]
        return vectors.mint(key, epoch, ROLES[role], subject, serial or uuid.uuid4().bytes,
                            not_after or int(time.time()) + LIFE_S)

    def export(self, audience, identity, secret, not_after=None):
        """A certificate for a key of the audience."""
        name = uuid.uuid4().hex
        file = self._stack.credentials / (name + ".credential")
        address = getattr(self._stack, audience + "_address")
        line = vectors.credential_line(2, "somebody", bytes(16), not_after or int(time.time()) + LIFE_S,
                                       [(audience, address, identity, secret)],
                                       (self._stack.exported() / "ca.pem").read_text())
        file.touch(mode=0o600)
        file.write_text(line + "\n")
        return Certificate(self._stack.exported(name, audience))

    def certificate(self, audience, role, **claims):
        return self.export(audience, *self.mint(audience, role, **claims), claims.get("not_after"))
