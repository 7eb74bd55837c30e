"""Two people who enrol one of them: each reads what their own screen says aloud, and the other hears it."""

import contextlib
import json
import os
import queue
import subprocess
import threading
import time

from tests import stack

TIMEOUT_S = stack.TIMEOUT_S
PASSWORD = "four random words here\n"
# What a newcomer's device is called, after its owner.
PHONE = "'s phone"


class Screen:
    """A command under way whose output is read as events; answers are typed into it."""

    def __init__(self, process):
        self.process = process
        self.events = []
        self.errors = ""
        self._queue = queue.Queue()
        self._news = None
        self._threads = [threading.Thread(target=self._read, daemon=True),
                         threading.Thread(target=self._read_errors, daemon=True)]
        for thread in self._threads:
            thread.start()

    def _read(self):
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self._put(json.loads(line))
        self._put(None)

    def _put(self, event):
        self._queue.put(event)
        if self._news is not None:
            self._news.put(self)

    def tell(self, news):
        """Puts this screen into the queue whenever it has shown something, for who looks at several."""
        self._news = news
        news.put(self)

    def shown(self):
        """What was shown and not looked at, without waiting; the last is None at the end of the output."""
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._queue.get_nowait())
        self.events += events
        return events

    def _read_errors(self):
        self.errors = self.process.stderr.read()

    def next(self):
        """The next event; None at the end of the output."""
        event = self._queue.get(timeout=TIMEOUT_S)
        self.events.append(event)
        return event

    def until(self, *names):
        """The next event with one of these names."""
        while True:
            event = self.next()
            if event is None:
                raise AssertionError("ended before %s: %s\n%s" % (names, self.events, self.finish()))
            if event.get("event") in names:
                return event

    def type(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def pick(self, heard):
        """Picks the code that was heard, or none of these."""
        choices = self.until("choose")["choices"]
        self.type(str(choices.index(heard) + 1) if heard in choices else "0")

    def kill(self):
        self.process.kill()
        return self.finish()

    def finish(self):
        """(exit code, the error as JSON or {})."""
        code = self.process.wait(TIMEOUT_S)
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()
        lines = [line for line in self.errors.splitlines() if line.startswith('{"error"')]
        return code, json.loads(lines[-1])["error"] if lines else {}


class Member:
    """A person, or a machine, with a home, a device file and its password."""

    def __init__(self, services, name):
        self.stack = services
        self.name = name
        self.home = services.folder / "people" / name
        self.home.mkdir(parents=True, mode=0o700)
        self.device = self.home / "device"
        self.password_file = self.home / "password"
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(PASSWORD)

    def environment(self):
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.home),
                "XDG_CONFIG_HOME": str(self.home / ".config"), "NO_COLOR": "1"}

    def command(self, *arguments):
        return [str(stack.PARLEY), "--output", "json", "--device", str(self.device), "--password-file",
                str(self.password_file), *map(str, arguments)]

    def run(self, *arguments, stdin=""):
        """(exit code, standard output, standard error)."""
        result = subprocess.run(self.command(*arguments), env=self.environment(), input=stdin, capture_output=True,
                                text=True, timeout=TIMEOUT_S, cwd=self.home, check=False)
        return result.returncode, result.stdout, result.stderr

    def parley(self, *arguments, code=0, **options):
        got, output, errors = self.run(*arguments, **options)
        if got != code:
            raise AssertionError("parley %s: exit code %d, expected %d\n%s%s" % (arguments, got, code, output, errors))
        return [json.loads(line) for line in (output if code == 0 else errors).splitlines()]

    def refusal(self, *arguments):
        """Why the command is refused, once the revocation has reached every service."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            got, _, errors = self.run(*arguments)
            if got != 0:
                return json.loads(errors.splitlines()[0])["error"]["reason"]
        raise AssertionError("parley %s is still allowed" % (arguments,))

    def screen(self, *arguments):
        return Screen(subprocess.Popen(self.command(*arguments), env=self.environment(), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.home))

    def found(self):
        """Becomes the first admin."""
        result = subprocess.run(
            self.command("org", "init", "--user", self.name, "--device-name", self.name + "'s laptop"),
            env={**self.environment(), "PARLEY_CREDENTIAL": str(self.stack.credentials / "admin.credential")},
            capture_output=True, text=True, timeout=TIMEOUT_S, cwd=self.home, check=False)
        if result.returncode != 0:
            raise AssertionError(result.stdout + result.stderr)
        return self

    def invite(self, *arguments):
        """(the invitation's id, the link)."""
        created = self.parley("invite", *arguments)[0]
        return created["invitation"]["name"].split("/")[1], created["link"]

    def claim(self, link=None, *options):
        """`parley claim` under way; without a link it goes on with what was begun."""
        screen = self.screen("claim", "--device-name", self.name + PHONE, *options)
        if link is not None:
            screen.type(link)
        return screen

    def greet(self, invitation, *options):
        return self.screen("greet", invitation, *options)


def compare(greeter, claimer):
    """The two people read their codes to each other."""
    greeter.pick(claimer.until("readAloud")["code"])
    claimer.pick(greeter.until("readAloud")["code"])


class Reached(Exception):
    """The victim has shown the moment."""


def play(greeter, claimer, victim=None, moment=None, seconds=TIMEOUT_S):
    """Plays both people until both programs have ended, or the victim shows the moment. Raises queue.Empty when that
    takes longer."""
    end = time.monotonic() + seconds
    news, ended = queue.Queue(), set()
    codes, asked = {}, {}
    other = {greeter: claimer, claimer: greeter}
    for screen in other:
        screen.tell(news)
    while len(ended) < 2:
        screen = news.get(timeout=max(0, end - time.monotonic()))
        for event in screen.shown():
            name = event.get("event") if event is not None else None
            if screen is victim and name == moment:
                raise Reached()
            if event is None:
                ended.add(screen)
            elif name == "attempt":
                codes.pop(screen, None)
                asked.pop(screen, None)
            elif name == "readAloud":
                codes[screen] = event["code"]
            elif name == "choose":
                asked[screen] = event["choices"]
            elif name == "question":
                screen.type("y")
        for listener in other:
            heard = codes.get(other[listener])
            if listener in asked and (heard is not None or other[listener] in ended):
                choices = asked.pop(listener)
                listener.type(str(choices.index(heard) + 1) if heard in choices else "0")


def enrol(inviter, newcomer, *what):
    """The whole of it; the newcomer's `enrolled` event."""
    invitation, link = inviter.invite(*what)
    claimer, greeter = newcomer.claim(link), inviter.greet(invitation)
    compare(greeter, claimer)
    enrolled = claimer.until("enrolled")
    for screen in (greeter, claimer):
        code, error = screen.finish()
        if code != 0:
            raise AssertionError((error, screen.events))
    return enrolled
