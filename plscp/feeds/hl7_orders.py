"""Orders (HL7 v2.8.2 chapter 4; IHE Radiology RAD-2 and RAD-4): ORM^O01, OMI^O23, OMG^O19, as steps of a plan."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from plscp.errors import BrokenMessage
from plscp.feeds.hl7_message import REQUIRED_FIELD, SEGMENT_SEQUENCE, Hl7Message, Segment, moment
from plscp.feeds.hl7_persons import Authorities, person, place_name
from plscp.matching import hospital
from plscp.matching.hospital import Step
from plscp.matching.plan import Plan

KINDS: Final = frozenset({"ORM^O01", "OMI^O23", "OMG^O19"})
CANCELS: Final = frozenset({"CA", "OC", "CR", "DC", "OD", "DR"})
"""Order controls (table 0119) that cancel."""
_RENEWS: Final = frozenset({"NW", "SN", "RO", "RU", "PA", "CH"})
_SAYS_NOTHING: Final = frozenset(
    {"UC", "UD", "UX", "UA", "UF", "UH", "UM", "UN", "UR", "RQ", "RR", "NA", "NR", "DE", "HD", "OH"}
)
"""Order controls (table 0119) that answer, or change nothing of whom, where and when."""
_LONGEST_STUDY_ID: Final = 16
NO_UID: Final = "an order without a Study Instance UID: there is nothing to match by"


@dataclass(slots=True)
class _Order:
    """One ORC, and the segments from it on."""

    orc: Segment
    segments: list[Segment]

    def all(self, name: str) -> list[Segment]:
        return [segment for segment in self.segments if segment.name == name]

    def first(self, name: str, field: int, component: int = 1) -> str:
        """The first identifying value that a segment of this name has there."""
        return next(filter(None, (one.identifying(field, component) for one in self.all(name))), "")


def plan_of(
    message: Hl7Message,
    authorities: Authorities,
    *,
    zone: str,
    arrival: datetime,
    station: Callable[[str], str],
) -> list[Step]:
    """The steps of an order message.

    Args:
        zone: of times without an offset.
        arrival: UTC.
        station: the one location of a device, by its AE title; else empty.

    Raises:
        BrokenMessage: it cannot be read, or lacks what it is about.
    """
    pid = message.required("PID")
    said = person(pid, authorities)
    if not said["other_ids"]:
        del said["other_ids"]  # who orders need not know them all: registration says which there are
    orders = [_Order(group[0], group) for group in message.groups("ORC")]
    if not orders:
        raise BrokenMessage("segment ORC is missing", SEGMENT_SEQUENCE, ("ORC", 1))
    steps: list[Step] = [partial(_person, said=said)]
    patient = {"id": said["id"], "issuer": said["issuer"]}
    only = _only_uid(message)
    for order in orders:
        control = order.orc.text(1)
        if not control:
            raise BrokenMessage("the order control is missing", REQUIRED_FIELD, order.orc.place(1))
        if control == "SC" and order.orc.text(5) == "CA":
            control = "CA"
        if control in _SAYS_NOTHING:
            continue
        uid = order.first("ZDS", 1) or order.first("IPC", 3) or only
        if not uid:
            steps.append(_without_uid)
            continue
        study: dict[str, Any] = {"study_instance_uid": uid, "patient": patient, **_identifiers(order)}
        begins = _begins(message, order, zone, arrival)
        if begins is not None:
            study["planned"] = begins
        places = [*_places(message, order, station)]
        steps.append(partial(_study, study=study, whom=said, places=places, control=control))
    return steps


def _without_uid(_plan: Plan) -> str:
    return NO_UID


def _person(plan: Plan, said: dict[str, Any]) -> str:
    """Nobody is said anything of by a placeholder: the study then gets a patient of its own."""
    return hospital.plan_person(plan, said) if plan.usable(said["id"]) else ""


def _study(plan: Plan, study: dict[str, Any], whom: dict[str, Any], places: list[str], control: str) -> str:
    where = hospital.place_of(plan, places)
    said = study | ({"location": where} if where else {})
    if control in CANCELS:
        return hospital.cancel_order(plan, said)
    return hospital.plan_order(plan, said, whom, renews=control in _RENEWS)


def _only_uid(message: Hl7Message) -> str:
    """The Study Instance UID of a message that has one for all of its orders, wherever it stands."""
    found = {segment.identifying(1) for segment in message.all("ZDS")}
    found |= {segment.identifying(3) for segment in message.all("IPC")}
    found.discard("")
    return found.pop() if len(found) == 1 else ""


def _identifiers(order: _Order) -> dict[str, str]:
    """Accession number (IPC-1, OBR-18), and as Study ID the Requested Procedure ID (IPC-2, OBR-19), which modalities send as that."""
    accession = order.first("IPC", 1) or order.first("OBR", 18)
    procedure = order.first("IPC", 2) or order.first("OBR", 19)
    said = {"accession_number": accession} if accession else {}
    if 0 < len(procedure) <= _LONGEST_STUDY_ID:
        said["study_id"] = procedure
    return said


def _begins(message: Hl7Message, order: _Order, zone: str, arrival: datetime) -> datetime | None:
    """When it is to begin: TQ1-7, OBR-36, or the timing of old (OBR-27.4, ORC-7.4)."""
    for name, field, component in (("TQ1", 7, 1), ("OBR", 36, 1), ("OBR", 27, 4), ("ORC", 7, 4)):
        for segment in order.all(name):
            found = moment(message, segment, field, component, zone=zone, arrival=arrival)
            if found is not None:
                return found
    return None


def _places(message: Hl7Message, order: _Order, station: Callable[[str], str]) -> Iterator[str]:
    """Where it is to be, by what may name a lab, the surest first: room of the procedure step, its station, resources, the patient's place."""
    for ipc in order.all("IPC"):
        yield from (ipc.text(8), ipc.text(8, 2), ipc.text(9), station(ipc.text(9)), ipc.text(7))
    for ail in order.all("AIL"):
        yield from _shorter(place_name(ail, 3))
    for pv1 in message.all("PV1"):
        yield from _shorter(place_name(pv1, 3))


def _shorter(place: str) -> Iterator[str]:
    """A person location, and what is left of it without its last parts: bed, facility."""
    parts = place.split("^")
    for count in range(len(parts), 0, -1):
        yield "^".join(parts[:count]).rstrip("^")
