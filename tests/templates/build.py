"""Data sets for tests, made with pydicom: a root with observers and entries, or an administration, in any transfer syntax."""

import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as Items

from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode
from plscp.statuses import PROCEDURAL_EVENT_LOGGING

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
SYNTAXES = (IMPLICIT, EXPLICIT, BIG, DEFLATED)

Concept = tuple[str, str, str]
STUDY, PATIENT = "1.2.826.0.1.3680043.9.1", "PAT-1"
DRUG_ADMINISTERED: Concept = ("122083", "DCM", "Drug administered")
DEXTRAN: Concept = ("13132007", "SCT", "Dextran")
DOSE: Concept = ("121383", "DCM", "Mass administered")
LOG_NOTE: Concept = ("121172", "DCM", "Nursing Note")
ADMINISTERED_BY: Concept = ("121152", "DCM", "Person administering drug/contrast")
PERSON_OBSERVER: Concept = ("121008", "DCM", "Person Observer Name")
OBSERVER_TYPE: Concept = ("121005", "DCM", "Observer Type")
DEVICE: Concept = ("121007", "DCM", "Device")
DEVICE_UID: Concept = ("121012", "DCM", "Device Observer UID")
STUDY_UID: Concept = ("121018", "DCM", "Procedure Study Instance UID")
PATIENT_STATUS: Concept = ("121123", "DCM", "Patient Status or Event")
TITLE: Concept = ("121120", "DCM", "Cath Lab Procedure Log")


def dataset(**attributes: Any) -> Dataset:
    """A data set by keywords, whatever pydicom thinks of the values."""
    made = Dataset()
    for name, value in attributes.items():
        tag = tag_for_keyword(name)
        assert tag is not None, name
        made.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return made


def code(concept: Concept) -> Dataset:
    """An item of a code sequence."""
    return dataset(CodeValue=concept[0], CodingSchemeDesignator=concept[1], CodeMeaning=concept[2])


def item(relationship: str, value_type: str, concept: Concept | None, *children: Dataset, **value: Any) -> Dataset:
    """An item of Content Sequence."""
    made = dataset(RelationshipType=relationship, ValueType=value_type, **value)
    if concept is not None:
        made.ConceptNameCodeSequence = Items([code(concept)])
    if children:
        made.ContentSequence = Items(children)
    return made


def text(concept: Concept, value: str, *children: Dataset, rel: str = "HAS PROPERTIES", **more: Any) -> Dataset:
    """A TEXT item."""
    return item(rel, "TEXT", concept, *children, TextValue=value, **more)


def coded(concept: Concept, value: Concept, *children: Dataset, rel: str = "HAS PROPERTIES", **more: Any) -> Dataset:
    """A CODE item."""
    return item(rel, "CODE", concept, *children, ConceptCodeSequence=Items([code(value)]), **more)


def num(concept: Concept, value: str, unit: str, *children: Dataset, rel: str = "HAS PROPERTIES") -> Dataset:
    """A NUM item."""
    measured = dataset(NumericValue=value, MeasurementUnitsCodeSequence=Items([code((unit, "UCUM", unit))]))
    return item(rel, "NUM", concept, *children, MeasuredValueSequence=Items([measured]))


def uid(concept: Concept, value: str, rel: str = "HAS OBS CONTEXT") -> Dataset:
    """A UIDREF item."""
    return item(rel, "UIDREF", concept, UID=value)


def pname(concept: Concept, value: str, rel: str = "HAS OBS CONTEXT") -> Dataset:
    """A PNAME item."""
    return item(rel, "PNAME", concept, PersonName=value)


def image(concept: Concept | None, rel: str = "CONTAINS", **more: Any) -> Dataset:
    """An IMAGE item."""
    reference = dataset(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.12.1", ReferencedSOPInstanceUID="1.2.3.4")
    return item(rel, "IMAGE", concept, ReferencedSOPSequence=Items([reference]), **more)


def when(second: int) -> str:
    """A DateTime so many seconds into a procedure."""
    return (
        f"202611221430{second % 60:02}.25+0100"
        if second < 60
        else f"2026112214{30 + second // 60}{second % 60:02}+0100"
    )


def drug(second: int = 1, value: str = "50") -> Dataset:
    """A Drug Administered entry (TID 3106) with three children."""
    return coded(
        DRUG_ADMINISTERED,
        DEXTRAN,
        coded(("410675002", "SCT", "Route of administration"), ("47625008", "SCT", "Intravenous route")),
        num(DOSE, value, "ug"),
        pname(ADMINISTERED_BY, "Doe^Jane", rel="HAS PROPERTIES"),
        rel="CONTAINS",
        ObservationDateTime=when(second),
    )


def note(second: int = 1, value: str = "Balloon up") -> Dataset:
    """A text entry of the Procedure Log's own rows."""
    return text(LOG_NOTE, value, rel="CONTAINS", ObservationDateTime=when(second))


def context() -> list[Dataset]:
    """Observer and procedure context of a device."""
    return [
        coded(OBSERVER_TYPE, DEVICE, rel="HAS OBS CONTEXT"),
        uid(DEVICE_UID, "1.2.826.0.1.3680043.9.77"),
        uid(STUDY_UID, STUDY),
    ]


def log(*entries: Dataset, observers: Sequence[Dataset] | None = None, **changes: Any) -> Dataset:
    """Action Information of Table P.2-2; a change to None removes the attribute."""
    template = dataset(MappingResource="DCMR", TemplateIdentifier="3001")
    attributes: dict[str, Any] = {
        "PatientID": PATIENT,
        "StudyInstanceUID": STUDY,
        "StudyID": "S1",
        "SynchronizationFrameOfReferenceUID": "1.2.840.10008.15.1.1",
        "PerformedLocation": "LAB1",
        "ValueType": "CONTAINER",
        "ConceptNameCodeSequence": Items([code(TITLE)]),
        "ContinuityOfContent": "SEPARATE",
        "ContentTemplateSequence": Items([template]),
        "ContentSequence": Items([*(context() if observers is None else observers), *entries]),
    }
    attributes.update(changes)
    return dataset(**{name: value for name, value in attributes.items() if value is not None})


def administration(**changes: Any) -> Dataset:
    """Action Information of Table P.3-2; a change to None removes the attribute."""
    volume = dataset(
        ValueType="NUMERIC",
        ConceptNameCodeSequence=Items([code(("122091", "DCM", "Volume administered"))]),
        NumericValue="20",
        MeasurementUnitsCodeSequence=Items([code(("ml", "UCUM", "ml"))]),
    )
    operator = dataset(PersonIdentificationCodeSequence=Items([code(("4711", "L", "Doe^Jane"))]))
    attributes: dict[str, Any] = {
        "PatientID": PATIENT,
        "IssuerOfPatientID": "HOSP",
        "PatientName": "Adams^Ann",
        "AdmissionID": "ADM-7",
        "ProductName": "Iohexol",
        "SubstanceAdministrationDateTime": "20261122143005+0100",
        "SubstanceAdministrationNotes": "slowly",
        "SubstanceAdministrationDeviceID": "INJ-3",
        "AdministrationRouteCodeSequence": Items([code(("47625008", "SCT", "Intravenous route"))]),
        "SubstanceAdministrationParameterSequence": Items([volume]),
        "OperatorIdentificationSequence": Items([operator]),
    }
    attributes.update(changes)
    return dataset(**{name: value for name, value in attributes.items() if value is not None})


def encode(made: Dataset, syntax: str = EXPLICIT, *, undefined: bool = False) -> bytes:
    """The data set encoded; `undefined`: sequences and items without lengths."""
    if undefined:
        _without_lengths(made)
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = syntax == IMPLICIT, syntax != BIG
    write_dataset(out, made, convert_encodings(made.get("SpecificCharacterSet", "ISO_IR 6")))
    raw: bytes = out.getvalue()
    return deflate(raw) if syntax == DEFLATED else raw


def deflate(raw: bytes) -> bytes:
    """RFC 1951."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(raw) + deflater.flush()


def read(raw: bytes, syntax: str) -> Dataset:
    """What pydicom makes of encoded bytes."""
    if syntax == DEFLATED:
        raw = zlib.decompress(raw, -zlib.MAX_WBITS)
    return read_dataset(BytesIO(raw), syntax == IMPLICIT, syntax != BIG)


def decoded(made: Dataset, syntax: str = EXPLICIT, sop_class: str = PROCEDURAL_EVENT_LOGGING) -> Decoded:
    """The data set after step 5."""
    return decode(encode(made, syntax), syntax, calling_ae="HEMO1", sop_class=sop_class, bounds=Bounds())


def _without_lengths(made: Dataset) -> None:
    for element in made:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for one in element.value:
                one.is_undefined_length_sequence_item = True
                _without_lengths(one)
