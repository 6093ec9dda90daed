"""A real Kubernetes of one or two nodes on this machine, that ends without a trace."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import trustme

from tests.cluster.node import DNS, PODS, RUN, SERVICES, Node
from tests.cluster.parts import FOLDER, IMAGES, NEXT, PROGRAMS, VERSION, archive, run, say
from tests.serving import until

HOST: Final = "10.213.0.1"
"""The machine, as pods see it."""
DEVICE: Final = "10.1.2.9"
"""Another address of the machine: the one that a device calls from."""
BALANCED: Final = "10.216.0.0/24"
"""Addresses of load balancers: there is none, so tests give a Service its address."""
FIRST: Final = Node("plscp-one", "10.213.0.2", HOST, "10.215.1.0/24")
SECOND: Final = Node("plscp-two", "10.213.0.6", "10.213.0.5", "10.215.2.0/24", behind=FIRST)
NODES: Final = (FIRST, SECOND)
API: Final = f"https://{FIRST.address}:6443"
API_SERVICE: Final = "10.214.0.1"
DNS_HEALTH: Final = 8181
SYSCTLS: Final = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
"""What a kubelet sets on the whole machine; put back at the end."""
SAVED: Final = Path("/run/plscp-sysctl.json")
PKI: Final = RUN / "pki"
KUBECONFIG: Final = PKI / "admin.conf"
VOLUMES: Final = RUN / "volumes"
STORAGE_CLASS: Final = "plscp-test"


class Cluster:
    """The one cluster that this machine can have: its addresses are fixed."""

    def up(self) -> None:
        """Start the first node and wait until it is ready; what an earlier one left is ended first."""
        self.down()
        _save_sysctls()
        PKI.mkdir(parents=True)
        self._certificates()
        FIRST.networked()
        run("ip", "addr", "add", f"{DEVICE}/32", "dev", FIRST.outside)
        for subnet in (SERVICES, PODS, BALANCED, f"{SECOND.address}/32"):
            run("ip", "route", "add", subnet, "via", FIRST.address)
        FIRST.prepare()
        self._control_plane()
        FIRST.load(IMAGES / "pause.tar", archive(VERSION), archive(NEXT))
        self._node(FIRST)
        self._names()
        self.apply(_storage())

    def second_node(self) -> None:
        """A second node beside it."""
        SECOND.networked()
        run("ip", "-n", FIRST.name, "route", "add", SECOND.pods, "via", SECOND.address)
        SECOND.prepare()
        SECOND.load(IMAGES / "pause.tar", archive(VERSION))
        self._node(SECOND)

    def down(self) -> None:
        """End it, or what a crash left of it; harmless where there is none."""
        for node in reversed(NODES):
            node.end()
        shutil.rmtree(RUN, ignore_errors=True)
        _restore_sysctls()

    def _certificates(self) -> None:
        authority = trustme.CA(organization_name="plscp-cluster")
        authority.cert_pem.write_to_path(PKI / "ca.pem")
        server = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", FIRST.address, API_SERVICE, "127.0.0.1")
        _issue(authority, PKI / "apiserver", *server, common_name="kube-apiserver")
        _issue(authority, PKI / "accounts", common_name="accounts")
        clients = {
            "admin": ("system:masters", "admin"),
            "to-kubelet": ("system:masters", "kube-apiserver"),
            "manager": (None, "system:kube-controller-manager"),
            "scheduler": (None, "system:kube-scheduler"),
        }
        for name, (group, user) in clients.items():
            _issue(authority, PKI / name, common_name=user, organization_name=group)
            _kubeconfig(PKI / name)
        for node in NODES:
            folder = node.folder / "pki"
            folder.mkdir(parents=True)
            _issue(authority, folder / "kubelet-server", node.name, node.address, common_name=node.name)
            user = f"system:node:{node.name}"
            _issue(authority, folder / "kubelet", common_name=user, organization_name="system:nodes")
            _issue(authority, folder / "proxy", common_name="system:kube-proxy")
            _kubeconfig(folder / "kubelet")
            _kubeconfig(folder / "proxy")

    def _control_plane(self) -> None:
        etcd, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        FIRST.start(
            "etcd",
            PROGRAMS / "etcd",
            f"--data-dir={RUN}/etcd",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        FIRST.start(
            "apiserver",
            PROGRAMS / "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--secure-port=6443",
            "--bind-address=0.0.0.0",
            f"--advertise-address={FIRST.address}",
            f"--tls-cert-file={PKI}/apiserver.pem",
            f"--tls-private-key-file={PKI}/apiserver.key",
            f"--client-ca-file={PKI}/ca.pem",
            f"--kubelet-client-certificate={PKI}/to-kubelet.pem",
            f"--kubelet-client-key={PKI}/to-kubelet.key",
            f"--kubelet-certificate-authority={PKI}/ca.pem",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={PKI}/accounts.pem",
            f"--service-account-signing-key-file={PKI}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--endpoint-reconciler-type=lease",
        )
        until(lambda: self.ok("get", "--raw", "/readyz"), "the API server")
        manager, scheduler = PKI / "manager.conf", PKI / "scheduler.conf"
        FIRST.start(
            "manager",
            PROGRAMS / "kube-controller-manager",
            f"--kubeconfig={manager}",
            f"--authentication-kubeconfig={manager}",
            f"--authorization-kubeconfig={manager}",
            f"--root-ca-file={PKI}/ca.pem",
            f"--service-account-private-key-file={PKI}/accounts.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--allocate-node-cidrs=false",
            "--bind-address=127.0.0.1",
        )
        FIRST.start(
            "scheduler",
            PROGRAMS / "kube-scheduler",
            f"--kubeconfig={scheduler}",
            f"--authentication-kubeconfig={scheduler}",
            f"--authorization-kubeconfig={scheduler}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        )

    def _node(self, node: Node) -> None:
        node.serve(PKI / "ca.pem")

        def ready() -> bool:
            with contextlib.suppress(RuntimeError):
                return condition(self.get("node", node.name), "Ready")
            return False

        until(ready, f"node {node.name}", 120)

    def _names(self) -> None:
        """DNS: CoreDNS on the first node, and a Service that leads to it."""
        zone = RUN / "Corefile"
        zone.write_text(
            f".:53 {{\n bind {FIRST.address}\n errors\n health {FIRST.address}:{DNS_HEALTH}\n"
            f" kubernetes cluster.local in-addr.arpa {{\n  kubeconfig {KUBECONFIG} context\n  ttl 1\n }}\n}}\n",
            "ascii",
        )
        FIRST.start("coredns", PROGRAMS / "coredns", "-conf", zone)
        ports = [{"name": name, "port": 53, "protocol": kind} for name, kind in (("dns", "UDP"), ("dns-tcp", "TCP"))]
        place = {"name": "kube-dns", "namespace": "kube-system"}
        service = {"clusterIP": DNS, "ports": ports}
        slice_ = {
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [FIRST.address], "conditions": {"ready": True}}],
        }
        label = {"labels": {"kubernetes.io/service-name": "kube-dns"}}
        self.apply(
            [
                {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": service},
                {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": place | label, **slice_},
            ]
        )

        def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"http://{FIRST.address}:{DNS_HEALTH}/health", trust_env=False).is_success
            return False

        until(answers, "DNS")

    # what tests do with it

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl; its output, or an error that shows what it said."""
        ended = self._kubectl(arguments, given)
        if ended.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {ended.stdout}{ended.stderr}".strip())
        return ended.stdout

    def ok(self, *arguments: str) -> bool:
        """Whether kubectl did it."""
        return self._kubectl(arguments, None).returncode == 0

    def _kubectl(self, arguments: Sequence[str], given: str | None) -> subprocess.CompletedProcess[str]:
        command = [str(PROGRAMS / "kubectl"), *arguments]
        return subprocess.run(command, input=given, env=environment(), capture_output=True, text=True, check=False)

    def helm(self, *arguments: str) -> str:
        """Run helm; its output, or an error that shows what it said."""
        return run(PROGRAMS / "helm", *arguments, env=environment())

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """An object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def apply(self, objects: Sequence[dict[str, Any]]) -> None:
        """Make objects, or change those that are there."""
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "-f", "-", given=given)

    def volume(self, name: str, storage_class: str = STORAGE_CLASS, mode: str = "ReadWriteOncePod") -> None:
        """A volume that both nodes see: they share this machine's disk."""
        place = VOLUMES / name
        place.mkdir(parents=True, exist_ok=True)
        where = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name for node in NODES]}
        spec = {
            "capacity": {"storage": "100Gi"},
            "accessModes": [mode],
            "storageClassName": storage_class,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(place)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [where]}]}},
        }
        self.apply([{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}])

    def keep_logs(self, folder: Path) -> None:
        """Copy the logs of the cluster's own programs, and of its pods, before they go with it."""
        for node in NODES:
            for source in (node.log, node.folder / "pod-logs"):
                if source.is_dir():
                    shutil.copytree(source, folder / node.name / source.name, dirs_exist_ok=True, symlinks=True)


def environment() -> dict[str, str]:
    """For kubectl and helm: this cluster, and folders of its own."""
    folders = {f"HELM_{name}_HOME": str(FOLDER / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    return os.environ | folders | {"KUBECONFIG": str(KUBECONFIG)}


def condition(found: dict[str, Any], kind: str) -> bool:
    """Whether a condition of an object is true."""
    held = found.get("status", {}).get("conditions", [])
    return any(each["type"] == kind and each["status"] == "True" for each in held)


def _issue(authority: trustme.CA, place: Path, *names: str, **subject: str | None) -> None:
    leaf = authority.issue_cert(*(names or (f"{place.name}.invalid",)), **subject)  # type: ignore[arg-type]
    leaf.private_key_pem.write_to_path(place.with_suffix(".key"))
    leaf.cert_chain_pems[0].write_to_path(place.with_suffix(".pem"))


def _kubeconfig(place: Path) -> None:
    """Kubernetes reads YAML, and JSON is some."""
    user = {"client-certificate": str(place.with_suffix(".pem")), "client-key": str(place.with_suffix(".key"))}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {"server": API, "certificate-authority": str(PKI / "ca.pem")}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }
    place.with_suffix(".conf").write_text(json.dumps(config), "utf-8")


def _storage() -> list[dict[str, Any]]:
    """The default class: volumes are made by hand (`Cluster.volume`)."""
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    binding = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
    place = {"name": STORAGE_CLASS, **default}
    return [{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": place, **binding}]


def _save_sysctls() -> None:
    if not SAVED.is_file():
        SAVED.write_text(json.dumps({name: run("sysctl", "-n", name).strip() for name in SYSCTLS}), "ascii")


def _restore_sysctls() -> None:
    if SAVED.is_file():
        for name, value in json.loads(SAVED.read_text("ascii")).items():
            if run("sysctl", "-n", name).strip() != value:
                run("sysctl", "-qw", f"{name}={value}")
        SAVED.unlink()


def timed(what: str) -> contextlib.AbstractContextManager[None]:
    """Say how long something took."""
    return _Timed(what)


class _Timed(contextlib.AbstractContextManager[None]):
    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._began = os.times().elapsed

    def __exit__(self, *_: object) -> None:
        say(f"{self._what}: {os.times().elapsed - self._began:.1f} s")
