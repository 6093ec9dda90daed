"""What goes into a matching decision and what comes out (contract section 3). Values only: no clocks, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from plscp.findings import Finding
from plscp.matching.records import utc_text
from plscp.templates.request import Identifiers

OnMismatch = Literal["refuse", "log"]
OnRemoved = Literal["automatic", "propose", "off"]
"""What becomes of a refused request whose reason a registry change has removed."""


class Instant(NamedTuple):
    """A DT resolved to UTC (contract section 3, Time).

    Attributes:
        text: as sent.
        earliest, latest: UTC; they differ by the precision sent: a DT to the minute is its whole minute.
        basis: whose offset was used.
        other: the other reading of a time that the zone's clocks showed twice or never.
    """

    text: str
    earliest: datetime
    latest: datetime
    basis: Literal["own", "request", "device", "server"]
    other: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """`[matching]`, with the sending device's overrides already applied."""

    close_grace: timedelta = timedelta(minutes=30)
    clock_tolerance: timedelta = timedelta(minutes=2)
    room_turnover: timedelta = timedelta(minutes=15)
    place_match_max_age: timedelta = timedelta(hours=6)
    turnover_decides: bool = False
    synchronization_frame_of_reference_uid: str = "1.2.840.10008.15.1.1"
    patient_id_issuer: str = ""
    patient_mismatch: OnMismatch = "refuse"
    study_id_mismatch: OnMismatch = "log"
    location_mismatch: OnMismatch = "log"
    name_mismatch: OnMismatch = "log"
    not_started_elsewhere: OnMismatch = "log"
    scheduled_expires: timedelta = timedelta(days=7)
    placeholder_patient_ids: frozenset[str] = frozenset({"UNKNOWN", "UNK", "TEMP", "NONE", "N/A", "0"})
    publish_demographics: bool = False
    accession_as_admission: bool = False
    replay: OnRemoved = "automatic"
    corrections: Literal["propose", "apply"] = "propose"

    def is_placeholder(self, patient_id: str) -> bool:
        """Whether a Patient ID counts as not given; compared without regard to case."""
        given = patient_id.strip(" ").casefold()
        return any(placeholder.strip(" ").casefold() == given for placeholder in self.placeholder_patient_ids)


@dataclass(frozen=True, slots=True)
class Device:
    """`[devices.<calling AE title>]`: who sends. Locations are names of `[locations]` tables; the issuer goes before the policy's."""

    ae_title: str
    locations: tuple[str, ...] = ()
    patient_id_issuer: str = ""
    times: Literal["trusted", "untrusted"] = "trusted"
    coerce_by_location: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: a code, when and where it is valid (empty: always, everywhere).

    Attributes:
        active: False: taken out; the code is valid nowhere.
        said_by: ``settings``, or the feed whose word it is: ``file``, ``http``, ``hl7``.
    """

    value: str
    scheme: str
    locations: tuple[str, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    active: bool = True
    said_by: str = "settings"

    def as_json(self) -> dict[str, Any]:
        """The shape of the HTTP body and of a change, with whose word it is."""
        return {
            "value": self.value,
            "scheme": self.scheme,
            "status": "active" if self.active else "inactive",
            "locations": list(self.locations),
            "valid_from": utc_text(self.valid_from),
            "valid_until": utc_text(self.valid_until),
            "said_by": self.said_by,
        }


@dataclass(frozen=True, slots=True)
class MatchQuestion:
    """Everything a Procedural Event decision depends on, but for the registry.

    Attributes:
        times: of the first-level entries, in order.
        arrival: UTC, when the request's last byte was read.
        clock_difference: the smallest arrival minus latest DateTime (negative: a fast clock); None: not measured.
        numbers: of these entries in their request, from 1; empty where `times` are those of all its entries.
    """

    given: Identifiers
    device: Device
    policy: Policy
    times: Sequence[Instant]
    arrival: datetime
    clock_difference: timedelta | None = None
    numbers: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class SubstanceQuestion:
    """Everything a Substance Administration decision depends on, but for the registry.

    Attributes:
        allowed: the operators that the settings list (None: anyone); feeds may have said others (`Registry.operators`).
    """

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    admission_id: str
    issuer_of_admission_id: str
    operators: Sequence[tuple[str, str]]
    device: Device
    policy: Policy
    time: Instant
    arrival: datetime
    allowed: Sequence[Operator] | None = None
    issuer_universal_entity_id: str = ""


class MatchCandidate(NamedTuple):
    """A study or patient that was considered, and why it was not taken (empty for the one that was)."""

    what: str
    why_not: str


class ClockUsed(NamedTuple):
    """What was known of the device's clock where a decision depended on its times.

    Attributes:
        state: known, slow (or delayed: the two look alike), fast, unknown or untrusted.
        difference: the smallest arrival minus latest DateTime; negative for a fast clock; None: not measured.
    """

    state: str
    difference: timedelta | None


class Place(NamedTuple):
    """A study and its patient, as far as they are known; without study, of an administration."""

    study_instance_uid: str
    patient_id: str
    issuer: str

    @property
    def key(self) -> str:
        """The Study Instance UID; without study ``issuer|id`` of the patient."""
        return self.study_instance_uid or f"{self.issuer}|{self.patient_id}"

    def as_json(self) -> dict[str, Any]:
        """``{"study_instance_uid", "patient": {"id", "issuer"}}``."""
        patient = {"id": self.patient_id, "issuer": self.issuer}
        return {"study_instance_uid": self.study_instance_uid, "patient": patient}


class Move(NamedTuple):
    """The correction that would make a refused request right: the events at these positions go from there to there."""

    positions: tuple[int, ...]
    origins: tuple[Place, ...]
    target: Place


@dataclass(slots=True)
class Decision:
    """Where the request belongs, with its explanation.

    Study and patient are those found, as the registry has them now; a Success or Warning always has a Patient ID.

    Attributes:
        status: 0000, B101, B102, B104; or C101, C103, C104, C110, C10E.
        rule: 1 to 7, 2a; for administrations patient, admission, accession; empty where none found.
        warnings: every one that applies, B102 before B104 before B101.
        study_instance_uid: empty for administrations.
        patient_key: `issuer|patient id` as first seen, kept through ID changes: the partition key of administrations.
        given, found: identifiers by name, only those with a value.
        registry_position: R.
        comment: Error Comment for a warning or failure, 64 characters at most, no identifiers.
        alive_at: where the request is a sign of life for the study: it came from there and names it or its patient.
        move: what to propose where entries that are stored already stand elsewhere.
        clock: what was known of the device's clock; None where times had no say.
    """

    status: int
    rule: str = ""
    warnings: tuple[int, ...] = ()
    study_instance_uid: str = ""
    study_id: str = ""
    accession_number: str = ""
    location: str = ""
    patient_id: str = ""
    issuer: str = ""
    patient_key: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict)
    candidates: Sequence[MatchCandidate] = ()
    findings: Sequence[Finding] = ()
    registry_position: int = 0
    comment: str = ""
    alive_at: str = ""
    move: Move | None = None
    clock: ClockUsed | None = None
