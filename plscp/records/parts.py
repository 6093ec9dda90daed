"""What is published, but for what comes from templates: the parts of a record's value, and how they become bytes (contract section 4).

A value is stored in up to three parts: the lead, which the store makes when the position is known; what the entries of a
request share; and the record's own. Each is a class that `plscp.records.values` composes records of, and its bytes come from
that class's serializer. The record's type is kept beside them and joins them when the value is read.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic_core import from_json, to_json

from plscp.findings import Finding

ENTRY_TYPE: Final = "org.plscp.procedure-log.entry.v1"
ADMINISTRATION_TYPE: Final = "org.plscp.medication-administration.v1"
REFUSED_TYPE: Final = "org.plscp.request.refused.v1"
STUDY_TYPES: Final = tuple(f"org.plscp.study.{what}.v1" for what in ("opened", "updated", "closed", "cancelled"))
PATIENT_TYPES: Final = tuple(f"org.plscp.patient.{what}.v1" for what in ("changed", "merged"))
BARRIER: Final = "org.plscp.relay.started.v1"
PROPOSED_TYPE: Final = "org.plscp.correction.proposed.v1"
"""Of a proposed correction: kept, not published."""
SETTLED_TYPE: Final = "org.plscp.correction.settled.v1"
"""Of what became of a proposed correction that moved nothing: kept, not published."""
WITHDRAWN_TYPE: Final = "org.plscp.event.withdrawn.v1"
ASSIGNED_TYPE: Final = "org.plscp.event.assigned.v1"
EXPUNGED_TYPE: Final = "org.plscp.raw.expunged.v1"
"""Of the event that says that raw bytes were deleted: kept, not published."""

STORE: Final = "store"
POSITION: Final = "position"
PARTITIONS: Final = "partitions"
"""Headers beside those of CloudEvents."""


class Part(BaseModel):
    """Base of all that is published: members that a newer version adds are passed over."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    def encoded(self) -> bytes:
        """A JSON object; what was not given is left out."""
        return self.__pydantic_serializer__.to_json(self, exclude_unset=True)

    def members(self) -> bytes:
        """The members of that object."""
        return self.encoded()[1:-1]


def joined(lead: bytes, context: bytes | None, data: bytes) -> bytes:
    """A value as it is stored: `lead` begins with the opening brace, the others are members; each of them may be empty."""
    return b",".join(filter(None, (lead, context, data))) + b"}"


def value(kind: str, lead: bytes, context: bytes | None, data: bytes) -> bytes:
    """A value as it is published: its type, and what is stored of it."""
    return b'{"type":"%b",%b' % (kind.encode(), joined(lead, context, data)[1:])


def utc(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    return _spelled(moment.astimezone(UTC))  # the two readings of a repeated hour are equal until they are in UTC


@lru_cache(maxsize=1024)
def _spelled(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


When = Annotated[AwareDatetime, PlainSerializer(utc, return_type=str, when_used="json")]
Status = Annotated[str, Field(pattern="^[0-9A-F]{4}$", examples=["0000", "B102"])]
"""A DIMSE status."""


# --- what several records have ---


class PublishedFinding(Part):
    """What plscp noticed about a request or entry; `reason` holds nothing that a device sent."""

    code: str = Field(description="Kebab-case, from a closed list.", examples=["outside-context-group"])
    reason: str
    path: str = Field(default="", description="Positions of content items, 1-based, or an attribute tag.")
    template: str = Field(default="", examples=["TID3106"])
    row: str = Field(default="", description="Of that template's table.")
    refuse: bool = Field(default=False, description="This alone refuses the request.")
    positions: list[int] = Field(default_factory=list, description="Of the entries that it is about.")


@lru_cache(maxsize=1024)
def published(finding: Finding) -> PublishedFinding:
    """A finding without the members that say nothing. A device that does something its own way does it in every request."""
    return PublishedFinding(**finding.as_json())


class Identifier(Part):
    """A Patient ID; the issuer is empty where none is known."""

    id: str
    issuer: str


class StudyReference(Part):
    """The study that the entry belongs to, as the registry had it."""

    study_instance_uid: str
    study_id: str
    accession_number: str
    location: str


class Candidate(Part):
    """A study or patient that was considered; `why_not` is empty for the one that was taken."""

    what: str
    why_not: str


class EventPlace(Part):
    """A study and patient under which an event stands, or stood."""

    study_instance_uid: str = Field(description="Empty for an administration.")
    patient: Identifier


class Correction(Part):
    """The correction that moves an entry: each entry that it moves has a withdrawn and an assigned record of it."""

    id: str = Field(description="The same in every record of the correction.")
    event_id: str = Field(description="Of the entry that is moved, as it was published first.")
    event_position: int = Field(ge=1, description="Of that record.")
    moved_from: EventPlace
    moved_to: EventPlace
    who: str = Field(description="Who had it done, as far as that is known.")
    why: str
    reverts: str = Field(default="", description="Id of the correction that this one takes back.")


class MatchClock(Part):
    """What was known of the device's clock when its times had a say."""

    state: Literal["known", "slow", "fast", "unknown", "untrusted"] = Field(
        description="slow: or what it sends is delayed, which looks the same; untrusted: by the settings."
    )
    difference_seconds: float | None = Field(
        description="By how much the clock was measured to be behind, negative for a fast one; null: not measured."
    )


class MatchResult(Part):
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
    clock: MatchClock | None = Field(
        default=None, description="The device's clock, where it had a say in which study or patient was found."
    )


class Sender(Part):
    """Who sent the request."""

    ae_title: str = Field(description="Calling AE title.")
    location: str = Field(description="As configured.")
    address: str = Field(description="IP address.")


class Occurred(Part):
    """When it happened."""

    time: When = Field(description="UTC; the earliest moment where the device gave no exact one.")
    until: When | None = Field(description="The latest moment, where that is another.")
    text: str = Field(description="As sent: DICOM DT.")
    basis: str = Field(description="Whose offset from UTC was used.", examples=["own", "request", "device", "server"])
    synchronized: bool = Field(description="Whether the device's clock is known to be right.")
    clock_difference_seconds: float | None = Field(
        description="By how much the device's clock is estimated to be behind; nothing is corrected."
    )


# --- leads ---


class Placed(Part):
    """What every record has."""

    type: str = Field(default="", description="CloudEvents type, as the header `ce_type` says it.")
    event_id: str = Field(description="Stable: the same in every repeat; `ce_id`.")
    position: int = Field(ge=1, description="Place in the order of everything of one store.")


class Lead(Placed):
    """What the store says of every event that it keeps."""

    recorded: When = Field(description="When it was committed, UTC.")


class Replayed(Part):
    """That an entry was not accepted when its device sent it, but later, out of quarantine."""

    time: When = Field(description="When it was replayed, UTC.")
    source: str = Field(description="Who had it replayed; the server: by itself.", examples=["http", "server"])
    arrived: When = Field(description="When the device had sent its request first, UTC.")


class EntryLead(Lead):
    """Of an accepted entry."""

    request_id: str
    entry_index: int = Field(ge=0, description="Among the entries of its request.")
    entry_count: int = Field(ge=1)
    same_content_as: str | None = Field(
        description="Event id of an entry of an earlier request that was equal to this one."
    )
    findings: list[PublishedFinding]
    replayed: Replayed | None = Field(default=None, description="Of an entry that was accepted out of quarantine.")


class RefusalLead(Lead):
    """Of a refused request."""

    request_id: str
    dataref: str = Field(description="Path below the server's HTTP address.")


class ChangeLead(Lead):
    """Of a registry change, of a proposed one, and of what was deleted for its age."""

    source: str = Field(description="Who said so.", examples=["http", "file", "server", "hl7", "mpps", "worklist"])
    message: str = Field(default="", description="Of a feed: what identifies its message that said so.")


# --- records that are whole without templates ---


class Refusal(Part):
    """A refusal but for its lead."""

    sender: Sender
    findings: list[PublishedFinding]
    status: Status
    status_name: str
    comment: str = Field(description="Error Comment (0000,0902).")
    sop_class: str
    match: Match | None
    entry_kinds: list[str] = Field(
        default_factory=list,
        description="Kinds of the entries that the request holds, each once; empty where they could not be read.",
        examples=[["drug_administered"]],
    )


class RefusalRecord(Refusal, RefusalLead):
    """A request that was refused. What was sent is kept in quarantine, under `dataref`."""


class Stay(Part):
    """A study's time at a location; `left` is None while it is there."""

    location: str
    arrived: AwareDatetime
    left: AwareDatetime | None
    confirmed: AwareDatetime | None = Field(
        default=None, description="When a device there named it while another patient's study was there as well."
    )


class StudyOrder(Part):
    """An order of a study: the number that the placer gave it, and the filler's."""

    placer: str
    filler: str


class StudyChange(Part):
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
    orders: list[StudyOrder] | None = Field(
        default=None, description="Those that stand, as far as feeds have said their numbers."
    )
    reason: str = Field(
        default="",
        description="Why, where that cannot be seen from the study itself.",
        examples=["patient-identifier", "room-confirmed", "room-turnover"],
    )


class PatientChange(Part):
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


class StudyRecord(ChangeLead):
    """A study was scheduled, opened, changed, closed or cancelled."""

    change: StudyChange


class PatientRecord(ChangeLead):
    """A patient's identifiers changed, or two patients turned out to be one."""

    change: PatientChange


class Withdrawn(Part):
    """What a withdrawn record has beside its lead."""

    correction: Correction


class WithdrawnRecord(Withdrawn, Lead):
    """An entry stands no more under this record's key. The next position is its `assigned` record, under the key of its new place."""


class KeptChange(Part):
    """What the store keeps of a change as its planner said it: the registry applies just that."""

    change: dict[str, Any]


class Expunged(Part):
    """Whose raw bytes were deleted; not published."""

    expunged: dict[str, int]


class ReducedRecord(Placed):
    """What is left of a record that was too large for Kafka: who and where; the whole of it is under `dataref`."""

    reduced: Literal["too-large"]
    dataref: str = Field(description="Path below the server's HTTP address.")
    request_id: str | None = None
    entry_index: int | None = None
    entry_count: int | None = None
    recorded: When | None = None
    occurred: Occurred | None = None
    observation_uid: str | None = None
    study: StudyReference | None = None
    patient: Identifier | None = None
    sender: Sender | None = None
    same_content_as: str | None = None
    source: str | None = None
    match: Match | MatchResult | None = None
    correction: Correction | None = None


SMALL_BYTES: Final = 2048
"""JSON of the longest member that a reduced record keeps beside its ids."""


def reduced(value: bytes, position: int) -> bytes:
    """The value of a record that is too large: identity, match and a `dataref`, nothing that a device can make long."""
    whole: dict[str, Any] = from_json(value)
    match = whole.pop("match", None)
    short = {
        name: whole[name]
        for name in ReducedRecord.model_fields
        if name in whole and (name in Placed.model_fields or len(to_json(whole[name])) <= SMALL_BYTES)
    }
    if isinstance(match, dict):
        result = {name: match[name] for name in MatchResult.model_fields if name in match}
        short["match"] = match if len(to_json(match)) <= SMALL_BYTES else result
    short |= {
        "position": position,
        "dataref": whole.get("dataref") or f"/api/v1/events/{position}",
        "reduced": "too-large",
    }
    return to_json(short)


class RelayStarted(Part):
    """The relay's barrier: it began to write to this partition anew. No position; consumers pass it over."""

    type: str = Field(default="", description="CloudEvents type, as the header `ce_type` says it.")
    store: str = Field(description="Id of the event store.")
