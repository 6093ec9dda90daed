"""What the server looks at every second: devices, silence, rooms; a store that is away is said once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.errors import StoreUnavailable
from plscp.matching import changes
from plscp.matching.model import Device, Policy
from plscp.matching.registry import Locations, Registry, microseconds
from plscp.metrics import Metrics
from plscp.service.clock import ClockDifferences
from plscp.service.keeper import RegistryKeeper
from plscp.service.overview import MOST_DEVICES, Devices, ServerOverview
from plscp.service.profile import Profile
from plscp.store.port import Draft
from tests.matching.world import LABS, at
from tests.serving import until
from tests.store.drafts import accepted, rejected, request, send
from tests.temporary import TemporaryStore
from tests.test_metrics import key, samples

POLICY = Policy(patient_id_issuer="HOSP")
PROFILES = {
    "HEMO1": Profile(Device("HEMO1", ("LAB1",)), POLICY, silent_after=timedelta(minutes=10)),
    "XRAY1": Profile(Device("XRAY1", ("LAB2",)), POLICY),
}


class Away(TemporaryStore):
    """The store, with a switch: it cannot be read."""

    away = False

    def quarantine_open(self) -> dict[str, int]:
        """As the store's, unless it is away."""
        if self.away:
            raise StoreUnavailable("the disk is away")
        return super().quarantine_open()


class Lab:
    """An overview under a clock that the test sets; PX1 is in LAB1 from 9:00."""

    def __init__(self) -> None:
        self.now: datetime = at("09:00")
        self.store = Away()
        self.keeper = RegistryKeeper(self.store, Registry(Locations(LABS)), policy=POLICY, clock=lambda: self.now)
        self.associations: list[dict[str, Any]] = []
        self.metrics = Metrics()
        self.metrics.watch_devices(PROFILES.__contains__)
        self.overview = ServerOverview(
            self.store,
            self.keeper,
            lambda ae_title: PROFILES.get(ae_title, Profile(Device(ae_title), POLICY)),
            configured=lambda: PROFILES,
            associations=lambda: self.associations,
            devices=Devices(),
            clocks=ClockDifferences(),
            metrics=self.metrics,
            clock=lambda: self.now,
        )
        self.put("open")

    def put(self, status: str) -> None:
        """Put the study and wait."""
        body = {"study_instance_uid": "1.1", "patient": {"id": "PX1"}, "location": "LAB1", "status": status}
        done: list[object] = []
        self.keeper.begin(lambda registry: changes.put_study(registry, body, POLICY, self.now), "http", done.append)
        until(lambda: done, "the change")

    def silent(self) -> float | None:
        """The metric, after a look."""
        self.overview.measure_devices()
        return samples(self.metrics).get(key("plscp_device_silent", "HEMO1"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab."""
    made = Lab()
    yield made
    made.store.close()


def test_a_device_that_is_connected_during_a_case_and_sends_nothing_is_silent(lab: Lab) -> None:
    """From `silent_after` on; without an association, a case, or the setting it is not."""
    lab.associations = [{"calling_ae": "HEMO1"}, {"calling_ae": "XRAY1"}]
    lab.now = at("09:10")
    assert lab.silent() == 0
    lab.now = at("09:11")
    assert lab.silent() == 1
    assert key("plscp_device_silent", "XRAY1") not in samples(lab.metrics)
    lab.overview.devices.accepted("HEMO1", microseconds(at("09:05")))
    assert lab.silent() == 0
    lab.now = at("09:16")
    assert lab.silent() == 1
    lab.associations = []
    assert lab.silent() == 0
    lab.associations = [{"calling_ae": "HEMO1"}]
    lab.put("closed")
    assert lab.silent() == 0


def test_a_device_that_is_taken_out_of_the_settings_is_alerted_on_no_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings change while the server runs: neither a device that is gone nor one that is watched no more stays silent."""
    lab.associations = [{"calling_ae": "HEMO1"}]
    lab.overview.devices.accepted("HEMO1", microseconds(at("09:00")))
    lab.now = at("09:30")
    assert lab.silent() == 1
    watched = PROFILES["HEMO1"]
    monkeypatch.setitem(globals(), "PROFILES", {"HEMO1": replace(watched, silent_after=None)})
    assert lab.silent() is None
    monkeypatch.setitem(globals(), "PROFILES", {"HEMO1": watched})
    assert lab.silent() == 1
    monkeypatch.setitem(globals(), "PROFILES", {})
    lab.overview.measure_devices()
    gauges = {name for name in samples(lab.metrics) if "HEMO1" in name and not name[0].endswith("_total")}
    assert not gauges, gauges


def test_the_last_event_of_a_device_survives_a_restart(lab: Lab) -> None:
    """It is taken over from the store; refusals count since the start."""
    drafts: list[Draft] = [request(ae="HEMO1", arrival=5_000_000), request(decision=rejected(), ae="XRAY1")]
    send(lab.store, *drafts)
    lab.overview.load()
    lab.overview.measure_devices()
    found = samples(lab.metrics)
    assert found[key("plscp_device_last_event_timestamp_seconds", "HEMO1")] == 5
    assert key("plscp_device_last_event_timestamp_seconds", "XRAY1") not in found
    rows = {row["ae_title"]: row for row in lab.overview.device_rows()}
    assert rows["HEMO1"]["last_event"] == "1970-01-01T00:00:05+00:00"
    assert (rows["XRAY1"]["last_event"], rows["XRAY1"]["refusals"]) == (None, 0)


def test_devices_and_rooms_as_status_shows_them(lab: Lab) -> None:
    """Configured ones first, then those that were seen; a room names studies and no patient."""
    lab.associations = [{"calling_ae": "NOBODY1"}]
    lab.overview.devices.refused("HEMO1", microseconds(at("09:01")), 0xC103, "no study")
    rows = lab.overview.device_rows()
    assert [(row["ae_title"], row["configured"], row["open"]) for row in rows] == [
        ("HEMO1", True, 0), ("XRAY1", True, 0), ("NOBODY1", False, 1),
    ]  # fmt: skip
    assert rows[0]["last_refusal"]["status"] == "C103"
    rooms = {row["location"]: row["studies"] for row in lab.overview.room_rows()}
    assert [study["study_instance_uid"] for study in rooms["LAB1"]] == ["1.1"]
    assert rooms["LAB2"] == []
    assert "PX1" not in str(rooms)


def test_what_is_open_in_quarantine_is_counted(lab: Lab) -> None:
    """By device; one that is not configured is `other`; an item that was closed counts no more."""
    refused = request(decision=rejected(), ae="HEMO1")
    send(lab.store, refused, request(decision=rejected(), ae="ANYBODY"))
    lab.overview.count_quarantine()
    found = samples(lab.metrics)
    assert (found[key("plscp_quarantine_open", "HEMO1")], found[key("plscp_quarantine_open", "other")]) == (1, 1)
    again = request(refused.entries, accepted(), ae="HEMO1")
    again.identity = refused.identity
    send(lab.store, again)
    lab.overview.count_quarantine()
    assert key("plscp_quarantine_open", "HEMO1") not in samples(lab.metrics)


def test_a_store_that_is_away_is_said_once(lab: Lab) -> None:
    """Each second would fill the log."""
    lab.store.away = True
    with capture_logs() as lines:
        for _ in range(3):
            lab.overview.count_quarantine()
    assert [line["event"] for line in lines] == ["store-failed"]


def test_invented_titles_do_not_fill_the_memory() -> None:
    """Beyond the bound no new device is remembered; known ones are."""
    devices = Devices()
    for number in range(MOST_DEVICES + 5):
        devices.accepted(f"D{number}", number)
        devices.refused(f"D{number}", number, 0xC103, "why")
    assert (len(devices.events), len(devices.refusals), len(devices.last)) == (MOST_DEVICES,) * 3
    devices.refused("D1", 9, 0xC104, "why")
    assert (devices.refusals["D1"], devices.last["D1"].status) == (2, 0xC104)
    assert devices.latest_refusals()[0].calling_ae == f"D{MOST_DEVICES - 1}"
