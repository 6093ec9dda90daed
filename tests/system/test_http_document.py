"""What docs/http.md tells to type works, and what it says of the API is so."""

import csv
import re
from pathlib import Path

import pytest

from plscp.web import events
from plscp.web.event_forms import COLUMNS
from tests.system.test_documents import Walk, text_of


@pytest.mark.slow
def test_it_can_be_followed(tmp_path: Path) -> None:
    """Search, export and follow, on a server that has the demo's case, as it is written."""
    walk = Walk(tmp_path)
    walk.variables |= {"PLSCP_DICOM__UNKNOWN_DEVICES": "accept", "PLSCP_MATCHING__PATIENT_ID_ISSUER": "HOSP"}
    walk.run("plscp config init /etc/plscp/plscp.toml")
    walk.start()
    try:
        walk.run(
            "plscp study open 1.2.3 --patient 4711 --location LAB1\n"
            "plscp simulate 127.0.0.1 11112 --speed 5000 --study-uid 1.2.3 --patient-id 4711 -q || true\n"
        )
        walk.said = ""
        walk.follow(text_of("http"))
    finally:
        walk.stop()
    assert "kind must be one of entry" in walk.said
    assert re.findall(r"^id: (\d+)$", walk.said, re.MULTILINE) == ["4", "5", "6", "7"]
    assert walk.said.count('event: end\ndata: {"why":"limit"}') == 2
    with (walk.here / "drugs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"Heparin", "Nitroglycerin"} <= {row["item"] for row in rows}
    assert {row["patient"] for row in rows} == {"4711"}
    assert len((walk.here / "events.ndjson").read_text().splitlines()) > len(rows) > 10


def test_its_tables_and_numbers_are_those_of_the_api() -> None:
    """Parameters, columns and bounds."""
    text = text_of("http")
    named = set(re.findall(r"`(\w+)`", "".join(line for line in text.splitlines() if line.startswith("|"))))
    parameters = {each.name for each in events.list_events.parameters or () if each.place == "query"}
    assert parameters - {"latest", "follow"} <= named
    assert set(COLUMNS) <= named
    assert f"As JSON {events.DEFAULT_EVENTS} where" in text
    assert f"after {events.KEEP_ALIVE_SECONDS:g} s without" in text
    assert f"At most {events.MOST_FOLLOWERS} answers" in text
