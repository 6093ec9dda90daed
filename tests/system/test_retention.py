"""`[store] raw_retention` in a running server: what was received goes, what was stored stays."""

from pathlib import Path

import httpx

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RawScu
from tests.serving import Serving, open_study, until

SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"
[store]
url = "sqlite:///{folder}/plscp.db"
raw_retention = "PT0.001S"
[http]
port = 0
[operators]
policy = "any"
[registry]
file = "{folder}/current.toml"
"""
STUDY = "1.2.840.99.1"
REGISTRY = open_study(STUDY)


def test_a_server_deletes_raw_bytes_by_itself(tmp_path: Path) -> None:
    """The entry is as it was, its raw bytes are gone, an event and a metric say so; a refused request keeps its own."""
    (tmp_path / "current.toml").write_text(REGISTRY)
    with (
        Serving(tmp_path, SETTINGS) as server,
        RawScu("127.0.0.1", server.port, calling="HEMO1", timeout=60) as scu,
    ):
        for study in (STUDY, "1.2.840.99.404"):
            data = events.procedural([events.note(events.now(), "kept")], study=study)
            scu.request(PROCEDURAL_EVENT_LOGGING, events.encoded(data))
        (entry,) = server.get("/api/v1/events")["events"]
        (refusal,) = server.get("/api/v1/events", kind="refusal")["events"]
        shown = until(
            lambda: found if (found := server.get(f"/api/v1/events/{entry['position']}"))["raw"]["kept"] == 0 else None,
            "the raw bytes to go",
        )
        assert shown["entry"]["text"] == "kept"
        assert shown["raw"]["length"] > 100
        (said,) = server.get("/api/v1/events", kind="expunged")["events"]
        assert (said["expunged"]["from"], said["expunged"]["requests"]) == (entry["position"], 1)
        metrics = httpx.get(f"{server.http}/metrics", timeout=60).text
        assert "plscp_store_expunged_total 1.0" in metrics
        raw = server.get(f"/api/v1/events/{refusal['position']}")["raw"]
        assert raw["kept"] == raw["length"] > 100, "its quarantine item is open"
        assert server.stop() == 0
