"""A roll-out as an operator sees it: waves on the command line, the picture, why, and what is refused."""

import subprocess
import unittest

from tests.e2e import person

SITE = {"site.conf": "one\n"}


class Rollout(unittest.TestCase):

    def setUp(self):
        self.person = self.enterContext(person.Person())
        self.person.up()

    def begin(self, task, key, name, check="true"):
        process = self.person.popen("join", "--into", self.person.home / name, "--state",
                                    self.person.home / (name + "-state"), "--name", name, "--check", check,
                                    stdin=subprocess.PIPE)
        process.stdin.write(key + "\n")
        process.stdin.flush()
        self.addCleanup(self.end, process)
        self.until(task, lambda members: any(member["name"].endswith("/" + name) and member["state"] != "STATE_JOINED"
                                             for member in members))
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def until(self, task, condition):
        for _ in range(1000):
            members = self.person.json("task", "members", task).get("participants", [])
            if condition(members):
                return members
        raise AssertionError("it does not come: %s" % members)

    def until_said(self, task, text):
        for _ in range(1000):
            said = self.person.parley("task", "status", task)
            if text in said:
                return said
        raise AssertionError("%r does not come in:\n%s" % (text, said))

    def test_goes_out_wave_by_wave_and_says_what_it_waits_for(self):
        task, key = self.person.create("web", SITE, "--waves", "1,50%,all", "--approve")
        said = self.person.parley("task", "status", task)
        self.assertIn("0 of 3 waves open", said)
        self.assertIn("next: wave 1 waits for 1 more client to join", said)
        joins = [self.begin(task, key, "web-%d" % number) for number in range(4)]
        self.assertEqual(joins[0].wait(person.TIMEOUT_S), 0)
        said = self.until_said(task, "the next wave waits for 1 approval")
        self.assertIn("✔ 1    ████████████████████  1 of 1 have it", said)
        self.assertIn("· all  not open yet", said)
        why = self.person.parley("task", "explain", task, "web-3")
        self.assertIn("web-3 waits for revision 1: the client is in a wave of the roll-out that is yet to open", why)
        self.assertIn("1 of 3 waves are open, and it is in none of them: the next wave waits for 1 approval", why)
        self.assertIn("wave 2 of 3 (50%) has your approval", self.person.parley("task", "advance", task))
        self.until_said(task, "2 of 2 have it")
        self.person.parley("task", "advance", task)
        for process in joins:
            self.assertEqual(process.wait(person.TIMEOUT_S), 0)
        said = self.until_said(task, "4 of 4 have it")
        self.assertNotIn("next:", said)
        code, _, errors = self.person.run("task", "advance", task)
        self.assertEqual(code, 1)
        self.assertIn("every wave of tasks/%s is open" % task, errors)

    def test_that_fails_says_why_and_goes_on_with_a_revision(self):
        task, key = self.person.create("web", SITE, "--waves", "1,all")
        first = self.begin(task, key, "web-0", check="echo 'no such directive' >&2; false")
        self.assertEqual(first.wait(person.TIMEOUT_S), 3)
        second = self.begin(task, key, "web-1")
        said = self.until_said(task, "halted")
        self.assertIn("why: 1 of 1 client of the open waves failed, over the limit of 0", said)
        self.assertIn("1 rolled back (check_failed), for example web-0: no such directive", said)
        why = self.person.parley("task", "explain", task, "web-1")
        self.assertIn("parley task resume " + task, why)
        self.person.json("task", "publish", task, "--payload", self.person.payload({"site.conf": "two\n"}), "--waves",
                         "@web-1,all", "--wave-success", "50%")
        self.assertEqual(second.wait(person.TIMEOUT_S), 0)
        self.assertIn("@web-1", self.until_said(task, "1 of 1 have it"))
        self.assertIn("waves      @web-1, all", self.person.parley("task", "get", task))

    def test_that_makes_no_sense_is_refused_in_a_sentence(self):
        payload = self.person.payload(SITE)
        for waves, options, sentence in (
                ("1,10%", (), "the last wave must be all clients"),
                ("10%,5%,all", (), "a wave of 5 after one of 10 would add nobody"),
                ("all,1", (), "a wave after that of all clients would add nobody"),
                ("0,all", (), "a wave's number must be at least 1"),
                ("canary=true,all", (), "the task selects none"),
                ("@web 1,all", (), "a client's name has 1 to 64 characters"),
                ("ten,all", (), "--waves has \"ten\""),
                ("1,all", ("--soak", "90d"), "the time to soak is at most 30 days"),
                ("1,all", ("--wave-success", "0%"), "--wave-success must be at least 1%"),
                ("1,all", ("--approve", "--approve-by", "2"), "--approve"),
                ("1,all", ("--on-failure", "shrug"), "--on-failure")):
            with self.subTest(waves=waves, options=options):
                code, output, errors = self.person.run("task", "create", "web", "--payload", payload, "--waves", waves,
                                                       *options)
                self.assertIn(code, (1, 2), output)
                self.assertIn(sentence, errors)
        code, _, errors = self.person.run("task", "create", "web", "--payload", payload, "--soak", "1m")
        self.assertEqual(code, 2)
        self.assertIn("--waves", errors)
        self.assertEqual(self.person.json("task", "list").get("tasks", []), [])


if __name__ == "__main__":
    unittest.main()
