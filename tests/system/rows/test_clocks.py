"""Rows 2, 3, 6 and 13: a device's times name a study by place only while its clock is measured."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from plscp.matching import comments
from plscp.matching.model import Device
from plscp.service.profile import Profile
from tests.events import note, procedural, text
from tests.system.rows.rig import POLICY, Rig, at

HEMO = Profile(Device("HEMO1", ("LAB1",)), POLICY)
BERLIN = Profile(Device("BERLIN", ("LAB1",)), POLICY, zone="Europe/Berlin")
OWN_FRAME = POLICY.synchronization_frame_of_reference_uid


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """PA was in LAB1 from 09:00 to 10:00, PB is there since 10:10."""
    with Rig(tmp_path, HEMO, BERLIN) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1")
        rig.clock("10:00")
        rig.close("1.1")
        rig.clock("10:10")
        rig.study("1.2", "PB", location="LAB1")
        yield rig


def entry(moment: datetime, frame: str = OWN_FRAME, **more: str) -> Dataset:
    """One entry that only its place can match, unless more is given."""
    return procedural([note(moment)], frame=frame, **more)


@pytest.mark.parametrize("slow", [timedelta(minutes=40), timedelta(days=3)])
def test_row_02_a_slow_clock_that_names_the_servers_frame_puts_nothing_on_the_previous_patient(
    rig: Rig, slow: timedelta
) -> None:
    """Neither with the first request nor later: a delay looks like a slow clock."""
    for second in range(0, 50, 10):
        answer = rig.send(
            entry(at("10:30") - slow + timedelta(seconds=second)), calling="HEMO1", when=f"10:30:{second:02}"
        )
        assert answer.status == "C103"
        assert answer.comment in {comments.TIMES_NAME_ANOTHER, comments.CLOCK_DIFFERS, comments.TOO_OLD}
    assert not rig.events()
    named = rig.send(entry(at("10:31") - slow, patient="PB"), calling="HEMO1", when="10:31")
    assert named.study == "1.2"


def test_row_02_a_measured_clock_lets_late_events_go_by_their_time(rig: Rig) -> None:
    """What the rule is there for: two punctual requests, then a late one of the patient before."""
    late = entry(at("09:50"))
    assert rig.send(late, calling="HEMO1", when="10:30").status == "C103"
    for second in (10, 20):
        assert str(rig.send(entry(at(f"10:30:{second}")), calling="HEMO1", when=f"10:30:{second}")) == "0000 1.2 PB"
    assert str(rig.send(late, calling="HEMO1", when="10:30:30")) == "0000 1.1 PA"
    rig.restart()
    assert str(rig.send(entry(at("09:51")), calling="HEMO1", when="11:00")) == "0000 1.1 PA"


def test_row_02_an_offset_from_the_servers_default_time_zone_is_a_guess(rig: Rig) -> None:
    """A device in another zone stamps wall times without an offset: an hour off, it is no known clock."""
    for minute in (30, 31, 32):
        wall = f"202405140{9}{minute}00"
        dataset = procedural([_stamped(wall)])
        answer = rig.send(dataset, calling="HEMO1", when=f"10:{minute}")
        assert answer.status == "C103"


def test_row_03_a_fast_clock_is_corrected_for_punctual_events_and_for_nothing_else(rig: Rig) -> None:
    """Ten minutes fast: punctual events go to who is there; one stamped now occurred ten minutes ago."""
    fast = timedelta(minutes=10)
    first = rig.send(entry(at("10:50") + fast), calling="HEMO1", when="10:50")
    assert (first.status, first.comment) == ("C103", comments.IN_THE_FUTURE)
    second = rig.send(entry(at("10:50:30") + fast), calling="HEMO1", when="10:50:30")
    assert str(second) == "0000 1.2 PB"
    rig.clock("10:55")
    rig.close("1.2")
    rig.clock("10:56")
    rig.study("1.3", "PC", location="LAB1")
    stamped_now = rig.send(entry(at("10:59")), calling="HEMO1", when="10:59")
    assert (stamped_now.status, stamped_now.comment) == ("C103", comments.CLOCK_FAST)
    punctual = rig.send(entry(at("10:59:30") + fast), calling="HEMO1", when="10:59:30")
    assert (punctual.status, punctual.comment) == ("C103", comments.FAST_SEVERAL)
    assert str(rig.send(entry(at("11:30") + fast), calling="HEMO1", when="11:30")) == "0000 1.3 PC"


def test_row_06_a_clock_a_second_ahead_in_the_repeated_hour_does_not_go_back_an_hour(tmp_path: Path) -> None:
    """The clocks of Berlin go back at 01:00 UTC: 02:30:01 arrives at 01:30:00 UTC."""
    night = datetime(2024, 10, 27, tzinfo=UTC)
    with Rig(tmp_path, BERLIN) as rig:
        rig.clock(night)
        rig.study("1.1", "PA", location="LAB1")
        rig.clock(night + timedelta(minutes=40))
        rig.close("1.1")
        rig.clock(night + timedelta(minutes=50))
        rig.study("1.2", "PB", location="LAB1")
        for minute in (52, 53):  # a known clock
            rig.clock(night + timedelta(minutes=minute))
            assert str(rig.send(entry(rig.now), calling="BERLIN")) == "0000 1.2 PB"
        rig.clock(night + timedelta(minutes=90))
        ahead = rig.send(procedural([_stamped("20241027023001")]), calling="BERLIN")
        assert ahead.status == "C103"
        named = rig.send(procedural([_stamped("20241027023001")], patient="PB"), calling="BERLIN")
        assert str(named) == "0000 1.2 PB"
        assert rig.events()[-1].occurred == "2024-10-27T01:30:01.000Z"


def test_row_13_one_absurd_datetime_spoils_no_clock(rig: Rig) -> None:
    """Not even one that was accepted; and what was measured is known after a restart."""
    for second in (0, 10):
        assert rig.send(entry(at(f"10:30:{second:02}")), calling="HEMO1", when=f"10:30:{second:02}").status == "0000"
    assert rig.send(entry(at("13:30"), patient="PB"), calling="HEMO1", when="10:30:20").status == "0000"  # accepted
    assert rig.send(entry(at("14:30")), calling="HEMO1", when="10:30:30").status == "C103"  # refused
    assert str(rig.send(entry(at("10:30:40")), calling="HEMO1", when="10:30:41")) == "0000 1.2 PB"
    assert str(rig.send(entry(at("09:50")), calling="HEMO1", when="10:31")) == "0000 1.1 PA"
    rig.restart()
    assert str(rig.send(entry(at("09:51")), calling="HEMO1", when="10:32")) == "0000 1.1 PA"


def test_row_13_a_refused_request_is_measured_too(rig: Rig) -> None:
    """Its identifiers name nobody, and its DateTime is as good as any."""
    for second in (0, 10):
        refused = rig.send(entry(at(f"10:30:{second:02}"), study="9.9"), calling="HEMO1", when=f"10:30:{second:02}")
        assert refused.status == "C103"
    rig.restart()
    assert str(rig.send(entry(at("09:50")), calling="HEMO1", when="10:31")) == "0000 1.1 PA"


def _stamped(wall: str) -> Dataset:
    """An entry with a DateTime without offset."""
    made = text("CONTAINS", ("121174", "DCM", "Procedure Note"), f"note of {wall}")
    made.ObservationDateTime = wall
    return made


def test_row_03_a_device_set_right_again_is_known_after_an_hour(rig: Rig) -> None:
    """The fast minutes count for an hour; a device without this server's frame is then measured anew."""
    fast = timedelta(minutes=10)
    for second in (0, 10):
        rig.send(entry(at(f"10:30:{second:02}") + fast, frame=""), calling="HEMO1", when=f"10:30:{second:02}")
    rig.study("1.2", location="LAB1")
    assert rig.send(entry(at("11:00"), frame=""), calling="HEMO1", when="11:00").comment == comments.CLOCK_FAST
    for second in (0, 10):
        answer = rig.send(entry(at(f"11:40:{second:02}"), frame=""), calling="HEMO1", when=f"11:40:{second:02}")
        assert str(answer) == "0000 1.2 PB"


def test_row_10_a_worklist_slip_is_a_warning_or_a_refusal(tmp_path: Path) -> None:
    """The next patient's scheduled study, named from a room where another patient lies."""
    strict = Profile(Device("HEMO2", ("LAB1",)), replace(POLICY, not_started_elsewhere="refuse"))
    with Rig(tmp_path, HEMO, strict) as rig:
        rig.study("1.1", "PA", location="LAB1")
        rig.study("1.2", "PB", status="scheduled", location="LAB1")
        slip = rig.send(entry(at("08:30"), study="1.2", patient="PB"), calling="HEMO1", when="08:30")
        assert (slip.status, slip.study, slip.comment) == ("B104", "1.2", comments.NOT_STARTED_ELSEWHERE)
        refused = rig.send(entry(at("08:31"), study="1.2", patient="PB"), calling="HEMO2", when="08:31")
        assert refused.status == "C104"
        assert len(rig.quarantined()) == 1
        expired = rig.send(entry(at("08:32"), study="1.2"), calling="HEMO1", when=timedelta(days=7, seconds=1))
        assert (expired.status, expired.comment) == ("C101", comments.EXPIRED)


def test_row_09_a_device_with_two_locations_must_say_where_it_is(tmp_path: Path) -> None:
    """Also while only one of them has a study."""
    with Rig(tmp_path, Profile(Device("ECHO1", ("LAB1", "LAB2")), POLICY)) as rig:
        rig.study("1.1", "PA", location="LAB1")
        silent = rig.send(entry(at("08:30")), calling="ECHO1", when="08:30")
        assert (silent.status, silent.comment) == ("C103", comments.SEVERAL_LOCATIONS)
        assert str(rig.send(entry(at("08:31"), location="Lab 1"), calling="ECHO1", when="08:31")) == "0000 1.1 PA"
        assert rig.send(entry(at("08:32"), location="Lab 2"), calling="ECHO1", when="08:32").status == "C103"


def test_row_11_study_id_and_location_of_another_patient_against_the_patient_id(rig: Rig) -> None:
    """Two against one: the request is refused instead of logged under whom the Patient ID names."""
    rig.study("1.2", location="LAB1", study_id="SB")
    rig.study("1.3", "PC", location="LAB2", study_id="SC")
    wrong = rig.send(entry(at("10:30"), patient="PC", study_id="SB", location="Lab 1"), when="10:30")
    assert (wrong.status, wrong.comment) == ("C104", comments.BOTH_CONTRADICT)
    one = rig.send(entry(at("10:31"), patient="PC", study_id="SC", location="Lab 1"), when="10:31")
    assert str(one) == "B104 1.3 PC"
