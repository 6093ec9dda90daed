"""The table of contract section 3, one test row or more per row of it; the row's number and words stand beside each."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from plscp.matching import comments
from plscp.matching.model import Device
from plscp.records.values import match_of
from tests.matching.world import World, codes, outcome

AT_LAB1 = Device("HEMO1", ("LAB1",))
AT_LAB2 = Device("HEMO2", ("LAB2",))
AT_BOTH = Device("ECHO1", ("LAB1", "LAB2"))
MOBILE = Device("MOBILE")
COERCED = Device("OLD1", ("LAB1",), coerce_by_location=True)

FRAME = "1.2.840.10008.15.1.1"


def room_of_many() -> World:
    """Noon in two labs: 1.1 open in LAB1, 1.2 open in LAB2, others over, cancelled or to come."""
    world = World()
    world.study("1.10", "06:00", patient="P10", status="scheduled", planned="2024-05-07T11:59:00Z")
    world.study("1.11", "06:00", patient="P10", status="scheduled", planned="2024-05-07T12:01:00Z")
    world.open("1.4", "07:00", "P4", study_id="S4")
    world.close("1.4", "08:00")  # closed longer than the grace
    world.study("1.5", "08:00", patient="P5", status="scheduled", location="LAB1")
    world.study("1.5", "08:05", status="cancelled")
    world.study("1.6", "08:10", patient="P1", status="scheduled", location="LAB1", study_id="S6")
    world.study("1.7", "08:10", patient="P7", status="scheduled", location="LAB2", study_id="S7")
    world.open("1.3", "10:00", "P3", study_id="S3")
    world.close("1.3", "11:40")  # in its grace until 12:10
    world.open("1.1", "11:45", "P1", study_id="S1", accession_number="A1")
    world.open("1.2", "11:00", "P2", location="LAB2", study_id="S2")
    world.open("1.8", "11:10", "P8", location="", study_id="S8")
    world.open("1.9", "11:11", "P8", location="", study_id="S9")
    return world


@dataclass(frozen=True)
class Row:
    """What is given, and what must come out."""

    rule: str
    words: str
    given: dict[str, str]
    expected: str
    device: Device = MOBILE
    times: tuple[str, ...] = ("11:59:30",)
    comment: str = ""
    findings: frozenset[str] = field(default_factory=frozenset)
    clock: timedelta | None = None


ROWS = [
    Row("1", "study U that takes events", {"U": "1.1"}, "0000 1 1.1"),
    Row("1", "study U in its grace takes events", {"U": "1.3"}, "0000 1 1.3", times=("11:39:00",)),
    Row("1", "in its grace, after it left, another's study open there: B104", {"U": "1.3", "L": "LAB1"}, "B104 1 1.3",
        findings=frozenset({"after-closing", "left-already"}), comment=comments.LEFT_ALREADY),
    Row("1", "so too at the device's location", {"U": "1.3"}, "B104 1 1.3", AT_LAB1, findings=frozenset({"after-closing", "left-already"})),
    Row("1", "no place known: where the study was", {"U": "1.3"}, "B104 1 1.3", findings=frozenset({"after-closing", "left-already"})),
    Row("1", "spaces at the ends do not count", {"U": " 1.1 "}, "0000 1 1.1"),
    Row("2", "study U closed longer than the grace", {"U": "1.4"}, "C101", comment=comments.CLOSED),
    Row("2", "study U cancelled", {"U": "1.5"}, "C101", comment=comments.CANCELLED),
    Row("2", "whatever else is given", {"U": "1.4", "P": "P1", "L": "LAB1"}, "C101", comment=comments.CLOSED),
    Row("2a", "U scheduled: the patient's only open study at L", {"U": "1.6", "L": "LAB1"}, "B102 2a 1.1"),
    Row("2a", "L empty: at the device's location", {"U": "1.6"}, "B102 2a 1.1", AT_LAB1),
    Row(
        "2a",
        "there is none at L: U itself",
        {"U": "1.6", "L": "LAB2"},
        "B104 2a 1.6",
        findings=frozenset({"study-not-started", "location-differs", "not-started-elsewhere"}),
    ),
    Row(
        "2a",
        "there is none at the device's location: U itself",
        {"U": "1.6"},
        "B104 2a 1.6",
        AT_LAB2,
        findings=frozenset({"study-not-started", "device-location-differs", "not-started-elsewhere"}),
    ),
    Row("2a", "no place known: U itself", {"U": "1.6"}, "0000 2a 1.6", findings=frozenset({"study-not-started"})),
    Row("2a", "the patient has no open study, another's is open there", {"U": "1.7", "L": "LAB2"}, "B104 2a 1.7",
        findings=frozenset({"study-not-started", "not-started-elsewhere"}), comment=comments.NOT_STARTED_ELSEWHERE),
    Row("2a", "so too at the device's location, whatever L is", {"U": "1.7", "L": "LAB9"}, "B104 2a 1.7", AT_LAB2,
        findings=frozenset({"study-not-started", "not-started-elsewhere", "location-unknown"})),
    Row("2a", 'not_started_elsewhere = "refuse": C104', {"U": "1.7", "L": "LAB2"}, "C104", Device("SLIP"), comment=comments.NOT_STARTED_ELSEWHERE),
    Row("2a", "nobody there", {"U": "1.7", "L": "LAB9"}, "0000 2a 1.7", findings=frozenset({"study-not-started", "location-unknown"})),
    Row("2a", "scheduled_expires after its planned time it counts as cancelled", {"U": "1.10"}, "C101", comment=comments.EXPIRED),
    Row("2a", "until then it does not", {"U": "1.11"}, "0000 2a 1.11", findings=frozenset({"study-not-started"})),
    Row("3", "study of P with S that takes events", {"P": "P8", "S": "S9"}, "0000 3 1.9"),
    Row("3", "U given and different: B102", {"U": "1.99", "P": "P8", "S": "S8"}, "B102 3 1.8", comment=comments.COERCED),
    Row("4", "the only study of P that takes events", {"P": "P2"}, "0000 4 1.2"),
    Row("4", "as 3: U given and different: B102", {"U": "1.99", "P": "P2"}, "B102 4 1.2"),
    Row("4", "one elsewhere while open", {"P": "P2", "L": "LAB1"}, "B104 4 1.2", findings=frozenset({"location-differs"})),
    Row("4", "one elsewhere not in its grace", {"P": "P3", "L": "LAB2"}, "C104", times=("11:30:00",)),
    Row("4", "in its grace at L", {"P": "P3", "L": "LAB1"}, "0000 4 1.3", times=("11:30:00",)),
    Row("4", "in its grace, no place known", {"P": "P3"}, "0000 4 1.3", times=("11:30:00",)),
    Row("4", "several: C103", {"P": "P8"}, "C103", comment=comments.SEVERAL_OF_PATIENT),
    Row("4", "S contradicting goes on to 4", {"P": "P2", "S": "S1"}, "B104 4 1.2", findings=frozenset({"study-id-differs"})),
    Row("5", "S and L, no U: study with S at L then", {"S": "S1", "L": "LAB1"}, "0000 5 1.1"),
    Row("5", "the name of the lab's table or any of its names", {"S": "S1", "L": "CATH^LAB1"}, "0000 5 1.1"),
    Row("6", "L, no U", {"L": "Lab 2"}, "0000 6 1.2"),
    Row("6", "A has configured locations and L is one of them", {"L": "Lab 2"}, "0000 6 1.2", AT_LAB2),
    Row("6", "A has configured locations and L is none of them", {"L": "Lab 2"}, "C103", AT_LAB1, comment=comments.FOREIGN_LOCATION),
    Row("6", "an L that no entry names counts as given but unknown", {"L": "LAB9"}, "C103", comment=comments.UNKNOWN_LOCATION),
    Row("6", "so too for a device with a location", {"L": "LAB9"}, "C103", AT_LAB1, comment=comments.UNKNOWN_LOCATION),
    Row("7", "A; no U, no L", {}, "0000 7 1.1", AT_LAB1),
    Row("7", "with S agreeing", {"S": "S1"}, "0000 7 1.1", AT_LAB1),
    Row("7", "with P that no study takes events for", {"P": "P4"}, "C104", AT_LAB1, comment=comments.PATIENT_CONTRADICTS),
    Row("7", "by time, after the grace", {"P": "P4"}, "0000 7 1.4", AT_LAB1, ("07:30:00",), clock=timedelta(0)),
    Row("-", "none: nothing given", {}, "C103", comment=comments.NOTHING_GIVEN),
    Row("-", "none: S alone", {"S": "S1"}, "C103", comment=comments.NO_PLACE),
    Row("-", "none: P unknown", {"P": "P99"}, "C103", comment=comments.UNKNOWN_PATIENT),
    Row("-", "none: P without a study", {"P": "P4"}, "C103", comment=comments.NO_CURRENT_STUDY),
    Row("-", "none at the location then", {"L": "LAB1"}, "C103", times=("11:42:30",), comment=comments.NONE_THEN_ONE_NOW),
    Row("7", "a device with several locations must send L", {}, "C103", AT_BOTH, comment=comments.SEVERAL_LOCATIONS),
    Row("7", "also where one of them alone has a study", {}, "C103", Device("ECHO2", ("LAB1", "LAB9")), comment=comments.SEVERAL_LOCATIONS),
    Row("4", "S and L both of another patient's study, against P: C104", {"P": "P2", "S": "S1", "L": "LAB1"}, "C104", comment=comments.BOTH_CONTRADICT),
    Row("1", "so too where U is given", {"U": "1.2", "P": "P2", "S": "S1", "L": "LAB1"}, "C104", comment=comments.BOTH_CONTRADICT),
    Row("1", "without P they are two warnings", {"U": "1.2", "S": "S1", "L": "LAB1"}, "B104 1 1.2",
        findings=frozenset({"study-id-differs", "location-differs"})),
    Row("4", "so too where P's study is there as well", {"P": "P2", "S": "S7", "L": "LAB2"}, "C104", comment=comments.BOTH_CONTRADICT),
    Row("4", "S of a scheduled study of another patient at L", {"P": "P2", "S": "S6", "L": "LAB1"}, "C104", comment=comments.BOTH_CONTRADICT),
    Row("4", "S and L of two different studies are two warnings", {"P": "P2", "S": "S8", "L": "LAB1"}, "B104 4 1.2",
        findings=frozenset({"study-id-differs", "location-differs"})),
    Row("-", "entries in two studies' times", {"L": "LAB1"}, "C103", times=("11:30:00", "11:50:00"), comment=comments.ENTRIES_IN_TWO),
    Row("-", "U unknown, patient not named", {"U": "1.99", "L": "LAB1"}, "C103", AT_LAB1, comment=comments.UNKNOWN_STUDY),
    Row("-", "U unknown, P without a study", {"U": "1.99", "P": "P4"}, "C103", AT_LAB1, comment=comments.UNKNOWN_STUDY_NO_CURRENT),
    Row("-", "U unknown, coerce_by_location: rule 7, B102", {"U": "1.99"}, "B102 7 1.1", COERCED),
    Row("-", "U unknown, coerce_by_location: rule 6, B102", {"U": "1.99", "L": "Lab 1"}, "B102 6 1.1", COERCED),
    Row("-", "coerce_by_location: rule 5, B102", {"U": "1.99", "L": "Lab 1", "S": "S1"}, "B102 5 1.1", COERCED),
    Row("-", "coerce_by_location, but the patient is named", {"U": "1.99", "P": "P99"}, "C103", COERCED),
    Row("-", "coerce_by_location, but U is known", {"U": "1.4"}, "C101", COERCED),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.rule}: {row.words}")
def test_row(row: Row) -> None:
    """What each row of the table says."""
    world = room_of_many()
    policy = replace(world.policy, not_started_elsewhere="refuse" if row.device.ae_title == "SLIP" else "log")
    decision = world.ask(
        *row.times, arrival="12:00", device=row.device, clock_difference=row.clock, given=row.given, policy=policy
    )
    assert outcome(decision) == row.expected
    if row.comment:
        assert decision.comment == row.comment
    if decision.study_instance_uid:
        assert codes(decision) == row.findings
    else:
        assert decision.findings[0].refuse
        assert decision.findings[0].reason == decision.comment
    assert decision.registry_position == world.registry.position


def test_matched_decision_names_study_and_patient() -> None:
    """What the reply and the records need is in the decision, with the identifiers given and found."""
    decision = room_of_many().ask("11:59:30", arrival="12:00", device=AT_LAB1, U="1.1", P=" P1 ", L="Lab 1")
    assert (decision.study_instance_uid, decision.study_id, decision.accession_number) == ("1.1", "S1", "A1")
    assert (decision.patient_id, decision.issuer, decision.patient_key, decision.location) == (
        "P1",
        "HOSP",
        "HOSP|P1",
        "LAB1",
    )
    assert dict(decision.given) == {
        "calling_ae": "HEMO1",
        "study_instance_uid": "1.1",
        "patient_id": "P1",
        "issuer": "HOSP",
        "performed_location": "Lab 1",
    }
    assert dict(decision.found) == {
        "study_instance_uid": "1.1",
        "patient_id": "P1",
        "issuer": "HOSP",
        "study_id": "S1",
        "accession_number": "A1",
        "location": "LAB1",
    }
    assert match_of(decision)["status"] == "0000"


EXPLAINED = [
    ({"P": "P8"}, {"1.8", "1.9"}),
    ({"U": "1.6", "L": "LAB1"}, {"1.6"}),
    ({"L": "LAB1", "S": "S3"}, {"1.1"}),
    ({"P": "P4"}, {"1.4"}),
    ({"U": "1.4"}, {"1.4"}),
    ({"L": "LAB1", "S": "S1", "P": "P2"}, set()),
]


@pytest.mark.parametrize(("given", "others"), EXPLAINED)
def test_each_other_candidate_has_its_reason(given: dict[str, str], others: set[str]) -> None:
    """The explanation names the study taken, and each other one with why it was not."""
    decision = room_of_many().ask("11:59:30", arrival="12:00", given=given)
    not_taken = {candidate.what for candidate in decision.candidates if candidate.why_not}
    assert others <= not_taken
    taken = [candidate.what for candidate in decision.candidates if not candidate.why_not]
    assert taken == ([decision.study_instance_uid] if decision.study_instance_uid else [])


def test_comments_are_fit_to_be_sent() -> None:
    """Printable ASCII, no backslash, at most 64 characters; each cause has a text of its own."""
    texts = [value for name, value in vars(comments).items() if name.isupper()]
    assert len(texts) > 20
    for text in texts:
        assert text.isascii()
        assert text.isprintable()
        assert "\\" not in text
        assert len(text) <= 64
    assert len(set(texts)) == len(texts)
