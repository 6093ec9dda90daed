"""Row 12: a device that reads each answer and closes without release (contract section 1), and who can see what became of it.

Here with `closes_without_release = false`, as every device is treated that does not have the setting.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import SYNTAXES, RawScu
from tests.serving import Serving
from tests.system.rows.rig import Rig, at

STUDY = "1.2.826.12.1"
SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[log]
format = "json"
[locations.lab-1]
[devices.HEMO1]
location = "lab-1"
"""


def sent_and_closed(port: int, data: bytes) -> int:
    """One association: send, read the answer, close the connection without release; the status."""
    contexts = [(PROCEDURAL_EVENT_LOGGING, SYNTAXES[1])]
    scu = RawScu("127.0.0.1", port, calling="HEMO1", contexts=contexts).associate()
    status = scu.request(PROCEDURAL_EVENT_LOGGING, data).status
    scu.socket.close()
    return status


def test_row_12_without_the_setting_equal_stents_are_one_event_and_two_retries(tmp_path: Path) -> None:
    """Three within a minute: three times 0000, one event; the two others are noted with it: when, and from where."""
    data = events.encoded(events.procedural([events.note(at("10:10"), "stent 3.0 x 18 mm")], study=STUDY))
    with Rig(tmp_path) as rig:
        rig.clock("10:00")
        rig.study(STUDY, "PA", location="LAB1")
        for clock in ("10:10:10", "10:10:30", "10:10:50"):
            rig.clock(clock)
            assert sent_and_closed(rig.port, data) == 0
        [event] = rig.events()
        notes = rig.store.retries(event.position)
        assert [note.arrival for note in notes] == [
            int(at(clock).timestamp() * 1e6) for clock in ("10:10:50", "10:10:30")
        ]
        assert {(note.calling_ae, note.address) for note in notes} == {("HEMO1", "127.0.0.1")}
        assert len({note.association for note in notes}) == 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that got three equal stents."""
    with Serving(tmp_path_factory.mktemp("row12"), SETTINGS) as server:
        body = {"status": "open", "patient": {"id": "PA", "issuer": "HOSP"}, "location": "lab-1"}
        assert server.put(f"/api/v1/studies/{STUDY}", body).status_code == 201
        data = events.encoded(events.procedural([events.note(events.now(), "stent 3.0 x 18 mm")], study=STUDY))
        assert [sent_and_closed(server.port, data) for _ in range(3)] == [0, 0, 0]
        yield server


def command(server: Serving, *arguments: str) -> str:
    """What a command prints."""
    line = [sys.executable, "-m", "plscp", *arguments, "--url", server.http]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout


def test_row_12_retries_are_shown_with_their_event(server: Serving) -> None:
    """Over HTTP and by `plscp event show`: when, and from which address and association."""
    [event] = server.get("/api/v1/events")["events"]
    shown = server.get(f"/api/v1/events/{event['position']}")
    assert {name: shown[name] for name in event} == event
    assert [(one["calling_ae"], one["address"]) for one in shown["retries"]] == [("HEMO1", "127.0.0.1")] * 2
    assert len({one["association"] for one in shown["retries"]}) == 2
    assert all(one["time"] >= event["recorded"][:19] for one in shown["retries"])
    page = command(server, "event", "show", str(event["position"]))
    assert page.count("sent again") == 2
    for one in shown["retries"]:
        assert f"from 127.0.0.1, association {one['association']}" in page
    assert json.loads(command(server, "event", "show", str(event["position"]), "--json")) == shown


def test_row_12_retries_are_counted(server: Serving) -> None:
    """A metric by SOP Class, and the status, over HTTP and by `plscp status`."""
    metrics = httpx.get(server.http + "/metrics").text
    assert 'plscp_requests_retried_total{sop_class="procedural-event-logging"} 2.0' in metrics
    status = server.get("/api/v1/status")
    assert status["requests_retried"] == 2
    assert [(one["position"], one["calling_ae"]) for one in status["latest_retries"]] == [
        (server.get("/api/v1/events")["events"][0]["position"], "HEMO1")
    ] * 2
    assert "requests retried: 2" in command(server, "status")
