"""The services as whoever runs them sees them: configuration, --check-config, health, metrics, traces."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request

from tests import stack

GRPC_PROTOS = "/usr/share/grpc-proto"
HEALTH = "grpc.health.v1.Health/Check"
SERVICES = {"keyd": ["parley.key.v1.KeyService", "parley.trust.v1.TrustService"],
            "taskd": ["parley.task.v1.TaskService", "parley.task.v1.ArtifactService",
                      "parley.task.v1.ParticipationService"],
            "enrolld": ["parley.enrol.v1.InvitationService", "parley.enrol.v1.ExchangeService"]}


class Operations(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        # Set for the services that the stack starts; free ports, which "serving" names.
        for name in SERVICES:
            os.environ["PARLEY_%s_HEALTH_LISTEN" % name.upper()] = "127.0.0.1:0"
            os.environ["PARLEY_%s_METRICS_LISTEN" % name.upper()] = "127.0.0.1:0"
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.running = {"keyd": cls.stack.keyd, "taskd": cls.stack.taskd, "enrolld": cls.stack.enrolld}

    def grpcurl(self, *arguments):
        result = subprocess.run([stack.GRPCURL, *map(str, arguments)], capture_output=True, text=True,
                                timeout=stack.TIMEOUT_S, check=False)
        return result.returncode, result.stdout + result.stderr

    def by_certificate(self, *arguments, credential="operator"):
        folder = self.stack.exported(credential)
        return self.grpcurl("-cacert", folder / "ca.pem", "-cert", folder / "client.pem", "-key", folder / "client.key",
                            *arguments)

    def health(self, name, service, *flags):
        return self.grpcurl("-plaintext", "-import-path", GRPC_PROTOS, "-proto", "grpc/health/v1/health.proto", "-d",
                            json.dumps({"service": service}), self.running[name].serving["health"], HEALTH)

    def metrics(self, name):
        address = self.running[name].serving["metrics"]
        with urllib.request.urlopen("http://%s/metrics" % address, timeout=stack.TIMEOUT_S) as page:
            return page.read().decode()

    def run_service(self, name, *arguments, environment=None):
        return subprocess.run([stack.RUNFILES / "services" / name / name, *map(str, arguments)], capture_output=True,
                              text=True, timeout=stack.TIMEOUT_S, check=False,
                              env={"PATH": os.environ["PATH"], **(environment or {})})

    def folder(self):
        return pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))

    def test_health_of_the_whole_and_of_each_service(self):
        for name, services in SERVICES.items():
            for service in ["", *services]:
                code, text = self.health(name, service)
                self.assertEqual((code, json.loads(text)), (0, {"status": "SERVING"}), name)
            self.assertIn("NotFound", self.health(name, "parley.nothing.v1.Nothing")[1])

    def test_the_health_port_has_health_alone(self):
        for name, services in SERVICES.items():
            address = self.running[name].serving["health"]
            code, text = self.grpcurl("-plaintext", address, "list")
            self.assertNotEqual(code, 0)
            self.assertIn("does not support the reflection API", text)
            proto = self.grpcurl("-plaintext", "-import-path", GRPC_PROTOS, "-proto",
                                 "grpc/reflection/v1alpha/reflection.proto", "-d", '{"list_services": ""}', address,
                                 "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            self.assertIn("Unimplemented", proto[1])

    def test_the_door_has_health_too(self):
        code, text = self.by_certificate(self.stack.taskd_address, HEALTH)
        self.assertEqual((code, json.loads(text)), (0, {"status": "SERVING"}))
        code, listed = self.by_certificate(self.stack.taskd_address, "list")
        # Health knows every service that is served, besides itself and reflection.
        served = {line for line in listed.split() if line.startswith("parley.")}
        self.assertEqual(served, set(SERVICES["taskd"]))

    def test_health_ends_with_sigterm(self):
        stubs = stack.python_stubs("grpc/health/v1/health.proto", roots=[GRPC_PROTOS])
        # Beside grpc's own package, not in its place.
        for package in ("health", "health/v1"):
            (stubs / "grpc" / package / "__init__.py").touch()
        (stubs / "grpc").rename(stubs / "below_grpc")
        program = "import grpc, sys; grpc.__path__.append(sys.argv.pop(1)); import runpy; " \
                  "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
        watch = pathlib.Path(__file__).resolve().parent / "watch_health.py"
        own = self.stack.folder / "another"
        service = stack.Service(stack.KEYD, "--data", own, "--listen", "127.0.0.1:0", "--taskd-address",
                                "127.0.0.1:7443").wait_until_serving()
        address = service.serving["health"]
        with subprocess.Popen([stack.PYTHON, "-c", program, stubs / "below_grpc", watch, address, ""],
                              stdout=subprocess.PIPE, text=True) as watching:
            self.assertEqual(watching.stdout.readline(), "SERVING\n")
            self.assertEqual(service.stop(), 0)
            self.assertEqual(watching.stdout.read(), "NOT_SERVING\nUNAVAILABLE\n")

    def test_a_terminal_that_is_closed_ends_no_service(self):
        for name, service in self.running.items():
            service.process.send_signal(signal.SIGHUP)
            # A service that SIGHUP ends would not come to answer.
            self.assertEqual(json.loads(self.health(name, "")[1]), {"status": "SERVING"}, name)
            self.assertIsNone(service.process.poll(), name)

    def test_metrics(self):
        payload = self.stack.home / "motd"
        payload.write_text("hello\n")
        self.stack.parley("task", "create", "metrics", "--payload", payload)
        text = self.metrics("taskd")
        self.assertRegex(text, r'(?m)^grpc_server_handled_total\{grpc_code="OK",grpc_method="CreateTask",'
                               r'grpc_service="parley.task.v1.TaskService",grpc_type="unary"\} [1-9]')
        self.assertRegex(text, r'(?m)^parley_handshakes_total\{outcome="ok"\} [1-9]')
        self.assertRegex(text, r'(?m)^parley_guard_breaches_total\{breach="cancelled"\} 0$')
        self.assertRegex(text, r'(?m)^parley_relay_bytes_total\{direction="in"\} [1-9]')
        self.assertRegex(text, r'(?m)^parley_tasks\{state="open"\} [1-9]')
        self.assertRegex(text, r'(?m)^parley_task_clients\{state="confirmed"\} 0$')
        self.assertRegex(text, r'(?m)^parley_keyd_credential_expiry_timestamp_seconds [1-9]')
        self.assertRegex(text, r'(?m)^parley_keyd_last_contact_timestamp_seconds [1-9]')
        keys = self.metrics("keyd")
        self.assertRegex(keys, r'(?m)^parley_credentials\{role="operator",state="live"\} [1-9]')
        self.assertRegex(keys, r'(?m)^grpc_server_started_total\{.*grpc_method="WatchRevocations".*\} [1-9]')
        self.assertRegex(self.metrics("enrolld"), r"(?m)^parley_invitations_open 0$")

    def test_a_service_that_does_not_hear_from_keyd_says_so_and_goes_on(self):
        def wait_until_keyd_is(status):
            # Each question is a process: a few a second.
            end = time.monotonic() + stack.TIMEOUT_S
            for name in ("taskd", "enrolld"):
                while (text := self.health(name, "keyd")[1]) and json.loads(text)["status"] != status:
                    self.assertLess(time.monotonic(), end, name)

        def last_contact():
            found = re.search(r"(?m)^parley_keyd_last_contact_timestamp_seconds (\S+)$", self.metrics("taskd"))
            return float(found.group(1))

        wait_until_keyd_is("SERVING")
        self.stack.keyd.stop()
        try:
            wait_until_keyd_is("NOT_SERVING")
            self.assertEqual(last_contact(), last_contact())
            self.assertTrue(any("keyd is not heard" in line for line in list(self.running["taskd"].log)))
            self.assertEqual(json.loads(self.health("taskd", "")[1]), {"status": "SERVING"})
            self.stack.parley("task", "list")
        finally:
            self.stack.start_keyd()
            self.running["keyd"] = self.stack.keyd
        wait_until_keyd_is("SERVING")
        self.assertTrue(any("keyd is heard again" in line for line in list(self.running["taskd"].log)))

    def test_a_service_waits_for_keyd_says_so_and_stops_at_once(self):
        own = stack.Stack()
        self.addCleanup(own.__exit__)
        own.start_keyd()
        self.assertEqual(own.keyd.stop(), 0)
        for name, program in (("taskd", stack.TASKD), ("enrolld", stack.ENROLLD)):
            with self.subTest(name):
                command = [program, "--data", own.folder / name, "--listen", stack.free_address(), "--health-listen",
                           stack.free_address(), "--names", "localhost", "--keyd-credential",
                           own.credentials / (name + ".credential")]
                waiting = stack.Service(*command)
                self.assertEqual(waiting.wait_until_said("waiting for keyd")["address"], own.keyd_address)
                why = waiting.wait_until_said("keyd cannot be followed yet, and is waited for")
                self.assertIn("refused the connection", why["error"])
                code, text = self.grpcurl("-plaintext", "-import-path", GRPC_PROTOS, "-proto",
                                          "grpc/health/v1/health.proto", command[command.index("--health-listen") + 1],
                                          HEALTH)
                self.assertEqual((code, json.loads(text)), (0, {"status": "NOT_SERVING"}))
                began = time.monotonic()
                self.assertEqual(waiting.stop(), 0)
                self.assertLess(time.monotonic() - began, 5)
                self.assertEqual([len(waiting.said(message)) for message in ("stopping", "stopped")], [1, 1])
                self.assertEqual([line for line in waiting.log if not line.startswith("{")], [])
                waiting = stack.Service(*command)
                waiting.wait_until_said("keyd cannot be followed yet, and is waited for")
                own.start_keyd()
                waiting.wait_until_serving()
                self.assertEqual(len(waiting.said("waiting for keyd")), 1)
                self.assertEqual(waiting.stop(), 0)
                self.assertEqual(own.keyd.stop(), 0)

    def test_every_setting_is_a_flag_a_variable_and_a_key(self):
        for name in SERVICES:
            text = self.run_service(name, "--help").stdout
            flags = set(re.findall(r"(?m)^  (?:-\w,)?(--[a-z-]+)", text)) - {"--help", "--check-config"}
            self.assertLess({"--data", "--listen", "--config"}, flags)
            for flag in flags:
                variable = "PARLEY_%s_%s" % (name, flag[2:].replace("-", "_"))
                self.assertIn("(Env:%s)" % variable.upper(), text)

    def test_another_admin_is_made_by_flag_variable_and_key(self):
        folder = self.folder()
        config = folder / "keyd.toml"
        config.write_text("new-admin = true\n")
        flags = ["--data", folder / "keyd", "--listen", stack.free_address()]
        admin = folder / "keyd/credentials/admin.credential"
        self.assertEqual(stack.Service(stack.KEYD, *flags).wait_until_serving().stop(), 0)
        for before, after, another in (([], [], False), ([], ["--new-admin"], True), ([], ["--config", config], True),
                                       (["env", "PARLEY_KEYD_NEW_ADMIN=true"], [], True),
                                       (["env", "PARLEY_KEYD_NEW_ADMIN=false"], ["--config", config], False)):
            former = admin.read_bytes()
            keyd = stack.Service(*before, stack.KEYD, *flags, *after).wait_until_serving()
            self.assertEqual(keyd.stop(), 0)
            self.assertEqual(admin.read_bytes() != former, another, (before, after))

    def test_a_trace_of_the_caller_is_in_the_log(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        for flags in ("01", "00"):
            code, text = self.by_certificate("-H", "traceparent: 00-%s-00f067aa0ba902b7-%s" % (trace, flags), "-d",
                                             '{"name": "tasks/nowhere-0000"}', self.stack.taskd_address,
                                             "parley.task.v1.TaskService/GetTask")
            self.assertIn("NotFound", text)
        # Sampled once, so there is one line. The answer comes after it.
        lines = [json.loads(line) for line in list(self.running["taskd"].log) if trace in line]
        self.assertEqual([(line["message"], line["method"], line["code"]) for line in lines],
                         [("call", "parley.task.v1.TaskService.GetTask", "NOT_FOUND")])
        self.assertRegex(lines[0]["caller"], "^operator/")
        self.assertNotEqual(lines[0]["span_id"], "00f067aa0ba902b7")

    def test_file_environment_and_flags_in_this_order(self):
        folder = self.folder()
        config = folder / "keyd.toml"
        config.write_text('listen = "nonsense-of-the-file"\nmetrics-listen = "nonsense-of-the-file"\n'
                          'data = "%s"\nnames = ["localhost", "127.0.0.1"]\n' % (folder / "data"))
        result = self.run_service("keyd", "--check-config", "--config", config)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertEqual(result.stderr.count("nonsense-of-the-file"), 2, result.stderr)
        result = self.run_service("keyd", "--check-config", "--listen", "127.0.0.1:0", environment={
            "PARLEY_KEYD_CONFIG": str(config), "PARLEY_KEYD_LISTEN": "nonsense", "PARLEY_KEYD_METRICS_LISTEN": ":0"})
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, "keyd: the configuration can be used\n")
        self.assertFalse((folder / "data").exists(), "--check-config made something")

    def test_a_mistake_in_the_file_is_named(self):
        folder = self.folder()
        config = folder / "keyd.toml"
        config.write_text('lissten = "127.0.0.1:0"\n')
        result = self.run_service("keyd", "--check-config", "--config", config)
        self.assertEqual(result.returncode, 1)
        self.assertIn('the configuration file has the key "lissten", which is no flag', result.stderr)
        config.write_text("listen =\n")
        result = self.run_service("keyd", "--check-config", "--config", config)
        self.assertEqual(result.returncode, 1)
        self.assertIn("keyd: --listen: ", result.stderr)
        for environment in ({"PARLEY_KEYD_CONFIG": str(folder / "missing")}, None):
            arguments = [] if environment else ["--config", folder / "missing"]
            result = self.run_service("keyd", "--check-config", *arguments, environment=environment)
            self.assertEqual(result.returncode, 1)
            self.assertIn("cannot read the configuration file %s;" % (folder / "missing"), result.stderr)

    def test_check_config_of_what_runs_is_good(self):
        for name in SERVICES:
            arguments = ["--data", self.stack.folder / name, "--listen", self.running[name].serving["address"]]
            if name != "keyd":
                arguments += ["--keyd-credential", self.stack.credentials / (name + ".credential")]
            result = self.run_service(name, "--check-config", *arguments)
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_check_config_of_a_shared_store_is_good(self):
        seal = self.folder() / "seal"
        seal.write_bytes(bytes(32))
        seal.chmod(0o600)
        secrets = {"taskd": ["--seal-key-file", seal], "keyd": ["--kek-file", seal]}
        for name in SERVICES:
            flags = [*secrets.get(name, []), "--store", "etcd:http://127.0.0.1:2379"]
            if name != "keyd":
                flags += ["--keyd-credential", self.stack.credentials / (name + ".credential")]
            result = self.run_service(name, "--check-config", "--data", self.folder(), "--listen", "127.0.0.1:0",
                                      *flags)
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_the_database_is_where_the_store_flag_says(self):
        own = stack.Stack()
        self.addCleanup(own.__exit__)
        place = self.folder()
        keyd_store = ["--store", "sqlite:%s" % (place / "keys.db")]
        own.start_keyd(*keyd_store)
        credential = (own.credentials / "admin.credential").read_bytes()
        self.assertTrue((place / "keys.db").exists())
        self.assertFalse((own.folder / "keyd/keyd.db").exists())
        # The organisation is found there again, and its credentials are not taken for those of a lost database.
        self.assertEqual(own.keyd.stop(), 0)
        own.start_keyd(*keyd_store)
        self.assertEqual((own.credentials / "admin.credential").read_bytes(), credential)
        for name, program in (("taskd", stack.TASKD), ("enrolld", stack.ENROLLD)):
            data = own.folder / name
            flags = ["--data", data, "--listen", "127.0.0.1:0", "--names", "localhost", "--keyd-credential",
                     own.credentials / (name + ".credential"), "--store", "sqlite:%s" % (place / (name + ".db"))]
            for _ in range(2):
                self.assertEqual(stack.Service(program, *flags).wait_until_serving().stop(), 0)
            self.assertTrue((place / (name + ".db")).exists())
            self.assertFalse((data / (name + ".db")).exists())
            if name == "taskd":
                # What belongs to the database is missed wherever that is.
                (data / "seal.key").unlink()
                for check in ([], ["--check-config"]):
                    result = self.run_service(name, *flags, *check)
                    self.assertEqual(result.returncode, 1)
                    self.assertIn("the sealing key", result.stderr)

    def test_a_malformed_store_starts_nothing(self):
        for name in SERVICES:
            for value in ("postgres:x", "sqlite:", "etcd:", "etcd:https://one.example:2379/", "etcd:nonsense"):
                data = self.folder() / "data"
                flags = ["--data", data, "--listen", "127.0.0.1:0", "--store", value]
                if name != "keyd":
                    flags += ["--keyd-credential", self.stack.credentials / (name + ".credential")]
                for check in ([], ["--check-config"]):
                    result = self.run_service(name, *flags, *check)
                    self.assertEqual(result.returncode, 1, (name, value))
                    self.assertIn("%s: --store: " % name, result.stderr)
                    self.assertFalse(data.exists(), (name, value))

    def test_check_config_names_every_problem(self):
        folder = self.folder()
        exposed = folder / "exposed"
        exposed.write_text("0" * 64)
        exposed.chmod(0o644)
        result = self.run_service("taskd", "--check-config", "--data", exposed, "--listen", "0.0.0.0:7443",
                                  "--health-listen", "192.0.2.1:1", "--keyd-credential", exposed,
                                  "--keyd-address", "0.0.0.0:7444")
        self.assertEqual(result.returncode, 1)
        for expected in ("--data: ", "--listen: nobody can connect", "--health-listen: cannot listen on 192.0.2.1",
                         "--keyd-credential: ", "--keyd-address: nobody can connect"):
            self.assertIn("taskd: " + expected, result.stderr)
        result = self.run_service("keyd", "--check-config", "--data", folder, "--kek-file", exposed,
                                  "--taskd-address", ":1")
        self.assertIn("keyd: --taskd-address: nobody can connect", result.stderr)
        self.assertIn("keyd: --kek-file: ", result.stderr)
        result = self.run_service("enrolld", "--check-config", "--data", folder, "--keyd-credential", folder / "none")
        self.assertIn("enrolld: --keyd-credential: ", result.stderr)


if __name__ == "__main__":
    unittest.main()
