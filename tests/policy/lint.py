"""buf's rules for the API (buf.yaml). google/api, which is Debian's, is put beside proto/ for it."""

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

from api import GOOGLEAPIS
from tree import ROOT

TOOLS = pathlib.Path(os.environ.get("PARLEY_TOOLS") or
                     pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache/parley/tools")
BUF = TOOLS / "buf/node_modules/@bufbuild/buf-linux-x64/bin/buf"
GOOGLE = ("google/api/annotations.proto", "google/api/http.proto")
# Rules are for what is ours.
MODULES = """modules:
  - path: google
    lint: {ignore: [google]}
    breaking: {ignore: [google]}
"""


@contextlib.contextmanager
def workspace(root):
    """A copy of a tree's protos and rules that is whole."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copytree(pathlib.Path(root) / "proto", folder / "proto")
        for path in GOOGLE:
            (folder / "google" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(pathlib.Path(GOOGLEAPIS) / path, folder / "google" / path)
        rules = (pathlib.Path(root) / "buf.yaml").read_text()
        (folder / "buf.yaml").write_text(rules.replace("modules:\n", MODULES, 1))
        yield folder


def buf(command, folder, *arguments):
    """What it finds, a line each."""
    result = subprocess.run([BUF, command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode not in (0, 100):
        raise RuntimeError("buf %s: %s" % (command, result.stderr))
    return result.stdout.splitlines()


def standard(_):
    with workspace(ROOT) as folder:
        return buf("lint", folder)


CHECKS = (standard,)
