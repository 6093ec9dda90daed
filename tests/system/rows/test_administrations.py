"""Rows 8 and 16: whose record a drug is written into, and when it may be said to have been given."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from plscp.matching import comments
from plscp.matching.model import Device
from plscp.service.profile import Profile
from tests.events import substance
from tests.system.rows.rig import POLICY, Rig

DEVICES = (
    Profile(Device("STRICT"), POLICY, strict=True),
    Profile(Device("UNTRUSTED", times="untrusted"), POLICY),
    Profile(Device("ACCESSION"), replace(POLICY, accession_as_admission=True)),
    Profile(Device("NAMES"), replace(POLICY, name_mismatch="refuse")),
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """PA has an open study with the Accession Number 4711; PB is known, with a visit."""
    with Rig(tmp_path, *DEVICES, issuers={"HOSP": [], "EAST": []}) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1", accession_number="4711")
        rig.patient("PB", name="Roe^Richard")
        rig.admission("V2", "PB")
        rig.clock("10:00")
        yield rig


def administered(
    rig: Rig, *, calling: str = "MOBILE", patient: str = "", admission: str = "", name: str = "", issuer: str = ""
) -> str:
    """Status of an administration, with the patient of its record."""
    made = substance(rig.now, patient=patient, admission=admission)
    made.PatientName = name
    if issuer:
        made.IssuerOfAdmissionID = issuer
    before = len(rig.events())
    answer = rig.send(made, calling=calling, substance=True, when=timedelta(seconds=1))
    patients = [json.loads(event.payload)["patient"]["id"] for event in rig.events()[before:]]
    return " ".join((answer.status, *patients))


def test_row_08_an_accession_number_is_no_admission_id(rig: Rig) -> None:
    assert administered(rig, admission="4711") == "C110"
    assert administered(rig, admission="4711", issuer="EAST") == "C110"
    assert [item.outcomes[0]["comment"] for item in rig.quarantined()] == [comments.ADMISSION_NOT_KNOWN] * 2
    assert administered(rig, patient="PB", admission="4711") == "0000 PB"  # an unknown visit: a finding


def test_row_08_accession_as_admission_counts_while_the_study_takes_events(rig: Rig) -> None:
    assert administered(rig, calling="ACCESSION", admission="4711") == "0000 PA"
    assert administered(rig, calling="ACCESSION", patient="PB", admission="4711") == "C110"
    rig.close("1.1")
    rig.clock("10:29")
    assert administered(rig, calling="ACCESSION", admission="4711") == "0000 PA"
    rig.clock("10:31")
    assert administered(rig, calling="ACCESSION", admission="4711") == "C110"


def test_row_08_a_patient_id_that_is_not_known_is_refused_whatever_the_admission_id(rig: Rig) -> None:
    assert administered(rig, patient="PX", admission="V2") == "C110"
    assert administered(rig, patient="PA", admission="V2") == "C110"


def test_row_08_the_family_name_is_compared_where_only_the_admission_names_the_patient(rig: Rig) -> None:
    assert administered(rig, admission="V2", name="Doe^Jane") == "0000 PB"
    [event] = rig.events()
    assert "patient-name-differs" in {finding["code"] for finding in json.loads(event.payload)["findings"]}
    assert administered(rig, calling="NAMES", admission="V2", name="Doe^Jane") == "C110"
    assert administered(rig, calling="NAMES", admission="V2", name="ROE^R") == "0000 PB"


TIMES = [
    # DT as sent at 10:00 on 2024-05-14, status of a lenient and of a strict device, the finding where it is accepted
    ("20240514095959+0000", "0000", "0000", ""),
    ("202405140959+0000", "0000", "0000", ""),
    ("20240514100200+0000", "0000", "0000", ""),
    ("20240514100300+0000", "0000", "0115", "in-the-future"),
    ("20240515095900+0000", "0000", "0115", "in-the-future"),
    ("20240515100100+0000", "0115", "0115", ""),
    ("20990101000000+0000", "0115", "0115", ""),
    ("2099", "0115", "0115", ""),
    ("2024", "0000", "0115", "coarse-datetime"),
    ("20240514", "0000", "0115", "coarse-datetime"),
    ("2024051409", "0000", "0115", "coarse-datetime"),
]


@pytest.mark.parametrize(("text", "lenient", "strict", "finding"), TIMES)
def test_row_16_when_an_administration_is_dated(rig: Rig, text: str, lenient: str, strict: str, finding: str) -> None:
    for calling, status in (("MOBILE", lenient), ("UNTRUSTED", lenient), ("STRICT", strict)):
        made = substance(rig.now, patient="PB")
        made.SubstanceAdministrationDateTime = text
        before = len(rig.events())
        answer = rig.send(made, calling=calling, substance=True)
        assert answer.status == status
        for event in rig.events()[before:]:
            codes = {one["code"] for one in json.loads(event.payload)["findings"]}
            assert codes & {"in-the-future", "coarse-datetime"} == ({finding} if finding else set())
        if status == "0115":
            assert rig.quarantined()[0].calling_ae == calling
