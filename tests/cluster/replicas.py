"""overlays/ha in a real Kubernetes of three nodes, with policies enforced: what docs/kubernetes.md says of it.

Runs under tools/check cluster.
"""

import re
import unittest

from kubernetes import ROOT, ReadyCounts, cluster, until
from on_cluster import REGISTRY, SERVICES, VERSIONS, OnCluster

REPLICAS = 3
SETS = (*SERVICES, "etcd")


class Replicas(OnCluster):
    NODES = 3
    IMAGES = (*OnCluster.IMAGES, "parley-etcd")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cluster("policies")

    def nodes_of(self, name):
        pods = self.shell.get("pods", "-l", "app.kubernetes.io/name=" + name)["items"]
        return {pod["spec"]["nodeName"] for pod in pods}

    def assert_one_on_each_node(self):
        for name in SETS:
            self.assertEqual(self.nodes_of(name), {"node%d" % number for number in range(1, self.NODES + 1)}, name)

    def test_1_three_of_each_come_up_on_three_nodes(self):
        with self.until_ready("ha"):
            self.shell.documented("sed -i", "kubectl -n parley rollout",
                                  **{"YOUR.REGISTRY": REGISTRY, "overlays/single": "overlays/ha"})
        self.assert_one_on_each_node()
        self.start_client()

    def test_2_the_credentials_are_taken_from_all_that_founded(self):
        keyds = ["keyd-%d" % number for number in range(REPLICAS)]
        self.shell.documented("for keyd in", "done", **{"in keyd-0;": "in %s;" % " ".join(keyds)})
        for keyd in keyds:
            left = self.kubectl("exec", keyd, "--", "ls", "/var/lib/parley/keyd/credentials").split()
            self.assertEqual(sorted(left), ["enrolld.credential", "taskd.credential"])
        with self.shell.forwarded():
            self.shell.documented("parley task list", "parley key list")
        self.assert_it_works()

    def test_3_a_drain_leaves_two_of_each(self):
        (drain,) = re.findall(r"`(kubectl drain NODE[^`]*)`", (ROOT / "docs/kubernetes.md").read_text())
        self.shell.run("kubectl", "delete", "pod", "client")
        with ReadyCounts(self.shell) as ready, self.followers() as (_, publish):
            for number in range(1, self.NODES + 1):
                self.shell.run("bash", "-euc", drain.replace("NODE", "node%d" % number))
                publish()
                self.shell.wait_until_ready()
                self.shell.run("kubectl", "uncordon", "node%d" % number)
        self.assertEqual(ready.fewest(), {name: 2 for name in SETS})
        self.start_client()

    def upgrade(self, changed, *images):
        """Gives these images the next version, which replaces the pods of these sets, one of each after another."""
        file = self.shell.folder / "deploy/k8s/images/kustomization.yaml"
        text, versions = file.read_text(), [REGISTRY + "/%s\n    newTag: " % image for image in images]
        for version in versions:
            self.assertIn(version + VERSIONS[0], text)
            text = text.replace(version + VERSIONS[0], version + VERSIONS[1])
        file.write_text(text)
        with ReadyCounts(self.shell) as ready, self.followers() as (_, publish):
            self.apply("ha")
            publish()
            self.shell.wait_until_ready()
        self.assertEqual(ready.fewest(), {name: 2 if name in changed else REPLICAS for name in SETS})
        for name in changed:
            for number in range(REPLICAS):
                (container,) = self.shell.get("pod", "%s-%d" % (name, number))["spec"]["containers"]
                self.assertTrue(container["image"].endswith(VERSIONS[1]), container["image"])

    def test_4_an_upgrade_replaces_one_after_another(self):
        self.upgrade(SERVICES, "parley", "parley-init")
        self.upgrade(("etcd",), "parley-etcd")
        self.assert_it_works()

    def test_5_a_node_is_cut_off(self):
        with self.followers() as (_, publish):
            try:
                self.shell.run("ip", "link", "set", "cable3", "down")
                # Some of what an operator calls is led to that node.
                publish(again=True)
                self.shell.run("kubectl", "wait", "--for=condition=Ready=Unknown", "node/node3", "--timeout=240s")
                publish(again=True)
            finally:
                self.shell.run("ip", "link", "set", "cable3", "up")
            self.shell.run("kubectl", "wait", "--for=condition=Ready", "node/node3", "--timeout=120s")
            self.shell.wait_until_ready()
        self.assert_it_works()

    def test_6_all_are_started_anew_at_once(self):
        with self.followers() as (_, publish):
            self.kubectl("delete", "pod", "--all")
            self.shell.wait_until_ready()
            publish()
        self.assert_it_works()

    def test_7_the_root_is_rotated(self):
        serial = self.shell.get("secret", "parley-taskd")["metadata"]["resourceVersion"]
        with self.shell.forwarded():
            self.parley("key", "rotate-root", "--server", "127.0.0.1:7444", credential="admin")
        until(lambda: self.shell.get("secret", "parley-taskd")["metadata"]["resourceVersion"] != serial,
              "the services' credentials are renewed")
        self.assert_it_works()


if __name__ == "__main__":
    unittest.main()
