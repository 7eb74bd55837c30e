"""A real Prometheus reads the services: what alerts, dashboard and documentation name is there, and alerts arrive."""

import http.server
import json
import os
import pathlib
import queue
import re
import subprocess
import threading
import unittest
import urllib.parse
import urllib.request

from tests import stack

SERVICES = ("keyd", "taskd", "enrolld")
MONITORING = stack.RUNFILES / "deploy/monitoring"
# Rates need two samples of each series.
READ = {"alert": "AllRead", "expr": "count(sum_over_time(up[1h]) > 2) == 3"}


class AlertReceiver(http.server.ThreadingHTTPServer):
    """What Prometheus takes for the Alertmanager; the names of alerts that fire are put into a queue."""

    def __init__(self):
        self.fired = queue.Queue()
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(http.server.BaseHTTPRequestHandler):

        def do_POST(self):
            for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
                self.server.fired.put(alert["labels"]["alertname"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass


class Prometheus(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        # Set for the services that the stack starts; free ports, which "serving" names.
        for name in SERVICES:
            os.environ["PARLEY_%s_METRICS_LISTEN" % name.upper()] = "127.0.0.1:0"
        cls.stack = stack.Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.parley("task", "create", "hello", "--payload", __file__)
        cls.addresses = {name: getattr(cls.stack, name).serving["metrics"] for name in SERVICES}
        cls.alerts = AlertReceiver()
        cls.addClassCleanup(cls.alerts.server_close)
        cls.addClassCleanup(cls.alerts.shutdown)
        cls.start_prometheus()
        assert cls.alerts.fired.get(timeout=stack.TIMEOUT_S) == "AllRead"

    @classmethod
    def start_prometheus(cls):
        folder = cls.stack.folder / "prometheus"
        folder.mkdir()
        (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "test", "rules": [READ]}]}))
        (folder / "prometheus.yml").write_text(json.dumps({
            # A scrape has as long as lies between two of them.
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "250ms"},
            "rule_files": [str(folder / "rules.yml"), str(MONITORING / "alerts.yaml")],
            "alerting": {"alertmanagers": [{"static_configs": [
                {"targets": ["127.0.0.1:%d" % cls.alerts.server_address[1]]}]}]},
            "scrape_configs": [{"job_name": name, "static_configs": [{"targets": [address]}]}
                               for name, address in cls.addresses.items()]}))
        cls.address = stack.free_address()
        process = subprocess.Popen(["prometheus", "--config.file", folder / "prometheus.yml", "--storage.tsdb.path",
                                    folder / "data", "--web.listen-address", cls.address, "--log.level", "warn"],
                                   stdin=subprocess.DEVNULL)
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.kill)

    def ask(self, path, **parameters):
        with urllib.request.urlopen("http://%s/api/v1/%s?%s" % (self.address, path, urllib.parse.urlencode(parameters)),
                                    timeout=stack.TIMEOUT_S) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def test_what_is_said_of_metrics_is_what_prometheus_has(self):
        known = set(self.ask("label/__name__/values"))
        for path in (MONITORING / "alerts.yaml", MONITORING / "grafana_dashboard.json",
                     stack.RUNFILES / "docs/operations.md"):
            named = set(re.findall(r"\b(?:grpc_server|parley|process)_[a-z_]+[a-z]\b", path.read_text()))
            self.assertTrue(named)
            # Prose names a histogram as a whole.
            self.assertLessEqual({name for name in named if name + "_count" not in known}, known, path)

    def test_every_panel_of_the_dashboard_can_be_drawn(self):
        panels = json.loads((MONITORING / "grafana_dashboard.json").read_text())["panels"]
        expressions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
        self.assertGreater(len(expressions), 10)
        for expression in expressions:
            with self.subTest(expression=expression):
                drawn = self.query(expression.replace("$job", ".*").replace("$__rate_interval", "1m"))
                # Nothing has failed yet.
                self.assertEqual(bool(drawn), "grpc_code!=" not in expression)

    def test_counts_are_those_of_what_was_done(self):
        self.assertEqual([series["value"][1] for series in self.query('sum(parley_tasks{state="open"})')], ["1"])
        (created,) = self.query('grpc_server_handled_total{grpc_method="CreateTask",grpc_code="OK"}')
        self.assertEqual((created["metric"]["job"], created["value"][1]), ("taskd", "1"))
        (memory,) = self.query('process_resident_memory_bytes{job="taskd"} > 1e6')
        self.assertEqual(memory["metric"]["instance"], self.addresses["taskd"])

    def test_no_alert_fires_where_all_is_well(self):
        rules = self.ask("rules")["groups"]
        ours = [rule for group in rules if group["name"] == "parley" for rule in group["rules"]]
        self.assertGreater(len(ours), 5)
        for rule in ours:
            self.assertEqual((rule["health"], rule["alerts"]), ("ok", []), rule["name"])

    def test_prometheus_own_linter_finds_nothing(self):
        for name, address in self.addresses.items():
            with urllib.request.urlopen("http://%s/metrics" % address, timeout=stack.TIMEOUT_S) as page:
                result = subprocess.run(["promtool", "check", "metrics"], input=page.read(), capture_output=True,
                                        timeout=stack.TIMEOUT_S, check=False)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""), name)

    def test_every_alert_fires_when_it_should_and_not_before(self):
        cases = pathlib.Path(__file__).resolve().parent / "alerts_test.yaml"
        result = subprocess.run(["promtool", "test", "rules", cases], capture_output=True, text=True,
                                timeout=stack.TIMEOUT_S, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        alerts = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yaml").read_text())
        self.assertEqual(set(alerts), set(re.findall(r'alertname(?:="|: )(\w+)', cases.read_text())))


if __name__ == "__main__":
    unittest.main()
