"""Tests on a Kubernetes of their own, which has the images of this tree."""

import contextlib
import json
import pathlib
import subprocess
import tempfile
import time
import unittest

import images
import kubernetes
from kubernetes import ROOT, Presence, Shell, cluster, until

REGISTRY = "registry.test"
# Of one content: the one that is installed, and the one after an upgrade.
VERSIONS = ("0.1.0", "0.2.1")
FOLLOWERS = 6
SERVICES = ("keyd", "taskd", "enrolld")
CLIENT = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": "default"},
    "spec": {"terminationGracePeriodSeconds": 0, "containers": [
        {"name": "client", "image": REGISTRY + "/parley:0.1.0", "command": ["sleep", "infinity"],
         "env": [{"name": "HOME", "value": "/tmp"}]}]}}


def say(what):
    print("\n    " + what, end=" ", flush=True)


class OnCluster(unittest.TestCase):
    """Each step goes on where the one before it ended, in the order of their names."""

    NODES = 2
    IMAGES = ("parley", "parley-init")

    @classmethod
    def setUpClass(cls):
        images.prepare()
        cls.shell = None
        images.run(ROOT / "deploy/docker/build", "--base", images.BASE, "--programs", ROOT / ".tools/bin", "cluster")
        cluster("down")
        cls.addClassCleanup(cluster, "down")
        cluster("up", cls.NODES)
        for image in cls.IMAGES:
            cluster("load", "localhost/%s:cluster" % image,
                    *("%s/%s:%s" % (REGISTRY, image, version) for version in VERSIONS))
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="parley-", dir="/tmp")))
        cls.shell = Shell(folder)
        cls.kubectl = cls.shell.kubectl
        (folder / "site").mkdir()
        (folder / "password").write_text("four random words here\n")
        cls.joined = 0

    def apply(self, overlay):
        code, out, errors = self.shell.attempt("kubectl", "apply", "-k", "deploy/k8s/overlays/" + overlay)
        self.assertEqual((code, errors), (0, ""), out)
        return out

    @contextlib.contextmanager
    def until_ready(self, overlay):
        """Waits, and says how long it took from here."""
        start = time.monotonic()
        yield
        self.shell.wait_until_ready()
        say("overlays/%s was ready after %.0f s" % (overlay, time.monotonic() - start))

    def parley(self, *arguments, credential="operator"):
        return self.shell.run("parley", *arguments, "--credential", credential + ".credential")

    def create(self, text):
        """A task; its id and join key."""
        (self.shell.folder / "site/motd").write_text(text)
        created = json.loads(self.parley("task", "create", "site", "--payload", "site", "--ttl", "1h", "--server",
                                         "127.0.0.1:7443", "--output", "json"))
        return created["task"]["name"].split("/")[1], created["joinKey"]["pasted"]

    def join(self, key, *prefix, options=(), stderr=subprocess.STDOUT):
        """Begins to join, as another machine each time."""
        type(self).joined += 1
        into = "/tmp/into-%d" % self.joined if prefix else "into-%d" % self.joined
        process = self.shell.popen(*prefix, "parley", "join", "--into", into, "--state", into + ".state", "--name",
                                   "m%d" % self.joined, "--check", "true", "--apply", "true", *options,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        process.stdin.write(key.encode() + b"\n")
        process.stdin.close()
        process.stdin = None
        return process

    def join_in_cluster(self, key):
        return self.join(key, "kubectl", "exec", "-i", "client", "--")

    def assert_confirmed(self, *joins):
        for process in joins:
            with process:
                out = process.communicate(timeout=kubernetes.TIMEOUT_S)[0].decode()
            self.assertEqual(process.returncode, 0, out)
            self.assertIn("confirmed", out)

    def assert_it_works(self):
        with self.shell.forwarded():
            _, key = self.create("hello %d\n" % self.joined)
        self.assert_confirmed(self.join_in_cluster(key))

    def start_client(self):
        """A pod that clients run in."""
        self.shell.run("kubectl", "create", "-f", "-", stdin=json.dumps(CLIENT).encode())
        self.shell.run("kubectl", "wait", "--for=condition=Ready", "pod/client", "--timeout=120s")

    def taskd(self):
        """Its address in the cluster, which a forwarded port is not: that leads to one pod alone."""
        return self.shell.get("service", "taskd")["spec"]["clusterIP"] + ":7443"

    @contextlib.contextmanager
    def followers(self):
        """Clients that stay, on the first node, which no pod's end ends; their task, and what publishes for them. Says
        how long each was away.
        """
        with self.shell.forwarded():
            task, key = self.create("revision 1\n")
        with contextlib.ExitStack() as stack:
            presences = []
            for _ in range(FOLLOWERS):
                process = stack.enter_context(self.join(
                    key, options=("--server", self.taskd(), "--follow", "--output", "json"),
                    stderr=subprocess.DEVNULL))
                presences.append(stack.enter_context(Presence(process)))

            def wait_until_confirmed(revision):
                for presence in presences:
                    presence.wait_until_confirmed(revision)

            def publish(again=False):
                """With `again`, as often as it takes."""
                revision = presences[0].confirmed + 1
                (self.shell.folder / "site/motd").write_text("revision %d\n" % revision)
                command = ("parley", "task", "publish", task, "--payload", "site", "--server", self.taskd(),
                           "--credential", "operator.credential")
                if again:
                    until(lambda: self.shell.attempt(*command)[0] == 0, "a publication")
                else:
                    self.shell.run(*command)
                wait_until_confirmed(revision)

            wait_until_confirmed(1)
            yield task, publish
            publish()
            for presence in presences:
                say("a client was away: %s" % (", ".join("%.1f s" % seconds for seconds in presence.away) or "never"))
