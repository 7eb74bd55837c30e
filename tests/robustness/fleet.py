"""Machines with an agent each, the shipped program, and what they have on their disks.

Threads: one thread, but `renew` may be called by another.
"""

import concurrent.futures
import contextlib
import json
import uuid

from tests import stack
from tests.faults import machine
from tests.robustness import cluster, office

AGENT_MACHINES = ("agents-1", "agents-2")
ISSUERS = 4


class Fleet:

    def __init__(self, servers, work, size, on_end):
        self._cluster, self._office = servers, work
        self.folder = servers.folder / "fleet"
        self.folder.mkdir()
        self.names = ["agent-%03d" % number for number in range(size)]
        self.groups = {name: office.GROUPS[number % len(office.GROUPS)] for number, name in enumerate(self.names)}
        # From name to the credential's key in the history.
        self.credentials = {}
        self.processes = {name: self._process(name, number, on_end) for number, name in enumerate(self.names)}

    def _process(self, name, number, on_end):
        folder = self.folder / name
        folder.mkdir()
        command = ["env", "HOME=%s" % folder, stack.PARLEY.absolute(), "--output", "json", "agent", "--credential",
                   self._cluster.credentials / (name + ".credential"), "--into", self._into(name), "--state",
                   folder / "state", "--check", "true", "--apply", "true"]
        return cluster.Process(name, AGENT_MACHINES[number % 2], command, folder / "events", on_end)

    def _into(self, name):
        return self.folder / name / "into"

    def start(self):
        def issue(name):
            key = None
            while key is None:
                key, _ = self._office.issue("device", name, "--label", "group=" + self.groups[name])
            return name, key

        with concurrent.futures.ThreadPoolExecutor(ISSUERS) as issuers:
            self.credentials = dict(issuers.map(issue, self.names))
        for process in self.processes.values():
            process.start()

    def renew(self, names, stop, start_anew):
        """Gives each device its next credential, and starts its agent with that. Whether all have one."""
        def renew(name):
            key = None
            while key is None and not stop.is_set():
                key, file = self._office.issue("device", name, name="%s-%s" % (name, uuid.uuid4().hex))
            if key is None:
                return False
            file.replace(self._cluster.credentials / (name + ".credential"))
            self.credentials[name] = key
            start_anew(self.processes[name])
            return True

        with concurrent.futures.ThreadPoolExecutor(ISSUERS) as issuers:
            return all(list(issuers.map(renew, names)))

    def found(self):
        """From machine to path to text."""
        return {name: machine.read_files(self._into(name)) if self._into(name).exists() else {} for name in self.names}

    def events(self, name):
        events = []
        for line in (self.folder / name / "events").read_text(errors="replace").splitlines():
            # A line that was cut off by a kill.
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
        return events

    def stop(self):
        for process in self.processes.values():
            if process.running():
                process.kill()
