"""The Debian packages, installed by apt into a Debian of nothing but essential packages.

Runs under tools/check images.
"""

import pathlib
import re
import tempfile
import unittest

import images
from images import ROOT, run

PACKAGES = ROOT / ".tools/bin/deploy/packages"
SERVICES = ("keyd", "taskd", "enrolld")


class Install(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        images.prepare()
        cls.container = run("buildah", "from", "--pull-never", images.BASE).decode().strip()
        cls.addClassCleanup(run, "buildah", "rm", cls.container)
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="parley-", dir="/tmp")))
        for package in PACKAGES.glob("parley-*.deb"):
            (folder / package.name).write_bytes(package.read_bytes())
        run("buildah", "copy", cls.container, folder, "/packages")
        cls.inside("apt-get -q update")
        cls.said = cls.inside("apt-get -q install -y --no-install-recommends /packages/*.deb")

    @classmethod
    def inside(cls, script):
        return run("buildah", "run", "--env", "DEBIAN_FRONTEND=noninteractive", cls.container, "--", "bash", "-euc",
                   script).decode()

    def test_apt_finds_all_that_they_depend_on_and_says_what_to_do_next(self):
        self.assertIn("systemctl enable --now parley-keyd", self.said)
        self.assertEqual(self.inside("dpkg --audit; dpkg --verify parley-server parley-client"), "")
        self.assertEqual(self.inside("ldd /usr/lib/parley/* | grep 'not found' || true"), "")

    def test_units_are_such_as_systemd_starts(self):
        units = " ".join("parley-%s.service" % service for service in SERVICES)
        self.assertEqual(self.inside("systemd-analyze verify --man=no --recursive-errors=no %s 2>&1" % units), "")

    def test_services_found_an_organisation_and_serve_as_their_users(self):
        unit = self.inside("cat /usr/lib/systemd/system/parley-keyd.service")
        command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE).group(1)
        output = self.inside("""
            install -d -m 0700 -o parley-keyd -g parley-keyd /var/lib/parley-keyd /run/parley-keyd
            set -a; . /etc/parley/keyd.conf; set +a
            as="setpriv --reuid parley-keyd --regid parley-keyd --clear-groups --no-new-privs"
            cd /var/lib/parley-keyd
            $as %s --listen 127.0.0.1:0 &
            until [ -s /run/parley-keyd/ready ]; do kill -0 $!; done
            $as parley key list --credential credentials/admin.credential --server "$(cat /run/parley-keyd/ready)"
            $as parley backup --data . --out keyd.backup <<<'four random words here'
            # Root would write where another user may have laid a trap.
            parley backup --data . --out other.backup <<<'four random words here' 2>&1 && exit 1
            kill $!; wait $!
            stat -c '%%U %%a' keyd.db keyd.backup""" % command)
        self.assertIn("admin", output)
        self.assertIn("belongs to another user; run this as that one", output)
        self.assertEqual(output.count("parley-keyd 600"), 2, output)

    def test_z_a_purge_leaves_the_data(self):
        self.inside("""
            install -d -o parley-taskd /var/lib/parley-taskd; touch /var/lib/parley-taskd/kept
            apt-get -q install -y --reinstall /packages/*.deb
            apt-get -q purge -y parley-server parley-client
            test -e /var/lib/parley-taskd/kept; test ! -e /usr/bin/parley; test ! -e /etc/parley/keyd.conf""")


if __name__ == "__main__":
    images.main()
