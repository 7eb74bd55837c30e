"""The samples in other languages, grpcurl and curl do the same job on a real stack; what it recorded is compared."""

import base64
import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest
import uuid

from tests import stack
from tests.samples import build

FILES = {"nginx.conf": ("worker_processes 1;\n", 0o644), "sites/hello.conf": ("listen 8088;\n", 0o600),
         "hook": ("#!/bin/sh\n", 0o755), "empty": ("", 0o644)}


def read_files(folder):
    return {str(path.relative_to(folder)): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
            for path in pathlib.Path(folder).rglob("*") if path.is_file()}


class Samples(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.issue("auditor", "auditor")
        # By name: Node warns of TLS to an IP address.
        cls.address = cls.stack.taskd_address.replace("127.0.0.1", "localhost")
        cls.folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.payload = cls.folder / "site"
        for path, (content, mode) in FILES.items():
            file = cls.payload / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            file.chmod(mode)

    def join(self, name, key):
        into = self.folder / ("into-" + name)
        self.stack.parley("join", "--into", into, "--state", self.folder / ("state-" + name), "--name", "web-1",
                          stdin=key)
        self.assertEqual(read_files(into), FILES)

    def assert_recorded(self, task, title="site"):
        """What the server knows afterwards, whoever made the task."""
        tasks = json.loads(self.stack.parley("task", "list", "--output", "json"))["tasks"]
        shown = next(listed for listed in tasks if listed["name"] == task)
        self.assertEqual(shown["state"], "STATE_COMPLETED")
        self.assertEqual(shown["title"], title)
        self.assertEqual((shown["payloadFiles"], shown["expectedClients"], shown["serverSigned"]), ("4", 1, True))
        self.assertEqual(shown["creator"], "operator")
        self.assertEqual((shown["counts"]["joined"], shown["counts"]["confirmed"]), (1, 1))
        members = json.loads(self.stack.parley("task", "members", task, "--output", "json"))["participants"]
        self.assertEqual([(member["name"], member["state"], member["installedDigest"]) for member in members],
                         [(task + "/participants/web-1", "STATE_CONFIRMED", shown["payloadDigest"])])

    def check_sample(self, language):
        home = self.folder / ("built-" + language)
        home.mkdir()
        command = [str(part) for part in getattr(build, language)(home)]
        with subprocess.Popen([*command, self.payload, self.stack.exported(), self.address], cwd=home,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sample:
            created = sample.stdout.readline().split()
            if not created:
                self.fail(sample.communicate(timeout=stack.TIMEOUT_S)[1])
            self.assertEqual((created[0], created[2]), ("created", "key"))
            key_file = home / created[3]
            self.assertEqual(stat.S_IMODE(key_file.stat().st_mode), 0o600)
            # The watch outlives the server.
            self.stack.taskd.kill()
            self.stack.start_taskd()
            self.join(language, key_file.read_text())
            output, errors = sample.communicate(timeout=stack.TIMEOUT_S)
        self.assertEqual(sample.returncode, 0, errors)
        self.assertEqual(output.splitlines()[-2:], ["web-1 STATE_CONFIRMED", "ended STATE_COMPLETED confirmed 1"])
        self.assert_recorded(created[1])
        self.assert_refused(command, home)

    def assert_refused(self, command, home):
        """An auditor's credentials create nothing, and the sample says so in one line."""
        refused = subprocess.run([*command, self.payload, self.stack.exported("auditor"), self.address],
                                 cwd=home, capture_output=True, text=True, timeout=stack.TIMEOUT_S, check=False)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertRegex(refused.stderr.upper().replace("_", ""), r"^PERMISSIONDENIED: .*\n$")

    def test_python(self):
        self.check_sample("python")

    def test_go(self):
        self.check_sample("go")

    def test_node(self):
        self.check_sample("node")

    def test_java(self):
        self.check_sample("java")

    def check_tool(self, name, create, watch):
        """`create` is a command that reads its request from its input, `watch` makes one of a task's name."""
        request = {"requestId": str(uuid.uuid4()), "title": "site", "expectedClients": 1, "files": {"files": [
            {"path": path, "content": base64.b64encode(content.encode()).decode(), "mode": mode}
            for path, (content, mode) in FILES.items()]}}
        created = json.loads(subprocess.run(create, input=json.dumps(request), check=True, capture_output=True,
                                            text=True).stdout)
        task = created["task"]["name"]
        with subprocess.Popen(watch(task), stdout=subprocess.PIPE, text=True) as watching:
            # Each shows the fields by another name.
            self.join(name, (created.get("joinKey") or created["join_key"])["pasted"])
            output, _ = watching.communicate(timeout=stack.TIMEOUT_S)
        self.assertEqual(watching.returncode, 0)
        self.assertIn("STATE_COMPLETED", output)
        self.assert_recorded(task)

    def test_grpcurl(self):
        folder, service = self.stack.exported(), "parley.task.v1.TaskService/"
        call = [stack.GRPCURL, "-cacert", folder / "ca.pem", "-cert", folder / "client.pem", "-key",
                folder / "client.key", "-d"]
        self.check_tool("grpcurl", [*call, "@", self.address, service + "CreateTask"],
                        lambda task: [*call, json.dumps({"name": task}), self.address, service + "WatchTask"])

    def test_curl(self):
        folder, server = self.stack.exported(), "https://%s/v1/" % self.address
        call = ["curl", "-sS", "-N", "--fail-with-body", "--cacert", folder / "ca.pem", "--cert",
                folder / "client.pem", "--key", folder / "client.key"]
        self.check_tool("curl", [*call, "--json", "@-", server + "tasks"],
                        lambda task: [*call, server + task + ":watch"])


if __name__ == "__main__":
    unittest.main()
