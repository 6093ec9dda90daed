"""Every row of the HTTP table: what it answers, and how it fails."""

import base64
import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from plscp import logs
from plscp.errors import StoreUnavailable
from tests.web.conftest import Ask
from tests.web.fake import AWAY, FakeServer, entry, item, proposal, retry, settings_of

UID = "1.2.3"
STUDY = f"/api/v1/studies/{UID}"
PATIENT = "/api/v1/patients/P1?issuer=HOSP"
OPEN: dict[str, Any] = {
    "status": "open",
    "patient": {"id": "P1", "issuer": "HOSP"},
    "location": "LAB1",
    "study_id": "S1",
}


@pytest.fixture
def filled(server: FakeServer, ask: Ask) -> FakeServer:
    """A server that knows two patients, an admission, a study, three entries and two quarantine items."""
    for method, path, body in (
        ("PUT", PATIENT, {"name": "DOE^JANE"}),
        ("PUT", "/api/v1/patients/P1?issuer=OTHER", {}),
        ("PUT", "/api/v1/admissions/A1?issuer=HOSP", {"patient": {"id": "P1", "issuer": "HOSP"}}),
        ("PUT", STUDY, OPEN),
    ):
        assert ask(server, method, path, json=body).status_code == 201
    server.store.add("entry", entry(UID), key=UID, occurred="2026-01-01T00:00:05.000Z")
    server.store.add("entry", entry(UID), key=UID, occurred="2026-01-01T00:00:02.000Z")
    server.store.add("entry", entry("9.9"), key="9.9")
    server.store.add("refusal", {"status": "C102"}, key="HEMO1")
    server.store.noted += [retry(6), retry(6, address="10.0.0.8"), retry(7)]
    server.store.proposed.append(proposal())
    server.store.items += [item(1), item(2, calling_ae="XRAY1", closed_position=9)]
    return server


@pytest.fixture
def more_refused(filled: FakeServer) -> FakeServer:
    """With two further items that are open."""
    filled.store.items += [item(3, calling_ae="GONE1"), item(4, calling_ae="XRAY2")]
    return filled


# (method, path, body, status, a condition on the answer)
ROWS: list[tuple[str, str, Any, int, Any]] = [
    # studies
    ("GET", "/api/v1/studies", None, 200, lambda a: [s["study_instance_uid"] for s in a["studies"]] == [UID]),
    ("GET", "/api/v1/studies?status=open&location=LAB1", None, 200, lambda a: len(a["studies"]) == 1),
    ("GET", "/api/v1/studies?status=closed", None, 200, lambda a: a["studies"] == []),
    ("GET", "/api/v1/studies?location=LAB2", None, 200, lambda a: a["studies"] == []),
    ("GET", "/api/v1/studies?status=ajar", None, 422, lambda a: "scheduled, open, closed, cancelled" in a["detail"]),
    ("GET", "/api/v1/studies?state=open", None, 422, lambda a: "state is no parameter" in a["detail"]),
    ("GET", STUDY, None, 200, lambda a: a["status"] == "open" and a["patient"] == {"id": "P1", "issuer": "HOSP"}),
    ("GET", "/api/v1/studies/1.2.4", None, 404, None),
    ("PUT", "/api/v1/studies/1.2.4", {"status": "scheduled", "patient": {"id": "P9", "issuer": "HOSP"}}, 201, lambda a: a["status"] == "scheduled"),
    ("PUT", "/api/v1/studies/1.2.4", {"status": "open"}, 201, lambda a: a["patient"]["id"].startswith("PLSCP-")),
    ("PUT", STUDY, OPEN | {"study_id": "S2"}, 200, lambda a: a["study_id"] == "S2"),
    ("PUT", STUDY, OPEN, 200, lambda a: a["study_id"] == "S1"),
    ("PUT", STUDY, OPEN | {"study_instance_uid": UID}, 200, None),
    ("PUT", STUDY, OPEN | {"study_instance_uid": "1.2.4"}, 422, lambda a: "differs from the one in the path" in a["detail"]),
    ("PUT", STUDY, OPEN | {"patient": {"id": "P2", "issuer": "HOSP"}}, 409, None),
    ("PUT", STUDY, {"statsu": "open"}, 422, lambda a: "status" in a["detail"]),
    ("PUT", STUDY, {"status": "ajar"}, 422, None),
    ("PUT", "/api/v1/studies/not-a-uid", OPEN, 422, lambda a: "UID" in a["detail"]),
    ("POST", STUDY + "/close", None, 200, lambda a: a["status"] == "closed" and a["closed"]),
    ("POST", STUDY + "/close", {}, 200, lambda a: a["status"] == "closed"),
    ("POST", STUDY + "/close", {"closed": "2026-01-01"}, 422, None),
    ("POST", STUDY + "/cancel", None, 200, lambda a: a["status"] == "cancelled"),
    ("POST", "/api/v1/studies/1.2.4/close", None, 404, None),
    ("POST", "/api/v1/studies/1.2.4/cancel", None, 404, None),
    # patients
    ("GET", "/api/v1/patients", None, 200, lambda a: len(a["patients"]) == 2),
    ("GET", PATIENT, None, 200, lambda a: a["name"] == "DOE^JANE"),
    ("GET", "/api/v1/patients/P1", None, 409, lambda a: "name the issuer" in a["detail"]),
    ("GET", "/api/v1/patients/P2?issuer=HOSP", None, 404, None),
    ("PUT", "/api/v1/patients/12%2F34?issuer=HOSP", {"name": "A"}, 201, lambda a: a["id"] == "12/34"),
    ("PUT", PATIENT, {"name": "DOE^JANET"}, 200, lambda a: a["name"] == "DOE^JANET"),
    ("PUT", PATIENT, {"id": "P7"}, 422, None),
    ("PUT", "/api/v1/patients/UNKNOWN", {}, 422, lambda a: "placeholder" in a["detail"]),
    ("PUT", "/api/v1/patients/", {}, 404, None),
    ("POST", "/api/v1/patients/P1/merge?issuer=HOSP", {"prior": {"id": "P1", "issuer": "OTHER"}}, 200, lambda a: a["former_ids"] == [{"id": "P1", "issuer": "OTHER"}]),
    ("POST", "/api/v1/patients/P5/merge?issuer=HOSP", {"prior": {"id": "P1", "issuer": "OTHER"}}, 201, lambda a: a["id"] == "P5"),
    ("POST", "/api/v1/patients/P1/merge?issuer=HOSP", {}, 422, lambda a: "prior" in a["detail"]),
    ("POST", "/api/v1/patients/P1/merge?issuer=HOSP", {"prior": {"id": "UNKNOWN"}}, 409, None),
    # operators
    ("GET", "/api/v1/operators", None, 200, lambda a: a == {"operators": [], "policy": "any"}),
    ("PUT", "/api/v1/operators/L/N1", {"locations": ["LAB1"]}, 201, lambda a: (a["status"], a["locations"], a["said_by"]) == ("active", ["LAB1"], "http")),
    ("PUT", "/api/v1/operators/L/N1", {}, 201, lambda a: a["warnings"] == ['operators: the policy is not "list": anyone may add to the record']),
    ("PUT", "/api/v1/operators/L/N%2F1", {"value": "N/1", "scheme": "L"}, 201, lambda a: a["value"] == "N/1"),
    ("PUT", "/api/v1/operators/L/N1", {"value": "N2"}, 422, lambda a: a["detail"] == "value: differs from the one in the path"),
    ("PUT", "/api/v1/operators/L/N1", {"status": "away"}, 422, lambda a: "status" in a["detail"]),
    ("PUT", "/api/v1/operators/%20/N1", {}, 404, lambda a: a["detail"] == "the path names no code"),
    ("DELETE", "/api/v1/operators/L/N1", None, 404, None),
    # admissions
    ("GET", "/api/v1/admissions", None, 200, lambda a: a["admissions"][0]["id"] == "A1"),
    ("GET", "/api/v1/admissions/A1?issuer=HOSP", None, 200, lambda a: a["patient"]["id"] == "P1"),
    ("GET", "/api/v1/admissions/A1", None, 200, lambda a: a["status"] == "active"),
    ("GET", "/api/v1/admissions/A2", None, 404, None),
    ("PUT", "/api/v1/admissions/A1?issuer=HOSP", {"status": "discharged"}, 200, lambda a: a["status"] == "discharged"),
    ("PUT", "/api/v1/admissions/A2", {"patient": {"id": "P1", "issuer": "HOSP"}}, 201, lambda a: a["id"] == "A2"),
    ("PUT", "/api/v1/admissions/A2", {}, 422, lambda a: "patient" in a["detail"]),
    ("PUT", "/api/v1/admissions/A1?issuer=HOSP", {"patient": {"id": "P8", "issuer": "HOSP"}}, 409, None),
    # events
    ("GET", "/api/v1/events", None, 200, lambda a: len(a["events"]) == 3 and all("entry" in e for e in a["events"])),
    ("GET", "/api/v1/events?kind=all&limit=2", None, 200, lambda a: [e["position"] for e in a["events"]] == [1, 2] and a["next"] == 2),
    ("GET", "/api/v1/events?kind=refusal", None, 200, lambda a: a["events"][0]["status"] == "C102"),
    ("GET", "/api/v1/events?kind=registry", None, 200, lambda a: {"change", "source", "position"} <= set(a["events"][0])),
    ("GET", "/api/v1/events?study=9.9", None, 200, lambda a: len(a["events"]) == 1),
    ("GET", "/api/v1/events?after=1000", None, 422, lambda a: "position 9 only" in a["detail"]),
    ("GET", "/api/v1/events?after=-1", None, 422, lambda a: "whole number" in a["detail"]),
    ("GET", "/api/v1/events?kind=all&limit=1&latest", None, 200, lambda a: [e["position"] for e in a["events"]] == [a["next"]] and a["next"] > 2),
    ("GET", "/api/v1/events?latest&follow", None, 422, None),
    ("GET", "/api/v1/events?limit=0", None, 422, None),
    ("GET", "/api/v1/events?limit=10001", None, 422, None),
    ("GET", "/api/v1/events?follow=perhaps", None, 422, None),
    ("GET", "/api/v1/events?kind=thing", None, 422, None),
    ("GET", "/api/v1/events/1", None, 200, lambda a: a["position"] == 1),
    ("GET", "/api/v1/events/1", None, 200, lambda a: "retries" not in a and "raw" not in a),
    ("GET", "/api/v1/events/6", None, 200, lambda a: a["raw"] == {"length": 10, "kept": 10, "sha256": "00" * 32}),
    ("GET", "/api/v1/events/8", None, 200, lambda a: a["position"] == 8 and a["retries"] == []),
    ("GET", "/api/v1/events/6", None, 200, lambda a: [r["address"] for r in a["retries"]] == ["10.0.0.7", "10.0.0.8"]),
    ("GET", "/api/v1/events/7", None, 200, lambda a: a["retries"][0] == {"time": "2026-01-01T00:00:00.000Z", "calling_ae": "HEMO1", "address": "10.0.0.7", "association": "a1-3", "message_id": 5, "transfer_syntax": "1.2.840.10008.1.2"}),
    ("GET", "/api/v1/events/0", None, 404, None),
    ("GET", "/api/v1/events/999", None, 404, lambda a: "nothing at position 999" in a["detail"]),
    ("GET", "/api/v1/events/one", None, 404, None),
    # quarantine
    ("GET", "/api/v1/quarantine", None, 200, lambda a: [i["calling_ae"] for i in a["items"]] == ["XRAY1", "HEMO1"]),
    ("GET", "/api/v1/quarantine?open=true", None, 200, lambda a: [i["calling_ae"] for i in a["items"]] == ["HEMO1"]),
    ("GET", "/api/v1/quarantine?calling_ae=XRAY1&limit=1", None, 200, lambda a: a["items"][0]["closed_position"] == 9),
    ("GET", "/api/v1/quarantine?limit=x", None, 422, None),
    ("GET", "/api/v1/quarantine/0101", None, 200, lambda a: a["outcomes"][0]["status"] == "C102" and base64.b64decode(a["raw"]) == b"\x08\x00abc"),
    ("GET", "/api/v1/quarantine/0101", None, 200, lambda a: a["first_time"] == "2026-01-01T00:00:00.000Z" and a["last_time"] == "2026-01-01T00:00:01.500Z"),
    ("GET", "/api/v1/quarantine/ff", None, 404, None),
    ("GET", "/api/v1/quarantine?reason=C102", None, 200, lambda a: len(a["items"]) == 2),
    ("GET", "/api/v1/quarantine?reason=C103", None, 200, lambda a: a["items"] == []),
    ("GET", "/api/v1/quarantine?since=2026-01-01T00:00:01Z&until=2026-01-01T01:00:02%2B01:00", None, 200, lambda a: len(a["items"]) == 2),
    ("GET", "/api/v1/quarantine?until=2026-01-01T00:00:01Z", None, 200, lambda a: a["items"] == []),
    ("GET", "/api/v1/quarantine?since=yesterday", None, 422, lambda a: "since must be a time with its offset" in a["detail"]),
    ("GET", "/api/v1/quarantine?since=2026-01-01T00:00:01", None, 422, lambda a: "offset" in a["detail"]),
    ("GET", "/api/v1/quarantine/0101", None, 200, lambda a: (a["replay"]["outcome"], a["replay"]["kept"], a["replayed"]) == ("accepted", False, {"0": 9})),
    ("GET", "/api/v1/quarantine/0202", None, 200, lambda a: "replay" not in a),
    # corrections
    ("GET", "/api/v1/corrections", None, 200, lambda a: [(c["id"], c["status"], c["positions"]) for c in a["corrections"]] == [("ab12cd34ef56ab78", "proposed", [3, 4])]),
    ("GET", "/api/v1/corrections?limit=0", None, 422, None),
    ("GET", "/api/v1/corrections/ab12cd34ef56ab78", None, 200, lambda a: a["to"]["patient"]["id"] == "P2" and a["time"] == "2026-01-01T00:00:00.000Z"),
    ("GET", "/api/v1/corrections/ff", None, 404, None),
    ("GET", "/api/v1/corrections?status=confirmed", None, 200, lambda a: a["corrections"] == []),
    ("GET", "/api/v1/corrections?status=moved", None, 422, None),
    ("POST", "/api/v1/corrections/ab12cd34ef56ab78/confirm", None, 409, lambda a: "there is no entry at position" in a["detail"]),
    ("POST", "/api/v1/corrections/ab12cd34ef56ab78/confirm", {"to": {"study": "1.2"}}, 422, lambda a: "unknown key" in a["detail"]),
    ("POST", "/api/v1/corrections/ab12cd34ef56ab78/reject", None, 422, lambda a: "why" in a["detail"]),
    ("POST", "/api/v1/corrections/ab12cd34ef56ab78/revert", {"why": "x"}, 409, lambda a: "is proposed, not confirmed" in a["detail"]),
    ("POST", "/api/v1/corrections/ff/confirm", None, 404, None),
    ("POST", "/api/v1/corrections", {}, 422, lambda a: "to: name the study" in a["detail"]),
    ("POST", "/api/v1/corrections", {"positions": [1], "to": {"study_instance_uid": "9.9"}}, 422, lambda a: "why: say why" in a["detail"]),
    # timeline and match
    ("GET", f"/api/v1/timeline/{UID}", None, 200, lambda a: [e["position"] for e in a["entries"]] == sorted((e["position"] for e in a["entries"]), reverse=True)),
    ("GET", "/api/v1/timeline/7.7", None, 404, None),
    ("GET", "/api/v1/match?patient_id=P1&location=LAB1", None, 200, lambda a: a["status"] == "0000" and a["given"] == {"patient_id": "P1", "location": "LAB1"}),
    ("GET", "/api/v1/match?patient=P1", None, 422, lambda a: "patient is no parameter" in a["detail"]),
    # health
    ("GET", "/livez", None, 200, lambda a: a == {"status": "live"}),
    ("GET", "/readyz", None, 200, lambda a: a == {"status": "ready"}),
    ("GET", "/api/v1/status", None, 200, lambda a: a["registry"]["open_studies"] == 1 and a["associations"][0]["calling_ae"] == "HEMO1" and a["quarantine_open"] == 1),
    ("GET", "/api/v1/status", None, 200, lambda a: (a["requests_retried"], a["corrections_proposed"], [r["position"] for r in a["latest_retries"]]) == (0, 1, [6, 6, 7])),
    ("HEAD", "/livez", None, 200, None),
    # what is not there
    ("GET", "/", None, 404, None),
    ("GET", "/api/v1/studies/", None, 404, None),
    ("GET", "/api/v2/studies", None, 404, None),
    ("DELETE", STUDY, None, 405, None),
    ("POST", "/api/v1/studies", {}, 405, None),
    ("GET", STUDY + "/close", None, 405, None),
    ("POST", "/livez", None, 405, None),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]} {row[3]}")
def test_each_row(filled: FakeServer, ask: Ask, row: tuple[str, str, Any, int, Any]) -> None:
    """Each operation answers as the table says; each failure is problem+json that repeats its status."""
    method, path, body, status, holds = row
    answer = ask(filled, method, path, **({} if body is None else {"json": body}))
    assert answer.status_code == status, answer.text
    if status >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["title"]
        assert problem["detail"]
        assert "\n" not in problem["detail"]
    if status == 405:
        assert answer.headers["allow"]
    if holds is not None:
        assert holds(answer.json()), answer.text


REPLAYS: list[tuple[str, Any, int, Any]] = [
    ("0101/replay", None, 200, lambda a: (a["outcome"], a["kept"], a["position"], a["entries"], a["patient"]["id"]) == ("accepted", True, 11, 2, "P1")),
    ("0101/replay", {"dry_run": True, "entries": [0, 2]}, 200, lambda a: (a["kept"], a["position"]) == (False, 0)),
    ("0101/replay", {"entries": [-1]}, 422, lambda a: "entries.0" in a["detail"]),
    ("0101/replay", {"entires": [1]}, 422, lambda a: "entires" in a["detail"]),
    ("0101/replay", {"dry_run": "perhaps"}, 422, None),
    ("0202/replay", {}, 409, lambda a: "was accepted since, at position 9" in a["detail"]),
    ("0303/replay", {}, 409, lambda a: "cannot be replayed: its bytes were deleted" in a["detail"]),
    ("0404/replay", {}, 200, lambda a: (a["outcome"], a["status"], a["findings"][0]["refuse"]) == ("refused", "C103", True)),
    ("ff/replay", {}, 404, None),
    ("replay", {}, 422, lambda a: "say which" in a["detail"]),
    ("replay", None, 422, None),
    ("replay", {"all": True}, 200, lambda a: [r["outcome"] for r in a["results"]] == ["accepted", "gone", "refused"] and "next" not in a),
    ("replay?limit=1", {"all": True, "dry_run": True}, 200, lambda a: [r["kept"] for r in a["results"]] == [False] and a["next"] == 1),
    ("replay?after=1", {"all": True}, 200, lambda a: [r["outcome"] for r in a["results"]] == ["gone", "refused"]),
    ("replay", {"calling_ae": "HEMO1"}, 200, lambda a: len(a["results"]) == 1),
    ("replay", {"reason": "C104"}, 200, lambda a: a["results"] == []),
    ("replay", {"since": "2026-01-01T00:00:02Z"}, 200, lambda a: a["results"] == []),
    ("replay", {"until": "2026-01-01T00:00:02"}, 422, lambda a: "until" in a["detail"]),
    ("0101/replay", [], 422, lambda a: "object" in a["detail"]),
]  # fmt: skip


@pytest.mark.parametrize("row", REPLAYS)
def test_replay(more_refused: FakeServer, ask: Ask, row: tuple[str, Any, int, Any]) -> None:
    """One item or all that fit, done or only asked; what is not there, not open or not kept is said."""
    path, body, status, holds = row
    answer = ask(more_refused, "POST", f"/api/v1/quarantine/{path}", **({} if body is None else {"json": body}))
    assert answer.status_code == status, answer.text
    assert holds is None or holds(answer.json()), answer.text


def test_nothing_is_replayed_while_the_server_ends(more_refused: FakeServer, ask: Ask) -> None:
    """503 for both."""
    more_refused.draining = True
    for path in ("0101/replay", "replay"):
        assert ask(more_refused, "POST", f"/api/v1/quarantine/{path}", json={"all": True}).status_code == 503
    assert more_refused.replay.asked == []


def test_changes_are_events(server: FakeServer, ask: Ask) -> None:
    """A change over HTTP is an event of the store with source http; saying the same again adds none."""
    ask(server, "PUT", STUDY, json=OPEN)
    position = server.store.head()[0]
    assert json.loads(server.store.events[-1].payload)["source"] == "http"
    assert ask(server, "PUT", STUDY, json=OPEN).status_code == 200
    assert server.store.head()[0] == position
    assert server.keeper.registry.position == position


@pytest.mark.parametrize("name", ["LAB1", "Lab 1", "CATH 1", " CATH 1 "])
def test_studies_are_listed_by_any_name_of_their_location(tmp_path: Path, ask: Ask, name: str) -> None:
    """Whichever of the names put it there; a name that is only like one of them lists nothing, and says so."""
    server = FakeServer(settings_of(tmp_path, '[locations.LAB1]\nnames = ["Lab 1", "CATH 1"]\n[locations.LAB2]\n'))
    for number, place in enumerate(("LAB1", "Lab 1", "CATH 1", "LAB2"), 1):
        assert ask(server, "PUT", f"/api/v1/studies/1.2.{number}", json=OPEN | {"location": place}).status_code == 201
    found = ask(server, "GET", "/api/v1/studies", params={"location": name}).json()
    listed = [(study["study_instance_uid"], study["location"]) for study in found["studies"]]
    assert listed == [("1.2.1", "LAB1"), ("1.2.2", "LAB1"), ("1.2.3", "LAB1")]
    assert "warnings" not in found
    near = ask(server, "GET", "/api/v1/studies", params={"location": name.strip(" ").lower()}).json()
    assert near["studies"] == []
    assert "did you mean" in near["warnings"][0]


def test_operators_of_settings_and_feeds_in_one_list(tmp_path: Path, ask: Ask) -> None:
    """Who is listed in the settings alone comes first; a code that a feed has named stands as the feed says, who was taken out too."""
    rows = "".join(f'{{ value = "{value}", scheme = "L" }},' for value in ("N1", "N2", "N3"))
    server = FakeServer(settings_of(tmp_path, f'[operators]\npolicy = "list"\nallowed = [{rows}]\n[locations.LAB1]\n'))
    answer = ask(server, "PUT", "/api/v1/operators/L/N7", json={"valid_until": "2030-01-01T00:00:00"})
    assert (answer.status_code, answer.json()["valid_until"]) == (201, "2030-01-01T00:00:00Z")
    assert "warnings" not in answer.json()
    answer = ask(server, "PUT", "/api/v1/operators/L/N7", json={"locations": ["LAB9"]})
    assert answer.json()["warnings"] == [
        'locations: no [locations] entry lists "LAB9": a place of its own; did you mean "LAB1"?'
    ]
    answer = ask(server, "DELETE", "/api/v1/operators/L/N2")
    assert (answer.status_code, answer.json()["status"], answer.json()["said_by"]) == (200, "inactive", "http")
    assert ask(server, "DELETE", "/api/v1/operators/L/N2").json()["status"] == "inactive"
    assert ask(server, "DELETE", "/api/v1/operators/L/N9").status_code == 404
    assert json.loads(server.store.events[-1].payload)["source"] == "http"
    found, after = [], 0
    while after is not None:
        page = ask(server, "GET", f"/api/v1/operators?limit=2&after={after}").json()
        assert page["policy"] == "list"
        found += [(each["value"], each["status"], each["said_by"]) for each in page["operators"]]
        after = page.get("next")
    assert found == [
        ("N1", "active", "settings"), ("N3", "active", "settings"), ("N7", "active", "http"), ("N2", "inactive", "http"),
    ]  # fmt: skip
    assert ask(server, "PUT", "/api/v1/operators/L/N2", json={"status": "active"}).json()["status"] == "active"


def test_lines(filled: FakeServer, ask: Ask) -> None:
    """With Accept: application/x-ndjson each event is one line, exactly as it is published."""
    answer = ask(filled, "GET", "/api/v1/events", headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.content == b"".join(e.payload + b"\n" for e in filled.store.events if e.kind == "entry")


def test_pages_join(server: FakeServer, ask: Ask) -> None:
    """A limit beyond one page of the store is filled from several."""
    for _ in range(1203):
        server.store.add("entry", entry(), key=UID)
    answer = ask(server, "GET", "/api/v1/events?limit=1200").json()
    assert [event["position"] for event in answer["events"]] == list(range(1, 1201))
    assert answer["next"] == 1200


BODIES = [
    (b"{", {"Content-Type": "application/json"}, 400),
    (b"\xff", {"Content-Type": "application/json"}, 400),
    (b'{"study_id": NaN}', {"Content-Type": "application/json"}, 400),
    (b'{"study_id": "\\ud800"}', {"Content-Type": "application/json"}, 400),
    (b"[" * 100_000, {"Content-Type": "application/json"}, 400),
    (b"[]", {"Content-Type": "application/json"}, 422),
    (b"3", {"Content-Type": "application/json; charset=utf-8"}, 422),
    (b"{}", {"Content-Type": "text/plain"}, 415),
    (b"{}", {}, 415),
    (b" " * (1 << 20) + b"{}", {"Content-Type": "application/json"}, 413),
]


@pytest.mark.parametrize(("body", "headers", "status"), BODIES)
def test_bodies(server: FakeServer, ask: Ask, body: bytes, headers: dict[str, str], status: int) -> None:
    """A body that is not JSON, not an object, not announced as JSON or too long is refused, and nothing is stored."""
    answer = ask(server, "PUT", STUDY, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert server.store.head() == (0, 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", STUDY), ("GET", "/api/v1/events"), ("GET", "/api/v1/events/1"), ("GET", f"/api/v1/timeline/{UID}"), ("GET", "/readyz")],
)  # fmt: skip
def test_store_away(server: FakeServer, ask: Ask, method: str, path: str) -> None:
    """A store that does not answer is 503, never 500; liveness stays."""
    server.store.failure = AWAY
    answer = ask(server, method, path, **({"json": OPEN} if method == "PUT" else {}))
    assert answer.status_code == 503
    assert str(AWAY) in answer.json()["detail"]
    assert ask(server, "GET", "/livez").status_code == 200


def test_liveness(server: FakeServer, ask: Ask) -> None:
    """Not live: the loop does not turn, or the writer is dead; the answer names which."""
    server.turning = False
    assert "event_loop" in ask(server, "GET", "/livez").json()["detail"]
    server.turning, server.store.is_alive = True, False
    assert ask(server, "GET", "/livez").json()["detail"] == "not alive: writer"


def test_draining(server: FakeServer, ask: Ask) -> None:
    """While draining the server is live, not ready, readable and takes no changes."""
    server.draining = True
    assert ask(server, "GET", "/livez").status_code == 200
    assert ask(server, "GET", "/readyz").status_code == 503
    assert ask(server, "GET", "/api/v1/studies").status_code == 200
    assert ask(server, "PUT", STUDY, json=OPEN).status_code == 503
    assert server.store.head() == (0, 0)


def test_defect(server: FakeServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect is 500 as problem+json, without its insides, and an internal-error line in the log."""
    said = io.StringIO()
    logs.configure(stream=said)

    def explain(_query: object) -> dict[str, Any]:
        raise KeyError("inside")

    monkeypatch.setattr(server, "explain_match", explain)
    answer = ask(server, "GET", "/api/v1/match")
    assert answer.status_code == 500
    assert "inside" not in answer.text
    assert json.loads(said.getvalue())["event"] == "internal-error"
    assert "KeyError" in said.getvalue()


def test_metrics(server: FakeServer, ask: Ask) -> None:
    """/metrics is Prometheus' text of the server's own metrics."""
    server.metrics.association("accepted")
    answer = ask(server, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'plscp_associations_total{outcome="accepted",reason=""} 1.0' in answer.text


def test_kafka_in_status(server: FakeServer, ask: Ask, tmp_path: Any) -> None:
    """The status names Kafka absent, starting, or what the relay last said."""
    assert ask(server, "GET", "/api/v1/status").json()["kafka"] == "absent"
    with_kafka = FakeServer(settings_of(tmp_path, '[kafka]\nbootstrap_servers = ["k:1"]\n'))
    assert ask(with_kafka, "GET", "/api/v1/status").json()["kafka"] == "starting"
    with_kafka.relay_status["pending"] = 3
    assert ask(with_kafka, "GET", "/api/v1/status").json()["kafka"] == {"pending": 3}


def test_status_asks_the_disk_on_a_thread(server: FakeServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that hangs answers late or never: the event loop, on which devices are answered, does not wait for it."""
    threads: set[str] = set()

    def noted(answer: Any) -> Any:
        threads.add(threading.current_thread().name)
        return answer

    monkeypatch.setattr(server.store, "disk_free", lambda: noted(5))
    monkeypatch.setattr(server.store, "full", lambda: noted(answer=False))
    monkeypatch.setattr(server, "loop_alive", lambda: noted(answer=True))
    ask(server, "GET", "/livez")
    [of_the_loop] = threads
    threads.clear()
    assert ask(server, "GET", "/api/v1/status").json()["store"]["disk_free"] == 5
    assert threads
    assert of_the_loop not in threads


def test_store_error_names(server: FakeServer, ask: Ask) -> None:
    """A probe that fails says why in /readyz."""
    server.store.failure = StoreUnavailable("disk full")
    assert "disk full" in ask(server, "GET", "/readyz").json()["detail"]
