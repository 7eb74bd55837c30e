#!/usr/bin/env python3
"""Makes tests/vectors/sas.json from docs/protocol/sas.md alone.

It shares nothing with the C++ code: every primitive is in make_keys_vectors.py, here, or in Python's standard
library, and is checked against its RFC before anything is written. Not constant-time: for test vectors only.

    tests/vectors/make_sas_vectors.py > tests/vectors/sas.json
"""

import hashlib
import hmac
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import make_keys_vectors  # noqa: E402
from make_keys_vectors import gcm_siv_seal, hkdf, made  # noqa: E402

# --- X25519, RFC 7748 section 5 --------------------------------------------------------------------------------------

P = 2**255 - 19


def x25519(private, point):
    k = int.from_bytes(private, "little")
    k = (k & ~7 & ~(128 << 248)) | (64 << 248)
    u = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE = bytes([9]) + bytes(31)

# --- docs/protocol/sas.md --------------------------------------------------------------------------------------------

GREETER, CLAIMER = 1, 2
USER, DEVICE = 1, 2
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


class Context:
    def __init__(self, organisation, invitation, attempt, kind):
        self.organisation, self.invitation = organisation.encode(), invitation.encode()
        self.attempt, self.kind = attempt, kind

    def encode(self):
        data = b"parley sas" + bytes([1, self.kind]) + self.attempt.to_bytes(4, "big")
        for name in (self.organisation, self.invitation):
            data += bytes([len(name)]) + name
        return data

    def header(self, sender, step, version=1):
        return (
            bytes([version, self.kind, sender, step])
            + self.attempt.to_bytes(4, "big")
            + sha256(self.organisation)[:16]
            + sha256(self.invitation)[:16]
        )


def letters(code):
    return "".join(ALPHABET[code >> shift & 31] for shift in (15, 10, 5, 0))


class Run:
    """One exchange, both sides at once."""

    def __init__(self, label, context, payloads):
        self.context = context
        self.transcript = sha256(context.encode())
        self.transcripts, self.messages = [self.transcript], []
        self.private = {role: made(f"{label} private {role}", 32) for role in (GREETER, CLAIMER)}
        self.nonce = {role: made(f"{label} nonce {role}", 32) for role in (GREETER, CLAIMER)}
        self.public = {role: x25519(self.private[role], BASE) for role in (GREETER, CLAIMER)}
        self.payloads = payloads

        self.say(GREETER, 0, self.public[GREETER])
        self.say(CLAIMER, 0, self.public[CLAIMER])
        commitment = mac(self.nonce[CLAIMER], context.encode() + self.public[CLAIMER] + self.public[GREETER])
        self.say(CLAIMER, 1, commitment)
        self.say(GREETER, 2, self.nonce[GREETER])
        self.say(CLAIMER, 3, self.nonce[CLAIMER])

        self.shared = x25519(self.private[GREETER], self.public[CLAIMER])
        assert self.shared == x25519(self.private[CLAIMER], self.public[GREETER]) != bytes(32)
        keys = {
            name: hkdf(self.shared, b"parley sas " + name.encode() + self.transcript, 32)
            for name in ("code", "confirm greeter", "confirm claimer", "seal greeter", "seal claimer")
        }
        forty_bits = int.from_bytes(mac(keys["code"], self.transcript)[:5], "big")
        self.codes = {GREETER: letters(forty_bits >> 20), CLAIMER: letters(forty_bits & 0xFFFFF)}

        self.say(CLAIMER, 4, mac(keys["confirm claimer"], self.transcript))
        self.say(GREETER, 5, mac(keys["confirm greeter"], self.transcript))
        for sender, step in ((CLAIMER, 6), (GREETER, 7), (CLAIMER, 8)):
            key = keys["seal greeter" if sender == GREETER else "seal claimer"]
            data = self.transcript + context.header(sender, step)
            self.say(sender, step, gcm_siv_seal(key, bytes(11) + bytes([step]), payloads[step], data))

    def say(self, sender, step, body):
        message = self.context.header(sender, step) + body
        self.transcript = sha256(self.transcript + message)
        self.transcripts.append(self.transcript)
        self.messages.append((sender, step, message))

    def message(self, sender, step):
        return next(m for who, when, m in self.messages if (who, when) == (sender, step))

    def json(self):
        return {
            "organisation": self.context.organisation.decode(),
            "invitation": self.context.invitation.decode(),
            "attempt": self.context.attempt,
            "kind": self.context.kind,
            "context": self.context.encode().hex(),
            "greeter_private_key": self.private[GREETER].hex(),
            "claimer_private_key": self.private[CLAIMER].hex(),
            "greeter_nonce": self.nonce[GREETER].hex(),
            "claimer_nonce": self.nonce[CLAIMER].hex(),
            "shared": self.shared.hex(),
            "greeter_code": self.codes[GREETER],
            "claimer_code": self.codes[CLAIMER],
            "payloads": [self.payloads[step].hex() for step in (6, 7, 8)],
            "messages": [
                {"sender": who, "step": step, "bytes": message.hex(), "transcript_after": after.hex()}
                for (who, step, message), after in zip(self.messages, self.transcripts[1:])
            ],
        }


# --- What must be refused, each with its reason ----------------------------------------------------------------------


def flip(message, at, mask=1):
    at %= len(message)
    return message[:at] + bytes([message[at] ^ mask]) + message[at + 1 :]


def point(number):
    return number.to_bytes(32, "little")


ORDER_8 = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")


def refusals(run):
    """(receiver, step, message, reason): the first exchange goes well until `receiver` gets `message` at `step`."""
    context = run.context
    same = dict(
        organisation=context.organisation.decode(),
        invitation=context.invitation.decode(),
        attempt=context.attempt,
        kind=context.kind,
    )
    others = {
        "SAS_OTHER_ORGANISATION": Context(**{**same, "organisation": "umbrella"}),
        "SAS_OTHER_INVITATION": Context(**{**same, "invitation": "another"}),
        "SAS_OTHER_ATTEMPT": Context(**{**same, "attempt": context.attempt + 1}),
        "SAS_OTHER_KIND": Context(**{**same, "kind": 3 - context.kind}),
    }
    for sender, step, message in run.messages:
        receiver, body = 3 - sender, message[40:]
        yield receiver, step, context.header(sender, step, version=2) + body, "SAS_VERSION"
        yield receiver, step, message[:39], "SAS_LENGTH"
        for reason, other in others.items():
            yield receiver, step, other.header(sender, step) + body, reason
        yield receiver, step, context.header(receiver, step) + body, "SAS_ROLE"
        yield receiver, step, context.header(sender, 9) + body, "SAS_STEP"
        if step <= 5:
            yield receiver, step, message[:-1], "SAS_LENGTH"
            yield receiver, step, message + b"\0", "SAS_LENGTH"
        else:
            yield receiver, step, context.header(sender, step) + body[:15], "SAS_LENGTH"
            yield receiver, step, flip(message, 40), "SAS_SEAL"
            yield receiver, step, flip(message, -1), "SAS_SEAL"
    for sender in (GREETER, CLAIMER):
        head, receiver = context.header(sender, 0), 3 - sender
        for bad in (point(0), point(1), point(P - 1), ORDER_8):
            yield receiver, 0, head + bad, "SAS_SMALL_ORDER"
        for bad in (point(P), point(P + 1), point(P + 9), point(2**255 + 9), b"\xff" * 32):
            yield receiver, 0, head + bad, "SAS_INVALID_POINT"
        yield receiver, 0, head + run.public[receiver], "SAS_REFLECTED_KEY"
    yield GREETER, 3, flip(run.message(CLAIMER, 3), -1), "SAS_COMMITMENT"
    yield GREETER, 4, flip(run.message(CLAIMER, 4), -1), "SAS_MAC"
    yield CLAIMER, 5, flip(run.message(GREETER, 5), 40), "SAS_MAC"
    yield GREETER, 1, run.message(CLAIMER, 0), "SAS_REPLAYED"
    yield GREETER, 1, flip(run.message(CLAIMER, 0), -2), "SAS_CHANGED"
    yield GREETER, 1, run.message(CLAIMER, 3), "SAS_STEP"
    yield CLAIMER, 5, run.message(GREETER, 2), "SAS_REPLAYED"
    yield CLAIMER, 7, flip(run.message(GREETER, 5), -1), "SAS_CHANGED"


# --- The primitive against its RFC, and the file ---------------------------------------------------------------------


def check_primitives():
    make_keys_vectors.check_primitives()
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert x25519(alice, BASE).hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert x25519(alice, x25519(bob, BASE)).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def main():
    check_primitives()
    keys = {6: b"the claimer's public keys", 7: b"the greeter's answer \x00\xff", 8: b"kept"}
    runs = [
        Run("first", Context("acme", "inv-7k3q", 1, USER), keys),
        Run("device", Context("acme", "inv-7k3q", 2, DEVICE), keys),
        Run("long", Context("o" * 255, "i" * 255, 2**32 - 1, USER), {6: b"x" * 1000, 7: b"y" * 17, 8: b""}),
        Run("short", Context("o", "i", 256, DEVICE), {6: b"", 7: b"z", 8: b""}),
    ]
    refused = [
        {"receiver": receiver, "step": step, "bytes": message.hex(), "reason": reason}
        for receiver, step, message, reason in refusals(runs[0])
    ]
    json.dump({"exchanges": [run.json() for run in runs], "refusals": refused}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
