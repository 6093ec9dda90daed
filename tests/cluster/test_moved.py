"""The pod is killed, evicted, and its node drained, while devices send: nothing that was acknowledged is lost."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plscp.local.kafka import LocalBroker
from tests.cluster.cluster import FIRST, SECOND, Cluster
from tests.cluster.conftest import TABLES, Install
from tests.cluster.devices import ASSOCIATIONS, SOON, Fleet, plain, published
from tests.cluster.release import Release, merged
from tests.serving import open_study, until

STUDY = "1.2.826.0.1.3680043.9.3811.8.1"
DEVICES = [f"DEV{number}" for number in range(ASSOCIATIONS)]
REGISTRY = open_study(STUDY, "LAB1")


def killed_process(release: Release) -> None:
    """SIGKILL for the server's process, by the machine: the kubelet starts the container again in the same pod."""
    uid, restarts = release.life()
    found = [
        int(place.parent.name)
        for place in Path("/proc").glob("[0-9]*/cgroup")
        if uid in place.read_text("ascii").replace("_", "-")
        and b"serve" in place.with_name("cmdline").read_bytes().split(b"\0")
    ]
    assert found, "no server in the pod's cgroup"
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    until(lambda: release.life() == (uid, restarts + 1), "a restarted container", 180)


def killed_pod(release: Release) -> None:
    """`kubectl delete pod --force`: no drain, and a new pod."""
    uid, _ = release.life()
    release.kubectl("delete", "pod", release.pod, "--grace-period=0", "--force")
    until(lambda: (pod := release.found()) and pod["metadata"]["uid"] != uid, "a new pod", 180)


def deleted_pod(release: Release) -> None:
    """`kubectl delete pod`: a drain within the grace time, and a new pod."""
    release.kubectl("delete", "pod", release.pod)


def evicted(release: Release) -> None:
    """The Eviction API, once with a budget that forbids it, once without."""
    release.upgrade({"podDisruptionBudget": {"enabled": True, "maxUnavailable": 0}})
    uid, _ = release.life()
    place = {"name": release.pod, "namespace": release.name}
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": place})
    ask = ("create", "--raw", f"/api/v1/namespaces/{release.name}/pods/{release.pod}/eviction", "-f", "-")

    def budgeted() -> bool:
        return "disruptionsAllowed" in release.cluster.get("pdb", release.full, release.name).get("status", {})

    until(budgeted, "the budget to be counted")
    with pytest.raises(RuntimeError, match="disruption budget"):
        release.cluster.kubectl(*ask, given=eviction)
    release.upgrade({"podDisruptionBudget": {"enabled": False}})
    assert release.life()[0] == uid
    release.cluster.kubectl(*ask, given=eviction)
    until(lambda: (pod := release.found()) and pod["metadata"]["uid"] != uid, "a new pod", 180)


def drained(release: Release) -> None:
    """`kubectl drain` of its node: the pod comes up on the other one, which sees the same volume."""
    node = release.node()
    release.cluster.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
    try:
        release.until_ready()
        assert {node, release.node()} == {FIRST.name, SECOND.name}
    finally:
        release.cluster.kubectl("uncordon", node)


@contextmanager
def away(broker: LocalBroker) -> Iterator[None]:
    """Kafka does not answer meanwhile."""
    broker.freeze()
    try:
        yield
    finally:
        broker.thaw()


@pytest.mark.parametrize("done", [killed_process, killed_pod, deleted_pod, evicted, drained])
def test_nothing_acknowledged_is_lost(
    two_nodes: Cluster, broker: LocalBroker, release: Install, done: Callable[[Release], None]
) -> None:
    """Eight devices send before, meanwhile and after, while Kafka is away; each event that was acknowledged is there in the end, once."""
    topic = f"{done.__name__.replace('_', '-')}"
    settings = {
        "kafka": {"bootstrap_servers": [broker.address], "topic_prefix": topic},
        "devices": {name: {} for name in DEVICES},
    }
    values = {"registry": {"existingSecret": "registry"}, "settings": settings}
    running = release(merged(SOON, values), registry={"current.toml": REGISTRY})
    fleet = Fleet(plain(running.address()), DEVICES, STUDY)
    with fleet.sending(), away(broker):
        fleet.progress()  # from here on what is acknowledged is on the volume alone
        done(running)
        running.until_ready()
        fleet.progress()
    TABLES[done.__name__.replace("_", " ")] = fleet.table()
    assert fleet.acknowledged <= published(broker.address, topic, fleet.acknowledged)
