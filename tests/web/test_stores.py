"""The HTTP side on the real store: what the fake of the other tests stands for."""

import hashlib
import threading

from plscp.store import EventStore
from plscp.store.port import Accepted, EntryDraft, Expunge, Rejected, RequestRecord, Result
from tests.web.conftest import Ask
from tests.web.fake import NOW, FakeServer

UID = "1.2.3"


def submit(
    store: EventStore,
    request_id: str,
    decision: Accepted | Rejected,
    entries: list[EntryDraft],
    calling_ae: str = "HEMO1",
) -> None:
    done = threading.Event()

    def result(_: Result) -> None:
        done.set()

    store.submit(
        RequestRecord(
            request_id=request_id,
            identity=request_id.encode().ljust(32, b"x"),
            sop_class="1.2.840.10008.1.40",
            calling_ae=calling_ae,
            address="127.0.0.1",
            association="1",
            message_id=1,
            transfer_syntax="1.2.840.10008.1.2",
            arrival=NOW,
            raw=b"raw",
            entries=entries,
            decision=decision,
            registry_position=1 << 62,
            done=result,
        )
    )
    assert done.wait(60)


def drafted(index: int, occurred: str, kind: str = "note") -> EntryDraft:
    data = f'"occurred":{{"time":"{occurred}"}},"entry":{{"template":"3106","kind":"{kind}","n":{index}}}'.encode()
    digest = bytes([index]) * 32
    return EntryDraft(index, "org.plscp.procedure-log.entry.v1", occurred, "", digest, digest, data)


def test_what_is_stored_is_shown(real: FakeServer, store: EventStore, ask: Ask) -> None:
    """Registry changes, entries and refusals of a real store come out of the API as they were published."""
    assert (
        ask(real, "PUT", f"/api/v1/studies/{UID}", json={"status": "open", "patient": {"id": "P1"}}).status_code == 201
    )
    accepted = Accepted(0, "procedure-log", UID, UID, "P1", "", b'"patient":{"id":"P1","issuer":""}')
    entries = [drafted(0, "2026-01-01T00:00:05.000Z"), drafted(1, "2026-01-01T00:00:02.000Z")]
    submit(store, "a" * 32, accepted, entries)
    refusal = b'"status":"C102","comment":"c","findings":[{"code":"missing-row","reason":"r"}]'
    submit(store, "b" * 32, Rejected(0xC102, "C102 c", refusal, "c", content_refused=True), [])

    head = ask(real, "GET", "/api/v1/status").json()["store"]
    listed = ask(real, "GET", "/api/v1/events?kind=all").json()
    assert listed["next"] == head["position"] == len(listed["events"])
    assert [event["position"] for event in listed["events"]] == list(range(1, head["position"] + 1))
    shown = ask(real, "GET", f"/api/v1/events/{head['position']}").json()
    raw = {"length": 3, "kept": 3, "sha256": hashlib.sha256(b"raw").hexdigest()}
    assert shown == listed["events"][-1] | {"raw": raw}  # what an event's own record does not say: it changes with time
    assert ask(real, "GET", f"/api/v1/events/{head['position'] + 1}").status_code == 404

    timeline = ask(real, "GET", f"/api/v1/timeline/{UID}").json()["entries"]
    assert [event["entry"]["n"] for event in timeline] == [1, 0]
    assert len(ask(real, "GET", f"/api/v1/events?study={UID}").json()["events"]) == 2

    (waiting,) = ask(real, "GET", "/api/v1/quarantine").json()["items"]
    assert (waiting["status"], waiting["comment"], waiting["calling_ae"], waiting["times"]) == ("C102", "c", "HEMO1", 1)
    item = ask(real, "GET", f"/api/v1/quarantine/{waiting['id']}").json()
    assert item["outcomes"][0]["data"]["findings"] == [{"code": "missing-row", "reason": "r"}]
    assert item["raw"] == "cmF3"
    assert listed["events"][-1]["dataref"] == f"/api/v1/quarantine/{waiting['id']}"
    assert ask(real, "GET", "/readyz").status_code == 200
    assert ask(real, "GET", "/livez").status_code == 200


def test_a_closed_store_is_not_ready(real: FakeServer, store: EventStore, ask: Ask) -> None:
    """A store that was closed is neither ready nor takes changes: 503, never a defect."""
    store.close()
    assert ask(real, "GET", "/readyz").status_code == 503
    assert ask(real, "PUT", f"/api/v1/studies/{UID}", json={"status": "open"}).status_code == 503


def test_raw_bytes_that_were_deleted_are_said_to_be(real: FakeServer, store: EventStore, ask: Ask) -> None:
    """The event stays as it was and says that nothing of its request is kept; the deletion is an event of its own."""
    accepted = Accepted(0, "procedure-log", UID, UID, "P1", "", b'"patient":{"id":"P1","issuer":""}')
    submit(store, "a" * 32, accepted, [drafted(0, "2026-01-01T00:00:05.000Z")])
    done = threading.Event()
    store.submit(Expunge(NOW + 1, NOW + 2, lambda _: done.set()))
    assert done.wait(60)
    shown = ask(real, "GET", "/api/v1/events/1").json()
    assert shown["raw"] == {"length": 3, "kept": 0, "sha256": hashlib.sha256(b"raw").hexdigest()}
    (event,) = ask(real, "GET", "/api/v1/events?kind=expunged").json()["events"]
    assert event["expunged"] == {"from": 1, "to": 1, "requests": 1, "quarantine": 0, "bytes": 3}
    assert ask(real, "GET", "/api/v1/events/2").json() == event


def test_a_correction_over_http(real: FakeServer, store: EventStore, ask: Ask) -> None:
    """A dry run, then the move; what is shown of the entry, of both timelines and of the correction; and back."""
    for uid, patient in (("1.2.3", "P1"), ("9.9", "P2")):
        made = ask(real, "PUT", f"/api/v1/studies/{uid}", json={"status": "open", "patient": {"id": patient}})
        assert made.status_code == 201
    accepted = Accepted(0, "procedure-log", UID, UID, "P1", "", b'"patient":{"id":"P1","issuer":""}')
    submit(store, "a" * 32, accepted, [drafted(0, "2026-01-01T00:00:05.000Z"), drafted(1, "2026-01-01T00:00:02.000Z")])
    one, two = (event["position"] for event in ask(real, "GET", "/api/v1/events").json()["events"])
    said = {"positions": [one], "to": {"study_instance_uid": "9.9"}, "why": "a slip", "who": "Doe"}
    tried = ask(real, "POST", "/api/v1/corrections", json=said | {"dry_run": True}).json()
    assert (tried["dry_run"], tried["position"], len(tried["moves"])) == (True, 0, 1)
    done = ask(real, "POST", "/api/v1/corrections", json=said).json()
    [move] = done["moves"]
    assert (move["position"], move["moved_to"]["study_instance_uid"]) == (one, "9.9")
    shown = ask(real, "GET", f"/api/v1/events/{one}").json()
    assert shown["standing"] == {
        "position": done["position"],
        "correction": done["id"],
        "study_instance_uid": "9.9",
        "patient": {"id": "P2", "issuer": ""},
    }
    assert "standing" not in ask(real, "GET", f"/api/v1/events/{two}").json()

    def timeline(uid: str, query: str = "") -> list[tuple[int, bool]]:
        found = ask(real, "GET", f"/api/v1/timeline/{uid}{query}").json()["entries"]
        return [(entry["position"], "standing" in entry) for entry in found]

    assert timeline(UID) == [(two, False)]
    assert timeline(UID, "?original=true") == [(two, False), (one, True)]
    assert timeline("9.9") == [(done["position"], False)]
    assert timeline("9.9", "?original=true") == []
    known = ask(real, "GET", f"/api/v1/corrections/{done['id']}").json()
    assert (known["status"], known["who"], known["why"], known["positions"]) == (
        "confirmed", "Doe (without token)", "a slip", [one]
    )  # fmt: skip
    back = ask(real, "POST", f"/api/v1/corrections/{done['id']}/revert", json={"why": "it was right"})
    assert back.status_code == 200, back.text
    assert timeline(UID) == [(two, False), (back.json()["position"], False)]
    assert [each["status"] for each in ask(real, "GET", "/api/v1/corrections").json()["corrections"]] == [
        "confirmed", "reverted"
    ]  # fmt: skip
    real.draining = True
    assert ask(real, "POST", "/api/v1/corrections", json=said).status_code == 503
