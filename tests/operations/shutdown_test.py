"""SIGTERM under load: what was accepted is answered, streams end at once, and the process ends with exit code 0."""

import json
import os
import pathlib
import subprocess
import time
import unittest
import uuid

from tests import stack

CLIENTS = 64
PROTOS = ["google/api/annotations.proto", "google/api/http.proto", "parley/enrol/v1/invitation_service.proto",
          "parley/key/v1/key_service.proto", "parley/task/v1/task_service.proto"]


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

    def follow(self, service, method, **request):
        """A stream that stands, and the id by which the service's log names it."""
        folder, trace = self.stack.exported("admin", service), uuid.uuid4().hex
        stream = subprocess.Popen(
            [str(stack.GRPCURL), "-cacert", folder / "ca.pem", "-cert", folder / "client.pem", "-key",
             folder / "client.key", "-H", "traceparent: 00-%s-00f067aa0ba902b7-01" % trace, "-d", json.dumps(request),
             getattr(self.stack, service + "_address"), method], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True)
        self.addCleanup(stream.communicate)
        self.addCleanup(stream.kill)
        self.assertIn("{", stream.stdout.readline())
        return trace

    def test_no_stream_is_waited_for(self):
        created = self.stack.parley("--output", "json", "task", "create", "followed", "--payload", "/etc/hostname",
                                    credential="admin")
        task = json.loads(created)["task"]["name"]
        traces = {"keyd": self.follow("keyd", "parley.trust.v1.TrustService/WatchCertificates"),
                  "taskd": self.follow("taskd", "parley.task.v1.TaskService/WatchTask", name=task)}
        # taskd and enrolld follow keyd too, and end as well when it is gone already.
        for service in ("keyd", "taskd", "enrolld"):
            process = getattr(self.stack, service)
            self.assertEqual(process.stop(), 0)
            calls = [event for event in map(json.loads, process.log) if event["message"] == "call"]
            ends = {call["trace_id"]: call["reason"] for call in calls if call["trace_id"] in traces.values()}
            # One that is waited for until the time is over is cut off, without a reason.
            self.assertEqual(ends, {traces[service]: "SERVER_STOPPING"} if service in traces else {})


if __name__ == "__main__":
    unittest.main()
