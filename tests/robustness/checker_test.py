"""The checker finds each promise that is broken, and nothing where all are kept."""

import unittest

from tests.robustness import checker
from tests.robustness.history import FULL, Operation, Probe, Put

TASK, KEY, INVITATION, JOIN_KEY, ROOTS = "task/web", "credential/1", "invitation/1", "join_key/1", "roots"


def call(kind, begin, end, argument=None, result=None, key=TASK):
    return Operation(key, kind, argument, result, begin, end)


def create(begin, end, files="one"):
    return call("create", begin, end, files)


def publish(begin, end, files, revision=None):
    return call("publish", begin, end, files, revision)


def read(begin, end, *state, key=TASK):
    return call("read", begin, end, result=state, key=key)


OPEN, PAUSED, ABORTED = "STATE_OPEN", "STATE_PAUSED", "STATE_ABORTED"
PENDING, CANCELED, CLOSED, COMPLETED = "STATE_PENDING", "STATE_CANCELED", "STATE_CLOSED", "STATE_COMPLETED"


class RegisterCase(unittest.TestCase):

    # What each history begins with.
    before = ()

    def good(self, *calls):
        self.assertEqual(checker.registers([*self.before, *calls]), [])

    def bad(self, *calls):
        found = checker.registers([*self.before, *calls])
        self.assertEqual(len(found), 1, found)
        self.assertIn(calls[0].key, found[0])


class Registers(RegisterCase):

    def test_one_after_another(self):
        self.good(create(0, 1), read(2, 3, OPEN, 1, "one"), publish(4, 5, "two", 2), read(6, 7, OPEN, 2, "two"),
                  call("pause", 8, 9), read(10, 11, PAUSED, 2, "two"), call("resume", 12, 13),
                  call("abort", 14, 15), read(16, 17, ABORTED, 2, "two"))

    def test_a_read_meanwhile_sees_before_or_after(self):
        for state in ((1, "one"), (2, "two")):
            self.good(create(0, 1), publish(2, 6, "two", 2), read(3, 5, OPEN, *state))

    def test_a_read_is_behind_an_acknowledged_publish(self):
        self.bad(create(0, 1), publish(2, 3, "two", 2), read(4, 5, OPEN, 1, "one"))

    def test_an_acknowledged_publish_is_lost_later(self):
        self.bad(create(0, 1), publish(2, 3, "two", 2), read(4, 5, OPEN, 2, "two"), read(6, 7, OPEN, 1, "one"))

    def test_an_acknowledged_task_is_not_there(self):
        self.bad(read(0, 1, OPEN, 1, "one"), create(2, 3))

    def test_reads_go_back(self):
        self.bad(create(0, 1), publish(2, 9, "two", 2), read(3, 4, OPEN, 2, "two"), read(5, 6, OPEN, 1, "one"))

    def test_one_revision_is_given_to_two(self):
        self.bad(create(0, 1), publish(2, 4, "two", 2), publish(3, 5, "three", 2))

    def test_another_set_than_was_published(self):
        self.bad(create(0, 1), publish(2, 3, "two", 2), read(4, 5, OPEN, 2, "three"))

    def test_an_acknowledged_abort_is_undone(self):
        self.bad(create(0, 1), call("abort", 2, 3), read(4, 5, OPEN, 1, "one"))
        self.bad(create(0, 1), call("abort", 2, 3), publish(4, 5, "two", 2))

    def test_an_abort_that_was_not_acknowledged_may_be_repeated(self):
        abort = call("abort", 2, None)
        seen = read(3, 4, ABORTED, 1, "one")
        self.good(create(0, 1), abort, seen, call("abort", 5, 6), read(7, 8, ABORTED, 1, "one"))
        self.bad(create(0, 1), abort, seen, call("resume", 5, 6))

    def test_a_pause_is_lost(self):
        self.bad(create(0, 1), call("pause", 2, 3), read(4, 5, OPEN, 1, "one"))

    def test_what_was_not_acknowledged_may_have_been_carried_out_at_any_time_or_never(self):
        lost = publish(2, None, "two")
        self.good(create(0, 1), lost, read(3, 4, OPEN, 1, "one"))
        self.good(create(0, 1), lost, read(3, 4, OPEN, 1, "one"), read(5, 6, OPEN, 2, "two"))
        self.good(create(0, 1), lost, publish(3, 4, "three", 2), read(5, 6, OPEN, 2, "three"))
        self.good(create(0, 1), lost, publish(3, 4, "three", 3), read(5, 6, OPEN, 3, "three"))

    def test_what_was_stored_tells_what_became_of_lost_answers(self):
        calls = [create(0, 1), publish(2, None, "two"), publish(3, None, "three")]
        settled = checker.settle(calls, {(TASK, "one", 1), (TASK, "three", 2)})
        self.assertEqual([(call.kind, call.argument, call.result) for call in settled],
                         [("create", "one", None), ("publish", "three", 2)])
        self.good(*settled, read(4, 5, OPEN, 2, "three"))
        self.bad(*settled, publish(4, 5, "four", 4))

    def test_what_does_the_same_is_tried_once(self):
        pauses = [call(kind, 2 + number, None) for number in range(40) for kind in ("pause", "resume", "abort")]
        self.bad(create(0, 1), *pauses, read(50, 51, ABORTED, 1, "one"), read(52, 53, OPEN, 1, "one"))

    def test_what_was_not_acknowledged_is_carried_out_once(self):
        self.bad(create(0, 1), publish(2, None, "two"), read(3, 4, OPEN, 2, "two"), publish(5, 6, "three", 3),
                 read(7, 8, OPEN, 4, "two"))

    def test_what_was_not_acknowledged_is_not_carried_out_before_it_began(self):
        self.bad(create(0, 1), read(2, 3, OPEN, 2, "two"), publish(4, None, "two"))

    def test_keys_are_told_apart(self):
        other = [call("create", 0, 1, "x", key="task/db"), read(2, 3, OPEN, 1, "x", key="task/db")]
        self.good(create(0, 1), *other, publish(2, 3, "two", 2))
        self.bad(create(0, 1), *other, publish(2, 3, "two", 2), read(4, 5, OPEN, 1, "one"))

    def test_many_calls_take_no_time(self):
        calls = [create(0, 1, 1)]
        for revision in range(2, 200):
            begin = revision * 10
            calls += [publish(begin, begin + 5, revision, revision), publish(begin, None, -revision),
                      read(begin + 1, begin + 9, OPEN, revision, revision)]
        self.good(*calls)

    def test_credentials(self):
        def look(begin, end, stands):
            return call("read", begin, end, (1, False), (stands,), key=KEY)

        issue, revoke = call("issue", 0, 1, result=1, key=KEY), call("revoke", 2, 5, key=KEY)
        self.good(issue, revoke, look(3, 4, "good"), look(6, 7, "revoked"))
        self.bad(issue, revoke, look(6, 7, "good"))
        self.bad(issue, revoke, look(3, 4, "revoked"), look(4.5, 4.6, "good"))



class Invitations(RegisterCase):

    INVITE = call("invite", 0, 1, "bob", key=INVITATION)

    def enrol(self, begin, end, claimer="c1"):
        return call("enrol", begin, end, claimer, key=INVITATION)

    def cancel(self, begin, end, result=CANCELED):
        return call("cancel", begin, end, result=result, key=INVITATION)

    def read(self, begin, state):
        return read(begin, begin + 0.5, state, key=INVITATION)

    def test_canceled(self):
        self.good(self.INVITE, self.read(1, PENDING), self.cancel(2, 3), self.cancel(4, 5), self.read(6, CANCELED))
        self.bad(self.INVITE, self.cancel(2, 3), self.read(4, PENDING))
        self.bad(self.INVITE, self.read(4, CANCELED))

    def test_used_once(self):
        self.good(self.INVITE, self.enrol(2, 5), self.read(3, COMPLETED), self.enrol(6, None, "c2"))
        self.good(self.INVITE, self.enrol(2, None), self.enrol(6, 7, "c2"), self.read(8, PENDING))
        self.bad(self.INVITE, self.enrol(2, 5), self.enrol(6, 7, "c2"))
        self.bad(self.INVITE, self.enrol(2, 7), self.enrol(3, 6, "c2"))

    def test_canceled_it_enrols_nobody(self):
        self.bad(self.INVITE, self.cancel(2, 3), self.enrol(4, 5))
        # A claim that was under way as well, and one that had ended before.
        self.bad(self.INVITE, self.enrol(1.5, 5), self.cancel(2, 3))
        self.bad(self.INVITE, self.enrol(1.5, 2), self.cancel(3, 4))
        self.bad(self.INVITE, self.enrol(1.5, 5), self.cancel(2, None), self.read(3, CANCELED))
        self.good(self.INVITE, self.enrol(1.5, 5), self.cancel(2, None))
        self.good(self.INVITE, self.enrol(1.5, None), self.cancel(2, 3))

    def test_spent_it_is_closed_in_place_of_canceled(self):
        self.good(self.INVITE, self.enrol(1.5, 5), self.cancel(2, 3, CLOSED), self.read(6, CLOSED))
        self.good(self.INVITE, self.enrol(1.5, 2), self.cancel(3, None), self.read(6, CLOSED))
        self.bad(self.INVITE, self.cancel(2, 3, CLOSED), self.read(6, CANCELED))

    def test_an_end_stays(self):
        self.good(self.INVITE, self.read(2, PENDING), self.read(3, COMPLETED), self.read(4, COMPLETED))
        for state in (COMPLETED, CLOSED, "STATE_LOCKED"):
            self.bad(self.INVITE, self.read(2, state), self.read(3, PENDING))
            self.bad(self.INVITE, self.read(2, state), self.cancel(3, 4))
        self.bad(self.INVITE, self.read(2, "STATE_LOCKED"), self.enrol(3, 4))


class JoinKeys(RegisterCase):

    MAKE = call("make", 0, 1, 2, key=JOIN_KEY)

    def join(self, begin, end, result="joined"):
        return call("join", begin, end, result=result, key=JOIN_KEY)

    def revoke(self, begin, end):
        return call("revoke", begin, end, key=JOIN_KEY)

    def read(self, begin, joined, stands="good"):
        return read(begin, begin + 0.5, 2, joined, stands, key=JOIN_KEY)

    def test_as_many_as_it_is_for(self):
        self.good(self.MAKE, self.join(2, 3), self.join(2, 3), self.join(4, 5, FULL), self.read(6, 2))
        self.bad(self.MAKE, self.join(2, 3), self.join(2, 3), self.join(2, 3))
        self.bad(self.MAKE, self.join(2, 3), self.join(4, 5, FULL))
        self.bad(self.MAKE, self.join(2, 3), self.join(2, 3), self.join(4, 5, FULL), self.read(6, 1))

    def test_a_join_without_an_answer_may_have_taken_a_place(self):
        lost = self.join(2, None, None)
        self.good(self.MAKE, lost, self.join(4, 5), self.join(6, 7, FULL), self.read(8, 2))
        self.good(self.MAKE, lost, self.join(4, 5), self.join(6, 7), self.read(8, 2))
        self.good(self.MAKE, lost, self.read(3, 0), self.read(4, 1))
        self.bad(self.MAKE, lost, self.read(3, 1), self.join(4, 5), self.join(4, 5))
        self.bad(self.MAKE, lost, self.join(4, 5), self.read(6, 2), self.read(7, 1))

    def test_revoked_it_lets_in_nobody(self):
        self.good(self.MAKE, self.join(2, 5), self.revoke(3, 4), self.read(6, 1, "revoked"))
        self.bad(self.MAKE, self.revoke(3, 4), self.join(5, 6))
        self.bad(self.MAKE, self.revoke(3, 4), self.join(5, None), self.read(6, 1, "revoked"))

    def test_an_acknowledged_revocation_stays(self):
        self.good(self.MAKE, self.revoke(2, None), self.read(3, 0), self.read(4, 0, "revoked"))
        self.bad(self.MAKE, self.revoke(2, 3), self.read(4, 0))
        self.bad(self.MAKE, self.revoke(2, None), self.read(3, 0, "revoked"), self.read(4, 0))


class Roots(RegisterCase):
    before = (call("issue", -3, -2, result=1, key="credential/1"),)

    def rotate(self, begin, end, epoch):
        return call("rotate", begin, end, result=epoch, key=ROOTS)

    def retire(self, begin, end, before, epoch):
        return call("retire", begin, end, before, epoch, key=ROOTS)

    def read(self, begin, epoch, retired):
        return call("read", begin, begin + 0.5, (epoch, retired), ("good",), key="credential/1")

    def issue(self, begin, epoch):
        return call("issue", begin, begin + 0.5, result=epoch, key="credential/at-%s" % begin)

    def test_each_rotation_makes_another_epoch(self):
        self.good(self.rotate(0, 1, 2), self.rotate(2, 5, 4), self.rotate(2, 5, 3))
        self.good(self.rotate(0, 1, 2), self.rotate(2, None, None), self.rotate(4, 5, 4))
        self.bad(self.rotate(0, 3, 2), self.rotate(0, 3, 2))
        self.bad(self.rotate(0, 1, 2), self.rotate(2, 3, 4))

    def test_a_retirement_is_seen_everywhere_and_stays(self):
        self.good(self.rotate(0, 1, 2), self.read(2, 1, False), self.retire(3, 6, 2, 3), self.read(4, 1, False),
                  self.read(5, 1, True), self.read(7, 1, True), self.read(7, 2, False))
        self.bad(self.rotate(0, 1, 2), self.retire(3, 4, 2, 3), self.read(5, 1, False))
        self.bad(self.rotate(0, 1, 2), self.retire(3, None, 2, None), self.read(5, 1, True), self.read(6, 1, False))
        self.bad(self.rotate(0, 1, 2), self.retire(3, 4, 2, 3), self.read(5, 2, True))
        self.bad(self.retire(3, 4, 2, 2))

    def test_what_is_issued_comes_from_the_primary_root(self):
        self.good(self.rotate(0, 3, 2), self.issue(1, 1), self.issue(4, 2))
        self.bad(self.rotate(0, 3, 2), self.issue(4, 1))
        self.bad(self.rotate(0, 3, 2), self.issue(1, 2), self.issue(2, 1))


class Retirements(unittest.TestCase):
    WITHIN_S = 15

    def find(self, seconds, way="kept", replica="taskd-2", epoch=1, end=4):
        calls = [call("issue", 0, 1, result=epoch, key=KEY), call("retire", 2, end, 2, 3, key=ROOTS)]
        calls[1].about = "keyd-1"
        begin = 4 + seconds * 1e9
        return checker.retirements(calls, [Probe(KEY, replica, way, begin, begin + 1, "OK")], self.WITHIN_S)

    def test_admitted_when_everybody_must_have_heard(self):
        self.assertIn("after the acknowledged end of its root", self.find(16)[0])
        self.assertEqual(self.find(14), [])

    def test_admitted_anew_where_it_was_acknowledged(self):
        self.assertTrue(self.find(0.1, "new", "keyd-1"))
        self.assertEqual(self.find(0.1, "kept", "keyd-1"), [])
        self.assertEqual(self.find(0.1, "new", "keyd-2"), [])

    def test_other_roots_go_on(self):
        self.assertEqual(self.find(16, epoch=2), [])

    def test_nothing_is_promised_without_an_acknowledgement(self):
        self.assertEqual(self.find(16, end=None), [])


def joining(client, begin, answer, known=True):
    return Probe(JOIN_KEY, "taskd-1", "new", begin, begin + 1, answer, client, known)


class Joins(unittest.TestCase):

    def test_a_client_tries_until_it_knows(self):
        lost = joining("joiner-1", 2, "UNAVAILABLE", known=False)
        for answer, expected in (("OK", ("joined", 2, 6)), (FULL, (FULL, 5, 6)), ("KEY_REFUSED", (None, 2, None))):
            found = [(each.key, each.kind, each.result, each.begin, each.end)
                     for each in checker.joins([lost, joining("joiner-1", 5, answer)])]
            self.assertEqual(found, [(JOIN_KEY, "join", *expected)])

    def test_what_was_refused_was_not_carried_out(self):
        self.assertEqual(checker.joins([joining("joiner-1", 2, "KEY_REFUSED"), joining("", 2, "OK")]), [])

    def test_who_was_told_is_a_client_and_nobody_else(self):
        probes = [joining("joiner-1", 2, "OK"), joining("joiner-2", 2, "UNAVAILABLE", known=False)]
        for stored in ({"joiner-1", "agent-000"}, {"joiner-1", "joiner-2"}):
            self.assertEqual(checker.joined(probes, stored), [])
        self.assertIn("is no client", checker.joined(probes, {"joiner-2"})[0])
        self.assertIn("has never asked", checker.joined(probes, {"joiner-1", "joiner-3"})[0])

    def test_a_full_key_is_a_good_one(self):
        calls = [call("revoke", 2, 4, key=JOIN_KEY)]
        self.assertEqual(len(checker.admissions(calls, [joining("joiner-1", 5, FULL)])), 1)


class Chain(unittest.TestCase):

    def find(self, *devices, end=5, about=""):
        other = call("enrol", 2, 6, "c3", key="invitation/2")
        calls = [call("invite", 0, 1, "bob", key=INVITATION), call("enrol", 2, end, "c1", key=INVITATION),
                 call("enrol", 2, None, "c2", key=INVITATION), call("invite", 0, 1, "eve", key="invitation/2"), other]
        calls[1].about = about
        return checker.chain(calls, {"keyd-1": [("eve", "c3"), *devices]})

    def test_who_was_told_and_who_may_be(self):
        self.assertEqual(self.find(("bob", "c1")), [])
        self.assertEqual(self.find(end=None), [])
        self.assertEqual(self.find(("bob", "c1"), end=None, about=checker.COMPARED), [])

    def test_who_was_told_is_not_there(self):
        self.assertIn("c1 was told to be enrolled", self.find()[0])

    def test_nobody_else(self):
        self.assertIn("has compared no codes", self.find(("bob", "c1"), end=None)[0])
        self.assertIn("was never invited", self.find(("bob", "c1"), ("mallory", "c4"))[0])
        self.assertIn("was never invited", self.find(("eve", "c1"))[0])

    def test_one_invitation_enrols_two(self):
        self.assertIn("invitation/1 has enrolled 2 devices", self.find(("bob", "c1"), ("bob", "c1"))[0])


class Admissions(unittest.TestCase):

    def find(self, begin, answer, revoked=True, replica="taskd-2"):
        calls = [call("issue", 0, 1, key=KEY), call("revoke", 2, 4 if revoked else None, key=KEY)]
        return checker.admissions(calls, [Probe(KEY, replica, "kept", begin, begin + 1, answer)])

    def test_a_call_after_the_acknowledgement_is_admitted(self):
        self.assertIn("admitted at taskd-2", self.find(5, "OK")[0])

    def test_a_call_after_it_is_refused(self):
        self.assertEqual(self.find(5, "UNAUTHENTICATED"), [])

    def test_a_call_that_began_before_it_may_be_admitted(self):
        self.assertEqual(self.find(3, "OK"), [])

    def test_nothing_is_promised_without_an_acknowledgement(self):
        self.assertEqual(self.find(5, "OK", revoked=False), [])


class Confirmations(unittest.TestCase):

    def find(self, *states):
        """Each (state, revision, attempt, version)."""
        return checker.confirmations([Put("web", "m1", "STATE_" + state, *rest) for state, *rest in states])

    def test_once(self):
        self.assertEqual(self.find(("CHECKING", 1, 1, 4), ("CONFIRMED", 1, 1, 5), ("CONFIRMED", 1, 1, 6),
                                   ("OFFERED", 2, 1, 7), ("CONFIRMED", 2, 1, 8)), [])

    def test_twice(self):
        found = self.find(("CONFIRMED", 1, 1, 5), ("CHECKING", 1, 1, 6), ("CONFIRMED", 1, 1, 7))
        self.assertEqual(len(found), 1, found)
        self.assertIn("attempt 1 at revision 1 twice", found[0])

    def test_another_attempt_may_be_confirmed(self):
        self.assertEqual(self.find(("CONFIRMED", 1, 1, 5), ("OFFERED", 1, 2, 6), ("CONFIRMED", 1, 2, 7)), [])

    def test_a_change_is_lost(self):
        self.assertIn("version 7 (STATE_CONFIRMED of attempt 1 at revision 1) came after version 5",
                      self.find(("CHECKING", 1, 1, 5), ("CONFIRMED", 1, 1, 7))[0])

    def test_a_lease_is_renewed(self):
        self.assertEqual(self.find(("TRANSFERRING", 1, 1, 5), ("TRANSFERRING", 1, 1, 5)), [])

    def test_a_change_is_made_twice(self):
        self.assertTrue(self.find(("CHECKING", 1, 1, 5), ("CONFIRMED", 1, 1, 5)))


class Disks(unittest.TestCase):

    def test_each_file(self):
        expected = {"m1": {"a": ("new",), "b": ("new", "old"), "c": (None, "x")}}
        self.assertEqual(checker.disks(expected, {"m1": {"a": "new", "b": "old"}}), [])
        for wrong in ({"a": "old", "b": "old"}, {"b": "old"}, {"a": "new", "b": "old", "d": "?"}, {}):
            self.assertTrue(checker.disks(expected, {"m1": wrong}), wrong)
        self.assertTrue(checker.disks(expected, {}))


if __name__ == "__main__":
    unittest.main()
