"""A disk that gets low under a running server: what devices see, what goes on, and how it comes back by itself."""

import json
from pathlib import Path
from typing import Any

import httpx

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RawScu, Response
from tests.serving import Serving, open_study, until

PROGRAM = (str(Path(__file__).with_name("low_disk.py")),)
SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"
[store]
url = "sqlite:///{folder}/plscp.db"
disk_watermark = 1000
disk_reserve = 1
[http]
port = 0
[operators]
policy = "any"
[registry]
file = "{folder}/current.toml"
"""
STUDY = "1.2.840.99.1"
REGISTRY = open_study(STUDY)


def disk(folder: Path, free: int) -> None:
    """Exchanged, so that nobody reads half a number."""
    (folder / "free.new").write_text(str(free))
    (folder / "free.new").rename(folder / "free")


def send(scu: RawScu, words: str) -> Response:
    data = events.procedural([events.note(events.now(), words)], study=STUDY)
    return scu.request(PROCEDURAL_EVENT_LOGGING, events.encoded(data))


def logged(server: Serving, name: str) -> list[dict[str, Any]]:
    return [line for text in server.lines if text.startswith("{") and (line := json.loads(text))["event"] == name]


def metric(server: Serving, name: str) -> float:
    lines = httpx.get(f"{server.http}/metrics", timeout=60).text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def test_a_low_disk_refuses_requests_and_nothing_else(tmp_path: Path) -> None:
    """0213H below the watermark, on the same association 0000 again above it; what was acknowledged is there, each once."""
    (tmp_path / "current.toml").write_text(REGISTRY)
    disk(tmp_path, 5000)
    with (
        Serving(tmp_path, SETTINGS, PROGRAM) as server,
        RawScu("127.0.0.1", server.port, calling="HEMO1", timeout=60) as scu,
    ):
        assert send(scu, "before").status == 0
        assert metric(server, "plscp_store_disk_full") == 0
        disk(tmp_path, 999)
        until(lambda: send(scu, "low").status == 0x0213, "0213H")
        refused = send(scu, "low still")
        assert refused.status == 0x0213
        assert refused.comment == "", "PS3.7 C.5.22 has no Error Comment"
        assert metric(server, "plscp_store_disk_full") == 1
        assert server.get("/readyz") == {"status": "ready"}
        study = {"status": "open", "patient": {"id": "P2", "issuer": "HOSP"}}
        assert server.put("/api/v1/studies/1.2.840.99.2", study).status_code == 201
        disk(tmp_path, 1099)
        assert send(scu, "low still").status == 0x0213
        disk(tmp_path, 1100)
        until(lambda: metric(server, "plscp_store_disk_full") == 0, "room")
        assert send(scu, "low still").status == 0
        assert send(scu, "after").status == 0
        assert [line["free"] for line in logged(server, "disk-low")] == [999]
        assert [line["free"] for line in logged(server, "disk-recovered")] == [1100]
        texts = [event["entry"]["text"] for event in server.get("/api/v1/events")["events"]]
        assert [text for text in texts if text != "low"] == ["before", "low still", "after"]
        assert server.stop() == 0
