"""The images: built by buildah, and started as the manifests start them: their user, no privileges, a read-only root.

Runs under tools/check images.
"""

import array
import base64
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import yaml

import images
from images import ROOT, TOOLS, run

# What has no place beside services: compilers, and what fetches or talks.
UNWANTED = {"gcc", "cc", "c++", "g++", "clang", "ld", "as", "make", "go", "javac", "node", "python3", "git", "ssh",
            "nc", "wget", "strace", "gdb", "bazel"}
USER = 10001
TIMEOUT_S = 120
PASSWORD = b"four random words here\n"
IN_NAME_SPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", sys.executable, "-B", __file__)


class Images(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        images.prepare()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="parley-", dir="/tmp")))
        run(ROOT / "deploy/docker/build", "--base", images.BASE, "--programs", ROOT / ".tools/bin", "test")
        cls.roots = {}
        for image in ("parley", "parley-init", "parley-etcd"):
            container = run("buildah", "from", "--pull-never", "localhost/%s:test" % image).decode().strip()
            cls.addClassCleanup(run, "buildah", "rm", container)
            cls.roots[image] = pathlib.Path(run("buildah", "mount", container).decode().strip())

    @classmethod
    def tearDownClass(cls):
        # What this build has replaced.
        subprocess.run(["buildah", "rmi", "--prune"], capture_output=True, check=False)

    def test_they_are_not_root_s(self):
        for image in self.roots:
            config = json.loads(run("buildah", "inspect", "--type", "image", "localhost/%s:test" % image))
            self.assertEqual(config["Docker"]["config"]["User"], "%d:%d" % (USER, USER))

    def test_nothing_is_in_them_that_an_intruder_could_use(self):
        for image, root in self.roots.items():
            programs = {path.name for folder in ("usr/bin", "usr/sbin", "usr/local/bin") for path in
                        (root / folder).iterdir()}
            self.assertEqual(programs & (UNWANTED | ({"curl"} if image == "parley" else set())), set(), image)
            self.assertEqual(run("find", root, "-xdev", "-type", "f", "-perm", "/6000"), b"", image)
            # But for what is everybody's, nothing is the services' to change.
            open_to_all = ("(", "-perm", "-o+w", "-not", "-type", "l", "-not", "-type", "c", "-not", "-perm", "-1000",
                           ")")
            self.assertEqual(run("find", root, "-xdev", "(", "-uid", USER, "-o", "-gid", USER, "-o", *open_to_all, ")"),
                             b"", image)

    def test_they_start_as_in_the_manifests(self):
        manifests = self.folder / "manifests.yaml"
        manifests.write_bytes(run(TOOLS / "bin/kustomize", ROOT / "deploy/k8s/overlays/single"))
        inside = run(*IN_NAME_SPACES, "inside", manifests, self.folder / "cluster", self.roots["parley"],
                     self.roots["parley-init"])
        self.assertIn(b"everything served", inside)

    def test_members_of_etcd_accept_one_another_and_no_client_as_a_member(self):
        manifests = self.folder / "replicas.yaml"
        manifests.write_bytes(run(TOOLS / "bin/kustomize", ROOT / "deploy/k8s/overlays/ha"))
        inside = run(*IN_NAME_SPACES, "inside_etcd", manifests, self.folder / "etcd", self.roots["parley-etcd"])
        self.assertIn(b"etcd served", inside)


# What follows runs in name spaces of its own, in place of a node of a cluster.


class Pod:
    """The mounts of a pod, and its containers one after the other."""

    def __init__(self, manifests, name, folder, roots):
        (self.spec,) = [item["spec"]["template"]["spec"] for item in manifests
                        if item["kind"] == "StatefulSet" and item["metadata"]["name"] == name]
        (configuration,) = [item for item in manifests if item["kind"] == "ConfigMap"]
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **configuration["data"]}
        self.folder, self.images = folder / name, roots
        self.services = []
        security = self.spec["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (USER, USER)
        # As Kubernetes makes them: root's, the group's by fsGroup.
        for volume in ("data", "run", "tmp", "secret"):
            path = self.folder / volume
            path.mkdir(parents=True)
            if volume in ("run", "tmp"):
                run("mount", "-t", "tmpfs", "-o", "size=64m", "none", path)
            os.chown(path, 0, security["fsGroup"])
            path.chmod(0o2777 if volume in ("run", "tmp") else 0o2775)

    def path(self, volume):
        return self.folder / volume

    def container(self, name):
        (found,) = [container for container in self.spec["initContainers"] + self.spec["containers"]
                    if container["name"] == name]
        return found

    def root(self, container):
        """Its root, read-only, with its volumes."""
        root = self.folder / ("root-" + container["name"])
        if root.exists():
            return root
        assert container["securityContext"]["readOnlyRootFilesystem"]
        root.mkdir()
        image = self.images[re.sub(r".*/|:.*", "", container["image"])]
        mounts = {"dev": "/dev", "etc/hosts": self.folder.parent / "hosts"}
        for mount in container["volumeMounts"]:
            mounts[mount["mountPath"].lstrip("/")] = self.path(mount["name"])
        for below, source in mounts.items():
            # What a runtime does too, before the root is closed.
            if pathlib.Path(source).is_dir():
                (image / below).mkdir(parents=True, exist_ok=True)
            else:
                (image / below).touch()
        (image / "proc").mkdir(exist_ok=True)
        run("mount", "--bind", image, root)
        run("mount", "-o", "remount,bind,ro", root)
        for below, source in mounts.items():
            run("mount", "--rbind", source, root / below)
        run("mount", "-t", "proc", "proc", root / "proc")
        return root

    def command(self, name, arguments=()):
        container = self.container(name)
        command = [*(arguments or container["command"]), *(() if arguments else container.get("args", ()))]
        return ["setpriv", "--no-new-privs", "chroot", "--userspec=%d:%d" % (USER, USER), "--groups=%d" % USER,
                self.root(container), *command]

    def run(self, name, *arguments, **options):
        return run(*self.command(name, arguments), env=self.environment, cwd="/", **options)

    def serve(self, name):
        process = subprocess.Popen([str(part) for part in self.command(name)], env=self.environment, cwd="/",
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        log = b""
        for line in process.stderr:
            log += line
            if b'"message":"serving"' in line.replace(b" ", b""):
                self.services.append(process)
                return
        raise AssertionError("%s does not serve: %s" % (name, log.decode()))

    def stop(self):
        for process in self.services:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0, process.args


def loopback_up():
    interface, up = socket.socket(), array.array("b", b"lo".ljust(16, b"\0") + b"\x49\0" + bytes(14))
    fcntl.ioctl(interface, 0x8914, up)  # SIOCSIFFLAGS: up, loopback, running


def refused(pod, name, *command):
    try:
        pod.run(name, *command)
    except AssertionError:
        return
    raise AssertionError("%s was not refused" % (command,))


def inside(manifests, folder, parley, parley_init):
    run("mount", "--make-rprivate", "/")
    loopback_up()
    folder = pathlib.Path(folder)
    folder.mkdir()
    (folder / "hosts").write_text("127.0.0.1 localhost " + " ".join(
        "%s.parley.svc.cluster.local" % service for service in ("keyd", "taskd", "enrolld")) + "\n")
    manifests = list(yaml.safe_load_all(pathlib.Path(manifests).read_text()))
    roots = {"parley": pathlib.Path(parley), "parley-init": pathlib.Path(parley_init)}
    keyd, taskd, enrolld = (Pod(manifests, name, folder, roots) for name in ("keyd", "taskd", "enrolld"))

    # In place of the init containers that speak to the API; cluster_test.py has them.
    kek = keyd.path("run") / "kek"
    kek.write_bytes(os.urandom(32))
    kek.chmod(0o600)
    os.chown(kek, USER, USER)
    keyd.run("found")
    keyd.serve("keyd")
    for pod, name in ((taskd, "taskd"), (enrolld, "enrolld")):
        secret = pod.path("secret") / (name + ".credential")
        secret.write_bytes((keyd.path("data") / "keyd/credentials" / secret.name).read_bytes())
        os.chown(secret, 0, USER)
        secret.chmod(0o440)
        pod.run("credential")
        pod.serve(name)
    operator = "/var/lib/parley/keyd/credentials/operator.credential"
    keyd.run("keyd", "parley", "task", "list", "--credential", operator)

    assert keyd.run("keyd", "id", "-u").strip() == b"%d" % USER
    status = keyd.run("keyd", "cat", "/proc/self/status").decode()
    for capabilities in ("CapInh", "CapPrm", "CapEff"):
        assert re.search(r"%s:\t0+\n" % capabilities, status), status
    assert "NoNewPrivs:\t1\n" in status, status
    for path in ("/x", "/usr/bin/x", "/etc/x", "/var/x"):
        refused(keyd, "keyd", "touch", path)

    # What keyd renews comes through the containers beside the services.
    secret, copy = taskd.path("secret") / "taskd.credential", taskd.path("run") / "taskd.credential"
    secret.write_bytes(b"renewed")
    renew = subprocess.Popen([str(part) for part in taskd.command("renew")], env=taskd.environment, cwd="/")
    while not copy.exists() or copy.read_bytes() != b"renewed":
        assert renew.poll() is None
    assert copy.stat().st_mode & 0o777 == 0o600 and copy.stat().st_uid == USER
    renew.send_signal(signal.SIGTERM)
    assert renew.wait(TIMEOUT_S) == 0

    # docs/kubernetes.md: a backup leaves a pod through a pipe, whatever its root.
    for pod, name in ((taskd, "taskd"), (enrolld, "enrolld"), (keyd, "keyd")):
        archive = pod.run(name, "parley", "backup", "--data", "/var/lib/parley", "--out", "-", input=PASSWORD)
        password = pod.path("run") / "password"
        password.write_bytes(PASSWORD)
        password.chmod(0o600)
        os.chown(password, USER, USER)
        checked = pod.run(name, "parley", "restore", "-", "--check", "--key-file", "/run/parley/password",
                          input=archive)
        assert name.encode() in checked, checked
    for pod in (enrolld, taskd, keyd):
        pod.stop()
    print("everything served")


def certificates(folder):
    """As parley-cluster makes them for the Secret."""
    (folder / "calls").mkdir()
    functions, _ = (ROOT / "deploy/docker/parley-cluster").read_text().split("\ntrap ")
    run("sh", "-c", functions + "\nmake_etcd", env={**os.environ, "PARLEY_CALLS": str(folder / "calls")})
    secret = json.loads((folder / "calls/manifest").read_text())["data"]
    for name, value in secret.items():
        (folder / name).write_bytes(base64.b64decode(value))
        os.chown(folder / name, 0, USER)
        (folder / name).chmod(0o440)


def is_accepted(folder, by, url):
    """Whether a member lets in whoever has that certificate."""
    shown = ["--cert", folder / (by + ".crt"), "--key", folder / (by + ".key")] if by else []
    # Members offer one another HTTP/2 and do not speak it.
    command = ["curl", "-sS", "--http1.1", "--cacert", folder / "ca.crt", *shown, url]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def inside_etcd(manifests, folder, root):
    run("mount", "--make-rprivate", "/")
    loopback_up()
    folder, root = pathlib.Path(folder), pathlib.Path(root)
    folder.mkdir()
    members = {"etcd-%d" % number: "127.0.0.1%d" % number for number in range(3)}
    (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(
        "%s %s.etcd\n" % (address, name) for name, address in members.items()))
    run("mount", "--bind", folder / "hosts", "/etc/hosts")
    certificates(folder)
    (spec,) = [item["spec"]["template"]["spec"] for item in yaml.safe_load_all(pathlib.Path(manifests).read_text())
               if item["kind"] == "StatefulSet" and item["metadata"]["name"] == "etcd"]
    (container,) = spec["containers"]
    for below, source in (("etc/hosts", folder / "hosts"), ("secret", folder)):
        if source.is_dir():
            (root / below).mkdir(exist_ok=True)
        else:
            (root / below).touch()
        run("mount", "--bind", source, root / below)
    # In place of the volumes; Debian's folder is closed to all but its own user.
    run("mount", "-t", "tmpfs", "-o", "mode=755", "none", root / "var/lib/etcd")
    started = []
    for name, address in members.items():
        # A member compares the address that another one comes from with the names in its certificate.
        run("ip", "route", "replace", "local", address, "dev", "lo", "table", "local", "src", address)
        data = root / "var/lib/etcd" / name
        data.mkdir()
        os.chown(data, USER, USER)
        data.chmod(0o700)
        arguments = [argument.replace("$(POD_NAME)", name).replace("0.0.0.0", address)
                     .replace("/var/lib/etcd/data", "/var/lib/etcd/" + name) for argument in container["args"]]
        # Ends with these name spaces.
        log = folder / (name + ".log")
        started.append((log, subprocess.Popen(
            ["setpriv", "--no-new-privs", "chroot", "--userspec=%d:%d" % (USER, USER), "--groups=%d" % USER, root,
             *container["command"], *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=log.open("wb"))))
    for address in members.values():
        while b'"true"' not in subprocess.run(["curl", "-s", "http://%s:2381/health" % address], check=False,
                                              capture_output=True).stdout:
            for log, process in started:
                assert process.poll() is None, log.read_text()[-3000:]
    for name in members:
        assert is_accepted(folder, "client", "https://%s.etcd:2379/version" % name)
        assert not is_accepted(folder, None, "https://%s.etcd:2379/version" % name)
        assert is_accepted(folder, "member", "https://%s.etcd:2380/version" % name)
        assert not is_accepted(folder, "client", "https://%s.etcd:2380/version" % name)
    print("etcd served")


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(*sys.argv[2:])
    elif sys.argv[1:2] == ["inside_etcd"]:
        inside_etcd(*sys.argv[2:])
    else:
        images.main()
