"""What the HTTP API answers about the registry: studies, patients, admissions, steps, operators and rooms (see `plscp.web.answers`)."""

from typing import Literal

from pydantic import AwareDatetime, Field

from plscp.records.parts import Identifier, Stay, StudyOrder
from plscp.web.answers import ApiAnswer, ApiPage, Warnings


class ChangeSource(ApiAnswer):
    """A registry change: where it stands, and who said so."""

    position: int
    time: str = Field(description="When it was made, ISO 8601, UTC.")
    what: str
    reason: str
    source: str = Field(description="`file`, `http`, `server`, or the feed.")
    message: str = Field(description="Of a feed, what identifies its message.")


class StudyHistoryChange(ChangeSource):
    """A change of a study, and what it was afterwards."""

    status: str
    location: str
    patient: Identifier


class StayHistory(Stay):
    """A stay, and the changes that said so."""

    arrived_by: ChangeSource | None
    left_by: ChangeSource | None


class OpenPeriod(ApiAnswer):
    """From an opening to what ended it."""

    opened_by: ChangeSource
    closed: AwareDatetime | None
    status: str = Field(description="`open`, or what it became.")
    closed_by: ChangeSource | None


class PatientHistoryChange(ChangeSource):
    """A change of a patient, and the identifier that was the current one afterwards."""

    id: str
    issuer: str


class KnownIdentifier(Identifier):
    """An identifier of a patient."""

    role: Literal["current", "other", "former"]
    since: ChangeSource = Field(description="What made it that.")
    first: ChangeSource = Field(description="What named it first, for this patient or one merged into it.")


class StudyAnswer(ApiAnswer):
    """A study, where it was when, and the UIDs of its procedure steps in progress."""

    study_instance_uid: str
    study_id: str
    accession_number: str
    patient: Identifier
    location: str
    status: Literal["scheduled", "open", "closed", "cancelled"]
    planned: AwareDatetime | None
    opened: AwareDatetime | None
    closed: AwareDatetime | None
    stays: list[Stay]
    steps: list[str]
    orders: list[StudyOrder] = Field(
        default=[], description="Those that stand, as far as feeds have said their numbers."
    )
    warnings: Warnings = Field(default=[])


class StudyHistory(StudyAnswer):
    """A study with its history."""

    stays: list[StayHistory]  # type: ignore[assignment]  # with more members
    openings: list[OpenPeriod]
    changes: list[StudyHistoryChange]


class PatientAnswer(ApiAnswer):
    """A patient: the identifiers that name this person, and demographics."""

    id: str
    issuer: str
    key: str = Field(description="Issuer and Patient ID as first seen.")
    other_ids: list[Identifier]
    former_ids: list[Identifier]
    placeholder: str = Field(description="What came in place of a Patient ID, where plscp made this one.")
    name: str
    birth_date: str = Field(description="YYYYMMDD.")
    sex: str
    warnings: Warnings = Field(default=[])


class PatientHistory(ApiAnswer):
    """A patient's identifiers with their history."""

    id: str
    issuer: str
    key: str = Field(description="Issuer and Patient ID as first seen.")
    identifiers: list[KnownIdentifier]
    changes: list[PatientHistoryChange] = Field(description="Of patients merged into this one as well.")


class PatientIdentifiers(Identifier):
    """What names a patient."""

    other_ids: list[Identifier]
    former_ids: list[Identifier]


class PresentStudy(ApiAnswer):
    """A study that is at a location."""

    study_instance_uid: str
    patient: PatientIdentifiers
    arrived: AwareDatetime
    arrived_by: ChangeSource | None
    confirmed: AwareDatetime | None = Field(
        description="Since when it is confirmed, where another patient's study was there."
    )
    steps: list[str]
    last_sign_of_life: AwareDatetime | None
    last_sign_by: Literal["request", "change"] | None


class DepartedStudy(ApiAnswer):
    """The study that left a location last."""

    study_instance_uid: str
    patient: Identifier
    left: AwareDatetime


class Room(ApiAnswer):
    """A location."""

    location: str
    configured: bool = Field(description="Whether `[locations]` has it.")
    studies: list[PresentStudy] = Field(description="Who came first is first.")
    left_last: DepartedStudy | None


class RoomBoard(ApiAnswer):
    """Who is where."""

    rooms: list[Room]


class AdmissionAnswer(ApiAnswer):
    """An admission of a patient."""

    id: str
    issuer: str
    patient: Identifier
    location: str
    status: Literal["active", "discharged", "cancelled"]
    warnings: Warnings = Field(default=[])


class StepAnswer(ApiAnswer):
    """A performed procedure step, as its modality reported it."""

    sop_instance_uid: str
    status: Literal["IN PROGRESS", "COMPLETED", "DISCONTINUED"] = Field(description="As the modality said it last.")
    studies: list[str] = Field(description="Study Instance UIDs.")
    calling_ae: str
    station_ae_title: str = Field(description="Performed Station AE Title.")
    location: str
    started: AwareDatetime
    ended: AwareDatetime | None = Field(description="Until then it held its studies open; null: it does.")
    reason: str = Field(description="Why it was discontinued: CODE^SCHEME; or `operator`, who ended it.")


class StepPage(ApiPage):
    """Procedure steps in the order in which they were reported."""

    steps: list[StepAnswer]


class StudyPage(ApiPage):
    """Studies in the order of their first mention."""

    studies: list[StudyAnswer]
    warnings: Warnings = Field(default=[])


class PatientPage(ApiPage):
    """Patients in the order of their first mention."""

    patients: list[PatientAnswer]


class AdmissionPage(ApiPage):
    """Admissions in the order of their first mention."""

    admissions: list[AdmissionAnswer]


class OperatorAnswer(ApiAnswer):
    """An operator: where and when the code is valid, and whose word that is."""

    value: str
    scheme: str
    status: Literal["active", "inactive"]
    locations: list[str] = Field(description="Empty: everywhere.")
    valid_from: AwareDatetime | None
    valid_until: AwareDatetime | None
    said_by: Literal["settings", "file", "http", "hl7"]
    warnings: Warnings = Field(default=[])


class OperatorPage(ApiPage):
    """Operators: those that the settings list, then those that feeds have named, whose word goes before the settings'."""

    policy: Literal["any", "list"] = Field(description="any: whoever is named is allowed.")
    operators: list[OperatorAnswer]
