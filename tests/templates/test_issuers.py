"""Whose a Patient ID is: (0010,0021) and (0010,0024) in requests of both classes (PS3.3 Table 10-18, contract section 3)."""

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.errors import Refused
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.procedure_log import read_log
from plscp.templates.substance import read_administration
from tests.templates import build
from tests.templates.build import administration, dataset, log, note

BOTH = [PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING]


def read(sop_class: str, *, strict: bool = False, syntax: str = build.EXPLICIT, **attributes: Any) -> tuple[str, str]:
    """(Issuer of Patient ID, Universal Entity ID) of a request with these attributes."""
    if sop_class == PROCEDURAL_EVENT_LOGGING:
        made = log(note(), **attributes)
        given = read_log(build.decoded(made, syntax), strict=strict).identifiers
        return given.issuer_of_patient_id, given.issuer_universal_entity_id
    made = administration(**{"IssuerOfPatientID": None, **attributes})
    found = read_administration(build.decoded(made, syntax, sop_class), strict=strict)
    return found.issuer_of_patient_id, found.issuer_universal_entity_id


def qualifiers(*items: Dataset) -> dict[str, Items]:
    """Issuer of Patient ID Qualifiers Sequence."""
    return {"IssuerOfPatientIDQualifiersSequence": Items(items)}


OID = dataset(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")
SENT: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({}, ("", "")),
    ({"IssuerOfPatientID": ""}, ("", "")),
    ({"IssuerOfPatientID": " HOSP "}, ("HOSP", "")),
    (qualifiers(OID), ("", "1.2.3")),
    ({"IssuerOfPatientID": "HOSP", **qualifiers(OID)}, ("HOSP", "1.2.3")),
    (qualifiers(), ("", "")),
    (qualifiers(dataset()), ("", "")),
    (qualifiers(dataset(UniversalEntityID="")), ("", "")),
    (qualifiers(dataset(IdentifierTypeCode="MR")), ("", "")),
    (qualifiers(dataset(UniversalEntityID="https://hospital.example/" + "x" * 80)), ("", "https://hospital.example/" + "x" * 80)),
    ({"SpecificCharacterSet": "ISO_IR 100", "IssuerOfPatientID": "Köln"}, ("Köln", "")),
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("syntax", build.SYNTAXES)
@pytest.mark.parametrize("sop_class", BOTH)
@pytest.mark.parametrize(("attributes", "expected"), SENT)
def test_both_attributes_are_read(
    attributes: dict[str, Any], expected: tuple[str, str], sop_class: str, syntax: str, *, strict: bool
) -> None:
    """In both SOP Classes, in every transfer syntax."""
    assert read(sop_class, strict=strict, syntax=syntax, **attributes) == expected


FAULTS: list[dict[str, Any]] = [
    {"IssuerOfPatientID": "x" * 65},
    {"IssuerOfPatientID": ["HOSP", "EAST"]},
    qualifiers(OID, dataset(UniversalEntityID="4.5.6")),
    qualifiers(dataset(UniversalEntityID="two\r\nlines")),
]


@pytest.mark.parametrize("sop_class", BOTH)
@pytest.mark.parametrize("attributes", FAULTS)
def test_an_issuer_that_is_not_one_valid_value_is_refused(attributes: dict[str, Any], sop_class: str) -> None:
    """0115H: it says whose the Patient ID is."""
    with pytest.raises(Refused) as refused:
        read(sop_class, **attributes)
    assert refused.value.status == 0x0115


@pytest.mark.parametrize("sop_class", BOTH)
@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [("IssuerOfPatientID", "SH", "HOSP"), ("IssuerOfPatientIDQualifiersSequence", "LO", "1.2.3")],
)
def test_an_issuer_of_another_vr_is_refused(sop_class: str, keyword: str, vr: str, value: str) -> None:
    """0115H."""
    made = log(note()) if sop_class == PROCEDURAL_EVENT_LOGGING else administration(IssuerOfPatientID=None)
    made.add_new({"IssuerOfPatientID": 0x00100021}.get(keyword, 0x00100024), vr, value)
    check = read_log if sop_class == PROCEDURAL_EVENT_LOGGING else read_administration
    with pytest.raises(Refused) as refused:
        check(build.decoded(made, sop_class=sop_class), strict=False)
    assert refused.value.status == 0x0115
