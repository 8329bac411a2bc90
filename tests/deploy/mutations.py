"""Mutations of the deployment, each with the rule that must report it.

A rule without a mutation is an error, because such a rule might accept everything.
"""

import copy

import policy as p

MUTATIONS = []


def mutates(rule, change):
    def register(function):
        MUTATIONS.append((rule, change, function, rule.kinds[0]))
        return function
    return register


def each(rule, kind=None, **cases):
    """Registers several short mutations of a deployment of this kind. The name of each keyword argument describes the change."""
    for change, function in cases.items():
        MUTATIONS.append((rule, change.replace("_", " "), function, kind or rule.kinds[0]))


def context(d):
    return d.container["securityContext"]


def route(d):
    return d.one("HTTPRoute")["spec"]


def allow(d):
    return d.one("NetworkPolicy")["spec"]


def volume(d, name):
    return next(v for v in d.pod["volumes"] if v["name"] == name)


def mount(d, name):
    return next(m for m in d.container["volumeMounts"] if m["name"] == name)


each(p.schema_valid,
     a_misspelt_field=lambda d: d.pod.update(terminationGracePeriodSecond=30),
     a_number_as_string=lambda d: d.one("StatefulSet")["spec"].update(replicas="1"))
each(p.route_shape,
     an_older_version=lambda d: d.one("HTTPRoute").update(apiVersion="gateway.networking.k8s.io/v1beta1"),
     a_redirect=lambda d: route(d)["rules"][0].update(filters=[{"type": "RequestRedirect"}]),
     any_listener=lambda d: route(d)["parentRefs"][0].pop("sectionName"))
each(p.route_paths,
     everything=lambda d: route(d)["rules"][0].pop("matches"),
     the_metrics=lambda d: route(d)["rules"][0]["matches"].append({"path": {"type": "Exact", "value": "/metrics"}}))
each(p.services,
     the_ops_port_on_the_public_service=lambda d: d.one("Service")["spec"]["ports"].append(
         {"name": "ops", "port": 9090, "targetPort": "ops"}),
     a_load_balancer=lambda d: d.one("Service")["spec"].update(type="LoadBalancer"))
each(p.selectors,
     a_service_of_something_else=lambda d: d.one("Service")["spec"].update(selector={"app": "other"}),
     a_policy_for_something_else=lambda d: allow(d)["podSelector"].update(matchLabels={"app": "other"}),
     a_renamed_pod=lambda d: d.template["metadata"]["labels"].update({"app.kubernetes.io/name": "other"}))
each(p.labels,
     no_labels=lambda d: d.one("ServiceAccount")["metadata"].pop("labels"),
     a_namespace=lambda d: d.one("ServiceAccount")["metadata"].update(namespace="default"))
each(p.one_writer,
     two_replicas=lambda d: d.one("StatefulSet")["spec"].update(replicas=2),
     a_service_with_an_address=lambda d: d.one("Service", "imprint-bridge-ops")["spec"].pop("clusterIP"))
each(p.store_claim,
     ReadWriteOnce=lambda d: d.one("StatefulSet")["spec"]["volumeClaimTemplates"][0]["spec"].update(
         accessModes=["ReadWriteOnce"]),
     a_volume_that_is_deleted=lambda d: d.one("StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"].update(
         whenDeleted="Delete"))
each(p.erasure_journal,
     no_journal=lambda d: d.config["outbox"].pop("erasure_journal"),
     a_journal_beside_the_store=lambda d: d.config["outbox"].update(erasure_journal="/var/lib/imprint-bridge/erasures"),
     a_journal_of_two_pods=lambda d: d.one("PersistentVolumeClaim", "imprint-bridge-journal")["spec"].update(accessModes=["ReadWriteMany"]))
each(p.grace,
     too_short=lambda d: d.pod.update(terminationGracePeriodSeconds=20),
     a_longer_drain=lambda d: d.config.update(shutdown={"drain": "25s"}),
     a_pre_stop=lambda d: d.container.update(lifecycle={"preStop": {"sleep": {"seconds": 5}}}))
each(p.probes,
     liveness_by_readiness=lambda d: d.container["livenessProbe"]["httpGet"].update(path="/readyz"),
     the_public_port=lambda d: d.container["readinessProbe"]["httpGet"].update(port="ingress"),
     no_startup_probe=lambda d: d.container.pop("startupProbe"))
each(p.ports,
     another_listener=lambda d: d.config["ops"].update(listen="0.0.0.0:9091"),
     another_port_in_the_image=lambda d: setattr(d, "dockerfile", d.dockerfile.replace("EXPOSE 8080 9090", "EXPOSE 80")))
each(p.pod_restricted,
     root=lambda d: d.pod["securityContext"].update(runAsUser=0),
     no_seccomp=lambda d: d.pod["securityContext"].pop("seccompProfile"),
     the_network_of_the_host=lambda d: d.pod.update(hostNetwork=True))
each(p.container_restricted,
     a_writable_root=lambda d: context(d).pop("readOnlyRootFilesystem"),
     escalation=lambda d: context(d).update(allowPrivilegeEscalation=True),
     a_capability=lambda d: context(d)["capabilities"].update(add=["NET_BIND_SERVICE"]),
     an_init_container_without_limits=lambda d: d.pod.update(initContainers=[{"name": "init", "image": "x"}]))
each(p.service_account,
     a_token=lambda d: d.one("ServiceAccount").pop("automountServiceAccountToken"),
     a_token_by_the_pod=lambda d: d.pod.update(automountServiceAccountToken=True))
each(p.writable,
     writable_secrets=lambda d: mount(d, "imprint-key").pop("readOnly"),
     a_host_path=lambda d: d.pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}))
each(p.no_sub_path,
     a_sub_path=lambda d: mount(d, "imprint-key").update(subPath="key"))
each(p.secrets,
     a_key_in_the_environment=lambda d: d.container.update(
         env=[{"name": "K", "valueFrom": {"secretKeyRef": {"name": "imprint-bridge-imprint", "key": "key"}}}]),
     a_whole_secret_in_the_environment=lambda d: d.container.update(
         envFrom=[{"secretRef": {"name": "imprint-bridge-imprint"}}]),
     readable_for_all=lambda d: volume(d, "imprint-key")["secret"].pop("defaultMode"),
     a_secret_among_the_resources=lambda d: d.listed.append("secret.example.yaml"),
     a_real_value=lambda d: d.secrets[0]["stringData"].update(key="sk-something"))
each(p.paths,
     a_key_elsewhere=lambda d: d.config["imprint"].update(key_file="/run/secrets/other/key"),
     sealing_keys_elsewhere=lambda d: d.config["outbox"].update(keys_dir="/run/secrets/other"),
     no_sealing_keys=lambda d: d.config["outbox"].pop("keys_dir"),
     a_token_of_nobody=lambda d: d.config["ops"].update(token_files=["/run/secrets/imprint-bridge/operators/eve"]),
     a_store_elsewhere=lambda d: d.config["outbox"].update(url="sqlite:/tmp/outbox.db"),
     sources_elsewhere=lambda d: d.config.update(sources_dir="/etc/other"),
     hidden_schemas=lambda d: mount(d, "config").update(mountPath="/usr/share/imprint-bridge/schemas"))
each(p.service_links,
     service_links=lambda d: d.pod.pop("enableServiceLinks"))
each(p.image,
     latest=lambda d: d.container.update(image="imprint-bridge:latest"),
     no_tag=lambda d: d.container.update(image="imprint-bridge"),
     a_host=lambda d: d.container.update(image="host.example/imprint-bridge:0.1.0"))
each(p.no_sandbox,
     another_build=lambda d: setattr(d, "dockerfile", d.dockerfile.replace("deploy/build.sh /out", "cargo build --out /out")),
     the_sandbox_in_the_image=lambda d: setattr(d, "build_script", d.build_script.replace(" --no-default-features", "")))
each(p.bill_of_materials,
     the_bill_of_another_platform=lambda d: setattr(d, "build_script", d.build_script.replace('.cdx.json" "$triple"', '.cdx.json"')),
     no_bill=lambda d: setattr(d, "build_script", d.build_script.replace("python3 tests/supply/sbom.py", "true")),
     a_lost_bill=lambda d: setattr(d, "dockerfile", d.dockerfile.replace("imprint-bridge.cdx.json", "")))
each(p.dockerfile,
     root_in_the_image=lambda d: setattr(d, "dockerfile", d.dockerfile.replace("USER 65532:65532", "USER 0:0")),
     another_signal=lambda d: setattr(d, "dockerfile", d.dockerfile.replace("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGQUIT")),
     a_tag_alone=lambda d: setattr(d, "dockerfile", d.dockerfile.replace("FROM ${BUILD_IMAGE}", "FROM rust:1.95-alpine")),
     a_default_without_a_digest=lambda d: setattr(d, "dockerfile", d.dockerfile.replace(
         "ARG BUILD_IMAGE\n", "ARG BUILD_IMAGE=rust:1.95-alpine\n")),
     an_unchecked_image=lambda d: setattr(d, "dockerfile", d.dockerfile.replace("*@sha256:*) ;;", "*) ;;")))
each(p.resources,
     no_memory_limit=lambda d: d.container["resources"]["limits"].pop("memory"))
each(p.disruption,
     no_eviction=lambda d: d.one("PodDisruptionBudget")["spec"].update(maxUnavailable=0))
each(p.policies_deny,
     egress_open=lambda d: allow(d).update(policyTypes=["Ingress"]),
     no_policy=lambda d: setattr(d, "manifests", [m for m in d.manifests if m["kind"] != "NetworkPolicy"]))
each(p.policies_ingress,
     everyone=lambda d: allow(d)["ingress"][0].pop("from"),
     the_gateway_to_ops=lambda d: allow(d)["ingress"][0]["ports"].append({"protocol": "TCP", "port": "ops"}),
     every_namespace=lambda d: allow(d)["ingress"][1]["from"][0].update(namespaceSelector={}))
each(p.policies_egress,
     every_port=lambda d: allow(d)["egress"][1].pop("ports"),
     every_peer=lambda d: allow(d)["egress"][1].pop("to"),
     the_metadata_service=lambda d: allow(d)["egress"][1]["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16"),
     DNS_to_anyone=lambda d: allow(d)["egress"][0].pop("to"))
each(p.configuration,
     the_sandbox_called_production=lambda d: d.config["imprint"].update(base_url="https://dev.sbx.imprint.co"),
     another_profile=lambda d: d.config.update(profile="local"))
each(p.crm_signed,
     nobody_signs=lambda d: d.crm.update(auth={"kind": "none"}),
     no_secret=lambda d: d.crm["auth"].pop("secret_files"))
each(p.scraped,
     both_Services=lambda d: d.of_monitoring("ServiceMonitor")["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component"),
     everything=lambda d: d.of_monitoring("ServiceMonitor")["spec"].update(selector={}),
     the_event_listener=lambda d: d.of_monitoring("ServiceMonitor")["spec"]["endpoints"][0].update(port="ingress"))
each(p.alerts_wrapped,
     an_alert_less=lambda d: d.of_monitoring("PrometheusRule")["spec"]["groups"][0]["rules"].pop())
each(p.dashboard_found,
     no_label=lambda d: d.of_monitoring("ConfigMap")["metadata"]["labels"].pop("grafana_dashboard"))
each(p.erasure_journal, "postgres",
     a_journal_of_one_pod=lambda d: d.one("PersistentVolumeClaim", "imprint-bridge-journal-shared")["spec"].update(accessModes=["ReadWriteOncePod"]))
each(p.paths, "postgres",
     a_password_elsewhere=lambda d: d.config["outbox"].update(password_file="/run/secrets/other/password"),
     no_certificates=lambda d: d.config["outbox"].pop("ca_file"),
     a_url_elsewhere=lambda d: d.container["args"].__setitem__(-1, "/etc/imprint-bridge/outbox.toml"))
each(p.writable, "postgres",
     a_writable_database_secret=lambda d: mount(d, "database").pop("readOnly"))
each(p.secrets, "postgres",
     a_database_secret_for_all=lambda d: volume(d, "database")["secret"].pop("defaultMode"),
     a_real_password=lambda d: d.secrets[-1]["stringData"].update(password="hunter2"))
each(p.policies_egress, "postgres",
     any_database=lambda d: d.one("NetworkPolicy", "imprint-bridge-database")["spec"]["egress"][0].pop("to"),
     every_pod_of_the_namespace=lambda d: d.one("NetworkPolicy", "imprint-bridge-database")["spec"]["egress"][0]["to"][0].pop("podSelector"),
     another_port=lambda d: d.one("NetworkPolicy", "imprint-bridge-database")["spec"]["egress"][0]["ports"][0].update(port=6432))
each(p.several_pods,
     the_old_pod_first=lambda d: d.workload["spec"]["strategy"].update(rollingUpdate={"maxSurge": 0, "maxUnavailable": 1}),
     all_pods_at_once=lambda d: d.workload["spec"].update(strategy={"type": "Recreate"}),
     no_time_to_fail=lambda d: d.workload["spec"].pop("minReadySeconds"),
     an_unused_volume=lambda d: d.manifests.append({"kind": "PersistentVolumeClaim", "metadata": {"name": "store"}}))
each(p.spread,
     one_zone=lambda d: d.pod["topologySpreadConstraints"].pop(0),
     other_pods=lambda d: d.pod["topologySpreadConstraints"][1]["labelSelector"].update(matchLabels={"app": "other"}),
     a_blocked_rollout=lambda d: d.pod["topologySpreadConstraints"][1].update(whenUnsatisfiable="DoNotSchedule"))
each(p.autoscaler,
     a_fixed_number=lambda d: d.workload["spec"].update(replicas=2),
     one_pod=lambda d: d.one("HorizontalPodAutoscaler")["spec"].update(minReplicas=1),
     another_workload=lambda d: d.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="other"),
     the_processor=lambda d: d.one("HorizontalPodAutoscaler")["spec"].update(metrics=[{"type": "Resource"}]))
each(p.same_settings,
     a_longer_drain=lambda d: d.config["shutdown"].update(drain="60s"),
     a_url_outside_the_Secret=lambda d: d.config["outbox"].update(url="postgres://h/d"))
each(p.gateway_adds_one,
     a_patch=lambda d: d.one("Service")["spec"].update(sessionAffinity="ClientIP"))


@mutates(p.route_backend, "the ops port")
def routes_to_ops(d):
    route(d)["rules"][0]["backendRefs"][0].update(name="imprint-bridge-ops", port=9090)


@mutates(p.route_backend, "the ops port under the public number")
def renumbered(d):
    d.one("Service")["spec"]["ports"][0]["targetPort"] = "ops"


@mutates(p.crm_mapping, "one expression")
def mapped_otherwise(d):
    d.reference_crm = d.reference_crm or copy.deepcopy(d.crm)
    d.crm["events"]["customer.changed"]["update"]["email"] = ".data.customer.mail"
