"""The services on an etcd that is not as it should be: each says so in one sentence, and writes nothing there."""

import json
import pathlib
import secrets
import subprocess
import tempfile
import unittest
import urllib.request

from tests import stack

PROGRAMS = {"keyd": stack.KEYD, "taskd": stack.TASKD, "enrolld": stack.ENROLLD}
# An etcd before 3.4, as far as a service asks before it goes away.
TOO_OLD = """
import sys
from concurrent import futures
import grpc
class Status(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\\x12\\x063.3.27")
server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Status()])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
"""


def make_certificates(folder, name):
    """{name}-ca.pem, and {name}.pem with {name}.key of 127.0.0.1 under it. The path without an ending."""
    path = folder / name
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=parley"]
    pathlib.Path("%s.ext" % path).write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for command in (["req", "-x509", *key, "-keyout", "%s-ca.key" % path, "-out", "%s-ca.pem" % path],
                    ["req", "-new", *key, "-keyout", "%s.key" % path, "-out", "%s.csr" % path],
                    ["x509", "-req", "-in", "%s.csr" % path, "-CA", "%s-ca.pem" % path, "-CAkey", "%s-ca.key" % path,
                     "-CAcreateserial", "-extfile", "%s.ext" % path, "-out", "%s.pem" % path]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    pathlib.Path("%s.key" % path).chmod(0o600)
    return path


class Etcd:
    """The `etcd` in PATH. A context manager, in which it serves; with `alone`, its two fellows never come."""

    def __init__(self, tls=None, alone=False):
        self._folder = tempfile.TemporaryDirectory(prefix="parley-", dir="/tmp")
        self._tls, self._alone = tls, alone
        self.address = stack.free_address()
        self._scheme = "https" if tls else "http"
        self.url = "%s://%s" % (self._scheme, self.address)

    def __enter__(self):
        peers = ["http://" + stack.free_address() for _ in range(3 if self._alone else 1)]
        command = ["etcd", "--name", "m0", "--data-dir", self._folder.name, "--listen-client-urls", self.url,
                   "--advertise-client-urls", self.url, "--listen-peer-urls", peers[0],
                   "--initial-advertise-peer-urls", peers[0], "--logger", "zap",
                   "--initial-cluster", ",".join("m%d=%s" % peer for peer in enumerate(peers))]
        if self._tls:
            command += ["--client-cert-auth", "--trusted-ca-file", "%s-ca.pem" % self._tls,
                        "--cert-file", "%s.pem" % self._tls, "--key-file", "%s.key" % self._tls]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not self._alone:
            while "serving client traffic" not in (line := self._process.stdout.readline()):
                if not line:
                    raise AssertionError("etcd has ended")
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def control(self, *arguments):
        return subprocess.run(["etcdctl", "--endpoints", self.url, *arguments], check=True, capture_output=True,
                              text=True).stdout

    def content(self, prefix=""):
        """Every key and value but who is there at present."""
        entries = json.loads(self.control("get", prefix, "--prefix", "-w", "json")).get("kvs", [])
        return {entry["key"]: (entry.get("value"), entry["mod_revision"])
                for entry in entries if not entry.get("lease")}

    def alarm(self, action, alarm):
        request = json.dumps({"action": action, "alarm": alarm, "memberID": self.member()}).encode()
        with urllib.request.urlopen(self.url + "/v3/maintenance/alarm", request, timeout=stack.TIMEOUT_S):
            pass

    def member(self):
        with urllib.request.urlopen(self.url + "/v3/maintenance/status", b"{}", timeout=stack.TIMEOUT_S) as answer:
            return json.load(answer)["header"]["member_id"]


class Organisation:
    """Services of one organisation, which keep their stores in an etcd, under a prefix."""

    def __init__(self, folder, etcd, prefix):
        self.folder, self.store = folder, "etcd:%s/%s" % (etcd.url, prefix)
        folder.mkdir()
        self.addresses = {name: stack.free_address() for name in PROGRAMS}
        for name in ("kek", "seal.key"):
            self.make_key(name)

    def make_key(self, name):
        path = self.folder / name
        path.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
        return path

    def command(self, name, **flags):
        """The service's, with some flags otherwise."""
        given = {"data": self.folder / name, "listen": self.addresses[name], "store": self.store,
                 "names": "localhost,127.0.0.1"}
        if name == "keyd":
            given["kek_file"] = self.folder / "kek"
            given.update({other + "_address": address for other, address in self.addresses.items()})
        else:
            given["keyd_credential"] = self.folder / "keyd/credentials" / (name + ".credential")
        if name == "taskd":
            given["seal_key_file"] = self.folder / "seal.key"
        given.update(flags)
        return [str(PROGRAMS[name]), *(part for flag, value in given.items()
                                       for part in ("--" + flag.replace("_", "-"), str(value)))]

    def start(self, name):
        return stack.Service(*self.command(name)).wait_until_serving()


class Refusals(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="parley-", dir="/tmp")))
        cls.etcd = cls.enterClassContext(Etcd())
        cls.ours = Organisation(cls.folder / "ours", cls.etcd, "ours")
        cls.theirs = Organisation(cls.folder / "theirs", cls.etcd, "theirs")
        # Two organisations in one etcd.
        for organisation in (cls.ours, cls.theirs):
            for name in PROGRAMS:
                cls.addClassCleanup(organisation.start(name).kill)

    def elsewhere(self, name, url, **flags):
        """A service of ours with new data, whose store is in that etcd."""
        return self.ours.command(name, store="etcd:" + url, listen="127.0.0.1:0",
                                 data=tempfile.mkdtemp(dir=self.folder), **flags)

    def refused(self, command):
        """What a service says at last that does not start."""
        result = subprocess.run(command, capture_output=True, text=True, timeout=stack.TIMEOUT_S, check=False)
        # What it says on its way there is JSON.
        said = [line for line in result.stderr.splitlines() if not line.startswith("{")]
        self.assertEqual((result.returncode, len(said)), (1, 1), result.stderr)
        return said[0]

    def assert_waiting(self, why, *urls):
        """Every service says so, and ends at once when it is told to."""
        services = [stack.Service(*self.elsewhere(name, url)) for name in PROGRAMS for url in urls]
        for service in services:
            self.assertIn(why, service.wait_until_said("the store cannot be reached yet, and is waited for")["error"])
            self.assertEqual(service.stop(), 0)

    def test_keys_of_others_and_data_of_others(self):
        ours, theirs = self.ours, self.theirs
        new = {"listen": "127.0.0.1:0", "data": self.folder / "new"}
        before = self.etcd.content("ours/taskd/"), self.etcd.content("ours/enrolld/")
        self.assertTrue(all(before))
        self.assertIn("taskd: the sealing key is not the one that this store was begun with",
                      self.refused(ours.command("taskd", seal_key_file=theirs.folder / "seal.key", **new)))
        for name in ("taskd", "enrolld"):
            self.assertIn("%s: what etcd has under ours/%s/ is the store of the organisation parley" % (name, name),
                          self.refused(theirs.command(name, store=ours.store, **new)))
        self.assertEqual((self.etcd.content("ours/taskd/"), self.etcd.content("ours/enrolld/")), before)
        before = self.etcd.content("ours/keyd/")
        for command in (ours.command("keyd", kek_file=theirs.folder / "kek", **new),
                        theirs.command("keyd", store=ours.store, **new),
                        # Where their organisation's credentials are.
                        theirs.command("keyd", store=ours.store, listen="127.0.0.1:0")):
            self.assertIn("%s/kek: the key-encryption key is not the one that this data was sealed under" %
                          theirs.folder, self.refused(command))
        self.assertEqual(self.etcd.content("ours/keyd/"), before)

    def test_an_alarm(self):
        with Etcd() as etcd:
            for alarm, way_out in (("CORRUPT", "replace the member whose data are damaged"),
                                   ("NOSPACE", "compact and defragment it or raise --quota-backend-bytes")):
                etcd.alarm("ACTIVATE", alarm)
                for name in PROGRAMS:
                    self.assertIn("%s: etcd has raised the alarm %s; %s" % (name, alarm, way_out),
                                  self.refused(self.elsewhere(name, etcd.url)))
                etcd.alarm("DEACTIVATE", alarm)
            self.assertEqual(etcd.content(), {})

    def test_one_that_is_too_old(self):
        with subprocess.Popen([stack.PYTHON, "-c", TOO_OLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as old:
            url = "http://127.0.0.1:" + old.stdout.readline().strip()
            for name in PROGRAMS:
                self.assertEqual(self.refused(self.elsewhere(name, url)),
                                 "%s: etcd has version 3.3.27, and Parley needs 3.4 or newer; upgrade it" % name)
            old.stdin.close()

    def test_one_that_is_not_there_is_waited_for(self):
        nobody = "http://" + stack.free_address()
        self.assert_waiting("etcd can not be reached, or fewer than half of its members run; nothing was changed: "
                            "%s does not serve" % nobody, nobody)

    def test_one_without_a_majority_is_waited_for(self):
        with Etcd(alone=True) as alone:
            self.assert_waiting("etcd can not be reached, or fewer than half of its members run", alone.url)

    def test_one_that_is_not_genuine_or_does_not_take_us(self):
        good, bad = (make_certificates(self.folder, name) for name in ("good", "bad"))

        def flags(ca, certificate, key):
            return {"store_ca": "%s-ca.pem" % ca, "store_cert": "%s.pem" % certificate, "store_key": "%s.key" % key}

        with Etcd(tls=good) as etcd:
            localhost = etcd.url.replace("127.0.0.1", "localhost")
            for name in PROGRAMS:
                for url, files, said in (
                        (etcd.url, (bad, good, good), "is not good (unable to get local issuer certificate)"),
                        (localhost, (good, good, good), "is not good (Hostname mismatch)"),
                        (etcd.url, (good, bad, bad), "refused this client's certificate"),
                        (etcd.url, (good, good, bad), "certificate and private key do not belong together")):
                    self.assertIn(said, self.refused(self.elsewhere(name, url, **flags(*files))))
            self.assert_waiting("does not serve", etcd.url.replace("https:", "http:"))

    def test_a_malformed_one_is_named_by_the_check_too(self):
        for name in PROGRAMS:
            for url, said in (("https://127.0.0.1:1", "https needs three files"),
                              ("http://192.0.2.1:2379", "would carry secrets in the clear"),
                              ("unix:/" + 120 * "s", "the path of a socket has at most 107 bytes"),
                              ("http://127.0.0.1:1/a//b", "the prefix \"a//b\" must have")):
                command = self.elsewhere(name, url)
                self.assertIn(said, self.refused(command))
                self.assertIn("%s: --store: " % name, self.refused([*command, "--check-config"]))
                self.assertIn(said, self.refused([*command, "--check-config"]))
            good = subprocess.run([*self.elsewhere(name, self.etcd.url), "--check-config"], capture_output=True,
                                  text=True, timeout=stack.TIMEOUT_S, check=False)
            self.assertEqual((good.returncode, good.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
