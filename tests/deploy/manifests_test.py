"""deploy/k8s as a cluster would take it: every overlay, against Kubernetes' own schemas and what they do not say.

Runs under tools/check deploy, with the Python and the kustomize of tools/install --all.
"""

import os
import pathlib
import pwd
import re
import subprocess
import unittest

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("PARLEY_TOOLS") or
                     pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache/parley/tools")
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/k8s/overlays").iterdir())
# The current minor version and the two before it.
SCHEMAS = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = ["%d.%d" % version for version in sorted(
    tuple(map(int, re.fullmatch(r"v(\d+)\.(\d+)\.\d+-local", path.name).groups()))
    for path in SCHEMAS.glob("v*-local"))][-3:]
DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
SECRETS_MADE = {"parley-kek", "parley-taskd", "parley-enrolld", "parley-etcd", "parley-seal"}
# What speaks to the API, all of it beside keyd; `etcd` is another container beside taskd and enrolld.
GIVES_API_TOKEN = {("keyd", "kek"), ("keyd", "publish"), ("keyd", "etcd"), ("keyd", "seal")}
SERVICES = {"keyd", "taskd", "enrolld"}
ETCD = ["etcd-%d" % number for number in range(3)]
# All that Kubernetes lets an apply change in a StatefulSet that is there.
CHANGEABLE = {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
              "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}


def render(folder):
    rendered = subprocess.run([TOOLS / "bin/kustomize", ROOT / "deploy/k8s" / folder], check=True, capture_output=True)
    return list(yaml.safe_load_all(rendered.stdout))


def selects(selector, labels):
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return all(labels.get(key) == value for key, value in selector.items())
    return (all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and
            all(each["operator"] == "In" and labels.get(each["key"]) in each["values"]
                for each in selector.get("matchExpressions", [])))


def all_containers(pod):
    return pod["spec"].get("initContainers", []) + pod["spec"]["containers"]


def sees_api(pod, container):
    return (pod["metadata"]["labels"]["app.kubernetes.io/name"], container["name"]) in GIVES_API_TOKEN


def lets_through(rules, side, labels, port):
    """Whether one of a policy's rules names pods of these labels, in the policy's namespace, at this port."""
    for rule in rules:
        peers, ports = rule.get(side), [each["port"] for each in rule.get("ports", []) if each["protocol"] == "TCP"]
        named = peers is None or any(selects(peer.get("podSelector", {}), labels) for peer in peers
                                     if peer.get("namespaceSelector") in (None, {}))
        if named and (port in ports or "ports" not in rule):
            return True
    return False


def reaches(resources, source, target, port):
    """Whether the network policies allow a connection between pods of these labels."""
    policies = [each["spec"] for each in resources if each["kind"] == "NetworkPolicy"]
    out = [policy.get("egress", []) for policy in policies
           if "Egress" in policy["policyTypes"] and selects(policy["podSelector"], source)]
    into = [policy.get("ingress", []) for policy in policies
            if "Ingress" in policy["policyTypes"] and selects(policy["podSelector"], target)]
    return (any(lets_through(rules, "to", target, port) for rules in out)
            and any(lets_through(rules, "from", source, port) for rules in into))


class Manifests(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.overlays = {overlay: render("overlays/" + overlay) for overlay in OVERLAYS}

    def each(self, kind):
        for overlay, resources in self.overlays.items():
            for resource in resources:
                if resource["kind"] == kind:
                    with self.subTest(overlay=overlay, kind=kind, name=resource["metadata"]["name"]):
                        yield resources, resource

    def pods(self):
        """(all resources, the set, its pod)"""
        for resources, stateful_set in self.each("StatefulSet"):
            yield resources, stateful_set, stateful_set["spec"]["template"]

    def services(self):
        """The same of Parley's own services."""
        for resources, stateful_set, pod in self.pods():
            if stateful_set["metadata"]["name"] in SERVICES:
                yield resources, stateful_set, pod

    def containers(self):
        for _, _, pod in self.pods():
            for container in all_containers(pod):
                with self.subTest(container=container["name"]):
                    yield pod, container

    def test_schemas_of_three_minor_versions(self):
        self.assertEqual(len(VERSIONS), 3)
        for overlay, resources in self.overlays.items():
            for version in VERSIONS:
                for resource in resources:
                    # Not Kubernetes' own.
                    if resource["kind"] == "ServiceMonitor":
                        continue
                    with self.subTest(overlay=overlay, version=version, name=resource["metadata"]["name"]):
                        kubernetes_validate.validate(resource, version, strict=True)

    def test_a_mistake_is_found(self):
        broken = dict(self.overlays["single"][0], kind="StatefulSet", apiVersion="apps/v1", spec={"replica": 1})
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)

    def test_everything_is_in_the_namespace_that_demands_restricted_pods(self):
        for overlay, resources in self.overlays.items():
            (namespace,) = [resource for resource in resources if resource["kind"] == "Namespace"]
            self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
            for resource in resources:
                if resource is not namespace:
                    self.assertEqual(resource["metadata"]["namespace"], namespace["metadata"]["name"], overlay)
                self.assertRegex(resource["metadata"]["name"], DNS_LABEL)

    def test_pods_are_restricted(self):
        for _, _, pod in self.pods():
            security = pod["spec"]["securityContext"]
            self.assertTrue(security["runAsNonRoot"] and security["runAsUser"] > 0 and security["runAsGroup"] > 0)
            self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(pod["spec"]["automountServiceAccountToken"])
            self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"]))
            for volume in pod["spec"]["volumes"]:
                self.assertNotIn("hostPath", volume)

    def test_containers_are_restricted_and_limited(self):
        for _, container in self.containers():
            self.assertEqual(container["securityContext"], {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
            self.assertEqual(set(container["resources"]["requests"]), {"cpu", "memory"})
            self.assertIn("memory", container["resources"]["limits"])
            self.assertRegex(container["image"], r"^registry\.example/parley(-init|-etcd)?:\d+\.\d+\.\d+$")

    def test_a_service_has_the_time_to_end_that_it_may_take(self):
        """For what it does before it is told to end; its calls, what REST still sends, and its audit events."""
        needed = 0
        for source, name in (("lib/service/process.h", "kShutdownGrace"), ("lib/transport/grpc_door.cc", "kRestGrace"),
                             ("services/keyd/keyd.cc", "kAuditDrain")):
            (seconds,) = re.findall(name + r" = absl::Seconds\((\d+)\);", (ROOT / source).read_text())
            needed += int(seconds)
        for _, _, pod in self.pods():
            (container,) = pod["spec"]["containers"]
            _, before = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ("sleep", 0))
            self.assertGreater(pod["spec"]["terminationGracePeriodSeconds"], needed + int(before))
        for unit in (ROOT / "deploy/packages/server").glob("*.service"):
            for seconds in re.findall(r"^TimeoutStopSec=(.*)$", unit.read_text(), re.MULTILINE):
                self.assertGreater(int(seconds), needed, unit.name)

    def test_the_image_runs_as_the_user_of_the_pods(self):
        stages = (ROOT / "deploy/docker/Dockerfile").read_text().split("\nFROM ")[2:]
        self.assertEqual(len(stages), 3)
        for _, _, pod in self.pods():
            security = pod["spec"]["securityContext"]
            user = "USER %d:%d" % (security["runAsUser"], security["runAsGroup"])
            for stage in stages:
                self.assertEqual(re.findall(r"^USER .*", stage, re.MULTILINE)[-1], user)

    def test_only_what_needs_it_sees_the_api_token(self):
        for pod, container in self.containers():
            projected = {volume["name"] for volume in pod["spec"]["volumes"] if "projected" in volume}
            sees = bool(projected & {mount["name"] for mount in container["volumeMounts"]})
            self.assertEqual(sees, sees_api(pod, container))

    def test_what_calls_the_api_leaves_nothing_where_keyd_reads(self):
        program = (ROOT / "deploy/docker/parley-cluster").read_text()
        (folder,) = re.findall(r"^calls=\$\{PARLEY_CALLS:-(.*)\}$", program, re.MULTILINE)
        for pod, container in self.containers():
            (volumes,) = [{mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == folder}]
            self.assertEqual(bool(volumes), sees_api(pod, container))
            for other in all_containers(pod):
                if not sees_api(pod, other):
                    self.assertFalse(volumes & {mount["name"] for mount in other["volumeMounts"]}, other["name"])

    def test_an_overlay_can_be_applied_over_another(self):
        """Also a copy of one after its labels have changed: what cannot be changed is the same in all of them."""
        found = {}
        for resources, resource in self.each("StatefulSet"):
            fixed = {key: value for key, value in resource["spec"].items() if key not in CHANGEABLE}
            self.assertEqual(found.setdefault(resource["metadata"]["name"], fixed), fixed)
            self.assertNotIn("labels", fixed["volumeClaimTemplates"][0]["metadata"])
        self.assertEqual(set(found), SERVICES | {"etcd"})

    def test_a_wrong_image_can_be_corrected_by_applying_again(self):
        for _, stateful_set, _ in self.pods():
            self.assertEqual(stateful_set["spec"]["podManagementPolicy"], "Parallel")

    def test_kubectl_takes_the_service_unless_it_is_told_otherwise(self):
        for _, _, pod in self.pods():
            (container,) = pod["spec"]["containers"]
            self.assertEqual(pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"],
                             container["name"])

    def test_the_registry_and_the_version_stand_in_one_place(self):
        places = [path.relative_to(ROOT / "deploy/k8s") for path in sorted((ROOT / "deploy/k8s").rglob("*.yaml"))
                  if re.search(r"registry\.example|newTag", path.read_text())]
        self.assertEqual(list(map(str, places)), ["images/kustomization.yaml"])

    def test_volumes_are_there(self):
        for _, stateful_set, pod in self.pods():
            there = {volume["name"] for volume in pod["spec"]["volumes"]}
            there |= {claim["metadata"]["name"] for claim in stateful_set["spec"]["volumeClaimTemplates"]}
            used = {mount["name"] for container in all_containers(pod) for mount in container["volumeMounts"]}
            self.assertEqual(used, there)
            for volume in pod["spec"]["volumes"]:
                if "secret" in volume:
                    self.assertIn(volume["secret"]["secretName"], SECRETS_MADE)

    def test_what_is_selected_exists(self):
        for resources, service in self.each("Service"):
            pods = [pod for pod in resources if pod["kind"] == "StatefulSet"
                    and selects(service["spec"]["selector"], pod["spec"]["template"]["metadata"]["labels"])]
            self.assertEqual(len(pods), 1)
            ports = {port["name"]: port["containerPort"]
                     for port in pods[0]["spec"]["template"]["spec"]["containers"][0]["ports"]}
            for port in service["spec"]["ports"]:
                self.assertEqual(ports[port["targetPort"]], port["port"])
            if "clusterIP" not in service["spec"]:
                self.assertEqual(pods[0]["spec"]["serviceName"], service["metadata"]["name"])
        for kind in ("PodDisruptionBudget", "StatefulSet"):
            for resources, resource in self.each(kind):
                self.assertTrue(any(selects(resource["spec"]["selector"], pod["spec"]["template"]["metadata"]["labels"])
                                    for pod in resources if pod["kind"] == "StatefulSet"))

    def test_the_network_allows_the_drawn_arrows_only(self):
        for overlay, resources in self.overlays.items():
            policies = {policy["metadata"]["name"]: policy["spec"] for policy in resources
                        if policy["kind"] == "NetworkPolicy"}
            self.assertEqual(policies["nothing"], {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, overlay)
            for service, port in (("keyd", 7444), ("taskd", 7443), ("enrolld", 7445)):
                (rule,) = policies[service]["ingress"]
                self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": port}])
            for service in ("taskd", "enrolld"):
                # To keyd; enrolld also to a mail server. Never to taskd, never to the API server.
                first, *others = policies[service]["egress"]
                self.assertEqual(first["to"], [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "keyd"}}}])
                self.assertEqual([rule["ports"] for rule in others],
                                 [] if service == "taskd" else
                                 [[{"protocol": "TCP", "port": 465}, {"protocol": "TCP", "port": 587}]])
            self.assertNotIn("to", policies["keyd"]["egress"][0])
            self.assertNotEqual(policies["keyd"]["ingress"][0].get("from"), None, "keyd is not open to everybody")

    def test_policies_let_a_service_reach_keyd_where_it_dials_it(self):
        for overlay, resources in self.overlays.items():
            (configuration,) = [each["data"] for each in resources if each["kind"] == "ConfigMap"]
            pods = {each["metadata"]["name"]: each["spec"]["template"] for each in resources
                    if each["kind"] == "StatefulSet"}
            for service in ("taskd", "enrolld"):
                host, port = configuration["PARLEY_%s_KEYD_ADDRESS" % service.upper()].rsplit(":", 1)
                (keyd,) = [each for each in resources if each["kind"] == "Service" and
                           host == "%(name)s.%(namespace)s.svc.cluster.local" % each["metadata"]]
                (target,) = [pod for pod in pods.values()
                             if selects(keyd["spec"]["selector"], pod["metadata"]["labels"])]
                (dialled,) = [each for each in keyd["spec"]["ports"] if each["port"] == int(port)]
                (listens,) = [each["containerPort"] for each in target["spec"]["containers"][0]["ports"]
                              if each["name"] == dialled["targetPort"]]
                self.assertTrue(reaches(resources, pods[service]["metadata"]["labels"], target["metadata"]["labels"],
                                        listens), overlay)
                # A policy that names no pod of keyd's would let nothing through.
                self.assertFalse(reaches(resources, pods[service]["metadata"]["labels"],
                                         pods["taskd"]["metadata"]["labels"], 7454))

    def test_probes_ask_on_the_port_that_has_health_alone(self):
        for resources, stateful_set, pod in self.services():
            (container,) = pod["spec"]["containers"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            self.assertEqual(set(ports), {"door", "health", "metrics"})
            self.assertEqual(container["readinessProbe"]["grpc"]["port"], ports["health"])
            self.assertEqual(container["startupProbe"]["grpc"]["port"], ports["health"])
            name = stateful_set["metadata"]["name"].upper()
            (configuration,) = [each["data"] for each in resources if each["kind"] == "ConfigMap"]
            for port in ("health", "metrics"):
                self.assertEqual(configuration["PARLEY_%s_%s_LISTEN" % (name, port.upper())],
                                 "0.0.0.0:%d" % ports[port])
            # Clients find the door by a Service; what finds the metrics has no address, and health is the node's alone.
            for service in resources:
                if service["kind"] == "Service" and service["metadata"]["name"] != "etcd":
                    target = "metrics" if service["spec"].get("clusterIP") == "None" else "door"
                    self.assertEqual([port["targetPort"] for port in service["spec"]["ports"]], [target])

    def test_prometheus_finds_every_service_and_is_let_in(self):
        monitors = list(self.each("ServiceMonitor"))
        self.assertTrue(monitors)
        for resources, monitor in monitors:
            (endpoint,) = monitor["spec"]["endpoints"]
            (let_in,) = [each["spec"] for each in resources
                         if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "metrics"]
            services = [each for each in resources if each["kind"] == "Service" and
                        selects(monitor["spec"]["selector"], each["metadata"].get("labels", {}))]
            ports, jobs = set(), set()
            for stateful_set in resources:
                if stateful_set["kind"] == "StatefulSet":
                    labels = stateful_set["spec"]["template"]["metadata"]["labels"]
                    (wanted,) = let_in["podSelector"]["matchExpressions"]
                    self.assertIn(labels[wanted["key"]], wanted["values"])
                    (container,) = stateful_set["spec"]["template"]["spec"]["containers"]
                    numbers = {port["name"]: port["containerPort"] for port in container["ports"]}
                    (service,) = [each for each in services if selects(each["spec"]["selector"], labels)]
                    (port,) = service["spec"]["ports"]
                    self.assertEqual((port["name"], port["port"]), (endpoint["port"], numbers[port["targetPort"]]))
                    ports.add(port["port"])
                    jobs.add(service["metadata"]["labels"][monitor["spec"]["jobLabel"]])
            self.assertEqual({port["port"] for port in let_in["ingress"][0]["ports"]}, ports)
            self.assertEqual(jobs, {"keyd", "taskd", "enrolld"})

    def test_configuration_names_flags_that_exist(self):
        for resources, configuration in self.each("ConfigMap"):
            for key in configuration["data"]:
                service, flag = re.fullmatch(r"PARLEY_(KEYD|TASKD|ENROLLD)_(\w+)", key).groups()
                sources = ["services/%s/main.cc" % service.lower(), "lib/service/service_flags.cc"]
                if service != "KEYD":
                    sources.append("lib/service/following_server.cc")
                self.assertIn('"--%s"' % flag.lower().replace("_", "-"),
                              "".join((ROOT / source).read_text() for source in sources), key)
            for pod in resources:
                if pod["kind"] == "StatefulSet" and pod["metadata"]["name"] in SERVICES:
                    (container,) = pod["spec"]["template"]["spec"]["containers"]
                    self.assertEqual(container["envFrom"][0]["configMapRef"]["name"], configuration["metadata"]["name"])

    def test_nothing_secret_is_written_down(self):
        for overlay, resources in self.overlays.items():
            self.assertFalse([resource for resource in resources if resource["kind"] == "Secret"], overlay)
            for resource in resources:
                if resource["kind"] == "ConfigMap":
                    for key, value in resource["data"].items():
                        self.assertNotRegex(value, r"[A-Za-z0-9+/=_-]{40,}", key)

    def test_an_ingress_names_ports_and_hosts_that_there_are(self):
        ingresses = list(self.each("Ingress"))
        self.assertTrue(ingresses)
        for resources, ingress in ingresses:
            (configuration,) = [each["data"] for each in resources if each["kind"] == "ConfigMap"]
            ports = {each["metadata"]["name"]: {port["name"] for port in each["spec"]["ports"]}
                     for each in resources if each["kind"] == "Service"}
            hosts = set()
            for rule in ingress["spec"]["rules"]:
                backend = rule["http"]["paths"][0]["backend"]["service"]
                self.assertIn(backend["port"]["name"], ports[backend["name"]])
                # What is dialled, what is greeted and what the certificate has are one name.
                name = backend["name"].upper()
                self.assertEqual(configuration["PARLEY_KEYD_%s_ADDRESS" % name], rule["host"] + ":443")
                self.assertIn(rule["host"], configuration["PARLEY_%s_NAMES" % name].split(","))
                hosts.add(rule["host"])
            self.assertEqual(len(hosts), 3)


class Replicas(unittest.TestCase):
    """overlays/ha."""

    def setUp(self):
        self.resources = render("overlays/ha")
        self.sets = {each["metadata"]["name"]: each["spec"] for each in self.resources
                     if each["kind"] == "StatefulSet"}
        self.labels = {name: each["template"]["metadata"]["labels"] for name, each in self.sets.items()}

    def test_a_node_may_go(self):
        budgets = {each["metadata"]["name"]: each["spec"] for each in self.resources
                   if each["kind"] == "PodDisruptionBudget"}
        self.assertEqual(set(self.sets), SERVICES | {"etcd"})
        for name, each in self.sets.items():
            self.assertEqual(each["replicas"], 3)
            self.assertEqual(budgets[name]["maxUnavailable"], 1)
            self.assertTrue(selects(budgets[name]["selector"], self.labels[name]))
            # One after another, each when the one before it has been ready for a while.
            self.assertNotIn("updateStrategy", each)
            self.assertGreater(each["minReadySeconds"], 0)
            (spread,) = each["template"]["spec"]["topologySpreadConstraints"]
            self.assertEqual((spread["topologyKey"], spread["whenUnsatisfiable"]),
                             ("kubernetes.io/hostname", "ScheduleAnyway"))
            # Pods of one service only are kept apart.
            self.assertIn("app.kubernetes.io/name", spread["matchLabelKeys"])

    def test_all_names_of_etcd_s_members_are_the_same(self):
        (service,) = [each for each in self.resources if each["kind"] == "Service" and
                      each["metadata"]["name"] == self.sets["etcd"]["serviceName"]]
        self.assertEqual(service["spec"]["clusterIP"], "None")
        self.assertTrue(service["spec"]["publishNotReadyAddresses"])
        arguments = dict(argument[2:].split("=", 1) for argument in
                         self.sets["etcd"]["template"]["spec"]["containers"][0]["args"] if "=" in argument)
        self.assertEqual(arguments["initial-cluster"],
                         ",".join("%s=https://%s.etcd:2380" % (member, member) for member in ETCD))
        # Whoever has the certificate of a client is no member.
        self.assertEqual(arguments["peer-cert-allowed-cn"], "etcd")
        made = re.search(r"for member in (.*?); do", (ROOT / "deploy/docker/parley-cluster").read_text()).group(1)
        self.assertEqual(made.split(), ETCD)
        (configuration,) = [each["data"] for each in self.resources if each["kind"] == "ConfigMap"]
        for name in SERVICES:
            self.assertEqual(configuration["PARLEY_%s_STORE" % name.upper()],
                             "etcd:%s/parley" % ",".join("https://%s.etcd:2379" % member for member in ETCD))
            for file, path in (("CA", "ca.crt"), ("CERT", "client.crt"), ("KEY", "client.key")):
                self.assertEqual(configuration["PARLEY_%s_STORE_%s" % (name.upper(), file)], "/run/parley/etcd/" + path)

    def test_etcd_is_reached_by_services_and_members_only(self):
        for name in SERVICES:
            self.assertTrue(reaches(self.resources, self.labels[name], self.labels["etcd"], 2379))
            self.assertFalse(reaches(self.resources, self.labels[name], self.labels["etcd"], 2380))
            self.assertFalse(reaches(self.resources, self.labels["etcd"], self.labels[name], 7444))
        self.assertTrue(reaches(self.resources, self.labels["etcd"], self.labels["etcd"], 2380))
        self.assertFalse(reaches(self.resources, {}, self.labels["etcd"], 2379))

    def test_a_member_s_key_is_no_service_s_to_read(self):
        for name, each in self.sets.items():
            items = {item["key"] for volume in each["template"]["spec"]["volumes"]
                     if volume.get("secret", {}).get("secretName") == "parley-etcd"
                     for item in volume["secret"]["items"]}
            self.assertEqual("member.key" in items, name == "etcd")
            self.assertNotEqual("client.key" in items, name in ("etcd", "keyd"))


class Restore(unittest.TestCase):
    """deploy/k8s/restore, which is applied by itself."""

    def test_it_fits_what_the_services_leave_and_find(self):
        services = [each for each in render("overlays/single") if each["kind"] == "StatefulSet"]
        resources = render("restore")
        for resource in resources:
            self.assertEqual(resource["metadata"]["namespace"], "parley")
            for version in VERSIONS:
                kubernetes_validate.validate(resource, version, strict=True)
        (pod,) = [each["spec"] for each in resources if each["kind"] == "Pod"]
        (container,) = pod["containers"]
        claims = {each["metadata"]["name"]: each["spec"] for each in resources
                  if each["kind"] == "PersistentVolumeClaim"}
        for service in services:
            template = service["spec"]["template"]["spec"]
            self.assertEqual(pod["securityContext"], template["securityContext"])
            self.assertEqual(container["securityContext"], template["containers"][0]["securityContext"])
            self.assertEqual(container["image"], template["containers"][0]["image"])
            name = service["metadata"]["name"]
            (claimed,) = service["spec"]["volumeClaimTemplates"]
            self.assertEqual(claims.pop("data-%s-0" % name), {key: claimed["spec"][key] for key in
                                                              ("accessModes", "resources")})
            self.assertIn({"name": name, "mountPath": "/volumes/" + name}, container["volumeMounts"])
            self.assertIn({"name": name, "persistentVolumeClaim": {"claimName": "data-%s-0" % name}}, pod["volumes"])
        self.assertEqual(claims, {})
        self.assertFalse(pod["automountServiceAccountToken"])
        # `sleep` as the first process of its container takes no notice of SIGTERM.
        self.assertEqual((container["command"], pod["terminationGracePeriodSeconds"]), (["sleep", "infinity"], 1))


if __name__ == "__main__":
    unittest.main()
