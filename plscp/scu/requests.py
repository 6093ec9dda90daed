"""Requests from typed entries: what a vendor writes instead of elements and sequences.

    request = ProcedureLogRequest(
        patient_id="4711",
        context=device_observer("1.2.3", "Recorder 2"),
        entries=[DrugAdministered(
            observation_datetime=moment(datetime.now(UTC)),
            action=code("122083", "DCM"), drug=code("84812008", "SCT", "Heparin"), dose=quantity("5000", "[iU]"),
        )],
    )
    request.encode("1.2.840.10008.1.2")

What is written is what the server reads back as the same typed entries; it is held against the server's own checks first.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from plscp.content.codes import meaning_of
from plscp.content.model import Bounds, Code
from plscp.content.reader import EXPLICIT_LITTLE, decode
from plscp.content.writing import code_item, dataset, others
from plscp.errors import Refused
from plscp.findings import Finding
from plscp.scu.encoding import data_set, encode
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates import values
from plscp.templates.entries import AnyEntry
from plscp.templates.log_entries import LogContext
from plscp.templates.observation_context import DeviceObserver, Observer, PersonObserver
from plscp.templates.procedure_log import log_root, read_log
from plscp.templates.request import ProcedureLog, SubstanceAdministration
from plscp.templates.rows import CONTAINS
from plscp.templates.substance import NUMERIC, PARAMETERS, SubstanceAdministered, read_administration
from plscp.templates.values import Amount, Coded, CodeValue, Item, Moment, PersonName, Quantity, Text

PLENTY: Final = Bounds(data_set=1 << 24, elements=1 << 20)
"""What is written is not held against a server's settings."""
UTC_FRAME_OF_REFERENCE: Final = "1.2.840.10008.15.1.1"
"""The UTC Synchronization UID (PS3.3 C.7.4.2.1.1)."""
CATH_LAB_LOG: Final = Code("121120", "DCM", "Cath Lab Procedure Log")
APART: Final = timedelta(milliseconds=1)
"""Between the DateTimes of one request's entries, which must rise strictly (PS3.3 A.35.7.3.1.2)."""


class _Request(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid")
    sop_class: ClassVar[str]

    patient_id: str = ""
    timezone_offset: str = Field(default="", description="Timezone Offset From UTC (0008,0201), +HHMM or -HHMM.")

    def dataset(self, *, check: bool = True) -> Dataset:
        """Action Information of the request; `check`: held against every check of the server that needs no registry.

        Raises:
            Refused: a strict server would refuse it; the findings say where and why.
        """
        made = self._dataset()
        if self.timezone_offset:
            made.TimezoneOffsetFromUTC = self.timezone_offset
        made.SpecificCharacterSet = "ISO_IR 192"
        if check:
            self._checked(made)
        return made

    def encode(self, transfer_syntax: str = EXPLICIT_LITTLE, *, check: bool = True) -> bytes:
        """As `dataset`, encoded in one of `plscp.scu.encoding.SYNTAXES`."""
        return encode(self.dataset(check=check), transfer_syntax)

    def findings(self) -> Sequence[Finding]:
        """What a server would refuse or note about it under a strict profile."""
        try:
            made = self._checked(self.dataset(check=False))
        except Refused as refused:
            return refused.findings
        entries = made.entries if isinstance(made, ProcedureLog) else [made.entry]
        return [*made.findings, *(finding for entry in entries for finding in entry.findings)]

    @abstractmethod
    def _dataset(self) -> Dataset: ...

    def _checked(self, made: Dataset) -> ProcedureLog | SubstanceAdministration:
        decoded = decode(encode(made), EXPLICIT_LITTLE, calling_ae="", sop_class=self.sop_class, bounds=PLENTY)
        typed = read_log if self.sop_class == PROCEDURAL_EVENT_LOGGING else read_administration
        return typed(decoded, strict=True)


class ProcedureLogRequest(_Request):
    """A Procedural Event: identifiers, who reports in which procedure and room, and what happened, in order of time."""

    sop_class: ClassVar[str] = PROCEDURAL_EVENT_LOGGING

    study_instance_uid: str = ""
    study_id: str = ""
    performed_location: str = ""
    synchronization_frame_of_reference_uid: str = UTC_FRAME_OF_REFERENCE
    context: LogContext = LogContext()
    entries: Sequence[AnyEntry] = Field(min_length=1)

    def _dataset(self) -> Dataset:
        root = log_root(self.context, self.entries)
        root.concept, root.value = root.concept or CATH_LAB_LOG, root.value or "SEPARATE"
        root.template = root.template or "3001"
        made = dataset(root)
        made.PatientID, made.StudyInstanceUID, made.StudyID = self.patient_id, self.study_instance_uid, self.study_id
        made.SynchronizationFrameOfReferenceUID = self.synchronization_frame_of_reference_uid
        made.PerformedLocation = self.performed_location
        return made


_PLAIN: Final = {
    "SubstanceAdministrationNotes": "notes",
    "SubstanceAdministrationDeviceID": "device_id",
    "ProductPackageIdentifier": "package_identifier",
    "ProductDescription": "product_description",
    "AdmissionID": "admission_id",
    "IssuerOfAdmissionID": "issuer_of_admission_id",
}


class SubstanceAdministrationRequest(_Request):
    """A Substance Administration: to whom, and what was given (PS3.4 Table P.3-2)."""

    sop_class: ClassVar[str] = SUBSTANCE_ADMINISTRATION_LOGGING

    issuer_of_patient_id: str = ""
    administration: SubstanceAdministered

    def _dataset(self) -> Dataset:
        given, made = self.administration, Dataset()
        for keyword, value in (
            ("PatientID", self.patient_id),
            ("IssuerOfPatientID", self.issuer_of_patient_id),
            *((keyword, getattr(given, name)) for keyword, name in _PLAIN.items()),
        ):
            if value:
                setattr(made, keyword, value)
        made.PatientName = given.patient_name or ""
        made.SubstanceAdministrationDateTime = given.administered.text
        if given.product_names:
            made.ProductName = given.product_names
        made.AdministrationRouteCodeSequence = [code_item(values.code_of(given.route))] if given.route else []
        made.OperatorIdentificationSequence = [
            data_set(PersonIdentificationCodeSequence=[code_item(values.code_of(operator))])
            for operator in given.operators
        ]
        parameters = [
            _parameter(CodeValue(value=key[0], scheme=key[1], meaning=meaning_of(key)), value)
            for key, name in PARAMETERS.items()
            if (value := getattr(given, name)) is not None
        ]
        parameters += [_any_parameter(one) for one in given.parameters]
        if parameters:
            made.SubstanceAdministrationParameterSequence = parameters
        others(made, values.raw(given.elements))
        return made


def _parameter(concept: CodeValue | None, amount: Amount | None) -> Dataset:
    """An item of the Content Item Macro whose number stands beside its concept (PS3.3 Table 10-2)."""
    made = data_set(ValueType=NUMERIC)
    if concept is not None:
        made.ConceptNameCodeSequence = [code_item(values.code_of(concept))]
    if amount is not None:
        made["NumericValue"] = DataElement("NumericValue", "DS", amount.text or "")
        if amount.unit is not None:
            made.MeasurementUnitsCodeSequence = [code_item(values.code_of(amount.unit))]
    return made


def _any_parameter(item: Item) -> Dataset:
    if item.value_type != NUMERIC:
        return dataset(values.whole_item(item))
    made = _parameter(item.concept, item.quantity)
    if item.observation_datetime is not None:
        made.ObservationDateTime = item.observation_datetime.text
    others(made, values.raw(item.item_elements))
    return made


# --- values, as one says them ---


def code(value: str, scheme: str, meaning: str = "") -> CodeValue:
    """A code; without `meaning` it gets that of PS3.16, as much of it as an LO holds."""
    return CodeValue(value=value, scheme=scheme, meaning=meaning or meaning_of((value, scheme))[:64].rstrip())


def coded(value: str, scheme: str, meaning: str = "", **more: Any) -> Coded:
    """A CODE item below an entry; `more` are its members, as `concept`."""
    return Coded(**code(value, scheme, meaning).model_dump(exclude_none=True), **more)


def quantity(value: str | float, unit: str, **more: Any) -> Quantity:
    """A NUM item: a decimal string or a number, and a UCUM unit."""
    return Quantity(text=str(value), value=float(value), unit=code(unit, "UCUM", unit), **more)


def amount(value: str | float, unit: str) -> Amount:
    """A number with its UCUM unit, as an administration has it."""
    return Amount(text=str(value), value=float(value), unit=code(unit, "UCUM", unit))


def text(value: str, **more: Any) -> Text:
    """A TEXT or UIDREF item."""
    return Text(text=value, **more)


def person(name: str, **more: Any) -> PersonName:
    """A PNAME item: family, given, middle, prefix and suffix with carets between them."""
    return PersonName(text=name, **more)


def moment(when: datetime) -> Moment:
    """An aware time with microseconds, in UTC."""
    return Moment(text=when.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f+0000"), precision="fraction")


def device_observer(uid: str, name: str = "", model_name: str = "", **more: Any) -> LogContext:
    """A context whose observer is the sending device (TID 1004); `more` are members of the context, as `room`."""
    device = DeviceObserver(
        uid=text(uid), name=text(name) if name else None, model_name=text(model_name) if model_name else None
    )
    return LogContext(observers=[Observer(type=coded("121007", "DCM"), device=device)], **more)


def person_observer(name: str, **more: Any) -> LogContext:
    """A context whose observer is a person (TID 1003)."""
    return LogContext(observers=[Observer(person=PersonObserver(name=person(name)))], **more)


# --- times ---


def times(last: datetime, count: int) -> list[str]:
    """The DateTimes of a request's entries: a millisecond apart, up to the last one's."""
    return [moment(last - APART * (count - 1 - place)).text for place in range(count)]


def stamp(dataset: Dataset, when: datetime) -> None:
    """Set in Action Information when it happened: the administration, or the last first-level entry, those before a millisecond apart."""
    if "ContentSequence" not in dataset:
        dataset.SubstanceAdministrationDateTime = moment(when).text
        return
    entries = [child for child in dataset.ContentSequence if child.RelationshipType == CONTAINS]
    for entry, its in zip(entries, times(when, len(entries)), strict=True):
        entry.ObservationDateTime = its
