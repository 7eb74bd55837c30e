"""docs/kubernetes.md, step by step, in a real Kubernetes of two nodes: overlays/single, and overlays/team over it.

Runs under tools/check cluster. Lines of the document are run as they stand there.
"""

import base64
import json
import re
import signal
import subprocess
import unittest

from kubernetes import ROOT, TIMEOUT_S, cluster, until
from on_cluster import REGISTRY, SERVICES, OnCluster


class Steps(OnCluster):

    def until_image_is_missing(self, pod):
        def missing():
            reason = self.shell.attempt("kubectl", "-n", "parley", "get", "pod", pod, "-o",
                                        "jsonpath={.status.initContainerStatuses[0].state.waiting.reason}")[1]
            return reason in ("ErrImagePull", "ImagePullBackOff")
        until(missing, "the image of %s is missing" % pod)

    def reaches(self, host, port):
        """Whether the client's pod can connect to it."""
        return self.shell.attempt("kubectl", "exec", "client", "--", "timeout", "5", "bash", "-c",
                                  "exec 3<>/dev/tcp/%s/%d" % (host, port))[0] == 0

    def is_admitted(self, credential):
        return self.shell.attempt("parley", "task", "list", "--server", "127.0.0.1:7443", "--credential",
                                  credential)[0] == 0

    def credential_in_use(self, service):
        return self.kubectl("exec", service + "-0", "--", "cat", "/run/parley/%s.credential" % service)

    def secret(self, name, key):
        return base64.b64decode(self.shell.get("secret", name)["data"][key])

    def test_01_a_wrong_registry_is_corrected_by_applying_again(self):
        # The document's `sed` was forgotten.
        self.apply("single")
        self.until_image_is_missing("keyd-0")
        with self.until_ready("single"):
            self.shell.documented("sed -i", "kubectl -n parley rollout", **{"YOUR.REGISTRY": REGISTRY})
        self.start_client()

    def test_02_the_key_and_the_credentials_are_taken(self):
        self.shell.documented("kubectl -n parley get secret parley-kek")
        self.assertEqual((self.shell.folder / "kek").read_bytes(), self.secret("parley-kek", "kek"))
        self.assertEqual(len(self.secret("parley-kek", "kek")), 32)
        self.shell.documented("for keyd in", "done")
        for who in ("admin", "operator"):
            credential = self.shell.folder / (who + ".credential")
            self.assertEqual(credential.stat().st_mode & 0o777, 0o600)
            self.assertGreater(credential.stat().st_size, 0)
        left = self.kubectl("exec", "keyd-0", "--", "ls", "/var/lib/parley/keyd/credentials").split()
        self.assertEqual(sorted(left), ["enrolld.credential", "taskd.credential"])
        with self.shell.forwarded():
            self.shell.documented("parley task list", "parley key list")

    def test_03_clients_join_from_inside_and_from_outside(self):
        with self.shell.forwarded():
            task, key = self.create("hello\n")
            self.assert_confirmed(self.join_in_cluster(key), self.join(key, options=("--server", "127.0.0.1:7443")))
            members = json.loads(self.parley("task", "members", task, "--server", "127.0.0.1:7443", "--output", "json"))
        self.assertEqual([member["state"] for member in members["participants"]], ["STATE_CONFIRMED"] * 2)

    def test_04_keyd_cannot_read_the_token_of_the_api(self):
        for container, expected in (("keyd", "1"), ("publish", "0")):
            said = self.kubectl("exec", "keyd-0", "-c", container, "--", "sh", "-c",
                                "test -e /var/run/secrets/kubernetes.io/serviceaccount/token; echo $?")
            self.assertEqual(said.strip(), expected)
        found = self.shell.attempt("kubectl", "-n", "parley", "exec", "keyd-0", "-c", "keyd", "--", "grep", "-rl",
                                   "Bearer ", "/run", "/tmp", "/var/lib/parley")[1]
        self.assertEqual(found, "")

    def test_05_pods_are_replaced_and_killed_while_clients_work(self):
        with self.followers() as (task, publish):
            with self.shell.popen("parley", "task", "watch", task, "--all", "--server", self.taskd(), "--credential",
                                  "operator.credential", stdout=subprocess.PIPE, text=True) as watch:
                self.kubectl("rollout", "restart", *("statefulset/" + service for service in SERVICES))
                self.shell.wait_until_ready()
                publish()
                watch.send_signal(signal.SIGINT)
                seen = watch.communicate(timeout=TIMEOUT_S)[0]
            self.assertIn("r2 confirmed", seen)
        self.kubectl("delete", "pod", "taskd-0", "--force", "--grace-period=0")
        self.shell.wait_until_ready()
        for service in ("taskd", "keyd"):
            with self.shell.forwarded():
                _, key = self.create("killed %s\n" % service)
            joins = [self.join_in_cluster(key) for _ in range(6)]
            self.shell.kill(service)
            self.assert_confirmed(*joins)
            self.shell.wait_until_ready()
        self.assert_it_works()

    def test_06_a_node_is_drained(self):
        node = self.shell.get("pod", "taskd-0")["spec"]["nodeName"]
        # The client's pod has nothing that would start it anew elsewhere.
        self.shell.run("kubectl", "delete", "pod", "client")
        (drain,) = re.findall(r"`(kubectl drain NODE[^`]*)`", (ROOT / "docs/kubernetes.md").read_text())
        self.shell.run("bash", "-euc", drain.replace("NODE", node))
        self.shell.wait_until_ready()
        self.assertNotEqual(self.shell.get("pod", "taskd-0")["spec"]["nodeName"], node)
        self.shell.run("kubectl", "uncordon", node)
        self.start_client()
        self.assert_it_works()

    def test_07_an_upgrade_and_a_wrong_one(self):
        file = self.shell.folder / "deploy/k8s/images/kustomization.yaml"
        good = file.read_text()
        file.write_text(good.replace("0.1.0", "0.2.0"))
        self.apply("single")
        self.until_image_is_missing("taskd-0")
        file.write_text(good)
        self.apply("single")
        self.shell.wait_until_ready()
        file.write_text(good.replace("0.1.0", "0.2.1"))
        self.apply("single")
        self.shell.wait_until_ready()
        for service in SERVICES:
            (container,) = self.shell.get("pod", service + "-0")["spec"]["containers"]
            self.assertEqual(container["image"], REGISTRY + "/parley:0.2.1")
        self.assert_it_works()

    def test_08_the_root_is_rotated(self):
        before = {service: self.credential_in_use(service) for service in ("taskd", "enrolld")}
        with self.shell.forwarded():
            prefix = "export PARLEY_CREDENTIAL=admin.credential\n"
            epoch = json.loads(self.parley("key", "rotate-root", "--server", "127.0.0.1:7444", "--output", "json",
                                           credential="admin"))["primaryEpoch"]
            block = re.search(r"\n```\n(parley key rotate-root.*?)\n```", (ROOT / "docs/kubernetes.md").read_text(),
                              re.DOTALL).group(1)
            # The first line has been run; the last one waits for the services, and nobody is there to be asked.
            _, *issue, retire = block.splitlines()
            self.shell.run("bash", "-euc", prefix + "\n".join(issue))
            for service, old in before.items():
                until(lambda service=service, old=old: self.credential_in_use(service) != old,
                      service + " gets its new credential")
            self.shell.run("bash", "-euc", prefix + retire.replace("before N", "before %s --yes" % epoch))
            for who in ("admin", "operator"):
                until(lambda who=who: not self.is_admitted(who + ".credential"), "taskd knows that the root is retired")
                (self.shell.folder / (who + ".new")).rename(self.shell.folder / (who + ".credential"))
                until(lambda who=who: self.is_admitted(who + ".credential"), "taskd has the new keys")
        self.assert_it_works()

    def test_09_a_deleted_secret_comes_back(self):
        self.kubectl("delete", "secret", "parley-taskd", "parley-enrolld")
        for service in ("taskd", "enrolld"):
            self.kubectl("wait", "--for=create", "secret/parley-" + service, "--timeout=120s")
        self.kubectl("delete", "pod", "taskd-0")
        self.shell.wait_until_ready()

    def test_10_a_lost_admin_comes_back(self):
        (line,) = re.findall(r"`(kubectl -n parley set env [^`]*)`", (ROOT / "docs/kubernetes.md").read_text())
        self.shell.run("bash", "-euc", line)
        self.shell.wait_until_ready()
        (self.shell.folder / "admin.credential").unlink()
        self.shell.documented("for keyd in", "done", **{"admin operator": "admin"})
        self.shell.run("bash", "-euc", line.replace("=true", "-"))
        self.shell.wait_until_ready()
        with self.shell.forwarded():
            self.parley("key", "list", "--server", "127.0.0.1:7444", credential="admin")

    def test_11_a_backup_is_restored_into_this_cluster_and_an_empty_one(self):
        with self.shell.forwarded():
            task, _ = self.create("in the backup\n")
        self.shell.documented("for service in taskd enrolld keyd; do\n  kubectl -n parley exec -i $service-0")
        for empty in (False, True):
            if empty:
                self.shell.run("kubectl", "delete", "namespace", "parley")
            else:
                with self.shell.forwarded():
                    lost, _ = self.create("not in the backup\n")
                self.shell.documented("kubectl -n parley scale", "kubectl -n parley scale")
                for service in SERVICES:
                    self.kubectl("wait", "--for=delete", "pod/%s-0" % service, "--timeout=60s")
                self.kubectl("delete", "pvc", *("data-%s-0" % service for service in SERVICES))
            cluster("recycle")
            if empty:
                self.shell.documented("kubectl create namespace", "kubectl create namespace")
            self.shell.documented("kubectl apply -k deploy/k8s/restore", "kubectl apply -k deploy/k8s/overlays/single")
            self.shell.wait_until_ready()
            with self.shell.forwarded():
                tasks = self.parley("task", "list", "--server", "127.0.0.1:7443", "--output", "json")
                self.assertIn(task, tasks)
                self.assertNotIn(lost, tasks)
                # Whoever has verified the log is told, the second time, that its end is another one.
                if not empty:
                    self.parley("audit", "verify", "--server", "127.0.0.1:7444", credential="admin")
            self.assert_it_works()

    def test_12_the_teams_overlay_is_applied_over_the_single_one(self):
        """With policies enforced, under which no service gets at keyd's address for clients."""
        cluster("policies")
        until(lambda: not self.reaches("keyd.parley.svc.cluster.local", 7444), "policies are enforced")
        with self.until_ready("team"):
            out = self.apply("team")
        for service in SERVICES:
            self.assertIn("statefulset.apps/%s configured" % service, out)
        for service in SERVICES:
            self.assertEqual(self.shell.get("pod", service + "-0")["metadata"]["labels"]["team"], "platform")

    def test_13_policies_allow_the_drawn_arrows_only(self):
        addresses = {service: self.shell.get("pod", service + "-0")["status"]["podIP"] for service in SERVICES}
        self.assertTrue(self.reaches("taskd.parley.svc.cluster.local", 7443))
        self.assertTrue(self.reaches("enrolld.parley.svc.cluster.local", 7445))
        self.assertFalse(self.reaches("keyd.parley.svc.cluster.local", 7444))
        for service, port in (("keyd", 4), ("taskd", 3), ("enrolld", 5)):
            for other in (7450 + port, 7460 + port):
                self.assertFalse(self.reaches(addresses[service], other))
        self.shell.run("kubectl", "label", "pod", "client", "parley.dev/keyd-client=true")
        until(lambda: self.reaches("keyd.parley.svc.cluster.local", 7444), "a labelled pod reaches keyd")

    def test_14_the_teams_label_and_a_volume_are_changed_later(self):
        file = self.shell.folder / "deploy/k8s/overlays/team/kustomization.yaml"
        file.write_text(file.read_text().replace("team: platform", "team: another") + """patches:
  - target: {kind: StatefulSet, name: taskd}
    patch: |
      - {op: replace, path: /spec/volumeClaimTemplates/0/spec/resources/requests/storage, value: 6Gi}
""")
        before = self.shell.get("pod", "taskd-0")["metadata"]["uid"]
        # These volumes are of one size, so the claim itself is left out.
        self.shell.documented("kubectl -n parley delete statefulset taskd", "kubectl -n parley delete statefulset")
        self.assertEqual(self.shell.get("pod", "taskd-0")["metadata"]["uid"], before)
        self.apply("team")
        self.shell.wait_until_ready()
        self.assertEqual(self.shell.get("pod", "taskd-0")["metadata"]["labels"]["team"], "another")


if __name__ == "__main__":
    unittest.main()
