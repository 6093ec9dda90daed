"""What the registry holds: patients, admissions, studies. Immutable; their JSON forms are those of changes and of HTTP."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

GENERATED_ISSUER: Final = "plscp"
"""Issuer of the Patient IDs that plscp gives to patients who came without a usable one."""
GENERATED_PREFIX: Final = "PLSCP-"

Json = dict[str, Any]


def utc_text(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with Z, or None."""
    return None if moment is None else moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def utc_moment(text: str | None) -> datetime | None:
    """The reverse of `utc_text`."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


class PatientId(NamedTuple):
    """A Patient ID with its issuer; the issuer is empty where none is known."""

    id: str
    issuer: str

    @property
    def key(self) -> str:
        """``issuer|id``: of a patient first seen under this identifier it is the partition key."""
        return f"{self.issuer}|{self.id}"

    def as_json(self) -> Json:
        """``{"id", "issuer"}``."""
        return {"id": self.id, "issuer": self.issuer}


def _patient_ids(members: Sequence[Mapping[str, str]]) -> tuple[PatientId, ...]:
    return tuple(PatientId(member["id"], member.get("issuer", "")) for member in members)


class StudyStay(NamedTuple):
    """A study's time at a location: from `arrived` until just before `left`; None while it is there. Times in UTC.

    `confirmed` is when a request from there named the study or its patient while another patient's study was there, or a step
    showed it; None where that did not happen or was not asked.
    """

    location: str
    arrived: datetime
    left: datetime | None = None
    confirmed: datetime | None = None

    def overlaps(self, earliest: datetime, latest: datetime) -> bool:
        """Whether any of the time from `earliest` to `latest` lies in it; the moment of leaving does not."""
        return self.arrived <= latest and (self.left is None or self.left > earliest)

    def as_json(self) -> Json:
        """``{"location", "arrived", "left"}``, and ``confirmed`` where it was."""
        known: Json = {"location": self.location, "arrived": utc_text(self.arrived), "left": utc_text(self.left)}
        return known if self.confirmed is None else known | {"confirmed": utc_text(self.confirmed)}


@dataclass(frozen=True, slots=True)
class Patient:
    """One person, as far as the registry knows."""

    number: int  # which person: identifiers come and go, this stays; only within one registry
    current: PatientId  # the identifier that replies carry
    key: str  # `issuer|patient id` as first seen: the partition key
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    other_ids: tuple[PatientId, ...] = ()  # listed as further identifiers of the same person
    former_ids: tuple[PatientId, ...] = ()  # merged away or changed
    placeholder: str = ""  # what the feed sent in place of a Patient ID when `current` was generated

    @property
    def generated(self) -> bool:
        """Whether plscp made the current identifier."""
        return self.current.issuer == GENERATED_ISSUER

    def identifiers(self) -> Json:
        """The part that is published by default: no demographics."""
        return {
            **self.current.as_json(),
            "key": self.key,
            "other_ids": [other.as_json() for other in self.other_ids],
            "former_ids": [former.as_json() for former in self.former_ids],
            "placeholder": self.placeholder,
        }

    def demographics(self) -> Json:
        """Name, birth date and sex."""
        return {"name": self.name, "birth_date": self.birth_date, "sex": self.sex}

    def as_json(self) -> Json:
        """Everything that is known."""
        return self.identifiers() | self.demographics()


def patient_from(change: Mapping[str, Any], number: int, before: Patient | None) -> Patient:
    """A patient out of a change; what the change does not say stays as it was `before`."""
    demographics = before.demographics() if before else {}
    demographics |= {name: change[name] for name in ("name", "birth_date", "sex") if name in change}
    return Patient(
        number=number,
        current=PatientId(change["id"], change["issuer"]),
        key=change["key"],
        **demographics,
        other_ids=_patient_ids(change["other_ids"]),
        former_ids=_patient_ids(change["former_ids"]),
        placeholder=change["placeholder"],
    )


@dataclass(frozen=True, slots=True)
class Admission:
    """A visit: its ID names its patient. Its location is the patient's bed and moves no study."""

    id: str
    issuer: str
    patient: int
    patient_id: PatientId
    location: str = ""
    status: str = "active"

    def as_json(self) -> Json:
        """The shape of the HTTP body."""
        return {
            "id": self.id,
            "issuer": self.issuer,
            "patient": self.patient_id.as_json(),
            "location": self.location,
            "status": self.status,
        }


PatientRow = str | Patient
AdmissionRow = str | tuple[str, str, int, str, str]
"""How the registry holds a patient or an admission: a hospital has millions, and nobody asks about nearly all of them. As one text
each costs a third of its object's memory, and no garbage collection looks at it."""
_BETWEEN: Final = "\0"


def patient_row(patient: Patient) -> PatientRow:
    """A patient as it is held; one with further identifiers, of which there are few, as it is."""
    current = patient.current
    key = "" if patient.key == current.key else patient.key
    members = (*current, key, patient.name, patient.birth_date, patient.sex)
    row = _BETWEEN.join(members)
    plain = not (patient.other_ids or patient.former_ids or patient.placeholder)
    return row if plain and row.count(_BETWEEN) == len(members) - 1 else patient


def patient_of(number: int, row: PatientRow) -> Patient:
    """The reverse of `patient_row`."""
    if not isinstance(row, str):
        return row
    patient_id, issuer, key, name, birth_date, sex = row.split(_BETWEEN)
    current = PatientId(patient_id, issuer)
    return Patient(number, current, key or current.key, name, birth_date, sex)


def admission_row(change: Mapping[str, Any], patient: int) -> AdmissionRow:
    """An admission as it is held, out of a change."""
    admission_id, issuer, *rest = (change[name] for name in ("id", "issuer", "location", "status"))
    row = _BETWEEN.join((admission_id, issuer, str(patient), *rest))
    return row if row.count(_BETWEEN) == 4 else (admission_id, issuer, patient, *rest)


def admission_of(row: AdmissionRow, survivor: Callable[[int], Patient]) -> Admission:
    """The reverse of `admission_row`; `survivor` gives the patient whom a number means now."""
    admission_id, issuer, number, location, status = row.split(_BETWEEN) if isinstance(row, str) else row
    patient = survivor(int(number))
    return Admission(admission_id, issuer, patient.number, patient.current, location, status)


class OrderNumbers(NamedTuple):
    """Placer and filler order number (ORC-2, ORC-3) of one order; each empty where it is not known."""

    placer: str = ""
    filler: str = ""

    def is_another(self, other: "OrderNumbers") -> bool:
        """Whether a number that both have says that they are two."""
        return any(mine and theirs and mine != theirs for mine, theirs in zip(self, other, strict=True))

    def is_same(self, other: "OrderNumbers") -> bool:
        """Whether a number that both have says that they are one, and none that they are two."""
        return not self.is_another(other) and any(
            mine and mine == theirs for mine, theirs in zip(self, other, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Study:
    """A study and where it was when."""

    study_instance_uid: str
    patient: int  # the patient's number
    patient_id: PatientId  # that patient's current identifier
    study_id: str = ""
    accession_number: str = ""
    location: str = ""  # where it is, or was last, or is planned
    status: str = "scheduled"  # or open, closed, cancelled
    planned: datetime | None = None  # when it is to begin, as the order says it, else when it was scheduled
    opened: datetime | None = None  # first
    closed: datetime | None = None  # or cancelled
    stays: tuple[StudyStay, ...] = ()  # oldest first; scheduled studies have none
    steps: tuple[str, ...] = ()  # procedure steps in progress (their UIDs)
    orders: tuple[OrderNumbers, ...] = ()  # that stand, as far as feeds have said their numbers

    def takes_events(self, moment: datetime, grace: timedelta) -> bool:
        """Whether it is open, or was closed no longer than the grace before a moment."""
        in_grace = self.status == "closed" and self.closed is not None and moment - self.closed <= grace
        return self.status == "open" or in_grace

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """For the registry's snapshot: half the time of what a data class does by itself."""
        return type(self), tuple(getattr(self, name) for name in self.__slots__)

    def as_json(self) -> Json:
        """The shape of the HTTP body, with the location history and the steps in progress."""
        return {
            "study_instance_uid": self.study_instance_uid,
            "study_id": self.study_id,
            "accession_number": self.accession_number,
            "patient": self.patient_id.as_json(),
            "location": self.location,
            "status": self.status,
            "planned": utc_text(self.planned),
            "opened": utc_text(self.opened),
            "closed": utc_text(self.closed),
            "stays": [stay.as_json() for stay in self.stays],
            "steps": list(self.steps),
            **({"orders": [numbers._asdict() for numbers in self.orders]} if self.orders else {}),
        }


def study_from(change: Mapping[str, Any], patient: Patient) -> Study:
    """A study out of a change."""
    return Study(
        study_instance_uid=change["study_instance_uid"],
        patient=patient.number,
        patient_id=patient.current,
        study_id=change["study_id"],
        accession_number=change["accession_number"],
        location=change["location"],
        status=change["status"],
        planned=utc_moment(change.get("planned")),  # what a store of layout 2 holds has none
        opened=utc_moment(change["opened"]),
        closed=utc_moment(change["closed"]),
        stays=tuple(map(stay_from, change["stays"])),
        steps=tuple(change["steps"]),
        orders=tuple(OrderNumbers(**numbers) for numbers in change.get("orders", ())),  # changes of before have none
    )


def stay_from(stay: Mapping[str, Any]) -> StudyStay:
    """A stay out of a change."""
    arrived = datetime.fromisoformat(stay["arrived"]).astimezone(UTC)
    return StudyStay(stay["location"], arrived, utc_moment(stay["left"]), utc_moment(stay.get("confirmed")))
