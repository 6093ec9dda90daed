"""Orders: what an order, its change and its cancellation do to a study."""

import pytest

from plscp.errors import BrokenMessage, Conflict, InvalidBody
from plscp.feeds.hl7_orders import NO_UID
from plscp.matching.records import Study, study_from
from tests.feeds.hl7 import Hospital, message, pid, pv1
from tests.matching.world import at

P1 = pid("P1^^^HOSP^MR", "Muster^Maria")


def obr(accession: str = "ACC1", procedure: str = "RP1", begins: str = "", timing: str = "") -> str:
    """OBR with OBR-18, 19, 27 and 36, as IHE Radiology has them."""
    fields = {4: "CATH", 18: accession, 19: procedure, 27: timing, 36: begins}
    return "OBR|" + "|".join(fields.get(number, "") for number in range(1, 37))


def orm(control: str = "NW", uid: str = "1.2.3", order: str | None = None, status: str = "", person: str = P1) -> bytes:
    """ORM^O01 with the Study Instance UID in ZDS."""
    zds = (f"ZDS|{uid}^PLSCP^Application^DICOM",) if uid else ()
    return message("ORM^O01", person, pv1("W3^12"), f"ORC|{control}|1|2||{status}", order or obr(), *zds)


def omi(ipc: str, *more: str, control: str = "NW", kind: str = "OMI^O23^OMI_O23") -> bytes:
    """OMI^O23 with one order."""
    return message(kind, P1, f"ORC|{control}|1", *more, obr("", ""), f"IPC|{ipc}")


def study(hospital: Hospital, uid: str = "1.2.3") -> Study:
    """A study that must be there."""
    return hospital.known(uid)


def test_orm_schedules_a_study() -> None:
    """For its patient, with accession number and Requested Procedure ID; the ward is no lab."""
    hospital = Hospital()
    hospital.hear(orm())
    found = study(hospital)
    assert (found.status, found.patient_id, found.location) == ("scheduled", ("P1", "HOSP"), "")
    assert (found.accession_number, found.study_id) == ("ACC1", "RP1")
    assert hospital.registry.patients()[0].name == "Muster^Maria"
    assert hospital.hear(orm()) == []


def test_an_order_with_one_id_takes_no_other_from_its_patient() -> None:
    """What registration listed goes on naming her."""
    hospital = Hospital()
    hospital.hear(message("ADT^A28", pid("P1^^^HOSP^MR~77^^^NAT^NI", "Muster^Maria")))
    assert hospital.hear(orm()) == ["study.scheduled"]
    assert hospital.ids("77") == ("P1", ["77"], [])


@pytest.mark.parametrize("kind", ["OMI^O23^OMI_O23", "OMG^O19^OMG_O19"])
def test_omi_schedules_a_study_where_the_procedure_step_says(kind: str) -> None:
    """UID, accession number and procedure from IPC; the lab by room, station or station AE title; the time from TQ1."""
    hospital = Hospital(stations={"XRAY1": "LAB2"})
    time = "TQ1|1||||||20240514143000+0200"
    hospital.hear(omi("ACC2^RIS|RP2|1.2.4|SPS1|XA||ROOM|W9^Ward", time, kind=kind))
    found = study(hospital, "1.2.4")
    assert (found.accession_number, found.study_id, found.planned) == ("ACC2", "RP2", at("12:30"))
    assert found.location == ""
    hospital.hear(omi("ACC2|RP2|1.2.7|SPS1|XA||ROOM|7^Lab 2", kind=kind))
    assert study(hospital, "1.2.7").location == "LAB2"
    hospital.hear(omi("ACC2|RP2|1.2.5|SPS1|XA||ROOM|Lab 1", kind=kind))
    assert study(hospital, "1.2.5").location == "LAB1"
    hospital.hear(omi("ACC2|RP2|1.2.6|SPS1|XA||ROOM||XRAY1", kind=kind))
    assert study(hospital, "1.2.6").location == "LAB2"


def test_the_lab_by_resource_or_by_the_patients_place() -> None:
    """AIL-3 or PV1-3, with bed and facility or without; the first that [locations] lists."""
    hospital = Hospital()
    hospital.hear(message("ORM^O01", P1, pv1("W1"), "ORC|NW", obr(), "AIL|1|A|CATH^LAB1^B2^CLINIC", "ZDS|1.2.3"))
    assert study(hospital).location == "LAB1"
    hospital.hear(message("ORM^O01", P1, pv1("CATH^LAB1^3"), "ORC|NW", obr(), "ZDS|1.2.4"))
    assert study(hospital, "1.2.4").location == "LAB1"


@pytest.mark.parametrize(
    ("order", "planned"),
    [
        (obr(begins="202405141430+0200"), at("12:30")),
        (obr(begins="202405141430"), at("14:30")),  # MSH-7 has an offset: +0000
        (obr(timing="1^once^^20240514150000+0000"), at("15:00")),
        (obr(begins="20240514"), at("00:00")),
    ],
)
def test_when_it_is_to_begin(order: str, planned: object) -> None:
    """OBR-36 or the timing of old; the offset of the time, else of MSH-7."""
    hospital = Hospital()
    hospital.hear(orm(order=order))
    assert study(hospital).planned == planned


def test_a_time_without_any_offset_is_in_the_zone_of_the_feed() -> None:
    """Berlin in May: two hours before UTC."""
    hospital = Hospital()
    data = message("ORM^O01", P1, "ORC|NW", obr(begins="202405141430"), "ZDS|1.2.3", f7="20240514120000")
    hospital.hear(data)
    assert study(hospital).planned == at("12:30")


@pytest.mark.parametrize("control", ["CA", "OC", "CR", "DC", "OD", "DR"])
def test_a_cancellation_before_any_step(control: str) -> None:
    """The study is cancelled; again it is nothing; a change does not bring it back, a new order does."""
    hospital = Hospital()
    hospital.hear(orm())
    hospital.hear(orm(control))
    assert study(hospital).status == "cancelled"
    assert hospital.hear(orm(control)) == []
    hospital.hear(orm("XO"))
    assert study(hospital).status == "cancelled"
    hospital.hear(orm("NW"))
    assert study(hospital).status == "scheduled"


def numbered(control: str, placer: str = "", filler: str = "") -> bytes:
    """An order of the study 1.2.3 under its own numbers."""
    return message("ORM^O01", P1, f"ORC|{control}|{placer}|{filler}", obr(), "ZDS|1.2.3")


@pytest.mark.parametrize(
    ("ordered", "cancelled", "status"),
    [
        (["P1|", "P2|"], ["P1|"], "scheduled"),
        (["P1|", "P2|"], ["P1|", "P1|"], "scheduled"),
        (["P1|", "P2|"], ["P2|", "P1|"], "cancelled"),
        (["P1|", "P2|"], ["P9|"], "scheduled"),
        (["P1|F", "P2|F"], ["P1|F"], "scheduled"),
        (["P1|F", "P2|F"], ["|F"], "cancelled"),
        (["P|F1", "P|F2"], ["P|F1"], "scheduled"),
        (["P|F1", "P|F2"], ["P|"], "cancelled"),
        (["P1|", "P1|F1", "P2|F2"], ["|F1"], "scheduled"),
        (["P1|", "P2|"], ["|"], "cancelled"),
        (["P1|"], ["|F1"], "cancelled"),
        (["|", "|"], ["P1|"], "cancelled"),
    ],
)
def test_a_study_is_cancelled_with_its_last_standing_order(
    ordered: list[str], cancelled: list[str], status: str
) -> None:
    """An order stands where a number that both messages have says that it is another one than is cancelled."""
    hospital = Hospital()
    for numbers in ordered:
        hospital.hear(numbered("NW", *numbers.split("|")))
    for numbers in cancelled:
        hospital.hear(numbered("CA", *numbers.split("|")))
    assert study(hospital).status == status
    assert bool(hospital.notes) == (status == "scheduled")
    assert hospital.hear(numbered("CA", *cancelled[-1].split("|"))) == []


def test_an_order_that_takes_anothers_place_does_not_hold_the_study_by_the_old_one() -> None:
    """RP and RO: what was replaced is over, and a study that was cancelled has the orders that came since."""
    hospital = Hospital()
    hospital.hear(numbered("NW", "P1"))
    hospital.hear(message("ORM^O01", P1, "ORC|RP|P1", obr(), "ORC|RO|P2", obr(), "ZDS|1.2.3"))
    assert (study(hospital).status, study(hospital).orders) == ("scheduled", (("P2", ""),))
    hospital.hear(numbered("CA", "P2"))
    assert study(hospital).status == "cancelled"
    hospital.hear(numbered("NW", "P3"))
    assert (study(hospital).status, study(hospital).orders) == ("scheduled", (("P3", ""),))


def test_orders_of_a_study_are_kept_with_it() -> None:
    """They come back out of the change; one of before, which has none, is cancelled as a whole."""
    hospital = Hospital()
    hospital.hear(numbered("NW", "P1", "F1"))
    change = hospital.log[-1][2]
    assert change["orders"] == [{"placer": "P1", "filler": "F1"}]
    patient = hospital.registry.patient_number(study(hospital).patient)
    assert study_from(change, patient) == study(hospital)
    del change["orders"]
    assert study_from(change, patient).orders == ()


def test_a_cancellation_by_status() -> None:
    """SC with order status CA."""
    hospital = Hospital()
    hospital.hear(orm())
    hospital.hear(orm("SC", status="IP"))
    assert study(hospital).status == "scheduled"
    hospital.hear(orm("SC", status="CA"))
    assert study(hospital).status == "cancelled"


def test_a_cancellation_of_what_is_not_known_is_kept() -> None:
    """A device that uses the UID all the same is told that the study is cancelled."""
    hospital = Hospital()
    hospital.hear(orm("CA"))
    assert study(hospital).status == "cancelled"


def test_a_cancellation_of_another_patients_order_cancels_nothing() -> None:
    """It is a conflict; of a study that came with a placeholder it is taken, and so is one that names nobody."""
    hospital = Hospital()
    hospital.hear(orm())
    with pytest.raises(Conflict):
        hospital.hear(orm("CA", person=pid("P2^^^HOSP")))
    assert study(hospital).status == "scheduled"
    hospital.hear(orm("CA", person=pid("UNKNOWN")))
    assert study(hospital).status == "cancelled"
    hospital.hear(orm(uid="1.2.4", person=pid("UNKNOWN")))
    hospital.hear(orm("CA", uid="1.2.4"))
    assert study(hospital, "1.2.4").status == "cancelled"


def test_an_order_for_somebody_visibly_else_is_not_the_surviving_patients() -> None:
    """An ID that was merged away comes with another birth date: a new study of nobody knows whom; one that is known is changed."""
    hospital = Hospital()
    hospital.hear(orm())
    hospital.hear(message("ADT^A40", pid("P2^^^HOSP", "Muster^Maria", "19600102"), "MRG|P1^^^HOSP"))
    other = pid("P1^^^HOSP^MR", "Other^One", "19990909")
    with pytest.raises(Conflict):
        hospital.hear(orm(uid="1.2.4", person=other))
    assert hospital.hear(orm("XO", order=obr("ACC9"), person=other)) == ["study.updated"]
    assert study(hospital).patient_id == ("P2", "HOSP")


def test_a_cancellation_once_it_has_begun_ends_nothing() -> None:
    """While a step is in progress the study goes on; when it is closed it stays closed; it is noted."""
    hospital = Hospital()
    hospital.hear(orm())
    hospital.step("1.2.3", "12:30", "1.9")
    assert hospital.hear(orm("CA")) == []
    assert hospital.notes
    hospital.step("1.2.3", "13:00")
    assert hospital.hear(orm("CA")) == []
    assert study(hospital).status == "closed"


def test_an_order_of_a_study_that_has_begun() -> None:
    """It is where its steps say, and keeps its Study ID; the accession number is taken."""
    hospital = Hospital()
    hospital.open("1.2.3", "12:00", ("P1", "HOSP"), "LAB2", study_id="S9")
    hospital.hear(message("ORM^O01", P1, pv1("CATH^LAB1"), "ORC|NW", obr(begins="20240514150000"), "ZDS|1.2.3"))
    found = study(hospital)
    assert (found.status, found.location, found.study_id, found.accession_number) == ("open", "LAB2", "S9", "ACC1")
    with pytest.raises(Conflict):
        hospital.hear(orm(person=pid("P2^^^HOSP")))


def test_orders_without_a_uid_and_answers_of_others() -> None:
    """Nothing to match by: taken, and noted; order controls that only answer change nothing."""
    hospital = Hospital()
    assert hospital.hear(orm(uid="")) == ["patient.changed", "patient.demographics"]
    assert hospital.notes == [NO_UID]
    assert hospital.hear(orm("UC")) == []
    assert hospital.registry.studies() == []


def test_several_orders_of_one_message() -> None:
    """Each ORC with its own UID; one ZDS at the end is of all of them."""
    hospital = Hospital()
    data = message("OMG^O19", P1, "ORC|NW", obr("A1"), "ZDS|1.2.3", "ORC|CA", obr("A2"), "ZDS|1.2.4")
    hospital.hear(data)
    assert (study(hospital).status, study(hospital, "1.2.4").status) == ("scheduled", "cancelled")
    hospital = Hospital()
    hospital.hear(message("ORM^O01", P1, "ORC|NW", obr("A1"), "ORC|NW", obr("A1", ""), "ZDS|1.2.3"))
    assert (study(hospital).accession_number, study(hospital).study_id) == ("A1", "RP1")


def test_an_order_for_a_placeholder_gets_a_patient_of_its_own() -> None:
    """Who is merged later by that placeholder."""
    hospital = Hospital()
    hospital.hear(orm(person=pid("UNKNOWN")))
    found = study(hospital)
    assert found.patient_id.issuer == "plscp"
    assert hospital.registry.patients()[0].placeholder == "UNKNOWN"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (message("ORM^O01", P1, obr()), BrokenMessage),
        (message("ORM^O01", "ORC|NW", obr()), BrokenMessage),
        (message("ORM^O01", P1, "ORC|", obr(), "ZDS|1.2.3"), BrokenMessage),
        (orm(order=obr(begins="14.05.2024")), BrokenMessage),
        (orm(uid="1.02.3"), InvalidBody),
        (orm(order=obr("A" * 65)), InvalidBody),
    ],
)
def test_orders_that_cannot_be_kept(data: bytes, error: type[Exception]) -> None:
    """Each is refused, and nothing of it is taken: neither its patient."""
    hospital = Hospital()
    with pytest.raises(error):
        hospital.hear(data)
    assert hospital.registry.position == 0
