"""SIGTERM under load: what was accepted is answered, and the process ends within the grace period with exit code 0."""

import json
import os
import pathlib
import subprocess
import time
import unittest

from tests import stack

CLIENTS = 64
# deploy/k8s: terminationGracePeriodSeconds.
GRACE_S = 30
PROTOS = ["google/api/annotations.proto", "google/api/http.proto", "parley/access/v1/access.proto",
          "parley/enrol/v1/invitation_service.proto", "parley/key/v1/key_service.proto",
          "parley/task/v1/manifest.proto", "parley/task/v1/task.proto", "parley/task/v1/task_service.proto"]


class Shutdown(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stubs = stack.python_stubs(*PROTOS)

    def setUp(self):
        self.stack = self.enterContext(stack.Stack())

    def load(self, service):
        program = pathlib.Path(__file__).resolve().parent / "load.py"
        return subprocess.Popen([stack.PYTHON, program, service, getattr(self.stack, service + "_address"),
                                 self.stack.exported("admin", service), str(CLIENTS)],
                                env={"PYTHONPATH": self.stubs, "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE,
                                text=True)

    def check_that_no_accepted_call_is_lost(self, service, method, field, *command):
        process = getattr(self.stack, service)
        with self.load(service) as clients:
            self.assertEqual(clients.stdout.readline(), "at work\n")
            began = time.monotonic()
            self.assertEqual(process.stop(), 0)
            took = time.monotonic() - began
            calls = json.loads(clients.stdout.read())
        self.assertLess(took, GRACE_S)
        # Every call was sampled, so the server's log has each that it accepted, with how it ended.
        accepted = {}
        for line in process.log:
            event = json.loads(line)
            if event["message"] == "call" and event["method"].endswith("." + method):
                accepted[event["trace_id"]] = event["code"]
        answered = {trace: result for trace, result in calls.items() if "/" in result}
        self.assertGreaterEqual(len(answered), CLIENTS)
        self.assertEqual(set(accepted.values()), {"OK"})
        self.assertEqual(set(accepted), set(answered), "accepted, but not answered, or the reverse")
        # The others were not begun, and may be tried again: there was no connection any more, or gRPC had just told the
        # client so while the call was on its way.
        self.assertLessEqual({code for trace, code in calls.items() if trace not in answered},
                             {"UNAVAILABLE", "CANCELLED"})
        getattr(self.stack, "start_" + service)()
        listed = json.loads(self.stack.parley("--output", "json", *command, credential="admin"))[field]
        self.assertLessEqual(set(answered.values()), {resource["name"] for resource in listed})
        print("%s: %d calls of %d clients, the end %.2f s after SIGTERM" % (service, len(answered), CLIENTS, took))

    def test_taskd_loses_no_accepted_call(self):
        self.check_that_no_accepted_call_is_lost("taskd", "CreateTask", "tasks", "task", "list")

    def test_keyd_loses_no_accepted_call(self):
        self.check_that_no_accepted_call_is_lost("keyd", "IssueCredential", "credentials", "key", "list")

    def test_enrolld_loses_no_accepted_call(self):
        self.check_that_no_accepted_call_is_lost("enrolld", "CreateInvitation", "invitations", "invite", "list")

    def test_all_services_end_quickly_while_others_follow_them(self):
        for service in (self.stack.keyd, self.stack.taskd, self.stack.enrolld):
            began = time.monotonic()
            self.assertEqual(service.stop(), 0)
            # Nobody's stream is waited for: that would take the whole of the time that calls are given.
            self.assertLess(time.monotonic() - began, 9, service.log[0])


if __name__ == "__main__":
    unittest.main()
