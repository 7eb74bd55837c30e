"""keyd's init containers (deploy/docker/parley-cluster) against a server that answers as Kubernetes' API does."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import threading
import unittest

from tests import stack

PROGRAM = stack.RUNFILES / "deploy/docker/parley-cluster"
SECRETS = "/api/v1/namespaces/parley/secrets"


class Api(http.server.BaseHTTPRequestHandler):
    """Secrets by name; what the manifests' Role does not allow is refused."""

    secrets = {}
    made_meanwhile = {}
    refuse, refused = False, 0
    posted = 0
    # Where keyd's container can read, and what was there at the time of a call though it must not be.
    shared_with_keyd = ()
    exposed = set()
    published = threading.Condition()

    @classmethod
    def wait_until(cls, holds):
        """Until what was published is as it should be."""
        with cls.published:
            if not cls.published.wait_for(holds, stack.TIMEOUT_S):
                raise AssertionError("it was never published")

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def allowed(self):
        for path in (path for folder in self.shared_with_keyd for path in folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                if b"token-of-keyd" in path.read_bytes():
                    self.exposed.add(path)
        if self.refuse or self.headers["Authorization"] != "Bearer token-of-keyd":
            type(self).refused += 1
            self.answer(403, {"kind": "Status", "reason": "Forbidden"})
            self.tell()
            return False
        return True

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        if self.allowed():
            name = self.path[len(SECRETS) + 1:]
            assert name in ("parley-kek", "parley-etcd", "parley-seal"), self.path
            if name in self.secrets:
                self.answer(200, self.secrets[name])
            else:
                self.answer(404, {"kind": "Status", "reason": "NotFound"})

    def do_POST(self):
        if self.allowed():
            assert self.path == SECRETS, self.path
            self.secrets.update(self.made_meanwhile)
            secret = self.body()
            if secret["metadata"]["name"] in self.secrets:
                self.answer(409, {"kind": "Status", "reason": "AlreadyExists"})
            else:
                self.secrets[secret["metadata"]["name"]] = secret
                self.answer(201, secret)
            type(self).posted += 1
            self.tell()

    def do_PATCH(self):
        if self.allowed():
            assert self.headers["Content-Type"] == "application/apply-patch+yaml"
            secret = self.body()
            name = secret["metadata"]["name"]
            assert name in ("parley-taskd", "parley-enrolld")
            assert self.path == "%s/%s?fieldManager=parley-keyd&force=true" % (SECRETS, name), self.path
            status = 200 if name in self.secrets else 201
            self.secrets[name] = secret
            self.answer(status, secret)
            self.tell()

    @classmethod
    def tell(cls):
        with cls.published:
            cls.published.notify_all()


class Cluster(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-", dir="/tmp"))
        # What `follow` had begun when it was ended may still write there.
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.run_folder, self.calls, self.account = (self.folder / name for name in ("run", "calls", "account"))
        for folder in (self.run_folder, self.calls, self.account):
            folder.mkdir()
        for name, text in (("token", "token-of-keyd"), ("namespace", "parley"), ("ca.crt", "")):
            (self.account / name).write_text(text)
        self.data = self.folder / "data/keyd"
        self.api = type("FreshApi", (Api,), {"secrets": {}, "made_meanwhile": {}, "exposed": set(),
                                             "shared_with_keyd": (self.run_folder, self.data)})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.api)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.keyd_address, self.taskd_address, self.enrolld_address = (stack.free_address() for _ in range(3))
        self.environment = {
            "PATH": "%s:%s" % (stack.KEYD.parent, os.environ["PATH"]),
            "PARLEY_API": "http://127.0.0.1:%d" % server.server_port,
            "PARLEY_SERVICE_ACCOUNT": str(self.account), "PARLEY_RUN": str(self.run_folder),
            "PARLEY_CALLS": str(self.calls),
            # As the ConfigMaps of deploy/k8s have them. Under keyd's address for clients nobody answers here, as inside
            # a cluster whose policies let no service out to an ingress.
            "PARLEY_KEYD_DATA": str(self.data), "PARLEY_KEYD_LISTEN": self.keyd_address,
            "PARLEY_KEYD_KEK_FILE": str(self.run_folder / "kek"), "PARLEY_KEYD_ORGANISATION": "sample",
            "PARLEY_KEYD_KEYD_ADDRESS": "keyd.parley.invalid:443", "PARLEY_KEYD_TASKD_ADDRESS": self.taskd_address,
            "PARLEY_KEYD_ENROLLD_ADDRESS": self.enrolld_address,
            "PARLEY_KEYD_NAMES": "keyd.parley.svc,localhost",
            "PARLEY_TASKD_DATA": str(self.folder / "data/taskd"), "PARLEY_TASKD_LISTEN": self.taskd_address,
            "PARLEY_TASKD_KEYD_CREDENTIAL": str(self.run_folder / "taskd.credential"),
            "PARLEY_TASKD_KEYD_ADDRESS": self.keyd_address,
            "PARLEY_TASKD_PUBLIC_ADDRESS": "taskd.parley.svc:7443", "PARLEY_TASKD_NAMES": "taskd.parley.svc,localhost",
            "PARLEY_ENROLLD_DATA": str(self.folder / "data/enrolld"), "PARLEY_ENROLLD_LISTEN": self.enrolld_address,
            "PARLEY_ENROLLD_KEYD_CREDENTIAL": str(self.run_folder / "enrolld.credential"),
            "PARLEY_ENROLLD_KEYD_ADDRESS": self.keyd_address,
            "PARLEY_ENROLLD_PUBLIC_ADDRESS": "enrolld.parley.svc:7445",
            "PARLEY_ENROLLD_NAMES": "enrolld.parley.svc,localhost",
        }

    def cluster(self, *arguments, code=0):
        result = subprocess.run(["sh", PROGRAM, *map(str, arguments)], env=self.environment, capture_output=True,
                                text=True, timeout=stack.TIMEOUT_S, check=False)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stderr

    def init_containers(self):
        self.cluster("kek", self.run_folder / "kek")
        self.cluster("found")
        self.cluster("publish", self.data)

    def secret(self, name, key):
        return base64.b64decode(self.api.secrets[name]["data"][key])

    def serve(self, program):
        """Starts a service with its environment alone, as its container does."""
        os.environ.update(self.environment)
        service = stack.Service(program)
        self.addCleanup(lambda: service.process.poll() is None and service.kill())
        return service.wait_until_serving()

    def try_parley(self, *command, credential):
        if command[0] == "key":
            command = (*command, "--server", self.keyd_address)
        return subprocess.run([stack.PARLEY, *command], capture_output=True, check=False, timeout=stack.TIMEOUT_S,
                              env={**self.environment, "HOME": str(self.folder), "PARLEY_CREDENTIAL": str(credential)})

    def parley(self, *command, credential):
        result = self.try_parley(*command, credential=credential)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_an_empty_cluster_gets_an_organisation_that_serves(self):
        self.init_containers()
        kek = self.run_folder / "kek"
        self.assertEqual(kek.read_bytes(), self.secret("parley-kek", "kek"))
        self.assertEqual((len(kek.read_bytes()), stat.S_IMODE(kek.stat().st_mode)), (32, 0o600))
        for service in ("taskd", "enrolld"):
            self.assertEqual(self.secret("parley-" + service, service + ".credential"),
                             (self.data / "credentials" / (service + ".credential")).read_bytes())
        self.assertEqual(set(self.api.secrets), {"parley-kek", "parley-taskd", "parley-enrolld"})
        for service in ("taskd", "enrolld"):
            # What the init containers of the other pods do.
            credential = self.run_folder / (service + ".credential")
            credential.touch(mode=0o600)
            credential.write_bytes(self.secret("parley-" + service, service + ".credential"))
        services = [self.serve(program) for program in (stack.KEYD, stack.TASKD, stack.ENROLLD)]
        for command in (("task", "list"), ("invite", "list")):
            self.parley(*command, credential=self.data / "credentials/admin.credential")
        self.assertEqual([service.stop() for service in reversed(services)], [0, 0, 0])

    def follow(self):
        self.environment["PARLEY_FOLLOW_SECONDS"] = "0.1"
        follow = subprocess.Popen(["sh", PROGRAM, "follow", self.data], env=self.environment)
        self.addCleanup(lambda: follow.poll() is None and follow.kill())
        self.api.wait_until(lambda: "parley-enrolld" in self.api.secrets)
        return follow

    def test_a_new_root_reaches_the_services_while_they_run(self):
        self.cluster("kek", self.run_folder / "kek")
        self.cluster("found")
        follow = self.follow()
        secret = self.folder / "secret"
        secret.mkdir()
        renewals = []
        for service in ("taskd", "enrolld"):
            (secret / (service + ".credential")).write_bytes(self.secret("parley-" + service, service + ".credential"))
            # The sidecar as its manifest has it, on folders of this test.
            manifest = (stack.RUNFILES / ("deploy/k8s/base/%s.yaml" % service)).read_text()
            script = re.search(r"- name: renew\n(?:.*\n)*?            - \|\n((?: {14}.*\n)+)", manifest).group(1)
            script = script.replace("/secret/", "%s/" % secret).replace("/run/parley/", "%s/" % self.run_folder)
            renewals.append(subprocess.Popen(["sh", "-euc", script], env=self.environment))
            self.addCleanup(lambda process=renewals[-1]: process.poll() is None and process.kill())
        while len(list(self.run_folder.glob("*d.credential"))) < 2:
            pass
        keyd, taskd, enrolld = [self.serve(program) for program in (stack.KEYD, stack.TASKD, stack.ENROLLD)]
        admin = self.folder / "admin.credential"
        # Of the old root, which ends; the new one is for afterwards.
        shutil.copy(self.data / "credentials/admin.credential", admin)
        rotated = json.loads(self.parley("key", "rotate-root", "--output", "json", credential=admin))
        epoch = int(rotated["primaryEpoch"])
        self.parley("key", "issue", "--role", "admin", "--subject", "after", "--out", self.folder / "after",
                    credential=admin)
        for service in ("taskd", "enrolld"):
            renewed = (self.data / "credentials" / (service + ".credential")).read_bytes()
            self.api.wait_until(lambda: self.secret("parley-" + service, service + ".credential") == renewed)
            # What the kubelet does.
            (secret / (service + ".credential")).write_bytes(renewed)
        self.parley("key", "rotate-root", "--retire-before", str(epoch), "--yes",
                    credential=self.folder / "after")
        # Under a key of the new root, and known to services that got it from keyd: nobody was restarted.
        self.parley("task", "list", credential=self.folder / "after")
        self.parley("invite", "list", credential=self.folder / "after")
        revoked = json.loads(self.parley("key", "issue", "--role", "admin", "--subject", "gone", "--out",
                                         self.folder / "gone", "--output", "json", credential=self.folder / "after"))
        self.parley("key", "revoke", revoked["name"].split("/")[1], credential=self.folder / "after")
        while self.try_parley("task", "list", credential=self.folder / "gone").returncode == 0:
            pass
        for process in (*renewals, follow):
            process.terminate()
            self.assertEqual(process.wait(stack.TIMEOUT_S), 0)
        self.assertEqual([service.stop() for service in (enrolld, taskd, keyd)], [0, 0, 0])

    def test_again_changes_nothing(self):
        self.init_containers()
        before = json.dumps(self.api.secrets)
        (self.run_folder / "kek").unlink()
        self.init_containers()
        self.assertEqual(json.dumps(self.api.secrets), before)

    def test_no_trace_of_secrets_stays_beside_them(self):
        self.init_containers()
        self.assertEqual({path.name for path in self.run_folder.iterdir()}, {"kek", "serving"})
        self.assertEqual(list(self.calls.iterdir()), [])

    def test_keyd_never_sees_the_token_of_the_api(self):
        self.init_containers()
        self.follow()
        self.assertEqual(self.api.exposed, set())

    def test_a_secret_that_was_deleted_comes_back(self):
        self.cluster("kek", self.run_folder / "kek")
        self.cluster("found")
        self.follow()
        before = dict(self.api.secrets)
        for name in ("parley-taskd", "parley-enrolld"):
            del self.api.secrets[name]
            self.api.wait_until(lambda name=name: self.api.secrets.get(name) == before[name])

    def test_credentials_of_another_keyd_stay(self):
        """Of three keyds on one store each has its own, and what one has published last is as good as the others'."""
        self.cluster("kek", self.run_folder / "kek")
        self.cluster("found")
        self.follow()
        others = {name: {"metadata": {"name": name}, "data": {}} for name in ("parley-taskd", "parley-enrolld")}
        self.api.secrets.update(others)
        before = self.api.posted
        self.api.wait_until(lambda: self.api.posted >= before + 4)
        self.assertEqual({name: self.api.secrets[name] for name in others}, others)

    def test_an_api_that_is_away_for_a_while_ends_nothing(self):
        self.cluster("kek", self.run_folder / "kek")
        self.cluster("found")
        follow = self.follow()
        self.api.refuse = True
        self.api.wait_until(lambda: self.api.refused > 1)
        del self.api.secrets["parley-taskd"]
        self.api.refuse = False
        self.api.wait_until(lambda: "parley-taskd" in self.api.secrets)
        self.assertIsNone(follow.poll())

    def test_who_is_second_takes_the_key_of_who_was_first(self):
        other = base64.b64encode(b"k" * 32).decode()
        self.api.made_meanwhile = {"parley-kek": {"metadata": {"name": "parley-kek"}, "data": {"kek": other}}}
        self.cluster("kek", self.run_folder / "kek")
        self.assertEqual((self.run_folder / "kek").read_bytes(), b"k" * 32)

    def test_data_whose_key_is_lost_gets_no_other(self):
        self.init_containers()
        del self.api.secrets["parley-kek"]
        self.assertIn("put it back from a backup", self.cluster("kek", self.run_folder / "kek", code=1))
        # The data may be in a store elsewhere.
        (self.data / "keyd.db").unlink()
        self.assertIn("put it back from a backup", self.cluster("kek", self.run_folder / "kek", code=1))
        self.assertNotIn("parley-kek", self.api.secrets)

    def test_a_damaged_key_is_refused(self):
        self.api.secrets["parley-kek"] = {"metadata": {"name": "parley-kek"}, "data": {"kek": "c2hvcnQ="}}
        self.assertIn("holds no 32 bytes", self.cluster("kek", self.run_folder / "kek", code=1))

    def test_what_the_role_does_not_allow_is_said(self):
        self.api.refuse = True
        self.assertIn("HTTP 403", self.cluster("kek", self.run_folder / "kek", code=1))
        self.assertIn("HTTP 403", self.cluster("etcd", self.run_folder / "etcd", code=1))

    def test_etcd_gets_certificates_once(self):
        self.cluster("etcd", self.run_folder / "etcd")
        made = dict(self.api.secrets["parley-etcd"]["data"])
        self.assertEqual(set(made), {"ca.crt", "member.crt", "member.key", "client.crt", "client.key"})
        self.assertEqual(list(self.calls.iterdir()), [])
        # Another replica has them from the Secret.
        self.cluster("etcd", self.run_folder / "other")
        self.assertEqual(self.api.secrets["parley-etcd"]["data"], made)
        for folder in ("etcd", "other"):
            files = {path.name: path for path in (self.run_folder / folder).iterdir()}
            self.assertEqual(set(files), {"ca.crt", "client.crt", "client.key"})
            for name, path in files.items():
                self.assertEqual(path.read_bytes(), base64.b64decode(made[name]))
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_the_sealing_key_of_taskds_is_made_once(self):
        self.cluster("seal")
        made = dict(self.api.secrets["parley-seal"]["data"])
        self.assertEqual(set(made), {"seal.key"})
        self.assertEqual(len(base64.b64decode(made["seal.key"])), 32)
        self.assertEqual(list(self.calls.iterdir()), [])
        self.cluster("seal")
        self.assertEqual(self.api.secrets["parley-seal"]["data"], made)

    def test_a_client_of_etcd_passes_for_no_member(self):
        self.cluster("etcd", self.run_folder / "etcd")
        for name, value in self.api.secrets["parley-etcd"]["data"].items():
            (self.folder / name).write_bytes(base64.b64decode(value))

        def verify(name, purpose, *options):
            command = ["openssl", "verify", "-CAfile", self.folder / "ca.crt", "-purpose", purpose, *options]
            command.append(self.folder / (name + ".crt"))
            return subprocess.run(command, capture_output=True, check=False).returncode
        for member in ("etcd-0.etcd", "etcd-1.etcd", "etcd-2.etcd"):
            self.assertEqual(verify("member", "sslserver", "-verify_hostname", member), 0)
        self.assertNotEqual(verify("member", "sslserver", "-verify_hostname", "etcd-3.etcd"), 0)
        self.assertEqual(verify("member", "sslclient"), 0)
        self.assertEqual(verify("client", "sslclient"), 0)
        self.assertNotEqual(verify("client", "sslserver"), 0)
        names = [subprocess.run(["openssl", "x509", "-noout", "-subject", "-in", self.folder / name],
                                capture_output=True, check=True, text=True).stdout.strip()
                 for name in ("member.crt", "client.crt")]
        self.assertEqual(names, ["subject=CN = etcd", "subject=CN = parley"])

    def test_data_from_a_backup_is_closed_to_the_group_again(self):
        self.init_containers()
        for path in [self.data, *self.data.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o060)
        self.init_containers()

    def test_a_keyd_that_does_not_start_is_said(self):
        self.environment["PARLEY_KEYD_NAMES"] = "no name!"
        self.cluster("kek", self.run_folder / "kek")
        self.assertIn("keyd does not start", self.cluster("found", code=1))


if __name__ == "__main__":
    unittest.main()
