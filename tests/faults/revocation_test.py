"""A key's end is the end of all that depends on it: tried with the programs, by who holds a key that has ended."""

import unittest

from tests.faults import machine, reported
from tests.faults.reported import NEW, OLD


class Revocation(reported.Reported):

    def serial(self, name):
        return self.services.json("credentials", "show", credential=name)["serial"]

    def revoke(self, name):
        """What ended with it."""
        return self.services.json("key", "revoke", self.serial(name), credential="admin")["ended"]

    def test_a_device_is_out_of_its_tasks_with_its_credential(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        self.assertEqual(self.revoke(self.client.name)["memberKeys"], 1)
        run.until("disconnected")
        self.services.publish(task, {"app.conf": "secret\n"})
        # It tries again, as its key may be replaced, and gets nowhere.
        run.until("disconnected")
        run.stop()
        # Nor does it get there with the member key that it was given, which its state still has.
        self.join(task=task, code=1)
        self.assert_settled(NEW)
        self.assertTrue(self.member(task)["revokeTime"])

    def test_a_service_that_was_away_ends_it_before_it_serves(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        run.stop()
        self.services.taskd.stop()
        ended = self.revoke(self.client.name)
        self.assertFalse(ended["complete"])
        self.services.start_taskd()
        self.services.publish(task, {"app.conf": "secret\n"})
        self.join(task=task, code=1)
        self.assert_settled(NEW)
        self.assertTrue(self.member(task)["revokeTime"])

    def test_a_renewed_device_goes_on(self):
        task = self.create(select=self.client)
        run = self.agent()
        run.until("confirmed")
        run.stop()
        former = self.serial(self.client.name)
        self.services.device(self.client.name).unlink()
        run = self.agent()
        run.until("connected")
        self.services.parley("key", "revoke", former, credential="admin")
        self.services.publish(task, {"app.conf": "newer\n"})
        run.until("confirmed", revision=2)
        self.assertTrue(run.running())

    def test_join_keys_end_with_their_operator(self):
        self.services.issue("operator", "oscar")
        created = self.services.json("task", "create", "reported", "--payload", self.services.payload(NEW),
                                     credential="oscar")
        task, key = created["task"]["name"].split("/")[1], created["joinKey"]["pasted"]
        early = self.machine(OLD)
        self.join(client=early, key=key)
        ended = self.revoke("oscar")
        self.assertEqual((ended["joinKeys"], ended["memberKeys"]), (1, 0))
        self.assertEqual(ended["openTasks"], [{"name": "tasks/" + task}])
        self.join(key=key, code=1)
        self.assertEqual(self.client.files(), OLD)
        # Who has joined goes on; what the operator made does, until somebody ends it.
        self.join(client=early, task=task)
        listed = self.services.json("task", "key", task, "--list")["joinKeys"]
        self.assertTrue(listed[0]["revokeTime"])

    def test_members_of_a_join_key_end_when_that_is_asked_for(self):
        task = self.create()
        self.join()
        listed = self.services.json("task", "key", task, "--list")["joinKeys"]
        revoked = self.services.json("task", "key", task, "--revoke", listed[0]["name"].split("/")[-1],
                                     "--with-members")
        self.assertEqual(revoked["endedMembers"], 1)
        self.services.publish(task, {"app.conf": "secret\n"})
        self.join(task=task, code=1)
        self.assert_settled(NEW)


if __name__ == "__main__":
    unittest.main()
