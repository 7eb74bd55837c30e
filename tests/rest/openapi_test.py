"""schemathesis makes requests out of /openapi.json, good and bad ones, and finds no answer that the document does not
allow: no 5xx, no malformed JSON, nothing accepted that breaks a schema, no method served that is not in it."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from tests import stack

SCHEMATHESIS = stack.TOOLS / "schemathesis/bin/schemathesis"
HOOKS = pathlib.Path(__file__).resolve().parent / "hooks.py"
# The same requests each time, and so many for each operation and phase.
SEED, EXAMPLES = 20261122, 8
# What a schema allows a service may still refuse, because a rule is about two fields, or about what it has stored.
UNCHECKED = "positive_data_acceptance"
# These have no end, and schemathesis reads to the end.
ENDLESS = r":watch$"
TIMEOUT_S = 240
CONFIGURATION = """
[dictionaries.known]
values = %s

[parameters]
"path.%s" = { dictionary = "known", probability = 0.5 }
"""


class OpenApi(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)

    def check(self, audience, credential, resource, names):
        """`names` are ones that exist, to be asked for in half of the requests."""
        with tempfile.TemporaryDirectory() as folder:
            certificates = self.stack.exported(credential, audience)
            configuration = pathlib.Path(folder) / "schemathesis.toml"
            configuration.write_text(CONFIGURATION % (json.dumps(names), resource))
            result = subprocess.run(
                [SCHEMATHESIS, "--config-file", configuration, "run",
                 "https://%s/openapi.json" % getattr(self.stack, audience + "_address"), "--tls-verify",
                 certificates / "ca.pem", "--request-cert", certificates / "client.pem", "--request-cert-key",
                 certificates / "client.key", "--seed", str(SEED), "--max-examples", str(EXAMPLES), "--exclude-checks",
                 UNCHECKED, "--exclude-path-regex", ENDLESS, "--generation-database", "none", "--no-shrink",
                 "--continue-on-failure", "--warnings", "off", "--no-color"],
                cwd=folder, env={**os.environ, "HOME": folder, "SCHEMATHESIS_HOOKS": str(HOOKS)},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertRegex(result.stdout, r"\n +\d+ generated, \d+ passed", result.stdout)

    def test_taskd(self):
        (self.stack.home / "motd").write_text("hello\n")
        tasks = [json.loads(self.stack.parley("task", "create", name, "--payload", self.stack.home / "motd", "--output",
                                              "json"))["task"]["name"].split("/")[1] for name in ("one", "two")]
        self.check("taskd", "operator", "task", tasks)

    def test_enrolld(self):
        made = json.loads(self.stack.parley("invite", "user", "bob", "--role", "operator", "--output", "json",
                                            credential="admin"))
        self.check("enrolld", "admin", "invitation", [made["invitation"]["name"].split("/")[1]])

    def test_keyd(self):
        self.stack.issue("device", "web-1")
        records = json.loads(self.stack.parley("key", "list", "--output", "json", credential="admin"))["credentials"]
        self.check("keyd", "admin", "credential", [records[-1]["name"].split("/")[1]])


if __name__ == "__main__":
    unittest.main()
