"""Images and containers for tests: buildah, on a base that is made of Debian's packages alone.

As root or as a user with subordinate ids, where buildah can mount and a mirror of Debian is reachable; elsewhere tests
say what is missing. Images are kept in ~/.cache/parley/images: the first run takes minutes, the next seconds.
"""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir)
TOOLS = pathlib.Path(os.environ.get("PARLEY_TOOLS") or HOME / ".cache/parley/tools")
STORE = pathlib.Path(os.environ.get("PARLEY_IMAGES") or HOME / ".cache/parley/images")
BASE = "localhost/debian-base:12"
MIRROR = ("deb.debian.org", 80)


def run(*command, **options):
    result = subprocess.run([str(part) for part in command], check=False, capture_output=True, timeout=600, **options)
    if result.returncode != 0:
        raise AssertionError("%s: exit code %d\n%s%s" % (command, result.returncode, result.stdout[-3000:].decode(),
                                                         result.stderr[-3000:].decode()))
    return result.stdout


def what_is_missing():
    """What this machine cannot do. That a program is not installed is a failure."""
    for program in ("buildah", "mmdebstrap", "setpriv", "unshare"):
        if shutil.which(program) is None:
            raise AssertionError("there is no %s; tools/install --all installs it" % program)
    for command in (["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
                    ["buildah", "from", "--name", "parley-probe", "scratch"]):
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            return "%s: %s" % (" ".join(command), tried.stderr.strip())
    run("buildah", "rm", "parley-probe")
    try:
        socket.create_connection(MIRROR, 10).close()
    except OSError as error:
        return "no mirror of Debian: %s" % error
    return None


def use_store():
    STORE.mkdir(parents=True, exist_ok=True)
    (STORE / "storage.conf").write_text('[storage]\ndriver = "%s"\ngraphroot = "%s/store"\nrunroot = "%s/run"\n' % (
        "overlay" if os.getuid() == 0 and "_CONTAINERS_USERNS_CONFIGURED" not in os.environ else "vfs", STORE, STORE))
    os.environ.update(CONTAINERS_STORAGE_CONF=str(STORE / "storage.conf"), BUILDAH_ISOLATION="chroot")


def prepare():
    """Leaves BASE in the store, or skips the tests with the reason."""
    use_store()
    missing = what_is_missing()
    if missing:
        raise unittest.SkipTest(missing)
    if not run("buildah", "images", "--quiet", "--filter", "reference=" + BASE):
        run(ROOT / "deploy/docker/base")


def main():
    """unittest.main, as root of a user's own name space where it is not root's."""
    if os.getuid() != 0 and shutil.which("buildah"):
        os.environ["PARLEY_IMAGES"], os.environ["PARLEY_TOOLS"] = str(STORE), str(TOOLS)
        os.execvp("buildah", ["buildah", "unshare", sys.executable, "-B", *sys.argv])
    unittest.main()
