"""The cath-lab cases C1 to C10 at rule level: feeds are modelled by the registry changes that they will make."""

from datetime import timedelta

import pytest

from plscp.matching import comments
from plscp.matching.model import Device
from plscp.matching.records import PatientId
from plscp.matching.registry import microseconds
from tests.matching.world import World, change_patient_id, codes, outcome

RECORDER = Device("HEMO1", ("LAB1",))
XRAY = Device("XA1", ("LAB1",))
OTHER_LAB = Device("HEMO2", ("LAB2",))
TABLET = Device("TABLET")
SHARED = Device("ECHO", ("LAB1", "LAB2"))
KNOWN = timedelta(0)


def test_c1_registered_and_ordered(world: World) -> None:
    """The recorder logs from the worklist entry before the X-ray starts: 0000 throughout, the early ones with a finding."""
    world.patient("P1")
    world.study("1.1", "08:00", patient="P1", location="LAB1", status="scheduled", study_id="S1")
    early = world.ask(arrival="08:50", device=RECORDER, U="1.1", P="P1")
    assert (outcome(early), codes(early)) == ("0000 2a 1.1", {"study-not-started"})
    world.step("1.1", "09:00", "mpps1")
    later = world.ask(arrival="09:05", device=RECORDER, U="1.1", P="P1")
    assert (outcome(later), codes(later)) == ("0000 1 1.1", set())
    assert outcome(world.ask(device=XRAY)) == "0000 7 1.1"


def test_c2_ordered_at_the_department(world: World) -> None:
    """The X-ray runs unscheduled, the recorder uses the scheduled study: B102 and the true UID."""
    world.study("1.1", "08:00", patient="P1", location="LAB1", status="scheduled")
    world.study("1.2", "09:00", patient="P1", location="LAB1")
    world.step("1.2", "09:00", "mpps1")
    for given in ({"U": "1.1"}, {"U": "1.1", "P": "P1"}, {"U": "1.1", "L": "Lab 1"}):
        decision = world.ask(arrival="09:05", device=RECORDER, given=given)
        assert outcome(decision) == "B102 2a 1.2"
        assert decision.comment == comments.COERCED
    assert outcome(world.ask(device=RECORDER, U="1.99", L="Lab 1")) == "C103"


@pytest.mark.parametrize("sent", ["P1", ""])
def test_c3_registered_not_ordered(world: World, sent: str) -> None:
    """MPPS opens an unscheduled study, once with an empty Patient ID."""
    world.patient("P1")
    world.study("1.1", "09:00", patient=sent, location="LAB1")
    world.step("1.1", "09:00", "mpps1")
    if sent:
        assert outcome(world.ask(arrival="09:05", device=TABLET, P="P1")) == "0000 4 1.1"
    else:
        decision = world.ask(arrival="09:05", device=RECORDER)
        assert (outcome(decision), decision.patient_id) == ("0000 7 1.1", "PLSCP-1")
        assert outcome(world.ask(device=RECORDER, P="P1")) == "C104"


def test_c4_registered_at_the_department(world: World) -> None:
    """C103 while no study is open in the room, C104 when they name a patient and another's is; replayed after registration."""
    assert outcome(world.ask(arrival="08:30", device=RECORDER, P="P1")) == "C103"
    assert outcome(world.ask(device=RECORDER)) == "C103"
    world.open("1.2", "09:00", "P2")
    assert outcome(world.ask(arrival="09:05", device=RECORDER, P="P1")) == "C104"
    world.close("1.2", "09:30")
    world.open("1.1", "09:40", "P1")
    replayed = world.ask("09:05:00", arrival="09:45", device=RECORDER, P="P1")
    assert (outcome(replayed), codes(replayed)) == ("0000 4 1.1", {"before-opening"})


def test_c5_emergency_with_a_placeholder(world: World) -> None:
    """0000 before and after the merge; the real ID before it: C104; a second emergency does not go to the first patient."""
    world.study("1.1", "09:00", patient="UNKNOWN", location="LAB1")
    world.step("1.1", "09:00", "mpps1")
    before = world.ask(arrival="09:05", device=RECORDER, P="UNKNOWN")
    assert (outcome(before), before.patient_id) == ("0000 7 1.1", "PLSCP-1")
    assert outcome(world.ask(device=RECORDER, P="P7")) == "C104"
    assert outcome(world.ask(device=RECORDER, U="1.1", P="P7")) == "C104"
    merged = world.merge("P7", "UNKNOWN", "09:30")
    assert [record.change["what"] for record in merged][-1] == "study.updated"
    for given in ({"P": "P7"}, {"P": "UNKNOWN"}, {"U": "1.1", "P": "P7"}, {"P": "PLSCP-1"}):
        after = world.ask(arrival="09:35", device=RECORDER, given=given)
        assert (after.status, after.study_instance_uid, after.patient_id) == (0, "1.1", "P7")
    world.step("1.1", "10:00")
    world.study("1.2", "10:30", patient="UNKNOWN", location="LAB1")
    world.step("1.2", "10:30", "mpps2")
    second = world.ask(arrival="10:35", device=RECORDER, P="UNKNOWN")
    assert (outcome(second), second.patient_id) == ("0000 7 1.2", "PLSCP-2")
    assert outcome(world.ask(device=RECORDER, P="P7")) == "C104"


def test_c6_patient_updated_during_the_procedure(world: World) -> None:
    """A08 corrects the name, A47 changes the ID: devices that still send the old one get 0000 with a finding."""

    world.open("1.1", "09:00", "P1")
    world.patient("P1", name="Doe^Jane")
    world.plan(change_patient_id, PatientId("P1", ""), PatientId("P9", ""))
    old = world.ask(arrival="09:05", device=RECORDER, U="1.1", P="P1")
    assert (old.status, old.patient_id, codes(old)) == (0, "P9", {"superseded-id"})
    assert codes(world.ask(P="P9")) == set()
    assert old.patient_key == "HOSP|P1"


def test_c7_change_of_rooms(world: World) -> None:
    """Devices of the old room do not land in the moved study, those of the new room do, late events go by their time."""
    world.open("1.1", "09:00", "P1")
    world.admission("V1", "P1", location="Ward 3")  # A02: the bed moves nothing
    world.study("1.1", "10:00", location="LAB2")
    assert outcome(world.ask(arrival="10:05", device=RECORDER)) == "C103"
    assert outcome(world.ask(device=OTHER_LAB)) == "0000 7 1.1"
    assert (
        outcome(world.ask("09:50:00", device=RECORDER)) == "C103"
    )  # its clock is not known, and 1.1 is in the other lab
    assert outcome(world.ask("09:50:00", device=RECORDER, clock_difference=KNOWN)) == "0000 7 1.1"
    world.open("1.2", "10:10", "P2")
    assert outcome(world.ask(arrival="10:15", device=RECORDER)) == "0000 7 1.2"
    assert outcome(world.ask("09:50:00", device=RECORDER)) == "C103"  # its clock is not known
    assert outcome(world.ask("09:50:00", device=RECORDER, clock_difference=KNOWN)) == "0000 7 1.1"


def test_c8_cancelled(world: World) -> None:
    """Cancelled before any step, with nobody and then with another patient in the room."""
    world.study("1.1", "08:00", patient="P1", location="LAB1", status="scheduled")
    world.study("1.1", "08:30", status="cancelled")
    assert outcome(world.ask(arrival="09:00", device=RECORDER, U="1.1")) == "C101"
    assert outcome(world.ask(device=RECORDER)) == "C103"
    assert outcome(world.ask(device=RECORDER, P="P1")) == "C103"
    world.open("1.2", "09:10", "P2")
    assert outcome(world.ask(arrival="09:15", device=RECORDER)) == "0000 7 1.2"
    assert outcome(world.ask(device=RECORDER, P="P1")) == "C104"
    assert outcome(world.ask(device=RECORDER, U="1.1")) == "C101"


def test_c8_discontinued(world: World) -> None:
    """MPPS DISCONTINUED during resuscitation: drugs within the grace are taken."""
    world.study("1.1", "08:00", patient="P1", location="LAB1")
    world.step("1.1", "09:00", "mpps1")
    world.step("1.1", "09:30")
    for given in ({"U": "1.1"}, {"P": "P1"}):
        assert world.ask("09:40:00", arrival="09:59", device=TABLET, given=given).status == 0
    assert outcome(world.ask("09:29:00", device=RECORDER)) == "0000 7 1.1"


LATE = [
    # arrival, times, device, given, outcome; 1.1 of P1 from 9 to 10, 1.2 of P2 from 10:10, both in LAB1
    ("10:20", "09:50:00", RECORDER, {"U": "1.1"}, "0000 1 1.1"),
    ("10:20", "09:50:00", RECORDER, {"P": "P1"}, "0000 4 1.1"),
    ("10:20", "09:50:00", TABLET, {"P": "P1"}, "0000 4 1.1"),
    ("10:20", "09:50:00", RECORDER, {}, "0000 7 1.1"),
    ("10:20", "10:15:00", RECORDER, {}, "0000 7 1.2"),
    ("10:40", "09:50:00", RECORDER, {"U": "1.1"}, "C101"),
    ("10:40", "09:50:00", TABLET, {"P": "P1"}, "C103"),
    ("10:40", "09:50:00", RECORDER, {"P": "P1"}, "0000 7 1.1"),
    ("10:40", "10:15:00", RECORDER, {"P": "P1"}, "C104"),
    ("10:40", "09:50:00", RECORDER, {}, "0000 7 1.1"),
    ("10:40", "09:50:00", TABLET, {"L": "LAB1"}, "0000 6 1.1"),
    ("10:40", "10:15:00", RECORDER, {}, "0000 7 1.2"),
]


@pytest.mark.parametrize(("arrival", "time", "device", "given", "expected"), LATE)
def test_c9_evidence_after_the_procedure(
    arrival: str, time: str, device: Device, given: dict[str, str], expected: str
) -> None:
    """The next patient is already in the room; within the grace and after it."""
    world = World()
    world.open("1.1", "09:00", "P1")
    world.close("1.1", "10:00")
    world.open("1.2", "10:10", "P2")
    assert outcome(world.ask(time, arrival=arrival, device=device, given=given, clock_difference=KNOWN)) == expected


def test_c10_electrophysiology(world: World) -> None:
    """Twelve hours, two labs, interleaved senders, one shared device: no cross-over."""
    world.open("1.1", "06:00", "P1")
    world.open("1.2", "06:05", "P2", location="LAB2")
    for hour in range(6, 18):
        for minute in (10, 30, 50):
            clock = f"{hour:02}:{minute}"
            for device, uid, patient in ((RECORDER, "1.1", "P1"), (OTHER_LAB, "1.2", "P2")):
                decision = world.ask(arrival=clock, device=device)
                assert outcome(decision) == f"0000 7 {uid}"
                world.registry.sign_of_life(uid, device.locations[0], microseconds(world.now), by_request=True)
                assert outcome(world.ask(device=SHARED, P=patient)) == f"0000 4 {uid}"
            assert world.ask(device=SHARED).comment == comments.SEVERAL_LOCATIONS
            assert outcome(world.ask(device=SHARED, L="Lab 2")) == "0000 6 1.2"
