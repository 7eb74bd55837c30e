#!/usr/bin/env python3
"""Makes tests/vectors/keys.json from docs/protocol/keys.md alone.

It shares nothing with the C++ code: every primitive is here or in Python's standard library, and is checked against
its RFC before anything is written. Slow and not constant-time: for test vectors only.

    tests/vectors/make_keys_vectors.py > tests/vectors/keys.json
"""

import base64
import hashlib
import hmac
import json
import sys

# --- HKDF-SHA-256, RFC 5869 -----------------------------------------------------------------------------------------


def hkdf(secret, info, size, salt=b""):
    pseudo_random = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    block, out, counter = b"", b"", 1
    while len(out) < size:
        block = hmac.new(pseudo_random, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
        counter += 1
    return out[:size]


# --- AES-256-GCM-SIV, RFC 8452 --------------------------------------------------------------------------------------


def gf256_times(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11B
        b >>= 1
    return product


def make_sbox():
    box = []
    for value in range(256):
        inverse = next((x for x in range(256) if gf256_times(value, x) == 1), 0)
        result = 0x63
        for shift in range(5):
            result ^= ((inverse << shift) | (inverse >> (8 - shift))) & 0xFF
        box.append(result)
    return box


SBOX = make_sbox()


def expand_key(key):
    words = [key[i : i + 4] for i in range(0, len(key), 4)]
    per_key, constant = len(words), 1
    for i in range(per_key, 4 * (per_key + 7)):
        word = words[-1]
        if i % per_key == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = gf256_times(constant, 2)
        elif per_key > 6 and i % per_key == 4:
            word = bytes(SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[i - per_key], word)))
    return [b"".join(words[i : i + 4]) for i in range(0, len(words), 4)]


def aes(key, block):
    round_keys = expand_key(key)
    state = bytes(a ^ b for a, b in zip(block, round_keys[0]))
    for number, round_key in enumerate(round_keys[1:], 1):
        state = bytes(SBOX[b] for b in state)
        state = bytes(state[(i + 4 * (i % 4)) % 16] for i in range(16))
        if number < len(round_keys) - 1:
            mixed = []
            for column in range(0, 16, 4):
                c = state[column : column + 4]
                for row in range(4):
                    mixed.append(
                        gf256_times(c[row], 2)
                        ^ gf256_times(c[(row + 1) % 4], 3)
                        ^ c[(row + 2) % 4]
                        ^ c[(row + 3) % 4]
                    )
            state = bytes(mixed)
        state = bytes(a ^ b for a, b in zip(state, round_key))
    return state


POLYVAL_MODULUS = (1 << 128) | (1 << 127) | (1 << 126) | (1 << 121) | 1


def polyval_times(a, b):
    product = 0
    for bit in range(128):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(255, 127, -1):
        if product >> bit & 1:
            product ^= POLYVAL_MODULUS << (bit - 128)
    return product


# x^-128 in POLYVAL's field, from RFC 8452, section 3.
X_TO_MINUS_128 = (1 << 127) | (1 << 124) | (1 << 121) | (1 << 114) | 1


def polyval(key, text):
    h = int.from_bytes(key, "little")
    total = 0
    for i in range(0, len(text), 16):
        total ^= int.from_bytes(text[i : i + 16], "little")
        total = polyval_times(polyval_times(total, h), X_TO_MINUS_128)
    return total.to_bytes(16, "little")


def pad16(text):
    return text + bytes(-len(text) % 16)


def gcm_siv_seal(key, nonce, plaintext, associated_data):
    halves = [aes(key, i.to_bytes(4, "little") + nonce)[:8] for i in range(6)]
    authentication_key = b"".join(halves[:2])
    encryption_key = b"".join(halves[2:])
    lengths = (8 * len(associated_data)).to_bytes(8, "little") + (8 * len(plaintext)).to_bytes(8, "little")
    sums = polyval(authentication_key, pad16(associated_data) + pad16(plaintext) + lengths)
    sums = bytes(a ^ b for a, b in zip(sums, nonce + bytes(4)))
    tag = aes(encryption_key, sums[:15] + bytes([sums[15] & 0x7F]))
    counter = tag[:15] + bytes([tag[15] | 0x80])
    sealed = b""
    for at in range(0, len(plaintext), 16):
        stream = aes(encryption_key, counter)
        sealed += bytes(a ^ b for a, b in zip(plaintext[at : at + 16], stream))
        count = (int.from_bytes(counter[:4], "little") + 1) & 0xFFFFFFFF
        counter = count.to_bytes(4, "little") + counter[4:]
    return sealed + tag


# --- P-256, and BoringSSL's derivation of a key from a secret -------------------------------------------------------

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GENERATOR = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def add_points(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def p256_public_key(secret):
    """DER SubjectPublicKeyInfo of the key derived from a secret."""
    scalar = int.from_bytes(hkdf(secret, b"derive EC key P-256", 48), "big") % ORDER
    result, addend = None, GENERATOR
    while scalar:
        if scalar & 1:
            result = add_points(result, addend)
        addend = add_points(addend, addend)
        scalar >>= 1
    header = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
    return header + b"\x04" + result[0].to_bytes(32, "big") + result[1].to_bytes(32, "big")


# --- Encodings ------------------------------------------------------------------------------------------------------

BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base32(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(BASE32[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5))


# --- docs/protocol/keys.md ------------------------------------------------------------------------------------------


def audience_key(root, audience):
    return hkdf(root, b"parley v1 audience" + audience.encode(), 32)


def mint(key, epoch, role, subject, serial, not_after):
    header = bytes([1]) + epoch.to_bytes(4, "big")
    claims = bytes([role]) + not_after.to_bytes(5, "big") + serial + subject.encode()
    sealed = gcm_siv_seal(hkdf(key, b"parley v1 identity", 32), bytes(12), claims, header)
    identity = base64url(header + sealed)
    return identity, hkdf(key, b"parley v1 secret" + identity.encode(), 32)


def check_letter(letters):
    def times(a, b):
        product = 0
        for bit in range(5):
            if b >> bit & 1:
                product ^= a << bit
        for bit in range(9, 4, -1):
            if product >> bit & 1:
                product ^= 0b100101 << (bit - 5)
        return product

    total, weight = 0, 1
    for letter in letters:
        weight = times(weight, 2)
        total ^= times(weight, BASE32.index(letter))
    return BASE32[total]


def join_key(fields, version=1, prefix="prl1.", label=b""):
    body = bytes([version]) + (len(fields) + 4).to_bytes(2, "big") + fields
    letters = base32(body + hashlib.sha256(label + body).digest()[:4])
    groups = [letters[i : i + 30] for i in range(0, len(letters), 30)]
    return prefix + ".".join(group + check_letter(group) for group in groups)


def join_key_fields(address, task, identity, secret, verification_key, not_after):
    fields = not_after.to_bytes(5, "big") + secret + verification_key
    for part in (address.encode(), task.encode(), unbase64url(identity)):
        fields += bytes([len(part)]) + part
    return fields


def invitation_link(fields, version=1, prefix="pri1."):
    return join_key(fields, version, prefix, b"pri1.")


def invitation_link_fields(address, organisation, invitation, kind, identity, secret, not_after):
    fields = not_after.to_bytes(5, "big") + secret + bytes([kind]) + invitation
    for part in (address.encode(), organisation.encode(), unbase64url(identity)):
        fields += bytes([len(part)]) + part
    return fields


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def credential_line(role, subject, serial, not_after, keys, ca_pem):
    message = field(1, role) + field(2, subject) + field(3, serial.hex()) + field(4, field(1, not_after))
    for audience, address, identity, secret in keys:
        message += field(5, field(1, audience) + field(2, address) + field(3, identity) + field(4, secret))
    message += field(6, ca_pem)
    return "prc1." + base64url(message + hashlib.sha256(message).digest()[:4])


# --- The primitives against their RFCs ------------------------------------------------------------------------------


def check_primitives():
    assert hkdf(b"\x0b" * 22, b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )
    assert aes(bytes(range(32)), bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == (
        "8ea2b7ca516745bfeafc49904b496089"
    )
    key, nonce = b"\x01" + bytes(31), b"\x03" + bytes(11)
    assert gcm_siv_seal(key, nonce, b"", b"").hex() == "07f5f4169bbf55a8400cd47ea6fd400f"
    assert gcm_siv_seal(key, nonce, b"\x02" + bytes(7), b"\x01").hex() == (
        "1de22967237a813291213f267e3b452f02d01ae33e4ec854"
    )
    wrapping = bytes.fromhex("000000000000000000000000000000004db923dc793ee6497c76dcc03a98e108")
    assert gcm_siv_seal(bytes(32), bytes(12), wrapping, b"").hex() == (
        "f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3eaffffffff000000000000000000000000"
    )


# --- The vectors ----------------------------------------------------------------------------------------------------

NOT_AFTER = 1_800_000_000


def made(label, size):
    return hashlib.sha256(label.encode()).digest()[:size]


def identities():
    root = made("root", 32)
    cases = [
        ("taskd", 1, 7, "nginx-tls-7k3q/0123456789abc", made("serial 1", 16), NOT_AFTER),
        ("taskd", 2, 6, "nginx-tls-7k3q", made("serial 2", 16), NOT_AFTER + 1),
        ("keyd", 1, 1, "a", made("serial 3", 16), 0),
        ("enrolld", 4294967295, 8, "x" * 50, made("serial 4", 16), 2**40 - 1),
    ]
    for audience, epoch, role, subject, serial, not_after in cases:
        key = audience_key(root, audience)
        identity, secret = mint(key, epoch, role, subject, serial, not_after)
        seed = hkdf(secret, b"parley v1 tls13-cert", 32)
        yield {
            "root": root.hex(),
            "audience": audience,
            "audience_key": key.hex(),
            "epoch": epoch,
            "role": role,
            "subject": subject,
            "serial": serial.hex(),
            "not_after": not_after,
            "identity": identity,
            "secret": secret.hex(),
            "psk": hkdf(secret, b"parley v1 tls12-psk", 32).hex(),
            "certificate_seed": seed.hex(),
            "public_key": p256_public_key(seed).hex(),
        }


def credentials():
    serial = made("credential", 16)
    for audiences in (["taskd"], ["taskd", "enrolld", "keyd"]):
        keys = []
        for audience in audiences:
            key = audience_key(made("root", 32), audience)
            identity, secret = mint(key, 1, 2, "alice", serial, NOT_AFTER)
            keys.append((audience, audience + ".example:7443", identity, secret))
        ca_pem = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
        yield {
            "role": 2,
            "subject": "alice",
            "serial": serial.hex(),
            "not_after": NOT_AFTER,
            "keys": [
                {"audience": a, "address": b, "identity": i, "secret": s.hex()} for a, b, i, s in keys
            ],
            "ca_pem": ca_pem,
            "line": credential_line(2, "alice", serial, NOT_AFTER, keys, ca_pem),
        }


def join_keys():
    for address, task in (("taskd.example:7443", "nginx-tls-7k3q"), ("[2001:db8::1]:7443", "a"), ("a:1", "x" * 36)):
        key = audience_key(made("root", 32), "taskd")
        identity, secret = mint(key, 1, 6, task, made("joiner " + task, 16), NOT_AFTER)
        verification_key = made("verification key", 32)
        yield {
            "address": address,
            "task": task,
            "identity": identity,
            "secret": secret.hex(),
            "verification_key": verification_key.hex(),
            "not_after": NOT_AFTER,
            "text": join_key(join_key_fields(address, task, identity, secret, verification_key, NOT_AFTER)),
        }


def refused_join_keys():
    """One failure for each, with the reason expected, so that no other one can hide it."""
    parts = ("taskd.example:7443", "web", base64url(b"i" * 50), b"s" * 32, b"v" * 32, NOT_AFTER)
    fields = join_key_fields(*parts)
    good = join_key(fields)
    groups = good[5:].split(".")

    def swap(text, at):
        return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]

    # Every group's check letter is right, the checksum over all is not.
    other = join_key(fields[:40] + bytes([fields[40] ^ 1]) + fields[41:])[5:].split(".")
    mixed = [a if i < 4 else b for i, (a, b) in enumerate(zip(other, groups))]
    bad_address = ("taskd.example:\x1b[31m",) + parts[1:]
    return [
        {"why": "expired", "text": good, "now": NOT_AFTER, "reason": "JOIN_KEY_EXPIRED"},
        {"why": "wrong letter", "text": swap(good, 50), "reason": "JOIN_KEY_TYPO"},
        {"why": "wrong check letter", "text": swap(good, len(good) - 1), "reason": "JOIN_KEY_TYPO"},
        {"why": "wrong prefix", "text": "prx1." + good[5:], "reason": "JOIN_KEY_TYPO"},
        {"why": "checksum", "text": "prl1." + ".".join(mixed), "reason": "JOIN_KEY_TYPO"},
        {"why": "a group is missing", "text": "prl1." + ".".join(groups[:2] + groups[3:]), "reason": "JOIN_KEY_INCOMPLETE"},
        {"why": "two groups changed places", "text": "prl1." + ".".join([groups[0], groups[2], groups[1]] + groups[3:]), "reason": "JOIN_KEY_TYPO"},
        {"why": "cut off", "text": good[:100], "reason": "JOIN_KEY_INCOMPLETE"},
        {"why": "the last group is missing", "text": good[: good.rindex(".")], "reason": "JOIN_KEY_INCOMPLETE"},
        {"why": "newer version", "text": join_key(fields, 2, "prl2."), "reason": "JOIN_KEY_VERSION"},
        {"why": "newer version inside", "text": join_key(fields, 2), "reason": "JOIN_KEY_VERSION"},
        {"why": "wrong version digit", "text": join_key(fields, 1, "prl2."), "reason": "JOIN_KEY_TYPO"},
        {"why": "something else", "text": "hello", "reason": "JOIN_KEY_NOT_ONE"},
        {"why": "trailing bytes", "text": join_key(fields + b"x"), "reason": "JOIN_KEY_NOT_ONE"},
        {"why": "a size beyond the end", "text": join_key(fields[:69] + b"\xff" + fields[70:]), "reason": "JOIN_KEY_NOT_ONE"},
        {"why": "escape sequence in the address", "text": join_key(join_key_fields(*bad_address)), "reason": "JOIN_KEY_NOT_ONE"},
    ]


def invitation_links():
    cases = (("enrolld.example:7445", "Example", 1), ("[2001:db8::1]:7445", "x" * 64, 2), ("a:1", "A & B", 1))
    for address, organisation, kind in cases:
        invitation = made("invitation " + organisation, 16)
        key = audience_key(made("root", 32), "enrolld")
        identity, secret = mint(key, 1, 8, invitation.hex(), made("invitee " + organisation, 16), NOT_AFTER)
        fields = invitation_link_fields(address, organisation, invitation, kind, identity, secret, NOT_AFTER)
        yield {
            "address": address,
            "organisation": organisation,
            "invitation": invitation.hex(),
            "kind": kind,
            "identity": identity,
            "secret": secret.hex(),
            "not_after": NOT_AFTER,
            "text": "parley://claim/" + invitation_link(fields),
        }


def refused_invitation_links():
    parts = ("enrolld.example:7445", "Example", b"v" * 16, 1, base64url(b"i" * 50), b"s" * 32, NOT_AFTER)
    fields = invitation_link_fields(*parts)
    good = invitation_link(fields)
    join = join_key(join_key_fields("taskd.example:7443", "web", base64url(b"i" * 50), b"s" * 32, b"v" * 32, NOT_AFTER))

    def changed(index, value):
        return invitation_link(invitation_link_fields(*parts[:index], value, *parts[index + 1 :]))

    return [
        {"why": "expired", "text": good, "now": NOT_AFTER, "reason": "INVITATION_LINK_EXPIRED"},
        {"why": "wrong letter", "text": good[:50] + ("A" if good[50] != "A" else "B") + good[51:], "reason": "INVITATION_LINK_TYPO"},
        {"why": "wrong prefix", "text": "prx1." + good[5:], "reason": "INVITATION_LINK_TYPO"},
        {"why": "the prefix of a join key", "text": "prl1." + good[5:], "reason": "INVITATION_LINK_TYPO"},
        {"why": "a join key", "text": join, "reason": "INVITATION_LINK_NOT_ONE"},
        {"why": "a join key's body", "text": "pri1." + join[5:], "reason": "INVITATION_LINK_TYPO"},
        {"why": "another scheme", "text": "https://claim/" + good, "reason": "INVITATION_LINK_NOT_ONE"},
        {"why": "cut off", "text": "parley://claim/" + good[:100], "reason": "INVITATION_LINK_INCOMPLETE"},
        {"why": "newer version", "text": invitation_link(fields, 2, "pri2."), "reason": "INVITATION_LINK_VERSION"},
        {"why": "newer version inside", "text": invitation_link(fields, 2), "reason": "INVITATION_LINK_VERSION"},
        {"why": "trailing bytes", "text": invitation_link(fields + b"x"), "reason": "INVITATION_LINK_NOT_ONE"},
        {"why": "unknown kind", "text": changed(3, 3), "reason": "INVITATION_LINK_NOT_ONE"},
        {"why": "no organisation", "text": changed(1, ""), "reason": "INVITATION_LINK_NOT_ONE"},
        {"why": "escape sequence in the organisation", "text": changed(1, "a\x1b[31m"), "reason": "INVITATION_LINK_NOT_ONE"},
        {"why": "escape sequence in the address", "text": changed(0, "a\x1b[31m:1"), "reason": "INVITATION_LINK_NOT_ONE"},
    ]


def refused_identities():
    """Under the audience key of the first of `identities`; all look alike to the caller."""
    key = audience_key(made("root", 32), "taskd")
    seal_key = hkdf(key, b"parley v1 identity", 32)
    header = bytes([1, 0, 0, 0, 1])
    serial, time = made("serial 1", 16), NOT_AFTER.to_bytes(5, "big")

    def sealed(claims, header=header, associated_data=None):
        data = header if associated_data is None else associated_data
        return base64url(header + gcm_siv_seal(seal_key, bytes(12), claims, data))

    good = b"\x07" + time + serial + b"subject"
    return [
        {"why": "no subject", "identity": sealed(b"\x07" + time + serial)},
        {"why": "subject of 51 bytes", "identity": sealed(b"\x07" + time + serial + b"x" * 51)},
        {"why": "role 0", "identity": sealed(b"\x00" + good[1:])},
        {"why": "unknown role", "identity": sealed(b"\x09" + good[1:])},
        {"why": "version 2", "identity": sealed(good, b"\x02" + header[1:])},
        {"why": "header not authenticated", "identity": sealed(good, header, b"")},
        {"why": "unknown epoch", "identity": sealed(good, bytes([1, 0, 0, 0, 9]))},
        {"why": "another audience", "identity": mint(audience_key(made("root", 32), "keyd"), 1, 7, "s", serial, NOT_AFTER)[0]},
        {"why": "padded base64", "identity": sealed(good[:-1] + b"12") + "="},
        {"why": "empty", "identity": ""},
        {"why": "too long", "identity": "A" * 129},
    ]


def main():
    check_primitives()
    vectors = {
        "identities": list(identities()),
        "refused_identities": refused_identities(),
        "credentials": list(credentials()),
        "join_keys": list(join_keys()),
        "refused_join_keys": refused_join_keys(),
        "invitation_links": list(invitation_links()),
        "refused_invitation_links": refused_invitation_links(),
    }
    json.dump(vectors, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
