"""What is shipped: which shared libraries come with it, and how it is linked."""

import re
import subprocess

LIBRARY = re.compile(r"^\s*(\S+) => (\S+)", re.MULTILINE)
BORINGSSL = "/android/"
# Built with TLS: they bring OpenSSL, whose names are BoringSSL's too.
FOREIGN_TLS = re.compile(r"^lib(grpc|grpc\+\+|grpc\+\+_reflection|gnutls|mbedtls|nss3|pq|curl)\.so")
OPENSSL = re.compile(r"^lib(ssl|crypto)\.so")


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def libraries(path, listed):
    """No OpenSSL, no gRPC with TLS of its own, nothing missing. `listed` is what ldd prints."""
    problems = []
    for name, where in LIBRARY.findall(listed):
        if where == "not":
            problems.append("%s: %s is not found" % (path, name))
        elif FOREIGN_TLS.match(name) or (OPENSSL.match(name) and BORINGSSL not in where):
            problems.append("%s: loads %s, which must not share a process with BoringSSL" % (path, where))
    if not any(OPENSSL.match(name) for name, _ in LIBRARY.findall(listed)):
        problems.append("%s: loads no BoringSSL; was it linked as it is shipped?" % path)
    return problems


def hardening(path, header, dynamic):
    """Position-independent, with addresses resolved and made read-only before main."""
    problems = []
    if not re.search(r"Type:\s+DYN", header):
        problems.append("%s: is not position-independent" % path)
    if "BIND_NOW" not in dynamic and not re.search(r"FLAGS_1.*NOW", dynamic):
        problems.append("%s: is not linked with -z now" % path)
    return problems


def check(paths):
    problems = []
    for path in paths:
        problems += libraries(path, output_of("ldd", path))
        problems += hardening(path, output_of("readelf", "-h", path), output_of("readelf", "-d", path))
    return problems
