"""Published records as typed objects (contract section 4): what the server writes, what consumers read, and what `schemas/` is made of."""

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from plscp.matching.model import Decision
from plscp.records import parts
from plscp.records.parts import PatientRecord, ReducedRecord, RefusalRecord, RelayStarted, StudyRecord, WithdrawnRecord
from plscp.templates.entries import ENTRY_KINDS, AnyEntry
from plscp.templates.log_entries import LogContext
from plscp.templates.substance import SubstanceAdministered

KINDS: Final = (*ENTRY_KINDS, "untyped")
"""Kinds of entry that have a class of their own."""
ADMINISTERED: Final = "substance_administered"
LATER: Final = "later"


class UnknownEntry(parts.Part):
    """An entry of a kind that this version has no class for: a later version of plscp wrote it. Everything is kept."""

    model_config = ConfigDict(extra="allow")

    kind: str
    template: str = ""


def _kind(entry: Any) -> str:
    kind = entry.get("kind") if isinstance(entry, dict) else getattr(entry, "kind", None)
    return "known" if kind in KINDS else LATER


PublishedEntry = Annotated[
    Annotated[AnyEntry, Tag("known")] | Annotated[UnknownEntry, Tag(LATER)],
    Discriminator(_kind),
]
"""Any entry of a Procedure Log, told apart by `kind`; consumers meet new kinds before they know them."""


def _moved_kind(entry: Any) -> str:
    kind = entry.get("kind") if isinstance(entry, dict) else getattr(entry, "kind", None)
    return ADMINISTERED if kind == ADMINISTERED else _kind(entry)


MovedEntry = Annotated[
    Annotated[AnyEntry, Tag("known")]
    | Annotated[SubstanceAdministered, Tag(ADMINISTERED)]
    | Annotated[UnknownEntry, Tag(LATER)],
    Discriminator(_moved_kind),
]
"""What a correction moves: any entry, or an administration."""


# --- what the entries of a request share, and what is an entry's own ---


class Found(parts.Part):
    """Where an accepted request belongs."""

    study: parts.StudyReference | None
    patient: parts.Identifier
    match: parts.Match


class Sent(parts.Part):
    """Who sent it."""

    sender: parts.Sender


class SentLog(Sent):
    """Who sent a Procedure Log, and what its entries inherit."""

    context: LogContext = Field(description="What the entry inherits from its log: observers, procedure, room.")


class Own(parts.Part):
    """What is an entry's own; `entry` is an object that the templates made."""

    observation_uid: str | None
    occurred: parts.Occurred
    entry: Any


class EntryRecord(Own, SentLog, Found, parts.EntryLead):
    """One entry of a Procedure Log (PS3.4 P.2), with the study and patient that it belongs to."""

    study: parts.StudyReference
    entry: PublishedEntry


class AdministrationRecord(Own, Sent, Found, parts.EntryLead):
    """One administration of a substance (PS3.4 P.3), with the patient that it belongs to."""

    entry: SubstanceAdministered


class AssignedRecord(Own, Sent, Found, parts.EntryLead):
    """An entry or administration, whole, under the study and patient that it belongs to after a correction."""

    context: LogContext | None = Field(default=None, description="As of the entry; an administration has none.")
    entry: MovedEntry
    correction: parts.Correction


# --- writing ---

REMEMBERED, WIDEST_BYTES = 512, 8192
_remembered: dict[tuple[int, ...], tuple[bytes, tuple[object, ...]]] = {}


@lru_cache(maxsize=4096)
def sender_of(ae_title: str, location: str, address: str) -> parts.Sender:
    """Who sent a request; the same object for the same device."""
    return parts.Sender(ae_title=ae_title, location=location, address=address)


def match_of(decision: Decision) -> dict[str, Any]:
    """A `Match`, to be validated with what it is a part of."""
    made = {
        "rule": decision.rule,
        "status": f"{decision.status:04X}",
        "warnings": [f"{status:04X}" for status in decision.warnings],
        "given": dict(decision.given),
        "found": dict(decision.found),
        "candidates": [{"what": what, "why_not": why_not} for what, why_not in decision.candidates],
        "registry_position": decision.registry_position,
    }
    if decision.clock is not None:
        state, difference = decision.clock
        made["clock"] = {"state": state, "difference_seconds": seconds(difference)}
    return made


def seconds(difference: timedelta | None) -> float | None:
    """A clock difference as it is published."""
    return None if difference is None else round(difference.total_seconds(), 3)


def _found(decision: Decision) -> bytes:
    study = {
        "study_instance_uid": decision.study_instance_uid,
        "study_id": decision.study_id,
        "accession_number": decision.accession_number,
        "location": decision.location,
    }
    return Found.model_validate(
        {
            "study": study if decision.study_instance_uid else None,
            "patient": {"id": decision.patient_id, "issuer": decision.issuer},
            "match": match_of(decision),
        }
    ).members()


def shared(decision: Decision, sender: parts.Sender, context: LogContext | None) -> bytes:
    """The members that the entries of a request share; each part is remembered while the same objects come again."""
    # A decision that was made before may come as another object, with other findings; what it names stays the same objects.
    named = (
        decision.given,
        decision.found,
        decision.candidates,
        decision.study_instance_uid,
        decision.status,
        decision.clock,
    )
    found = _once(named, lambda: _found(decision))
    if context is None:
        return found + b"," + _once((sender,), Sent(sender=sender).members)
    return found + b"," + _once((sender, context), lambda: SentLog(sender=sender, context=context).members())


def _once(of: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
    key = tuple(map(id, of))
    known = _remembered.get(key)
    if known is not None:
        return known[0]
    made = make()
    if len(made) <= WIDEST_BYTES:
        if len(_remembered) >= REMEMBERED:
            _remembered.clear()
        _remembered[key] = made, of  # as long as they are kept, nothing else has their identity
    return made


def assigned(
    value: bytes, study: parts.StudyReference | None, patient: parts.Identifier, correction: parts.Correction
) -> bytes:
    """The members of an `AssignedRecord` but for its lead, out of the record of the entry that is moved.

    Args:
        value: of the entry's record. `match` stays what was decided when it came.
    """
    whole = from_json(value)
    for name in parts.Lead.model_fields:
        whole.pop(name, None)
    new = {"study": study, "patient": patient, "correction": correction}
    return to_json(whole | {name: part and part.model_dump(exclude_unset=True) for name, part in new.items()})[1:-1]


@lru_cache(maxsize=256)
def given_study(shared: bytes) -> str:
    """The Study Instance UID that a stored request gave, out of what its entries share; empty where it gave none."""
    match = from_json(b"{%b}" % shared).get("match") or {}
    return str((match.get("given") or {}).get("study_instance_uid", ""))


# --- reading ---

Whole = (
    EntryRecord | AdministrationRecord | WithdrawnRecord | AssignedRecord | RefusalRecord | StudyRecord | PatientRecord
)
Record = Whole | ReducedRecord

RECORDS: Final[dict[str, type[Whole]]] = {
    parts.ENTRY_TYPE: EntryRecord,
    parts.ADMINISTRATION_TYPE: AdministrationRecord,
    parts.WITHDRAWN_TYPE: WithdrawnRecord,
    parts.ASSIGNED_TYPE: AssignedRecord,
    parts.REFUSED_TYPE: RefusalRecord,
    **dict.fromkeys(parts.STUDY_TYPES, StudyRecord),
    **dict.fromkeys(parts.PATIENT_TYPES, PatientRecord),
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
    parts.WITHDRAWN_TYPE: TypeAdapter(WithdrawnRecord),  # its reduced form has all that it is
    parts.BARRIER: TypeAdapter(RelayStarted),
}


def read(kind: str, value: bytes) -> Record:
    """A record's value, typed. Members that a later version added are passed over.

    Args:
        kind: `ce_type`, or the value's own `type`.
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
