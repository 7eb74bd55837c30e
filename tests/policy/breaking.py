"""What another team has compiled against a released version goes on working with this one; and its number.

The last tag v1.2.3 that this checkout descends from is compared, by buf's FILE rules (buf.yaml). A change that breaks
is let through when the API's version (clients/stubs/BUILD.bazel) has been raised for it: the first number, or below
1.0 the second. Before the first tag nothing has been released and everything may change.
"""

import re
import subprocess
import tempfile

import lint
from tree import ROOT

VERSION_FILE = "clients/stubs/BUILD.bazel"
VERSION = re.compile(r'^VERSION = "(\d+)\.(\d+)\.(\d+)"$', re.MULTILINE)
# Where the same version stands.
PLACES = {
    "clients/cli/main.cc": r'"parley (\d+\.\d+\.\d+)"',
    "clients/samples/java/pom.xml": r"<artifactId>parley-api</artifactId>\s*<version>(.*?)</version>",
    "clients/stubs/README.md": r"parley-go-(\d+\.\d+\.\d+)\.tar\.gz",
    "deploy/docker/build": r"\ntag=(\S+)",
    "deploy/k8s/images/kustomization.yaml": r"newTag: (\S+)",
    "deploy/packages/BUILD.bazel": r'VERSION = "(.*?)"',
    "tools/install": r"pack\.py java --version (\S+)",
}
RELEASES = "v[0-9]*.[0-9]*.[0-9]*"


def git(root, *arguments, check=True):
    return subprocess.run(["git", "-c", "safe.directory=*", "-C", root, *arguments], check=check, capture_output=True)


def last_release(root):
    """The newest tag behind HEAD; None when there is none."""
    found = git(root, "describe", "--tags", "--abbrev=0", "--match", RELEASES, check=False)
    if found.returncode == 0:
        return found.stdout.decode().strip()
    if git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        raise RuntimeError("this clone is shallow and has no tag to compare the API with; git fetch --unshallow --tags")
    return None


def may_break(old, new):
    """Whether going from one version to the other announces a break."""
    return new[0] > old[0] or (old[0] == new[0] == 0 and new[1] > old[1])


def breaks(root, release):
    """What buf finds that a caller of that release would stumble over."""
    with tempfile.TemporaryDirectory() as folder:
        archive = git(root, "archive", release, "proto", "buf.yaml").stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        with lint.workspace(root) as new, lint.workspace(folder) as old:
            return lint.buf("breaking", new, "--against", old)


def compare(root):
    release = last_release(root)
    if release is None:
        return []
    found = breaks(root, release)
    old = tuple(int(number) for number in re.findall(r"\d+", release)[:3])
    new = tuple(int(number) for number in VERSION.search((root / VERSION_FILE).read_text()).groups())
    if found and may_break(old, new):
        return []
    return ["%s (since %s; keep it, or raise VERSION in %s)" % (line, release, VERSION_FILE) for line in found]


def unbroken(_):
    return compare(ROOT)


def one_version(tree):
    """What is shipped together says the same of itself."""
    version = ".".join(VERSION.search(tree.files[VERSION_FILE]).groups())
    return ["%s says %s, %s says %s" % (path, ", ".join(said) or "no version", VERSION_FILE, version)
            for path, pattern in PLACES.items()
            if (said := set(re.findall(pattern, tree.files[path]))) != {version}]


CHECKS = (unbroken, one_version)
