"""Who may include whom. The table in ARCHITECTURE.md is the rule; this reads it."""

import re

ROW = re.compile(r"^\|\s*`([a-z_/]+?)/?`[^|]*\|[^|]*\|([^|]*)\|\s*$", re.MULTILINE)
ONE_HEADER = re.compile(r"^(\w+)'s `([\w.]+)`$")
LAYERED = ("lib/", "services/", "clients/")

# Includes BoringSSL itself, and is included within its own folder only.
INTERNAL_HEADERS = {
    "lib/crypto/boringssl.h",
    "lib/transport/tls_context.h",
    "lib/transport/tls_session.h",
}
MAY_USE_LIBCRYPTO = ("lib/crypto/", "lib/transport/", "bench/", "tests/")
MAY_USE_LIBSSL = ("lib/transport/", "bench/", "tests/")
LIBSSL = {"openssl/ssl.h", "openssl/tls1.h", "openssl/ssl3.h", "openssl/dtls1.h", "openssl/srtp.h"}

NOT_IN_DOMAIN = re.compile(
    r"^(grpc|grpcpp|netinet|arpa|netdb|sqlite3|sys/(socket|un|epoll|select)|poll\.h|openssl)|\.grpc\.pb\.h$"
    r"|^lib/(transport/(?!(peer|connection_id)\.h)|rpc/|store/|keyd_client/|service/)")


class Rules:
    """What each folder may use, closed over: who may use lib/keys may use what lib/keys may."""

    def __init__(self, table):
        self.rows = {}
        for folder, uses in ROW.findall(table):
            self.rows[folder] = [token.strip() for token in uses.split(",") if token.strip()]

    def folder_of(self, path):
        """The row that a file belongs to: the longest one."""
        rows = [row for row in self.rows if path.startswith(row + "/")]
        return max(rows, key=len) if rows else None

    def _named(self, token):
        """Folders that a word of the table stands for."""
        if token == "all":
            return list(self.rows)
        if token == "lib":
            return [row for row in self.rows if row.startswith("lib/")]
        for place in ("lib/", "services/", "clients/"):
            if place + token in self.rows:
                return [place + token]
        raise ValueError("ARCHITECTURE.md: the table's `%s` is no folder of it" % token)

    def folders(self, folder):
        allowed, waiting = {folder}, [folder]
        while waiting:
            for token in self.rows[waiting.pop()]:
                if ONE_HEADER.match(token):
                    continue
                for named in self._named(token):
                    if named not in allowed:
                        allowed.add(named)
                        waiting.append(named)
        return allowed

    def headers(self, folder):
        """Single headers of folders that are closed otherwise."""
        found = set()
        for inner in self.folders(folder):
            for match in filter(None, map(ONE_HEADER.match, self.rows[inner])):
                found.add("%s/%s" % (self._named(match.group(1))[0], match.group(2)))
        return found


def folders(tree):
    """Includes go where the table lets them."""
    try:
        rules = Rules(tree.files["ARCHITECTURE.md"])
        allowed = {row: (rules.folders(row), rules.headers(row)) for row in rules.rows}
    except ValueError as error:
        return [str(error)]
    problems = []
    for path, _ in tree.cpp():
        row = rules.folder_of(path)
        if row is None:
            if path.startswith(LAYERED):
                problems.append("%s: its folder is not in the table of ARCHITECTURE.md" % path)
            continue
        for line, what in tree.includes(path):
            to = rules.folder_of(what)
            if to is not None and to not in allowed[row][0] and what not in allowed[row][1]:
                problems.append("%s:%d: %s may not use %s (ARCHITECTURE.md)" % (path, line, row, what))
    return problems


def services(tree):
    """A service's layers know only those beneath them, and no service knows another."""
    problems = []
    for path, _ in tree.cpp("services/"):
        service, layer = path.split("/")[1], path.split("/")[2]
        for line, what in tree.includes(path):
            if not what.startswith("services/"):
                continue
            to_service, to_layer = what.split("/")[1], what.split("/")[2]
            for_tests = to_service == "testing" and path.rsplit(".", 1)[0].endswith(("_test", "_testing"))
            if to_service != service and not for_tests:
                problems.append("%s:%d: a service may not include another's %s" % (path, line, what))
            beneath = {"domain": ("domain",), "store": ("domain", "store")}.get(layer)
            above = "." not in layer and layer not in ("service", "testing") and to_layer == "service"
            if above or (beneath and to_layer not in beneath):
                problems.append("%s:%d: %s/ may not know %s" % (path, line, layer, what))
        if layer == "domain":
            for what, chain in tree.reached(path).items():
                if NOT_IN_DOMAIN.search(what) and not path.endswith("_test.cc"):
                    problems.append("%s: domain code may not know %s (%s)" % (path, what, " > ".join(chain)))
    return problems


def boringssl(tree):
    """BoringSSL stays in lib/crypto and lib/transport, and does not show in their public headers."""
    problems = []
    for path, _ in tree.cpp():
        for line, what in tree.includes(path):
            if what.startswith("openssl/") and not path.startswith(MAY_USE_LIBCRYPTO):
                problems.append("%s:%d: only lib/crypto and lib/transport may include %s" % (path, line, what))
            if what in LIBSSL and not path.startswith(MAY_USE_LIBSSL):
                problems.append("%s:%d: only lib/transport may include %s" % (path, line, what))
            folder = path.rsplit("/", 1)[0]
            if what in INTERNAL_HEADERS and what.rsplit("/", 1)[0] != folder and not path.startswith(
                    ("lib/transport/", "tests/", "bench/")):
                problems.append("%s:%d: %s is internal to its folder" % (path, line, what))
        if path.endswith(".h") and path.startswith(("lib/", "services/", "clients/")) and path not in INTERNAL_HEADERS:
            for what, chain in tree.reached(path).items():
                if what.startswith("openssl/"):
                    problems.append("%s: a public header lets BoringSSL through (%s)" % (path, " > ".join(chain)))
                    break
    return problems


def paths(tree):
    """Documents name files that exist."""
    problems = []
    for document, text in tree.select(".md"):
        for path in re.findall(r"`((?:lib|services|clients|tests|docs)/[\w/]+\.(?:cc|h|md|proto|py))`", text):
            if path not in tree.files:
                problems.append("%s: there is no %s" % (document, path))
    return problems


CHECKS = (folders, services, boringssl, paths)
