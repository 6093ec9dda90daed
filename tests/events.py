"""Small N-ACTION data sets for tests of the whole way, made with pydicom; the templates' own tests build richer ones."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from tests.rawscu import SYNTAXES

NOTE = ("121174", "DCM", "Procedure Note")
_unique = itertools.count(1)


def code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    """A code sequence of one item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def item(
    relationship: str, value_type: str, concept: tuple[str, str, str], children: Sequence[Dataset] = ()
) -> Dataset:
    """A content item without its value."""
    made = Dataset()
    made.RelationshipType, made.ValueType = relationship, value_type
    made.ConceptNameCodeSequence = code(*concept)
    if children:
        made.ContentSequence = list(children)
    return made


def text(relationship: str, concept: tuple[str, str, str], value: str) -> Dataset:
    """A TEXT item."""
    made = item(relationship, "TEXT", concept)
    made.TextValue = value
    return made


def coded(relationship: str, concept: tuple[str, str, str], value: tuple[str, str, str], *children: Dataset) -> Dataset:
    """A CODE item."""
    made = item(relationship, "CODE", concept, children)
    made.ConceptCodeSequence = code(*value)
    return made


def number(relationship: str, concept: tuple[str, str, str], value: str, unit: str) -> Dataset:
    """A NUM item with a UCUM unit."""
    made = item(relationship, "NUM", concept)
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = code(unit, "UCUM", unit)
    made.MeasuredValueSequence = [measured]
    return made


def when(moment: datetime) -> str:
    """A DT in UTC with microseconds."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f") + "+0000"


def at(entry: Dataset, moment: datetime) -> Dataset:
    """The entry with its Observation DateTime."""
    entry.ObservationDateTime = when(moment)
    return entry


def note(moment: datetime, words: str = "") -> Dataset:
    """A log note (TID 3001 row 6)."""
    return at(text("CONTAINS", NOTE, words or f"note {next(_unique)}"), moment)


def drug(moment: datetime, dose: str = "5000") -> Dataset:
    """A drug administered (TID 3106)."""
    return at(
        coded(
            "CONTAINS",
            ("122083", "DCM", "Drug administered"),
            ("84812008", "SCT", "Heparin"),
            number("HAS PROPERTIES", ("122092", "DCM", "Undiluted dose administered"), dose, "[iU]"),
        ),
        moment,
    )


def observer(name: str = "Hemo^Dynamic") -> Dataset:
    """A person observer (TID 1003)."""
    made = item("HAS OBS CONTEXT", "PNAME", ("121008", "DCM", "Person Observer Name"))
    made.PersonName = name
    return made


def procedural(
    entries: Sequence[Dataset],
    *,
    study: str = "",
    patient: str = "",
    study_id: str = "",
    location: str = "",
    frame: str = "1.2.840.10008.15.1.1",
) -> Dataset:
    """Action Information of Table P.2-2."""
    made = Dataset()
    made.PatientID, made.StudyInstanceUID, made.StudyID = patient, study, study_id
    made.SynchronizationFrameOfReferenceUID, made.PerformedLocation = frame, location
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = code("121120", "DCM", "Cath Lab Procedure Log")
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "3001"
    made.ContentTemplateSequence = [template]
    made.ContentSequence = [observer(), *entries]
    return made


def substance(
    moment: datetime,
    *,
    patient: str = "",
    admission: str = "",
    product: str = "Heparin 5000 IU",
    operator: tuple[str, str, str] = ("N1001", "L", "Nurse"),
) -> Dataset:
    """Action Information of Table P.3-2."""
    made = Dataset()
    if patient:
        made.PatientID = patient
    if admission:
        made.AdmissionID = admission
    made.PatientName = ""
    made.ProductName = product
    made.SubstanceAdministrationDateTime = when(moment)
    made.AdministrationRouteCodeSequence = []
    who = Dataset()
    who.PersonIdentificationCodeSequence = code(*operator)
    made.OperatorIdentificationSequence = [who]
    return made


def encoded(dataset: Dataset, syntax: str = SYNTAXES[1]) -> bytes:
    """The data set as it goes over the wire."""
    raw = encode(dataset, syntax == SYNTAXES[0], syntax != SYNTAXES[2], deflated=syntax == SYNTAXES[3])
    assert raw is not None
    return bytes(BytesIO(raw).getvalue())


def now(seconds: float = 0) -> datetime:
    """The time now, shifted."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
