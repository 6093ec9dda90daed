"""One node: a network namespace of this machine with containerd, kubelet and kube-proxy, and the end of all that it started."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.parts import FOLDER, PAUSE, PROGRAMS, run
from tests.serving import until

RUN: Final = FOLDER / "run"
"""What a cluster writes; gone with it."""
CGROUPS: Final = Path("/sys/fs/cgroup")
PODS: Final = "10.215.0.0/16"
SERVICES: Final = "10.214.0.0/16"
DNS: Final = "10.214.0.10"


@dataclass(frozen=True)
class Node:
    """A node; its state is on disk, so that whoever comes after a crash can end it.

    Attributes:
        name: of the node, its network namespace and its cgroup.
        address: its own.
        gateway: the other end of its link.
        pods: the subnet of its pods.
        behind: the node whose namespace the other end is in; the machine itself where it is None.
    """

    name: str
    address: str
    gateway: str
    pods: str
    behind: "Node | None" = None

    @property
    def folder(self) -> Path:
        """What it writes."""
        return RUN / self.name

    @property
    def state(self) -> Path:
        """Sockets and mounts: paths that must be short."""
        return Path("/run") / f"plscp-{self.name}"

    @property
    def socket(self) -> Path:
        """Where containerd answers."""
        return self.state / "containerd.sock"

    @property
    def outside(self) -> str:
        """The other end of its link."""
        return f"{self.name}-dn"

    @property
    def log(self) -> Path:
        """Logs of what runs on it."""
        return self.folder / "log"

    def inside(self, *command: str | Path) -> tuple[str | Path, ...]:
        """A command in the node's network."""
        return (f"--net=/run/netns/{self.name}", *command)

    def start(self, name: str, *command: str | Path) -> None:
        """Start a program in the node's network; its id and when it began are kept."""
        with (self.log / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                ["nsenter", *map(str, self.inside("nice", "-n", "5", *command))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PATH": f"{PROGRAMS}:/usr/sbin:{os.environ['PATH']}"},
            )
        (self.folder / "pid" / name).write_text(f"{process.pid} {began(process.pid)}", "ascii")
        process.returncode = 0  # nobody waits for it: it may go on when this process ends, and `end` ends it

    def kill(self, names: Iterable[str]) -> None:
        """SIGKILL for those that run: what they would write at their end goes with the cluster anyway."""
        for name in names:
            with contextlib.suppress(OSError, ValueError):
                pid, since = (self.folder / "pid" / name).read_text("ascii").split()
                if began(int(pid)) == since:
                    kill([int(pid)])

    def networked(self) -> None:
        """The namespace, and the link to what is before it."""
        outer = ("-n", self.behind.name) if self.behind else ()
        near, far = f"{self.name}-up", self.outside
        run("ip", "netns", "add", self.name)
        run("ip", *outer, "link", "add", far, "type", "veth", "peer", "name", near)
        run("ip", *outer, "link", "set", near, "netns", self.name)
        run("ip", *outer, "addr", "add", f"{self.gateway}/30", "dev", far)
        run("ip", *outer, "link", "set", far, "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        run("ip", "-n", self.name, "addr", "add", f"{self.address}/30", "dev", near)
        run("ip", "-n", self.name, "link", "set", near, "up")
        run("ip", "-n", self.name, "route", "add", "default", "via", self.gateway)
        run("nsenter", *self.inside("sysctl", "-qw", "net.ipv4.ip_forward=1"))
        with contextlib.suppress(RuntimeError):  # where the kernel does not know it, it does not filter on bridges
            run("nsenter", *self.inside("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"))

    def prepare(self) -> None:
        """Folders, settings and cgroups, and a containerd that answers."""
        for name in ("log", "pid", "pki", "cni", "kubelet", "containerd"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        (self.folder / "containerd.toml").write_text(self._containerd(), "utf-8")
        (self.folder / "cni" / "10-bridge.conflist").write_text(json.dumps(self._cni()), "utf-8")
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n", "ascii")
        for place in hierarchies():
            (place / self.name).mkdir(exist_ok=True)
            for each in ("cpuset.cpus", "cpuset.mems"):  # version 1: no process enters while these are empty
                if (place.name, (place / each).is_file()) == ("cpuset", True):
                    (place / self.name / each).write_text((place / each).read_text("ascii"), "ascii")
        self.start("containerd", "containerd", "-c", self.folder / "containerd.toml")
        until(self._answers, "containerd")

    def _answers(self) -> bool:
        command = ["ctr", "-a", str(self.socket), "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def load(self, *archives: Path) -> None:
        """Import images."""
        for archive in archives:
            run("ctr", "-a", self.socket, "-n", "k8s.io", "images", "import", archive)

    def serve(self, authority: Path) -> None:
        """Kubelet and kube-proxy, with the kubeconfigs that stand in its folder."""
        kubelet, proxy = self.folder / "kubelet.json", self.folder / "proxy.json"
        kubelet.write_text(json.dumps(self._kubelet(authority)), "utf-8")
        proxy.write_text(json.dumps(self._proxy()), "utf-8")
        self.start(
            "kubelet",
            PROGRAMS / "kubelet",
            f"--config={kubelet}",
            f"--kubeconfig={self.folder}/pki/kubelet.conf",
            f"--root-dir={self.folder}/kubelet",
            f"--cert-dir={self.folder}/kubelet/pki",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
        )
        self.start("proxy", PROGRAMS / "kube-proxy", f"--config={proxy}")

    def _containerd(self) -> str:
        return f"""version = 2
root = "{self.folder}/containerd"
state = "{self.state}/containerd"
oom_score = 0
[grpc]
address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{self.folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "/usr/sbin/runc"
"""

    def _cni(self) -> dict[str, Any]:
        addresses = {
            "type": "host-local",
            "dataDir": f"{self.folder}/cni-addresses",
            "ranges": [[{"subnet": self.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge | {"ipam": addresses}, ports]}

    def _kubelet(self, authority: Path) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{self.folder}/pki/kubelet-server.pem",
            "tlsPrivateKeyFile": f"{self.folder}/pki/kubelet-server.key",
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": True,
            "cgroupRoot": f"/{self.name}",
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "failCgroupV1": False,
            "oomScoreAdj": 0,
            "localStorageCapacityIsolation": True,  # without it the kubelet cannot evict
            "makeIPTablesUtilChains": False,
            "resolvConf": f"{self.folder}/resolv.conf",
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS],
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": f"{self.folder}/pod-logs",
            "volumePluginDir": f"{self.folder}/volume-plugins",
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "5s",
        }

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": f"{self.folder}/pki/proxy.conf"},
            "mode": "iptables",
            "clusterCIDR": PODS,
            "hostnameOverride": self.name,
            "oomScoreAdj": 0,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "iptables": {"minSyncPeriod": "100ms"},
        }

    def end(self) -> None:
        """End all that runs on it, whoever started it and whatever is left, and forget its state."""
        self.kill(("kubelet", "proxy"))
        until(
            lambda: not kill(each for place in hierarchies() for each in _members(place / self.name)), "its pods to end"
        )
        until(lambda: not kill(_shims(self.socket)), "what kept its pods to end")
        self.kill(sorted(each.name for each in (self.folder / "pid").glob("*")))
        for mounted in _mounts(self.folder, self.state):
            run("umount", "-l", mounted)
        if Path(f"/run/netns/{self.name}").exists():
            run("ip", "netns", "del", self.name)
        for place in hierarchies():
            for group in [Path(each) for each, _, _ in os.walk(place / self.name, topdown=False)]:
                until(lambda group=group: _gone(group), f"{group} to be empty")  # type: ignore[misc]
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)


def hierarchies() -> list[Path]:
    """Roots of the cgroup hierarchies: one for each controller in version 1, a single one in version 2."""
    if (CGROUPS / "cgroup.controllers").is_file():
        return [CGROUPS]
    return [place for place in sorted(CGROUPS.iterdir()) if (place / "cgroup.procs").is_file()]


def _members(group: Path) -> set[int]:
    """Processes in a cgroup and in those below it."""
    found = set()
    for each, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            found |= set(map(int, (Path(each) / "cgroup.procs").read_text("ascii").split()))
    return found


def began(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty where there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def kill(pids: Iterable[int]) -> set[int]:
    """SIGKILL; those that were still there."""
    found = {pid for pid in pids if began(pid)}
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def _gone(group: Path) -> bool:
    """Remove a cgroup that has no process left."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def _shims(socket: Path) -> Iterator[int]:
    """Processes that keep the containers of a containerd."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and str(socket).encode() in words:
                yield int(place.parent.name)


def _mounts(*folders: Path) -> list[str]:
    """What is mounted below folders, the inner ones first."""
    lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    places = [line.split()[1] for line in lines]
    return sorted((each for each in places if any(each.startswith(f"{folder}/") for folder in folders)), reverse=True)
