"""Whether a history keeps the promises that the services make: each function names what is broken, in sentences.

  - each task, credential and invitation behaves as if its calls happened one after another, each between its begin and
    its acknowledgement (linearizable): nothing acknowledged is lost, and a read sees all that was acknowledged before;
  - a credential is admitted nowhere once its revocation was acknowledged;
  - a client confirms one attempt at a revision once, and no change of its record is lost or made twice;
  - in the end each machine has the files that it should have.
"""

import collections
import dataclasses
import math

CONFIRMED = "STATE_CONFIRMED"
# A search that looks at more is given up, which is said: no history of a key that was right has come near it.
MOST_CONFIGURATIONS = 2_000_000


class Register:
    """What one key may go through. A state is None before it is made."""

    def __init__(self, name, make, changes):
        self.name, self._make, self._changes = name, make, changes

    def step(self, state, operation):
        """The state after the operation; raises ValueError if it cannot be carried out, or not with this result."""
        if operation.kind == self._make:
            if state is not None:
                raise ValueError
            return self.made(operation)
        if state is None:
            raise ValueError
        if operation.kind == "read":
            if operation.acknowledged() and tuple(operation.result) != tuple(state):
                raise ValueError
            return state
        return self.changed(state, operation)

    def made(self, operation):
        del operation
        return (self._changes[self._make][1],)

    def changed(self, state, operation):
        before, after = self._changes[operation.kind]
        if state[0] not in before:
            raise ValueError
        return (after,)


class TaskRegister(Register):
    """A state is (how it stands, revision, set)."""

    def __init__(self):
        super().__init__("task", "create", {
            "pause": (("STATE_OPEN", "STATE_PAUSED"), "STATE_PAUSED"),
            "resume": (("STATE_OPEN", "STATE_PAUSED"), "STATE_OPEN"),
            "abort": (("STATE_OPEN", "STATE_PAUSED"), "STATE_ABORTED")})

    def made(self, operation):
        return ("STATE_OPEN", 1, operation.argument)

    def changed(self, state, operation):
        stands, revision, _ = state
        if operation.kind != "publish":
            return super().changed(state, operation) + state[1:]
        if stands == "STATE_ABORTED" or operation.result not in (None, revision + 1):
            raise ValueError
        return (stands, revision + 1, operation.argument)


REGISTERS = {
    "task": TaskRegister(),
    "credential": Register("credential", "issue", {"issue": ((), "good"), "revoke": (("good", "revoked"), "revoked")}),
    "invitation": Register("invitation", "invite", {"invite": ((), "STATE_PENDING"), "cancel": (
        ("STATE_PENDING", "STATE_CANCELED"), "STATE_CANCELED")}),
}


def linearizable(operations, register):
    """Whether there is an order of these operations in which each gets its result, and which keeps to their times: what
    was acknowledged before another one began comes before it. An operation without an acknowledgement may have been
    carried out at any time since its begin, or never. False as well when there are too many orders to look at.

    A search over all orders (Wing and Gong), which looks at no configuration twice: how far the acknowledged ones are
    carried out in the order of their begins, which later ones are besides, how many of the others, and the state.
    """
    known = sorted((each for each in operations if each.acknowledged()), key=lambda each: each.begin)
    others = _alike(each for each in operations if not each.acknowledged() and each.kind != "read")
    stack, seen = [(0, frozenset(), (0,) * len(others), None)], set()
    while stack:
        first, later, used, state = stack.pop()
        while first in later:
            later, first = later - {first}, first + 1
        if first == len(known):
            return True
        if (first, later, used, state) in seen:
            continue
        seen.add((first, later, used, state))
        if len(seen) > MOST_CONFIGURATIONS:
            return False
        horizon, index, candidates = known[first].end, first, []
        while index < len(known) and known[index].begin <= horizon:
            if index not in later:
                horizon = min(horizon, known[index].end)
                candidates.append(index)
            index += 1
        for number, (group, count) in enumerate(zip(others, used)):
            if count < len(group) and group[count].begin <= horizon:
                after = used[:number] + (count + 1,) + used[number + 1:]
                _push(stack, register, (first, later, after, state), group[count])
        # Last in, first tried: what was acknowledged.
        for index in candidates:
            if known[index].begin <= horizon:
                _push(stack, register, (first, later | {index}, used, state), known[index])
    return False


def _alike(operations):
    """Groups of those that do the same, in the order of their begins: of these the next is as good as any."""
    groups = collections.defaultdict(list)
    for each in sorted(operations, key=lambda each: each.begin):
        groups[each.kind, each.argument, each.result].append(each)
    return list(groups.values())


def _push(stack, register, configuration, operation):
    try:
        stack.append(configuration[:3] + (register.step(configuration[3], operation),))
    except ValueError:
        pass


def settle(operations, stored):
    """What became of publishes whose answers were lost: `stored` has (task, set, revision) of all that was ever stored.
    Gives the operations without those that were never carried out, and the others with their results."""
    revisions = {(task, number): revision for task, number, revision in stored}
    settled = []
    for each in operations:
        if each.kind == "publish" and not each.acknowledged():
            revision = revisions.get((each.key, each.argument))
            if revision is None:
                continue
            each = dataclasses.replace(each, result=revision)
        settled.append(each)
    return settled


def registers(operations):
    """Keys whose calls have no order."""
    by_key = collections.defaultdict(list)
    for operation in operations:
        if operation.key is not None:
            by_key[operation.key].append(operation)
    found = []
    for key, calls in sorted(by_key.items()):
        register = REGISTERS.get(key.split("/")[0])
        if register is not None and not linearizable(calls, register):
            found.append("%s: no order of its calls gives these answers:\n%s" % (
                key, "\n".join("  " + show(call) for call in sorted(calls, key=lambda call: call.begin))))
    return found


def show(call):
    end = "%.3f" % (call.end / 1e9) if call.acknowledged() else "never"
    return "%.3f to %s: %s %s %s -> %s %s" % (
        call.begin / 1e9, end, call.kind, call.about, call.argument or "", call.result or "",
        call.why[:200].replace("\n", " "))


def admissions(operations, probes):
    """Probes that were admitted though they began after the acknowledgement of a revocation."""
    revoked = {}
    for operation in operations:
        if operation.kind == "revoke" and operation.acknowledged():
            revoked[operation.key] = min(operation.end, revoked.get(operation.key, math.inf))
    return ["%s: admitted at %s (%s) by a call that began %.3f s after the acknowledged revocation, at %.3f" % (
                probe.credential, probe.replica, probe.way, (probe.begin - revoked[probe.credential]) / 1e9,
                probe.begin / 1e9)
            for probe in probes
            if probe.admitted() and probe.begin > revoked.get(probe.credential, math.inf)]


def confirmations(puts):
    """Attempts that were confirmed twice, and records whose versions do not grow by one where they show a change. Only
    a lease is renewed under the same version."""
    found, last, confirmed = [], {}, collections.Counter()
    for put in puts:
        client = (put.task, put.client)
        before = last.get(client)
        if before is not None and put != before and put.version != before.version + 1:
            found.append("%s of %s: %s came after %s" % (put.client, put.task, _about(put), _about(before)))
        attempt = (*client, put.revision, put.attempt)
        if put.state == CONFIRMED and (before is None or before.state != CONFIRMED or
                                       (before.revision, before.attempt) != (put.revision, put.attempt)):
            confirmed[attempt] += 1
            if confirmed[attempt] == 2:
                found.append("%s of %s: confirmed attempt %d at revision %d twice" % (
                    put.client, put.task, put.attempt, put.revision))
        last[client] = put
    return found


def _about(put):
    return "version %d (%s of attempt %d at revision %d)" % (put.version, put.state, put.attempt, put.revision)


def disks(expected, found):
    """`expected`: from machine to path to the texts that may be there, None for no file. `found`: from machine to path
    to text."""
    wrong = []
    for machine, paths in sorted(expected.items()):
        has = found.get(machine, {})
        for path in sorted(paths.keys() | has.keys()):
            may = paths.get(path, (None,))
            if has.get(path) not in may:
                wrong.append("%s: %s is %s, expected %s" % (
                    machine, path, _short(has.get(path)), " or ".join(map(_short, may))))
    return wrong


def _short(text):
    return "not there" if text is None else repr(text[:60])
