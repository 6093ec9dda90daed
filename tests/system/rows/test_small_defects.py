"""What people saw who only read the README: each as a test against a whole server in a process of its own."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydicom.dataset import Dataset

from plscp.local.kafka import LocalBroker
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RawScu
from tests.serving import Serving, until

SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"
[store]
url = "sqlite:///data/plscp.db"
[http]
port = 0
[operators]
policy = "any"
[locations.LAB1]
names = ["Lab 1"]
"""
STUDY = "1.2.3"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    """A server with one open study."""
    with Serving(tmp_path, SETTINGS) as running:
        running.put(f"/api/v1/studies/{STUDY}", {"status": "open", "patient": {"id": "P1", "issuer": "HOSP"}})
        yield running


def send(server: Serving, *requests: Dataset) -> list[int]:
    """Each request on one association; their statuses."""
    with RawScu(server.host, server.port) as scu:
        return [scu.request(PROCEDURAL_EVENT_LOGGING, events.encoded(each)).status for each in requests]


def notes(count: int, **ids: str) -> Dataset:
    """A log of so many notes."""
    return events.procedural([events.note(events.now()) for _ in range(count)], **ids)


def faulty() -> Dataset:
    """An intervention (TID 3108) without its attempt identifier and site."""
    entry = events.coded("CONTAINS", ("122090", "DCM", "Intervention Action"), ("122061", "DCM", "Start"))
    return events.procedural([events.at(entry, events.now())], study=STUDY)


def command(server: Serving, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `plscp` command about this server."""
    line = [sys.executable, "-m", "plscp", *arguments, "--url", server.http]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=server.folder)


def test_refusals_count_among_the_findings(server: Serving) -> None:
    """validation_findings_total counts what a request was refused for, by template and row, and what was only noticed."""
    assert send(server, faulty(), notes(1, study="9.9")) == [0xC102, 0xC103]
    text = httpx.get(server.http + "/metrics").text
    counted = {
        (sample.labels["template"], sample.labels["row"], sample.labels["severity"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "plscp_validation_findings_total"
    }
    assert counted["TID3108", "4", "refusal"] == 1
    assert sum(value for (_, _, severity), value in counted.items() if severity == "refusal") >= 2


def test_event_list_counts_events(server: Serving) -> None:
    """--limit N are the last N of the kind asked for, however many positions of other kinds lie between and after them."""
    assert send(server, *(notes(1, study=STUDY) for _ in range(4)), notes(2, study=STUDY)) == [0] * 5
    for number in range(20):
        server.put(f"/api/v1/studies/7.{number}", {"status": "open", "patient": {"id": f"Q{number}", "issuer": "HOSP"}})
    assert send(server, faulty()) == [0xC102]
    whole = [
        event["position"]
        for event in json.loads(command(server, "event", "list", "--after", "0", "--json").stdout)["events"]
    ]
    assert len(whole) == 6
    for limit in (1, 3, 6, 30):
        listed = json.loads(command(server, "event", "list", "--limit", str(limit), "--json").stdout)["events"]
        assert [event["position"] for event in listed] == whole[-limit:]
    of_study = json.loads(command(server, "event", "list", "--limit", "2", "--study", STUDY, "--json").stdout)
    assert [event["position"] for event in of_study["events"]] == whole[-2:]
    refusals = json.loads(command(server, "event", "list", "--limit", "1", "--kind", "refusal", "--json").stdout)
    assert [event["status"] for event in refusals["events"]] == ["C102"]
    assert len(command(server, "event", "list", "--limit", "4").stdout.splitlines()) == 5


def modes(folder: Path) -> dict[str, int]:
    """The permissions of a folder and of each file in it."""
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    return found | {".": stat.S_IMODE(folder.stat().st_mode)}


def test_store_files_are_their_owners_alone(tmp_path: Path) -> None:
    """0600, folder 0700: database, write-ahead log, locks and the relay's cursor, whatever the umask; wider ones are narrowed."""
    kafka = '[kafka]\nbootstrap_servers = ["127.0.0.1:9"]\n'
    before = os.umask(0)
    try:
        with Serving(tmp_path, SETTINGS + kafka) as server:
            server.put(f"/api/v1/studies/{STUDY}", {"status": "open", "patient": {"id": "P1", "issuer": "HOSP"}})
            assert send(server, notes(1, study=STUDY)) == [0]
            until(lambda: "plscp-relay.db-wal" in modes(tmp_path / "data"), "the relay's cursor")
            found = modes(tmp_path / "data")
            assert found.pop(".") == 0o700
            expected = {"plscp.db", "plscp.db-wal", "plscp.db-shm", "plscp.db.lock"}
            expected |= {f"plscp-relay.db{tail}" for tail in ("", "-wal", "-shm", ".lock")}
            assert set(found) == expected
            assert set(found.values()) == {0o600}
            assert server.stop() == 0
            for path in (tmp_path / "data").iterdir():
                path.chmod(0o666)
            (tmp_path / "data").chmod(0o755)
            server.start()
            until(lambda: set(modes(tmp_path / "data").values()) == {0o600, 0o755}, "files to be narrowed")
            warned = [json.loads(line) for line in server.lines if '"store-permissions"' in line]
            assert [(line["path"], line["mode"]) for line in warned] == [(str(tmp_path / "data"), "0755")]
            assert server.stop() == 0
    finally:
        os.umask(before)


@pytest.mark.kafka
def test_a_broker_that_goes_away_is_said_with_since_when(own_broker: Callable[[], LocalBroker], tmp_path: Path) -> None:
    """Also while nothing is to be published; what is not acknowledged counts, exactly, and never less; when it is back, all is well."""
    broker = own_broker()
    kafka = f'[kafka]\nbootstrap_servers = ["{broker.address}"]\n'

    with Serving(tmp_path, SETTINGS + kafka) as serving:

        def relay() -> dict[str, Any]:
            found: dict[str, Any] = serving.get("/api/v1/status")["kafka"]
            return found if isinstance(found, dict) else {}

        def states() -> set[str]:
            return {topic["state"] for topic in relay().get("topics", {}).values()}

        def gauge(name: str) -> float:
            [line] = [
                line for line in httpx.get(serving.http + "/metrics").text.splitlines() if line.startswith(f"{name} ")
            ]
            return float(line.split()[1])

        serving.put(f"/api/v1/studies/{STUDY}", {"status": "open", "patient": {"id": "P1", "issuer": "HOSP"}})
        until(lambda: states() == {"running"} and relay()["pending"] == 0, "the relay to be up to date", 60)
        assert (relay()["reachable"], relay()["away_since"], gauge("plscp_relay_kafka_up")) == (True, "", 1)
        began = datetime.now(UTC)
        broker.kill()
        until(lambda: not relay()["reachable"], "the idle relay to notice", 60)
        since = datetime.fromisoformat(relay()["away_since"])
        assert began - timedelta(seconds=1) <= since <= datetime.now(UTC)
        assert states() == {"waiting"}
        assert gauge("plscp_relay_kafka_up") == 0
        assert gauge("plscp_relay_kafka_away_since_timestamp_seconds") == since.timestamp()

        def one_more(expected: int) -> None:
            """A request, the changes of a patient and a study, and a refusal: four topics."""
            number = serving.get("/api/v1/status")["store"]["position"]
            patient = {"id": f"Q{number}", "issuer": "HOSP"}
            serving.put(f"/api/v1/studies/7.{number}", {"status": "open", "patient": patient})
            assert send(serving, notes(100, study=STUDY), notes(1, study="9.9")) == [0, 0xC103]
            until(lambda: relay()["pending"] == expected, "each record that is not acknowledged to count", 60)
            assert gauge("plscp_relay_pending") == expected
            assert states() == {"waiting"}

        for expected in (103, 206, 309):
            one_more(expected)
        broker.start()
        until(lambda: states() == {"running"} and relay()["pending"] == 0, "the rest to be published", 90)
        assert (relay()["reachable"], relay()["away_since"], gauge("plscp_relay_kafka_up")) == (True, "", 1)
        assert serving.stop() == 0
