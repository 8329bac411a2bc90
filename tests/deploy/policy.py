"""The rules for the deployment: one function for each rule. A rule that yields no error holds.

The rules come from the restricted Pod Security Standard and from this service: one writer, keys only as files, the ops
port never public, an orderly shutdown.
"""

import re
from ipaddress import ip_network
from pathlib import PurePosixPath

import kubernetes_validate

from manifests import NAME

# The oldest Kubernetes release that has all fields of our manifests, and the newest release whose schema the package
# has.
KUBERNETES = ("1.31", "1.37")
OPS_PATHS = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
PUBLIC_PATHS = {("PathPrefix", "/v1/sources"), ("Exact", "/v1/openapi.json")}
# The grace period must cover, besides lag and drain, the time that the kubelet needs to send SIGTERM and notice the
# exit.
MARGIN_SECONDS = 5
USER = 65532
PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"]
PRIVATE_6 = ["fc00::/7", "fe80::/10", "::1/128"]
ADDRESSES = {("https://dev.imprint.co", "production"), ("https://dev.sbx.imprint.co", "sandbox")}

KINDS = ("file", "postgres")
DATABASE = {"kubernetes.io/metadata.name": "database"}

RULES = []


def rule(title, *kinds):
    """Registers a rule for the deployments of these kinds, or of every kind."""
    def register(function):
        function.kinds = kinds or KINDS
        RULES.append((title, function))
        return function
    return register


@rule("every manifest is valid Kubernetes")
def schema_valid(d):
    for manifest in d.manifests + d.secrets + d.monitoring:
        if manifest["kind"] in ("HTTPRoute", "ServiceMonitor", "PrometheusRule"):
            continue  # custom resources, which other rules check
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                yield f"{title(manifest)}, Kubernetes {version}: {error.message}"


@rule("the HTTPRoute is valid for gateway.networking.k8s.io/v1")
def route_shape(d):
    route = d.one("HTTPRoute")
    if route["apiVersion"] != "gateway.networking.k8s.io/v1":
        yield f"apiVersion {route['apiVersion']}"
    spec = route["spec"]
    yield from only(spec, {"parentRefs", "hostnames", "rules"}, "spec")
    if not spec.get("parentRefs") or not spec.get("hostnames"):
        yield "a route without parentRefs or hostnames accepts everything, or nothing"
    for parent in spec.get("parentRefs", []):
        yield from only(parent, {"group", "kind", "name", "namespace", "sectionName", "port"}, "parentRefs")
        if not parent.get("name") or not parent.get("sectionName"):
            yield "a parentRef without name and sectionName may select a listener without TLS"
    for each in spec.get("rules", []):
        # A route must have no filters, because a redirect or a rewrite would break the signature of the request.
        yield from only(each, {"name", "matches", "backendRefs", "timeouts"}, "rules")
        yield from (f"timeout {t}" for t in each.get("timeouts", {}).values() if not re.fullmatch(r"\d{1,5}s", t))
        for match in each.get("matches", []):
            yield from only(match, {"path"}, "matches")


@rule("the HTTPRoute opens the public paths and no others")
def route_paths(d):
    rules = d.one("HTTPRoute")["spec"].get("rules", [])
    # A route without any match applies to every path.
    paths = {
        (m.get("path", {}).get("type", "PathPrefix"), m.get("path", {}).get("value", "/"))
        for r in rules for m in r.get("matches") or [{}]
    }
    if paths != PUBLIC_PATHS:
        yield f"{sorted(paths)}"


@rule("the HTTPRoute leads to the ingress port")
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


@rule("the ops Service has the ops port only, and no other Service has it")
def services(d):
    for service in d.of_kind("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        wanted = "ops" if name == f"{NAME}-ops" else "ingress"
        targets = [p["targetPort"] for p in spec["ports"]]
        if targets != [wanted]:
            yield f"{name} leads to {targets}, not to {wanted} only"
        if spec.get("type", "ClusterIP") != "ClusterIP":
            yield f"{name} has type {spec['type']}: it can be reached without the gateway"


@rule("every selector matches the pod")
def selectors(d):
    labels = d.template["metadata"]["labels"]
    chosen = [(s, s["spec"].get("selector")) for s in d.of_kind("Service")]
    chosen += [(p, p["spec"]["selector"].get("matchLabels")) for p in d.of_kind("PodDisruptionBudget")]
    chosen += [(p, p["spec"]["podSelector"].get("matchLabels")) for p in d.of_kind("NetworkPolicy")]
    chosen.append((d.workload, d.workload["spec"]["selector"].get("matchLabels")))
    for manifest, selector in chosen:
        if not selector or not selector.items() <= labels.items():
            yield f"{title(manifest)} selects {selector}, but the pod has {labels}"


@rule("every manifest has the common labels and no namespace")
def labels(d):
    for manifest in d.manifests:
        carried = manifest["metadata"].get("labels", {})
        missing = {"app.kubernetes.io/name", "app.kubernetes.io/part-of"} - set(carried)
        if missing or carried["app.kubernetes.io/name"] != NAME:
            yield f"{title(manifest)}: {carried}"
        if "namespace" in manifest["metadata"]:
            yield f"{title(manifest)} has a namespace"


@rule("there is one pod, and it ends before the next one starts", "file")
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


@rule("the volume of the store is ReadWriteOncePod and is retained", "file")
def store_claim(d):
    spec = d.one("StatefulSet")["spec"]
    for claim in spec["volumeClaimTemplates"]:
        if claim["spec"]["accessModes"] != ["ReadWriteOncePod"]:
            yield f"{claim['metadata']['name']}: {claim['spec']['accessModes']}"
    if set(spec.get("persistentVolumeClaimRetentionPolicy", {}).values()) - {"Retain"}:
        yield "the volume is deleted with the StatefulSet"


@rule("the erasure journal is on a volume of its own, which no restore of the store replaces")
def erasure_journal(d):
    journal = PurePosixPath(d.config["outbox"].get("erasure_journal", ""))
    _, volume = d.mounts.get(str(journal.parent), ({}, {}))
    name = volume.get("persistentVolumeClaim", {}).get("claimName")
    if name is None:
        yield f"no volume of its own is mounted for the erasure journal {journal}"
        return
    claim = d.one("PersistentVolumeClaim", name)
    # All pods with one database write to one journal.
    wanted = "ReadWriteOncePod" if d.kind == "file" else "ReadWriteMany"
    if claim["spec"]["accessModes"] != [wanted]:
        yield f"{name}: {claim['spec']['accessModes']}"


@rule("the grace period covers lag, drain and a margin")
def grace(d):
    shutdown = {**{"lag": "5s", "drain": "15s"}, **(d.defaults or {}).get("shutdown", {}), **d.config.get("shutdown", {})}
    needed = sum(seconds(shutdown[key]) for key in ("lag", "drain")) + MARGIN_SECONDS
    given = d.pod.get("terminationGracePeriodSeconds", 30)
    if given <= needed:
        yield f"{given} s, but it must be more than {needed:g} s"
    for container in d.containers:
        if "preStop" in container.get("lifecycle", {}):
            yield f"{container['name']} has a preStop hook: it uses up the grace period, and the image has no shell"


@rule("the probes use paths of the ops port")
def probes(d):
    for probe, path in OPS_PATHS.items():
        get = d.container.get(probe, {}).get("httpGet", {})
        if (get.get("path"), get.get("port")) != (path, "ops"):
            yield f"{probe} uses {get}"


@rule("the ports agree with the configuration and the image")
def ports(d):
    for name in ("ingress", "ops"):
        listen = int(d.config[name]["listen"].rsplit(":", 1)[1])
        if d.ports.get(name) != listen:
            yield f"{name} listens on {listen}, but the container has {d.ports.get(name)}"
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
            yield f"{name} is privileged or runs as another user"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name}: capabilities {context.get('capabilities')}"


@rule("the service account has no token and no rights")
def service_account(d):
    account = d.one("ServiceAccount", d.pod.get("serviceAccountName", "default"))
    for owner, manifest in (("account", account), ("pod", d.pod)):
        if manifest.get("automountServiceAccountToken") is not False:
            yield f"the {owner} mounts a token"
    yield from (title(m) for m in d.manifests if m["apiVersion"].startswith("rbac."))


@rule("only the store and the erasure journal are writable")
def writable(d):
    writable = [path for path, (mount, _) in d.mounts.items() if not mount.get("readOnly")]
    store = ["/var/lib/imprint-bridge"] if d.kind == "file" else []
    if writable != [*store, "/var/lib/imprint-bridge-journal"]:
        yield f"writable: {writable}"
    for volume in d.pod.get("volumes", []):
        if kinds := set(volume) - {"name", "configMap", "secret", "persistentVolumeClaim"}:
            yield f"{volume['name']} is of kind {sorted(kinds)}"


@rule("no volume is mounted with subPath")
def no_sub_path(d):
    for container in d.containers:
        for mount in container.get("volumeMounts", []):
            if "subPath" in mount or "subPathExpr" in mount:
                yield f"{mount['mountPath']}: the kubelet never updates a subPath"


@rule("secrets are files that only the program can read")
def secrets(d):
    for container in d.containers:
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}) or re.search("KEY|SECRET|TOKEN|PASS", variable["name"]):
                yield f"{container['name']} has {variable['name']} in its environment"
        yield from (f"{container['name']} has {e} in its environment" for e in container.get("envFrom", []) if "secretRef" in e)
    for volume in d.pod.get("volumes", []):
        if "secret" in volume and volume["secret"].get("defaultMode", 0o644) & 0o007:
            yield f"{volume['name']} can be read by all users"
    if d.of_kind("Secret") or "secret.example.yaml" in d.listed:
        yield "the manifests contain a Secret"
    for secret in d.secrets:
        values = {**secret.get("stringData", {}), **secret.get("data", {})}
        yield from (f"{title(secret)}: {k} is not a placeholder" for k, v in values.items() if v != "REPLACE-ME")


@rule("every path of the configuration is mounted")
def paths(d):
    examples = {s["metadata"]["name"]: s["stringData"] for s in d.secrets}
    tokens = d.config["ops"].get("token_files", [])
    args = d.container["args"]
    configs = [PurePosixPath(args[place + 1]) for place, option in enumerate(args) if option == "--config"]
    outbox = [d.config["outbox"].get("password_file", ""), d.config["outbox"].get("ca_file", "")]
    database = [*outbox, *configs[1:]] if d.kind == "postgres" else []
    for path in [d.config["imprint"]["key_file"], *d.crm["auth"].get("secret_files", []), *tokens, *database]:
        path = PurePosixPath(path)
        _, volume = d.mounts.get(str(path.parent), ({}, {}))
        secret = volume.get("secret", {}).get("secretName")
        if path.name not in examples.get(secret, {}):
            yield f"no Secret mounted there contains {path}"
    keys = d.config["outbox"].get("keys_dir", "")
    secret = d.mounts.get(keys, ({}, {}))[1].get("secret", {}).get("secretName")
    if not examples.get(secret):
        yield f"no Secret with sealing keys is mounted at {keys}"
    if d.kind == "file":
        store = PurePosixPath(d.config["outbox"]["url"].removeprefix("sqlite:"))
        if "claim" not in d.mounts.get(str(store.parent), ({}, {}))[1]:
            yield f"{store} is not on the volume of the store"
    config = configs[0]
    for folder, file in ((str(config.parent), config.name), (d.config["sources_dir"], "crm.toml")):
        name = d.mounts.get(folder, ({}, {}))[1].get("configMap", {}).get("name")
        if not any(m["metadata"]["name"] == name and file in m["data"] for m in d.of_kind("ConfigMap")):
            yield f"no ConfigMap mounted there contains {folder}/{file}"
    if f"/out/root{d.config['schemas_dir']}" not in d.dockerfile or d.config["schemas_dir"] in d.mounts:
        yield f"the image does not contain {d.config['schemas_dir']}, or a volume hides it"


@rule("service links are disabled")
def service_links(d):
    if d.pod.get("enableServiceLinks") is not False:
        yield f"a Service named {NAME} would set IMPRINT_BRIDGE_* variables"


@rule("the image is pinned to this version and names no registry")
def image(d):
    for container in d.containers:
        if container["image"] != f"{NAME}:{d.cargo['package']['version']}":
            yield f"{container['image']}, but the crate has version {d.cargo['package']['version']}"


@rule("the image is built from scratch, with the right user and stop signal", "file")
def dockerfile(d):
    last = d.dockerfile[d.dockerfile.rindex("\nFROM "):]
    for line in ("FROM scratch", f"USER {USER}:{USER}", "STOPSIGNAL SIGTERM"):
        if f"\n{line}\n" not in last:
            yield f"the last stage has no line {line}"
    for name in re.findall(r"^(?:ARG \w+=|FROM )(\S+)", d.dockerfile, re.M):
        if name not in ("scratch", "${BUILD_IMAGE}") and "@sha256:" not in name:
            yield f"{name} is no image with a digest"
    if not re.search(r"^ARG BUILD_IMAGE$", d.dockerfile, re.M) or "*@sha256:*) ;;" not in d.dockerfile:
        yield "the build accepts an image without a digest"


@rule("the image contains no commands that simulate Imprint", "file")
def no_sandbox(d):
    if "deploy/build.sh" not in d.dockerfile or "cargo build" in d.dockerfile:
        yield "the image is not built by deploy/build.sh"
    if not re.search(r"^cargo build .*--no-default-features", d.build_script, re.M):
        yield "deploy/build.sh builds the default features"


@rule("each build writes its bill of materials", "file")
def bill_of_materials(d):
    if not re.search(r'^python3 tests/supply/sbom\.py .* "\$triple"$', d.build_script, re.M):
        yield "deploy/build.sh writes no bill of materials of the platform that it builds for"
    if "imprint-bridge.cdx.json" not in d.dockerfile:
        yield "no stage of the Dockerfile has the bill of materials"


@rule("resource requests and limits are set")
def resources(d):
    for container in d.containers:
        for kind in ("requests", "limits"):
            if missing := {"cpu", "memory"} - set(container.get("resources", {}).get(kind, {})):
                yield f"{container['name']}: no {sorted(missing)} in {kind}"


@rule("a node can be drained")
def disruption(d):
    spec = d.one("PodDisruptionBudget")["spec"]
    if spec.get("maxUnavailable") != 1 or "minAvailable" in spec:
        yield "with one replica, only maxUnavailable: 1 allows a node to be drained"


@rule("network policies deny everything by default")
def policies_deny(d):
    if not d.of_kind("NetworkPolicy"):
        yield "no NetworkPolicy"
    for policy in d.of_kind("NetworkPolicy"):
        if sorted(policy["spec"].get("policyTypes", [])) != ["Egress", "Ingress"]:
            yield f"{title(policy)} leaves one direction open"


@rule("only the gateway reaches ingress, and only monitoring reaches ops")
def policies_ingress(d):
    found = []
    for policy in d.of_kind("NetworkPolicy"):
        for entry in policy["spec"].get("ingress", []):
            peers = [p.get("namespaceSelector", {}).get("matchLabels", {}) for p in entry.get("from", [{}])]
            opened = [d.ports.get(p.get("port"), p.get("port")) for p in entry.get("ports", [{}])]
            found.append(([p.get("kubernetes.io/metadata.name") for p in peers], opened))
    if sorted(found, key=str) != [(["gateway"], [8080]), (["monitoring"], [9090])]:
        yield f"{found}"


@rule("egress is limited to DNS, the database, and port 443 of public addresses")
def policies_egress(d):
    for policy in d.of_kind("NetworkPolicy"):
        for entry in policy["spec"].get("egress", []):
            opened = sorted({p.get("port") for p in entry.get("ports", [{}])}, key=str)
            if opened == [53]:
                if not all("namespaceSelector" in p and "podSelector" in p for p in entry.get("to", [{}])):
                    yield "DNS is open to more than the resolver of the cluster"
                continue
            if d.kind == "postgres" and opened == [5432]:
                if not all(p.get("namespaceSelector", {}).get("matchLabels") == DATABASE and p.get("podSelector") for p in entry.get("to", [{}])):
                    yield "port 5432 is open to more than the database"
                continue
            if opened != [443]:
                yield f"ports {opened} are open"
            for peer in entry.get("to", [{}]):
                yield from private_ranges(peer.get("ipBlock"))


def private_ranges(block):
    if block is None:
        yield "port 443 is open to a peer that is not an address range"
        return
    cidr = ip_network(block["cidr"])
    excluded = [ip_network(e) for e in block.get("except", [])]
    for private in map(ip_network, PRIVATE if cidr.version == 4 else PRIVATE_6):
        if cidr.overlaps(private) and not any(private.subnet_of(e) for e in excluded):
            yield f"{cidr} includes {private}"


@rule("the configuration is for production, and base_url and environment agree")
def configuration(d):
    if d.config.get("profile") != "production" or d.config.get("log", {}).get("format") != "json":
        yield "the profile is not production, or the log format is not json"
    if (d.config["imprint"]["base_url"], d.config["imprint"]["environment"]) not in ADDRESSES:
        yield f"{d.config['imprint']['base_url']} is not {d.config['imprint']['environment']}"


@rule("the source crm requires signed events", "file")
def crm_signed(d):
    if d.crm["auth"].get("kind") != "standard_webhooks" or not d.crm["auth"].get("secret_files"):
        yield f"{d.crm['auth']}"


@rule("the source crm has the mapping of config/sources/crm.toml", "file")
def crm_mapping(d):
    if d.reference_crm is None:
        yield "config/sources/crm.toml does not exist"
        return
    here, there = ({k: v for k, v in crm.items() if k not in ("auth", "quota")} for crm in (d.crm, d.reference_crm))
    if here != there:
        yield "they differ below [auth] and [quota]: copy that part of config/sources/crm.toml to deploy/base/crm.toml"


@rule("deploy/gateway adds the HTTPRoute to deploy/base and changes nothing else", "file")
def gateway_adds_one(d):
    if [m for m in d.manifests if m["kind"] != "HTTPRoute"] != d.base:
        yield "deploy/gateway without its HTTPRoute is not deploy/base"


@rule("the ServiceMonitor scrapes the port of the ops Service")
def scraped(d):
    spec = d.of_monitoring("ServiceMonitor")["spec"]
    service = d.one("Service", f"{NAME}-ops")
    labels = service["metadata"]["labels"]
    if spec["selector"].get("matchLabels", {}).items() - labels.items() or not spec["selector"].get("matchLabels"):
        yield f"its selector does not select {title(service)}"
    if "app.kubernetes.io/component" not in spec["selector"].get("matchLabels", {}):
        yield "its selector also selects the Service of the event listener"
    ports = {port["name"] for port in service["spec"]["ports"]}
    if [e["port"] for e in spec["endpoints"] if e["path"] == "/metrics" and e["port"] in ports] != ["ops"]:
        yield f"its endpoints are {spec['endpoints']}"


@rule("the PrometheusRule has the alerts of alerts.yaml", "file")
def alerts_wrapped(d):
    if d.of_monitoring("PrometheusRule")["spec"] != d.alerts:
        yield "it differs from alerts.yaml: run tests/deploy/check.py --write"


@rule("the dashboard is in a ConfigMap that the sidecar of Grafana finds", "file")
def dashboard_found(d):
    config = d.of_monitoring("ConfigMap")
    if config["metadata"]["labels"].get("grafana_dashboard") != "1" or set(config["data"]) != {"dashboard.json"}:
        yield f"{title(config)} has the labels {config['metadata']['labels']}"


@rule("a rollout starts a new pod before it ends an old one", "postgres")
def several_pods(d):
    spec = d.workload["spec"]
    strategy = spec.get("strategy", {})
    if strategy.get("type") != "RollingUpdate" or strategy.get("rollingUpdate") != {"maxSurge": 1, "maxUnavailable": 0}:
        yield f"the strategy is {strategy}"
    if not spec.get("minReadySeconds"):
        yield "a pod that fails soon after its start does not stop the rollout"
    if d.of_kind("StatefulSet"):
        yield "a StatefulSet is left"
    claims = {v["persistentVolumeClaim"]["claimName"] for v in d.pod["volumes"] if "persistentVolumeClaim" in v}
    yield from (f"no pod uses {title(c)}" for c in d.of_kind("PersistentVolumeClaim") if c["metadata"]["name"] not in claims)


@rule("the pods spread over zones and nodes", "postgres")
def spread(d):
    spread = d.pod.get("topologySpreadConstraints", [])
    keys = {s["topologyKey"] for s in spread if s["labelSelector"].get("matchLabels", {}).items() <= d.template["metadata"]["labels"].items()}
    if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
        yield f"the pods spread over {sorted(keys)}"
    # DoNotSchedule would block a rollout in a cluster with few nodes.
    yield from (f"{s['topologyKey']} can block a rollout" for s in spread if s["whenUnsatisfiable"] != "ScheduleAnyway")


@rule("the autoscaler alone sets the number of pods, by the age of the backlog", "postgres")
def autoscaler(d):
    spec = d.one("HorizontalPodAutoscaler")["spec"]
    if (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) != ("Deployment", d.workload["metadata"]["name"]):
        yield f"it scales {spec['scaleTargetRef']}"
    if "replicas" in d.workload["spec"]:
        yield "each apply would set the number of pods back"
    if not 2 <= spec.get("minReplicas", 1) < spec["maxReplicas"]:
        yield f"{spec.get('minReplicas')} to {spec['maxReplicas']} pods"
    names = [m.get("external", {}).get("metric", {}).get("name") for m in spec.get("metrics", [])]
    if names != [f"{NAME.replace('-', '_')}_oldest_waiting_seconds"]:
        yield f"it looks at {names}"


@rule("the settings are those of deploy/base, except the store", "postgres")
def same_settings(d):
    here, there = ({k: v for k, v in config.items() if k != "outbox"} for config in (d.config, d.base_config))
    if here != there:
        yield "they differ outside [outbox]"
    if "url" in d.config["outbox"]:
        yield "the URL of the database belongs into the Secret"


def title(manifest):
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def only(mapping, known, where):
    yield from (f"{where} has {key}" for key in mapping if key not in known)


def seconds(duration):
    """Returns the seconds of a duration in the configuration: a number, or a number with a unit."""
    if isinstance(duration, (int, float)):
        return duration
    number, unit = re.fullmatch(r"([\d.]+) ?(ms|s|m)", duration).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]
