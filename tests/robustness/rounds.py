"""What is done to a key in rounds while it is tried at every replica all the time: it is made, used, and ended.

Threads: each `run` is one thread, which ends soon after `stop` is set; a Prober may be used by several.
"""

import contextlib
import subprocess
import threading
import uuid

from tests import stack
from tests.robustness import cluster, network
from tests.robustness.faults import Fault

# Between the acknowledgement that a root was retired and the moment when nobody admits a key of it any more: a service
# that hears nothing of keyd admits nobody after its lease, and what it hears takes moments.
RETIRED_WITHIN_S = cluster.AWAY_LIMIT_S + 5
# How much longer such a key is tried: for what heals late.
TRIED_LONGER_S = 15


class Revoker:
    """Issues credentials of which each is tried at every replica until some time after its revocation."""

    def __init__(self, office, prober):
        self._office, self._prober = office, prober

    def run(self, random, stop):
        while not stop.is_set():
            key, file = self._office.issue("admin", "revoked-" + uuid.uuid4().hex[:8])
            if key is None:
                stop.wait(random.uniform(0.1, 1))
                continue
            self._office.credentials.append(key)
            self._prober.begin(key, file)
            stop.wait(random.uniform(0.5, 3))
            while not self._office.revoke(key, random.choice(cluster.KEYDS)) and not stop.is_set():
                stop.wait(random.uniform(0.1, 1))
            # What is admitted afterwards is found in this time.
            stop.wait(random.uniform(1, 8))
            self._prober.end(key)


class JoinKeys:
    """Makes join keys for few clients, with which more of them join than may, and revokes most."""

    def __init__(self, office, prober):
        self._office, self._prober = office, prober

    def run(self, random, stop):
        while not stop.is_set():
            made = self._office.make_join_key(random, random.randint(3, 40), random.choice(cluster.TASKDS))
            if made is None:
                stop.wait(random.uniform(0.1, 1))
                continue
            key, file = made
            self._prober.join(key, file)
            stop.wait(random.uniform(0.2, 6))
            self._office.read_join_key(key, random.choice(cluster.TASKDS))
            revoked = random.random() < 0.2
            while not revoked and not stop.is_set():
                revoked = self._office.revoke(key, random.choice(cluster.TASKDS))
                stop.wait(random.uniform(0.1, 1))
            for at in cluster.TASKDS:
                self._office.read_join_key(key, at)
            stop.wait(random.uniform(1, 6))
            self._prober.end(key)
            self._office.read_join_key(key, random.choice(cluster.TASKDS))


class Retirer:
    """Rotates the root, gives everybody who is to go on a key of the new one, and retires the others, while one service
    does not hear from keyd until nobody may admit such a key. Some keys of these are tried meanwhile and afterwards.
    `renew`: gives the devices their next credentials until all have one or `stop` is set; whether they have. `begin`:
    begins a Fault."""

    def __init__(self, office, prober, renew, begin):
        self._office, self._prober, self._renew, self._begin = office, prober, renew, begin

    def run(self, random, stop):
        stop.wait(random.uniform(0, 5))
        while not stop.is_set():
            issued = [self._office.issue("admin", "retired-" + uuid.uuid4().hex[:8]) for _ in range(2)]
            keys = [key for key, _ in issued if key is not None]
            for key, file in issued:
                if key is not None:
                    self._prober.begin(key, file)
            if self._retire(random, stop):
                for key in keys:
                    self._office.read_credential(key, random.choice(cluster.KEYDS))
                stop.wait(RETIRED_WITHIN_S + TRIED_LONGER_S)
            for key in keys:
                self._prober.end(key)
            stop.wait(random.uniform(10, 60))

    def _retire(self, random, stop):
        """Whether that was acknowledged."""
        def insist(call):
            result = None
            while not result and not stop.is_set():
                result = call()
                if not result:
                    stop.wait(random.uniform(0.1, 1))
            return None if stop.is_set() else result

        def rotate(retire_before=None):
            operation = self._office.rotate(random.choice(cluster.KEYDS), retire_before)
            return operation.result if operation.acknowledged() else None

        epoch = insist(rotate)
        if not (epoch and insist(self._office.renew) and self._renew(stop)):
            return None
        deaf = random.choice(cluster.TASKDS + cluster.ENROLLDS)
        self._begin(Fault(0, "cut", (deaf,), RETIRED_WITHIN_S + random.uniform(5, 10), cluster.KEYDS))
        return insist(lambda: rotate(epoch))


class Prober:
    """tests/robustness/prober.cc."""

    def __init__(self, servers, program, output):
        replicas = ["%s=%s@%s" % (name, name.split("-")[0], servers.address(name)) for name in cluster.SERVICES]
        self.output, self._lock = output, threading.Lock()
        with open(output, "wb") as file, open(output.with_suffix(".errors"), "wb") as errors:
            self._process = subprocess.Popen([*network.Network.at("probes"), program, *replicas],
                                             stdin=subprocess.PIPE, stdout=file, stderr=errors, text=True)

    def _write(self, line):
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def begin(self, key, file):
        self._write("+%s %s" % (key, file))

    def join(self, key, file):
        self._write("*%s %s" % (key, file))

    def end(self, key):
        self._write("-" + key)

    def close(self):
        """Waits until the last try has ended."""
        self._process.stdin.close()
        code = self._process.wait(stack.TIMEOUT_S)
        if code != 0:
            raise AssertionError("prober: %d\n%s" % (code, self.output.with_suffix(".errors").read_text()))
