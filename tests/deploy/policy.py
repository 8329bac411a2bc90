"""What has to hold of the deployment, one function a rule; each yields its faults, so none means that it holds.

The rules are those of the restricted Pod Security Standard and of this service: one writer, keys only as files, the ops
port never public, an orderly end.
"""

import re
from ipaddress import ip_network
from pathlib import PurePosixPath

import kubernetes_validate

from manifests import NAME

# The oldest release that has the fields we use, and the newest with a published schema here.
KUBERNETES = ("1.31", "1.37")
OPS_PATHS = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
PUBLIC_PATHS = {("PathPrefix", "/v1/sources"), ("Exact", "/v1/openapi.json")}
# Above lag and drain: what the kubelet and the runtime take to deliver the signal and to notice the end.
MARGIN_SECONDS = 5
USER = 65532
PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"]
PRIVATE_6 = ["fc00::/7", "fe80::/10", "::1/128"]
ADDRESSES = {("https://dev.imprint.co", "production"), ("https://dev.sbx.imprint.co", "sandbox")}

RULES = []


def rule(title):
    def keep(function):
        RULES.append((title, function))
        return function
    return keep


@rule("every manifest is valid Kubernetes")
def schema_valid(d):
    for manifest in d.manifests + d.secrets:
        if manifest["kind"] == "HTTPRoute":
            continue  # a custom resource: the next rule
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as fault:
                yield f"{title(manifest)}, Kubernetes {version}: {fault.message}"


@rule("the HTTPRoute has the shape of gateway.networking.k8s.io/v1")
def route_shape(d):
    route = d.one("HTTPRoute")
    if route["apiVersion"] != "gateway.networking.k8s.io/v1":
        yield f"apiVersion {route['apiVersion']}"
    spec = route["spec"]
    yield from only(spec, {"parentRefs", "hostnames", "rules"}, "spec")
    if not spec.get("parentRefs") or not spec.get("hostnames"):
        yield "a route without parentRefs or hostnames takes whatever arrives, or nothing"
    for parent in spec.get("parentRefs", []):
        yield from only(parent, {"group", "kind", "name", "namespace", "sectionName", "port"}, "parentRefs")
        if not parent.get("name") or not parent.get("sectionName"):
            yield "a parent without name and sectionName may be a listener without TLS"
    for each in spec.get("rules", []):
        # No filters: they redirect and rewrite, and a signature covers what was sent.
        yield from only(each, {"name", "matches", "backendRefs", "timeouts"}, "rules")
        yield from (f"timeout {t}" for t in each.get("timeouts", {}).values() if not re.fullmatch(r"\d{1,5}s", t))
        for match in each.get("matches", []):
            yield from only(match, {"path"}, "matches")


@rule("the HTTPRoute opens the public paths and no other")
def route_paths(d):
    rules = d.one("HTTPRoute")["spec"].get("rules", [])
    # No match at all means every path.
    paths = {
        (m.get("path", {}).get("type", "PathPrefix"), m.get("path", {}).get("value", "/"))
        for r in rules for m in r.get("matches") or [{}]
    }
    if paths != PUBLIC_PATHS:
        yield f"{sorted(paths)}"


@rule("the HTTPRoute ends at the ingress port")
def route_backend(d):
    backends = [b for r in d.one("HTTPRoute")["spec"].get("rules", []) for b in r.get("backendRefs", [])]
    if not backends:
        yield "no backend"
    for backend in backends:
        if backend.get("kind", "Service") != "Service" or backend.get("namespace"):
            yield f"{backend} is not a Service of this namespace"
            continue
        service = d.one("Service", backend["name"])
        targets = [p["targetPort"] for p in service["spec"]["ports"] if p["port"] == backend["port"]]
        if [d.ports.get(t, t) for t in targets] != [d.ports["ingress"]]:
            yield f"{backend['name']}:{backend['port']} leads to {targets}, not to ingress"


@rule("only the ops Service has the ops port, and nothing but it")
def services(d):
    for service in d.of_kind("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        wanted = "ops" if name == f"{NAME}-ops" else "ingress"
        targets = [p["targetPort"] for p in spec["ports"]]
        if targets != [wanted]:
            yield f"{name} leads to {targets}, not to {wanted} alone"
        if spec.get("type", "ClusterIP") != "ClusterIP":
            yield f"{name} is of type {spec['type']}, reachable past the gateway"


@rule("every selector finds the pod")
def selectors(d):
    labels = d.template["metadata"]["labels"]
    stateful_set = d.one("StatefulSet")
    chosen = [(s, s["spec"].get("selector")) for s in d.of_kind("Service")]
    chosen += [(p, p["spec"]["selector"].get("matchLabels")) for p in d.of_kind("PodDisruptionBudget")]
    chosen += [(p, p["spec"]["podSelector"].get("matchLabels")) for p in d.of_kind("NetworkPolicy")]
    chosen.append((stateful_set, stateful_set["spec"]["selector"].get("matchLabels")))
    for manifest, selector in chosen:
        if not selector or not selector.items() <= labels.items():
            yield f"{title(manifest)} selects {selector}, the pod is {labels}"


@rule("every manifest has the common labels and no namespace")
def labels(d):
    for manifest in d.manifests:
        carried = manifest["metadata"].get("labels", {})
        missing = {"app.kubernetes.io/name", "app.kubernetes.io/part-of"} - set(carried)
        if missing or carried["app.kubernetes.io/name"] != NAME:
            yield f"{title(manifest)}: {carried}"
        if "namespace" in manifest["metadata"]:
            yield f"{title(manifest)} names its namespace"


@rule("one pod, ended before the next starts")
def one_writer(d):
    spec = d.one("StatefulSet")["spec"]
    if spec.get("replicas") != 1:
        yield f"{spec.get('replicas')} replicas of a store with one writer"
    if spec.get("updateStrategy", {}).get("type") != "RollingUpdate":
        yield "updateStrategy is not RollingUpdate"
    if d.one("Service", spec["serviceName"])["spec"].get("clusterIP") != "None":
        yield f"{spec['serviceName']} is not headless"
    if d.of_kind("Deployment") or d.of_kind("HorizontalPodAutoscaler"):
        yield "a Deployment or an autoscaler would start a second writer"


@rule("the store's volume is ReadWriteOncePod, and stays")
def store_claim(d):
    spec = d.one("StatefulSet")["spec"]
    for claim in spec["volumeClaimTemplates"]:
        if claim["spec"]["accessModes"] != ["ReadWriteOncePod"]:
            yield f"{claim['metadata']['name']}: {claim['spec']['accessModes']}"
    if set(spec.get("persistentVolumeClaimRetentionPolicy", {}).values()) - {"Retain"}:
        yield "the volume goes with the set"


@rule("the grace period covers lag, drain and a margin")
def grace(d):
    shutdown = {**{"lag": "5s", "drain": "15s"}, **(d.defaults or {}).get("shutdown", {}), **d.config.get("shutdown", {})}
    needed = sum(seconds(shutdown[key]) for key in ("lag", "drain")) + MARGIN_SECONDS
    given = d.pod.get("terminationGracePeriodSeconds", 30)
    if given <= needed:
        yield f"{given} s given, more than {needed:g} s needed"
    for container in d.containers:
        if "preStop" in container.get("lifecycle", {}):
            yield f"{container['name']} has a preStop: it eats the grace, and the image has nothing to run"


@rule("the probes ask the ops port for paths it has")
def probes(d):
    for probe, path in OPS_PATHS.items():
        get = d.container.get(probe, {}).get("httpGet", {})
        if (get.get("path"), get.get("port")) != (path, "ops"):
            yield f"{probe} asks {get}"


@rule("the ports are those of the configuration and of the image")
def ports(d):
    for name in ("ingress", "ops"):
        listen = int(d.config[name]["listen"].rsplit(":", 1)[1])
        if d.ports.get(name) != listen:
            yield f"{name} listens on {listen}, the container names {d.ports.get(name)}"
    exposed = {int(p) for p in re.search(r"^EXPOSE (.+)$", d.dockerfile, re.M)[1].split()}
    if exposed != set(d.ports.values()):
        yield f"the image exposes {exposed}"


@rule("the pod is restricted")
def pod_restricted(d):
    context = d.pod.get("securityContext", {})
    wanted = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    yield from (f"{k} is {context.get(k)}" for k, v in wanted.items() if context.get(k) != v)
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    yield from (f"{k} is set" for k in ("hostNetwork", "hostPID", "hostIPC", "hostAliases") if d.pod.get(k))


@rule("every container is restricted")
def container_restricted(d):
    for container in d.containers:
        context, name = container.get("securityContext", {}), container["name"]
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True}
        yield from (f"{name}: {k} is {context.get(k)}" for k, v in wanted.items() if context.get(k) is not v)
        if context.get("privileged") or context.get("runAsUser", USER) != USER:
            yield f"{name} is privileged or another user"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name}: capabilities {context.get('capabilities')}"


@rule("the service account has no token and no rights")
def service_account(d):
    account = d.one("ServiceAccount", d.pod.get("serviceAccountName", "default"))
    for who, what in (("account", account), ("pod", d.pod)):
        if what.get("automountServiceAccountToken") is not False:
            yield f"the {who} mounts a token"
    yield from (title(m) for m in d.manifests if m["apiVersion"].startswith("rbac."))


@rule("the only writable place is the store")
def writable(d):
    writable = [path for path, (mount, _) in d.mounts.items() if not mount.get("readOnly")]
    if writable != ["/var/lib/imprint-bridge"]:
        yield f"writable: {writable}"
    for volume in d.pod.get("volumes", []):
        if kinds := set(volume) - {"name", "configMap", "secret"}:
            yield f"{volume['name']} is of kind {sorted(kinds)}"


@rule("volumes are mounted whole")
def no_sub_path(d):
    for container in d.containers:
        for mount in container.get("volumeMounts", []):
            if "subPath" in mount or "subPathExpr" in mount:
                yield f"{mount['mountPath']}: a subPath is never renewed"


@rule("secrets are files that only the program reads")
def secrets(d):
    for container in d.containers:
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}) or re.search("KEY|SECRET|TOKEN|PASS", variable["name"]):
                yield f"{container['name']} has {variable['name']} in its environment"
        yield from (f"{container['name']} takes {e} into its environment" for e in container.get("envFrom", []) if "secretRef" in e)
    for volume in d.pod.get("volumes", []):
        if "secret" in volume and volume["secret"].get("defaultMode", 0o644) & 0o007:
            yield f"{volume['name']} is readable for all"
    if d.of_kind("Secret") or "secret.example.yaml" in d.listed:
        yield "a Secret is rendered"
    for secret in d.secrets:
        values = {**secret.get("stringData", {}), **secret.get("data", {})}
        yield from (f"{title(secret)}: {k} is not a placeholder" for k, v in values.items() if v != "REPLACE-ME")


@rule("every path of the configuration is mounted")
def paths(d):
    examples = {s["metadata"]["name"]: s["stringData"] for s in d.secrets}
    tokens = d.config["ops"].get("token_files", [])
    for path in [d.config["imprint"]["key_file"], *d.crm["auth"].get("secret_files", []), *tokens]:
        path = PurePosixPath(path)
        _, volume = d.mounts.get(str(path.parent), ({}, {}))
        secret = volume.get("secret", {}).get("secretName")
        if path.name not in examples.get(secret, {}):
            yield f"{path} is in no Secret that is mounted there"
    store = PurePosixPath(d.config["outbox"]["url"].removeprefix("sqlite:"))
    if "claim" not in d.mounts.get(str(store.parent), ({}, {}))[1]:
        yield f"{store} is not on the claimed volume"
    args = d.container["args"]
    config = PurePosixPath(args[args.index("--config") + 1])
    for folder, file in ((str(config.parent), config.name), (d.config["sources_dir"], "crm.toml")):
        name = d.mounts.get(folder, ({}, {}))[1].get("configMap", {}).get("name")
        if not any(m["metadata"]["name"] == name and file in m["data"] for m in d.of_kind("ConfigMap")):
            yield f"{folder}/{file} is in no ConfigMap that is mounted there"
    if f"/out/root{d.config['schemas_dir']}" not in d.dockerfile or d.config["schemas_dir"] in d.mounts:
        yield f"the image does not carry {d.config['schemas_dir']}, or a volume hides it"


@rule("service links stay out of the environment")
def service_links(d):
    if d.pod.get("enableServiceLinks") is not False:
        yield f"a Service named {NAME} would set IMPRINT_BRIDGE_* variables"


@rule("the image is pinned to this version and names no registry")
def image(d):
    for container in d.containers:
        if container["image"] != f"{NAME}:{d.cargo['package']['version']}":
            yield f"{container['image']}, the crate is {d.cargo['package']['version']}"


@rule("the Dockerfile ends from scratch, as the user, with the signal")
def dockerfile(d):
    last = d.dockerfile[d.dockerfile.rindex("\nFROM "):]
    for line in ("FROM scratch", f"USER {USER}:{USER}", "STOPSIGNAL SIGTERM"):
        if f"\n{line}\n" not in last:
            yield f"no line {line} in the last stage"
    for name in re.findall(r"^(?:ARG \w+=|FROM )(\S+)", d.dockerfile, re.M):
        if "/" in name or name.endswith(":latest"):
            yield f"{name} names a host or a moving tag"


@rule("requests and limits are set")
def resources(d):
    for container in d.containers:
        for kind in ("requests", "limits"):
            if missing := {"cpu", "memory"} - set(container.get("resources", {}).get(kind, {})):
                yield f"{container['name']}: no {sorted(missing)} in {kind}"


@rule("a node can be drained")
def disruption(d):
    spec = d.one("PodDisruptionBudget")["spec"]
    if spec.get("maxUnavailable") != 1 or "minAvailable" in spec:
        yield "with one replica anything but maxUnavailable 1 holds the node up"


@rule("network policies deny what they do not name")
def policies_deny(d):
    if not d.of_kind("NetworkPolicy"):
        yield "no NetworkPolicy"
    for policy in d.of_kind("NetworkPolicy"):
        if sorted(policy["spec"].get("policyTypes", [])) != ["Egress", "Ingress"]:
            yield f"{title(policy)} leaves one direction open"


@rule("the gateway reaches ingress, monitoring reaches ops, nobody else anything")
def policies_ingress(d):
    found = []
    for policy in d.of_kind("NetworkPolicy"):
        for entry in policy["spec"].get("ingress", []):
            peers = [p.get("namespaceSelector", {}).get("matchLabels", {}) for p in entry.get("from", [{}])]
            opened = [d.ports.get(p.get("port"), p.get("port")) for p in entry.get("ports", [{}])]
            found.append(([p.get("kubernetes.io/metadata.name") for p in peers], opened))
    if sorted(found, key=str) != [(["gateway"], [8080]), (["monitoring"], [9090])]:
        yield f"{found}"


@rule("egress is DNS, and 443 to public addresses")
def policies_egress(d):
    for policy in d.of_kind("NetworkPolicy"):
        for entry in policy["spec"].get("egress", []):
            opened = sorted({p.get("port") for p in entry.get("ports", [{}])}, key=str)
            if opened == [53]:
                if not all("namespaceSelector" in p and "podSelector" in p for p in entry.get("to", [{}])):
                    yield "DNS is open to more than the cluster's resolver"
                continue
            if opened != [443]:
                yield f"ports {opened} are open"
            for peer in entry.get("to", [{}]):
                yield from private_ranges(peer.get("ipBlock"))


def private_ranges(block):
    if block is None:
        yield "443 is open to something that is not an address range"
        return
    cidr = ip_network(block["cidr"])
    excluded = [ip_network(e) for e in block.get("except", [])]
    for private in map(ip_network, PRIVATE if cidr.version == 4 else PRIVATE_6):
        if cidr.overlaps(private) and not any(private.subnet_of(e) for e in excluded):
            yield f"{cidr} includes {private}"


@rule("the configuration is for production, and its two names of Imprint agree")
def configuration(d):
    if d.config.get("profile") != "production" or d.config.get("log", {}).get("format") != "json":
        yield "the profile is not production, or the log not JSON"
    if (d.config["imprint"]["base_url"], d.config["imprint"]["environment"]) not in ADDRESSES:
        yield f"{d.config['imprint']['base_url']} is not {d.config['imprint']['environment']}"


@rule("the source crm is signed")
def crm_signed(d):
    if d.crm["auth"].get("kind") != "standard_webhooks" or not d.crm["auth"].get("secret_files"):
        yield f"{d.crm['auth']}"


@rule("the source crm maps as config/sources/crm.toml does")
def crm_mapping(d):
    if d.reference_crm is None:
        yield "config/sources/crm.toml is not there to compare with"
        return
    here, there = ({k: v for k, v in crm.items() if k != "auth"} for crm in (d.crm, d.reference_crm))
    if here != there:
        yield "they differ below [auth]: copy that part of config/sources/crm.toml to deploy/base/crm.toml"


@rule("the gateway adds the HTTPRoute to the base, and changes nothing")
def gateway_adds_one(d):
    if [m for m in d.manifests if m["kind"] != "HTTPRoute"] != d.base:
        yield "deploy/gateway without its HTTPRoute is not deploy/base"


def title(manifest):
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def only(mapping, known, where):
    yield from (f"{where} has {key}" for key in mapping if key not in known)


def seconds(duration):
    """A number of seconds, or one number with a unit, as the configuration writes durations."""
    if isinstance(duration, (int, float)):
        return duration
    number, unit = re.fullmatch(r"([\d.]+) ?(ms|s|m)", duration).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]
