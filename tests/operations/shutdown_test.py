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
PROTOS = ["parley/access/v1/access.proto", "parley/task/v1/manifest.proto", "parley/task/v1/task.proto",
          "parley/task/v1/task_service.proto", "google/api/annotations.proto", "google/api/http.proto"]


class Shutdown(unittest.TestCase):

    def setUp(self):
        self.stack = self.enterContext(stack.Stack())
        self.stubs = stack.python_stubs(*PROTOS)

    def load(self):
        program = pathlib.Path(__file__).resolve().parent / "create_tasks.py"
        return subprocess.Popen([stack.PYTHON, program, self.stack.taskd_address, self.stack.exported(), str(CLIENTS)],
                                env={"PYTHONPATH": self.stubs, "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE,
                                text=True)

    def tasks(self):
        return {task["name"] for task in json.loads(self.stack.parley("--output", "json", "task", "list"))["tasks"]}

    def test_no_accepted_call_is_lost(self):
        with self.load() as clients:
            self.assertEqual(clients.stdout.readline(), "at work\n")
            began = time.monotonic()
            self.assertEqual(self.stack.taskd.stop(), 0)
            took = time.monotonic() - began
            calls = json.loads(clients.stdout.read())
        self.assertLess(took, GRACE_S)
        # Every call was sampled, so the server's log has each that it accepted, with how it ended.
        accepted = {}
        for line in self.stack.taskd.log:
            event = json.loads(line)
            if event["message"] == "call" and event["method"].endswith(".CreateTask"):
                accepted[event["trace_id"]] = event["code"]
        answered = {trace: name for trace, name in calls.items() if name.startswith("tasks/")}
        self.assertGreaterEqual(len(answered), CLIENTS)
        self.assertEqual(set(accepted.values()), {"OK"})
        self.assertEqual(set(accepted), set(answered), "accepted, but not answered, or the reverse")
        # The others were not begun, and may be tried again: there was no connection any more, or gRPC had just told the
        # client so while the call was on its way.
        self.assertLessEqual({code for trace, code in calls.items() if trace not in answered},
                             {"UNAVAILABLE", "CANCELLED"})
        self.stack.start_taskd()
        self.assertLessEqual(set(answered.values()), self.tasks())
        print("%d calls of %d clients, the end %.2f s after SIGTERM" % (len(answered), CLIENTS, took))

    def test_all_services_end_quickly_while_others_follow_them(self):
        for service in (self.stack.keyd, self.stack.taskd, self.stack.enrolld):
            began = time.monotonic()
            self.assertEqual(service.stop(), 0)
            # Nobody's stream is waited for: that would take the whole of the time that calls are given.
            self.assertLess(time.monotonic() - began, 9, service.log[0])


if __name__ == "__main__":
    unittest.main()
