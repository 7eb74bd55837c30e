"""curl with exported credentials on the real port."""

import gzip
import json
import os
import re
import subprocess
import tempfile
import unittest
import uuid

from tests import stack

README = stack.RUNFILES / "README.md"
FILES = {"files": [{"path": "motd", "content": "aGVsbG8K"}]}


class Curl(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.issue("auditor", "auditor")

    def command(self, path, *options, credential="operator"):
        folder = self.stack.exported(credential)
        return ["curl", "-sS", "--max-time", str(stack.TIMEOUT_S), "--cacert", folder / "ca.pem", "--cert",
                folder / "client.pem", "--key", folder / "client.key", *options,
                "https://%s%s" % (self.stack.taskd_address, path)]

    def curl(self, path, *options, stdin=b"", **named):
        """(status, header fields, body) of a request."""
        result = subprocess.run(self.command(path, "-D", "/dev/stderr", *options, **named), input=stdin,
                                capture_output=True, check=True)
        status, *fields = result.stderr.decode().strip().split("\r\n")
        return (int(status.split()[1]),
                {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}, result.stdout)

    def assert_error(self, answer, status, reason):
        self.assertEqual(answer[0], status, answer)
        error = json.loads(answer[2])
        self.assertEqual(error["details"][0]["reason"], reason)
        self.assertTrue(error["message"])

    def create(self, title):
        status, _, body = self.curl("/v1/tasks", "--json", json.dumps(
            {"requestId": str(uuid.uuid4()), "title": title, "files": FILES}))
        self.assertEqual(status, 200, body)
        return json.loads(body)["task"]

    def test_the_line_of_the_readme_creates_a_task(self):
        line = re.search(r"^curl (?:.*\\\n)*.*\n", README.read_text(), re.MULTILINE).group()
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(self.stack.exported(), folder + "/certs")
            answer = subprocess.run(line.replace("127.0.0.1:7443", self.stack.taskd_address), shell=True, cwd=folder,
                                    capture_output=True, check=False, text=True)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        created = json.loads(answer.stdout)
        into = self.stack.folder / "into"
        self.stack.parley("join", "--into", into, "--state", self.stack.folder / "state", "--name", "web-1",
                          stdin=created["joinKey"]["pasted"])
        self.assertEqual((into / "motd").read_text(), "hello\n")
        status, _, body = self.curl("/v1/%s/participants/web-1" % created["task"]["name"])
        self.assertEqual((status, json.loads(body)["state"]), (200, "STATE_CONFIRMED"))

    def watch(self, *options):
        task = self.create("watched")["name"]
        with subprocess.Popen(self.command("/v1/%s:watch" % task, "-N", *options), stdout=subprocess.PIPE,
                              text=True) as watching:
            # A line each, as soon as it happens.
            for verb, state in ((None, "OPEN"), ("pause", "PAUSED"), ("resume", "OPEN"), ("abort", "ABORTED")):
                if verb is not None:
                    self.assertEqual(self.curl("/v1/%s:%s" % (task, verb), "--json", "{}")[0], 200)
                event = json.loads(watching.stdout.readline())["result"]
                self.assertEqual((event["task"]["name"], event["task"]["state"]), (task, "STATE_" + state))
            for line in watching.stdout:
                self.assertEqual(json.loads(line)["result"]["task"]["state"], "STATE_ABORTED")
            self.assertEqual(watching.wait(stack.TIMEOUT_S), 0)

    def test_a_watch_is_one_line_an_event_until_its_end(self):
        self.watch()

    def test_a_compressed_watch_is_too(self):
        self.watch("--compressed")

    def test_bodies_are_gzip_for_who_wants_it(self):
        _, plain, document = self.curl("/openapi.json")
        self.assertNotIn("content-encoding", plain)
        _, zipped, unzipped = self.curl("/openapi.json", "--compressed")
        self.assertEqual(zipped["content-encoding"], "gzip")
        self.assertLess(int(zipped["content-length"]), len(document) / 4)
        self.assertEqual(unzipped, document)
        request = {"requestId": str(uuid.uuid4()), "title": "from gzip", "files": FILES}
        status, _, body = self.curl("/v1/tasks", "-H", "Content-Type: application/json", "-H",
                                    "Content-Encoding: gzip", "--data-binary", "@-",
                                    stdin=gzip.compress(json.dumps(request).encode()))
        self.assertEqual((status, json.loads(body)["task"]["title"]), (200, "from gzip"))

    def test_errors_have_their_status_and_say_what_to_do(self):
        self.assert_error(self.curl("/v1/tasks/nowhere-0000"), 404, "TASK_NOT_FOUND")
        self.assert_error(self.curl("/v1/nothing"), 404, "ROUTE_NOT_FOUND")
        self.assert_error(self.curl("/v1/tasks?pageSize=1001"), 400, "PAGE_SIZE")
        self.assert_error(self.curl("/v1/tasks", "--json", "{"), 400, "JSON_MALFORMED")
        self.assert_error(self.curl("/v1/tasks", "--json", "{}", credential="auditor"), 403, "ROLE_NOT_ALLOWED")
        answer = self.curl("/v1/tasks", "-X", "DELETE")
        self.assert_error(answer, 405, "METHOD_NOT_ALLOWED")
        self.assertEqual(sorted(answer[1]["allow"].split(", ")), ["GET", "POST"])
        self.assert_error(self.curl("/v1/tasks", "-d", "title=x"), 415, "CONTENT_TYPE")

    def test_an_etag_says_what_was_seen(self):
        task = self.create("etag")
        path = "/v1/" + task["name"]
        status, fields, _ = self.curl(path)
        self.assertEqual((status, fields["etag"]), (200, '"%s"' % task["etag"]))
        seen = fields["etag"]
        self.assertEqual(self.curl(path, "-H", "If-None-Match: " + seen)[::2], (304, b""))
        status, fields, body = self.curl(path + ":pause", "-X", "POST", "-H", "If-Match: " + seen)
        self.assertEqual((status, json.loads(body)["state"]), (200, "STATE_PAUSED"))
        self.assertNotEqual(fields["etag"], seen)
        self.assert_error(self.curl(path + ":resume", "-X", "POST", "-H", "If-Match: " + seen), 412, "ETAG_DIFFERS")
        self.assertEqual(self.curl(path + ":resume", "-X", "POST", "-H", "If-Match: " + fields["etag"])[0], 200)

    def test_nobody_without_a_certificate(self):
        result = subprocess.run(["curl", "-sS", "--cacert", self.stack.exported() / "ca.pem",
                                 "https://%s/openapi.json" % self.stack.taskd_address], capture_output=True,
                                check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stdout, b"")


if __name__ == "__main__":
    unittest.main()
