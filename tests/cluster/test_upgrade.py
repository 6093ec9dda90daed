"""Upgrades while devices send: to another image and back, out of a bad one, and with settings that need a restart."""

import json
from collections.abc import Iterator

import pytest

from plscp.local.kafka import LocalBroker
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import TABLES, Install, installing
from tests.cluster.devices import ASSOCIATIONS, SOON, Fleet, plain, published
from tests.cluster.parts import NEXT, VERSION
from tests.cluster.release import Release, Values, merged
from tests.serving import open_study, until

STUDY = "1.2.826.0.1.3680043.9.3811.8.3"
DEVICES = [f"DEV{number}" for number in range(ASSOCIATIONS)]
REGISTRY = open_study(STUDY, "LAB1")


def image(release: Release) -> str:
    """The tag that the pod runs."""
    pod = release.found()
    assert pod is not None
    return str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2]


def stuck(release: Release) -> bool:
    """Whether the pod's image cannot be had."""
    pod = release.found() or {}
    states = [each["state"] for each in pod.get("status", {}).get("containerStatuses", [])]
    return any(state.get("waiting", {}).get("reason") in {"ErrImagePull", "ImagePullBackOff"} for state in states)


def test_an_upgrade_and_a_rollback_lose_nothing(broker: LocalBroker, release: Install) -> None:
    """Another image, back again, then a tag that there is not, and out of that: what was acknowledged is on Kafka, once."""
    settings = {
        "kafka": {"bootstrap_servers": [broker.address], "topic_prefix": "upgrade"},
        "devices": {name: {} for name in DEVICES},
    }
    values = {"registry": {"existingSecret": "registry"}, "settings": settings}
    running = release(merged(SOON, values), registry={"current.toml": REGISTRY})
    fleet = Fleet(plain(running.address()), DEVICES, STUDY)
    with fleet.sending():
        running.upgrade({"image": {"tag": NEXT}})
        running.until_ready()
        assert image(running) == NEXT
        fleet.progress()
        running.rollback()
        running.until_ready()
        assert image(running) == VERSION
        fleet.progress()
        running.upgrade({"image": {"tag": "there-is-none"}}, wait=False)
        until(lambda: stuck(running), "an image that cannot be had", 180)
        running.rollback()
        running.until_ready()
        assert image(running) == VERSION
    TABLES["upgrade, rollback, bad image, rollback"] = fleet.table()
    assert fleet.acknowledged <= published(broker.address, "upgrade", fleet.acknowledged)


RESTARTING: dict[str, Values] = {
    "dicom.max_associations": {"dicom": {"max_associations": 17}},
    "kafka.topic_prefix": {"kafka": {"topic_prefix": "another"}},
    "log.format": {"log": {"format": "console"}},
}


@pytest.fixture(scope="module")
def restarting(cluster: Cluster) -> Iterator[Release]:
    """A release that does not take its time to end."""
    kafka = {"bootstrap_servers": ["192.0.2.1:1"]}
    with installing(cluster) as install:
        yield install({"settings": {"dicom": {"drain_delay": "PT0S"}, "kafka": kafka}})


@pytest.mark.parametrize("setting", RESTARTING)
def test_a_setting_that_needs_a_restart_gets_one(restarting: Release, setting: str) -> None:
    """The checksum in the pod's template changes with it; `helm upgrade` waits for the pod that has it."""
    before = restarting.life()
    restarting.upgrade({"settings": RESTARTING[setting]})
    restarting.until_ready()
    assert restarting.life()[0] != before[0]
    section, name = setting.split(".")
    shown = json.loads(restarting.exec("plscp", "config", "show", "--json"))
    assert shown[section][name] == RESTARTING[setting][section][name]
