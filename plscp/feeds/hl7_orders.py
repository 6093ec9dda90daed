"""Orders (HL7 v2.8.2 chapter 4; IHE Radiology RAD-2 and RAD-4): ORM^O01, OMI^O23, OMG^O19, as steps of a plan."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from plscp.errors import BrokenMessage
from plscp.feeds.hl7_message import REQUIRED_FIELD, Hl7Message, Segments, moment
from plscp.feeds.hl7_persons import Authorities, person, place_name
from plscp.matching import hospital
from plscp.matching.hospital import Step
from plscp.matching.plan import Plan
from plscp.matching.records import OrderNumbers

KINDS: Final = frozenset({"ORM^O01", "OMI^O23", "OMG^O19"})
CANCELS: Final = frozenset({"CA", "OC", "CR", "DC", "OD", "DR"})
"""Order controls (table 0119) that cancel."""
_RENEWS: Final = frozenset({"NW", "SN", "RO", "RU", "PA", "CH"})
_REPLACED: Final = frozenset({"RP", "RU", "PA"})
"""Order controls (table 0119) of an order in whose place others are: RO, of a parent its children."""
_SAYS_NOTHING: Final = frozenset(
    {"UC", "UD", "UX", "UA", "UF", "UH", "UM", "UN", "UR", "RQ", "RR", "NA", "NR", "DE", "HD", "OH"}
)
"""Order controls (table 0119) that answer, or change nothing of whom, where and when."""
_LONGEST_STUDY_ID: Final = 16
_LONGEST_NUMBER: Final = 199  # EI.1
_UID: Final = (("ZDS", 1), ("IPC", 3))
_BEGINS: Final = (("TQ1", 7, 1), ("OBR", 36, 1), ("OBR", 27, 4), ("ORC", 7, 4))
"""Field and component of when an order is to begin; the last two are the timing of old."""
NO_UID: Final = "an order without a Study Instance UID: there is nothing to match by"


def plan_of(
    message: Hl7Message, authorities: Authorities, *, zone: str, arrival: datetime, stations: Mapping[str, str]
) -> list[Step]:
    """The steps of an order message, read by the `Hl7Rules`. Raises BrokenMessage: it cannot be read, or lacks what it is about."""
    said = person(message.required("PID"), authorities)
    if not said["other_ids"]:
        del said["other_ids"]  # who orders need not know them all: registration says which there are
    steps: list[Step] = [partial(_person, said=said)]
    orders = message.required_groups("ORC")
    uids = {each.identifying(field) for name, field in _UID for each in message.all(name)} - {""}
    for order in orders:
        orc = order[0]
        control = orc.text(1)
        if not control:
            raise BrokenMessage("the order control is missing", REQUIRED_FIELD, orc.place(1))
        if control == "SC" and orc.text(5) == "CA":
            control = "CA"
        if control in _SAYS_NOTHING:
            continue
        uid = _value(order, *_UID) or ("".join(uids) if len(uids) == 1 else "")  # one for all, wherever it stands
        if not uid:
            steps.append(lambda _plan: NO_UID)
            continue
        study: dict[str, Any] = {"study_instance_uid": uid, "patient": {"id": said["id"], "issuer": said["issuer"]}}
        if accession := _value(order, ("IPC", 1), ("OBR", 18)):
            study["accession_number"] = accession
        procedure = _value(
            order, ("IPC", 2), ("OBR", 19)
        )  # the Requested Procedure ID, which modalities send as Study ID
        if 0 < len(procedure) <= _LONGEST_STUDY_ID:
            study["study_id"] = procedure
        begins = (
            moment(message, segment, field, component, zone=zone, arrival=arrival)
            for name, field, component in _BEGINS
            for segment in order.all(name)
        )
        if (planned := next(filter(None, begins), None)) is not None:
            study["planned"] = planned
        places = [*_places(message, order, stations)]
        numbers = OrderNumbers(_number(order, 2), _number(order, 3))
        steps.append(partial(_study, study=study, whom=said, places=places, control=control, numbers=numbers))
    return steps


def _value(order: Segments, *where: tuple[str, int]) -> str:
    """The first identifying value that stands in one of these fields."""
    values = (segment.identifying(field) for name, field in where for segment in order.all(name))
    return next(filter(None, values), "")


def _number(order: Segments, field: int) -> str:
    """The order's number as the placer or the filler gave it: compared with that of other messages, and with nothing else."""
    numbers = (segment.text(field)[:_LONGEST_NUMBER] for name in ("ORC", "OBR") for segment in order.all(name))
    return next(filter(None, numbers), "")


def _person(plan: Plan, said: dict[str, Any]) -> str:
    """Nobody is said anything of by a placeholder: the study then gets a patient of its own."""
    return hospital.plan_person(plan, said) if plan.usable(said["id"]) else ""


def _study(
    plan: Plan, *, study: dict[str, Any], whom: dict[str, Any], places: list[str], control: str, numbers: OrderNumbers
) -> str:
    where = hospital.place_of(plan, places)
    said = study | ({"location": where} if where else {})
    if control in CANCELS:
        return hospital.cancel_order(plan, said, numbers)
    renews, replaced = control in _RENEWS, control in _REPLACED
    return hospital.plan_order(plan, said, whom, renews=renews, numbers=numbers, replaced=replaced)


def _places(message: Hl7Message, order: Segments, stations: Mapping[str, str]) -> Iterator[str]:
    """Where it is to be, by what may name a lab, the surest first: room of the procedure step, its station, resources, the patient's place."""
    for ipc in order.all("IPC"):
        yield from (ipc.text(8), ipc.text(8, 2), ipc.text(9), stations.get(ipc.text(9), ""), ipc.text(7))
    for segment in (*order.all("AIL"), *message.all("PV1")):
        parts = place_name(segment, 3).split("^")
        for count in range(len(parts), 0, -1):  # without its last parts, too: bed, facility
            yield "^".join(parts[:count]).rstrip("^")
