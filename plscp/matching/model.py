"""What goes into a matching decision and what comes out (contract section 3). Values only: no clocks, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from plscp.findings import Finding
from plscp.templates.request import Identifiers


class Instant(NamedTuple):
    """A DT resolved to UTC (contract section 3, Time)."""

    text: str  # as sent
    earliest: datetime  # UTC; it differs from the latest by the precision sent: a DT to the minute is its whole minute
    latest: datetime
    basis: Literal["own", "request", "device", "server"]  # whose offset was used
    other: tuple[datetime, datetime] | None = (
        None  # the other reading of a time that the zone's clocks showed twice or never
    )


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
    patient_mismatch: Literal["refuse", "log"] = "refuse"
    study_id_mismatch: Literal["refuse", "log"] = "log"
    location_mismatch: Literal["refuse", "log"] = "log"
    name_mismatch: Literal["refuse", "log"] = "log"
    not_started_elsewhere: Literal["refuse", "log"] = "log"
    scheduled_expires: timedelta = timedelta(days=7)
    placeholder_patient_ids: frozenset[str] = frozenset({"UNKNOWN", "UNK", "TEMP", "NONE", "N/A", "0"})
    publish_demographics: bool = False
    accession_as_admission: bool = False

    def is_placeholder(self, patient_id: str) -> bool:
        """Whether a Patient ID counts as not given; compared without regard to case."""
        return patient_id.strip(" ").casefold() in _folded(self.placeholder_patient_ids)


@lru_cache(maxsize=64)
def _folded(placeholders: frozenset[str]) -> frozenset[str]:
    return frozenset(placeholder.strip(" ").casefold() for placeholder in placeholders)


@dataclass(frozen=True, slots=True)
class Device:
    """`[devices.<calling AE title>]`: who sends."""

    ae_title: str
    locations: tuple[str, ...] = ()  # by the name of their `[locations]` table
    patient_id_issuer: str = ""  # goes before the policy's
    times: Literal["trusted", "untrusted"] = "trusted"
    coerce_by_location: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """One allowed operator: a code, when and where it is valid (empty: always, everywhere)."""

    value: str
    scheme: str
    locations: tuple[str, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a Procedural Event decision depends on, but for the registry."""

    given: Identifiers
    device: Device
    policy: Policy
    times: Sequence[Instant]  # of the first-level entries, in order
    arrival: datetime  # UTC, when the request's last byte was read
    clock_difference: timedelta | None = (
        None  # the smallest arrival minus latest DateTime (negative: fast); None: not measured
    )
    numbers: Sequence[
        int
    ] = ()  # of these entries in their request, from 1; empty where `times` are those of all its entries


@dataclass(frozen=True, slots=True)
class SubstanceQuestion:
    """Everything a Substance Administration decision depends on, but for the registry."""

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
    allowed: Sequence[Operator] | None = None  # None: any
    issuer_universal_entity_id: str = ""


class Candidate(NamedTuple):
    """A study or patient that was considered, and why it was not taken (empty for the one that was)."""

    what: str
    why_not: str


@dataclass(slots=True)
class Decision:
    """Where the request belongs, with its explanation.

    Study and patient are those found, as the registry has them now; a Success or Warning always has a Patient ID.
    """

    status: int  # 0000, B101, B102, B104; or C101, C103, C104, C110, C10E
    rule: str = ""  # 1 to 7, 2a; for administrations patient, admission, accession; empty where none found
    warnings: tuple[int, ...] = ()  # every one that applies, B102 before B104 before B101
    study_instance_uid: str = ""  # empty for administrations
    study_id: str = ""
    accession_number: str = ""
    location: str = ""
    patient_id: str = ""
    issuer: str = ""
    patient_key: str = (
        ""  # `issuer|patient id` as first seen, kept through ID changes: partition key of administrations
    )
    given: Mapping[str, str] = field(default_factory=dict)  # identifiers by name, only those with a value
    found: Mapping[str, str] = field(default_factory=dict)  # as `given`
    candidates: Sequence[Candidate] = ()
    findings: Sequence[Finding] = ()
    registry_position: int = 0  # R
    comment: str = ""  # Error Comment for a warning or failure, 64 characters at most, no identifiers
    alive_at: str = (
        ""  # where the request is a sign of life for the study: it came from there and names it or its patient
    )
