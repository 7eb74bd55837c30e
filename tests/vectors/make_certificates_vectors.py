#!/usr/bin/env python3
"""Makes tests/vectors/certificates.json from docs/protocol/certificates.md and manifest.md alone.

It shares nothing with the C++ code: every primitive is here, in the programs beside it, or in Python's standard
library. Not constant-time: for test vectors only.

    tests/vectors/make_certificates_vectors.py > tests/vectors/certificates.json
"""

import hashlib
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from make_keys_vectors import made, varint  # noqa: E402
from make_sas_vectors import BASE, x25519  # noqa: E402

# --- Ed25519, RFC 8032 section 5.1 -----------------------------------------------------------------------------------

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    return P - x if x & 1 != sign else x


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE_POINT = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def add(a, b):
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    u, v = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def compress(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return scalar, digest[32:]


def public_key(seed):
    return compress(times(expand(seed)[0], BASE_POINT))


def sign(seed, message):
    scalar, prefix = expand(seed)
    public = compress(times(scalar, BASE_POINT))
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % Q
    big_r = compress(times(r, BASE_POINT))
    h = int.from_bytes(hashlib.sha512(big_r + public + message).digest(), "little") % Q
    return big_r + ((r + h * scalar) % Q).to_bytes(32, "little")


def check_primitives():
    seed = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")  # RFC 8032, 7.1, test 3
    assert public_key(seed).hex() == "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    assert sign(seed, b"\xaf\x82").hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a")


# --- docs/protocol/certificates.md -----------------------------------------------------------------------------------

ADMIN, OPERATOR, AUDITOR, SERVICE, DEVICE = 1, 2, 3, 4, 5
NOW = 1_800_000_000


def sha256(data):
    return hashlib.sha256(data).digest()


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value if value else b""


class Member:
    """A user and one device of it, with all keys."""

    def __init__(self, name, role=OPERATOR, user_of=None):
        self.name, self.role = name, role
        label = name if user_of is None else name + " again"
        self.user = made(name + " user", 16)
        self.device = made(label + " device", 16)
        self.seed = made(label + " seed", 32)
        self.verification_key = public_key(self.seed)
        self.encryption_key = x25519(made(name + " encryption", 32), BASE)
        self.label = label + "'s laptop"

    def user_statement(self, **changes):
        values = {**self.__dict__, **changes}
        return text(5, text(1, values["user"]) + text(2, values["name"]) + number(3, values["role"])
                    + text(4, values["encryption_key"]))

    def device_statement(self, **changes):
        values = {**self.__dict__, **changes}
        return text(6, text(1, values["device"]) + text(2, values["user"]) + text(3, values["label"])
                    + text(4, values["verification_key"]))


def change_role(user, role):
    return text(7, text(1, user) + number(2, role))


def revoke_user(user):
    return text(8, text(1, user))


def revoke_device(device):
    return text(9, text(1, device))


class Chain:

    def __init__(self, root):
        self.root, self.certificates, self.hashes, self.clock = root, [], [bytes(32)], NOW - 10_000

    def make(self, author, statement, seed=None, **changes):
        """Bytes and signature of what follows the head; `author` None is the root."""
        values = {"sequence": len(self.certificates) + 1, "previous": self.hashes[-1], "seconds": self.clock + 10,
                  "nanos": 500, "author_device": author.device if author else b"", **changes}
        stamp = number(1, values["seconds"]) + number(2, values["nanos"])
        head = number(1, values["sequence"]) + text(2, values["previous"]) + text(3, stamp)
        data = head + text(4, values["author_device"]) + statement
        seed = seed or (author.seed if author else self.root)
        return data, sign(seed, b"parley certificate v1\0" + data)

    def append(self, author, statement):
        data, signature = self.make(author, statement)
        self.certificates.append((data, signature))
        self.hashes.append(sha256(data + signature))
        self.clock += 10

    def enrol(self, author, member):
        self.append(author, member.user_statement())
        self.append(author, member.device_statement())


def one_of_each():
    """Every kind of certificate, and who is who at the end."""
    chain = Chain(made("root seed", 32))
    alice, bob, carol = Member("alice", ADMIN), Member("bob"), Member("carol", ADMIN)
    web, dora, phone = Member("web-1", DEVICE), Member("dora", AUDITOR), Member("bob", user_of=True)
    chain.enrol(None, alice)
    chain.enrol(alice, bob)
    chain.append(bob, phone.device_statement())
    chain.enrol(alice, carol)
    chain.enrol(carol, web)
    chain.enrol(carol, dora)
    chain.append(alice, change_role(dora.user, OPERATOR))
    chain.append(phone, revoke_device(bob.device))
    chain.append(alice, revoke_user(carol.user))
    return chain, dict(alice=alice, bob=bob, phone=phone, carol=carol, web=web, dora=dora)


def users(members):
    role = {"dora": OPERATOR}
    return [{"id": m.user.hex(), "name": m.name, "role": role.get(m.name, m.role), "revoked": m.name == "carol"}
            for m in (members[name] for name in ("alice", "bob", "carol", "web", "dora"))]


def devices(members):
    dead = ("bob", "carol")
    return [{"id": m.device.hex(), "user": m.user.hex(), "label": m.label, "live": name not in dead}
            for name, m in members.items()]


def refusals(chain, m):
    """(reason, bytes, signature) of what must not follow the whole chain."""
    alice, phone, web, dora = m["alice"], m["phone"], m["web"], m["dora"]
    eve = Member("eve", ADMIN)
    good = eve.user_statement()

    def make(author, statement, **changes):
        return chain.make(author, statement, **changes)

    for data in (b"", b"\xff", make(alice, b"")[0], make(alice, good)[0] + number(1, 3), make(alice, good)[0] * 5):
        yield "CHAIN_MALFORMED", data, sign(alice.seed, b"parley certificate v1\0" + data)
    for statement in (
            eve.user_statement(name="Eve"), eve.user_statement(name=""), eve.user_statement(name="e" * 49),
            eve.user_statement(role=SERVICE), eve.user_statement(role=0), eve.user_statement(user=bytes(15)),
            eve.user_statement(encryption_key=bytes(32)), eve.user_statement(encryption_key=b"\xff" * 32),
            eve.device_statement(label=""), eve.device_statement(label="a\x1b[2J"), eve.device_statement(label="e" * 65),
            eve.device_statement(label="\u202eevil"), eve.device_statement(label=b"\xc0\xaf"),
            eve.device_statement(verification_key=bytes(31)), change_role(phone.user, DEVICE), revoke_user(b""),
            text(10, text(1, eve.user)), good + number(11, 1), good[:-1] + b"\0\0"):
        yield ("CHAIN_MALFORMED", *make(alice, statement))
    for changes in ({"sequence": 0}, {"previous": bytes(31)}, {"nanos": 10**9}, {"author_device": bytes(15)}):
        yield ("CHAIN_MALFORMED", *make(alice, good, **changes))
    yield ("CHAIN_GAP", *make(alice, good, sequence=len(chain.certificates) + 2))
    yield ("CHAIN_DUPLICATE", *chain.certificates[-1])
    yield ("CHAIN_DUPLICATE", *make(alice, good, sequence=len(chain.certificates)))
    yield ("CHAIN_PREVIOUS", *make(alice, good, previous=chain.hashes[-2]))
    yield ("CHAIN_ROOT_REUSED", *make(None, good))
    yield ("CHAIN_AUTHOR_UNKNOWN", *make(eve, good))
    yield ("CHAIN_AUTHOR_REVOKED", *make(m["bob"], good))
    yield ("CHAIN_AUTHOR_REVOKED", *make(m["carol"], good))
    yield ("CHAIN_SIGNATURE", *make(alice, good, seed=eve.seed))
    yield ("CHAIN_SIGNATURE", *make(alice, good, seed=chain.root))
    yield ("CHAIN_TIME", *make(alice, good, seconds=chain.clock))
    yield ("CHAIN_TIME", *make(alice, good, seconds=NOW + 301))
    for author in (phone, web, dora):
        yield ("CHAIN_ROLE", *make(author, good))
        yield ("CHAIN_ROLE", *make(author, change_role(phone.user, ADMIN)))
        yield ("CHAIN_ROLE", *make(author, revoke_user(dora.user)))
        yield ("CHAIN_ROLE", *make(author, revoke_device(alice.device)))
    yield ("CHAIN_ROLE", *make(alice, eve.device_statement(user=phone.user)))
    yield ("CHAIN_ROLE", *make(web, eve.device_statement(user=web.user)))
    yield ("CHAIN_ROLE", *make(alice, change_role(web.user, ADMIN)))
    yield ("CHAIN_ROLE", *make(alice, change_role(dora.user, OPERATOR)))
    yield ("CHAIN_UNKNOWN", *make(alice, eve.device_statement()))
    yield ("CHAIN_UNKNOWN", *make(alice, change_role(eve.user, ADMIN)))
    yield ("CHAIN_UNKNOWN", *make(alice, revoke_user(eve.user)))
    yield ("CHAIN_UNKNOWN", *make(alice, revoke_device(eve.device)))
    yield ("CHAIN_REVOKED", *make(alice, revoke_user(m["carol"].user)))
    yield ("CHAIN_REVOKED", *make(alice, revoke_device(m["carol"].device)))
    yield ("CHAIN_REVOKED", *make(alice, change_role(m["carol"].user, AUDITOR)))
    yield ("CHAIN_LAST_ADMIN", *make(alice, revoke_user(alice.user)))
    yield ("CHAIN_LAST_ADMIN", *make(alice, revoke_device(alice.device)))
    yield ("CHAIN_LAST_ADMIN", *make(alice, change_role(alice.user, OPERATOR)))
    yield ("CHAIN_TAKEN", *make(alice, eve.user_statement(name="bob")))
    yield ("CHAIN_TAKEN", *make(alice, eve.user_statement(user=m["carol"].user)))
    yield ("CHAIN_TAKEN", *make(alice, eve.user_statement(encryption_key=m["carol"].encryption_key)))
    yield ("CHAIN_TAKEN", *make(alice, eve.device_statement(user=alice.user, device=m["bob"].device)))
    yield ("CHAIN_TAKEN", *make(alice, eve.device_statement(user=alice.user,
                                                            verification_key=m["bob"].verification_key)))


# --- docs/protocol/manifest.md, an operator's signature --------------------------------------------------------------


def operator_signature(chain, member, manifest, **changes):
    last = len(chain.certificates)
    values = {"device": member.device, "seconds": NOW, "nanos": 7, "sequence": last, "hash": chain.hashes[last],
              "manifest": manifest, **changes}
    message = (b"parley operator v1\0" + values["device"] + values["seconds"].to_bytes(8, "big")
               + values["nanos"].to_bytes(4, "big") + values["sequence"].to_bytes(8, "big") + values["hash"]
               + sha256(values["manifest"]))
    return (text(1, values["device"]) + text(2, number(1, values["seconds"]) + number(2, values["nanos"]))
            + number(3, values["sequence"]) + text(4, values["hash"]) + text(5, sign(member.seed, message)))


def operators(chain, m):
    manifest, alice = b"the bytes of a manifest", m["alice"]
    cases = [("", operator_signature(chain, m[name], manifest)) for name in ("alice", "phone", "dora")]
    cases.append(("", operator_signature(chain, alice, manifest, sequence=3, hash=chain.hashes[3])))
    cases += [("OPERATOR_REVOKED", operator_signature(chain, m[name], manifest)) for name in ("bob", "carol")]
    cases += [
        ("OPERATOR_MALFORMED", b""),
        ("OPERATOR_MALFORMED", operator_signature(chain, alice, manifest)[:-66]),
        ("OPERATOR_UNKNOWN", operator_signature(chain, Member("eve"), manifest)),
        ("OPERATOR_SIGNATURE", operator_signature(chain, alice, manifest + b"!")),
        ("OPERATOR_SIGNATURE", operator_signature(chain, alice, manifest, device=m["phone"].device)),
        ("OPERATOR_ROLE", operator_signature(chain, m["web"], manifest)),
        ("OPERATOR_TIME", operator_signature(chain, alice, manifest, seconds=NOW + 301)),
        ("OPERATOR_CHAIN", operator_signature(chain, alice, manifest, sequence=len(chain.certificates) + 1)),
        ("OPERATOR_CHAIN", operator_signature(chain, alice, manifest, hash=bytes(32))),
    ]
    return {"manifest": manifest.hex(),
            "cases": [{"reason": reason, "operator_signature": data.hex()} for reason, data in cases]}


def main():
    check_primitives()
    chain, members = one_of_each()
    certificates = [{"certificate_bytes": data.hex(), "signature": signature.hex(), "hash": digest.hex()}
                    for (data, signature), digest in zip(chain.certificates, chain.hashes[1:])]
    refused = [{"reason": reason, "certificate_bytes": data.hex(), "signature": signature.hex()}
               for reason, data, signature in refusals(chain, members)]
    json.dump({"now": NOW, "root_verification_key": public_key(chain.root).hex(), "chain": certificates,
               "users": users(members), "devices": devices(members), "refusals": refused,
               "operator": operators(chain, members)}, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
