"""Registry changes as HTTP says them: what is planned, what is refused, and that saying it again plans nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from plscp.errors import Conflict, InvalidBody
from plscp.matching import changes
from plscp.matching.model import Policy
from plscp.matching.records import PatientId, StudyStay
from plscp.matching.registry import Locations
from plscp.store.port import RegistryRecord
from tests.matching.world import POLICY, World, at, change_patient_id


def said(records: list[RegistryRecord]) -> list[str]:
    """What the changes are."""
    return [record.change["what"] for record in records]


STUDY = {"study_id": "S1", "accession_number": "A1", "location": "Lab 1"}


def test_a_study_is_put_with_its_patient(world: World) -> None:
    """The patient it names becomes known; both are published under their keys."""
    world.now = at("10:00")
    records = world.study("1.1", patient="P1", status="open", **STUDY)
    assert [(r.change["what"], r.topic, r.key, r.type, r.subject) for r in records] == [
        ("patient.changed", "patient", "HOSP|P1", "org.plscp.patient.changed.v1", "HOSP|P1"),
        ("study.opened", "study", "1.1", "org.plscp.study.opened.v1", "1.1"),
    ]
    assert world.known("1.1").as_json() == {
        "study_instance_uid": "1.1",
        "study_id": "S1",
        "accession_number": "A1",
        "patient": {"id": "P1", "issuer": "HOSP"},
        "location": "LAB1",
        "status": "open",
        "planned": None,
        "opened": "2024-05-14T10:00:00Z",
        "closed": None,
        "stays": [{"location": "LAB1", "arrived": "2024-05-14T10:00:00Z", "left": None}],
        "steps": [],
    }
    assert records[1].change == {"what": "study.opened", **world.known("1.1").as_json()}


def test_the_same_again_plans_nothing(world: World) -> None:
    """Every kind of body; and a body that says less."""
    for _ in range(2):
        first = [
            world.patient("P1", name="Doe^Jane", birth_date="19700101", sex="F", other_ids=[{"id": "X1"}]),
            world.admission("V1", "P1", location="Ward 3"),
            world.study("1.1", "10:00", patient="P1", status="open", opened="2024-05-14T09:55:00Z", **STUDY),
            world.study("1.2", patient="UNKNOWN", location="LAB2"),
            world.merge("P2", "P3"),
        ]
    assert first == [[], [], [], [], []]
    assert world.study("1.1", "11:00", location="CATH^LAB1") == []
    assert world.study("1.1", patient=" P1 ") == []
    assert world.patient("P1") == []
    assert world.close("1.1", "11:10") != []
    assert world.close("1.1", "11:20") == []


TRANSITIONS = [
    # status, wanted, what is planned, or the conflict's words
    ("", "scheduled", "study.scheduled"),
    ("", "open", "study.opened"),
    ("", "closed", "study.closed"),
    ("", "cancelled", "study.cancelled"),
    ("scheduled", "open", "study.opened"),
    ("scheduled", "closed", "study.closed"),
    ("scheduled", "cancelled", "study.cancelled"),
    ("open", "scheduled", "the study is open"),
    ("open", "closed", "study.closed"),
    ("open", "cancelled", "study.cancelled"),
    ("closed", "scheduled", "the study is closed"),
    ("closed", "open", "study.opened"),
    ("closed", "cancelled", "study.cancelled"),
    ("cancelled", "scheduled", "study.scheduled"),
    ("cancelled", "open", "study.opened"),
    ("cancelled", "closed", "the study is cancelled"),
]


@pytest.mark.parametrize(("status", "wanted", "expected"), TRANSITIONS)
def test_status(world: World, status: str, wanted: str, expected: str) -> None:
    """From each status to each other."""
    if status:
        world.study("1.1", "10:00", patient="P1", location="LAB1", status=status)
    if expected.startswith("study."):
        assert said(world.study("1.1", "10:10", patient="P1", location="LAB1", status=wanted))[-1] == expected
        assert world.known("1.1").status == wanted
    else:
        with pytest.raises(Conflict, match=expected):
            world.study("1.1", "10:10", status=wanted)


def test_a_step_in_progress_keeps_a_study_from_being_closed_or_cancelled(world: World) -> None:
    """Only with no step in progress."""
    world.study("1.1", "09:00", patient="P1", location="LAB1")
    world.step("1.1", "10:00", "s1")
    for planner in (changes.close_study, changes.cancel_study):
        with pytest.raises(Conflict, match="in progress"):
            world.plan(planner, "1.1")
    world.step("1.1", "10:10")
    assert said(world.plan(changes.cancel_study, "1.1")) == ["study.cancelled"]
    assert world.plan(changes.cancel_study, "1.1") == []
    with pytest.raises(Conflict, match="not known"):
        world.plan(changes.close_study, "1.9")


def test_a_study_keeps_where_it_was_when(world: World) -> None:
    """Opened, moved, closed, opened again elsewhere."""
    world.open("1.1", "10:00", "P1")
    world.study("1.1", "10:30", location="LAB2")
    world.close("1.1", "11:00")
    world.open("1.1", "12:00")
    study = world.known("1.1")
    assert [(stay.location, stay.arrived, stay.left) for stay in study.stays] == [
        ("LAB1", at("10:00"), at("10:30")),
        ("LAB2", at("10:30"), at("11:00")),
        ("LAB1", at("12:00"), None),
    ]
    assert (study.opened, study.closed, study.location) == (at("10:00"), None, "LAB1")
    assert world.registry.studies(status="open") == [study]


def test_a_study_that_is_over_when_it_is_first_heard_of_was_somewhere(world: World) -> None:
    """Opened and closed as given."""
    world.study(
        "1.1", "12:00", patient="P1", location="LAB1", opened="2024-05-14T12:00:00+02:00", closed="2024-05-14T11:00:00Z"
    )
    study = world.known("1.1")
    assert (study.status, study.opened, study.closed) == ("closed", at("10:00"), at("11:00"))
    assert study.stays == (StudyStay("LAB1", at("10:00"), at("11:00")),)


def test_the_time_of_opening_can_be_set_right(world: World) -> None:
    """The first stay begins with it."""
    world.open("1.1", "10:00", "P1")
    assert said(world.study("1.1", opened="2024-05-14T09:50:00Z")) == ["study.updated"]
    assert world.known("1.1").stays[0].arrived == world.known("1.1").opened == at("09:50")


TIMES = [
    ({"opened": "2024-05-14T10:05:00Z"}, "future"),
    ({"opened": "2024-05-14T09:00:00Z", "closed": "2024-05-14T08:00:00Z"}, "before opened"),
    ({"status": "open", "closed": "2024-05-14T08:00:00Z"}, "status is open"),
]


@pytest.mark.parametrize(("times", "words"), TIMES)
def test_times_that_cannot_be(world: World, times: dict[str, str], words: str) -> None:
    """Conflict, with a line that says which."""
    with pytest.raises(Conflict, match=words):
        world.study("1.1", "10:00", patient="P1", **times)
    assert world.registry.study("1.1") is None


# --- patients ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["open", "closed"])
def test_changing_the_patient_of_a_study_that_was_opened_is_a_correction(world: World, status: str) -> None:
    """Never a silent replacement: Conflict, and nothing changes."""
    world.open("1.1", "10:00", "P1")
    if status == "closed":
        world.close("1.1", "10:10")
    position = world.registry.position
    for other in ("P2", ("P1", "OTHER")):
        with pytest.raises(Conflict, match="another patient: changing that is a correction"):
            world.study("1.1", patient=other)
    assert world.registry.position == position


def test_the_patient_of_a_study_nothing_stands_under_can_change(world: World) -> None:
    """Scheduled, and no entry yet."""
    world.study("1.1", "10:00", patient="P1")
    assert said(world.study("1.1", patient="P2")) == ["patient.changed", "study.updated"]
    assert world.known("1.1").patient_id == ("P2", "HOSP")
    assert [study.study_instance_uid for study in world.registry.studies_of(1)] == []
    world.registry.entered = {"1.1"}.__contains__
    with pytest.raises(Conflict):
        world.study("1.1", patient="P1")


def test_a_generated_patient_is_merged_not_replaced(world: World) -> None:
    """The conflict says what to do."""
    world.open("1.1", "10:00")
    with pytest.raises(Conflict, match="merge"):
        world.study("1.1", patient="P1")
    assert said(world.merge("P1", "PLSCP-1")) == ["patient.changed", "patient.merged", "study.updated"]
    assert world.known("1.1").patient_id == ("P1", "HOSP")


def test_demographics_are_kept_and_published_only_by_setting(world: World) -> None:
    """identifiers only; demographics by setting."""
    records = world.patient("P1", name="Doe^Jane", sex="F")
    assert [(r.change["what"], r.topic) for r in records] == [
        ("patient.changed", "patient"),
        ("patient.demographics", None),
    ]
    assert "Doe" not in str(records[0])
    patient = world.registry.patient("P1", "HOSP")
    assert patient is not None
    assert (patient.name, patient.sex, patient.as_json()["name"]) == ("Doe^Jane", "F", "Doe^Jane")
    assert said(world.patient("P1", name="Roe^Jane")) == ["patient.demographics"]
    open_world = World(replace(POLICY, publish_demographics=True))
    [record] = open_world.patient("P1", name="Doe^Jane")
    assert (record.topic, record.change["name"]) == ("patient", "Doe^Jane")


def test_a_patient_named_without_issuer_gets_it_later(world: World) -> None:
    """The key stays as first seen, and the study goes with the patient."""
    world.policy = replace(POLICY, patient_id_issuer="")
    world.open("1.1", "10:00", "P1")
    world.patient("P1", "WEST")
    assert world.known("1.1").patient_id == ("P1", "WEST")
    assert world.ask(arrival="10:05", U="1.1").patient_key == "|P1"
    assert world.registry.current_patient("P1", "") == ("P1", "WEST")


def test_two_issuers_make_two_patients_and_an_id_without_is_ambiguous(world: World) -> None:
    """The body has to say which."""
    world.policy = replace(POLICY, patient_id_issuer="")
    world.patient("7", "WEST")
    world.patient("7", "EAST")
    assert len(world.registry.patients()) == 2
    assert world.registry.patient("7") is None
    with pytest.raises(Conflict, match="several"):
        world.open("1.1", "10:00", "7")


def test_an_other_id_that_names_another_patient_is_refused(world: World) -> None:
    """That would be a merge."""
    world.patient("P1")
    world.patient("P2")
    with pytest.raises(Conflict, match="merge"):
        world.patient("P1", other_ids=[{"id": "P2"}])


def test_other_ids_can_be_taken_back(world: World) -> None:
    """Then they name nobody."""
    world.patient("P1", other_ids=[{"id": "X1"}])
    assert world.registry.current_patient("X1", "HOSP") == ("P1", "HOSP")
    world.patient("P1", other_ids=[])
    assert world.registry.patient("X1", "HOSP") is None


def test_a_changed_id_goes_on_naming_the_patient(world: World) -> None:
    """HL7 A47; studies that may still take events are told again."""
    world.open("1.1", "10:00", "P1")
    records = world.plan(change_patient_id, PatientId("P1", ""), PatientId("P9", ""))
    assert said(records) == ["patient.changed", "study.updated"]
    assert {record.key for record in records} == {"HOSP|P1", "1.1"}
    assert world.known("1.1").patient_id == ("P9", "HOSP")
    assert world.registry.current_patient("P1", "HOSP") == ("P9", "HOSP")
    assert world.plan(change_patient_id, PatientId("P1", ""), PatientId("P9", "")) == []
    world.patient("P2")
    with pytest.raises(Conflict, match="merge"):
        world.plan(change_patient_id, PatientId("P2", ""), PatientId("P9", ""))


# --- merges ------------------------------------------------------------------------------------------------------------------


def test_a_merge_moves_studies_admissions_and_every_identifier(world: World) -> None:
    """The survivor may be heard of for the first time."""
    world.patient("P1", other_ids=[{"id": "X1"}])
    world.open("1.1", "10:00", "P1")
    world.admission("V1", "P1")
    records = world.merge("P2", "P1")
    assert said(records) == ["patient.changed", "patient.merged", "study.updated"]
    assert (records[1].key, records[1].type) == ("HOSP|P2", "org.plscp.patient.merged.v1")
    for known in ("P1", "X1", "P2"):
        assert world.registry.current_patient(known, "HOSP") == ("P2", "HOSP")
    admission = world.registry.admission("V1")
    assert admission is not None
    assert admission.as_json()["patient"] == {"id": "P2", "issuer": "HOSP"}
    assert world.known("1.1").patient_id == ("P2", "HOSP")
    assert len(world.registry.patients()) == 1


def test_a_merge_of_an_id_nobody_knew_makes_it_a_name_of_the_survivor(world: World) -> None:
    """It may come from a device later."""
    world.patient("P1")
    assert said(world.merge("P1", "P7")) == ["patient.merged"]
    assert world.registry.current_patient("P7", "HOSP") == ("P1", "HOSP")


def test_an_id_merged_into_one_patient_is_not_merged_into_another(world: World) -> None:
    """A late second A40 would take the survivor along."""
    world.merge("P1", "P7")
    with pytest.raises(Conflict, match="already"):
        world.merge("P2", "P7")


def test_an_id_without_issuer_that_was_merged_away_is_not_merged_into_another() -> None:
    """Where no authority is known at all, a second merge of an ID would take its survivor along."""
    world = World(Policy())
    for each in ("P1", "P2", "P7"):
        world.patient(each)
    world.merge("P1", "P7")
    with pytest.raises(Conflict, match="already"):
        world.merge("P2", "P7")
    assert len(world.registry.patients()) == 2


def test_an_id_that_was_merged_away_gives_its_survivor_no_other_id(world: World) -> None:
    """Nor does a change said again, after a later one, bring an earlier ID back."""
    world.merge("P1", "P7")
    with pytest.raises(Conflict, match="already"):
        world.plan(change_patient_id, PatientId("P7", ""), PatientId("P9", ""))
    world.plan(change_patient_id, PatientId("P1", ""), PatientId("P2", ""))
    world.plan(change_patient_id, PatientId("P2", ""), PatientId("P3", ""))
    assert world.plan(change_patient_id, PatientId("P1", ""), PatientId("P2", "")) == []


def test_late_answers_follow_an_id_to_its_owner_of_that_time(world: World) -> None:
    """P1 was merged, then given anew: an event of before stands under the survivor."""
    world.open("1.1", "10:00", "P1")
    then = world.registry.position
    world.merge("P2", "P1")
    world.patient("P1", name="New^Person")
    assert world.registry.current_patient("P1", "HOSP") == ("P1", "HOSP")
    assert world.registry.current_patient("P1", "HOSP", then) == ("P2", "HOSP")
    assert world.registry.current_patient("P99", "HOSP") == ("P99", "HOSP")
    survivor = world.registry.patient("P2", "HOSP")
    assert survivor is not None
    assert survivor.former_ids == ()
    anew = world.registry.patient("P1", "HOSP")
    assert anew is not None
    spans = list(world.registry.spans_of(survivor))
    assert (PatientId("P2", "HOSP"), 0, None) in spans
    (_, first, merged), (_, again, until) = [span for span in spans if span[0].id == "P1"]
    assert first == 0
    assert then < (merged or 0) == again < (until or 0)
    assert [*world.registry.spans_of(anew)] == [(PatientId("P1", "HOSP"), until, None)]


def test_a_placeholder_moves_the_generated_patient_of_the_one_open_study_that_came_with_it(world: World) -> None:
    """None or several: nothing moves."""
    with pytest.raises(Conflict, match="no open study"):
        world.merge("P1", "UNKNOWN")
    world.open("1.1", "10:00", "UNKNOWN")
    world.open("1.2", "10:00", "TEMP", location="LAB2")
    assert said(world.merge("P1", "unknown")) == ["patient.changed", "patient.merged", "study.updated"]
    assert world.known("1.1").patient_id == ("P1", "HOSP")
    assert world.known("1.2").patient_id == ("PLSCP-2", "plscp")
    assert world.registry.current_patient("PLSCP-1", "plscp") == ("P1", "HOSP")
    world.open("1.3", "10:30", "TEMP")
    with pytest.raises(Conflict, match="several"):
        world.merge("P9", "TEMP")
    world.close("1.2", "10:40")
    with pytest.raises(Conflict, match="several"):  # it may be who left that is known by now
        world.merge("P9", "TEMP")
    world.merge("P8", "PLSCP-2")
    world.merge("P9", "TEMP")
    assert world.known("1.3").patient_id == ("P9", "HOSP")


@pytest.mark.parametrize(
    ("status", "later", "moves"),
    [
        ("closed", timedelta(hours=24), False),
        ("closed", timedelta(hours=25), True),
        ("scheduled", timedelta(0), False),
        ("scheduled", timedelta(hours=25), True),
        ("cancelled", timedelta(0), True),
    ],
)
def test_a_placeholder_may_mean_whoever_came_with_it_within_a_day(
    world: World, status: str, later: timedelta, moves: bool
) -> None:
    """The one who lies there now is not the one before, of whom it is found out who he is only when his study is over."""
    world.study(
        "1.1", "10:00", patient="UNKNOWN", location="LAB1", status="scheduled" if status == "scheduled" else "open"
    )
    if status != "scheduled":
        world.study("1.1", status=status)
    world.now += later
    world.study("1.2", patient="UNKNOWN", location="LAB2", status="open")
    if moves:
        world.merge("P1", "UNKNOWN")
    else:
        with pytest.raises(Conflict, match="several"):
            world.merge("P1", "UNKNOWN")
    assert world.known("1.2").patient_id == (("P1", "HOSP") if moves else ("PLSCP-2", "plscp"))
    assert world.known("1.1").patient_id == ("PLSCP-1", "plscp")


# --- admissions --------------------------------------------------------------------------------------------------------------


def test_admissions(world: World) -> None:
    """Kept, not published; the patient stays."""
    [patient, admission] = world.admission("V1", "P1", location="Ward 3")
    assert (patient.topic, admission.topic, admission.change["what"]) == ("patient", None, "admission.changed")
    assert said(world.plan(changes.put_admission, {"id": "V1", "status": "discharged"})) == ["admission.changed"]
    with pytest.raises(Conflict, match="another patient"):
        world.admission("V1", "P2")
    with pytest.raises(InvalidBody, match="usable"):
        world.admission("V2", "TEMP")
    assert [one.as_json()["status"] for one in world.registry.admissions()] == ["discharged"]


# --- bodies ------------------------------------------------------------------------------------------------------------------

BODIES: list[tuple[str, dict[str, Any], str]] = [
    ("study", {"study_instance_uid": "1.1", "acession_number": "A"}, "did you mean accession_number?"),
    (
        "study",
        {"study_instance_uid": "1.1", "patient": {"id": "P", "isuer": "X"}},
        "patient.isuer: did you mean issuer?",
    ),
    ("study", {"study_instance_uid": "1.1", "zzz": 1}, "known are study_instance_uid"),
    ("study", {"study_instance_uid": "abc"}, "study_instance_uid: not a UID"),
    ("study", {"study_instance_uid": "1." + "1" * 63}, "not a UID"),
    ("study", {}, "study_instance_uid: Field required"),
    ("study", {"study_instance_uid": "1.1", "status": "running"}, "status"),
    ("study", {"study_instance_uid": "1.1", "opened": "2024-05-14T10:00:00"}, "opened"),
    ("study", {"study_instance_uid": "1.1", "study_id": "x" * 17}, "at most 16 characters"),
    ("patient", {"id": "a\\b"}, "backslash"),
    ("patient", {"id": ""}, "must have a value"),
    ("patient", {"id": "TEMP"}, "placeholder"),
    ("patient", {"id": "P1", "other_ids": [{"id": "UNKNOWN"}]}, "placeholder"),
    ("patient", {"id": "P1", "name": 5}, "name"),
    ("admission", {"id": "V1"}, "needs a usable Patient ID"),
    ("merge", {"prior": {"id": ""}}, "prior.id"),
    ("merge", {"into": {"id": "P1"}}, "did you mean prior?"),
]


@pytest.mark.parametrize(("kind", "body", "words"), BODIES)
def test_bodies_that_cannot_be_read(world: World, kind: str, body: dict[str, Any], words: str) -> None:
    """One line: where, what, and for an unknown key the nearest known one."""
    planners: dict[str, Callable[[], object]] = {
        "study": lambda: world.plan(changes.put_study, body),
        "patient": lambda: world.plan(changes.put_patient, body),
        "admission": lambda: world.plan(changes.put_admission, body),
        "merge": lambda: world.plan(changes.merge_patient, PatientId("P1", ""), body),
    }
    with pytest.raises(InvalidBody) as raised:
        planners[kind]()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_name_cannot_stand_for_two_labs() -> None:
    """Whose events would they be?"""
    with pytest.raises(ValueError, match="stands in both"):
        Locations({"LAB1": ["Room"], "LAB2": [" Room "]})
    assert Locations({"LAB1": ["Room"]}).resolve(" Room") == "LAB1"


def test_a_change_of_an_unknown_kind_is_not_passed_over(world: World) -> None:
    """A store of a newer version must not be half understood."""
    with pytest.raises(ValueError, match="not known to this version"):
        world.registry.apply(1, 0, {"what": "gadget.changed"})


def test_a_change_applied_twice_counts_once(world: World) -> None:
    """Catching up may overlap."""
    world.open("1.1", "10:00", "P1")
    before = vars(world.registry).copy()
    for entry in world.log:
        world.registry.apply(*entry)
    assert vars(world.registry) == before
