"""What was asked of the services and what they answered, with the moments of one clock that nobody sets.

Threads: a History may be used by several threads at once.
"""

import contextlib
import dataclasses
import threading
import time


# Why somebody does not join though the key is good.
FULL = "MAX_MEMBERS"


def now():
    """Nanoseconds of CLOCK_MONOTONIC, which every process of this machine reads alike."""
    return time.monotonic_ns()


@dataclasses.dataclass
class Operation:
    """One call. `end` is None when nobody knows whether it was carried out: it failed, or its answer was lost. `key` is
    what it was about, None when only the answer would have told; `argument` is what it set."""

    key: str
    kind: str
    argument: object = None
    result: object = None
    begin: int = 0
    end: int = None
    why: str = ""
    # The title of the task, the replica that was asked, or how far an enrolment came.
    about: str = ""

    def acknowledged(self):
        return self.end is not None


@dataclasses.dataclass
class Probe:
    """One try to use a credential or a join key at one replica. `client`: as which one it tried to join. `known`:
    whether the answer says what became of that."""

    credential: str
    replica: str
    way: str
    begin: int
    end: int
    answer: str
    client: str = ""
    known: bool = True

    def admitted(self):
        return self.answer in ("OK", FULL)


@dataclasses.dataclass
class Put:
    """A record of a client as the store had it, in the order of the store."""

    task: str
    client: str
    state: str
    revision: int
    attempt: int
    version: int


class Refused(Exception):
    """The call failed: whether it was carried out is not known."""


class History:

    def __init__(self):
        self._lock = threading.Lock()
        self._operations = []

    @contextlib.contextmanager
    def operation(self, key, kind, argument=None, about=""):
        """Records a call, which is acknowledged when the block ends without Refused. The block may set key and
        result."""
        operation = Operation(key, kind, argument, begin=now(), about=about)
        with self._lock:
            self._operations.append(operation)
        try:
            yield operation
            operation.end = now()
        except Refused as why:
            operation.result = None
            operation.why = str(why)

    def all(self):
        with self._lock:
            return list(self._operations)

    def of(self, kind, key=None):
        return [operation for operation in self.all()
                if operation.kind == kind and key in (None, operation.key)]
