"""What a handler does that reads the request with pydicom: the same content items, every element touched."""

from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode

from plscp.content.model import Code, ContentItem, Numeric, Value
from plscp.templates.request import Identifiers

VALUES = {"TEXT": "TextValue", "PNAME": "PersonName", "UIDREF": "UID", "CONTAINER": "ContinuityOfContent"}


def walk(raw: bytes) -> tuple[Identifiers, ContentItem]:
    """Implicit VR Little Endian to identifiers and content tree; nothing is checked, nothing becomes JSON."""
    dataset = decode(BytesIO(raw), True, True)
    given = Identifiers(
        study_instance_uid=str(dataset.get("StudyInstanceUID", "")),
        patient_id=str(dataset.get("PatientID", "")),
        issuer_of_patient_id=str(dataset.get("IssuerOfPatientID", "")),
        study_id=str(dataset.get("StudyID", "")),
        performed_location=str(dataset.get("PerformedLocation", "")),
        synchronization_frame_of_reference_uid=str(dataset.get("SynchronizationFrameOfReferenceUID", "")),
    )
    return given, _item(dataset)


def _item(dataset: Dataset) -> ContentItem:
    template = dataset.get("ContentTemplateSequence")
    value_type = str(dataset.get("ValueType", ""))
    return ContentItem(
        str(dataset.get("RelationshipType", "")),
        value_type,
        _code(dataset, "ConceptNameCodeSequence"),
        _value(dataset, value_type),
        [_item(child) for child in dataset.get("ContentSequence", ())],
        str(dataset.get("ObservationDateTime", "")),
        str(dataset.get("ObservationUID", "")),
        str(template[0].TemplateIdentifier) if template else "",
    )


def _code(dataset: Dataset, keyword: str) -> Code | None:
    sequence = dataset.get(keyword)
    if not sequence:
        return None
    item = sequence[0]
    return Code(
        str(item.get("CodeValue", "")),
        str(item.get("CodingSchemeDesignator", "")),
        str(item.get("CodeMeaning", "")),
        str(item.get("CodingSchemeVersion", "")),
    )


def _value(dataset: Dataset, value_type: str) -> Value:
    if value_type == "CODE":
        return _code(dataset, "ConceptCodeSequence")
    if value_type == "NUM":
        [measured] = dataset.MeasuredValueSequence
        return Numeric(str(measured.NumericValue), _code(measured, "MeasurementUnitsCodeSequence"))
    return str(dataset.get(VALUES[value_type], ""))
