"""Machines on one switch: each is a name space with an address of its own. Packets between any two can be dropped, and
a machine's cable can be pulled.

Everything is in name spaces of this process, and goes away with it. Threads: one thread.
"""

import os
import subprocess
import sys

from tests import stack  # pylint: disable=unused-import  # for the PATH

_NET = "10.77.0."
_SPACES = "/run/netns"


def enter():
    """From now on this process, started anew, is the first of its own mounts, network and process ids: when it ends,
    all that it has started does. Returns whether that is possible; with CI=true it fails if not."""
    if os.environ.get("PARLEY_OWN_SPACES"):
        return True
    spaces = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
              "--mount-proc"]
    can = subprocess.run([*spaces, "iptables", "-w", "-L"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         text=True, check=False)
    if can.returncode == 0:
        os.environ["PARLEY_OWN_SPACES"] = "1"
        sys.stdout.flush()
        os.execvp(spaces[0], [*spaces, sys.executable, "-B", *sys.argv])
    if os.environ.get("CI") == "true":
        raise AssertionError("the machines of this test need name spaces, and so root: " + can.stderr)
    print("not tried, as this user may not make name spaces:", can.stderr)
    return False


def _run(*command):
    subprocess.run([str(part) for part in command], check=True)


class Network:

    def __init__(self):
        self.addresses = {}
        os.makedirs(_SPACES, exist_ok=True)
        _run("mount", "-t", "tmpfs", "none", _SPACES)
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "switch", "type", "bridge")
        _run("ip", "link", "set", "switch", "up")

    def add(self, machine):
        """The address of a new machine."""
        number = len(self.addresses) + 1
        address = self.addresses[machine] = _NET + str(number)
        _run("ip", "netns", "add", machine)
        _run("ip", "link", "add", self._cable(machine), "type", "veth", "peer", "name", "eth0", "netns", machine)
        _run("ip", "link", "set", self._cable(machine), "master", "switch", "up")
        for command in (["address", "add", address + "/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                        ["link", "set", "lo", "up"]):
            _run(*self.at(machine), "ip", *command)
        return address

    def _cable(self, machine):
        return "cable" + self.addresses[machine].rsplit(".", maxsplit=1)[-1]

    @staticmethod
    def at(machine):
        """What to put before a command that is to run there."""
        return ["nsenter", "--net=%s/%s" % (_SPACES, machine)]

    def drop(self, source, target):
        """From now on nothing arrives from there."""
        self._rule("-I", source, target)

    def pass_on(self, source, target):
        self._rule("-D", source, target)

    def _rule(self, action, source, target):
        _run(*self.at(target), "iptables", "-w", action, "INPUT", "-s", self.addresses[source], "-j", "DROP")

    def unplug(self, machine):
        _run("ip", "link", "set", self._cable(machine), "down")

    def plug_in(self, machine):
        _run("ip", "link", "set", self._cable(machine), "up")
