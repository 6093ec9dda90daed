"""The chart, installed on the cluster in a namespace of its own."""

import contextlib
import json
from typing import Any, Final

import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.parts import ROOT, VERSION
from tests.rawscu import RawScu
from tests.serving import until

CHART: Final = ROOT / "deploy" / "helm" / "plscp"
TIMEOUT: Final = "--timeout=3m"
Values = dict[str, Any]
CONNECT_SECONDS: Final = 5.0


def merged(first: Values, second: Values) -> Values:
    """The second's values over the first's, as Helm lays them."""
    made = dict(first)
    for name, value in second.items():
        inner = made.get(name)
        made[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return made


def reached(address: tuple[str, int], source: str = "") -> bool:
    """Whether a connection is taken. One that began before the Service led to the pod never is: each try is a new one."""
    try:
        scu = RawScu(*address, source=(source, 0) if source else None, timeout=CONNECT_SECONDS)
        scu.connect().socket.close()
    except OSError:
        return False
    return True


class Release:
    """One release; a namespace, a volume and the objects of the chart go by its name.

    Args:
        values: what is laid over the chart's own.

    Attributes:
        values: those that are in force.
    """

    def __init__(self, cluster: Cluster, name: str, values: Values) -> None:
        self.cluster = cluster
        self.name = name
        self.values = values
        self.full = values.get("fullnameOverride") or f"{name}-plscp"
        self.pod = f"{self.full}-0"

    def namespaced(self, security: str = "restricted") -> None:
        """Make the namespace, with this level of Pod Security."""
        place = {"name": self.name, "labels": {"pod-security.kubernetes.io/enforce": security}}
        self.cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": place}])

    def secret(self, name: str, content: dict[str, str]) -> None:
        """Make a Secret, or change it."""
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content})

    def apply(self, made: dict[str, Any]) -> None:
        """Make an object in the release's namespace, or change it."""
        self.kubectl("apply", "-f", "-", given=json.dumps(made))

    def install(self) -> None:
        """`helm install`, and wait until the pod is ready."""
        self._helm("install", self.values)
        self.until_ready()

    def upgrade(self, more: Values, *, wait: bool = True) -> None:
        """`helm upgrade` with further values."""
        self.values = merged(self.values, more)
        self._helm("upgrade", self.values, *(("--wait",) if wait else ()))

    def rollback(self) -> None:
        """`helm rollback` to the revision before, and wait until the pod is ready."""
        self.cluster.helm("rollback", self.name, "-n", self.name, "--wait", TIMEOUT)

    def test(self) -> str:
        """`helm test`; what its pod said."""
        return self.cluster.helm("test", self.name, "-n", self.name, "--logs", TIMEOUT)

    def rendered(self) -> list[dict[str, Any]]:
        """The objects of `helm template`."""
        return [each for each in yaml.safe_load_all(self._helm("template", self.values)) if each]

    def _helm(self, what: str, values: Values, *more: str) -> str:
        laid = merged({"image": {"registry": "docker.io/library", "tag": VERSION}}, values)
        place = ROOT / "build" / "cluster" / f"{self.name}-values.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(laid), "utf-8")
        return self.cluster.helm(what, self.name, str(CHART), "-n", self.name, "-f", str(place), TIMEOUT, *more)

    def remove(self) -> None:
        """End its pod at once and free its ports, and leave the rest to the cluster's end."""
        now = ("--grace-period=0", "--force", "--wait=false")
        self.kubectl("delete", "statefulset", self.full, "--ignore-not-found", "--wait=false")
        self.kubectl("delete", "service", "--all")
        self.kubectl("delete", "pod", "--all", *now)

    # what is there

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Kubectl in the release's namespace."""
        return self.cluster.kubectl("-n", self.name, *arguments, given=given)

    def exec(self, *command: str) -> str:
        """Run a command in the pod."""
        return self.kubectl("exec", self.pod, "-c", "plscp", "--", *command)

    def logs(self) -> list[dict[str, Any]]:
        """What the server in the pod has logged since it began."""
        lines = self.kubectl("logs", self.pod, "-c", "plscp").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def found(self) -> dict[str, Any] | None:
        """The pod, or None where there is none now."""
        with contextlib.suppress(RuntimeError):
            return self.cluster.get("pod", self.pod, self.name)
        return None

    def life(self) -> tuple[str, int]:
        """Which pod it is, and how often its container was started again: equal as long as nothing was restarted."""
        pod = self.cluster.get("pod", self.pod, self.name)
        return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]

    def node(self) -> str:
        """The node that the pod is on."""
        return str(self.cluster.get("pod", self.pod, self.name)["spec"]["nodeName"])

    def ready(self) -> bool:
        """Whether the pod is there, is not about to end, and takes requests."""
        pod = self.found()
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return False
        held = pod.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in held)

    def until_ready(self) -> None:
        """Wait for that."""
        until(self.ready, f"pod {self.pod} to be ready", 180)

    def service(self, name: str = "") -> dict[str, Any]:
        """A Service's spec."""
        found: dict[str, Any] = self.cluster.get("service", name or self.full, self.name)["spec"]
        return found

    def address(self, port: str = "dicom") -> tuple[str, int]:
        """Address and port of the Service, as reached from anywhere in the cluster, once it leads to the pod."""
        spec = self.service()
        address = spec["clusterIP"], next(each["port"] for each in spec["ports"] if each["name"] == port)
        until(lambda: reached(address), "the Service to lead to the pod")
        return address
