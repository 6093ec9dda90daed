"""The chart, installed in each of its forms, and events that come from outside the pod.

What cannot be seen here: a NetworkPolicy is taken by this cluster and kept by nobody, for its network plugin does not know them; nor
does anybody look at a ServiceMonitor, a PrometheusRule or a dashboard: the API server takes them, and that is all.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from plscp.consumer import consume
from plscp.local.kafka import LocalBroker
from plscp.records.values import EntryRecord
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.templates.log_entries import Note
from tests import events, tls
from tests.cluster.cluster import BALANCED, DEVICE, FIRST, HOST, Cluster
from tests.cluster.conftest import installing
from tests.cluster.parts import VERSION
from tests.cluster.release import CHART, Release, Values, merged, reached
from tests.rawscu import RawScu, Rejected
from tests.serving import open_study, until

FORMS = sorted((CHART / "ci").glob("*-values.yaml"))
HERE: Values = {
    "global": {"imageRegistry": ""},
    "image": {"registry": "docker.io/library", "tag": VERSION, "digest": "", "pullPolicy": "IfNotPresent"},
    "resources": {"requests": {"cpu": "50m"}},
}
"""What a form names that this cluster does not have: a registry, and a processor for each form."""
STUDY = "1.2.826.0.1.3680043.9.3811.8.2"
REGISTRY = open_study(STUDY, "LAB1")
CA, SERVER = tls.authority("hospital").cert_pem.bytes().decode(), tls.server()
CHAIN = "".join(blob.bytes().decode() for blob in SERVER.cert_chain_pems)
KEY = SERVER.private_key_pem.bytes().decode()
CONTENT = {
    "tls.crt": CHAIN,
    "tls.key": KEY,
    "user.crt": CHAIN,
    "user.key": KEY,
    "ca.crt": CA,
    "current.toml": REGISTRY,
}
"""What a Secret has under a key; random words under every other."""


def needed(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the chart's objects refer to and do not bring: Secrets, ConfigMaps, a priority class."""
    there = {(each["kind"], each["metadata"]["name"]) for each in objects}
    server = next(each for each in objects if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for volume in server["volumes"]:
        if secret := volume.get("secret"):
            keys = [item["key"] for item in secret.get("items", [])] or ["PUMP1"]
            content = {key: CONTENT.get(key) or secrets.token_hex() for key in keys}
            found.setdefault(("Secret", secret["secretName"]), {}).update(content)
        if settings := volume.get("configMap"):
            found.setdefault(("ConfigMap", settings["name"]), {})
    for source in server["containers"][0].get("envFrom", []):
        found.setdefault(("ConfigMap", source["configMapRef"]["name"]), {})
    made: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name},
            "stringData" if kind == "Secret" else "data": data,
        }
        for (kind, name), data in found.items()
        if (kind, name) not in there
    ]
    if priority := server.get("priorityClassName"):
        place = {"name": priority}
        made.append({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": place, "value": 1000})
    return made


def monitoring() -> list[dict[str, Any]]:
    """The kinds that the Prometheus operator brings, as far as the API server must know them."""
    made: list[dict[str, Any]] = []
    for kind in ("ServiceMonitor", "PrometheusRule"):
        plural, group = f"{kind.lower()}s", "monitoring.coreos.com"
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        version = {"name": "v1", "served": True, "storage": True, "schema": schema}
        names = {"kind": kind, "plural": plural, "singular": kind.lower()}
        spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}
        place = {"name": f"{plural}.{group}"}
        made.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": place,
                "spec": spec,
            }
        )
    return made


def balanced(release: Release) -> str:
    """Be the load balancer: give the Service its address."""
    address = BALANCED.replace("0/24", "9")
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
    release.kubectl("patch", "service", release.full, "--subresource=status", "--type=merge", "-p", status)
    return address


Formed = Callable[[str], Release]


@pytest.fixture(scope="module")
def formed(cluster: Cluster) -> Iterator[Formed]:
    """Installs a form of ci/ when it is first asked for, with what it needs."""
    cluster.apply(monitoring())
    with installing(cluster) as install:

        @cache
        def form(name: str) -> Release:
            given = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text("utf-8"))
            new = install(merged(given, HERE), installed=False)
            if new.values.get("hostPort", {}).get("enabled"):
                new.namespaced("privileged")
            objects = new.rendered()
            for each in needed(objects):
                new.apply(each)
            claim = next(each for each in objects if each["kind"] == "PersistentVolumeClaim")["spec"]
            if storage := claim.get("storageClassName"):
                cluster.volume(f"{new.name}-{storage}", storage, claim["accessModes"][0])
            new.install()
            return new

        yield form


def associates(address: tuple[str, int], name: str, **given: Any) -> bool:
    """Whether a device gets an association, and an answer to C-ECHO within it; False: it is rejected."""
    kind: Callable[..., RawScu] = tls.SecureScu if "tls" in given else RawScu
    try:
        with kind(*address, calling=name, **given):
            return True
    except Rejected:
        return False


def node_port(release: Release, port: str) -> tuple[str, int]:
    """Where devices outside reach a Service of type NodePort, once it leads to the pod: a moment after that is ready."""
    found = next(each for each in release.service()["ports"] if each["name"] == port)
    address = FIRST.address, found["nodePort"]
    until(lambda: reached(address, DEVICE), "the node port to lead to the pod")
    return address


@pytest.mark.parametrize("form", [each.name.removesuffix("-values.yaml") for each in FORMS])
def test_every_form_installs_and_tests_itself(formed: Formed, form: str) -> None:
    """A pod that is ready, also while there is no Kafka where it should be; `helm test` reaches it with C-ECHO and N-ACTION."""
    running = formed(form)
    assert "N-ACTION was answered" in running.test()
    assert running.life()[1] == 0


def test_the_smallest_values_let_nobody_in(formed: Formed) -> None:
    """A device that nobody named is refused, and the log says what to add."""
    running = formed("minimal")
    assert not associates(running.address(), "NOBODY1")
    [refused] = [line for line in running.logs() if line["event"] == "peer-refused"]
    assert (refused["rule"], refused["calling_ae"]) == ("dicom.unknown_devices", "NOBODY1")
    assert "[devices.NOBODY1]" in refused["hint"]


def test_a_device_is_known_by_its_certificate_and_where_it_calls_from(formed: Formed) -> None:
    """Through a node port that keeps the address: HEMO1 gets in from its network with its certificate, and not otherwise."""
    running = formed("tls")
    port = node_port(running, "dicom-tls")
    own = tls.client(tls.device())
    other = tls.client(tls.issued("hospital", "other.example", common_name="OTHER"))
    assert associates(port, "HEMO1", tls=own, source=(DEVICE, 0))
    assert not associates(port, "HEMO1", tls=own, source=(HOST, 0))
    assert not associates(port, "HEMO1", tls=other, source=(DEVICE, 0))
    refused = [line for line in running.logs() if line["event"] == "peer-refused"]
    assert [line["rule"] for line in refused] == ["devices.address", "devices.certificate"]
    assert HOST in refused[0]["hint"]


def test_a_load_balancer_lets_only_its_networks_through(formed: Formed) -> None:
    """With everything on: `loadBalancerSourceRanges` is kept by the cluster, and the address is the device's own."""
    running = formed("everything")
    address = balanced(running), 2762
    clinic = tls.issued("hospital", "hemo1.example", common_name="HEMO1", organization_name="Clinic")
    given = {"tls": tls.client(clinic), "called": "CATHLAB"}
    until(lambda: reached(address, DEVICE), "the load balancer's address")
    assert associates(address, "HEMO1", source=(DEVICE, 0), **given)
    assert not reached(address, HOST)


@pytest.fixture(scope="module")
def outside(cluster: Cluster, broker: LocalBroker) -> Iterator[Release]:
    """A release whose node ports take plain DICOM and DICOM over TLS, with Kafka."""
    with installing(cluster) as install:
        yield install(
            {
                "registry": {"existingSecret": "registry"},
                "dicomTls": {"existingSecret": "server"},
                "service": {"dicom": {"type": "NodePort"}},
                "settings": {
                    "kafka": {"bootstrap_servers": [broker.address], "topic_prefix": "outside"},
                    "devices": {"HEMO1": {"address": [HOST]}},
                },
            },
            registry={"current.toml": REGISTRY},
            server={name: CONTENT[name] for name in ("tls.crt", "tls.key", "ca.crt")},
        )


@pytest.mark.parametrize("way", ["dicom", "dicom-tls"])
def test_what_a_device_sends_from_outside_is_read_from_kafka(broker: LocalBroker, outside: Release, way: str) -> None:
    """Over plain and over TLS, through a node port: acknowledged, published, read with `plscp.consumer`."""
    port = node_port(outside, way)
    scu = RawScu(*port) if way == "dicom" else tls.SecureScu(*port, tls=tls.client(tls.device()))
    words = [f"{way} {number}" for number in range(20)]
    with scu:
        for each in words:
            sent = events.encoded(events.procedural([events.note(events.now(), each)], study=STUDY))
            assert scu.request(PROCEDURAL_EVENT_LOGGING, sent).status == 0
    found: list[str] = []
    with consume(broker.address, topics="outside.procedure-log", group=way, consumer_timeout_ms=60_000) as topic:
        while len(found) < len(words):
            data = next(topic).data
            assert isinstance(data, EntryRecord)
            assert isinstance(data.entry, Note)
            if data.entry.text.startswith(f"{way} "):
                found.append(data.entry.text)
    assert found == words
