"""The typed form of a request's Action Information: what the templates room hands to the service (Tables P.2-2 and P.3-2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plscp.findings import Finding
from plscp.templates.log_entries import LogContext


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The identifiers that a Procedural Event request gives: without padding, empty where not given (P.2.2.1.1).

    Attributes:
        issuer_of_patient_id, issuer_universal_entity_id: (0010,0021), and what its qualifiers (0010,0024) say; beyond Table P.2-2.
    """

    study_instance_uid: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    study_id: str = ""
    performed_location: str = ""
    synchronization_frame_of_reference_uid: str = ""
    issuer_universal_entity_id: str = ""


@dataclass(slots=True)
class TypedEntry:
    """One first-level entry, checked and typed.

    Attributes:
        index: 0-based among the root's CONTAINS children.
        kind: the discriminator consumers see, e.g. ``drug_administered``; ``untyped`` where no template matched.
        template: ``3106``; ``3001`` for the direct rows; empty where none matched.
        observation_datetime, observation_uid: as sent, or empty.
        content: SHA-256 of the canonical content.
        near_duplicate_key: SHA-256 of (DateTime as sent, concept, value).
        typed: an object of `plscp.templates.entries.AnyEntry`, or a `SubstanceAdministered`.
        path: where it stands, as findings say it: a position, or an attribute's tag.
    """

    index: int
    kind: str
    template: str
    observation_datetime: str
    observation_uid: str
    content: bytes
    near_duplicate_key: bytes
    typed: Any
    findings: Sequence[Finding] = ()
    path: str = ""


@dataclass(slots=True)
class ProcedureLog:
    """A Procedural Event request that passed steps 5 to 7.

    Attributes:
        timezone_offset, character_set: (0008,0201) and (0008,0005) as sent, or empty.
        context: what every entry inherits from the root; the same object for the same content, not to be changed.
        findings: about the request as a whole.
        count: how many entries were sent, where `entries` are only some of them; else 0.
    """

    identifiers: Identifiers
    timezone_offset: str
    character_set: str
    entries: list[TypedEntry]
    context: LogContext
    findings: list[Finding] = field(default_factory=list)
    count: int = 0


@dataclass(slots=True)
class SubstanceAdministration:
    """A Substance Administration request that passed steps 5 to 7 (Table P.3-2).

    Attributes:
        issuer_universal_entity_id: of Issuer of Patient ID Qualifiers Sequence (0010,0024), or empty.
        operators: (code value, coding scheme designator) of each item of Operator Identification Sequence.
        entry: the one administration.
    """

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    admission_id: str
    issuer_of_admission_id: str
    operators: Sequence[tuple[str, str]]
    timezone_offset: str
    character_set: str
    entry: TypedEntry
    findings: list[Finding] = field(default_factory=list)
    issuer_universal_entity_id: str = ""
