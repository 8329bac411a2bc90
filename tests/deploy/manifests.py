"""Reads the input of the deployment checks: rendered manifests, and the files that must agree with these manifests."""

import copy
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10 has no tomllib
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
NAME = "imprint-bridge"
ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
RULE = ROOT / "deploy/monitoring/prometheus-rule.yaml"


@dataclass
class Deployment:
    """The input of all deployment checks. A mutation changes a copy of the `Deployment`, and never a file.

    The kind is "file" for one pod with a store in a file, and "postgres" for several pods with a store in PostgreSQL.
    """

    manifests: list
    base: list
    monitoring: list
    alerts: dict
    config: dict
    crm: dict
    reference_crm: dict | None
    defaults: dict | None
    secrets: list
    listed: list
    dockerfile: str
    build_script: str
    cargo: dict
    kind: str = "file"
    base_config: dict | None = None
    notes: list = field(default_factory=list)

    def copy(self):
        return copy.deepcopy(self)

    def of_kind(self, kind):
        return [m for m in self.manifests if m.get("kind") == kind]

    def one(self, kind, name=NAME):
        found = [m for m in self.of_kind(kind) if m["metadata"]["name"] == name]
        if len(found) != 1:
            raise LookupError(f"there are {len(found)} {kind} named {name}, not one")
        return found[0]

    def of_monitoring(self, kind):
        return next(m for m in self.monitoring if m["kind"] == kind)

    @property
    def workload(self):
        return self.one("StatefulSet" if self.kind == "file" else "Deployment")

    @property
    def template(self):
        return self.workload["spec"]["template"]

    @property
    def pod(self):
        return self.template["spec"]

    @property
    def containers(self):
        return self.pod.get("initContainers", []) + self.pod["containers"]

    @property
    def container(self):
        return next(c for c in self.pod["containers"] if c["name"] == NAME)

    @property
    def ports(self):
        return {p["name"]: p["containerPort"] for p in self.container["ports"]}

    @property
    def mounts(self):
        """Maps each mount path to its mount and its volume. A volume claim template counts as a volume."""
        volumes = {v["name"]: v for v in self.pod.get("volumes", [])}
        for claim in self.workload["spec"].get("volumeClaimTemplates", []):
            volumes[claim["metadata"]["name"]] = {"claim": claim}
        return {m["mountPath"]: (m, volumes.get(m["name"], {})) for m in self.container.get("volumeMounts", [])}


def load(renderer):
    """Returns both deployments: with a store in a file, and with a store in PostgreSQL."""
    of_file = load_base(renderer)
    folder = ROOT / "deploy/postgres"
    of_postgres = replace(
        of_file.copy(),
        kind="postgres",
        manifests=renderer(folder),
        config=toml(folder / "config.toml"),
        base_config=of_file.config,
        secrets=of_file.secrets + documents(folder / "secret.example.yaml"),
        listed=yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"],
    )
    return [of_file, of_postgres]


def load_base(renderer):
    base = ROOT / "deploy/base"
    defaults = toml(ROOT / "config/default.toml")
    deployment = Deployment(
        manifests=renderer(ROOT / "deploy/gateway"),
        base=renderer(base),
        monitoring=renderer(ROOT / "deploy/monitoring"),
        alerts=yaml.safe_load(ALERTS.read_text()),
        config=toml(base / "config.toml"),
        crm=toml(base / "crm.toml"),
        reference_crm=toml(ROOT / "config/sources/crm.toml"),
        defaults=defaults,
        secrets=documents(base / "secret.example.yaml"),
        listed=yaml.safe_load((base / "kustomization.yaml").read_text())["resources"],
        dockerfile=(ROOT / "deploy/Dockerfile").read_text(),
        build_script=(ROOT / "deploy/build.sh").read_text(),
        cargo=toml(ROOT / "Cargo.toml"),
    )
    if defaults is None:
        deployment.notes.append("config/default.toml does not exist: the checks assume a lag of 5 s and a drain of 15 s")
    return deployment


def renderers():
    """Returns the manifest renderers of this machine, the best first: a name, and a function that renders a folder."""
    found = []
    if shutil.which("kustomize"):
        found.append(("kustomize", lambda folder: run("kustomize", "build", str(folder))))
    if shutil.which("kubectl"):
        found.append(("kubectl kustomize", lambda folder: run("kubectl", "kustomize", str(folder))))
    found.append(("the built-in loader", gather))
    return found


def run(*command):
    return [d for d in yaml.safe_load_all(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) if d]


def gather(folder):
    """Implements the part of kustomize that our kustomizations use: resources, folders of resources, patches that delete an
    object, ConfigMaps from files.

    An unknown field is an error: without it, the checks would see other manifests than the cluster.
    """
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    known = {"apiVersion", "kind", "resources", "configMapGenerator", "generatorOptions", "patches"}
    if unknown := set(kustomization) - known:
        raise ValueError(f"{folder}: the built-in loader does not support {sorted(unknown)}; install kustomize")
    manifests = []
    for resource in kustomization["resources"]:
        path = (folder / resource).resolve()
        manifests += gather(path) if path.is_dir() else documents(path)
    for patch in kustomization.get("patches", []):
        deleted = yaml.safe_load(patch["patch"])
        if set(patch) != {"patch"} or deleted.get("$patch") != "delete":
            raise ValueError(f"{folder}: the built-in loader supports only patches that delete; install kustomize")
        manifests = [m for m in manifests if not is_same(m, deleted)]
    for generated in kustomization.get("configMapGenerator", []):
        if generated.get("behavior") == "replace":
            manifests = [m for m in manifests if not is_same(m, {"kind": "ConfigMap", "metadata": generated})]
        manifests.append({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": generated["name"], "labels": kustomization["generatorOptions"]["labels"]},
            "data": {Path(name).name: (folder / name).read_text() for name in generated["files"]},
        })
    return manifests


def is_same(manifest, other):
    return (manifest["kind"], manifest["metadata"]["name"]) == (other["kind"], other["metadata"]["name"])


def prometheus_rule():
    """Returns the object of the Prometheus Operator with the alerts of alerts.yaml, as text."""
    lines = ALERTS.read_text().splitlines()
    groups = lines[lines.index("groups:"):]
    head = f"""# The alerts of alerts.yaml for the Prometheus Operator. Write this file with: tests/deploy/check.py --write
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {NAME}
  labels:
    app.kubernetes.io/name: {NAME}
    app.kubernetes.io/part-of: {NAME}
spec:
"""
    return head + "".join(f"  {line}\n" if line else "\n" for line in groups)


def documents(path):
    return [d for d in yaml.safe_load_all(path.read_text()) if d]


def toml(path):
    return tomllib.loads(path.read_text()) if path.exists() else None
