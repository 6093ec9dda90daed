"""The history of studies and patients, what was known at an earlier position, and the room board: on a real store."""

import asyncio
from datetime import datetime
from typing import Any

import anyio
import httpx
import pytest

from plscp.matching import changes
from plscp.matching.model import Policy
from plscp.matching.records import PatientId
from plscp.matching.registry import Issuers, Locations, microseconds
from plscp.store.port import RegistryRecord
from tests.matching.world import LABS, at
from tests.web.checked import build
from tests.web.conftest import Ask
from tests.web.fake import FakeServer

POLICY = Policy()
STUDY = "/api/v1/studies/1.1"


class Case:
    """A server with a story: each change at a time of the day, from a source, in a message."""

    def __init__(self, server: FakeServer, ask: Ask) -> None:
        self.server, self._ask = server, ask
        self.now = at("09:00")
        server.keeper._clock = lambda: self.now
        server.keeper.use_settings(Locations(LABS), Issuers(), POLICY, hold=lambda: None)
        self.say("09:00", "http", "", changes.put_study, study("1.1", "P1", location="LAB1", status="open"))
        self.say("09:10", "hl7", "ADT|H|7", changes.put_study, study("1.1", "P1", location="LAB2"))
        self.say("09:20", "hl7", "ADT|H|8", changes.close_study, "1.1")
        self.say("09:30", "mpps", "1.9", changes.put_study, study("1.1", "P1", location="LAB1", status="open"))
        self.say(
            "09:40", "hl7", "ADT|H|9", changes.put_patient, {"id": "P2", "issuer": "", "other_ids": [{"id": "X2"}]}
        )
        self.say("09:50", "hl7", "ADT|H|10", changes.merge_patient, PatientId("P2", ""), {"prior": {"id": "P1"}})
        self.say("09:55", "file", "", changes.put_admission, {"id": "V1", "patient": {"id": "P2"}, "location": "W5"})

    def say(self, clock: str, source: str, message: str, plan: Any, *said: Any) -> None:
        """A change."""
        self.now = at(clock)

        def planner(registry: Any) -> list[RegistryRecord]:
            records: list[RegistryRecord] = plan(registry, *said, POLICY, self.now)
            return records

        anyio.run(self.server.keeper.change, planner, source, message)

    def get(self, path: str, status: int = 200) -> Any:
        """The answer's JSON."""
        answer = self._ask(self.server, "GET", path)
        assert answer.status_code == status, answer.text
        return answer.json()


def study(uid: str, patient: str, **said: Any) -> dict[str, Any]:
    """A body."""
    return {"study_instance_uid": uid, "patient": {"id": patient}, **said}


def by(change: dict[str, Any] | None) -> str:
    """A change in short."""
    return "" if change is None else f"{change['position']} {change['source']} {change['message']}".strip()


@pytest.fixture
def case(real: FakeServer, ask: Ask) -> Case:
    """The story."""
    return Case(real, ask)


def test_a_study_shows_its_stays_and_openings_with_what_brought_them(case: Case) -> None:
    """Position, source and message of each change; what only repeats a stay does not count as having said it."""
    found = case.get(STUDY + "/history")
    assert [(stay["location"], by(stay["arrived_by"]), by(stay["left_by"])) for stay in found["stays"]] == [
        ("LAB1", "2 http", "3 hl7 ADT|H|7"),
        ("LAB2", "3 hl7 ADT|H|7", "4 hl7 ADT|H|8"),
        ("LAB1", "5 mpps 1.9", ""),
    ]
    openings = [(by(each["opened_by"]), each["status"], by(each["closed_by"])) for each in found["openings"]]
    assert openings == [("2 http", "closed", "4 hl7 ADT|H|8"), ("5 mpps 1.9", "open", "")]
    assert found["openings"][0]["closed"].startswith("2024-05-14T09:20")
    assert found["status"] == "open"
    assert [(each["position"], each["what"], each["status"]) for each in found["changes"]] == [
        (2, "study.opened", "open"),
        (3, "study.updated", "open"),
        (4, "study.closed", "closed"),
        (5, "study.opened", "open"),
        (8, "study.updated", "open"),
    ]
    assert found["changes"][-1]["patient"] == {"id": "P2", "issuer": ""}
    assert found["changes"][-1]["reason"] == "patient-identifier"
    case.get("/api/v1/studies/9.9/history", 404)


def test_a_patient_shows_since_when_and_by_what_each_identifier_is_theirs(case: Case) -> None:
    """Also those that came with a merge, and by what each was named first; a superseded ID leads there."""
    for path in ("P2", "P1", "X2"):
        found = case.get(f"/api/v1/patients/{path}/history")
        assert [(each["id"], each["role"], by(each["since"]), by(each["first"])) for each in found["identifiers"]] == [
            ("P2", "current", "6 hl7 ADT|H|9", "6 hl7 ADT|H|9"),
            ("X2", "other", "6 hl7 ADT|H|9", "6 hl7 ADT|H|9"),
            ("P1", "former", "7 hl7 ADT|H|10", "1 http"),
        ]
        assert [(each["position"], each["what"]) for each in found["changes"]] == [
            (1, "patient.changed"),
            (6, "patient.changed"),
            (7, "patient.merged"),
        ]
    case.get("/api/v1/patients/P9/history", 404)
    case.say("10:00", "http", "", changes.put_patient, {"id": "P2", "issuer": "OTHER"})
    case.say("10:00", "http", "", changes.put_patient, {"id": "P2", "issuer": "THIRD"})
    case.get("/api/v1/patients/P2/history", 409)


def test_an_id_that_is_given_anew_begins_a_history(case: Case) -> None:
    """The new patient's key is the former one's: neither shows what is the other's. Nor does an admission of the same ID."""
    before = case.get("/api/v1/patients/P2/history")
    case.say("10:00", "hl7", "ADT|H|11", changes.put_patient, {"id": "P1", "issuer": "", "name": "New^Person"})
    case.say("10:10", "file", "", changes.put_admission, {"id": "P1", "patient": {"id": "P1"}, "location": "W5"})
    anew = case.get("/api/v1/patients/P1/history")
    assert [(each["what"], each["message"]) for each in anew["changes"]] == [
        ("patient.changed", "ADT|H|11"),
        ("patient.demographics", "ADT|H|11"),
    ]
    assert [(each["id"], by(each["since"])) for each in anew["identifiers"]] == [
        ("P1", f"{anew['changes'][0]['position']} hl7 ADT|H|11")
    ]
    assert case.get("/api/v1/patients/P2/history")["changes"] == before["changes"]


def test_what_was_known_at_a_position(case: Case) -> None:
    """The registry of then; what was not known yet is not found; a position that the store has not reached is refused."""
    assert case.get(STUDY)["patient"]["id"] == "P2"
    assert case.get(STUDY + "?at=7")["patient"]["id"] == "P2"
    assert case.get(STUDY + "?at=6")["patient"]["id"] == "P1"
    assert [case.get(f"{STUDY}?at={position}")["location"] for position in (2, 3, 4, 5)] == [
        "LAB1",
        "LAB2",
        "LAB2",
        "LAB1",
    ]
    assert case.get(STUDY + "?at=4")["status"] == "closed"
    case.get(STUDY + "?at=1", 404)
    last = case.server.store.head()[0]
    assert case.get(f"{STUDY}?at={last + 1}", 422)["detail"] == f"at: the store's last position is {last}"
    for wrong in ("0", "-1", "x", "1e3"):
        case.get(f"{STUDY}?at={wrong}", 422)
    assert case.get("/api/v1/patients/P1?at=6")["former_ids"] == []
    assert case.get("/api/v1/patients/P1?at=7")["id"] == "P2"
    case.get("/api/v1/patients/P2?at=5", 404)
    assert case.get(f"/api/v1/admissions/V1?at={last}")["location"] == "W5"
    case.get(f"/api/v1/admissions/V1?at={last - 1}", 404)


def test_the_room_board_shows_who_is_where_since_when_and_by_what(case: Case) -> None:
    """Each configured room and each other place where somebody is; who left last; the last sign of life."""
    case.say("10:00", "hl7", "ADT|H|11", changes.put_study, study("1.2", "P3", location="WARD", status="open"))
    with case.server.keeper.lock:
        case.server.keeper.note_sign_of_life("1.1", "Lab 1", microseconds(at("09:45")), perhaps_us=0)
    rooms = {room["location"]: room for room in case.get("/api/v1/rooms")["rooms"]}
    assert [(name, room["configured"]) for name, room in rooms.items()] == [
        ("LAB1", True),
        ("LAB2", True),
        ("WARD", False),
    ]
    [there] = rooms["LAB1"]["studies"]
    assert (there["study_instance_uid"], there["patient"]["id"], by(there["arrived_by"])) == ("1.1", "P2", "5 mpps 1.9")
    assert there["patient"]["former_ids"] == [{"id": "P1", "issuer": ""}]
    assert moment(there["arrived"]) == at("09:30")
    assert (moment(there["last_sign_of_life"]), there["last_sign_by"]) == (at("09:45"), "request")
    assert there["confirmed"] is None
    [other] = rooms["WARD"]["studies"]
    assert (by(other["arrived_by"]), other["last_sign_by"]) == ("11 hl7 ADT|H|11", "change")
    assert rooms["LAB2"]["studies"] == []
    assert rooms["LAB2"]["left_last"]["study_instance_uid"] == "1.1"
    assert moment(rooms["LAB2"]["left_last"]["left"]) == at("09:20")
    assert rooms["WARD"]["left_last"] is None


def moment(text: str) -> datetime:
    """A time."""
    return datetime.fromisoformat(text)


def test_a_room_that_two_patients_share_shows_both_and_who_is_confirmed(case: Case) -> None:
    """Who came first is first."""
    case.say("10:00", "hl7", "ADT|H|11", changes.put_study, study("1.2", "P3", location="LAB1", status="open"))
    with case.server.keeper.lock:
        for uid in ("1.1", "1.2"):
            case.server.keeper.note_sign_of_life(uid, "LAB1", microseconds(at("10:01")), perhaps_us=0)
    case.say("10:02", "server", "", lambda registry, policy, now: changes.turn_over(registry, (), policy, now))
    [room] = [room for room in case.get("/api/v1/rooms")["rooms"] if room["location"] == "LAB1"]
    assert [each["study_instance_uid"] for each in room["studies"]] == ["1.1", "1.2"]
    assert [each["confirmed"] and moment(each["confirmed"]) for each in room["studies"]] == [None, at("10:01")]


def test_who_asks_for_earlier_positions_keeps_nobody_waiting(case: Case) -> None:
    """Each of them costs what a start does, one after the other: meanwhile everything else is answered, health above all."""
    server = case.server

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(build(server), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=None) as client:
            with server.keeper._looking_back:  # the first of them takes long
                before = [asyncio.create_task(client.get(STUDY, params={"at": 2})) for _ in range(40)]
                async with asyncio.timeout(30):
                    others = [await client.get("/api/v1/rooms"), await client.get("/readyz")]
            return [answer.status_code for answer in (*others, *await asyncio.gather(*before))]

    assert set(anyio.run(ask)) == {200}
