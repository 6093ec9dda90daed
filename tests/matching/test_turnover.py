"""Turnover of a room and signs of life, sentence by sentence (contract section 3)."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from plscp.errors import Conflict
from plscp.matching import changes, comments
from plscp.matching.changes import close_study
from plscp.matching.model import Device
from plscp.matching.presence import SignsOfLife
from plscp.matching.records import StudyStay
from plscp.matching.registry import Locations, Registry, microseconds
from plscp.store.port import RegistryRecord
from tests.matching.world import LABS, POLICY, World, at, outcome

RECORDER = Device("HEMO1", ("LAB1",))


class Rooms(World):
    """A world with what the server does by itself: requests that name somebody are signs of life, and a timer looks at rooms."""

    def named(self, uid: str, clock: str, place: str = "LAB1", arrival: str = "") -> list[RegistryRecord]:
        """An accepted request from a place names a study or its patient; its events occurred at `clock`."""
        self.now = at(arrival or clock)
        self.registry.sign_of_life(uid, place, microseconds(at(clock)), by_request=True)
        return self._look((uid, place))

    def look(self, clock: str) -> list[RegistryRecord]:
        """The timer."""
        self.now = at(clock)
        return self._look()

    def _look(self, *late: tuple[str, str]) -> list[RegistryRecord]:
        return self.take(changes.turn_over(self.registry, late, self.policy, self.now))

    def stays(self, uid: str) -> list[str]:
        """``LAB1 10:00-10:30`` and so on."""
        return [_stay(stay) for stay in self.known(uid).stays]


def _stay(stay: StudyStay) -> str:
    left = "" if stay.left is None else f"{stay.left:%H:%M}"
    return f"{stay.location} {stay.arrived:%H:%M}-{left}"


def said(records: list[RegistryRecord]) -> list[str]:
    """What the changes are: word, study, reason."""
    return [
        " ".join(filter(None, (r.change["what"], r.change["study_instance_uid"], r.change.get("reason", ""))))
        for r in records
        if r.topic == "study"
    ]


CONFIRMED = "study.updated 1.2 room-confirmed"
CLOSED = "study.closed 1.1 room-turnover"


@pytest.fixture
def rooms() -> Rooms:
    """Study 1.1 of P1 is in LAB1 from 9:00; its last sign of life is at 10:00; 1.2 of P2 comes there at 10:02."""
    rooms = Rooms()
    rooms.open("1.1", "09:00", "P1")
    rooms.named("1.1", "10:00")
    rooms.open("1.2", "10:02", "P2")
    return rooms


# --- when it is due ----------------------------------------------------------------------------------------------------------


def test_a_study_that_comes_ends_nothing_before_it_is_confirmed(rooms: Rooms) -> None:
    """However long the other one is quiet; until then rules 5 to 7 find several."""
    assert rooms.look("13:00") == []
    assert rooms.known("1.1").status == "open"
    assert rooms.ask(arrival="10:05", device=RECORDER).comment == comments.SEVERAL_AT_LOCATION
    assert rooms.ask("10:01:00", device=RECORDER).comment != comments.SEVERAL_AT_LOCATION


def test_a_confirmed_study_ends_the_other_ones_stay_once_that_one_is_quiet_for_room_turnover(rooms: Rooms) -> None:
    """Confirmation and turnover are changes of their own; the stay ends when the other one came, the grace runs from now."""
    assert said(rooms.named("1.2", "10:05")) == [CONFIRMED]
    assert rooms.known("1.2").stays[-1].confirmed == at("10:05")
    assert rooms.look("10:14:59") == []
    records = rooms.look("10:15")
    assert said(records) == [CLOSED]
    assert (records[0].topic, records[0].type) == ("study", "org.plscp.study.closed.v1")
    assert rooms.stays("1.1") == ["LAB1 09:00-10:02"]
    assert (rooms.known("1.1").status, rooms.known("1.1").closed) == ("closed", at("10:15"))
    assert rooms.look("10:16") == []
    assert outcome(rooms.ask("10:01:00", arrival="10:45", device=RECORDER, U="1.1")) == "0000 1 1.1"  # with grace
    assert outcome(rooms.ask(arrival="10:45", device=RECORDER, U="1.1")) == "B104 1 1.1"
    assert outcome(rooms.ask(arrival="10:46", device=RECORDER, U="1.1")) == "C101"
    assert outcome(rooms.ask("10:03:00", arrival="10:16", device=RECORDER)) == "0000 7 1.2"


def test_the_stay_ends_at_the_last_sign_of_life_where_that_is_later_than_the_other_ones_arrival(rooms: Rooms) -> None:
    """The last accepted events of the first are not cut off."""
    rooms.named("1.2", "10:05")
    rooms.named("1.1", "10:20")
    assert rooms.look("10:34:59") == []
    assert said(rooms.look("10:35")) == [CLOSED]
    assert rooms.stays("1.1") == ["LAB1 09:00-10:20"]
    assert rooms.ask("10:10:00", arrival="10:36", device=RECORDER).comment == comments.SEVERAL_AT_LOCATION
    assert outcome(rooms.ask("10:21:00", arrival="10:36", device=RECORDER)) == "0000 7 1.2"


NOT_CONFIRMED = [
    # what happens, and why it is no confirmation of 1.2 in LAB1 from 10:02
    ("1.2", "LAB1", "10:01"),  # occurred before it arrived
    ("1.2", "LAB1", "10:02"),  # not after it arrived
    ("1.2", "LAB2", "10:05"),  # from another place
    ("1.1", "LAB1", "10:05"),  # names the other one
]


@pytest.mark.parametrize(("uid", "place", "clock"), NOT_CONFIRMED)
def test_what_confirms_nobody(rooms: Rooms, uid: str, place: str, clock: str) -> None:
    """Only a request from that place, occurred after the arrival, that names the study or its patient."""
    assert rooms.named(uid, clock, place, arrival="10:06") == []
    assert rooms.look("12:00") == []
    assert rooms.known("1.1").status == "open"


def test_a_feed_that_says_where_the_study_is_confirms_nothing(rooms: Rooms) -> None:
    """It is what must be confirmed."""
    rooms.study("1.2", "10:20", opened="2024-05-14T10:10:00Z")
    rooms.study("1.2", "10:21", accession_number="A2")
    assert rooms.look("12:00") == []


def test_a_step_confirms(rooms: Rooms) -> None:
    """Of the study that came."""
    rooms.step("1.2", "10:05", "s1")
    assert said(rooms.look("10:15")) == [CONFIRMED, CLOSED]
    assert rooms.known("1.2").stays[-1].confirmed == at("10:15")


def test_a_step_in_progress_keeps_the_other_one_there(rooms: Rooms) -> None:
    """And its end is a sign of life."""
    rooms.step("1.1", "10:03", "s1", "s2")
    rooms.named("1.2", "10:05")
    assert rooms.look("12:00") == []
    rooms.now = at("12:00")
    rooms.take([_steps(rooms, "1.1")])
    assert rooms.look("12:14:59") == []
    assert said(rooms.look("12:15")) == [CLOSED]
    assert rooms.stays("1.1") == ["LAB1 09:00-12:00"]


def _steps(rooms: Rooms, uid: str, *steps: str) -> RegistryRecord:
    study = replace(rooms.known(uid), steps=steps)
    return RegistryRecord({"what": "study.updated", **study.as_json()}, "study", uid, "", uid)


@pytest.mark.parametrize("how", ["opened", "moved"])
def test_it_is_judged_when_the_other_one_arrives(how: str) -> None:
    """Opened there or moved there, already named from there since the arrival that is stated."""
    rooms = Rooms()
    rooms.open("1.1", "08:00", "P1")
    if how == "moved":
        rooms.open("1.2", "08:10", "P2", location="LAB2")
        records = rooms.study("1.2", "10:00", location="LAB1")
        assert said(records) == ["study.updated 1.2"]
        assert said(rooms.named("1.2", "10:01")) == [CONFIRMED, CLOSED]
    else:
        rooms.study("1.2", "08:10", patient="P2", location="LAB1")
        rooms.named("1.2", "09:59")
        records = rooms.study("1.2", "10:00", status="open", opened="2024-05-14T09:50:00Z")
        assert said(records) == ["study.opened 1.2", CONFIRMED, CLOSED]
    assert rooms.known("1.1").status == "closed"


def test_turnover_decides_does_without_the_confirmation() -> None:
    """By setting; the quiet is needed all the same."""
    rooms = Rooms(replace(POLICY, turnover_decides=True))
    rooms.open("1.1", "09:00", "P1")
    rooms.named("1.1", "10:00")
    assert said(rooms.study("1.2", "10:02", patient="P2", location="LAB1", status="open")) == ["study.opened 1.2"]
    assert said(rooms.look("10:15")) == [CLOSED]
    assert rooms.stays("1.1") == ["LAB1 09:00-10:02"]
    assert said(rooms.study("1.3", "10:20", patient="P3", location="LAB1", status="open"))[1:] == [
        "study.closed 1.2 room-turnover"
    ]


def test_a_scheduled_study_never_arrives(rooms: Rooms) -> None:
    """Named as often as you like."""
    rooms.study("1.2", "10:02", status="cancelled")
    rooms.study("1.3", "10:03", patient="P3", location="LAB1", status="scheduled")
    rooms.named("1.3", "10:05")
    assert rooms.look("12:00") == []
    assert rooms.known("1.1").status == "open"


def test_studies_of_one_patient_share_a_room(rooms: Rooms) -> None:
    """And two patients that turn out to be one do from then on."""
    rooms.merge("P1", "P2", "10:04")
    rooms.named("1.2", "10:05")
    assert rooms.look("12:00") == []


# --- several, and back again -------------------------------------------------------------------------------------------------


def test_several_quiet_studies_are_ended_at_once_each_at_its_own_time() -> None:
    """By the first confirmed one that came after it; those not confirmed end nothing."""
    rooms = Rooms()
    rooms.open("1.1", "09:00", "P1")
    rooms.open("1.2", "09:10", "P2")
    rooms.open("1.3", "09:20", "P3")
    rooms.open("1.4", "09:30", "P4")
    rooms.named("1.1", "09:24")
    rooms.named("1.2", "09:25")
    rooms.named("1.3", "09:35")
    records = rooms.look("09:40")
    assert said(records) == ["study.closed 1.1 room-turnover", "study.closed 1.2 room-turnover"]
    assert rooms.stays("1.1") == ["LAB1 09:00-09:24"]
    assert rooms.stays("1.2") == ["LAB1 09:10-09:25"]
    assert said(rooms.look("12:00")) == []  # 1.4 came later and was never named
    assert [rooms.known(uid).status for uid in ("1.3", "1.4")] == ["open", "open"]


def test_one_that_leaves_before_it_is_confirmed_ended_nothing(rooms: Rooms) -> None:
    """While it was there nobody knows whose the events are; before and after, they are the other one's."""
    rooms.study("1.2", "10:08", location="LAB2")
    assert rooms.named("1.2", "10:09", "LAB2") == []
    assert rooms.look("12:00") == []
    assert rooms.ask("10:05:00", arrival="10:20", device=RECORDER).comment == comments.SEVERAL_AT_LOCATION
    assert outcome(rooms.ask("10:10:00", arrival="10:20", device=RECORDER)) == "0000 7 1.1"


def test_a_confirmation_is_of_one_stay(rooms: Rooms) -> None:
    """Back again, it must be named again."""
    rooms.named("1.2", "10:05")
    rooms.study("1.2", "10:06", location="LAB2")
    rooms.study("1.2", "10:08", location="LAB1")
    assert rooms.look("12:00") == []
    assert said(rooms.named("1.2", "12:01")) == [CONFIRMED, CLOSED]
    assert rooms.stays("1.1") == ["LAB1 09:00-10:08"]


def test_one_that_is_moved_back_is_the_newer_one(rooms: Rooms) -> None:
    """It ends the other one's stay when it is named and that one is quiet."""
    rooms.study("1.1", "10:10", location="LAB2")
    rooms.study("1.1", "10:30", location="LAB1")
    rooms.named("1.2", "10:31")
    assert said(rooms.named("1.1", "10:40")) == ["study.updated 1.1 room-confirmed"]
    assert said(rooms.look("10:46")) == ["study.closed 1.2 room-turnover"]
    assert rooms.stays("1.1") == ["LAB1 09:00-10:10", "LAB2 10:10-10:30", "LAB1 10:30-"]
    assert rooms.stays("1.2") == ["LAB1 10:02-10:31"]


def test_one_that_is_opened_again_after_its_turnover_is_the_newer_one(rooms: Rooms) -> None:
    """Both are there again: several, until one of them is quiet."""
    rooms.named("1.2", "10:16")
    assert rooms.known("1.1").status == "closed"
    rooms.study("1.1", "10:20", status="open")
    assert rooms.stays("1.1") == ["LAB1 09:00-10:02", "LAB1 10:20-"]
    assert rooms.ask(arrival="10:21", device=RECORDER).comment == comments.SEVERAL_AT_LOCATION
    assert said(rooms.named("1.1", "10:22")) == ["study.updated 1.1 room-confirmed"]
    assert said(rooms.named("1.1", "10:31")) == ["study.closed 1.2 room-turnover"]
    assert rooms.stays("1.2") == ["LAB1 10:02-10:20"]


def test_of_two_that_came_at_one_moment_the_one_that_is_named_stays() -> None:
    """Two lines of the registry file, say."""
    rooms = Rooms()
    for uid in ("1.1", "1.2"):
        rooms.open(uid, "09:00", f"P{uid[-1]}")
    assert said(rooms.named("1.1", "09:20")) == ["study.updated 1.1 room-confirmed", "study.closed 1.2 room-turnover"]
    both = Rooms()
    for uid in ("1.1", "1.2"):
        both.open(uid, "09:00", f"P{uid[-1]}")
    for uid in ("1.1", "1.2"):
        both.named(uid, "09:01")
    both.look("12:00")
    assert [both.known(uid).status for uid in ("1.1", "1.2")] == ["closed", "open"]


def test_rooms_are_judged_each_for_itself() -> None:
    """C10: two patients in adjacent labs, twelve hours; C7: the one that was moved away is not missed."""
    rooms = Rooms()
    rooms.open("1.1", "06:00", "P1")
    rooms.open("1.2", "06:05", "P2", location="LAB2")
    for hour in range(6, 18):
        rooms.named("1.1", f"{hour:02}:30")
        rooms.named("1.2", f"{hour:02}:40", "LAB2")
        assert rooms.look(f"{hour:02}:59") == []
    rooms.study("1.1", "18:00", location="LAB2")
    rooms.open("1.3", "18:05", "P3")
    assert rooms.named("1.3", "18:30") == []
    assert said(rooms.named("1.1", "18:40", "LAB2")) == [
        "study.updated 1.1 room-confirmed",
        "study.closed 1.2 room-turnover",
    ]
    assert rooms.stays("1.2") == ["LAB2 06:05-18:00"]


# --- signs of life -----------------------------------------------------------------------------------------------------------

SIGNS = [
    # what is said of study 1.1, opened in LAB1 at 9:00, at 10:00; the last sign of life in LAB1, in LAB2
    ({"accession_number": "A1"}, "09:00", ""),
    ({"study_id": "S1"}, "09:00", ""),
    ({"location": "LAB1"}, "09:00", ""),
    ({"location": "LAB2"}, "09:00", "10:00"),
    ({"opened": "2024-05-14T09:30:00Z"}, "09:30", ""),
    ({"opened": "2024-05-14T08:30:00Z"}, "09:00", ""),
    ({"status": "closed"}, "09:00", ""),
    ({"status": "closed", "closed": "2024-05-14T08:59:00Z"}, "", ""),
]


@pytest.mark.parametrize(("body", "lab1", "lab2"), SIGNS)
def test_what_a_feed_says_about_the_room_is_a_sign_of_life_and_about_something_else_is_none(
    rooms: Rooms, body: dict[str, Any], lab1: str, lab2: str
) -> None:
    """At the time that it states, else at its receipt; that it left is none."""
    rooms = Rooms()
    rooms.open("1.1", "09:00", "P1")
    rooms.study("1.1", "10:00", **body)
    for place, clock in (("LAB1", lab1), ("LAB2", lab2)):
        assert rooms.registry.last_sign_of_life("1.1", place) == (microseconds(at(clock)) if clock else 0)


def test_a_patients_new_identifier_is_no_sign_of_life_of_the_studies(rooms: Rooms) -> None:
    """Those that read the study topic are told; the room is not meant."""
    rooms.merge("P9", "P1", "11:00")
    assert rooms.registry.last_sign_of_life("1.1", "LAB1") == microseconds(at("10:00"))


def test_a_closed_study_has_no_sign_of_life_after_its_closing(rooms: Rooms) -> None:
    """What comes in its grace says when it occurred; opened again, what occurred meanwhile stays none."""
    registry = rooms.registry
    rooms.close("1.1", "10:10")
    for clock in ("10:08", "10:20"):
        registry.sign_of_life("1.1", "LAB1", microseconds(at(clock)), by_request=True)
    assert registry.last_sign_of_life("1.1", "LAB1") == microseconds(at("10:08"))
    assert not registry.active("1.1", "LAB1", at("10:09"), at("11:00"))
    assert registry.active("1.1", "LAB1", at("10:08"), at("11:00"))
    rooms.study("1.1", "10:30", status="open")
    assert registry.last_sign_of_life("1.1", "LAB1", at("10:29")) == microseconds(at("10:08"))
    assert registry.last_sign_of_life("1.1", "LAB1") == microseconds(at("10:30"))
    registry.sign_of_life("1.1", "LAB1", microseconds(at("10:25")), by_request=True)
    assert not registry.active("1.1", "LAB1", at("10:20"), at("10:29"))


def test_who_is_named_after_a_turnover_takes_no_late_event_back(rooms: Rooms) -> None:
    """Its patient's study takes what names it, within the grace; what occurred by then in the room is still the other one's."""
    rooms.named("1.2", "10:40")
    assert rooms.known("1.1").closed == at("10:40")
    assert outcome(rooms.ask("10:50", arrival="10:50", device=RECORDER, P="P1")) == "0000 4 1.1"
    assert said(rooms.named("1.1", "10:50")) == []
    late = rooms.ask("10:45", arrival="11:00", device=RECORDER, clock_difference=timedelta(0))
    assert outcome(late) == "0000 7 1.2"


def test_that_a_study_is_over_is_said_of_one_that_was_turned_over_too_and_once(rooms: Rooms) -> None:
    """It is a change: the turnover may be taken back, what was said may not."""
    rooms.named("1.2", "10:40")
    before = rooms.known("1.1")
    for expected in (["study.closed 1.1"], []):
        assert said(rooms.close("1.1", "10:50")) == expected
    assert said(rooms.study("1.1", "10:55", status="closed")) == []
    assert rooms.known("1.1") == before


def test_signs_are_of_a_place(rooms: Rooms) -> None:
    """Both ends of the time are included."""
    registry = rooms.registry
    registry.sign_of_life("1.1", "LAB2", microseconds(at("10:30")))
    assert registry.active("1.1", "LAB2", at("10:30"), at("10:31"))
    assert registry.active("1.1", "LAB2", at("10:29"), at("10:30"))
    assert not registry.active("1.1", "LAB2", at("10:31"), at("10:40"))
    assert not registry.active("1.1", "LAB2", at("10:00"), at("10:29"))
    assert not registry.active("1.1", "LAB1", at("10:01"), at("10:40"))
    registry.sign_of_life("1.9", "LAB1", 1)
    registry.sign_of_life("1.1", "", microseconds(at("11:00")))
    assert registry.last_sign_of_life("1.9", "LAB1") == registry.last_sign_of_life("1.1", "") == 0


def test_the_memory_of_one_study_is_bounded(rooms: Rooms) -> None:
    """One sign per minute and a day of them; the latest is exact, in whatever order they come."""
    registry, noon = rooms.registry, microseconds(at("12:00"))
    for second in [*range(0, 86_400 * 2, 20), *range(86_400 * 2, 0, -50)]:
        registry.sign_of_life("1.1", "LAB1", noon + second * 1_000_000)
    kept = registry.life._kept["1.1", "LAB1"]
    assert len(kept) <= 24 * 60
    assert all(later - earlier >= 60_000_000 for earlier, later in pairwise(kept))
    assert registry.last_sign_of_life("1.1", "LAB1") == noon + 86_400 * 2 * 1_000_000
    registry.life.prune(noon + 86_400 * 3 * 1_000_000)
    assert not registry.life._kept
    assert registry.last_sign_of_life("1.1", "LAB1") == noon + 86_400 * 2 * 1_000_000


# --- times that are stated ---------------------------------------------------------------------------------------------------

STATED = [
    # stated, received, the stay begins: 1.1 of another patient gave its last sign of life there at 10:00
    ("09:50", "10:20", "10:00"),
    ("08:00", "10:20", "10:00"),
    ("10:05", "10:20", "10:05"),
    ("10:21", "10:20", "10:20"),  # in the future, within the tolerance
]


@pytest.mark.parametrize(("stated", "received", "begins"), STATED)
def test_a_stay_does_not_begin_in_the_future_nor_before_the_last_sign_of_life_of_another_patients_study(
    stated: str, received: str, begins: str
) -> None:
    """The study was opened when the feed says; saying it again changes nothing."""
    rooms = Rooms()
    rooms.open("1.1", "09:00", "P1")
    rooms.named("1.1", "10:00")
    said_twice = {"patient": "P2", "location": "LAB1", "status": "open", "opened": f"2024-05-14T{stated}:00Z"}
    rooms.study("1.2", received, **said_twice)
    assert rooms.stays("1.2") == [f"LAB1 {begins}-"]
    assert rooms.known("1.2").opened == at(stated)
    rooms.named("1.1", "10:30")
    assert rooms.study("1.2", "10:31", **said_twice) == []


def test_the_same_patients_study_and_one_never_there_hold_nobody_up() -> None:
    """Nor what happened there after the study was over."""
    rooms = Rooms()
    rooms.open("1.1", "09:00", "P2")
    rooms.named("1.1", "10:00")
    rooms.study("1.3", patient="P3", location="LAB1")
    rooms.named("1.3", "10:01")
    rooms.study("1.2", "10:20", patient="P2", location="LAB1", status="open", opened="2024-05-14T09:30:00Z")
    assert rooms.stays("1.2") == ["LAB1 09:30-"]
    rooms.study(
        "1.4", "10:30", patient="P4", location="LAB1", opened="2024-05-14T08:00:00Z", closed="2024-05-14T08:40:00Z"
    )
    assert rooms.stays("1.4") == ["LAB1 08:00-08:40"]
    rooms.study(
        "1.5", "10:30", patient="P5", location="LAB1", opened="2024-05-14T08:00:00Z", closed="2024-05-14T09:45:00Z"
    )
    assert rooms.stays("1.5") == ["LAB1 09:30-09:45"]


CORRECTED = [
    # opened and received; corrected to; the stay begins: another patient's sign of life at 10:00, and at 10:40
    ("10:10", "10:20", "10:05", "10:05"),
    ("10:10", "10:20", "09:50", "10:00"),
    ("10:10", "10:20", "10:15", "10:15"),
    ("09:50", "10:20", "09:40", "10:00"),
    ("09:50", "10:20", "10:10", "10:10"),
]


@pytest.mark.parametrize(("opened", "received", "corrected", "begins"), CORRECTED)
def test_a_time_of_opening_that_is_corrected_moves_the_first_stay(
    opened: str, received: str, corrected: str, begins: str
) -> None:
    """Never to before another patient's sign of life, and never later than it is said."""
    rooms = Rooms()
    rooms.open("1.1", "09:00", "P1")
    rooms.named("1.1", "10:00")
    rooms.study("1.2", received, patient="P2", location="LAB1", status="open", opened=f"2024-05-14T{opened}:00Z")
    rooms.study("1.2", "10:30", opened=f"2024-05-14T{corrected}:00Z")
    assert rooms.stays("1.2") == [f"LAB1 {begins}-"]


def test_an_opening_corrected_to_later_than_the_confirmation_is_not_confirmed(rooms: Rooms) -> None:
    """What named it had then occurred before its arrival."""
    rooms.named("1.2", "10:05")
    rooms.study("1.2", "10:08", opened="2024-05-14T10:06:00Z")
    assert rooms.known("1.2").stays[-1].confirmed is None
    assert rooms.look("11:00") == []


# --- what comes late ---------------------------------------------------------------------------------------------------------


def test_a_sign_that_comes_after_the_turnover_and_occurred_before_moves_the_end_of_the_stay(rooms: Rooms) -> None:
    """A stay never ends before its last sign of life; what occurred after the closing says nothing."""
    rooms.named("1.2", "10:05")
    rooms.look("10:15")
    assert said(rooms.named("1.1", "10:12", arrival="10:20")) == ["study.updated 1.1 room-turnover"]
    assert rooms.stays("1.1") == ["LAB1 09:00-10:12"]
    assert rooms.known("1.1").closed == at("10:15")
    assert rooms.named("1.1", "10:11", arrival="10:21") == []
    assert rooms.named("1.1", "10:17", arrival="10:21") == []
    assert rooms.ask("10:10:00", arrival="10:22", device=RECORDER).comment == comments.SEVERAL_AT_LOCATION
    assert outcome(rooms.ask("10:13:00", arrival="10:22", device=RECORDER)) == "0000 7 1.2"


def test_a_stay_that_a_feed_ended_stays_as_it_was_said(rooms: Rooms) -> None:
    """A stated time counts, and a study that was moved is elsewhere."""
    rooms.study("1.1", "10:10", location="LAB2")
    assert rooms.named("1.1", "10:11") == []
    rooms.close("1.1", "10:20")
    assert rooms.named("1.1", "10:12") == []
    assert rooms.stays("1.1") == ["LAB1 09:00-10:10", "LAB2 10:10-10:20"]


def test_a_sign_on_its_way_to_the_store_is_waited_for(rooms: Rooms) -> None:
    """It may be later than what is known; refused or stored, it is settled."""
    rooms.named("1.2", "10:05")
    rooms.registry.life.expect("r1", "1.1", "LAB1")
    assert rooms.look("10:20") == []
    rooms.registry.life.expect("r1", "1.1", "LAB2")
    assert said(rooms.look("10:20")) == [CLOSED]


# --- the log -----------------------------------------------------------------------------------------------------------------


def test_changes_of_before_confirmations_still_apply() -> None:
    """A stay without the member is one that was not confirmed."""
    rooms = Rooms()
    rooms.open("1.1", "09:00", "P1")
    stay = rooms.log[-1][2]["stays"][0]
    assert stay == {"location": "LAB1", "arrived": "2024-05-14T09:00:00Z", "left": None}
    rebuilt = Registry(Locations(LABS))
    for entry in rooms.log:
        rebuilt.apply(*entry)
    study = rebuilt.study("1.1")
    assert study is not None
    assert study.stays[0].confirmed is None


def test_what_a_change_says_decides_and_not_the_signs_of_life(rooms: Rooms) -> None:
    """A registry that never heard of a request comes to the same studies."""
    rooms.named("1.2", "10:05")
    rooms.named("1.1", "10:08")
    rooms.look("10:23")
    rooms.named("1.1", "10:12", arrival="10:25")
    rebuilt = Registry(Locations(LABS))
    for entry in rooms.log:
        rebuilt.apply(*entry)
    assert rebuilt.studies() == rooms.registry.studies()
    assert rooms.stays("1.1") == ["LAB1 09:00-10:12"]


# --- whose a study is --------------------------------------------------------------------------------------------------------


def test_the_patient_of_a_study_with_entries_cannot_change_however_old_they_are(rooms: Rooms) -> None:
    """The store is asked when it is planned, and looks once more when it commits."""
    rooms.study("1.3", "10:10", patient="P3")
    [made, record] = rooms.study("1.3", patient="P4")
    assert (made.without_entries, record.without_entries) == ("", "1.3")
    [record] = rooms.study("1.3", study_id="S3")
    assert record.without_entries == ""
    [record] = rooms.study("1.3", patient="P3", status="open")
    assert record.without_entries == "1.3"
    rooms.study("1.4", patient="P4")
    rooms.registry.entered = {"1.4"}.__contains__
    with pytest.raises(Conflict):
        rooms.study("1.4", patient="P3")


def test_an_arrival_asks_the_studies_that_lived_there_lately_not_all_there_ever_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two hundred studies of other patients that were in a lab, the one that lived there last says enough."""
    world = Rooms()
    for number in range(200):
        uid = f"1.9.{number}"
        world.study(uid, f"10:{number % 60:02}", patient=f"P{number}", location="LAB1", status="open")
        world.plan(close_study, uid)
    world.named("1.9.7", "10:30", arrival="11:00")
    asked: list[str] = []
    real = Registry.last_sign_of_life

    def counted(registry: Registry, uid: str, *given: Any) -> int:
        asked.append(uid)
        return real(registry, uid, *given)

    monkeypatch.setattr(Registry, "last_sign_of_life", counted)
    world.study("1.1", "11:01", patient="A", location="LAB1", status="open", opened="2024-05-14T09:00:00Z")
    assert world.stays("1.1") == ["LAB1 10:59-"]
    assert len(asked) < 20, "every study that was ever there was asked"
    assert Counter(asked).most_common(1)[0][1] == 1


def test_the_latest_signs_of_a_place_are_in_order_however_they_came() -> None:
    """Signs that come late, signs of a time in which the study was closed, and those of a copy change nothing of it."""
    chance = Random(7)
    life, truth = SignsOfLife(), dict[str, set[int]]()
    for _ in range(3000):
        study, time = f"1.{chance.randrange(40)}", chance.randrange(1, 50) * 60_000_000
        if chance.random() < 0.1:
            life.forget_between(study, time, time + 600_000_000)
            truth[study] = {each for each in truth.get(study, ()) if not time < each < time + 600_000_000}
        elif chance.random() < 0.1:
            twin = life.fork()
            twin.note(study, "LAB1", 1 << 50)
        else:
            life.note(study, "LAB1", time)
            truth.setdefault(study, set()).add(time)
        found = list(life.latest_first("LAB1"))
        assert found == sorted(found, reverse=True)
        assert {uid: latest for latest, uid in found if latest} == {
            uid: max(times) for uid, times in truth.items() if times
        }
