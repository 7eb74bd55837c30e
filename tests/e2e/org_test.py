"""An organisation's beginning, and what its operators' devices vouch for."""

import json
import unittest

from tests.e2e import person

PASSWORD = "correct horse battery"


class Organisation(unittest.TestCase):

    def setUp(self):
        self.person = person.Person().__enter__()
        self.addCleanup(self.person.__exit__)
        self.person.up()
        self.device = self.person.home / ".config/parley/device"
        self.password = self.person.home / "password"
        self.password.write_text(PASSWORD + "\n")
        self.password.chmod(0o600)

    def parley(self, *arguments, **options):
        return self.person.parley("--password-file", self.password, *arguments, **options)

    def error(self, *arguments):
        """The reason and the sentence of a command that must fail."""
        code, _, errors = self.person.run("--password-file", self.password, "--output", "json", *arguments)
        self.assertEqual(code, 1, errors)
        error = json.loads(errors)["error"]
        return error["reason"], error["message"]

    def found(self, *arguments):
        return json.loads(self.parley("org", "init", "--user", "alice", "--device-name", "Alice's laptop", "--output",
                                      "json", *arguments))

    def test_is_founded_once_and_verified_up_to_its_root(self):
        founded = self.found()
        lines = [json.loads(line) for line in self.parley("org", "verify", "--output", "json").splitlines()]
        self.assertEqual([line["author"] for line in lines[:-1]], ["root", "root"])
        self.assertEqual([line["statement"] for line in lines[:-1]],
                         ["user alice, admin", "alice's device Alice's laptop"])
        self.assertEqual(lines[-1]["rootVerificationKey"], founded["rootVerificationKey"])
        self.assertEqual(lines[-1]["hash"], lines[-2]["hash"])
        self.assertIn("2 certificates", self.parley("org", "verify"))
        self.assertIn("alice", self.parley("user", "list"))
        self.assertIn("(this one)", self.parley("device", "list", "--user", "alice"))
        other = self.person.home / "other"
        self.assertEqual(self.error("--device", other, "org", "init", "--user", "eve")[0], "CHAIN_FOUNDED")
        self.assertFalse(other.exists(), "a device file that nobody can use")
        self.assertEqual(self.error("org", "init", "--user", "alice")[0], "DEVICE_FILE_EXISTS")

    def test_an_interrupted_founding_goes_on_with_the_same_keys(self):
        reason, _ = self.error("--server", "127.0.0.1:1", "org", "init", "--user", "alice", "--device-name", "laptop")
        self.assertEqual(reason, "CONNECTION_REFUSED")
        self.assertTrue(self.device.exists())
        self.assertEqual(self.error("org", "verify")[0], "DEVICE_NOT_ENROLLED")
        self.found()
        self.assertIn("alice's device laptop", self.parley("org", "verify"))

    def test_no_secret_of_the_founder_is_in_what_the_services_keep(self):
        self.found()
        self.person.down()
        for path in self.person.data.rglob("*"):
            if path.is_file():
                self.assertNotIn(PASSWORD.encode(), path.read_bytes(), path)

    def test_keeps_an_admin(self):
        self.found()
        self.assertEqual(self.error("user", "revoke", "alice")[0], "CHAIN_LAST_ADMIN")
        self.assertEqual(self.error("device", "revoke", "Alice's laptop")[0], "CHAIN_LAST_ADMIN")
        self.assertEqual(self.error("user", "revoke", "bob")[0], "MEMBER_NOT_FOUND")
        self.assertEqual(self.error("device", "revoke", "phone")[0], "MEMBER_NOT_FOUND")

    def test_a_client_that_demands_it_applies_what_an_operators_device_signed_and_nothing_else(self):
        self.found()
        payload = self.person.payload({"motd": "hello\n"})
        signed = json.loads(self.parley("task", "create", "signed", "--payload", payload, "--output", "json"))
        self.assertEqual(signed["signer"], "alice on Alice's laptop")
        by_hand = ("--credential", self.person.home / ".config/parley/credential")
        unsigned = json.loads(self.parley(*by_hand, "task", "create", "unsigned", "--payload", payload, "--output",
                                          "json"))
        self.assertEqual(unsigned["signer"], "")

        def join(created, name, *arguments, code=0):
            into = self.person.home / ("into-" + name)
            got, output, errors = self.person.run(
                "--password-file", self.password, "join", "--into", into, "--state", self.person.home / "state",
                "--name", name, "--output", "json", *arguments, stdin=created["joinKey"]["pasted"] + "\n")
            self.assertEqual(got, code, output + errors)
            return into, output + errors

        into, output = join(signed, "one", "--require-operator-signature")
        self.assertEqual(person.read_files(into), {"motd": "hello\n"})
        self.assertIn('"operatorVerified"', output)
        into, output = join(unsigned, "two", "--require-operator-signature", code=1)
        self.assertEqual(person.read_files(into), {})
        self.assertIn("OPERATOR_SIGNATURE_MISSING", output)

    def test_a_demand_needs_a_device_file(self):
        _, key = self.person.create()
        code, _, errors = self.person.run("join", "--into", self.person.home / "into", "--output", "json",
                                          "--require-operator-signature", "--password-file", self.password,
                                          stdin=key + "\n")
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(errors.splitlines()[-1])["error"]["reason"], "NO_DEVICE_FILE")


if __name__ == "__main__":
    unittest.main()
