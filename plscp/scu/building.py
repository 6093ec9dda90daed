"""Action Information as an SCU writes it: content items and administrations as values, and the data sets made from them.

Times are not part of an event: a data set is made at the moment of sending and every DateTime in it is that moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydicom.dataset import Dataset

from plscp.content import writing
from plscp.content.model import Code, ContentItem, Numeric, Reference

CONTAINS, PROPERTY = "CONTAINS", "HAS PROPERTIES"
OBSERVER, ACQUISITION, MODIFIER = "HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD"
UTC_FRAME_OF_REFERENCE = "1.2.840.10008.15.1.1"
"""The UTC Synchronization UID (PS3.3 C.7.4.2.1.1)."""
CATH_LAB_LOG = Code("121120", "DCM", "Cath Lab Procedure Log")
APART = timedelta(milliseconds=1)
"""Between the DateTimes of one request's entries, which must rise strictly (PS3.3 A.35.7.3.1.2)."""

Concept = Code | tuple[str, str, str]


def _code(concept: Concept) -> Code:
    return Code(*concept[:3])


def text(concept: Concept, value: str, *children: ContentItem, rel: str = PROPERTY) -> ContentItem:
    """A TEXT item."""
    return ContentItem(rel, "TEXT", _code(concept), value, list(children))


def coded(concept: Concept, value: Concept, *children: ContentItem, rel: str = PROPERTY) -> ContentItem:
    """A CODE item."""
    return ContentItem(rel, "CODE", _code(concept), _code(value), list(children))


def number(concept: Concept, value: str, units: str, *children: ContentItem, rel: str = PROPERTY) -> ContentItem:
    """A NUM item; `units` is a UCUM code."""
    return ContentItem(rel, "NUM", _code(concept), Numeric(value, Code(units, "UCUM", units)), list(children))


def person(concept: Concept, name: str, *children: ContentItem, rel: str = PROPERTY) -> ContentItem:
    """A PNAME item."""
    return ContentItem(rel, "PNAME", _code(concept), name, list(children))


def uid(concept: Concept, value: str, *children: ContentItem, rel: str = PROPERTY) -> ContentItem:
    """A UIDREF item."""
    return ContentItem(rel, "UIDREF", _code(concept), value, list(children))


def image(concept: Concept, sop_class: str, instance: str, *children: ContentItem) -> ContentItem:
    """An IMAGE entry."""
    return ContentItem(CONTAINS, "IMAGE", _code(concept), Reference(sop_class, instance), list(children))


@dataclass(frozen=True)
class Given:
    """The identifiers that a request gives (P.2.2.1.1); empty: not given."""

    study_instance_uid: str = ""
    patient_id: str = ""
    study_id: str = ""
    performed_location: str = ""
    synchronization_frame_of_reference_uid: str = UTC_FRAME_OF_REFERENCE


@dataclass(frozen=True)
class Administration:
    """One administration as Table P.3-2 lists it, without its time.

    Attributes:
        parameters: (concept, value, UCUM unit) of Substance Administration Parameter Sequence.
        operator: code, coding scheme designator and name of who administers.
    """

    product_name: str
    operator: tuple[str, str, str]
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    admission_id: str = ""
    package_identifier: str = ""
    route: Concept | None = None
    parameters: Sequence[tuple[Concept, str, str]] = ()
    device_id: str = ""
    notes: str = ""


def moment(when: datetime) -> str:
    """DT text with microseconds and offset."""
    return when.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f+0000")


def apart(last: datetime, count: int) -> list[datetime]:
    """The times of a request's entries: a millisecond apart, up to the last one's."""
    return [last - APART * (count - 1 - place) for place in range(count)]


def code_item(concept: Concept) -> Dataset:
    """One item of a code sequence (PS3.3 Table 8.8-1)."""
    return writing.code_item(_code(concept))


def log(given: Given, root: ContentItem) -> Dataset:
    """Action Information of Table P.2-2: identifiers and a content tree."""
    made = writing.dataset(root)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientID, made.StudyInstanceUID, made.StudyID = given.patient_id, given.study_instance_uid, given.study_id
    made.SynchronizationFrameOfReferenceUID = given.synchronization_frame_of_reference_uid
    made.PerformedLocation = given.performed_location
    return made


def procedural(given: Given, context: Sequence[ContentItem], entries: Sequence[ContentItem], when: datetime) -> Dataset:
    """Action Information of Table P.2-2 with the entries as children of a TID 3001 root.

    Args:
        given: identifiers.
        context: observer and procedure context, the same in every request of a device.
        entries: what happened, in order.
        when: the last entry's Observation DateTime; those before it lie a millisecond apart.
    """
    made = log(given, ContentItem("", "CONTAINER", CATH_LAB_LOG, "SEPARATE", [*context, *entries], template="3001"))
    stamp(made, when)
    return made


def substance(given: Administration, when: datetime) -> Dataset:
    """Action Information of Table P.3-2."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for name, value in (
        ("PatientID", given.patient_id),
        ("IssuerOfPatientID", given.issuer_of_patient_id),
        ("AdmissionID", given.admission_id),
        ("ProductPackageIdentifier", given.package_identifier),
        ("SubstanceAdministrationDeviceID", given.device_id),
        ("SubstanceAdministrationNotes", given.notes),
    ):
        if value:
            setattr(made, name, value)
    made.PatientName, made.ProductName = given.patient_name, given.product_name
    made.AdministrationRouteCodeSequence = [code_item(given.route)] if given.route else []
    parameters = []
    for concept, value, units in given.parameters:
        parameter = Dataset()
        parameter.ValueType, parameter.ConceptNameCodeSequence = "NUMERIC", [code_item(concept)]
        parameter.NumericValue, parameter.MeasurementUnitsCodeSequence = value, [code_item((units, "UCUM", units))]
        parameters.append(parameter)
    if parameters:
        made.SubstanceAdministrationParameterSequence = parameters
    operator = Dataset()
    operator.PersonIdentificationCodeSequence = [code_item(given.operator)]
    made.OperatorIdentificationSequence = [operator]
    stamp(made, when)
    return made


def stamp(dataset: Dataset, when: datetime) -> None:
    """Set the time of what happened to `when`: of the administration, or of the last first-level entry, in place.

    Args:
        dataset: Action Information of either SOP Class.
        when: an aware time; entries before the last one lie a millisecond apart, strictly rising.
    """
    if "ContentSequence" not in dataset:
        dataset.SubstanceAdministrationDateTime = moment(when)
        return
    entries = [child for child in dataset.ContentSequence if child.RelationshipType == CONTAINS]
    for entry, its in zip(entries, apart(when, len(entries)), strict=True):
        entry.ObservationDateTime = moment(its)
