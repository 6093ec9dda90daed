"""Events searched, and in the forms in which they are given: JSON, lines, rows of CSV, server-sent events."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from plscp.matching.registry import Registry
from plscp.service.keeper import RegistryKeeper
from plscp.store import EventStore
from plscp.store.port import Accepted, EntryDraft
from plscp.web import events
from plscp.web.event_forms import COLUMNS, HEADING
from plscp.web.operations import CSV, EVENT_STREAM, JSON, NDJSON, preferred
from plscp.web.problems import ApiProblem
from tests.serving import until
from tests.web.conftest import Ask
from tests.web.fake import AWAY, FakeServer, Running, entry
from tests.web.test_pages import ACCEPTED, named
from tests.web.test_stores import drafted, submit

PATH = "/api/v1/events"
LATER = "2026-01-01T13:00:00.000Z"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("text/csv", CSV),
        ("Text/CSV; header=present", CSV),
        ("text/*", CSV),
        ("text/*;q=0.5, text/event-stream", EVENT_STREAM),
        ("text/csv;q=0, */*", JSON),
        ("application/*;q=0.3, text/csv;q=0.4", CSV),
        ("application/json;q=0.1, application/x-ndjson;q=0.2", NDJSON),
        ("application/json;q=much, text/csv;q=0.1", CSV),
        ("application/json;q=7, text/csv;q=nan", None),
        ("text/html", None),
        ("text/csv;q=0", None),
    ],
)
def test_what_is_accepted(accept: str, chosen: str | None) -> None:
    """The highest quality is taken, the most specific range decides about it, and the first form where all are alike; else 406."""
    offered = (JSON, NDJSON, CSV, EVENT_STREAM)
    if chosen is not None:
        assert preferred(accept, offered) == chosen
        return
    with pytest.raises(ApiProblem) as refused:
        preferred(accept, offered)
    assert refused.value.status == 406


# --- search ---


@pytest.fixture
def searched(real: FakeServer, store: EventStore, ask: Ask) -> FakeServer:
    """Two patients, of whom one was merged and gave an ID away; an entry that says of itself what another kind of entry is."""

    def made(method: str, path: str, body: dict[str, Any]) -> None:
        assert ask(real, method, path, json=body).status_code in {200, 201}

    def sent(name: str, patient: str, entries: list[EntryDraft], calling_ae: str = "HEMO1") -> None:
        context = b'"patient":{"id":"%b","issuer":"H"},"sender":{"ae_title":"HEMO1"}' % patient.encode()
        decision = Accepted(0, "procedure-log", f"1.{patient[1]}", f"1.{patient[1]}", patient, "H", context)
        submit(store, name * 32, decision, entries, calling_ae)

    for number in (1, 2, 3):
        study = {"status": "open", "patient": {"id": f"P{number}", "issuer": "H"}}
        made("PUT", f"/api/v1/studies/1.{number}", study)
    sent("a", "P1", [drafted(0, "2026-01-01T10:00:00.000Z", "note"), drafted(1, "2026-01-01T11:00:00.000Z", "pacing")])
    sent("b", "P2", [drafted(2, "2026-01-01T09:00:00.000Z", "note")], "XRAY1")
    sent("c", "P3", [drafted(3, "2026-01-01T12:00:00.000Z", 'x","n":{"kind":"pacing"},"of":"y')])
    made("POST", "/api/v1/patients/P1/merge?issuer=H", {"prior": {"id": "P2", "issuer": "H"}})
    return real


SEARCHES = [
    ("", [7, 8, 9, 10]),
    ("patient=P1", [7, 8, 9]),
    ("patient=P2&issuer=H", [7, 8, 9]),
    ("patient=P1&kind=note", [7, 9]),
    ("patient=P1&kind=all", [1, 3, 7, 8, 9, 11]),
    ("patient=P3&issuer=H", [10]),
    ("patient=P3&issuer=X", []),
    ("patient=P9", []),
    ("study=1.2", [9]),
    ("study=1.2&patient=P1", [9]),
    ("study=1.2&patient=P3", []),
    ("device=XRAY1", [9]),
    ("device=XRAY1&kind=pacing", []),
    ("kind=pacing", [8]),
    ("since=2026-01-01T10:00:00Z", [7, 8, 10]),
    ("until=2026-01-01T10:00:00Z", [9]),
    ("since=2026-01-01T11:00:00%2B01:00&until=2026-01-01T12:00:00%2B01:00", [7]),
    ("since=2026-01-01T10:00:00.000001Z", [8, 10]),
    ("latest=true&limit=2", [9, 10]),
    ("latest=true&limit=1&patient=P1", [9]),
    ("latest=true&limit=3&kind=note&after=7", [9]),
]


@pytest.mark.parametrize("looked_through", [1, 3, 20_000])
def test_search(searched: FakeServer, ask: Ask, monkeypatch: pytest.MonkeyPatch, looked_through: int) -> None:
    """By study, patient, device, kind and time, all at once; however few positions one read looks through."""
    monkeypatch.setattr(events, "LOOKED_THROUGH", looked_through)
    for query, positions in SEARCHES:
        found = ask(searched, "GET", f"{PATH}?{query}").json()
        assert [event["position"] for event in found["events"]] == positions, query
        assert found["next"] == searched.store.head()[0], query
    part = ask(searched, "GET", f"{PATH}?patient=P1&limit=2").json()
    assert [event["position"] for event in part["events"]] == [7, 8]
    assert part["next"] == 8


def test_an_id_that_was_given_anew_names_whom_it_named_then(searched: FakeServer, store: EventStore, ask: Ask) -> None:
    """What came under it before stays the former patient's, what came since is the new one's."""
    assert ask(searched, "PUT", "/api/v1/patients/P2?issuer=H", json={"name": "New^Person"}).status_code == 200
    again = Accepted(0, "medication-administration", "H|P2", "", "P2", "H", b'"patient":{"id":"P2","issuer":"H"}')
    submit(store, "d" * 32, again, [drafted(4, LATER, "note")])
    last = store.head()[0]
    for patient, positions in (("P1", [1, 3, 7, 8, 9, 11]), ("P2", [last - 2, last - 1, last])):
        found = ask(searched, "GET", f"{PATH}?patient={patient}&issuer=H&kind=all").json()["events"]
        assert [event["position"] for event in found] == positions


def test_no_event_is_judged_by_an_older_registry(searched: FakeServer, store: EventStore, ask: Ask) -> None:
    """What was committed a moment ago: an ID that was given anew, and an event under it."""
    registry, searched.keeper = searched.keeper, RegistryKeeper(store, Registry())
    assert ask(searched, "PUT", "/api/v1/patients/P2?issuer=H", json={}).status_code == 200
    anew = Accepted(0, "procedure-log", "1.9", "1.9", "P2", "H", b'"patient":{"id":"P2","issuer":"H"}')
    submit(store, "d" * 32, anew, [drafted(4, LATER, "note")])
    searched.keeper = registry
    found = ask(searched, "GET", f"{PATH}?patient=P1&issuer=H").json()["events"]
    assert [event["position"] for event in found] == [7, 8, 9]


def test_an_id_that_is_given_anew_ends_a_stream(searched: FakeServer, ask: Ask) -> None:
    """Who follows one patient is not shown another one; by an ID of a patient who is merged, the survivor."""
    with Running(searched) as running, stream(running, "patient=P2&issuer=H&kind=all&after=8") as answer:
        got = sent(answer)
        assert [next(got)["id"], next(got)["id"]] == ["9", "11"]
        merged = {"prior": {"id": "P1", "issuer": "H"}}
        assert ask(searched, "POST", "/api/v1/patients/P3/merge?issuer=H", json=merged).status_code == 200
        assert next(got)["id"] == "13"
        assert ask(searched, "PUT", "/api/v1/patients/P2?issuer=H", json={}).status_code == 200
        assert list(got) == [{"event": "end", "data": '{"why":"patient"}'}]


@pytest.mark.parametrize(
    ("query", "status", "why"),
    [
        ("issuer=H", 422, "issuer goes with patient"),
        ("patient=P1", 409, "2 patients have this ID: name the issuer"),
        ("kind=nothing", 422, "kind must be one of entry, registry"),
        ("kind=", 422, "kind must be one of"),
        ("since=yesterday", 422, "since must be a time with its offset"),
        ("until=2026-01-01T10:00:00", 422, "until must be a time with its offset"),
        ("latest=1&follow=1", 422, "latest ends where follow begins"),
        ("after=3&follow=1", 422, "the store has come to position 2 only"),
        ("after=3", 422, "the store has come to position 2 only"),
        ("after=3&latest=1", 422, "the store has come to position 2 only"),
    ],
)
def test_a_search_that_cannot_be_made(server: FakeServer, ask: Ask, query: str, status: int, why: str) -> None:
    """One line says what is wrong with it."""
    for issuer in ("H", "K"):
        ask(server, "PUT", f"/api/v1/patients/P1?issuer={issuer}", json={})
    answer = ask(server, "GET", f"{PATH}?{query}")
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(why)


# --- CSV ---


def table(answer: httpx.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_rows(server: FakeServer, ask: Ask) -> None:
    """One row for each event of whatever kind, with a heading, as RFC 4180 has it."""
    ask(server, "PUT", "/api/v1/studies/1.2.3", json={"status": "open", "patient": {"id": "P1", "issuer": "H"}})
    server.store.add("entry", entry(), key="1.2.3")
    server.store.add("refusal", {"status": "C102", "comment": "missing, at 3.2", "sender": {"ae_title": "HEMO1"}})
    moved = {"moved_from": {"study_instance_uid": "1.2.3", "patient": {"id": "P1", "issuer": "H"}}}
    server.store.add("correction", {"correction": moved})
    server.store.add("expunged", {"expunged": {"requests": 3}})
    answer = ask(server, "GET", f"{PATH}?kind=all", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.startswith(",".join(COLUMNS) + "\r\n1,")
    assert answer.text.count("\r\n") == 7
    patient, study, drug, refusal, withdrawn, expunged = table(answer)
    assert (patient["patient"], patient["issuer"], patient["what"]) == ("P1", "H", "patient.changed")
    assert (study["kind"], study["study"], study["patient"]) == ("registry", "1.2.3", "P1")
    assert drug == {
        "position": "3", "occurred": "2026-01-01T00:00:00.000Z", "recorded": "2026-01-01T00:00:01.000Z", "device": "HEMO1",
        "location": "LAB1", "study": "1.2.3", "study_id": "S1", "patient": "P1", "issuer": "HOSP", "kind": "drug_administered",
        "what": "Drug administered, Heparin, 5000 iU", "item": "Heparin", "code": "387467008^SCT", "quantity": "5000",
        "unit": "[iU]", "status": "0000", "event_id": "r1-0",
    }  # fmt: skip
    assert (refusal["what"], refusal["status"]) == ("missing, at 3.2", "C102")
    assert (withdrawn["what"], withdrawn["study"], withdrawn["patient"]) == ("withdrawn", "1.2.3", "P1")
    assert (expunged["kind"], expunged["what"], expunged["study"]) == ("expunged", "expunged", "")


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_no_formula_reaches_a_spreadsheet(server: FakeServer, ask: Ask, begin: str) -> None:
    """Text of a device that a spreadsheet would run gets an apostrophe; a number stays one."""
    text = f'{begin}HYPERLINK("http://x","y")'
    said = {"kind": "note\x1b[31m", "text": text, "dose": {"text": "-1.5E3", "unit": {"value": begin + "mL"}}}
    server.store.add("entry", entry(entry=said), key="1.2.3")
    server.store.add("entry", entry(entry={"kind": "note", "text": f"see;{begin}1+1;= 1"}), key="1.2.3")
    row, behind = table(ask(server, "GET", PATH, headers={"Accept": CSV}))
    assert behind["item"] == f"see;'{begin}1+1;'= 1"
    assert row["kind"] == "note\ufffd[31m"
    assert (row["item"], row["quantity"], row["unit"]) == (f"'{text}", "-1.5E3", f"'{begin}mL")


def test_everything_is_exported(server: FakeServer, ask: Ask) -> None:
    """Rows and lines have no bound unless one is given; they go on after a position."""
    for _ in range(1203):
        server.store.add("entry", entry(), key="1.2.3")
    assert len(table(ask(server, "GET", PATH, headers={"Accept": CSV}))) == 1203
    lines = ask(server, "GET", f"{PATH}?after=1200", headers={"Accept": NDJSON}).text.splitlines()
    assert [json.loads(line)["position"] for line in lines] == [1201, 1202, 1203]
    assert len(table(ask(server, "GET", f"{PATH}?limit=700", headers={"Accept": CSV}))) == 700
    assert len(ask(server, "GET", PATH).json()["events"]) == 100
    assert ask(server, "HEAD", PATH, headers={"Accept": CSV}).headers["content-type"] == "text/csv; charset=utf-8"


def test_an_export_is_written_as_it_is_read(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails in its middle breaks it off: nobody takes the part for the whole. It is logged once, and not as a defect."""
    for _ in range(20_000):
        running.server.store.add("entry", entry(), key="1.2.3")
    with httpx.stream("GET", f"{running.url}{PATH}", headers={"Accept": NDJSON}, timeout=60) as answer:
        got = answer.iter_lines()
        assert json.loads(next(got))["position"] == 1
        running.server.store.failure = AWAY
        with pytest.raises(httpx.RemoteProtocolError):
            list(got)
    assert [record.name for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_a_store_that_is_away_is_told_before_the_answer_begins(server: FakeServer, ask: Ask) -> None:
    """503, in whatever form events were asked for."""
    server.store.failure = AWAY
    for form in (JSON, NDJSON, CSV, EVENT_STREAM):
        assert ask(server, "GET", PATH, headers={"Accept": form}).status_code == 503


# --- server-sent events ---


def sent(answer: httpx.Response) -> Iterator[dict[str, str]]:
    """Each event's fields, as a browser takes them; a comment is an event without any."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if not line:
            yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def stream(running: Running, query: str = "", **headers: str) -> Any:
    more = {"Accept": "text/event-stream"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.stream("GET", f"{running.url}{PATH}?{query}", headers=more, timeout=60)


def test_server_sent_events(running: Running) -> None:
    """Each has its position as id, its type and the published value; a reader that comes again goes on after its last one."""
    store = running.server.store
    store.add("entry", entry())
    with stream(running) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        got = sent(answer)
        first = next(got)
        assert (first["id"], first["event"]) == ("1", "t")
        assert first["data"].encode() == store.events[0].payload
        store.add("refusal", {})
        store.add("entry", entry())
        assert next(got)["id"] == "3"
        running.server.draining = True
        assert list(got) == [{"event": "end", "data": '{"why":"draining"}'}]
    running.server.draining = False
    with stream(running, "after=0&limit=1", Last_Event_ID="1") as answer:
        assert [each.get("id") or each["data"] for each in sent(answer)] == ["3", '{"why":"limit"}']
    with stream(running, Last_Event_ID="r1-0") as answer:
        assert answer.status_code == 422
    with stream(running, "latest=true") as answer:
        assert answer.status_code == 422


def test_a_comment_keeps_the_stream_alive(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes that fits, so that nothing in between takes the connection for dead; lines have none."""
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.0)
    store = running.server.store
    store.add("refusal", {})
    with stream(running) as answer:
        got = sent(answer)
        assert [next(got), next(got)] == [{}, {}]
        store.add("entry", entry())
        assert until(lambda: next(got), "the event")["id"] == "2"
        store.failure = AWAY
        store.add("entry", entry())
        assert [each for each in got if each] == [{"event": "end", "data": '{"why":"store"}'}]


FORMS = [("", JSON), ("&latest=true", JSON), ("", NDJSON), ("", CSV), ("", EVENT_STREAM), ("&follow=true", NDJSON)]


@pytest.mark.parametrize("what", ["", "&kind=all", "&study=1.2.3", "&latest=true", "&device=HEMO1"])
def test_a_list_that_goes_on_at_the_head(real: FakeServer, store: EventStore, ask: Ask, what: str) -> None:
    """What is asked for after the last event is an empty page, and its `next` is where what comes afterwards is found."""
    submit(store, named(1), ACCEPTED, [drafted(1, "2026-01-01T00:00:05.000Z")])
    head = store.head()[0]
    page = ask(real, "GET", f"{PATH}?after={head}{what}").json()
    assert page == {"events": [], "next": head}
    for form, heading in ((NDJSON, ""), (CSV, HEADING[CSV].decode())):
        answer = ask(real, "GET", f"{PATH}?after={head}{what}", headers={"Accept": form})
        assert (answer.status_code, answer.text) == (200, heading)
    submit(store, named(2), ACCEPTED, [drafted(2, "2026-01-01T00:00:05.000Z")])
    further = ask(real, "GET", f"{PATH}?after={page['next']}{what}").json()
    assert [event["position"] for event in further["events"]] == [further["next"]] == [head + 1]


@pytest.mark.parametrize(("query", "form"), FORMS)
def test_a_position_that_the_store_has_not_come_to(server: FakeServer, ask: Ask, query: str, form: str) -> None:
    """422 in every form, also for HEAD: of a reader that remembers more than the store has, the store is another one."""
    server.store.add("entry", entry())
    path, resuming = f"{PATH}?after=2{query}", {"Accept": EVENT_STREAM, "Last-Event-ID": "2"}
    assert ask(server, "HEAD", path, headers={"Accept": form}).status_code == 422
    assert ask(server, "HEAD", PATH, headers=resuming).status_code == 422
    for said in (ask(server, "GET", path, headers={"Accept": form}), ask(server, "GET", PATH, headers=resuming)):
        assert said.headers["content-type"] == "application/problem+json"
        assert "has come to position 1 only" in said.json()["detail"]


def test_a_stream_begins_at_the_head(running: Running) -> None:
    """Lines and server-sent events that begin after the last event have the next one first."""
    store = running.server.store
    store.add("entry", entry())
    for number, form in enumerate((NDJSON, EVENT_STREAM), 1):
        with stream(running, f"after={number}&limit=1&follow=true", Accept=form) as answer:
            assert answer.status_code == 200
            position = store.add("entry", entry())
            assert [f'"position": {position}' in line for line in answer.iter_lines() if "position" in line] == [True]


def test_what_can_be_followed(server: FakeServer, ask: Ask) -> None:
    """Lines and server-sent events; what ends as one document cannot be kept open."""
    for form in (JSON, CSV):
        assert ask(server, "GET", f"{PATH}?follow=1", headers={"Accept": form}).status_code == 406
