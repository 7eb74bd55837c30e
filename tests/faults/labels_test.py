"""Labels are what an admin says of a device: they are followed while its agent runs, and taken away as well."""

import unittest

from tests.faults import machine, reported
from tests.faults.reported import NEW


class Labels(reported.Reported):

    def test_a_device_that_is_labelled_away_waits_and_goes_on_with_its_labels(self):
        task = self.create(select=self.client)
        watch = self.services.watch(task)
        run = self.agent()
        run.until("confirmed")
        self.services.label(self.client.name, "name-")
        self.services.publish(task, {"app.conf": "secret\n"})
        member = watch.until(lambda w: w.member(self.client.name).get("state") == "STATE_INELIGIBLE" and
                             w.member(self.client.name))
        self.assertEqual(member["reason"], "not_selected")
        self.assertIn("parley key label", member["detail"])
        self.assertIn("parley key label", self.services.parley("task", "members", task))
        self.assert_settled(NEW)
        self.services.label(self.client.name, "name=" + self.client.name)
        run.until("confirmed", revision=2)
        self.assert_settled({"app.conf": "secret\n"})

    def test_what_has_begun_is_carried_to_its_end(self):
        task = self.create(select=self.client)
        watch = self.services.watch(task)
        gate = self.gate()
        run = self.agent("--check", gate.command)
        gate.wait_until_begun()
        self.services.label(self.client.name, "name-")
        gate.open_for_good()
        run.until("confirmed")
        watch.until_state(self.client.name, *machine.CONFIRMED)
        self.assert_settled(NEW)

    def test_a_machine_chooses_its_facts_and_no_label(self):
        secrets = self.create(select=self.client)
        claims = self.machine()
        self.services.device(claims.name, "site=berlin")
        facts, _ = self.services.create("facts", NEW, "--select", "fact:kind=a,b", "--select", "site=berlin")
        run = self.agent("--fact", "kind=b", "--fact", "name=" + self.client.name, client=claims)
        run.until("confirmed", task="tasks/" + facts)
        self.assertEqual(self.services.members(secrets), {})
        member = self.member(facts, claims)
        self.assertEqual((member["labels"], member["facts"]["name"]), ({"site": "berlin"}, self.client.name))


if __name__ == "__main__":
    unittest.main()
