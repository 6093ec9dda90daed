"""ADT messages (HL7 v2.8.2 chapter 3): what they say of persons and visits, as steps of a plan."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Final, NamedTuple

from plscp.errors import BrokenMessage
from plscp.feeds.hl7_message import (
    DATA_TYPE,
    REQUIRED_FIELD,
    SEGMENT_SEQUENCE,
    CompositeId,
    Hl7Message,
    Segment,
    Segments,
)
from plscp.matching import hospital
from plscp.matching.hospital import Step
from plscp.matching.model import Policy
from plscp.matching.plan import Plan
from plscp.matching.records import PatientId
from plscp.matching.registry import Issuers

_NO_PERSON: Final = frozenset({"AN", "VN"})
"""CompositeId types (table 0203) of PID-3 that name no person: account and visit numbers."""
_PREFERRED: Final = ("PI", "MR")
_UNFIT: Final = re.compile(r"[\\\x00-\x1f\x7f^=]")
_REGISTERS: Final = frozenset({"A01", "A04", "A05", "A28"})
_STATUS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("A01", "A04", "A05", "A13"), "active"),
    "A03": "discharged",
    **dict.fromkeys(("A11", "A38"), "cancelled"),
}
"""What a trigger event makes of a visit; the others leave it as it is."""
_UPDATES: Final = frozenset(
    {"A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A10", "A11", "A12", "A13", "A38"}
)
_PERSONS: Final = frozenset({"A28", "A31"})
_MERGES: Final = frozenset({"A18", "A34", "A36", "A40"})


class Authorities(NamedTuple):
    """How identifiers are chosen and spelled: by the settings in force."""

    issuers: Issuers
    policy: Policy

    def ids(self, segment: Segment, field: int) -> list[PatientId]:
        """The Patient IDs of a field that name a person, each once, the one that replies should carry first.

        That is one of `[matching] patient_id_issuer`, else the first of type PI or MR, else the first. Placeholders come last.

        Raises:
            BrokenMessage: an identifier cannot be read.
        """
        own = self.issuers.spell(self.policy.patient_id_issuer.strip(" "))

        def rank(one: CompositeId) -> tuple[bool, bool, bool]:
            is_own = bool(own) and self.issuers.spell(one.authority) == own
            return self.policy.is_placeholder(one.id), not is_own, one.type not in _PREFERRED

        found = sorted((one for one in segment.identifiers(field) if one.type not in _NO_PERSON), key=rank)
        return list(dict.fromkeys(PatientId(one.id, one.authority) for one in found))

    def required_ids(self, segment: Segment, field: int) -> list[PatientId]:
        """As `ids`. Raises BrokenMessage: there is none."""
        found = self.ids(segment, field)
        if not found:
            raise BrokenMessage("a Patient ID is missing", REQUIRED_FIELD, segment.place(field))
        return found


def plan_of(message: Hl7Message, authorities: Authorities) -> list[Step] | None:
    """The steps of an ADT message; None where its trigger event does not concern the registry.

    Raises:
        BrokenMessage: it cannot be read, or lacks what it is about.
    """
    readers: Mapping[str, Callable[[Hl7Message, Authorities], Iterator[Step]]] = {
        **dict.fromkeys((*_UPDATES, *_PERSONS), _person_and_visit),
        **dict.fromkeys(_MERGES, _merges),
        "A17": _swap,
        "A24": partial(_two_persons, step=hospital.link),
        "A37": partial(_two_persons, step=hospital.unlink),
        "A45": _moved_visits,
        "A47": _changed_id,
    }
    reader = readers.get(message.event)
    return None if reader is None else [*reader(message, authorities)]


EVENTS: Final = frozenset({*_UPDATES, *_PERSONS, *_MERGES, "A17", "A24", "A37", "A45", "A47"})
"""The trigger events of ADT that are read."""


# --- persons ---


def person(pid: Segment, authorities: Authorities) -> dict[str, Any]:
    """What PID says of a person, as a `PatientBody`: what is empty in the message is not said, what is deleted is emptied.

    Raises:
        BrokenMessage: no Patient ID; an identifier or the birth date cannot be read.
    """
    current, *others = authorities.required_ids(pid, 3)
    usable = [other for other in others if not authorities.policy.is_placeholder(other.id)]
    said: dict[str, Any] = {**current.as_json(), "other_ids": [other.as_json() for other in usable]}
    if pid.says(5):
        said["name"] = _name(pid)
    if pid.says(7):
        said["birth_date"] = _birth_date(pid)
    if pid.says(8):
        said["sex"] = _UNFIT.sub(" ", pid.text(8))[:16]
    return {name: value for name, value in said.items() if value is not None}


def _name(pid: Segment) -> str:
    """PID-5 (XPN: family, given, further, suffix, prefix) as a PN (PS3.5 6.2: family, given, middle, prefix, suffix)."""
    parts = [_UNFIT.sub(" ", pid.text(5, component)).strip(" ") for component in (1, 2, 3, 5, 4)]
    return "^".join(parts).rstrip("^")[:324]


def _birth_date(pid: Segment) -> str | None:
    """PID-7 as a DA; None where it is not known to the day. Raises BrokenMessage: it is no date."""
    text = pid.text(7)
    try:
        if not re.fullmatch(r"\d{4}(\d\d(\d\d(\d{2,6}(\.\d+)?([+-]\d{4})?)?)?)?", text, re.ASCII) and text:
            raise ValueError
        if len(text) < 8:
            return None if text else ""
        date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        raise BrokenMessage("the birth date is no date: YYYYMMDD is expected", DATA_TYPE, pid.place(7)) from None
    return text[:8]


# --- visits ---


def place_name(segment: Segment, field: int) -> str:
    """A person location (PL, 2.A.53) as it stands, such as ``CATH^LAB1``."""
    return "^".join(segment.components(field)).rstrip("^")[:64]


def _visit_number(pid: Segment | None, pv1: Segment | None) -> CompositeId | None:
    """PV1-19, else the account number PID-18."""
    for segment, field in ((pv1, 19), (pid, 18)):
        if segment is not None and (found := segment.identifiers(field)):
            return found[0]
    return None


def _visit(number: CompositeId, whom: Mapping[str, Any], pv1: Segment | None, event: str) -> dict[str, Any]:
    """An `AdmissionBody` of what the message says of a visit."""
    patient = {"id": whom["id"], "issuer": whom["issuer"]}
    said: dict[str, Any] = {"id": number.id, "issuer": number.authority, "patient": patient}
    if event in _STATUS:
        said["status"] = _STATUS[event]
    if pv1 is not None:
        if event == "A08" and pv1.text(45):  # discharged at that time
            said["status"] = "discharged"
        bed = 11 if event in {"A09", "A10"} and pv1.says(11) else 3
        if pv1.says(bed):
            said["location"] = re.sub(r"[\\\x00-\x1f\x7f]", " ", place_name(pv1, bed))
    return said


def _visit_step(pid: Segment, pv1: Segment | None, whom: Mapping[str, Any], event: str) -> Iterator[Step]:
    number = _visit_number(pid, pv1)
    if number is not None:
        yield partial(hospital.plan_visit, said=_visit(number, whom, pv1, event), person=whom)


def _person_and_visit(message: Hl7Message, authorities: Authorities, group: Segments | None = None) -> Iterator[Step]:
    """What PID and PV1 say; `group` has those of one of several patients."""
    segments, event = group or message, message.event
    pid = segments.required("PID")
    said = person(pid, authorities)
    yield partial(hospital.plan_person, said=said, registers=event in _REGISTERS)
    if event not in _PERSONS:
        yield from _visit_step(pid, segments.first("PV1"), said, event)


def _swap(message: Hl7Message, authorities: Authorities) -> Iterator[Step]:
    """A17: two patients swap beds."""
    groups = message.groups("PID")
    if len(groups) != 2:
        raise BrokenMessage("A17 needs two patients", SEGMENT_SEQUENCE, ("PID", 2))
    for group in groups:
        yield from _person_and_visit(message, authorities, group)


def _two_persons(
    message: Hl7Message, authorities: Authorities, step: Callable[[Plan, PatientId, PatientId], str]
) -> Iterator[Step]:
    """A24 and A37: two patients are linked, or no more."""
    pids = message.all("PID")
    if len(pids) != 2:
        raise BrokenMessage(f"{message.event} needs two patients", SEGMENT_SEQUENCE, ("PID", 2))
    named = [authorities.required_ids(pid, 3)[0] for pid in pids]
    yield _unless_placeholder(named, "a placeholder names nobody who could be linked", step, *named)


def _unless_placeholder(
    named: Sequence[PatientId], note: str, step: Callable[[Plan, PatientId, PatientId], str], *ids: PatientId
) -> Step:
    """A step that notes that nothing is done where one of these IDs is a placeholder."""
    return lambda plan: step(plan, *ids) if all(plan.usable(one.id) for one in named) else note


# --- merges and moves ---


def _merges(message: Hl7Message, authorities: Authorities) -> Iterator[Step]:
    """A18, A34, A36, A40: for each PID the prior IDs of the MRG after it; then what PID says, and the prior account's visit."""
    groups = message.groups("PID")
    if not groups or any(group.first("MRG") is None for group in groups):
        raise BrokenMessage("a merge needs PID and MRG", SEGMENT_SEQUENCE, ("MRG", 1))
    for group in groups:
        pid = group[0]
        said = person(pid, authorities)
        survivor = PatientId(said["id"], said["issuer"])
        priors = []
        for mrg in group.all("MRG"):
            found = authorities.ids(mrg, 1) or authorities.ids(mrg, 4)
            if not found:
                raise BrokenMessage("the prior Patient ID is missing", REQUIRED_FIELD, mrg.place(1))
            priors += found
        note = "the surviving Patient ID is a placeholder: it names nobody"
        for prior in priors:
            if prior != survivor:
                yield _unless_placeholder([survivor], note, hospital.merge, survivor, prior)
        yield partial(hospital.plan_person, said=said)
        if message.event == "A36":
            yield from _visit_step(pid, group.first("PV1"), said, message.event)
            for mrg in group.all("MRG"):
                for account in mrg.identifiers(3)[:1]:
                    moved = {"id": account.id, "issuer": account.authority, "patient": survivor.as_json()}
                    yield partial(hospital.plan_visit, said=moved, person=said)


def _moved_visits(message: Hl7Message, authorities: Authorities) -> Iterator[Step]:
    """A45: visits of the prior patient (MRG-1) belong to the one of PID; each MRG may have a PV1 behind it."""
    said = person(message.required("PID"), authorities)
    yield partial(hospital.plan_person, said=said)
    for group in message.required_groups("MRG"):
        mrg, pv1 = group[0], group.first("PV1")
        numbers = [*mrg.identifiers(5)[:1], *([number] if pv1 and (number := _visit_number(None, pv1)) else [])]
        if not numbers:
            raise BrokenMessage("the visit number is missing", REQUIRED_FIELD, mrg.place(5))
        prior = next(iter(authorities.ids(mrg, 1)), None)
        for number in dict.fromkeys(CompositeId(one.id, one.authority, "") for one in numbers):
            moved = _visit(number, said, pv1, "A45")
            yield partial(hospital.move_visit, said=moved, person=said, prior=prior)


def _changed_id(message: Hl7Message, authorities: Authorities) -> Iterator[Step]:
    """A47: the person of MRG-1 has the ID of PID-3 from now on."""
    pid, mrg = message.required("PID"), message.required("MRG")
    said = person(pid, authorities)
    new, old = PatientId(said["id"], said["issuer"]), authorities.required_ids(mrg, 1)[0]
    if new != old:
        note = "the new Patient ID is a placeholder: it names nobody"
        yield _unless_placeholder([new], note, hospital.change_id, old, new)
    yield partial(hospital.plan_person, said=said)
