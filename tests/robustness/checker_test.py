"""The checker finds each promise that is broken, and nothing where all are kept."""

import unittest

from tests.robustness import checker
from tests.robustness.history import Operation, Probe, Put

TASK, KEY, INVITATION = "task/web", "credential/1", "invitation/1"


def call(kind, begin, end, argument=None, result=None, key=TASK):
    return Operation(key, kind, argument, result, begin, end)


def create(begin, end, files="one"):
    return call("create", begin, end, files)


def publish(begin, end, files, revision=None):
    return call("publish", begin, end, files, revision)


def read(begin, end, *state, key=TASK):
    return call("read", begin, end, result=state, key=key)


OPEN, PAUSED, ABORTED = "STATE_OPEN", "STATE_PAUSED", "STATE_ABORTED"


class Registers(unittest.TestCase):

    def good(self, *calls):
        self.assertEqual(checker.registers(calls), [])

    def bad(self, *calls):
        found = checker.registers(calls)
        self.assertEqual(len(found), 1, found)
        self.assertIn(calls[0].key, found[0])

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
        issue, revoke = call("issue", 0, 1, key=KEY), call("revoke", 2, 5, key=KEY)
        self.good(issue, revoke, read(3, 4, "good", key=KEY), read(6, 7, "revoked", key=KEY))
        self.bad(issue, revoke, read(6, 7, "good", key=KEY))
        self.bad(issue, revoke, read(3, 4, "revoked", key=KEY), read(4.5, 4.6, "good", key=KEY))

    def test_invitations(self):
        invite, cancel = call("invite", 0, 1, key=INVITATION), call("cancel", 2, 3, key=INVITATION)
        self.good(invite, read(1.5, 1.6, "STATE_PENDING", key=INVITATION), cancel,
                  read(4, 5, "STATE_CANCELED", key=INVITATION))
        self.bad(invite, cancel, read(4, 5, "STATE_PENDING", key=INVITATION))


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
