"""Substance Administration (contract section 3, P.3.2.3): whose record, and who may add to it."""

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest

from plscp.matching import comments, substance
from plscp.matching.model import Device, Operator, SubstanceQuestion
from plscp.matching.times import instant
from tests.matching.world import NOON, POLICY, World, at, codes


def hospital() -> World:
    """P1 and P2 with admissions, one of each kind, and P1's study with an Accession Number."""
    world = World()
    world.now = at("10:00")
    world.patient("P1", name="Müller^Jane=山田^花子")
    world.patient("P2", name="Roe^Richard")
    world.admission("V1", "P1")
    world.admission("V2", "P2")
    world.admission("V1D", "P1", status="discharged")
    world.admission("V1C", "P1", status="cancelled")
    world.admission("V2C", "P2", status="cancelled")
    world.admission("VX", "P1", issuer="WEST")
    world.admission("VX", "P2", issuer="EAST")
    world.admission("VS", "P1", issuer="WEST")
    world.admission("VS", "P1", issuer="EAST")
    world.study("1.1", patient="P1", accession_number="A1", status="open", location="LAB1")
    world.study("1.2", patient="P2", accession_number="A2", status="cancelled")
    world.study("1.3", patient="P2", accession_number="V1D")
    world.merge("P1", "P1OLD")
    return world


ROWS = [
    # Patient ID, Admission ID, outcome, findings, comment
    ("P1", "", "0000 patient P1", set(), ""),
    ("P9", "", "C110", None, comments.PATIENT_NOT_KNOWN),
    ("P9", "V1", "C110", None, comments.PATIENT_NOT_KNOWN),  # whatever the Admission ID
    ("P1", "V9", "0000 patient P1", {"admission-unknown"}, ""),
    ("P1", "V1", "0000 patient P1", set(), ""),
    ("", "V1", "0000 admission P1", set(), ""),
    (" ", " V2 ", "0000 admission P2", set(), ""),
    ("P1", "V2", "C110", None, comments.ADMISSION_DIFFERS),
    ("", "V9", "C110", None, comments.ADMISSION_NOT_KNOWN),
    ("", "", "C110", None, comments.NO_PATIENT_GIVEN),
    ("UNKNOWN", "", "C110", None, comments.NO_PATIENT_GIVEN),
    ("UNKNOWN", "V1", "0000 admission P1", set(), ""),
    ("", "VX", "C110", None, comments.ADMISSION_AMBIGUOUS),
    ("P1", "VX", "C110", None, comments.ADMISSION_AMBIGUOUS),
    ("", "VS", "0000 admission P1", set(), ""),
    ("", "V1C", "C110", None, comments.ADMISSION_NOT_KNOWN),
    ("P1", "V1C", "0000 patient P1", {"admission-cancelled"}, ""),
    ("", "A1", "C110", None, comments.ADMISSION_NOT_KNOWN),  # an Accession Number is no Admission ID
    ("P2", "A1", "0000 patient P2", {"admission-unknown"}, ""),
    ("", "V1D", "0000 admission P1", {"admission-discharged"}, ""),  # also the Accession Number of another's study
    ("P1", "V2C", "0000 patient P1", {"admission-cancelled"}, ""),  # it does not name P2
    ("P1OLD", "", "0000 patient P1", {"superseded-id"}, ""),
]


@pytest.mark.parametrize(("patient_id", "admission_id", "expected", "findings", "comment"), ROWS)
def test_patient(patient_id: str, admission_id: str, expected: str, findings: set[str] | None, comment: str) -> None:
    """Patient ID first, Admission ID alone or beside it."""
    decision = hospital().administer(patient_id, admission_id)
    found = f"{decision.status:04X} {decision.rule} {decision.patient_id}".strip()
    assert (found, decision.comment) == (expected, comment)
    if findings is not None:
        assert codes(decision) == findings
        assert (decision.issuer, decision.patient_key) == ("HOSP", f"HOSP|{decision.patient_id}")
    else:
        assert decision.findings[0].refuse


ACCESSION = replace(POLICY, accession_as_admission=True)
ACCESSION_ROWS = [
    # Patient ID, Admission ID, outcome, findings, comment
    ("", "A1", "0000 accession P1", set(), ""),
    ("P1", "A1", "0000 patient P1", set(), ""),
    ("P2", "A1", "C110", None, comments.ADMISSION_DIFFERS),
    ("", "A2", "C110", None, comments.ADMISSION_NOT_KNOWN),  # of a cancelled study
    ("", "A4", "C110", None, comments.ADMISSION_NOT_KNOWN),  # of a scheduled one
    ("", "V1D", "0000 admission P1", {"admission-discharged"}, ""),  # 1.3 was never opened
    ("", "V2", "C110", None, comments.ADMISSION_AMBIGUOUS),  # P2's visit, and the Accession Number of P1's study
]


@pytest.mark.parametrize(("patient_id", "admission_id", "expected", "findings", "comment"), ACCESSION_ROWS)
def test_accession_as_admission(
    patient_id: str, admission_id: str, expected: str, findings: set[str] | None, comment: str
) -> None:
    """The Accession Number of a study that takes events counts as an Admission ID without issuer."""
    world = hospital()
    world.study("1.4", patient="P1", accession_number="A4", status="scheduled")
    world.study("1.5", patient="P1", accession_number="V2", status="open", location="LAB2")
    decision = world.administer(patient_id, admission_id, policy=ACCESSION)
    found = f"{decision.status:04X} {decision.rule} {decision.patient_id}".strip()
    assert (found, decision.comment) == (expected, comment)
    assert findings is None or codes(decision) == findings


def test_an_accession_number_counts_while_its_study_takes_events() -> None:
    """Within the grace after its closing, not longer."""
    world = World(ACCESSION)
    world.open("1.1", "10:00", "P1", accession_number="A1")
    world.close("1.1", "10:10")
    world.now = at("10:40")
    assert world.administer("", "A1").patient_id == "P1"
    world.now = at("10:40:01")
    assert world.administer("", "A1").status == 0xC110


def test_an_accession_number_has_no_issuer() -> None:
    """One sent with an issuer means it only where that issuer is known and nobody has that Admission ID of an authority."""
    world = World(ACCESSION, issuers={"HOSP": ["Hospital"]})
    world.open("1.1", "10:00", "P1", accession_number="A1")
    world.open("1.2", "10:00", "P1", location="LAB2", accession_number="A2")
    world.admission("A2", "P2", issuer="EAST")
    assert world.administer("", "A1", issuer_of_admission_id="Hospital").patient_id == "P1"
    assert world.administer("", "A1", issuer_of_admission_id="NORTH").status == 0xC110
    assert world.administer("", "A2", issuer_of_admission_id="Hospital").status == 0xC110
    assert world.administer("", "A2", issuer_of_admission_id="EAST").patient_id == "P2"
    assert world.administer("", "A2").comment == comments.ADMISSION_AMBIGUOUS


def test_a_discharged_admission_still_names_its_patient() -> None:
    """With a finding."""
    world = World()
    world.admission("V1", "P1", status="discharged")
    decision = world.administer("", "V1")
    assert (decision.status, decision.patient_id, codes(decision)) == (0, "P1", {"admission-discharged"})


ISSUERS = [("WEST", 0, "P1"), ("EAST", 0, "P2"), ("NORTH", 0xC110, "")]


@pytest.mark.parametrize(("issuer", "status", "patient"), ISSUERS)
def test_issuer_of_admission_id_tells_admissions_apart(issuer: str, status: int, patient: str) -> None:
    """Exactly."""
    decision = hospital().administer("", "VX", issuer_of_admission_id=issuer)
    assert (decision.status, decision.patient_id) == (status, patient)


def test_patient_id_of_several_issuers_is_ambiguous() -> None:
    """C110 without an issuer; the issuer sent, or the device's, decides."""
    world = World(replace(POLICY, patient_id_issuer=""))
    world.patient("7", "WEST")
    world.patient("7", "EAST")
    assert world.administer("7").comment == comments.AMBIGUOUS_PATIENT
    assert world.administer("7", issuer="EAST").issuer == "EAST"
    assert world.administer("7", device=Device("PUMP", patient_id_issuer="WEST")).patient_key == "WEST|7"


NAMES = [
    ("", False),
    ("Müller^J", False),
    ("MÜLLER^J", False),
    ("müller ", False),
    ("Mueller^Jane", True),
    ("Yamada^Hanako=山田^花子", False),  # the ideographic family name is the same
    ("Yamada^Hanako=山口^花子", True),
    ("=山田", False),
    ("^Jane", False),
]


@pytest.mark.parametrize(("name", "differs"), NAMES)
def test_family_name_different_from_the_patients(name: str, differs: bool) -> None:
    """A finding, or C110 by setting; a name that one side does not have says nothing."""
    world = hospital()
    assert codes(world.administer("P1", name=name)) == ({"patient-name-differs"} if differs else set())
    strict = replace(POLICY, name_mismatch="refuse")
    decision = world.administer("P1", name=name, policy=strict)
    assert (decision.status, decision.comment) == ((0xC110, comments.NAME_DIFFERS) if differs else (0, ""))


def test_the_family_name_is_compared_where_only_the_admission_names_the_patient() -> None:
    """A visit number of the patient before is noticed by the name."""
    world = hospital()
    assert codes(world.administer("", "V1", name="Roe^Richard")) == {"patient-name-differs"}
    decision = world.administer("", "V1", name="Roe^Richard", policy=replace(POLICY, name_mismatch="refuse"))
    assert (decision.status, decision.comment) == (0xC110, comments.NAME_DIFFERS)


def test_the_key_is_that_of_the_patient_as_first_seen() -> None:
    """Kept through merges: the survivor's."""
    world = hospital()
    world.merge("P2", "P1")
    for patient_id in ("P1", "P1OLD", "P2"):
        decision = world.administer(patient_id)
        assert (decision.patient_id, decision.patient_key) == ("P2", "HOSP|P2")


NOON_TO: dict[str, tuple[set[str] | None, set[str] | None]] = {
    # DT as sent at noon: lenient, strict; None is refused with 0115H
    "20240514120000": (set(), set()),
    "202405141200": (set(), set()),
    "20240514120200": (set(), set()),
    "20240514120201": ({"in-the-future"}, None),
    "202405141203": ({"in-the-future"}, None),
    "20240515120000": ({"in-the-future"}, None),
    "20240515120001": (None, None),
    "20990101000000": (None, None),
    "2099": (None, None),
    "2024051412": ({"coarse-datetime"}, None),
    "20240514": ({"coarse-datetime"}, None),
    "202405": ({"coarse-datetime"}, None),
    "2024": ({"coarse-datetime"}, None),
    "2024051413": ({"coarse-datetime", "in-the-future"}, None),
    "20240513115900": (set(), set()),
}


@pytest.mark.parametrize("times", ["trusted", "untrusted"])
@pytest.mark.parametrize("text", NOON_TO)
def test_when_an_administration_is_dated(text: str, times: Literal["trusted", "untrusted"]) -> None:
    """Coarser than the minute or beyond clock_tolerance in the future: finding, strict refused; beyond a day refused always."""
    question = SubstanceQuestion(
        patient_id="P1",
        issuer_of_patient_id="",
        patient_name="",
        admission_id="",
        issuer_of_admission_id="",
        operators=(),
        device=Device("PUMP", times=times),
        policy=POLICY,
        time=instant(text, request_offset="+0000", device_zone=None, server_zone="UTC", arrival=NOON),
        arrival=NOON,
    )
    for expected, strict in zip(NOON_TO[text], (False, True), strict=True):
        found = substance.time_findings(question, strict=strict)
        assert any(finding.refuse for finding in found) == (expected is None)
        assert expected is None or {finding.code for finding in found} == expected


AT_LAB1 = Device("PUMP", ("Lab 1",))
AT_LAB2 = Device("PUMP", ("LAB2",))
MOBILE = Device("PUMP")
NURSE = Operator("N1001", "L")
OPERATORS = [
    # allowed, named, device, allowed?
    (None, [("X", "L")], MOBILE, True),
    ([NURSE], [("N1001", "L")], MOBILE, True),
    ([NURSE], [(" N1001 ", "L ")], MOBILE, True),
    ([NURSE], [("N1002", "L"), ("N1001", "L")], MOBILE, True),  # at least one
    ([NURSE], [("N1002", "L")], MOBILE, False),
    ([NURSE], [("N1001", "99HOSP")], MOBILE, False),
    ([NURSE], [("n1001", "L")], MOBILE, False),
    ([NURSE], [], MOBILE, False),
    ([], [("N1001", "L")], MOBILE, False),
    ([replace(NURSE, locations=("LAB1",))], [("N1001", "L")], AT_LAB1, True),
    ([replace(NURSE, locations=("CATH^LAB1",))], [("N1001", "L")], AT_LAB1, True),
    ([replace(NURSE, locations=("LAB1",))], [("N1001", "L")], AT_LAB2, False),
    ([replace(NURSE, locations=("LAB1",))], [("N1001", "L")], MOBILE, False),
    ([replace(NURSE, valid_from=at("10:00"), valid_until=at("10:00"))], [("N1001", "L")], MOBILE, True),
    ([replace(NURSE, valid_from=at("10:01"))], [("N1001", "L")], MOBILE, False),
    ([replace(NURSE, valid_until=at("09:59"))], [("N1001", "L")], MOBILE, False),
    ([replace(NURSE, valid_until=at("09:59")), NURSE], [("N1001", "L")], MOBILE, True),
]


@pytest.mark.parametrize(("allowed", "named", "device", "expected"), OPERATORS)
def test_operators(
    allowed: list[Operator] | None, named: list[tuple[str, str]], device: Device, expected: bool
) -> None:
    """At least one must be allowed: code with scheme, validity, and locations compared with the sending device's."""
    decision = hospital().administer("P1", operators=named, allowed=allowed, device=device)
    assert (decision.status, decision.comment) == ((0, "") if expected else (0xC10E, comments.OPERATOR_NOT_ALLOWED))


def test_validity_is_judged_at_the_time_of_the_administration_unless_the_clock_is_not_trusted() -> None:
    """A late record of an act while the operator was allowed stands."""
    world = hospital()
    until = [replace(NURSE, valid_until=at("09:50"))]
    early = at("09:50") - timedelta(minutes=5)
    assert world.administer("P1", allowed=until, time=early).status == 0
    untrusted = Device("PUMP", times="untrusted")
    assert world.administer("P1", allowed=until, time=early, device=untrusted).status == 0xC10E


def test_the_patient_is_looked_for_before_the_operator() -> None:
    """Step 8 before step 9."""
    assert hospital().administer("P9", operators=[], allowed=[]).status == 0xC110
