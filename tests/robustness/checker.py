"""Whether a history keeps the promises that the services make: each function names what is broken, in sentences.

  - each task, credential, invitation and join key, and the organisation's roots, behave as if their calls happened one
    after another, each between its begin and its acknowledgement (linearizable): nothing acknowledged is lost, and a
    read sees all that was acknowledged before. An invitation enrols one claimer, and nobody once it is canceled; a join
    key lets in as many as it was made for, and nobody once it is revoked; no two rotations make the same epoch;
  - a credential or join key is admitted nowhere once its revocation was acknowledged;
  - a credential is admitted nowhere from some seconds after its root was retired, and over a new connection not at all
    where that was acknowledged;
  - the chain of trust has each claimer who was told to be enrolled, and no other who had not compared the codes; a task
    has each client that was told that it has joined, and no other that had not asked;
  - a client confirms one attempt at a revision once, and no change of its record is lost or made twice;
  - in the end each machine has the files that it should have.
"""

import collections
import dataclasses
import math

from tests.robustness.history import FULL, Operation

CONFIRMED = "STATE_CONFIRMED"
# How far a claim came that may have enrolled somebody.
COMPARED = "confirmed"
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
            "abort": (("STATE_OPEN", "STATE_PAUSED", "STATE_ABORTED"), "STATE_ABORTED")})

    def made(self, operation):
        return ("STATE_OPEN", 1, operation.argument)

    def changed(self, state, operation):
        stands, revision, _ = state
        if operation.kind != "publish":
            return super().changed(state, operation) + state[1:]
        if stands == "STATE_ABORTED" or operation.result not in (None, revision + 1):
            raise ValueError
        return (stands, revision + 1, operation.argument)


class InvitationRegister(Register):
    """A state is (how it stands, whether a claimer was enrolled). What the services do by themselves shows in a read,
    and nowhere before: a pending invitation is completed, closed, locked or expired at any time."""

    def __init__(self):
        super().__init__("invitation", "invite", {})

    def made(self, operation):
        return ("STATE_PENDING", False)

    def step(self, state, operation):
        if state is None or operation.kind != "read":
            return super().step(state, operation)
        stands, used = state
        shown, = operation.result
        if shown != stands and (stands != "STATE_PENDING" or shown == "STATE_CANCELED"):
            raise ValueError
        return (shown, used)

    def changed(self, state, operation):
        stands, used = state
        if operation.kind == "enrol":
            if used or stands not in ("STATE_PENDING", "STATE_COMPLETED", "STATE_CLOSED"):
                raise ValueError
            return (stands, True)
        # Whoever may have got a credential keeps it: then it is closed.
        after = operation.result or ("STATE_CLOSED" if used else "STATE_CANCELED")
        if stands != "STATE_PENDING" and (stands, after) != ("STATE_CANCELED",) * 2:
            raise ValueError
        if used and after == "STATE_CANCELED":
            raise ValueError
        return (after, used)


class JoinKeyRegister(Register):
    """A state is (for how many it is, how many have joined, how it stands)."""

    def __init__(self):
        super().__init__("join_key", "make", {})

    def made(self, operation):
        return (operation.argument, 0, "good")

    def changed(self, state, operation):
        most, joined, stands = state
        if operation.kind == "revoke":
            return (most, joined, "revoked")
        full = joined == most
        if stands == "revoked" or full != (operation.result == FULL):
            raise ValueError
        return (most, joined + (not full), stands)


class RootsRegister(Register):
    """A state is (the primary epoch, the oldest one that is not retired). A read asks of one epoch whether it is
    retired."""

    def __init__(self):
        super().__init__("roots", None, {})

    def step(self, state, operation):
        primary, oldest = state or (1, 1)
        if operation.kind == "read":
            if operation.acknowledged() and operation.result != (operation.argument < oldest):
                raise ValueError
        elif operation.kind == "issue":
            if operation.result != primary:
                raise ValueError
        else:
            if operation.result not in (None, primary + 1) or (operation.argument or 0) > primary:
                raise ValueError
            primary, oldest = primary + 1, max(oldest, operation.argument or 0)
        return (primary, oldest)


REGISTERS = {
    "task": TaskRegister(),
    "credential": Register("credential", "issue", {"issue": ((), "good"), "revoke": (("good", "revoked"), "revoked")}),
    "invitation": InvitationRegister(),
    "join_key": JoinKeyRegister(),
    "roots": RootsRegister(),
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
    for operation in [*operations, *_of_roots(operations)]:
        if operation.key is not None:
            by_key[operation.key].append(operation)
    found = []
    for key, calls in sorted(by_key.items()):
        register = REGISTERS.get(key.split("/")[0])
        if register is not None and not linearizable(calls, register):
            found.append("%s: no order of its calls gives these answers:\n%s" % (
                key, "\n".join("  " + show(call) for call in sorted(calls, key=lambda call: call.begin))))
    return found


def _of_roots(operations):
    """What calls about credentials show of the roots: which one is primary when one is issued, and whether that of one
    is retired when it is read."""
    for each in operations:
        if each.kind == "issue" and each.acknowledged():
            yield dataclasses.replace(each, key="roots")
        elif each.kind == "read" and each.acknowledged() and each.key.startswith("credential/"):
            epoch, retired = each.argument
            yield dataclasses.replace(each, key="roots", argument=epoch, result=retired)


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
    return [_admitted(probe, revoked[probe.credential], "revocation") for probe in probes
            if probe.admitted() and probe.begin > revoked.get(probe.credential, math.inf)]


def _admitted(probe, end, what):
    return "%s: admitted at %s (%s) by a call that began %.3f s after the acknowledged %s, at %.3f" % (
        probe.credential, probe.replica, probe.way, (probe.begin - end) / 1e9, what, probe.begin / 1e9)


def retirements(operations, probes, within_s):
    """Probes that were admitted under a retired root: where that was acknowledged, over a new connection that began
    after it; elsewhere, and over a connection that stood, by a call that began `within_s` seconds after it."""
    epochs = {each.key: each.result for each in operations if each.kind == "issue" and each.acknowledged()}
    retired = [each for each in operations if each.kind == "retire" and each.acknowledged()]
    found = []
    for probe in probes:
        epoch = epochs.get(probe.credential, math.inf)
        for each in retired:
            exact = (probe.replica, probe.way) == (each.about, "new")
            from_then = each.end + (0 if exact else within_s * 1e9)
            if probe.admitted() and epoch < each.argument and probe.begin > from_then:
                found.append(_admitted(probe, each.end, "end of its root"))
                break
    return found


def joins(probes):
    """What the tries to join were, one operation for each client: it tries again until it knows. What was refused for
    good at its first try was not carried out, and is none."""
    clients = collections.defaultdict(list)
    for probe in probes:
        if probe.client:
            clients[probe.client].append(probe)
    found = []
    for tries in clients.values():
        first, last = tries[0], tries[-1]
        if last.answer == "OK":
            found.append(Operation(first.credential, "join", None, "joined", first.begin, last.end))
        elif last.answer == FULL:
            found.append(Operation(first.credential, "join", None, FULL, last.begin, last.end))
        elif not all(each.known for each in tries):
            found.append(Operation(first.credential, "join", None, None, first.begin))
    return found


def joined(probes, stored):
    """`stored`: the names of all clients that a task ever had."""
    told, asked = set(), set()
    for probe in probes:
        if probe.client:
            asked.add(probe.client)
        if probe.client and probe.answer == "OK":
            told.add(probe.client)
    by_key = {client for client in stored if client.startswith("joiner-")}
    return ["%s was told that it has joined, and is no client" % client for client in sorted(told - stored)] + [
        "%s is a client, and has never asked" % client for client in sorted(by_key - asked)]


def chain(operations, listed):
    """`listed`: from replica to its (name of a user, name of a device), without what was there before. A device has the
    name of the claimer that the operation "enrol" is about."""
    claims = {each.argument: each for each in operations if each.kind == "enrol"}
    users = {each.key: each.argument for each in operations if each.kind == "invite"}
    found = []
    for at, devices in sorted(listed.items()):
        names = [device for _, device in devices]
        found += ["%s: %s was told to be enrolled, and is not in the chain" % (at, name)
                  for name, each in sorted(claims.items()) if each.acknowledged() and name not in names]
        used = collections.Counter()
        for user, device in devices:
            claim = claims.get(device)
            if claim is None or users.get(claim.key) not in (None, user):
                found.append("%s: %s of %s is in the chain, and was never invited" % (at, device, user))
            elif not claim.acknowledged() and claim.about != COMPARED:
                found.append("%s: %s is in the chain, and has compared no codes" % (at, device))
            used[claim and claim.key] += 1
        found += ["%s: %s has enrolled %d devices" % (at, key, count)
                  for key, count in sorted(used.items(), key=str) if key and count > 1]
    return found


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
