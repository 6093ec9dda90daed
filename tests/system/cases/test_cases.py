"""IHE Cardiology's situations in which identity goes wrong in a cath lab (Cardiac Cath Workflow), end to end.

A real server, HL7 over MLLP, MPPS and devices over associations, and the records as a consumer reads them from a real Kafka.
"""

from collections.abc import Callable, Iterator

import pytest

from plscp.matching import comments
from tests.conftest import Broker
from tests.system.cases.case import Case
from tests.system.cases.rig import Rig
from tests.system.cases.senders import Hospital, Modality

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
Play = Callable[[str], Case]


@pytest.fixture(scope="module")
def rig(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One server for all cases: each has a day, rooms, devices and patients of its own."""
    with Rig(tmp_path_factory.mktemp("cases"), kafka_broker.address) as made:
        yield made


@pytest.fixture
def play(rig: Rig) -> Iterator[Play]:
    """Begins a case, by its name."""
    hospital = Hospital(rig.hl7)
    modality = Modality((rig.serving.host, rig.serving.port))
    yield lambda name: Case(rig, name, hospital, modality)
    hospital.close()


def test_c1_registered_and_ordered(play: Play) -> None:
    """The recorder logs from the worklist entry before the X-ray starts: 0000 throughout, the early ones with a finding."""
    case = play("C1").at("08:00")
    case.adt("A04", 1, visit="C1VISIT1", bed="WARD^1^2")
    case.order("NW", 1, 1, planned="09:00")
    case.at("08:50").sends("HEMO1", "0000 2a 1 1", U=1, P=1, finds="study-not-started")
    case.gives("ECG1", "0000 patient 1", P=1)
    case.gives("ECG1", "0000 admission 1", admission="C1VISIT1")
    case.sends("ECG1", "C103", says=comments.NONE_AT_LOCATION)
    case.at("09:00").begins("XRAY1", 1, 1, 1)
    case.at("09:05").sends("HEMO1", "0000 1 1 1", U=1, P=1)
    case.sends("XRAY1", "0000 7 1 1")
    case.sends("TABLET", "0000 4 1 1", P=1)
    case.at("09:50").ends("XRAY1", 1)
    case.at("09:55").sends("HEMO1", "0000 1 1 1", U=1, finds="after-closing")
    assert case.study_records(1) == ["updated", "opened", "closed"]


def test_c2_ordered_at_the_department(play: Play) -> None:
    """The X-ray runs unscheduled, the recorder uses the scheduled study: B102 and the true UID."""
    case = play("C2").at("08:00")
    case.order("NW", 1, 1, planned="09:00")
    case.at("09:00").begins("XRAY1", 1, 2, 1)
    case.at("09:05").sends("HEMO1", "B102 2a 2 1", U=1, says=comments.COERCED)
    case.sends("HEMO1", "B102 2a 2 1", U=1, P=1)
    case.sends("TABLET", "B102 2a 2 1", U=1, L="Lab 1")
    case.sends("HEMO1", "C103", U=99, says=comments.UNKNOWN_STUDY)
    case.at("09:30").ends("XRAY1", 1)
    assert case.study_records(1) == ["updated"]
    assert case.study_records(2) == ["opened", "closed"]


def test_c3_registered_not_ordered(play: Play) -> None:
    """MPPS opens an unscheduled study, in the other room one with an empty Patient ID, which gets one of its own."""
    case = play("C3").at("08:00")
    case.adt("A04", 1)
    case.at("09:00").begins("XRAY1", 1, 1, 1)
    case.begins("XRAY2", 2, 2)
    case.at("09:05").sends("HEMO1", "0000 4 1 1", P=1)
    case.sends("TABLET", "0000 4 1 1", P=1)
    case.sends("HEMO2", "0000 7 2 PLSCP-")
    case.sends("HEMO2", "C104", P=77, says=comments.UNKNOWN_AT_LOCATION)
    case.at("09:40").ends("XRAY1", 1)
    case.ends("XRAY2", 2)
    assert case.study_records(1) == case.study_records(2) == ["opened", "closed"]


def test_c4_registered_at_the_department(play: Play) -> None:
    """C103 while nobody is in the room, C104 when they name a patient and another's study is; replayed after registration."""
    case = play("C4").at("08:30")
    alone = case.sends("HEMO1", "C103", P=1, says=comments.NONE_AT_LOCATION)
    case.sends("HEMO1", "C103", says=comments.NONE_AT_LOCATION)
    case.at("09:00").begins("XRAY1", 1, 2, 2)
    beside = case.at("09:05").sends("HEMO1", "C104", P=1, says=comments.UNKNOWN_AT_LOCATION)
    case.at("09:30").ends("XRAY1", 1)
    case.at("09:40").adt("A04", 1)
    case.begins("XRAY1", 2, 1, 1)
    case.replayed(alone, "0000 4 1 1", finds="before-opening")
    case.replay(beside, "0000 4 1 1", finds="before-opening")  # another patient was there: not without asking
    case.at("10:00").ends("XRAY1", 2)
    assert case.study_records(2) == case.study_records(1) == ["opened", "closed"]


def test_c5_patient_not_registered(play: Play) -> None:
    """An emergency under a placeholder, merged during the case; the second one with it does not go to the first patient."""
    case = play("C5").at("09:00")
    case.begins("XRAY1", 1, 1, "UNKNOWN")
    case.at("09:05").sends("HEMO1", "0000 7 1 PLSCP-", P="UNKNOWN")
    case.sends("HEMO1", "0000 1 1 PLSCP-", U=1)
    typed = case.sends("HEMO1", "C104", P=7, says=comments.UNKNOWN_AT_LOCATION)
    both = case.sends("HEMO1", "C104", U=1, P=7, says=comments.UNKNOWN_FOR_STUDY)
    case.at("09:30").adt("A40", 7, prior="UNKNOWN")
    case.replayed(typed, "0000 4 1 7")
    case.replayed(both, "0000 1 1 7")
    case.at("09:35").sends("HEMO1", "0000 4 1 7", P=7)
    case.sends("HEMO1", "0000 7 1 7", P="UNKNOWN")
    case.sends("HEMO1", "0000 1 1 7", U=1)
    case.retried(typed, 1, 7)
    case.at("10:00").ends("XRAY1", 1)
    case.at("10:31").begins("XRAY1", 2, 2, "UNKNOWN")
    case.at("10:35").sends("HEMO1", "0000 7 2 PLSCP-", P="UNKNOWN")
    case.sends("HEMO1", "C104", P=7, says=comments.PATIENT_CONTRADICTS)
    case.at("10:50").ends("XRAY1", 2)
    assert case.study_records(1) == ["opened", "updated", "closed"]
    assert case.study_records(2) == ["opened", "closed"]
    [merged] = case.patient_records("merged")
    assert (merged["id"], merged["merged"]["issuer"]) == (case.patient(7), "plscp")


def test_c6_patient_updated_during_the_procedure(play: Play) -> None:
    """A08 corrects the name, A47 changes the ID: devices that still send the old one get 0000 with a finding."""
    case = play("C6").at("08:00")
    case.adt("A04", 1, name="Doe^Jane")
    case.at("09:00").begins("XRAY1", 1, 1, 1)
    case.at("09:05").sends("HEMO1", "0000 1 1 1", U=1, P=1)
    case.at("09:10").adt("A08", 1, name="Roe^Jane")
    case.at("09:20").adt("A47", 9, prior=1)
    case.at("09:25").sends("HEMO1", "0000 1 1 9", U=1, P=1, finds="superseded-id")
    case.sends("TABLET", "0000 4 1 9", P=1, finds="superseded-id")
    case.sends("HEMO1", "0000 4 1 9", P=9)
    case.gives("ECG1", "0000 patient 9", P=1, finds="superseded-id")
    case.at("09:40").ends("XRAY1", 1)
    assert case.study_records(1) == ["opened", "updated", "closed"]
    changed = case.patient_records("changed")[-1]
    assert (changed["id"], changed["former_ids"]) == (case.patient(9), [{"id": case.patient(1), "issuer": "HOSP"}])
    given = [each for each in case.published() if each.type == "org.plscp.medication-administration.v1"]
    assert [each.key for each in given] == [f"HOSP|{case.patient(1)}"]  # as first seen


def test_c7_change_of_rooms(play: Play) -> None:
    """A new MPPS moves the study; devices of the old room go by their time, where their clock is known."""
    case = play("C7").at("08:00")
    case.adt("A04", 1, visit="C7VISIT1", bed="WARD^1^2")
    case.at("09:00").begins("XRAY1", 1, 1, 1)
    case.at("09:40").sends("HEMO1", "0000 1 1 1", U=1)
    case.at("09:41").sends("HEMO1", "0000 1 1 1", U=1)
    case.at("09:55").ends("XRAY1", 1)
    case.at("10:00").begins("XRAY2", 2, 1, 1)
    case.adt("A02", 1, visit="C7VISIT1", bed="WARD^3^1")
    case.at("10:05").sends("HEMO1", "C103", says=comments.NONE_AT_LOCATION)
    case.sends("HEMO2", "0000 7 1 1")
    case.sends("HEMO1", "0000 7 1 1", at="09:50")
    case.sends("ECG1", "C103", at="09:50")
    case.at("10:10").begins("XRAY1", 3, 2, 2)
    case.at("10:15").sends("HEMO1", "0000 7 2 2")
    case.sends("HEMO1", "0000 7 1 1", at="09:50:30")
    case.sends("ECG1", "C103", at="09:50:30")
    case.sends("HEMO2", "0000 7 1 1")
    case.at("10:40").ends("XRAY1", 3)
    case.ends("XRAY2", 2)
    assert case.study_records(2) == ["opened", "closed"]


def test_c7_moved_by_the_api(play: Play) -> None:
    """Somebody at a desk says that the study goes on next door; the step that began here goes on."""
    case = play("F1").at("09:00")
    case.begins("XRAY1", 1, 1, 1)
    case.at("09:10").sends("HEMO1", "0000 7 1 1")
    case.at("10:00").puts(1, location="LAB2")
    case.at("10:05").sends("HEMO1", "C103", says=comments.NONE_AT_LOCATION)
    case.sends("HEMO2", "0000 7 1 1")
    case.sends("HEMO1", "B104 1 1 1", U=1, L="Lab 1", says=comments.LOCATION_CONTRADICTS)
    case.at("10:30").ends("XRAY1", 1)
    assert case.study_records(1) == ["opened", "updated", "closed"]


def test_c9_nobody_says_that_the_first_one_left(play: Play) -> None:
    """The next patient's step confirms who is there; who has been quiet for `room_turnover` is gone, and until then the room names nobody."""
    case = play("F2").at("09:00")
    case.puts(1, patient=1, location="LAB1", status="open")
    case.at("09:30").sends("HEMO1", "0000 4 1 1", P=1)
    case.at("09:40").begins("XRAY1", 1, 2, 2)
    case.at("09:42").sends("HEMO1", "C103", says=comments.SEVERAL_AT_LOCATION)
    case.sends("HEMO1", "0000 4 2 2", P=2)
    case.at("09:46").until_closed(1)
    case.sends("HEMO1", "0000 7 2 2")
    case.sends("HEMO1", "0000 4 1 1", P=1, at="09:35")
    case.at("10:20").ends("XRAY1", 1)
    assert case.study_records(1) == ["opened", "closed"]
    assert case.study_records(2) == ["opened", "updated", "closed"]  # confirmed by its step


def test_c8_order_cancelled(play: Play) -> None:
    """Cancelled before any step, with nobody and then with another patient in the room."""
    case = play("C8").at("08:00")
    case.order("NW", 1, 1, planned="09:00")
    case.at("08:30").order("CA", 1, 1, planned="09:00")
    case.at("09:00").sends("HEMO1", "C101", U=1, says=comments.CANCELLED)
    case.sends("HEMO1", "C103", says=comments.NONE_AT_LOCATION)
    case.sends("HEMO1", "C103", P=1)
    case.at("09:10").begins("XRAY1", 1, 2, 2)
    case.at("09:15").sends("HEMO1", "0000 7 2 2")
    case.sends("HEMO1", "C104", P=1, says=comments.PATIENT_CONTRADICTS)
    case.sends("HEMO1", "C101", U=1, says=comments.CANCELLED)
    case.at("09:50").ends("XRAY1", 1)
    assert case.study_records(1) == ["updated", "cancelled"]
    assert case.study_records(2) == ["opened", "closed"]


def test_c8_discontinued(play: Play) -> None:
    """MPPS DISCONTINUED during resuscitation: what is given within the grace is taken."""
    case = play("D8").at("08:55")
    case.adt("A04", 1)
    case.at("09:00").begins("XRAY1", 1, 1, 1)
    case.at("09:20").sends("HEMO1", "0000 1 1 1", U=1)
    case.at("09:30").ends("XRAY1", 1, reason="110500")
    case.at("09:40").sends("TABLET", "0000 1 1 1", U=1, finds="after-closing")
    case.at("09:59").sends("TABLET", "0000 4 1 1", P=1, finds="after-closing")
    case.gives("ECG1", "0000 patient 1", P=1)
    case.at("10:01").sends("TABLET", "C101", U=1, says=comments.CLOSED)
    case.gives("ECG1", "0000 patient 1", P=1)
    assert case.study_records(1) == ["opened", "closed"]


def test_c9_evidence_after_the_procedure(play: Play) -> None:
    """The next patient is in the room already: within the grace by name and by time, after it by time and a known clock alone."""
    case = play("C9").at("08:55")
    case.begins("XRAY1", 1, 1, 1)
    for minute in ("09:50", "09:51"):
        case.at(minute).sends("HEMO1", "0000 1 1 1", U=1)
    case.at("10:00").ends("XRAY1", 1)
    case.at("10:10").begins("XRAY1", 2, 2, 2)
    case.at("10:20").sends("HEMO1", "0000 1 1 1", U=1, at="09:50:10")
    case.sends("HEMO1", "0000 4 1 1", P=1, at="09:50:20")
    case.sends("TABLET", "0000 4 1 1", P=1, at="09:50:30")
    case.sends("HEMO1", "0000 7 1 1", at="09:50:40")
    case.sends("HEMO1", "0000 7 2 2", at="10:15")
    by_study = case.at("10:40").sends("HEMO1", "C101", U=1, at="09:51:10", says=comments.CLOSED)
    by_patient = case.sends("TABLET", "C103", P=1, at="09:51:20", says=comments.NO_CURRENT_STUDY)
    case.sends("HEMO1", "0000 7 1 1", P=1, at="09:51:30", finds="")
    case.sends("HEMO1", "C104", P=1, at="10:15:10", says=comments.PATIENT_CONTRADICTS)
    case.sends("HEMO1", "0000 7 1 1", at="09:51:40")
    case.sends("ECG1", "C103", at="09:51:50")
    case.at("10:50").puts(1, location="LAB2", status="open")  # somebody says that it goes on
    case.replayed(by_study, "0000 1 1 1")
    case.replayed(by_patient, "0000 4 1 1")
    case.closes(1)
    case.at("11:00").ends("XRAY1", 2)
    assert case.study_records(1) == ["opened", "closed", "opened", "closed"]
    assert case.study_records(2) == ["opened", "closed"]


def test_c10_electrophysiology(play: Play) -> None:
    """Twelve hours, two patients in adjacent labs, interleaved senders, a device of both labs, an association that says little."""
    case = play("C10").at("06:00")
    case.begins("XRAY1", 1, 1, 1)
    case.at("06:05").begins("XRAY2", 2, 2, 2)
    case.at("06:10").sends("TABLET", "0000 4 1 1", P=1, keeping=True)
    for hour in range(6, 18, 2):
        for minute in ("12", "45"):
            case.at(f"{hour:02}:{minute}")
            case.sends("ECG1", "0000 7 1 1")
            case.sends("HEMO2", "0000 4 2 2", P=2)
            case.sends("HEMO1", "0000 1 1 1", U=1)
            case.sends("ECHO", "0000 6 2 2", L="Lab 2")
            case.sends("ECHO", "0000 6 1 1", L="Lab 1")
        case.sends("ECHO", "C103", says=comments.SEVERAL_LOCATIONS)
    case.at("17:50").sends("TABLET", "0000 4 1 1", P=1, keeping=True)
    case.at("18:00").ends("XRAY1", 1)
    case.ends("XRAY2", 2)
    entries = [each for each in case.published() if each.type == "org.plscp.procedure-log.entry.v1"]
    assert {(each.key, each.value["patient"]["id"]) for each in entries} == {
        (case.study(1), case.patient(1)),
        (case.study(2), case.patient(2)),
    }
    assert case.study_records(1) == case.study_records(2) == ["opened", "closed"]
