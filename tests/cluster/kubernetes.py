"""A cluster that tests/cluster/cluster has made, and the commands of docs/kubernetes.md on it."""

import contextlib
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)
FOLDER = pathlib.Path(os.environ.get("PARLEY_CLUSTER") or HOME / ".cache/parley/cluster")
PROGRAM = ROOT / "tests/cluster/cluster"
PARLEY = ROOT / ".tools/bin/clients/cli/parley"
TIMEOUT_S = 240


def cluster(*arguments):
    result = subprocess.run([PROGRAM, *map(str, arguments)], check=False, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, timeout=TIMEOUT_S)
    if result.returncode != 0:
        raise AssertionError("cluster %s: %s%s" % (" ".join(map(str, arguments)), result.stdout, result.stderr))


class Shell:
    """Runs commands where the first node is, in a folder with a copy of deploy/."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT / "deploy/k8s", folder / "deploy/k8s")
        self._init = (FOLDER / "state/init.pid").read_text().strip()
        self._document = (ROOT / "docs/kubernetes.md").read_text()
        self._environment = {
            "PATH": "%s:%s:/usr/sbin:/usr/bin:/sbin:/bin" % (PARLEY.parent, FOLDER / "bin"), "HOME": str(folder),
            "KUBECONFIG": str(FOLDER / "state/admin.conf"), "NO_COLOR": "1"}

    def popen(self, *command, **options):
        return subprocess.Popen(["nsenter", "-t", self._init, "--net", "--", *map(str, command)], cwd=self.folder,
                                env=self._environment, **options)

    def attempt(self, *command, stdin=b""):
        """(exit code, standard output, standard error)"""
        with self.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, errors = process.communicate(stdin, timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return process.returncode, out.decode(), errors.decode()

    def run(self, *command, stdin=b""):
        """Its standard output."""
        code, out, errors = self.attempt(*command, stdin=stdin)
        if code != 0:
            raise AssertionError("%s: exit code %d\n%s%s" % (" ".join(map(str, command)), code, out, errors))
        return out

    def kubectl(self, *arguments, stdin=b""):
        return self.run("kubectl", "-n", "parley", *arguments, stdin=stdin)

    def get(self, *what):
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def documented(self, first, last=None, **changes):
        """Runs the lines of one block of docs/kubernetes.md as they stand: from the one that begins with `first` to the
        end of its block, or to the one that begins with `last`. `changes` are words to replace.
        """
        (block,) = [block for block in re.findall(r"\n```\n(.*?)\n```", self._document, re.DOTALL)
                    if re.search("^" + re.escape(first), block, re.MULTILINE)]
        lines = block[re.search("^" + re.escape(first), block, re.MULTILINE).start():]
        if last is not None:
            end = re.search("^" + re.escape(last) + r".*(\\\n.*)*", lines, re.MULTILINE)
            lines = lines[:end.end()]
        for word, other in changes.items():
            if word not in lines:
                raise AssertionError("%s is not in the document: %s" % (word, lines))
            lines = lines.replace(word, other)
        return self.run("bash", "-euo", "pipefail", "-c", lines)

    @contextlib.contextmanager
    def forwarded(self):
        """What the document's two port-forwards do, for one step."""
        with contextlib.ExitStack() as stack:
            for service, port in (("taskd", 7443), ("keyd", 7444)):
                process = stack.enter_context(self.popen("kubectl", "-n", "parley", "port-forward",
                                                         "service/" + service, str(port), stdout=subprocess.PIPE))
                stack.callback(process.kill)
                if b"Forwarding from" not in process.stdout.readline():
                    raise AssertionError("port %d is not forwarded" % port)
            yield

    def wait_until_ready(self):
        wait = "--timeout=%ds" % TIMEOUT_S
        for each in self.get("statefulsets")["items"]:
            name = each["metadata"]["name"]
            self.kubectl("rollout", "status", "statefulset/" + name, wait)
            for number in range(each["spec"]["replicas"]):
                # A pod that was deleted has not been missed yet.
                self.kubectl("wait", "--for=create", "pod/%s-%d" % (name, number), wait)
                self.kubectl("wait", "--for=condition=Ready", "pod/%s-%d" % (name, number), wait)

    def process(self, name):
        """The id of a process of that name among the cluster's, for `kill`."""
        found = self.run("nsenter", "-t", self._init, "--mount", "--pid", "--", "pgrep", "-x", name).split()
        if len(found) != 1:
            raise AssertionError("%d processes are called %s" % (len(found), name))
        return found[0]

    def kill(self, service):
        """Its process, by SIGKILL, and waits until Kubernetes has started another one."""
        restarts = self.get("pod", service + "-0")["status"]["containerStatuses"][0]["restartCount"]
        self.run("nsenter", "-t", self._init, "--mount", "--pid", "--", "kill", "-9", self.process(service))
        self.kubectl("wait", "pod/%s-0" % service, "--timeout=%ds" % TIMEOUT_S,
                     "--for=jsonpath={.status.containerStatuses[0].restartCount}=%d" % (restarts + 1))


class Presence:
    """When a client that stays (`join --follow --output json`) is connected, and what it has, by its own events."""

    def __init__(self, process):
        self.away, self.confirmed = [], 0
        self._process, self._changed, self._lost, self._ended = process, threading.Condition(), None, False
        self._thread = threading.Thread(target=self._read)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._thread.join()

    def _read(self):
        for line in self._process.stdout:
            event = json.loads(line)
            with self._changed:
                if event["event"] == "disconnected":
                    self._lost = time.monotonic()
                elif event["event"] == "connected" and self._lost is not None:
                    self.away.append(time.monotonic() - self._lost)
                    self._lost = None
                elif event["event"] == "confirmed":
                    self.confirmed = int(event["revision"])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_until_confirmed(self, revision):
        with self._changed:
            self._changed.wait_for(lambda: self.confirmed >= revision or self._ended, TIMEOUT_S)
            if self.confirmed < revision:
                raise AssertionError("not confirmed: revision %d" % revision)


class ReadyCounts:
    """How many pods of each set are ready, at every change of it."""

    def __init__(self, shell):
        self._shell, self._counts = shell, {}

    def __enter__(self):
        self._process = self._shell.popen(
            "kubectl", "-n", "parley", "get", "statefulsets", "--watch", "-o",
            "jsonpath={.metadata.name} {.status.readyReplicas}{\"\\n\"}", stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._process.terminate()
        with self._process:
            self._thread.join()

    def _read(self):
        for line in self._process.stdout:
            name, _, count = line.strip().partition(" ")
            self._counts.setdefault(name, []).append(int(count or 0))

    def fewest(self):
        return {name: min(counts) for name, counts in self._counts.items()}


def until(holds, what):
    """Asks again and again; each question takes time of its own."""
    for _ in range(10_000):
        if holds():
            return
    raise AssertionError("never: " + what)
