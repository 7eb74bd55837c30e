"""A person with the parley command: a home of their own, and the services that `parley up` starts in it."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from tests import stack

TIMEOUT_S = stack.TIMEOUT_S


class Person:
    """Runs commands in a folder that goes away. A context manager."""

    def __init__(self):
        # Short, because a socket's path is.
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="parley-", dir="/tmp"))
        self.data = self.home / "data"
        self.ready = None
        self._up = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            self._up.communicate(timeout=TIMEOUT_S)
        # A test may have taken the permissions away.
        for folder, _, _ in os.walk(self.home):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)
        shutil.rmtree(self.home)

    def environment(self, **more):
        return {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.home),
                "XDG_CONFIG_HOME": str(self.home / ".config"), "XDG_STATE_HOME": str(self.home / ".state"),
                "PARLEY_LIBEXEC": ":".join(str(program.parent) for program in (stack.KEYD, stack.TASKD, stack.ENROLLD)),
                **more}

    def popen(self, *arguments, env=None, **options):
        return subprocess.Popen([stack.PARLEY, *map(str, arguments)], env=self.environment(**(env or {})),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.home, **options)

    def up(self, *arguments, at=None, env=None):
        """Starts the services and waits until they serve: on free ports, or where an earlier start was `ready`."""
        flags = {"taskd": "--listen", "keyd": "--listen-keyd", "enrolld": "--listen-enrolld"}
        listen = [part for service, flag in flags.items() for part in (flag, at[service] if at else "127.0.0.1:0")]
        self._up = self.popen("up", "--data", self.data, *listen, "--output", "json", *arguments,
                              stdin=subprocess.DEVNULL, env=env)
        line = self._up.stdout.readline()
        if not line:
            raise AssertionError("parley up: " + self._up.communicate()[1])
        self.ready = json.loads(line)
        return self._up

    def down(self):
        """Stops them."""
        self.parley("down", "--data", self.data)
        self._up.communicate(timeout=TIMEOUT_S)
        return self._up.returncode

    def run(self, *arguments, stdin="", env=None, prefix=()):
        """(exit code, standard output, standard error)."""
        result = subprocess.run([*prefix, stack.PARLEY, *map(str, arguments)], env=self.environment(**(env or {})),
                                input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=self.home,
                                check=False)
        return result.returncode, result.stdout, result.stderr

    def parley(self, *arguments, code=0, **options):
        """Standard output of a command that must end with `code`."""
        got, output, errors = self.run(*arguments, **options)
        if got != code:
            raise AssertionError("parley %s: exit code %d, expected %d\n%s%s" % (
                " ".join(map(str, arguments)), got, code, output, errors))
        return output

    def json(self, *arguments, **options):
        return json.loads(self.parley(*arguments, "--output", "json", **options))

    def payload(self, files, name="payload"):
        """A folder with these files, from path to text."""
        folder = self.home / name
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    def create(self, name="demo", files=None, *arguments):
        """(the task's id, the join key)."""
        payload = self.payload(files or {"motd": "hello\n"})
        created = self.json("task", "create", name, "--payload", payload, *arguments)
        return created["task"]["name"].split("/")[1], created["joinKey"]["pasted"]


def read_files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
