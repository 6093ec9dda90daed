"""The sentences of contract section 3 about identifiers, times and contradictions; each test is named by its sentence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from plscp.matching import changes, comments, rules
from plscp.matching.model import Device, MatchQuestion
from plscp.matching.registry import microseconds
from plscp.matching.times import instant
from plscp.templates.request import Identifiers
from tests.matching.world import POLICY, World, at, codes, minutes, moment, outcome

AT_LAB1 = Device("HEMO1", ("LAB1",))
MOBILE = Device("MOBILE")
OWN_FRAME = "1.2.840.10008.15.1.1"


# --- identifiers ---------------------------------------------------------------------------------------------------------

COMPARED = [("P1", "0000"), (" P1 ", "0000"), ("p1", "C104"), ("0P1", "C104"), ("P01", "C104"), ("P1 x", "C104")]


@pytest.mark.parametrize(("patient_id", "status"), COMPARED)
def test_compared_exactly_after_removing_spaces_at_the_ends(world: World, patient_id: str, status: str) -> None:
    """No folding of case or zeros."""
    world.open("1.1", "10:00", "P1")
    assert f"{world.ask(arrival='10:05', U='1.1', P=patient_id).status:04X}" == status


def test_all_space_is_empty(world: World) -> None:
    """An identifier of spaces was not given."""
    world.open("1.1", "10:00", "P1", study_id="S1")
    decision = world.ask(arrival="10:05", device=AT_LAB1, U="  ", P="   ", S=" ", L="  ", F="  ")
    assert outcome(decision) == "0000 7 1.1"
    assert dict(decision.given) == {"calling_ae": "HEMO1"}


ISSUERS = [
    # sent, device's, policy's, expected
    ("HOSP", "OTHER", "OTHER", "0000"),
    ("", "HOSP", "OTHER", "0000"),
    ("", "", "HOSP", "0000"),
    ("", "", "", "0000"),  # to compare: under any when none is known
    ("OTHER", "HOSP", "HOSP", "C104"),
    ("", "OTHER", "HOSP", "C104"),
    ("", "", "OTHER", "C104"),
]


@pytest.mark.parametrize(("sent", "of_device", "of_policy", "status"), ISSUERS)
def test_issuer_as_sent_else_the_devices_else_the_policys_else_none(
    world: World, sent: str, of_device: str, of_policy: str, status: str
) -> None:
    """P agrees when the patient found has that ID under the issuer, or under any when none is known."""
    world.open("1.1", "10:00", "P1")
    device = Device("HEMO1", (), patient_id_issuer=of_device)
    policy = replace(POLICY, patient_id_issuer=of_policy)
    assert f"{world.ask(arrival='10:05', device=device, policy=policy, U='1.1', P='P1', I=sent).status:04X}" == status


def test_to_find_p_without_issuer_must_name_one_patient_among_all_known(world: World) -> None:
    """The same ID of two issuers finds nobody; compared with a study found otherwise it agrees."""
    world.open("1.1", "10:00", ("7", "WEST"))
    world.open("1.2", "10:00", ("7", "EAST"), location="LAB2")
    none = replace(POLICY, patient_id_issuer="")
    decision = world.ask(arrival="10:05", policy=none, P="7")
    assert (decision.status, decision.comment) == (0xC103, comments.AMBIGUOUS_PATIENT)
    assert outcome(world.ask(policy=none, P="7", I="EAST")) == "0000 4 1.2"
    assert outcome(world.ask(policy=none, P="7", device=AT_LAB1)) == "0000 7 1.1"
    assert outcome(world.ask(policy=none, U="1.2", P="7")) == "0000 1 1.2"


def test_an_id_whose_issuer_is_still_none_agrees_under_any_issuer() -> None:
    """A patient named by a feed without issuer, while none is configured."""
    world = World(replace(POLICY, patient_id_issuer=""), issuers={"ANY": []})
    world.open("1.1", "10:00", "P1")
    assert world.known("1.1").patient_id == ("P1", "")
    decision = world.ask(arrival="10:05", P="P1", I="ANY")
    assert outcome(decision) == "0000 4 1.1"
    assert codes(decision) == set()


def test_ids_merged_away_name_the_surviving_patient(world: World) -> None:
    """They agree, with a finding; the reply carries the current ID, the key stays that of the survivor."""
    world.open("1.1", "10:00", "P1")
    world.merge("P2", "P1", "10:01")
    for given in ({"U": "1.1", "P": "P1"}, {"P": "P1"}):
        decision = world.ask(arrival="10:05", given=given)
        assert (decision.status, decision.patient_id, decision.patient_key) == (0, "P2", "HOSP|P2")
        assert codes(decision) == {"superseded-id"}
    assert codes(world.ask(U="1.1", P="P2")) == set()


def test_ids_listed_as_other_ids_name_the_patient(world: World) -> None:
    """They agree, with a finding."""
    world.patient("P1", other_ids=[{"id": "X9", "issuer": "LABSYS"}])
    world.open("1.1", "10:00", "P1")
    assert codes(world.ask(arrival="10:05", P="X9", I="LABSYS")) == {"superseded-id"}
    assert world.ask(U="1.1", P="X9").status == 0xC104  # under the policy's issuer it is not known


def test_an_id_given_anew_names_the_new_patient_only(world: World) -> None:
    """After P1 was merged into P2 and given anew, P1 is never P2 again."""
    world.open("1.1", "10:00", "P1")
    world.merge("P2", "P1", "10:01")
    world.patient("P1", name="New^Person")
    assert world.ask(arrival="10:05", U="1.1", P="P1").status == 0xC104
    assert outcome(world.ask(P="P1", device=AT_LAB1)) == "C104"
    world.open("1.2", "10:06", "P1", location="LAB2")
    assert outcome(world.ask(P="P1")) == "0000 4 1.2"
    assert outcome(world.ask(P="P2")) == "0000 4 1.1"


PLACEHOLDERS = ["UNKNOWN", "unknown", " Unk ", "TEMP", "n/a", "0", "None"]


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_placeholder_patient_ids_count_as_not_given(world: World, placeholder: str) -> None:
    """Compared without regard to case, in requests as in feeds."""
    world.open("1.1", "10:00", "P1")
    assert outcome(world.ask(arrival="10:05", U="1.1", P=placeholder)) == "0000 1 1.1"
    assert outcome(world.ask(P=placeholder)) == "C103"
    world.open("1.2", "10:06", placeholder, location="LAB2")
    assert world.known("1.2").patient_id == ("PLSCP-1", "plscp")


def test_a_study_without_a_usable_patient_id_gets_one_of_its_own(world: World) -> None:
    """So the reply always has a value; the ID that a reply gave out agrees when it comes back without its issuer."""
    world.open("1.1", "10:00")
    world.open("1.2", "10:00", "", location="LAB2")
    first, second = world.ask(arrival="10:05", U="1.1"), world.ask(U="1.2")
    assert (first.patient_id, first.issuer, first.patient_key) == ("PLSCP-1", "plscp", "plscp|PLSCP-1")
    assert second.patient_id == "PLSCP-2"
    assert outcome(world.ask(U="1.1", P="PLSCP-1")) == "0000 1 1.1"
    assert outcome(world.ask(P="PLSCP-2")) == "0000 4 1.2"
    assert world.ask(U="1.1", P="PLSCP-2").status == 0xC104


def test_a_location_that_no_entry_names_is_a_finding(world: World) -> None:
    """With U or P it does not contradict."""
    world.open("1.1", "10:00", "P1")
    for given in ({"U": "1.1"}, {"P": "P1"}):
        decision = world.ask(arrival="10:05", L="Lab 99", given=given)
        assert (decision.status, codes(decision)) == (0, {"location-unknown"})


# --- a study takes events ------------------------------------------------------------------------------------------------

GRACE = [("11:00:00", "0000 1 1.1"), ("11:30:00", "0000 1 1.1"), ("11:30:01", "C101")]


@pytest.mark.parametrize(("arrival", "expected"), GRACE)
def test_a_study_takes_events_while_open_and_for_close_grace_after(world: World, arrival: str, expected: str) -> None:
    """By arrival: the grace ends half an hour after the closing."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "11:00")
    assert outcome(world.ask("10:59:00", arrival=arrival, U="1.1")) == expected


def test_a_study_closes_when_its_last_step_ends_and_a_new_step_opens_it_again(world: World) -> None:
    """Two steps, then none, then another."""
    world.study("1.1", "09:00", patient="P1", location="LAB1", status="scheduled")
    world.step("1.1", "10:00", "s1", "s2")
    world.step("1.1", "10:30", "s2")
    assert world.known("1.1").status == "open"
    world.step("1.1", "11:00")
    assert world.known("1.1").status == "closed"
    assert outcome(world.ask("10:59:00", arrival="12:00", U="1.1")) == "C101"
    world.step("1.1", "12:01", "s3")
    assert outcome(world.ask("12:02:00", arrival="12:03", device=AT_LAB1)) == "0000 7 1.1"
    assert world.known("1.1").opened == at("10:00")


# --- several, and when the events occurred ----------------------------------------------------------------------------------


def test_rule_3_several_with_the_study_id(world: World) -> None:
    """Two studies of one patient under one Study ID cannot be told apart."""
    world.open("1.1", "10:00", "P1", study_id="S1")
    world.open("1.2", "10:10", "P1", study_id="S1", location="LAB2")
    assert world.ask(arrival="10:15", P="P1", S="S1").comment == comments.SEVERAL_WITH_STUDY_ID


def test_rule_4_a_study_at_l_goes_before_one_elsewhere(world: World) -> None:
    """L, or the device's location, decides between two open studies of a patient."""
    world.open("1.1", "10:00", "P1")
    world.open("1.2", "10:10", "P1", location="LAB2")
    assert outcome(world.ask(arrival="10:15", P="P1", L="Lab 2")) == "0000 4 1.2"
    assert outcome(world.ask(P="P1", device=AT_LAB1)) == "0000 4 1.1"
    assert outcome(world.ask(P="P1")) == "C103"


RULE_4 = [
    # a patient's two studies, 10:00 to 11:00 and since 11:10; times, clock difference, expected
    (("10:59:00",), minutes(0), "0000 4 1.1"),
    (("11:12:00",), minutes(0), "0000 4 1.2"),
    (("10:59:00", "11:12:00"), minutes(0), "C103"),
    (("11:05:00",), minutes(0), "C103"),
    (("11:12:00",), None, "0000 4 1.2"),  # times and arrival name the same one
    (("10:59:00",), None, "C103"),  # they do not, and the clock is not known
    (("10:59:00",), minutes(20), "C103"),  # or may be slow
    (("11:12:00",), minutes(-20), "C103"),  # a fast clock chooses nothing
]


@pytest.mark.parametrize(("times", "difference", "expected"), RULE_4)
def test_rule_4_several_unless_the_entry_times_decide(
    world: World, times: tuple[str, ...], difference: timedelta | None, expected: str
) -> None:
    """All of them must lie between opening and closing of the same one; the clock as for rules 5 to 7."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "11:00")
    world.open("1.2", "11:10", "P1")
    assert outcome(world.ask(*times, arrival="11:15", P="P1", clock_difference=difference)) == expected
    untrusted = Device("OLD", (), times="untrusted")
    assert outcome(world.ask(*times, P="P1", device=untrusted)) == "C103"


TOLERANCE = [
    ("09:57:59", "C103"),
    ("09:58:00", "0000 6 1.1"),
    ("10:59:59", "0000 6 1.1"),
    ("11:02:00", "0000 6 1.1"),
    ("11:02:01", "C103"),
]


@pytest.mark.parametrize(("time", "expected"), TOLERANCE)
def test_widened_by_clock_tolerance_where_no_other_study_was(world: World, time: str, expected: str) -> None:
    """Between arrival and closing, two minutes more at both ends of an otherwise empty room."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "11:00")
    assert outcome(world.ask(time, arrival="11:05", L="LAB1", clock_difference=timedelta(0))) == expected


BACK_TO_BACK = [
    ("10:59:30", "0000 6 1.1"),
    ("11:00:00", "C103"),  # within two minutes of both, and nobody was there
    ("11:00:59", "C103"),
    ("11:01:00", "0000 6 1.2"),
    ("11:01:30", "0000 6 1.2"),  # within two minutes of 1.1, but another was there
]


@pytest.mark.parametrize(("time", "expected"), BACK_TO_BACK)
def test_widened_only_where_no_other_study_was_there(world: World, time: str, expected: str) -> None:
    """The tolerance never reaches into another study's time."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "11:00")
    world.open("1.2", "11:01", "P2")
    assert outcome(world.ask(time, arrival="11:05", L="LAB1", clock_difference=timedelta(0))) == expected


WHOLE_MINUTES = [
    ("10:58", "0000 6 1.1"),
    ("10:59", "C103"),  # 1.1 left at 10:59:30, 1.2 came at 10:59:40
    ("11:00", "0000 6 1.2"),
]


@pytest.mark.parametrize(("minute", "expected"), WHOLE_MINUTES)
def test_a_datetime_without_seconds_is_its_whole_minute(world: World, minute: str, expected: str) -> None:
    """All of it must lie in the one study's time."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "10:59:30")
    world.open("1.2", "10:59:40", "P2")
    known = timedelta(0)
    decision = world.ask(minute, arrival="11:05", L="LAB1", clock_difference=known, whole_minutes=True)
    assert outcome(decision) == expected


def test_a_whole_minute_may_end_in_the_tolerance(world: World) -> None:
    """Nobody else was there: the rest of the minute is widened time."""
    world.open("1.1", "10:00:30", "P1")
    assert outcome(world.ask("10:00", arrival="10:05", L="LAB1", whole_minutes=True)) == "0000 6 1.1"


def sign_of_life(world: World, uid: str, clock: str) -> None:
    """An accepted request of that time named the study."""
    world.registry.sign_of_life(uid, world.known(uid).location, microseconds(at(clock)), by_request=True)


CLOCKS = [
    # the request's frame, the device's clock difference, expected for events of the study before
    (OWN_FRAME, None, "C103", comments.TIMES_NAME_ANOTHER),  # a statement without a measurement proves nothing
    ("", timedelta(0), "0000 6 1.1", ""),
    ("", timedelta(seconds=120), "0000 6 1.1", ""),
    ("", timedelta(seconds=-120), "0000 6 1.1", ""),
    ("", timedelta(seconds=121), "C103", comments.TIMES_NAME_ANOTHER),
    (OWN_FRAME, timedelta(minutes=40), "C103", comments.TIMES_NAME_ANOTHER),
    ("", timedelta(seconds=-121), "C103", comments.CLOCK_FAST),
    ("", None, "C103", comments.TIMES_NAME_ANOTHER),
    ("1.2.3.4", None, "C103", comments.TIMES_NAME_ANOTHER),
]


@pytest.mark.parametrize(("frame", "difference", "expected", "comment"), CLOCKS)
def test_times_that_name_another_study_than_the_one_there_at_arrival(
    world: World, frame: str, difference: timedelta | None, expected: str, comment: str
) -> None:
    """They decide only where the clock was measured, within the tolerance."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "11:00")
    world.open("1.2", "11:10", "P2")
    decision = world.ask("10:50:00", arrival="11:20", L="LAB1", F=frame, clock_difference=difference)
    assert (outcome(decision), decision.comment) == (expected, comment)
    if comment == comments.TIMES_NAME_ANOTHER:
        assert {candidate.what for candidate in decision.candidates} == {"1.1", "1.2"}


FAST = [
    # a clock ten minutes fast; a study since 11:00; the entry's time, arrival, device's place, expected
    ("11:45:00", "11:35", "LAB1", "0000 7 1.2"),  # punctual: it occurred at arrival
    ("11:43:01", "11:35", "LAB1", "0000 7 1.2"),
    ("11:42:59", "11:35", "LAB1", "C103"),  # more than the tolerance before
    ("11:35:00", "11:35", "LAB1", "C103"),  # stamped now: it occurred ten minutes ago
    ("11:35:00", "11:25", "LAB1", "C103"),  # punctual, but another study was there within the grace
    ("11:35:00", "11:25", "LAB2", "C103"),  # nobody there
]


@pytest.mark.parametrize(("time", "arrival", "place", "expected"), FAST)
def test_a_fast_clock_is_corrected_for_and_only_for_entries_of_just_now(
    world: World, time: str, arrival: str, place: str, expected: str
) -> None:
    """Also where the entries seem to lie in the future; then as for a device whose times are untrusted."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "11:00")
    world.open("1.2", "11:01", "P2")
    device = Device("FAST", (place,))
    decision = world.ask(time, arrival=arrival, device=device, clock_difference=minutes(-10))
    assert outcome(decision) == expected
    if expected == "C103" and place == "LAB1":
        assert "clock is fast" in decision.comment
    else:
        assert "in-the-future" not in codes(decision)


MEANWHILE = [
    # 1.1 from 10:00 to 10:30 and since 11:00, perhaps 1.2 between them; clock difference, expected at 11:10 for 10:20
    (False, None, "0000 6 1.1"),
    (True, None, "C103"),
    (True, minutes(50), "C103"),
    (True, minutes(1), "0000 6 1.1"),
]


@pytest.mark.parametrize(("between", "difference", "expected"), MEANWHILE)
def test_a_clock_that_is_not_known_needs_the_same_study_without_another_between(
    world: World, between: bool, difference: timedelta | None, expected: str
) -> None:
    """At the entry times, at arrival, and all the time between them."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "10:30")
    if between:
        world.open("1.2", "10:35", "P2")
        world.close("1.2", "10:50")
    world.open("1.1", "11:00")
    decision = world.ask("10:20:00", arrival="11:10", L="LAB1", clock_difference=difference)
    assert outcome(decision) == expected


def test_entries_older_than_place_match_max_age_are_not_matched_by_place(world: World) -> None:
    """Whatever is known of the clock; and by name they are."""
    world.open("1.1", "05:00", "P1")
    for minute in (10, 20, 30):
        sign_of_life(world, "1.1", f"05:{minute}")
    sign_of_life(world, "1.1", "11:00")
    for difference in (minutes(0), minutes(30), None):
        ask = {"arrival": "11:30", "clock_difference": difference}
        assert outcome(world.ask("05:30:00", device=AT_LAB1, **ask)) == "0000 7 1.1"  # type: ignore[arg-type]
        old = world.ask("05:29:59", device=AT_LAB1, **ask)  # type: ignore[arg-type]
        why = comments.TOO_OLD_BY_A_SLOW_CLOCK if difference == minutes(30) else comments.TOO_OLD
        assert (old.status, old.comment) == (0xC103, why)
        assert outcome(world.ask("05:29:59", device=AT_LAB1, U="1.1", **ask)) == "0000 1 1.1"  # type: ignore[arg-type]


REPEATED = [
    # 1.1 until 00:40 UTC, 1.2 since 00:50; the clocks go back at 01:00 UTC; arrival (UTC), wall time in Berlin, expected
    ("00:20:00", "021900", "0000 6 1.1"),  # the other reading is still to come
    ("01:31:00", "023000", "C103"),  # 00:30 or 01:30, of two studies
    ("01:29:59", "023000", "C103"),  # so too where the device's clock is a second ahead
    ("01:56:00", "025500", "0000 6 1.2"),  # 00:55 or 01:55, of one
    ("01:59:00", "020500", "C103"),  # 01:05 or 00:05
]


@pytest.mark.parametrize(("arrival", "wall", "expected"), REPEATED)
def test_both_readings_of_a_repeated_hour_must_name_the_same_study(arrival: str, wall: str, expected: str) -> None:
    """Whatever is known of the clock; and who is named is found without them."""
    world = World()
    night = datetime(2024, 10, 27, tzinfo=UTC)
    for uid, patient, opened in (("1.1", "P1", 0), ("1.2", "P2", 50)):
        world.now = night + minutes(opened)
        world.study(uid, patient=patient, location="LAB1", status="open")
        world.now = night + minutes(40)
        if uid == "1.1":
            world.plan(changes.close_study, uid)
    came = datetime.fromisoformat(f"2024-10-27T{arrival}+00:00")
    read = instant(
        f"20241027{wall}",
        request_offset="",
        device_zone="Europe/Berlin",
        server_zone="UTC",
        arrival=came,
        tolerance=minutes(2),
    )
    given = Identifiers(performed_location="LAB1")
    question = MatchQuestion(given, Device("X"), world.policy, [read], came, minutes(0))
    assert outcome(rules.decide(question, world.registry)) == expected
    named = replace(question, given=replace(given, patient_id="P2"))
    assert rules.decide(named, world.registry).study_instance_uid == "1.2"


def test_with_nobody_there_at_arrival_the_last_one_within_its_grace_is_meant(world: World) -> None:
    """After the grace it needs a known clock: the room may hold someone whom nobody registered."""
    world.open("1.1", "10:00", "P1")
    world.close("1.1", "11:00")
    assert outcome(world.ask("10:50:00", arrival="11:29", L="LAB1")) == "0000 6 1.1"
    assert outcome(world.ask("10:50:00", arrival="11:31", L="LAB1")) == "C103"
    assert outcome(world.ask("10:50:00", L="LAB1", clock_difference=timedelta(0))) == "0000 6 1.1"


def test_untrusted_times_are_matched_by_arrival_while_no_other_study_was_there_lately(world: World) -> None:
    """Whatever the device's clock says; and not within close_grace of another study."""
    old = Device("OLD", ("LAB1",), times="untrusted")
    world.open("1.1", "10:00", "P1")
    for clock in ("03:00:00", "10:04:00", "23:00:00"):
        assert outcome(world.ask(clock, arrival="10:05", device=old)) == "0000 7 1.1"
    world.close("1.1", "11:00")
    world.open("1.2", "11:10", "P2")
    decision = world.ask("11:29:00", arrival="11:29", device=old)
    assert (decision.status, decision.comment) == (0xC103, comments.UNTRUSTED_SEVERAL)
    assert outcome(world.ask("03:00:00", arrival="11:31", device=old)) == "0000 7 1.2"


LIKELY = [
    # a study since 11:00; times, clock difference known, comment
    ("10:30:00", None, comments.NONE_THEN_ONE_NOW),
    ("10:30:00", minutes(30), comments.CLOCK_DIFFERS),
    ("10:30:00", minutes(0), comments.NONE_AT_LOCATION),
    ("11:45:00", None, comments.IN_THE_FUTURE),
    ("04:30:00", minutes(395), comments.TOO_OLD_BY_A_SLOW_CLOCK),
    ("04:30:00", minutes(30), comments.TOO_OLD),
    ("04:30:00", None, comments.TOO_OLD),
]


@pytest.mark.parametrize(("time", "difference", "comment"), LIKELY)
def test_the_comment_tells_when_a_clock_difference_is_the_likely_cause(
    world: World, time: str, difference: timedelta | None, comment: str
) -> None:
    """None by time, but one at arrival; or a difference that is known."""
    world.open("1.1", "11:00", "P1")
    decision = world.ask(time, arrival="11:05", device=AT_LAB1, clock_difference=difference)
    assert (decision.status, decision.comment) == (0xC103, comment)


def test_rules_5_to_7_never_find_a_cancelled_study(world: World) -> None:
    """Not even for the time when it was open."""
    world.open("1.1", "10:00", "P1", study_id="S1")
    world.study("1.1", "10:10", status="cancelled")
    for given in ({"L": "LAB1", "S": "S1"}, {"L": "LAB1"}, {}):
        assert world.ask("10:05:00", arrival="10:15", device=AT_LAB1, given=given).status == 0xC103


@pytest.mark.parametrize(("named", "status"), [(True, 0xC103), (False, 0)])
def test_a_cancelled_study_that_was_named_from_the_room_was_there(world: World, named: bool, status: int) -> None:
    """It takes no events, and whoever was opened there before it left is not the only one; one opened by mistake never was there."""
    world.open("1.1", "10:00", "P1")
    if named:
        world.registry.sign_of_life("1.1", "LAB1", microseconds(at("10:30")), by_request=True)
    world.open("1.2", "10:45", "P2")
    world.study("1.1", "11:00", status="cancelled")
    for clock in ("10:50", "11:01"):
        found = world.ask(clock, arrival="11:05", L="Lab 1", clock_difference=timedelta(0))
        expected = status if clock == "10:50" else 0
        assert (clock, found.status, found.study_instance_uid) == (clock, expected, "" if expected else "1.2")


def test_rules_5_to_7_never_find_a_study_without_feed_message_or_event_for_place_match_max_age(world: World) -> None:
    """An entry keeps it findable; U still finds it when it is not."""
    world.open("1.1", "06:10", "P1")
    assert outcome(world.ask(arrival="12:09", device=AT_LAB1)) == "0000 7 1.1"
    assert outcome(world.ask(arrival="12:13", device=AT_LAB1)) == "C103"
    assert outcome(world.ask(U="1.1")) == "0000 1 1.1"
    sign_of_life(world, "1.1", "09:00")
    assert outcome(world.ask(device=AT_LAB1)) == "0000 7 1.1"


def test_a_scheduled_study_never_arrives(world: World) -> None:
    """Rules 5 to 7 find it from its opening on."""
    world.study("1.1", "09:00", patient="P1", study_id="S1", location="LAB1", status="scheduled")
    assert outcome(world.ask(arrival="09:05", device=AT_LAB1)) == "C103"
    assert outcome(world.ask(L="LAB1", S="S1")) == "C103"
    world.study("1.1", "09:10", status="open")
    assert outcome(world.ask(arrival="09:15", device=AT_LAB1)) == "0000 7 1.1"


def test_one_with_a_step_in_progress_stays_and_then_rules_5_to_7_find_several(world: World) -> None:
    """Until one of them ends: nobody can know whose the events are."""
    world.study("1.1", "09:00", patient="P1", location="LAB1", status="scheduled")
    world.step("1.1", "09:10", "s1")
    world.open("1.2", "10:00", "P2")
    assert world.known("1.1").status == "open"
    assert world.ask(arrival="10:05", device=AT_LAB1).comment == comments.SEVERAL_AT_LOCATION
    world.step("1.1", "10:10")
    assert outcome(world.ask(arrival="10:15", device=AT_LAB1)) == "0000 7 1.2"


# --- contradictions ----------------------------------------------------------------------------------------------------------

CONTRADICTIONS = [
    # rule, given, setting, expected by default, expected with the setting turned
    ("1", {"U": "1.1", "P": "P2"}, "patient_mismatch", "C104", "B104 1 1.1"),
    ("3", {"P": "P1", "S": "S1", "L": "LAB2"}, "location_mismatch", "B104 3 1.1", "C104"),
    ("4", {"P": "P1", "S": "S2"}, "study_id_mismatch", "B104 4 1.1", "C104"),
    ("4", {"P": "P1", "L": "LAB2"}, "location_mismatch", "B104 4 1.1", "C104"),
    ("1", {"U": "1.1", "S": "S2"}, "study_id_mismatch", "B104 1 1.1", "C104"),
    ("1", {"U": "1.1", "L": "LAB2"}, "location_mismatch", "B104 1 1.1", "C104"),
    ("5", {"L": "LAB1", "S": "S1", "P": "P9"}, "patient_mismatch", "C104", "B104 5 1.1"),
    ("6", {"L": "LAB1", "S": "S2"}, "study_id_mismatch", "C104", "C104"),
    ("6", {"L": "LAB1", "P": "P9"}, "patient_mismatch", "C104", "B104 6 1.1"),
    ("7", {"S": "S2"}, "study_id_mismatch", "C104", "C104"),
    ("7", {"P": "P9"}, "patient_mismatch", "C104", "B104 7 1.1"),
]


@pytest.mark.parametrize("row", CONTRADICTIONS)
def test_every_identifier_that_was_given_is_compared_with_the_study_found(
    world: World, row: tuple[str, dict[str, str], str, str, str]
) -> None:
    """P: C104; S and L with rules 1 to 4: B104; S with rules 5 to 7: C104; the settings turn all but the last."""
    rule, given, setting, by_default, turned = row
    world.open("1.1", "10:00", "P1", study_id="S1")
    decision = world.ask(arrival="10:05", device=AT_LAB1, given=given)
    assert (outcome(decision), decision.rule) == (by_default, rule)
    other = "log" if setting == "patient_mismatch" else "refuse"
    policy = replace(POLICY, **{setting: other})  # type: ignore[arg-type]  # names of settings
    assert outcome(world.ask(device=AT_LAB1, policy=policy, given=given)) == turned


@pytest.mark.parametrize(
    ("given", "rule", "comment"),
    [
        ({"P": "P9"}, "7", comments.UNKNOWN_AT_LOCATION),
        ({"L": "LAB1", "P": "P9"}, "6", comments.UNKNOWN_AT_LOCATION),
        ({"U": "1.1", "P": "P9"}, "1", comments.UNKNOWN_FOR_STUDY),
        ({"P": "P2"}, "7", comments.PATIENT_CONTRADICTS),
        ({"U": "1.1", "P": "P2"}, "1", comments.PATIENT_CONTRADICTS),
    ],
)
def test_a_patient_id_that_names_nobody_is_not_called_another_patients(
    world: World, given: dict[str, str], rule: str, comment: str
) -> None:
    """Refused the same, or logged the same where the setting says so; the comment says what found the study, and that nobody has the ID."""
    world.open("1.1", "10:00", "P1")
    world.patient("P2")
    decision = world.ask(arrival="10:05", device=AT_LAB1, given=given)
    assert (decision.status, decision.rule, decision.comment) == (0xC104, rule, comment)
    assert [candidate.why_not for candidate in decision.candidates if candidate.what == "1.1"] == [comment]
    policy = replace(POLICY, patient_mismatch="log")
    taken = world.ask(arrival="10:05", device=AT_LAB1, policy=policy, given=given)
    assert (taken.status, taken.rule, taken.comment, taken.study_instance_uid) == (0xB104, rule, comment, "1.1")


def test_s_and_l_contradict_only_where_the_registry_has_a_value(world: World) -> None:
    """A study without Study ID or location says nothing against either."""
    world.open("1.1", "10:00", "P1", location="")
    assert outcome(world.ask(arrival="10:05", U="1.1", S="S9", L="LAB2")) == "0000 1 1.1"
    world.study("1.1", "10:06", location="LAB1")
    assert outcome(world.ask(arrival="10:07", L="LAB1", S="S9")) == "0000 6 1.1"


def test_l_contradicts_when_the_study_was_not_there_at_the_entrys_time(world: World) -> None:
    """Moved at 11:00: each lab is right in its time."""
    world.open("1.1", "10:00", "P1")
    world.study("1.1", "11:00", location="LAB2")
    rows = [
        ("10:30:00", "LAB1", 0),
        ("10:30:00", "LAB2", 0xB104),
        ("11:10:00", "LAB2", 0),
        ("11:10:00", "LAB1", 0xB104),
    ]
    for time, lab, status in rows:
        assert world.ask(time, arrival="11:15", U="1.1", L=lab).status == status, (time, lab)
    assert world.ask("09:50:00", U="1.1", L="LAB1").status == 0  # before it arrived it was nowhere else


def test_the_devices_own_location_differing_l_empty_is_a_finding(world: World) -> None:
    """No contradiction: devices are moved."""
    world.open("1.1", "10:00", "P1", location="LAB2")
    decision = world.ask(arrival="10:05", device=AT_LAB1, U="1.1")
    assert (decision.status, codes(decision)) == (0, {"device-location-differs"})


FRAMES = [("", 0), (OWN_FRAME, 0), (" ", 0), ("1.2.3", 0xB101)]


@pytest.mark.parametrize(("frame", "status"), FRAMES)
def test_synchronization_frame_given_not_empty_and_different_is_b101(world: World, frame: str, status: int) -> None:
    """Compared with the SCP's own."""
    world.open("1.1", "10:00", "P1")
    assert world.ask(arrival="10:05", U="1.1", F=frame).status == status


WARNINGS = [
    ({"U": "1.9", "P": "P1", "S": "S9", "F": "1.2.3"}, (0xB102, 0xB104, 0xB101), comments.COERCED),
    ({"U": "1.1", "S": "S9", "F": "1.2.3"}, (0xB104, 0xB101), comments.STUDY_ID_CONTRADICTS),
    ({"U": "1.9", "P": "P1", "F": "1.2.3"}, (0xB102, 0xB101), comments.COERCED),
    ({"U": "1.1", "F": "1.2.3"}, (0xB101,), comments.SYNCHRONIZATION),
]


@pytest.mark.parametrize(("given", "warnings", "comment"), WARNINGS)
def test_the_response_carries_b102_before_b104_before_b101_and_the_event_all(
    world: World, given: dict[str, str], warnings: tuple[int, ...], comment: str
) -> None:
    """Several warnings at once."""
    world.open("1.1", "10:00", "P1", study_id="S1")
    decision = world.ask(arrival="10:05", given=given)
    assert (decision.status, decision.warnings, decision.comment) == (warnings[0], warnings, comment)


def test_events_before_the_study_opened_are_accepted_with_a_finding(world: World) -> None:
    """Patient or study named."""
    world.open("1.1", "10:00", "P1")
    for given in ({"U": "1.1"}, {"P": "P1"}):
        decision = world.ask("09:30:00", "10:01:00", arrival="10:05", given=given)
        assert (decision.status, codes(decision)) == (0, {"before-opening"})
        assert decision.findings[0].reason.endswith("entry 1")


def test_events_in_the_future_beyond_clock_tolerance_are_a_finding_and_no_place_rule(world: World) -> None:
    """With U or P they are taken."""
    world.open("1.1", "10:00", "P1")
    assert codes(world.ask("10:07:00", arrival="10:05", device=AT_LAB1)) == set()
    assert world.ask("10:07:01", arrival="10:05", device=AT_LAB1).comment == comments.IN_THE_FUTURE
    assert codes(world.ask("10:07:01", arrival="10:05", U="1.1")) == {"in-the-future"}
    assert codes(world.ask("10:07:01", arrival="10:05", P="P1")) == {"in-the-future"}


@pytest.mark.parametrize(("month", "year"), [(1, 1), (12, 9999)])
def test_times_of_other_ages_do_no_harm(world: World, month: int, year: int) -> None:
    """A device at the beginning or the end of the calendar gets an answer."""
    world.open("1.1", "10:00", "P1")
    time = moment(at("10:05").replace(year=year, month=month))
    question = MatchQuestion(Identifiers(), AT_LAB1, POLICY, [time], at("10:05"))
    assert outcome(rules.decide(question, world.registry)) == "C103"
    named = replace(question, given=Identifiers(study_instance_uid="1.1", performed_location="LAB1"))
    assert outcome(rules.decide(named, world.registry)) == "0000 1 1.1"


def test_a_decision_carries_the_position_it_was_made_on(world: World) -> None:
    """R is the registry's position, for success and failure."""
    world.open("1.1", "10:00", "P1")
    first = world.ask(arrival="10:05", U="1.1").registry_position
    world.open("1.2", "10:06", "P2")
    assert world.ask(U="1.9").registry_position == world.registry.position > first > 0
