"""The values of published records as typed objects (contracts section 4): what consumers read, and what `schemas/` is made of."""

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from plscp.publish.envelope import BARRIER
from plscp.templates.entries import ENTRY_KINDS, AnyEntry
from plscp.templates.log_entries import LogContext
from plscp.templates.substance import SubstanceAdministered
from plscp.templates.values import Model

KINDS: Final = (*ENTRY_KINDS, "untyped")
"""Kinds of entry that have a class of their own."""
LATER: Final = "later"

Status = Annotated[str, Field(pattern="^[0-9A-F]{4}$", examples=["0000", "B102"])]
"""A DIMSE status."""


class UnknownEntry(Model):
    """An entry of a kind that this version has no class for: a later version of plscp wrote it. Everything is kept."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(json_schema_extra={"not": {"enum": [*KINDS]}})
    template: str = ""


def _kind(entry: Any) -> str:
    kind = entry.get("kind") if isinstance(entry, dict) else getattr(entry, "kind", None)
    return "known" if kind in KINDS else LATER


PublishedEntry = Annotated[
    Annotated[AnyEntry, Tag("known")] | Annotated[UnknownEntry, Tag(LATER)],
    Discriminator(_kind),
]
"""Any entry of a Procedure Log, told apart by `kind`; consumers meet new kinds before they know them."""


class PublishedFinding(Model):
    """What plscp noticed about a request or entry; `reason` holds nothing that a device sent."""

    code: str = Field(description="Kebab-case, from a closed list.", examples=["outside-context-group"])
    reason: str
    path: str = Field(default="", description="Positions of content items, 1-based, or an attribute tag.")
    template: str = Field(default="", examples=["TID3106"])
    row: str = Field(default="", description="Of that template's table.")
    refuse: bool = Field(default=False, description="This alone refuses the request.")
    positions: list[int] = Field(default=[], description="Of the entries that it is about.")


class Identifier(Model):
    """A Patient ID; the issuer is empty where none is known."""

    id: str
    issuer: str


class StudyReference(Model):
    """The study that the entry belongs to, as the registry had it."""

    study_instance_uid: str
    study_id: str
    accession_number: str
    location: str


class Candidate(Model):
    """A study or patient that was considered; `why_not` is empty for the one that was taken."""

    what: str
    why_not: str


class MatchResult(Model):
    """How the study or patient was found, in short."""

    rule: str = Field(description="Empty where none was found.")
    status: Status = Field(description="What the request was answered with.")
    warnings: list[Status] = Field(description="Every warning that applied.")
    registry_position: int = Field(description="The last registry change that was known.")


class Match(MatchResult):
    """How the study or patient was found."""

    given: dict[str, str] = Field(description="Identifiers in the request, by name.")
    found: dict[str, str] = Field(description="The same of what was found.")
    candidates: list[Candidate]


class Sender(Model):
    """Who sent the request."""

    ae_title: str = Field(description="Calling AE title.")
    location: str = Field(description="As configured.")
    address: str = Field(description="IP address.")


class Occurred(Model):
    """When it happened."""

    time: AwareDatetime = Field(description="UTC; the earliest moment where the device gave no exact one.")
    until: AwareDatetime | None = Field(description="The latest moment, where that is another.")
    text: str = Field(description="As sent: DICOM DT.")
    basis: str = Field(description="Whose offset from UTC was used.", examples=["own", "request", "device", "server"])
    synchronized: bool = Field(description="Whether the device's clock is known to be right.")
    clock_difference_seconds: float | None = Field(
        description="By how much the device's clock is estimated to be behind; nothing is corrected."
    )


class Placed(Model):
    """What every record has."""

    event_id: str = Field(description="Stable: the same in every repeat; `ce_id`.")
    position: int = Field(ge=1, description="Place in the order of everything of one store.")


class _Sent(Placed):
    """What records of requests have."""

    request_id: str
    recorded: AwareDatetime = Field(description="When it was committed, UTC.")
    sender: Sender
    findings: list[PublishedFinding]


class _Accepted(_Sent):
    """What accepted entries have."""

    entry_index: int = Field(ge=0, description="Among the entries of its request.")
    entry_count: int = Field(ge=1)
    same_content_as: str | None = Field(
        description="Event id of an entry of an earlier request that was equal to this one."
    )
    observation_uid: str | None
    occurred: Occurred
    patient: Identifier
    match: Match


class EntryRecord(_Accepted):
    """One entry of a Procedure Log (PS3.4 P.2), with the study and patient that it belongs to."""

    study: StudyReference
    context: LogContext = Field(description="What the entry inherits from its log: observers, procedure, room.")
    entry: PublishedEntry


class AdministrationRecord(_Accepted):
    """One administration of a substance (PS3.4 P.3), with the patient that it belongs to."""

    study: StudyReference | None
    entry: SubstanceAdministered


class RefusalRecord(_Sent):
    """A request that was refused. What was sent is kept in quarantine, under `dataref`."""

    status: Status
    status_name: str
    comment: str = Field(description="Error Comment (0000,0902).")
    sop_class: str
    match: Match | None
    entry_kinds: list[str] = Field(
        default=[],
        description="Kinds of the entries that the request holds, each once; empty where they could not be read.",
        examples=[["drug_administered"]],
    )
    dataref: str = Field(description="Path below the server's HTTP address.")


class Stay(Model):
    """A study's time at a location; `left` is None while it is there."""

    location: str
    arrived: AwareDatetime
    left: AwareDatetime | None
    confirmed: AwareDatetime | None = Field(
        default=None, description="When a device there named it while another patient's study was there as well."
    )


class StudyChange(Model):
    """A study as it is from this position on."""

    what: str = Field(examples=["study.opened", "study.scheduled", "study.updated", "study.closed", "study.cancelled"])
    study_instance_uid: str
    study_id: str
    accession_number: str
    patient: Identifier
    location: str = Field(description="Where it is, was last, or is planned.")
    status: str = Field(examples=["scheduled", "open", "closed", "cancelled"])
    planned: AwareDatetime | None = Field(default=None, description="When it is to begin, as the order says.")
    opened: AwareDatetime | None
    closed: AwareDatetime | None = Field(description="When it was closed or cancelled.")
    stays: list[Stay] = Field(description="Oldest first.")
    steps: list[str] = Field(description="UIDs of the procedure steps in progress.")
    reason: str = Field(
        default="",
        description="Why, where that cannot be seen from the study itself.",
        examples=["patient-identifier", "room-confirmed", "room-turnover"],
    )


class PatientChange(Model):
    """A patient's identifiers as they are from this position on; demographics only where they are configured."""

    what: str = Field(examples=["patient.changed", "patient.merged"])
    id: str
    issuer: str
    key: str = Field(description="Issuer and Patient ID as first seen: the record's key, for good.")
    other_ids: list[Identifier]
    former_ids: list[Identifier] = Field(description="Merged away or changed; they go on naming the patient.")
    placeholder: str = Field(description="What came in place of a Patient ID, where plscp made this one.")
    was: Identifier | None = Field(default=None, description="The identifier until now, where it changed.")
    merged: Identifier | None = Field(default=None, description="The identifier that was merged into this patient.")
    name: str | None = None
    birth_date: str | None = Field(default=None, description="YYYYMMDD.")
    sex: str | None = None


class _Changed(Placed):
    """What registry changes have."""

    recorded: AwareDatetime = Field(description="When it was committed, UTC.")
    source: str = Field(description="Who said so.", examples=["http", "file", "server"])


class StudyRecord(_Changed):
    """A study was scheduled, opened, changed, closed or cancelled."""

    change: StudyChange


class PatientRecord(_Changed):
    """A patient's identifiers changed, or two patients turned out to be one."""

    change: PatientChange


class ReducedRecord(Placed):
    """What is left of a record that was too large for Kafka: who and where; the whole of it is under `dataref`."""

    reduced: Literal["too-large"]
    dataref: str = Field(description="Path below the server's HTTP address.")
    request_id: str | None = None
    entry_index: int | None = None
    entry_count: int | None = None
    recorded: AwareDatetime | None = None
    occurred: Occurred | None = None
    observation_uid: str | None = None
    study: StudyReference | None = None
    patient: Identifier | None = None
    sender: Sender | None = None
    same_content_as: str | None = None
    source: str | None = None
    match: Match | MatchResult | None = None


class RelayStarted(Model):
    """The relay's barrier: it began to write to this partition anew. No position; consumers pass it over."""

    store: str = Field(description="Id of the event store.")


Whole = EntryRecord | AdministrationRecord | RefusalRecord | StudyRecord | PatientRecord
Record = Whole | ReducedRecord

RECORDS: Final[dict[str, type[Whole]]] = {
    "org.plscp.procedure-log.entry.v1": EntryRecord,
    "org.plscp.medication-administration.v1": AdministrationRecord,
    "org.plscp.request.refused.v1": RefusalRecord,
    "org.plscp.study.opened.v1": StudyRecord,
    "org.plscp.study.updated.v1": StudyRecord,
    "org.plscp.study.closed.v1": StudyRecord,
    "org.plscp.study.cancelled.v1": StudyRecord,
    "org.plscp.patient.changed.v1": PatientRecord,
    "org.plscp.patient.merged.v1": PatientRecord,
}
"""What the value of each CloudEvents type is, but for the barrier; each may come reduced."""


def _whole(value: Any) -> str:
    reduced = "reduced" in value if isinstance(value, dict) else isinstance(value, ReducedRecord)
    return "reduced" if reduced else "whole"


def _adapter(model: Any) -> TypeAdapter[Any]:
    either: Any = Annotated[
        Annotated[model, Tag("whole")] | Annotated[ReducedRecord, Tag("reduced")], Discriminator(_whole)
    ]
    return TypeAdapter(either)


ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {
    **{kind: _adapter(model) for kind, model in RECORDS.items()},
    BARRIER: TypeAdapter(RelayStarted),
}


def read(kind: str, value: bytes) -> Record:
    """A record's value, typed. Members that a later version added are passed over.

    Args:
        kind: `ce_type`.
        value: JSON in UTF-8.

    Raises:
        ValueError: it is no value of that type, or the type is not known; says where, but nothing of the content.
    """
    if kind not in RECORDS:
        raise ValueError(f"{kind or 'none'} is not a type that this version knows")
    try:
        read: Record = ADAPTERS[kind].validate_json(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part not in {"whole", "known"}) or "value"
        raise ValueError(f"{where}: {first['msg']}") from None
    return read
