"""The objects that the chart makes: valid for Kubernetes, restricted, and what the values say."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.helm import CHART, ROOT, Helm, Refused, Rendered

FORMS = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.29", "1.34", "1.37")
"""The oldest version that the chart takes, the one that `make cluster` runs, the newest."""
LABELS = {"name", "instance", "version", "managed-by", "part-of"}
OPERATOR = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator, which Kubernetes has no schema of."""
NARROW = {
    "settings": {
        "dicom": {"drain_grace": "PT5M", "tls": {"port": 12762}},
        "http": {"port": 18080, "probes": "0.0.0.0:18081"},
        "kafka": {"bootstrap_servers": ["k:9092"]},
    },
    "dicomTls": {"existingSecret": "tls"},
}


def form(name: str) -> Path:
    """The values of one form."""
    return CHART / "ci" / f"{name}-values.yaml"


@pytest.mark.parametrize("values", FORMS, ids=lambda path: path.name)
def test_lint(helm: Helm, values: Path) -> None:
    """`helm lint --strict` has nothing against any form."""
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART), "--values", str(values))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", FORMS, ids=lambda path: path.name)
def test_kubernetes_takes_every_object(helm: Helm, values: Path, version: str) -> None:
    """Each object of each form is valid for this version, with no name that Kubernetes does not know."""
    rendered = helm.template(files=[values])
    judged = [each for each in rendered.objects if each["kind"] not in OPERATOR]
    assert len(judged) >= 6
    for each in judged:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_judge_refuses() -> None:
    """An object with an unknown name is refused: the judge of the test above looks."""
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("values", FORMS, ids=lambda path: path.name)
def test_rendered_twice_is_the_same(helm: Helm, values: Path) -> None:
    """Nothing depends on chance or on the time: an upgrade without a change changes nothing."""
    assert helm.template(files=[values]) == helm.template(files=[values])


@pytest.mark.parametrize("values", FORMS, ids=lambda path: path.name)
def test_recommended_labels_and_namespace(helm: Helm, values: Path) -> None:
    """Every object of the chart has the recommended labels and the release's namespace; those of `extraObjects` are as given."""
    for each in helm.template(files=[values]).objects:
        if each["metadata"]["name"] in {"cathlab-site", "demo-text"}:
            continue
        labels = each["metadata"]["labels"]
        assert {f"app.kubernetes.io/{label}" for label in LABELS} | {"helm.sh/chart"} <= labels.keys()
        assert each["metadata"]["namespace"] == "cathlab"


@pytest.mark.parametrize("values", FORMS, ids=lambda path: path.name)
def test_restricted(helm: Helm, values: Path) -> None:
    """Both pods keep to restricted Pod Security, with a read-only root and without a token of the API."""
    rendered = helm.template(files=[values])
    for spec in (rendered.pod["spec"], rendered.one("Pod")["spec"]):
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        kinds = {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds <= {"configMap", "secret", "persistentVolumeClaim", "emptyDir"}
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("values", FORMS, ids=lambda path: path.name)
def test_probes_are_http_and_never_on_the_dicom_port(helm: Helm, values: Path) -> None:
    """All three probes ask over HTTP on the port of the probes."""
    container = helm.template(files=[values]).container
    for probe, path in (("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        assert container[probe]["httpGet"] == {"path": path, "port": "probes"}
        assert not {"tcpSocket", "exec", "grpc"} & container[probe].keys()


def test_one_pod_and_one_claim_that_stays(helm: Helm) -> None:
    """SQLite: one replica, on a claim that is this pod's alone and outlives the release."""
    rendered = helm.template()
    assert rendered.one("StatefulSet")["spec"]["replicas"] == 1
    claim = rendered.one("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "20Gi"}}}
    assert volumes(rendered)["data"] == {"persistentVolumeClaim": {"claimName": "demo-plscp-data"}}


def test_a_claim_that_is_there_already(helm: Helm) -> None:
    """`existingClaim` is used and none is made; without persistence there is none at all."""
    rendered = helm.template({"persistence": {"existingClaim": "mine"}})
    assert "PersistentVolumeClaim" not in rendered.kinds()
    assert volumes(rendered)["data"] == {"persistentVolumeClaim": {"claimName": "mine"}}
    rendered = helm.template({"persistence": {"enabled": False}})
    assert "PersistentVolumeClaim" not in rendered.kinds()
    assert volumes(rendered)["data"] == {"emptyDir": {}}


@pytest.mark.parametrize(
    ("storage_class", "rendered"), [("", {}), ("-", {"storageClassName": ""}), ("fast", {"storageClassName": "fast"})]
)
def test_storage_class(helm: Helm, storage_class: str, rendered: dict[str, str]) -> None:
    """The cluster's default, none, or the named one."""
    claim = helm.template({"persistence": {"storageClassName": storage_class}}).one("PersistentVolumeClaim")
    assert {k: v for k, v in claim["spec"].items() if k == "storageClassName"} == rendered


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "plscp:{version}"),
        ({"image": {"tag": "1.2"}}, "plscp:1.2"),
        ({"image": {"registry": "r.example", "repository": "dicom/plscp"}}, "r.example/dicom/plscp:{version}"),
        ({"global": {"imageRegistry": "g.example/"}, "image": {"registry": "r.example"}}, "g.example/plscp:{version}"),
        ({"image": {"tag": "1", "digest": "sha256:" + "a" * 64}}, "plscp@sha256:" + "a" * 64),
    ],
)
def test_image(helm: Helm, values: dict[str, Any], image: str) -> None:
    """Registry of all charts before that of this one; digest before tag; the test's pod has the same."""
    rendered = helm.template(values)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert rendered.container["image"] == image.format(version=version)
    assert rendered.one("Pod")["spec"]["containers"][0]["image"] == rendered.container["image"]


def test_versions_agree() -> None:
    """The chart installs the version of plscp that it stands beside."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"] == version


def test_pull_secrets_of_all_charts_and_of_this_one(helm: Helm) -> None:
    """Both lists, each name once."""
    rendered = helm.template({"global": {"imagePullSecrets": ["a", "b"]}, "image": {"pullSecrets": ["b", "c"]}})
    assert [each["name"] for each in rendered.pod["spec"]["imagePullSecrets"]] == ["a", "b", "c"]


def test_ports_follow_the_settings(helm: Helm) -> None:
    """A port that is changed in the settings is changed in the container, for the Services, and for the probes."""
    values = NARROW | {"service": {"http": {"enabled": True}}, "httpTokens": {"existingSecret": "tokens"}}
    rendered = helm.template(values)
    ports = {each["name"]: each["containerPort"] for each in rendered.container["ports"]}
    assert ports == {"dicom": 11112, "dicom-tls": 12762, "http": 18080, "probes": 18081}
    named = {
        port["targetPort"] for each in rendered.objects if each["kind"] == "Service" for port in each["spec"]["ports"]
    }
    assert named == set(ports)


def test_only_what_is_asked_for_is_reachable(helm: Helm) -> None:
    """With the smallest values: the DICOM port within the cluster, the port of the probes; no HTTP API, no port of a node."""
    rendered = helm.template()
    services = {each["metadata"]["name"]: each["spec"] for each in rendered.objects if each["kind"] == "Service"}
    assert services.keys() == {"demo-plscp", "demo-plscp-headless", "demo-plscp-metrics"}
    assert {each["type"] for each in services.values()} == {"ClusterIP"}
    assert {port["name"] for each in services.values() for port in each["ports"]} == {"dicom", "metrics"}
    assert not any("hostPort" in port for port in rendered.container["ports"])
    assert rendered.kinds() == {
        "ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "Service", "StatefulSet", "Pod",
    }  # fmt: skip


def test_from_outside_the_device_keeps_its_address(helm: Helm) -> None:
    """NodePort and LoadBalancer route to the pod's own node; source ranges and ports are as given; TLS only where asked for."""
    rendered = helm.template(files=[form("everything")])
    service = rendered.one("Service", "cathlab")["spec"]
    assert service["externalTrafficPolicy"] == "Local"
    assert service["loadBalancerSourceRanges"] == ["10.1.2.0/24", "10.1.3.0/24"]
    assert {port["name"]: port["port"] for port in service["ports"]} == {"dicom": 104, "dicom-tls": 2762}
    service = helm.template(files=[form("tls")]).one("Service", "demo-plscp")["spec"]
    assert service["externalTrafficPolicy"] == "Local"
    assert service["ports"] == [
        {"name": "dicom-tls", "port": 2762, "targetPort": "dicom-tls", "protocol": "TCP", "nodePort": 32762}
    ]


def test_the_hl7_feed_is_reached_where_there_is_one(helm: Helm) -> None:
    """A Service, ports of the container, a listener on the pod's address, its certificate; over TLS alone where it is asked for."""
    rendered = helm.template({"settings": {"feeds": {"hl7": {"senders": ["10.1.5.7"], "port": 12575}}}})
    service = rendered.one("Service", "demo-plscp-hl7")["spec"]
    assert service["ports"] == [{"name": "hl7", "port": 2575, "targetPort": "hl7", "protocol": "TCP"}]
    assert {"name": "hl7", "containerPort": 12575, "protocol": "TCP"} in rendered.container["ports"]
    feed = tomllib.loads(rendered.settings)["feeds"]["hl7"]
    assert feed == {"host": "0.0.0.0", "port": 12575, "senders": ["10.1.5.7"]}

    rendered = helm.template(files=[form("everything")])
    service = rendered.one("Service", "cathlab-hl7")["spec"]
    assert service["externalTrafficPolicy"] == "Local"
    assert service["ports"] == [
        {"name": "hl7-tls", "port": 2576, "targetPort": "hl7-tls", "protocol": "TCP", "nodePort": 32576}
    ]
    secured = tomllib.loads(rendered.settings)["feeds"]["hl7"]["tls"]
    assert secured == {
        "port": 2576,
        "certificate": "/etc/plscp/secrets/hl7-tls/tls.crt",
        "private_key": "/etc/plscp/secrets/hl7-tls/tls.key",
        "client_ca": "/etc/plscp/secrets/hl7-client-ca/ca.crt",
    }
    assert {"hl7-tls", "hl7-client-ca"} <= volumes(rendered).keys()
    ingress = rendered.one("NetworkPolicy")["spec"]["ingress"]
    [rule] = [rule for rule in ingress if {"port": "hl7-tls", "protocol": "TCP"} in rule.get("ports", [])]
    assert (rule["from"], len(rule["ports"])) == ([{"ipBlock": {"cidr": "10.1.5.7/32"}}], 1)
    assert not any(each["metadata"]["name"].endswith("-hl7") for each in helm.template().objects)


def test_selectors_find_the_server_and_not_its_test(helm: Helm) -> None:
    """Services, StatefulSet, budget and policy select the server's pod, and no pod of `helm test`."""
    rendered = helm.template(files=[form("everything")])
    server, test = rendered.pod["metadata"]["labels"], rendered.one("Pod")["metadata"]["labels"]
    selectors = [each["spec"]["selector"] for each in rendered.objects if each["kind"] == "Service"]
    selectors += [
        rendered.one(kind)["spec"]["selector"]["matchLabels"] for kind in ("StatefulSet", "PodDisruptionBudget")
    ]
    selectors += [rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    assert len(selectors) == 8
    for selector in selectors:
        assert selector.items() <= server.items()
        assert not selector.items() <= test.items()


def test_a_new_chart_alone_restarts_nothing(helm: Helm) -> None:
    """The pod does not carry the chart's version."""
    assert "helm.sh/chart" not in helm.template().pod["metadata"]["labels"]


def test_secrets_are_mounted_where_the_settings_look(helm: Helm) -> None:
    """Every file below the folder of secrets that the settings name is a key of a Secret that is mounted, unreadable for others."""
    rendered = helm.template(files=[form("everything")])
    mounts = {mount["name"]: mount for mount in rendered.container["volumeMounts"]}
    files = set()
    for name, volume in volumes(rendered).items():
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440
            assert mounts[name]["readOnly"] is True
            keys = [item["path"] for item in volume["secret"].get("items", [{"path": "PUMP1"}])]
            files |= {f"{mounts[name]['mountPath']}/{key}" for key in keys}
    assert set(re.findall(r'"(/etc/plscp/[^"]+)"', rendered.settings)) == files
    assert len(files) == 16


def test_what_is_mounted_follows_a_change(helm: Helm) -> None:
    """No mount has a subPath, which would never be brought up to date."""
    for values in FORMS:
        assert not any("subPath" in mount for mount in helm.template(files=[values]).container["volumeMounts"])


def test_network_policy_denies_what_it_does_not_name(helm: Helm) -> None:
    """Both directions are denied but for named senders, probes, metrics, DNS and the brokers' ports."""
    policy = helm.template({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    senders = [rule for rule in policy["ingress"] if {"port": "dicom", "protocol": "TCP"} in rule["ports"]]
    [test] = [peer for rule in senders for peer in rule["from"]]
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    [dns] = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}

    policy = helm.template(files=[form("everything")]).one("NetworkPolicy")["spec"]
    blocks = [peer["ipBlock"]["cidr"] for peer in policy["ingress"][0]["from"] if "ipBlock" in peer]
    assert blocks == ["10.1.2.0/24", "10.1.3.0/24"]
    assert [port["port"] for port in policy["egress"][1]["ports"]] == [9093, 9094, 9092]
    assert [port["port"] for port in policy["egress"][2]["ports"]] == [11104]

    policy = helm.template({"networkPolicy": {"enabled": True}, "tests": {"enabled": False}}).one("NetworkPolicy")
    assert [rule["ports"] for rule in policy["spec"]["ingress"]] == [[{"port": "probes", "protocol": "TCP"}]]


def test_alerts_are_those_of_the_repository(helm: Helm) -> None:
    """The PrometheusRule has the groups of deploy/observability/alerts.yaml, untouched where values say nothing."""
    source = yaml.safe_load((ROOT / "deploy" / "observability" / "alerts.yaml").read_text("utf-8"))
    rule = helm.template({"prometheusRule": {"enabled": True}}).one("PrometheusRule")
    assert rule["spec"]["groups"] == source["groups"]
    names = [each["alert"] for group in source["groups"] for each in group["rules"] if "alert" in each]
    rule = helm.template(
        {"prometheusRule": {"enabled": True, "alertLabels": {"team": "lab"}, "disabled": [names[0]]}}
    ).one("PrometheusRule")
    alerts = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}
    assert alerts.keys() == set(names[1:])
    assert all(each["labels"]["team"] == "lab" for each in alerts.values())


def test_dashboard_is_that_of_the_repository(helm: Helm) -> None:
    """The ConfigMap for Grafana's sidecar holds deploy/observability/dashboard.json."""
    dashboard = helm.template({"dashboard": {"enabled": True}}).one("ConfigMap", "demo-plscp-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    source = (ROOT / "deploy" / "observability" / "dashboard.json").read_text("utf-8")
    assert json.loads(dashboard["data"]["plscp.json"]) == json.loads(source)


def test_prometheus_finds_the_metrics_under_the_name_that_alerts_have(helm: Helm) -> None:
    """The ServiceMonitor selects the Service with the metrics alone, and its job label is `plscp` whatever the release is called."""
    rendered = helm.template({"serviceMonitor": {"enabled": True}, "nameOverride": "other"}, release="lab")
    monitor = rendered.one("ServiceMonitor")["spec"]
    found = [
        each
        for each in rendered.objects
        if each["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert [each["metadata"]["name"] for each in found] == ["lab-other-metrics"]
    assert found[0]["metadata"]["labels"][monitor["jobLabel"]] == "plscp"
    assert [port["name"] for port in found[0]["spec"]["ports"]] == [monitor["endpoints"][0]["port"]]


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 5 + 30 + 10 + 15),
        ({"drain_delay": "PT0S", "drain_grace": "PT1M30S"}, 90 + 10 + 15),
        ({"drain_delay": "PT1.5S", "drain_grace": "PT1H2M3S", "answer_deadline": "PT20S"}, 2 + 3723 + 20 + 15),
        ({"drain_delay": "PT0S", "drain_grace": "P1DT1S"}, 86401 + 10 + 15),
        ({"drain_delay": "PT0S", "drain_grace": "P1W"}, 604800 + 10 + 15),
    ],
)
def test_the_grace_period_is_longer_than_the_drain(helm: Helm, settings: dict[str, str], seconds: int) -> None:
    """terminationGracePeriodSeconds follows from the settings; fewer seconds are refused, more are taken."""
    values: dict[str, Any] = {"settings": {"dicom": settings}}
    assert helm.template(values).pod["spec"]["terminationGracePeriodSeconds"] == seconds
    with pytest.raises(Refused, match=f"terminationGracePeriodSeconds: {seconds - 1} is less than the drain takes: at"):
        helm.template(values | {"terminationGracePeriodSeconds": seconds - 1})
    longer = helm.template(values | {"terminationGracePeriodSeconds": seconds + 1})
    assert longer.pod["spec"]["terminationGracePeriodSeconds"] == seconds + 1


def test_what_is_given_for_the_pod_arrives_there(helm: Helm) -> None:
    """Environment, volumes, mounts, scheduling, annotations and labels; a spread without selector has the pod's."""
    rendered = helm.template(files=[form("everything")])
    spec, container = rendered.pod["spec"], rendered.container
    assert {"name": "TZ", "value": "Europe/Berlin"} in container["env"]
    assert container["envFrom"] == [{"configMapRef": {"name": "proxies"}}]
    assert container["volumeMounts"][-1]["mountPath"] == "/etc/ssl/own"
    assert "own-ca" in volumes(rendered)
    assert spec["priorityClassName"] == "clinical"
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    [spread] = spec["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= rendered.pod["metadata"]["labels"].items()
    assert rendered.pod["metadata"]["labels"]["zone"] == "clinical"
    assert {port["name"] for port in container["ports"] if port.get("hostPort") == port["containerPort"]} == {
        "dicom", "dicom-tls",
    }  # fmt: skip
    assert rendered.one("ConfigMap", "cathlab-site")["data"] == {"site": "main"}
    assert rendered.one("ConfigMap", "demo-text")


def test_nothing_is_looked_up_and_no_hook_changes_data() -> None:
    """No template asks the cluster, no chart is brought along, and the one hook is the test: what is rendered is what is installed."""
    templates = {file: file.read_text("utf-8") for file in (CHART / "templates").rglob("*.*")}
    assert not [
        file for file, text in templates.items() if re.search(r"\blookup\b|rand[A-Z]|genCA|\bnow\b|uuidv4", text)
    ]
    assert {file.name for file, text in templates.items() if "helm.sh/hook" in text} == {"dicom.yaml"}
    assert "dependencies" not in yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, ["address  demo-plscp.cathlab.svc, from within the cluster only", "port     11112 (DICOM)"]),
        ({"service": {"dicom": {"type": "NodePort"}}}, ["jsonpath='{.status.hostIP}'", "nodePort}' (DICOM)"]),
        ({"service": {"dicom": {"type": "LoadBalancer"}}}, ["{.status.loadBalancer.ingress[0].ip}", "11112 (DICOM)"]),
        (NARROW, ["2762 (DICOM over TLS, with a client certificate)"]),
        ({"settings": {"dicom": {"unknown_devices": "accept"}}}, ["WARNING: settings.dicom.unknown_devices"]),
        ({"persistence": {"enabled": False}}, ["WARNING: persistence.enabled is false"]),
    ],
)  # fmt: skip
def test_notes_say_how_the_first_device_is_connected(helm: Helm, values: dict[str, Any], said: list[str]) -> None:
    """Address, port and called AE title for each kind of Service, the lines to add, and where refusals are seen."""
    notes = helm.notes(values)
    for part in [
        *said,
        "called   PLSCP",
        "devices:\n         HEMO1:",
        "kubectl -n cathlab exec demo-plscp-0 -- plscp status",
    ]:
        assert part in notes


def volumes(rendered: Rendered) -> dict[str, dict[str, Any]]:
    """The volumes of the server's pod by name."""
    return {
        volume["name"]: {kind: what for kind, what in volume.items() if kind != "name"}
        for volume in rendered.pod["spec"]["volumes"]
    }
