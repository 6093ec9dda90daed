"""The PCI case is what the README says it is, and what the standard asks of its messages."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pynetdicom.dsutils import decode, encode

from plscp.content.model import Bounds
from plscp.content.reader import decode as read
from plscp.errors import DoesNotMatchTemplate
from plscp.scu.pci_case import DEVICES, DURATION, CaseSubject, Request, by_device, pci_case, registry_file
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, STATUSES, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.procedure_log import read_log
from plscp.templates.substance import read_administration

EXPLICIT = "1.2.840.10008.1.2.1"
WHEN = datetime(2026, 3, 1, 9, 30, 15, 250000, tzinfo=UTC)
CASE = pci_case()
PROCEDURAL = [request for request in CASE if request.sop_class == PROCEDURAL_EVENT_LOGGING]
SUBSTANCE = [request for request in CASE if request.sop_class == SUBSTANCE_ADMINISTRATION_LOGGING]
# PS3.3 Table A.35.7-2: source value types, relationship, target value types
PROPERTIES = {"TEXT", "CODE", "NUM", "DATETIME", "UIDREF", "PNAME"}
LEAVES = {"TEXT", "CODE", "NUM", "PNAME", "UIDREF", "DATETIME", "DATE", "TIME"}
MATRIX = (
    ({"CONTAINER"}, "CONTAINS", {"TEXT", "CODE", "NUM", "PNAME", "COMPOSITE", "IMAGE", "WAVEFORM"}),
    ({"CONTAINER", "IMAGE"} | LEAVES, "HAS OBS CONTEXT", PROPERTIES),
    ({"CONTAINER", "IMAGE", "WAVEFORM", "COMPOSITE"}, "HAS ACQ CONTEXT", PROPERTIES | {"DATE", "TIME"}),
    ({"CONTAINER", "IMAGE"} | LEAVES, "HAS CONCEPT MOD", {"TEXT", "CODE"}),
    ({"IMAGE"} | LEAVES, "HAS PROPERTIES", PROPERTIES),
)
ALLOWED = {(source, rel, target) for sources, rel, targets in MATRIX for source in sources for target in targets}
TABLE_P_2_2 = ("PatientID", "StudyInstanceUID", "StudyID", "SynchronizationFrameOfReferenceUID", "PerformedLocation")
TABLE_P_3_2 = ("PatientName", "AdministrationRouteCodeSequence", "OperatorIdentificationSequence")


def edges(source: Dataset) -> Iterator[tuple[str, str, str]]:
    """Each (source value type, relationship, target value type) of a content tree."""
    for child in source.get("ContentSequence", ()):
        yield source.ValueType, child.RelationshipType, child.ValueType
        yield from edges(child)


def codes(dataset: Dataset) -> Iterator[Dataset]:
    """Each code item."""
    for element in dataset:
        if element.VR == "SQ":
            for part in element.value:
                if "CodeMeaning" in part:
                    yield part
                yield from codes(part)


def test_the_case_is_twenty_minutes_of_at_least_sixty_entries_from_four_devices() -> None:
    """Its size is what makes the demo a case and not a sample."""
    assert DURATION == 20 * 60
    assert all(0 <= request.at < DURATION for request in CASE)
    assert {request.device for request in CASE} == set(DEVICES)
    assert sum(request.count for request in CASE if request.expect >> 12 != 0xC) >= 60


@pytest.mark.parametrize("status", [0xB102, 0xC102, 0xC110, 0xC10E])
def test_each_trouble_happens_once_and_says_what_it_is(status: int) -> None:
    """What is meant to go wrong is announced, with a status that plscp knows."""
    (request,) = [request for request in CASE if request.expect == status]
    assert request.why
    assert status in STATUSES


def test_all_other_requests_are_meant_to_succeed() -> None:
    """Nothing is refused without a reason given."""
    assert {request.expect for request in CASE if not request.why} == {0}


@pytest.mark.parametrize(
    ("device", "given"),
    [
        ("HEMO1", {"PatientID", "StudyInstanceUID", "StudyID", "PerformedLocation"}),
        ("XRAY1", {"StudyInstanceUID"}),
        ("INJECT1", {"PerformedLocation"}),
        ("TABLET1", {"PatientID"}),
    ],
)
def test_each_device_gives_the_identifiers_it_has_and_no_others(device: str, given: set[str]) -> None:
    """One device sends no identifier but its location (P.2.2.1.1)."""
    names = set(TABLE_P_2_2) - {"SynchronizationFrameOfReferenceUID"}
    for request in PROCEDURAL:
        if request.device == device:
            dataset = request.dataset(WHEN)
            assert {name for name in names if dataset[name].value} == given


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("request_", CASE, ids=lambda request: f"{request.device}-{request.at:g}-{request.expect:04X}")
def test_every_request_encodes_and_pydicom_reads_the_same(request_: Request, implicit: bool) -> None:
    """Both transfer syntaxes that are proposed carry it whole."""
    dataset = request_.dataset(WHEN)
    raw = encode(dataset, implicit, True)
    assert raw is not None
    assert decode(BytesIO(raw), implicit, True).to_json_dict() == dataset.to_json_dict()


@pytest.mark.parametrize("request_", PROCEDURAL, ids=lambda request: f"{request.device}-{request.at:g}")
def test_a_log_request_has_table_p_2_2_and_keeps_to_the_iod(request_: Request) -> None:
    """All attributes of Table P.2-2, no SOP UIDs (PS3.4 5.4.2.3), Table A.35.7-2, by value only, TID 3001 named."""
    dataset = request_.dataset(WHEN)
    assert all(name in dataset for name in TABLE_P_2_2)
    assert "SOPClassUID" not in dataset
    assert "SOPInstanceUID" not in dataset
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "3001"
    assert set(edges(dataset)) <= ALLOWED
    assert any(child.RelationshipType == "HAS OBS CONTEXT" for child in dataset.ContentSequence)


@pytest.mark.parametrize("request_", PROCEDURAL, ids=lambda request: f"{request.device}-{request.at:g}")
def test_a_requests_datetimes_rise_strictly_up_to_that_of_sending(request_: Request) -> None:
    """PS3.3 A.35.7.3.1.2, and the case's own promise: each DateTime is that of sending."""
    entries = [each for each in request_.dataset(WHEN).ContentSequence if each.RelationshipType == "CONTAINS"]
    times = [entry.ObservationDateTime for entry in entries]
    assert len(entries) == request_.count
    assert times == sorted(set(times))
    assert times[-1] == "20260301093015.250000+0000"


@pytest.mark.parametrize("request_", SUBSTANCE, ids=lambda request: f"{request.at:g}")
def test_an_administration_has_table_p_3_2_with_the_time_of_sending(request_: Request) -> None:
    """Types 1 and 2 of Table P.3-2 are there, and of each 1C pair one with a value."""
    dataset = request_.dataset(WHEN)
    assert dataset.SubstanceAdministrationDateTime == "20260301093015.250000+0000"
    assert all(name in dataset for name in TABLE_P_3_2)
    assert dataset.get("PatientID") or dataset.get("AdmissionID")
    assert dataset.get("ProductName") or dataset.get("ProductPackageIdentifier")


@pytest.mark.parametrize("request_", CASE, ids=lambda request: f"{request.device}-{request.at:g}-{request.expect:04X}")
def test_strict_validation_finds_nothing_but_what_is_wrong_on_purpose(request_: Request) -> None:
    """TID 3001 and its templates, C.17.3 and Tables P.2-2 and P.3-2: not even a finding; one request gets C102."""
    raw = encode(request_.dataset(WHEN), False, True)
    assert raw is not None
    decoded = read(raw, EXPLICIT, calling_ae=request_.device, sop_class=request_.sop_class, bounds=Bounds())
    if request_.expect == 0xC102:
        with pytest.raises(DoesNotMatchTemplate, match="TID3108 r4 missing 121154"):
            read_log(decoded, strict=True)
    elif request_ in SUBSTANCE:
        typed = read_administration(decoded, strict=True)
        assert not [*typed.findings, *typed.entry.findings]
    else:
        log = read_log(decoded, strict=True)
        assert not [*log.findings, *(finding for entry in log.entries for finding in entry.findings)]
        assert "untyped" not in {entry.kind for entry in log.entries}


def test_every_code_of_dicom_and_snomed_is_one_that_pydicom_knows() -> None:
    """No code value is made up, but for the department's stock and staff, in schemes of their own."""
    known = {
        scheme: {value for found in names.values() for value in found}
        for scheme, names in concepts.items()
        if scheme in {"DCM", "SCT"}
    }
    outside = {"121124", "122111"}  # named in PS3.16 Annex D, in no context group of pydicom's tables
    for request in CASE:
        for code in codes(request.dataset(WHEN)):
            scheme, value = code.CodingSchemeDesignator, code.CodeValue
            assert scheme in {"UCUM", "L", "99PLSCP"} or value in known[scheme] | outside, (scheme, value)


def test_the_subject_is_the_callers() -> None:
    """Another study and patient, and nothing of the default's is left."""
    other = CaseSubject("1.2.3", "S9", "A9", "P9", "ELSE", "Else^Who", "V9", "LAB2")
    text = " ".join(str(request.dataset(WHEN)) for request in pci_case(other))
    for own in (
        CaseSubject.study_instance_uid,
        CaseSubject.study_id,
        CaseSubject.patient_id,
        CaseSubject.admission_id,
        "LAB1",
    ):
        assert f"'{own}'" not in text
        assert own not in registry_file(other, WHEN)


def test_by_device_keeps_each_devices_order() -> None:
    """Nothing is lost, and time only goes on."""
    devices = by_device(CASE)
    assert sum(map(len, devices.values())) == len(CASE)
    for requests in devices.values():
        assert [request.at for request in requests] == sorted(request.at for request in requests)
