"""Lists that are read in parts: who follows `next` sees each item once, whatever comes meanwhile."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plscp.store import EventStore
from plscp.store.port import Accepted, RegistryRecord, Rejected
from tests.web.conftest import Ask
from tests.web.fake import FakeServer
from tests.web.test_stores import drafted, submit

UID = "1.2.3"
ACCEPTED = Accepted(0, "procedure-log", UID, UID, "P1", "", b'"patient":{"id":"P1","issuer":""}')


def named(number: int) -> str:
    """A request's id, from which its identity is made."""
    return hashlib.sha256(bytes([number])).hexdigest()[:32]


def refused(number: int) -> Rejected:
    """A refusal with a proposed correction of its own."""
    correction = {
        "what": "proposal.move",
        "positions": [number],
        "from": [],
        "to": {"study_instance_uid": UID, "patient": {"id": "P1", "issuer": ""}},
        "because": "it stands elsewhere",
        "calling_ae": "HEMO1",
        "quarantine": "00",
    }
    proposal = RegistryRecord.proposal(correction, UID, f"{number:04x}")
    data = b'"status":"C104","comment":"c","findings":[]'
    return Rejected(0xC104, "C104 c", data, "c", content_refused=True, proposal=proposal)


def parts(ask: Ask, server: FakeServer, path: str, member: str, between: Callable[[int], None]) -> Iterator[Any]:
    """The items of a list, two at a time; `between` is called after each part with its number."""
    query = f"{path}{'&' if '?' in path else '?'}limit=2"
    after = ""
    for number in range(50):
        answer = ask(server, "GET", query + after)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert len(found[member]) <= 2
        yield from found[member]
        if not found[member] or "next" not in found:
            return
        after = f"&after={found['next']}"
        between(number)
    raise AssertionError(f"{path} has no end")


def test_events_while_more_come(real: FakeServer, store: EventStore, ask: Ask) -> None:
    """In order, with those that came meanwhile."""

    def another(number: int) -> None:
        if number < 8:
            submit(store, named(number), ACCEPTED, [drafted(number, "2026-01-01T00:00:05.000Z")])

    for number in range(3, 8):
        another(number)
    seen = [event["position"] for event in parts(ask, real, "/api/v1/events", "events", another)]
    assert seen == list(range(1, store.head()[0] + 1))
    assert len(seen) > 5


def test_refused_requests_and_corrections_while_they_are_repeated(
    real: FakeServer, store: EventStore, ask: Ask
) -> None:
    """Newest first: what comes meanwhile stands before the beginning, and a repeat takes no item out of its place."""
    for number in range(5):
        submit(store, named(number), refused(number), [])

    def repeated(number: int) -> None:
        submit(store, named(number), refused(number), [])
        submit(store, named(9 - number), refused(9 - number), [])

    items = list(parts(ask, real, "/api/v1/quarantine", "items", repeated))
    whole = ask(real, "GET", "/api/v1/quarantine").json()["items"]
    assert [item["id"] for item in items] == [item["id"] for item in whole[-5:]]
    assert len(whole) == 7
    assert "next" not in ask(real, "GET", "/api/v1/quarantine?limit=7").json()

    def more(number: int) -> None:
        submit(store, named(20 + number), refused(20 + number), [])

    seen = [each["id"] for each in parts(ask, real, "/api/v1/corrections", "corrections", more)]
    assert seen == ["0008", "0009", "0004", "0003", "0002", "0001", "0000"]


def test_repeats_of_a_request_while_more_come(real: FakeServer, store: EventStore, ask: Ask) -> None:
    """Newest first, of this event's request alone."""

    def again(_number: int) -> None:
        submit(store, "a" * 32, ACCEPTED, [drafted(1, "2026-01-01T00:00:05.000Z")])
        submit(store, "b" * 32, ACCEPTED, [drafted(2, "2026-01-01T00:00:05.000Z")])

    for number in range(6):
        again(number)
    path = "/api/v1/events/1/retries"
    before = ask(real, "GET", path).json()["retries"]
    assert len(before) == 5
    assert list(parts(ask, real, path, "retries", again)) == before
    assert len(ask(real, "GET", path).json()["retries"]) == 7
    assert ask(real, "GET", "/api/v1/events/9/retries").status_code == 404


def test_the_registry_while_it_changes(server: FakeServer, ask: Ask) -> None:
    """In the order of first mention: what comes meanwhile comes last, and a merge or a closing costs nobody else a place."""

    def put(what: str, number: int, body: dict[str, Any]) -> None:
        assert ask(server, "PUT", f"/api/v1/{what}/P{number}?issuer=H", json=body).status_code == 201

    def study(number: int) -> None:
        body = {"status": "open", "location": f"LAB{number}", "patient": {"id": f"P{number}", "issuer": "H"}}
        assert ask(server, "PUT", f"/api/v1/studies/1.2.{number}", json=body).status_code == 201

    for number in range(5):
        put("patients", number, {})
        put("admissions", number, {"patient": {"id": f"P{number}", "issuer": "H"}})
        study(number)

    def close(number: int) -> None:
        if number < 2:
            assert ask(server, "POST", f"/api/v1/studies/1.2.{number}/close").status_code == 200
            study(5 + number)

    studies = [each["study_instance_uid"] for each in parts(ask, server, "/api/v1/studies", "studies", close)]
    assert studies == [f"1.2.{number}" for number in range(7)]
    path = "/api/v1/studies?status=open"
    still_open = [each["study_instance_uid"] for each in parts(ask, server, path, "studies", lambda _: None)]
    assert still_open == [f"1.2.{number}" for number in range(2, 7)]

    def merge(number: int) -> None:
        if not number:
            prior = {"prior": {"id": "P0", "issuer": "H"}}
            assert ask(server, "POST", "/api/v1/patients/P1/merge?issuer=H", json=prior).status_code == 200
            put("patients", 7, {})
            put("admissions", 7, {"patient": {"id": "P7", "issuer": "H"}})

    patients = [each["id"] for each in parts(ask, server, "/api/v1/patients", "patients", merge)]
    assert patients == [f"P{number}" for number in range(8)]
    admissions = [each["id"] for each in parts(ask, server, "/api/v1/admissions", "admissions", lambda _: None)]
    assert admissions == ["P0", "P1", "P2", "P3", "P4", "P7"]


LISTS = ["studies", "patients", "admissions", "events", "events/1/retries", "quarantine", "corrections"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("after", ["-1", "x", "", "1.5", "9" * 30])
def test_an_after_that_is_none_says_what_to_do(server: FakeServer, ask: Ask, path: str, after: str) -> None:
    """422: it comes out of the answer before, or is left out."""
    server.store.add("entry", {})
    answer = ask(server, "GET", f"/api/v1/{path}?after={after}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("after must be a whole number from 0 to ")
    assert answer.json()["detail"].endswith("what `next` of the part before says; leave it out to begin")
    assert ask(server, "GET", f"/api/v1/{path}?after=0").status_code == 200
    far = ask(server, "GET", f"/api/v1/{path}?after={10**18}").json()
    assert far.get("next", 10**18) == 10**18
