"""Two people enrol one of them, with the shipped programs: `parley greet` and `parley claim` at two terminals.

Each test reads the code on one screen and picks what it heard on the other, as people do. Numbered by what goes wrong.
"""

import os
import pty
import re
import subprocess
import unittest

from tests import enrolment
from tests import stack


class Enrolment(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.stack = stack.Stack()
        cls.addClassCleanup(cls.stack.__exit__)
        cls.stack.__enter__()
        cls.alice = enrolment.Member(cls.stack, "alice").found()

    def member(self, name):
        return enrolment.Member(self.stack, "%s-%s" % (name, self._testMethodName.replace("test_", "")[:30]))

    def invite(self, name, role="operator"):
        """(invitation, link, the newcomer)"""
        newcomer = self.member(name)
        return (*self.alice.invite("user", newcomer.name[:48], "--role", role), newcomer)

    def pending(self, invitation):
        listed = self.alice.parley("invite", "list", "--all")[0]["invitations"]
        return next(entry for entry in listed if entry["name"].endswith(invitation))

    def users(self):
        return [user["userName"] for user in self.alice.parley("user", "list") if not user["revoked"]]

    def assert_end(self, screen, reason, code=1):
        got, error = screen.finish()
        self.assertEqual((got, error.get("reason")), (code, reason), (error, screen.events))
        return error

    # --- What should happen ---

    def test_newcomer_becomes_a_member(self):
        bob = self.member("bob")
        enrolled = enrolment.enrol(self.alice, bob, "user", "bob", "--role", "operator")
        self.assertEqual((enrolled["userName"], enrolled["role"]), ("bob", "operator"))
        self.assertEqual(os.stat(bob.device).st_mode & 0o777, 0o600)
        self.assertIn("bob", self.users())
        # The credential in the device file works where its role does, and both see the same chain.
        bob.parley("task", "list")
        self.assertEqual(bob.parley("org", "verify")[-1], self.alice.parley("org", "verify")[-1])

    def test_link_may_come_folded_and_quoted(self):
        invitation, link, bob = self.invite("bob")
        claimer = bob.claim("\u201c%s\u201d" % "\n> ".join(link[at:at + 40] for at in range(0, len(link), 40)))
        greeter = self.alice.greet(invitation)
        enrolment.compare(greeter, claimer)
        self.assertEqual(claimer.until("enrolled")["role"], "operator")
        self.assertEqual([screen.finish()[0] for screen in (greeter, claimer)], [0, 0])

    def test_second_device_has_its_users_keys(self):
        carol, phone = self.member("carol"), self.member("phone")
        enrolment.enrol(self.alice, carol, "user", "carol", "--role", "auditor")
        enrolled = enrolment.enrol(carol, phone, "device")
        self.assertEqual(enrolled["userName"], "carol")
        devices = phone.parley("device", "list", "--user", "carol")
        self.assertEqual(len(devices), 2)
        # And a device of the second device: so it has the user's private keys.
        third = self.member("third")
        enrolment.enrol(phone, third, "device")
        self.assertEqual(len(third.parley("device", "list", "--user", "carol")), 3)

    def test_machine_is_enrolled_as_a_device(self):
        web = self.member("web")
        enrolled = enrolment.enrol(self.alice, web, "user", "web-1", "--role", "device")
        self.assertEqual(enrolled["role"], "device")
        web.parley("org", "verify")

    def test_revoked_newcomer_is_out(self):
        dave = self.member("dave")
        enrolment.enrol(self.alice, dave, "user", "dave", "--role", "operator")
        self.alice.parley("user", "revoke", "dave")
        self.assertEqual(dave.refusal("task", "list"), "KEY_REFUSED")

    # --- What people do wrong, and what attackers make them see ---

    def test_none_of_these_ends_it_for_both_and_is_counted(self):
        invitation, link, bob = self.invite("bob")
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        claimer.until("readAloud")
        greeter.pick("what nobody reads")
        for screen, reason in ((greeter, "SAS_NONE_OF_THESE"), (claimer, "SAS_NONE_OF_THESE")):
            end = screen.until("attemptEnded")
            self.assertEqual((end["reason"], end["suspected"], end["suspectedAttempts"]), (reason, True, 1))
            screen.until("question")
            screen.type("n")
            self.assert_end(screen, reason)
        self.assertEqual(self.pending(invitation)["suspectedAttempts"], 1)
        self.assertNotIn(bob.name, self.users())
        # What the file holds now is of no use to anything but a claim.
        self.assertEqual(bob.parley("task", "list", code=1)[0]["error"]["reason"], "DEVICE_NOT_ENROLLED")
        bob.parley("claim", "--discard")
        self.assertFalse(bob.device.exists())

    def test_second_try_works_and_a_third_suspicion_locks(self):
        invitation, link, bob = self.invite("bob")
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        for attempt in range(1, 4):
            claimer.until("readAloud")
            greeter.pick("what nobody reads")
            for screen in (greeter, claimer):
                self.assertEqual(screen.until("attemptEnded")["mayGoOn"], attempt < 3)
                if attempt < 3:
                    screen.until("question")
                    screen.type("yes")
        for screen in (greeter, claimer):
            self.assert_end(screen, "SAS_NONE_OF_THESE")
        self.assertEqual(self.pending(invitation)["state"], "STATE_LOCKED")
        self.assertFalse(bob.device.exists(), "a claim that can never succeed leaves nothing")

    def test_wrong_pick_of_the_newcomer_is_suspected_too(self):
        invitation, link, bob = self.invite("bob")
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        greeter.pick(claimer.until("readAloud")["code"])
        heard = greeter.until("readAloud")["code"]
        choices = claimer.until("choose")["choices"]
        claimer.type(str(1 + choices.index(next(code for code in choices if code != heard))))
        for screen in (claimer, greeter):
            self.assertEqual(screen.until("attemptEnded")["reason"], "SAS_WRONG_CHOICE")
            screen.until("question")
            screen.type("y")
        enrolment.compare(greeter, claimer)
        for screen in (claimer, greeter):
            screen.until("enrolled")
            self.assertEqual(screen.finish()[0], 0)

    def test_nonsense_is_asked_again(self):
        invitation, link, bob = self.invite("bob")
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        code = claimer.until("readAloud")["code"]
        choices = greeter.until("choose")["choices"]
        for nonsense in ("", "5", "-1", "first", code.lower()):
            greeter.type(nonsense)
            greeter.until("notAChoice")
        greeter.type(str(1 + choices.index(code)))
        claimer.pick(greeter.until("readAloud")["code"])
        self.assertEqual((greeter.finish()[0], claimer.finish()[0]), (0, 0))

    def test_one_side_stops_and_the_other_hears_why(self):
        invitation, link, bob = self.invite("bob")
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        claimer.until("readAloud")
        greeter.until("choose")
        claimer.process.send_signal(2)
        self.assert_end(claimer, "CANCELLED")
        end = greeter.until("attemptEnded")
        self.assertEqual((end["reason"], end["suspected"]), ("SAS_STOPPED", True))
        self.assertIn("stopped by the person", end["message"])
        greeter.until("question")
        greeter.type("n")
        self.assert_end(greeter, "SAS_STOPPED")

    def test_canceled_invitation_ends_what_is_under_way(self):
        invitation, link, bob = self.invite("bob")
        claimer = bob.claim(link)
        self.assertEqual(claimer.until("presence")["presence"], "waiting")
        self.alice.parley("invite", "cancel", invitation, "--reason", "the wrong bob")
        code, error = claimer.finish()
        self.assertEqual(code, 1)
        self.assertIn(error["reason"], ("INVITATION_CANCELED", "KEY_REFUSED"), error)
        self.assertFalse(bob.device.exists())
        self.assert_end(self.alice.greet(invitation), "INVITATION_CANCELED")

    def test_second_claimer_ends_the_attempt_and_both_hear_of_it(self):
        invitation, link, bob = self.invite("bob")
        claimer, greeter = bob.claim(link), self.alice.greet(invitation)
        claimer.until("readAloud")
        mallory = self.member("mallory").claim(link)
        for screen in (claimer, greeter):
            end = screen.until("attemptEnded")
            self.assertEqual((end["reason"], end["suspected"]), ("SECOND_CLAIMER", True))
        for screen in (claimer, greeter, mallory):
            screen.kill()

    def test_second_greeter_is_refused(self):
        invitation, link, bob = self.invite("bob")
        greeter = self.alice.greet(invitation)
        greeter.until("presence")
        self.assert_end(self.alice.greet(invitation), "GREETER_BUSY")
        greeter.kill()

    def test_another_admin_is_asked_whom_to_let_in(self):
        anna, bob = self.member("anna"), self.member("bob")
        enrolment.enrol(self.alice, anna, "user", "anna", "--role", "admin")
        invitation, link = self.alice.invite("user", "ben", "--role", "auditor")
        greeter = anna.greet(invitation)
        self.assertIn("ben as auditor", greeter.until("question")["question"])
        greeter.type("y")
        claimer = bob.claim(link)
        enrolment.compare(greeter, claimer)
        self.assertEqual((greeter.finish()[0], claimer.finish()[0]), (0, 0))
        self.assertIn("ben", self.users())

    # --- The link, the password, the file ---

    def test_link_does_not_belong_on_the_command_line(self):
        _, link, bob = self.invite("bob")
        code, _, errors = bob.run("claim", link)
        self.assertEqual(code, 2)
        self.assertIn("an invitation's link does not belong on the command line", errors)
        self.assertNotIn(link[:30], errors)

    def test_typing_mistake_in_the_link_is_caught_before_anything_is_made(self):
        _, link, bob = self.invite("bob")
        wrong = link[:40] + ("A" if link[40] != "A" else "B") + link[41:]
        error = bob.parley("claim", stdin=wrong + "\n", code=1)[0]["error"]
        self.assertTrue(error["reason"].startswith("INVITATION_LINK_"), error)
        self.assertFalse(bob.device.exists())

    def test_wrong_password_and_damaged_file_get_one_clear_sentence(self):
        erin = self.member("erin")
        enrolment.enrol(self.alice, erin, "user", "erin")
        right = erin.password_file.read_text()
        erin.password_file.write_text("another password\n")
        error = erin.parley("task", "list", code=1)[0]["error"]
        self.assertEqual(error["reason"], "DEVICE_FILE_PASSWORD")
        erin.password_file.write_text(right)
        content = bytearray(erin.device.read_bytes())
        content[len(content) // 2] ^= 1
        erin.device.write_bytes(content)
        self.assertEqual(erin.parley("task", "list", code=1)[0]["error"]["reason"], "DEVICE_FILE_PASSWORD")

    def test_password_changes(self):
        frank = self.member("frank")
        enrolment.enrol(self.alice, frank, "user", "frank")
        new = frank.home / "new"
        new.touch(mode=0o600)
        new.write_text("a better password\n")
        frank.parley("device", "password", "--new-password-file", new)
        self.assertEqual(frank.parley("task", "list", code=1)[0]["error"]["reason"], "DEVICE_FILE_PASSWORD")
        frank.password_file.write_text(new.read_text())
        frank.parley("task", "list")
        frank.parley("device", "renew", "--ttl", "1h")
        frank.parley("task", "list")

    def test_claim_does_not_overwrite_a_member(self):
        _, link, _ = self.invite("bob")
        error = self.alice.parley("claim", stdin=link + "\n", code=1)[0]["error"]
        self.assertEqual(error["reason"], "DEVICE_FILE_EXISTS")

    # --- The screen ---

    def test_terminal_shows_large_codes_spelled_and_what_none_means(self):
        invitation, link, bob = self.invite("bob")
        claimer = bob.claim(link)
        claimer.until("presence")
        pid, terminal = pty.fork()
        if pid == 0:
            arguments = [argument for argument in self.alice.command("greet", invitation)
                         if argument not in ("--output", "json")]
            os.chdir(self.alice.home)
            os.execve(arguments[0], arguments, {**self.alice.environment(), "TERM": "xterm"})
        shown = ""

        def until(text):
            nonlocal shown
            while text not in shown:
                shown += os.read(terminal, 4096).decode(errors="replace")

        until("Number: ")
        spoken = " ".join(claimer.until("readAloud")["code"])
        self.assertIn("0)  none of these: somebody may stand between you", shown)
        self.assertRegex(shown, r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]|is here")
        number = re.search(r"(\d)\)  " + spoken, shown).group(1)
        os.write(terminal, (number + "\n").encode())
        until("waiting until")
        own = re.search(r"code: ((\w ){3}\w)", shown).group(1)
        self.assertIn("██", shown)
        self.assertIn("%s as in " % own[0], shown)
        claimer.pick(own.replace(" ", ""))
        until("enrolled")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        os.close(terminal)
        self.assertEqual(claimer.finish()[0], 0)

    def test_password_is_asked_for_and_not_shown(self):
        command = [str(stack.PARLEY), "--device", str(self.alice.device), "user", "list"]
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(command[0], command, {**self.alice.environment(), "TERM": "xterm"})
        shown, typed = b"", False
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:
                break
            if b"Password of" in shown and not typed:
                typed = os.write(terminal, enrolment.PASSWORD.encode()) > 0
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, shown)
        self.assertIn(b"alice", shown)
        self.assertNotIn(b"four random", shown)

    def test_claim_asks_for_link_and_password_and_shows_neither(self):
        invitation, link, bob = self.invite("bob")
        pid, terminal = pty.fork()
        if pid == 0:
            arguments = [str(stack.PARLEY), "--device", str(bob.device), "claim"]
            os.execve(arguments[0], arguments, {**bob.environment(), "TERM": "xterm"})
        shown, heard_to = "", 0

        def until(text):
            """Reads on to the text, behind what it was called for before: what is typed before a prompt is dropped."""
            nonlocal shown, heard_to
            while text not in shown[heard_to:]:
                shown += os.read(terminal, 4096).decode(errors="replace")
            heard_to = shown.index(text, heard_to) + len(text)

        until("Link of the invitation")
        os.write(terminal, (link + "\n").encode())
        until("A password for")
        os.write(terminal, b"short\n")
        until("at least 8")
        until("A password for")
        os.write(terminal, enrolment.PASSWORD.encode())
        until("once more")
        os.write(terminal, enrolment.PASSWORD.encode())
        greeter = self.alice.greet(invitation)
        until("code: ")
        until("Number: ")
        greeter.pick(re.search(r"code: ((\w ){3}\w)", shown).group(1).replace(" ", ""))
        heard = " ".join(greeter.until("readAloud")["code"])
        os.write(terminal, (re.search(r"(\d)\)  " + heard, shown).group(1) + "\n").encode())
        until("enrolled")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, shown)
        os.close(terminal)
        self.assertEqual(greeter.finish()[0], 0)
        for secret in (link[20:60], enrolment.PASSWORD.strip()):
            self.assertNotIn(secret, shown)

    def test_help_teaches(self):
        for words in (["claim"], ["greet"], ["invite", "user"], ["device", "password"]):
            shown = subprocess.run([stack.PARLEY, *words, "--help"], capture_output=True, text=True, check=True).stdout
            self.assertLess(max(map(len, shown.splitlines())), 140, shown)


if __name__ == "__main__":
    unittest.main()
