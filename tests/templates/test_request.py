"""Action Information of both SOP Classes: steps 6 and 7 (contract section 2; PS3.4 5.4.2.1, Tables P.2-2 and P.3-2)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.errors import DoesNotMatchTemplate, Refused
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.procedure_log import read_log
from plscp.templates.request import Identifiers, ProcedureLog, SubstanceAdministration
from plscp.templates.substance import SubstanceAdministered, read_administration
from tests.templates import build
from tests.templates.build import administration, code, dataset, log
from tests.templates.trees import context_json, entry_json

PEL, SAL = PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
DRUG = build.drug(1)


def procedural(made: Dataset, *, strict: bool = False, syntax: str = build.EXPLICIT) -> ProcedureLog:
    return read_log(build.decoded(made, syntax), strict=strict)


def substance(made: Dataset, *, strict: bool = False, syntax: str = build.EXPLICIT) -> SubstanceAdministration:
    return read_administration(build.decoded(made, syntax, SAL), strict=strict)


def of_bytes(raw: bytes, sop_class: str = PEL, *, strict: bool = False) -> Any:
    decoded = decode(raw, build.EXPLICIT, calling_ae="A", sop_class=sop_class, bounds=Bounds())
    check = read_log if sop_class == PEL else read_administration
    return check(decoded, strict=strict)


def with_bytes(made: Dataset, old: bytes, new: bytes) -> bytes:
    raw = build.encode(made)
    assert old in raw
    return raw.replace(old, new)


def as_vr(made: Dataset, keyword: str, vr: str, value: Any) -> Dataset:
    """The data set with an attribute under another VR."""
    del made[keyword]
    tag = tag_for_keyword(keyword)
    assert tag is not None
    made.add_new(tag, vr, value)
    return made


def operator(**values: Any) -> Dataset:
    """An administration whose operator is this code."""
    item = dataset(PersonIdentificationCodeSequence=Items([dataset(**values)]))
    return administration(OperatorIdentificationSequence=Items([item]))


# --- statuses ---

Row = tuple[str, Callable[[], Dataset], int | None, int | None, str, str]
"""What | data set | status lenient | status strict (None: accepted) | finding | path."""

P_ROWS: list[Row] = [
    *(
        (f"{name} absent", lambda name=name: log(DRUG, **{name: None}), None, 0x0120, "attribute-absent", tag)
        for name, tag in (
            ("PatientID", "(0010,0020)"),
            ("StudyInstanceUID", "(0020,000D)"),
            ("StudyID", "(0020,0010)"),
            ("SynchronizationFrameOfReferenceUID", "(0020,0200)"),
            ("PerformedLocation", "(0040,0243)"),
        )
    ),
    ("study is no UID", lambda: log(DRUG, StudyInstanceUID="1.2.x"), 0x0115, 0x0115, "invalid-value", "(0020,000D)"),
    ("leading zero in a UID", lambda: log(DRUG, StudyInstanceUID="1.02"), 0x0115, 0x0115, "invalid-value", "(0020,000D)"),
    ("long UID", lambda: log(DRUG, StudyInstanceUID="1." + "2" * 63), 0x0115, 0x0115, "invalid-value", "(0020,000D)"),
    ("two UIDs", lambda: log(DRUG, StudyInstanceUID=["1.2", "1.3"]), 0x0115, 0x0115, "invalid-value", "(0020,000D)"),
    ("frame is no UID", lambda: log(DRUG, SynchronizationFrameOfReferenceUID="UTC"), 0x0115, 0x0115, "invalid-value",
     "(0020,0200)"),
    ("long Patient ID", lambda: log(DRUG, PatientID="1" * 65), 0x0115, 0x0115, "invalid-value", "(0010,0020)"),
    ("two Patient IDs", lambda: log(DRUG, PatientID=["A", "B"]), 0x0115, 0x0115, "invalid-value", "(0010,0020)"),
    ("control character", lambda: log(DRUG, PatientID="A\nB"), 0x0115, 0x0115, "invalid-value", "(0010,0020)"),
    ("long Study ID", lambda: log(DRUG, StudyID="1" * 17), 0x0115, 0x0115, "invalid-value", "(0020,0010)"),
    ("long location", lambda: log(DRUG, PerformedLocation="1" * 17), 0x0115, 0x0115, "invalid-value", "(0040,0243)"),
    ("wrong VR", lambda: as_vr(log(DRUG), "PatientID", "SH", "A"), 0x0115, 0x0115, "wrong-vr", "(0010,0020)"),
    ("number for text", lambda: as_vr(log(DRUG), "StudyID", "US", 1), 0x0115, 0x0115, "wrong-vr", "(0020,0010)"),
    ("offset", lambda: log(DRUG, TimezoneOffsetFromUTC="CET"), 0x0115, 0x0115, "invalid-value", "(0008,0201)"),
    ("offset for one of two times", lambda: log(DRUG, build.text(build.LOG_NOTE, "a", rel="CONTAINS",
        ObservationDateTime="20261122143500"), TimezoneOffsetFromUTC="CET"), 0x0115, 0x0115, "invalid-value", "(0008,0201)"),
    ("SOP Instance UID", lambda: log(DRUG, SOPInstanceUID="1.2"), None, None, "unexpected-attribute", "(0008,0018)"),
    ("no entry", log, 0xC102, 0xC102, "no-entry", ""),
    ("IOD", lambda: log(DRUG, ContinuityOfContent="BOTH"), 0xC102, 0xC102, "continuity", ""),
    ("no observer", lambda: log(DRUG, observers=[build.uid(build.STUDY_UID, build.STUDY)]), None, 0xC102,
     "missing-observer-context", ""),
    ("no template", lambda: log(DRUG, ContentTemplateSequence=None), None, 0xC102, "content-template-missing", ""),
]  # fmt: skip

BAD_ROUTE = Items([code(("1", "L", "By dart"))])
S_ROWS: list[Row] = [
    ("neither patient nor admission", lambda: administration(PatientID=None, AdmissionID=None), 0x0120, 0x0120,
     "attribute-absent", "(0010,0020)"),
    ("both empty", lambda: administration(PatientID="", AdmissionID=""), 0x0121, 0x0121, "attribute-empty", "(0010,0020)"),
    ("one absent, one empty", lambda: administration(PatientID=None, AdmissionID=""), 0x0121, 0x0121, "attribute-empty",
     "(0038,0010)"),
    ("all spaces", lambda: administration(PatientID="  ", AdmissionID=None), 0x0121, 0x0121, "attribute-empty",
     "(0010,0020)"),
    ("no product", lambda: administration(ProductName=None), 0x0120, 0x0120, "attribute-absent", "(0044,0001)"),
    ("product empty", lambda: administration(ProductName=""), 0x0121, 0x0121, "attribute-empty", "(0044,0008)"),
    ("no time", lambda: administration(SubstanceAdministrationDateTime=None), 0x0120, 0x0120, "attribute-absent",
     "(0044,0010)"),
    ("time empty", lambda: administration(SubstanceAdministrationDateTime=""), 0x0121, 0x0121, "attribute-empty",
     "(0044,0010)"),
    ("time", lambda: administration(SubstanceAdministrationDateTime="20261322"), 0x0115, 0x0115, "invalid-value",
     "(0044,0010)"),
    ("no name", lambda: administration(PatientName=None), None, 0x0120, "attribute-absent", "(0010,0010)"),
    ("no route", lambda: administration(AdministrationRouteCodeSequence=None), None, 0x0120, "attribute-absent",
     "(0054,0302)"),
    ("two routes", lambda: administration(AdministrationRouteCodeSequence=Items([*BAD_ROUTE, *BAD_ROUTE])), 0x0115, 0x0115,
     "code-items", "(0054,0302)"),
    ("route outside CID 11", lambda: administration(AdministrationRouteCodeSequence=BAD_ROUTE), None, None,
     "outside-context-group", "(0054,0302)"),
    ("route without scheme", lambda: administration(AdministrationRouteCodeSequence=Items(
        [dataset(CodeValue="1", CodeMeaning="x")])), 0x0120, 0x0120, "attribute-absent", "(0008,0102)"),
    ("no operators", lambda: administration(OperatorIdentificationSequence=None), 0x0120, 0x0120, "attribute-absent",
     "(0008,1072)"),
    ("no operator", lambda: administration(OperatorIdentificationSequence=Items([])), 0x0121, 0x0121, "attribute-empty",
     "(0008,1072)"),
    ("operator without code", lambda: administration(OperatorIdentificationSequence=Items([Dataset()])), 0x0120, 0x0120,
     "attribute-absent", "(0040,1101)"),
    ("operator with no code item", lambda: administration(OperatorIdentificationSequence=Items(
        [dataset(PersonIdentificationCodeSequence=Items([]))])), 0x0121, 0x0121, "attribute-empty", "(0040,1101)"),
    ("operator with two codes", lambda: administration(OperatorIdentificationSequence=Items(
        [dataset(PersonIdentificationCodeSequence=Items([*BAD_ROUTE, *BAD_ROUTE]))])), 0x0115, 0x0115, "code-items",
     "(0040,1101)"),
    ("operator's code value", lambda: operator(CodingSchemeDesignator="L", CodeMeaning="x"), 0x0120, 0x0120,
     "attribute-absent", "(0008,0100)"),
    ("operator's empty code value", lambda: operator(CodeValue="", CodingSchemeDesignator="L", CodeMeaning="x"), 0x0121,
     0x0121, "attribute-empty", "(0008,0100)"),
    ("operator's meaning", lambda: operator(CodeValue="1", CodingSchemeDesignator="L"), 0x0120, 0x0120, "attribute-absent",
     "(0008,0104)"),
    ("operator's long code value", lambda: operator(CodeValue="1" * 17, CodingSchemeDesignator="L", CodeMeaning="x"), 0x0115,
     0x0115, "code-value", "(0040,1101)"),
    ("long notes", lambda: administration(SubstanceAdministrationNotes="x" * 65), 0x0115, 0x0115, "invalid-value",
     "(0044,0011)"),
    ("long product name", lambda: administration(ProductName=["x", "y" * 65]), 0x0115, 0x0115, "invalid-value",
     "(0044,0008)"),
    ("name", lambda: administration(PatientName="A=B=C=D"), 0x0115, 0x0115, "invalid-value", "(0010,0010)"),
    ("operators are no sequence", lambda: as_vr(administration(), "OperatorIdentificationSequence", "LO", "me"), 0x0115,
     0x0115, "wrong-vr", "(0008,1072)"),
    ("two issuers", lambda: administration(IssuerOfAdmissionIDSequence=Items([Dataset(), Dataset()])), 0x0115, 0x0115,
     "issuer-items", "(0038,0014)"),
]  # fmt: skip


def outcome(check: Callable[..., Any], made: Dataset, *, strict: bool) -> tuple[int | None, list[Any]]:
    try:
        found = check(made, strict=strict)
    except Refused as refused:
        return refused.status, list(refused.findings)
    return None, found.findings


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    "row", [(procedural, *r) for r in P_ROWS] + [(substance, *r) for r in S_ROWS], ids=lambda r: r[1]
)
def test_status_of_each_attribute(row: Any, strict: bool) -> None:
    """Absent, empty and invalid attributes get their status; what is let pass is a finding with its tag."""
    check, what, made, lenient, firm, finding, path = row
    status, findings = outcome(check, made(), strict=strict)
    expected = firm if strict else lenient
    assert (status and hex(status)) == (expected and hex(expected)), what
    assert (finding, path, expected is not None) in [(f.code, f.path, f.refuse) for f in findings]
    if expected is not None:
        assert findings[0].refuse, "refusing findings come first"


def test_a_log_without_an_entry_is_refused_however_often_its_context_was_seen() -> None:
    """What is known from requests that were accepted makes no log of a context alone."""
    for second in range(1, 6):
        procedural(build.log(build.note(second)), strict=True)
    for _ in range(3):
        status, findings = outcome(procedural, build.log(), strict=True)
        assert (status, findings[0].code) == (0xC102, "no-entry")


def test_all_missing_attributes_are_listed() -> None:
    """The Attribute Identifier List names every absent attribute."""
    with pytest.raises(Refused) as refused:
        procedural(log(DRUG, PatientID=None, StudyID=None, StudyInstanceUID="x"), strict=True)
    assert refused.value.tags == (0x00100020, 0x00200010)  # type: ignore[attr-defined]
    assert [f.code for f in refused.value.findings] == ["attribute-absent", "attribute-absent", "invalid-value"]


IDENTIFIERS = [
    # SOP class | data set | value as built | bytes that do not decode
    (PEL, lambda: log(DRUG), b"PAT-1 ", b"PAT-\xe4 "),
    (PEL, lambda: log(DRUG), b"LAB1", b"LAB\xe4"),
    (SAL, administration, b"PAT-1 ", b"PAT-\xe4 "),
    (SAL, administration, b"HOSP", b"HOS\xe4"),
    (SAL, administration, b"ADM-7 ", b"ADM-\xe4 "),
    (SAL, administration, b"4711", b"471\xe4"),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("sop_class", "made", "old", "new"), IDENTIFIERS, ids=[str(row[2]) for row in IDENTIFIERS])
def test_an_identifier_that_does_not_decode(
    sop_class: str, made: Callable[[], Dataset], old: bytes, new: bytes, strict: bool
) -> None:
    """It is refused with 0115H: what it would be shown as could be another patient's ID."""
    with pytest.raises(Refused) as refused:
        of_bytes(with_bytes(made(), old, new), sop_class, strict=strict)
    assert refused.value.status == 0x0115
    assert refused.value.findings[0].code == "identifier-undecodable"


def unknown_set(made: Dataset) -> bytes:
    """The data set declaring a character set that nobody knows."""
    made.SpecificCharacterSet = "ISO_IR 100"
    return with_bytes(made, b"ISO_IR 100", b"ISO_IR 999")


@pytest.mark.parametrize(("sop_class", "made"), [(PEL, lambda: log(DRUG)), (SAL, administration)])
def test_ascii_under_a_character_set_that_nobody_knows(sop_class: str, made: Callable[[], Dataset]) -> None:
    """ASCII needs no character set: lenient notes the unknown one, strict refuses identifiers under it (contract section 2)."""
    found = of_bytes(unknown_set(made()), sop_class)
    assert [f.code for f in found.findings] == ["character-set-unknown"]
    with pytest.raises(Refused) as refused:
        of_bytes(unknown_set(made()), sop_class, strict=True)
    assert refused.value.status == 0x0115
    assert refused.value.findings[0].code == "identifier-undecodable"


def test_a_log_without_identifiers_under_a_character_set_that_nobody_knows() -> None:
    """Lenient notes it; strict refuses it as content."""
    bare = {"PatientID": "", "StudyID": "", "PerformedLocation": ""}
    assert [f.code for f in of_bytes(unknown_set(log(DRUG, **bare))).findings] == ["character-set-unknown"]
    with pytest.raises(DoesNotMatchTemplate):
        of_bytes(unknown_set(log(DRUG, **bare)), strict=True)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("sop_class", "made", "old", "new"), IDENTIFIERS, ids=[str(row[2]) for row in IDENTIFIERS])
def test_an_identifier_beyond_ascii_under_a_character_set_that_nobody_knows(
    sop_class: str, made: Callable[[], Dataset], old: bytes, new: bytes, strict: bool
) -> None:
    """It is refused in both profiles: nothing is guessed."""
    declared = made()
    declared.SpecificCharacterSet = "ISO_IR 100"
    raw = with_bytes(declared, old, new).replace(b"ISO_IR 100", b"ISO_IR 999")
    with pytest.raises(Refused) as refused:
        of_bytes(raw, sop_class, strict=strict)
    assert refused.value.status == 0x0115
    assert refused.value.findings[0].code == "identifier-undecodable"


def test_text_outside_identifiers_that_does_not_decode() -> None:
    """A note of an administration: lenient shows U+FFFD and keeps the bytes, strict refuses."""
    raw = with_bytes(administration(), b"slowly", b"slow\xfcy")
    found = of_bytes(raw, SAL)
    assert [(f.code, f.path) for f in found.findings] == [("text-undecodable", "(0044,0011)")]
    typed = SubstanceAdministered.model_validate_json(entry_json(found.entry.typed))
    assert typed.notes == "slow\ufffdy"
    assert [(e.tag, e.base64) for e in typed.elements] == [("00440011", "c2xvd/x5")]
    with pytest.raises(Refused) as refused:
        of_bytes(raw, SAL, strict=True)
    assert refused.value.status == 0x0115


def test_oddities_of_the_encoding() -> None:
    """An odd length is a finding for a lenient profile and 0115H for a strict one."""
    raw = with_bytes(log(DRUG), b"\x10\x00\x20\x00LO\x06\x00PAT-1 ", b"\x10\x00\x20\x00LO\x05\x00PAT-1")
    assert [f.code for f in of_bytes(raw).findings] == ["odd-length"]
    with pytest.raises(Refused) as refused:
        of_bytes(raw, strict=True)
    assert refused.value.status == 0x0115


# --- what comes out ---


@pytest.mark.parametrize("syntax", build.SYNTAXES)
def test_a_log_request(syntax: str) -> None:
    """Identifiers without padding, entries with their digests, the root's context once."""
    made = log(build.note(1), build.drug(2), build.drug(3), PatientID=" PAT-1 ", TimezoneOffsetFromUTC="+0100",
               SpecificCharacterSet="ISO_IR 192")  # fmt: skip
    found = procedural(made, strict=True, syntax=syntax)
    assert found.identifiers == Identifiers(build.STUDY, "PAT-1", "", "S1", "LAB1", "1.2.840.10008.15.1.1")
    assert (found.timezone_offset, found.character_set, found.findings) == ("+0100", "ISO_IR 192", [])
    assert [(e.index, e.kind, e.template) for e in found.entries] == [
        (0, "note", "3001"),
        (1, "drug_administered", "3106"),
        (2, "drug_administered", "3106"),
    ]
    assert [e.observation_datetime for e in found.entries] == [build.when(n) for n in (1, 2, 3)]
    assert len({e.content for e in found.entries}) == len({e.near_duplicate_key for e in found.entries}) == 3
    assert json.loads(entry_json(found.entries[1].typed))["mass"]["unit"]["value"] == "ug"
    assert json.loads(b"{" + context_json(found.context) + b"}")["context"]["observers"][0]["type"]["value"] == "121007"


def test_an_entry_has_the_same_digest_wherever_it_is_sent() -> None:
    """Content and near_duplicate_key of an entry do not depend on the request around it, nor on the transfer syntax."""
    alone = procedural(log(build.drug(2))).entries[0]
    for syntax in build.SYNTAXES:
        among = procedural(log(build.note(1), build.drug(2), StudyID="S2"), syntax=syntax).entries[1]
        assert (among.content, among.near_duplicate_key) == (alone.content, alone.near_duplicate_key)


def test_likeness_is_time_concept_and_value() -> None:
    """Children and meanings do not count for near_duplicate_key; time and value do."""
    plain = procedural(log(build.coded(build.DRUG_ADMINISTERED, build.DEXTRAN, rel="CONTAINS",
                                       ObservationDateTime=build.when(1)))).entries[0]  # fmt: skip
    full = procedural(log(build.drug(1))).entries[0]
    later = procedural(log(build.drug(2))).entries[0]
    assert plain.near_duplicate_key == full.near_duplicate_key != later.near_duplicate_key
    assert plain.content != full.content


def test_findings_go_with_their_entry() -> None:
    """A finding about an entry travels with it, one about the request with the request."""
    late = build.note(1)
    found = procedural(log(build.note(2), late, ContentTemplateSequence=None))
    assert [f.code for f in found.findings] == ["content-template-missing"]
    assert [[f.code for f in e.findings] for e in found.entries] == [[], ["entries-out-of-order"]]


def test_every_fault_is_told() -> None:
    """A refusal names the faults of all entries, refusing ones first."""
    bad = build.note(2)
    bad.ValueType = "SCOORD"
    nameless = build.note(3)
    del nameless.ConceptNameCodeSequence
    with pytest.raises(DoesNotMatchTemplate) as refused:
        procedural(log(build.note(1), bad, nameless, ContentTemplateSequence=None))
    assert {"5", "6"} <= {f.path for f in refused.value.findings if f.refuse}
    order = [f.refuse for f in refused.value.findings]
    assert order == sorted(order, reverse=True)
