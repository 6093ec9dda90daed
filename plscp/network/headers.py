"""What the header of a PDU alone tells: nobody makes us wait for, or keep, what will not be taken anyway (PS3.8 9.3, Table 9-10)."""

from collections.abc import Mapping
from typing import Final

from plscp.network import pdu
from plscp.network.fsm import TABLE, Event, State
from plscp.network.settings import NetworkSettings

EVENT_OF: Final[Mapping[int, Event]] = {
    pdu.ASSOCIATE_AC: Event.ASSOCIATE_AC,
    pdu.ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    pdu.ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    pdu.P_DATA_TF: Event.P_DATA_TF,
    pdu.RELEASE_RQ: Event.RELEASE_RQ,
    pdu.RELEASE_RP: Event.RELEASE_RP,
    pdu.ABORT: Event.ABORT,
}


def event_of(kind: int, length: int) -> tuple[Event, int]:
    """The event that a PDU is, and the reason of an A-ABORT (PS3.8 Table 9-26) where that event is answered with one."""
    event = EVENT_OF.get(kind)
    if event is None:
        return Event.INVALID_PDU, pdu.UNRECOGNIZED_PDU
    if length != pdu.FIXED_LENGTHS.get(kind, length):
        return Event.INVALID_PDU, pdu.INVALID_PARAMETER
    return event, pdu.UNEXPECTED_PDU


def fault(kind: int, length: int, state: State, settings: NetworkSettings) -> tuple[Event, int, str] | None:
    """Why a PDU ends the association before its body is read, or None.

    Args:
        length: of the body in bytes, as announced.

    Returns:
        The event for the state machine, and reason and words for the A-ABORT.
    """
    event = EVENT_OF.get(kind)
    if event is None:
        return Event.INVALID_PDU, pdu.UNRECOGNIZED_PDU, "an unrecognized PDU type"
    if TABLE[event][state].action in {"AA-1", "AA-8"}:
        return event, pdu.UNEXPECTED_PDU, "an unexpected PDU"
    if kind == pdu.ASSOCIATE_RQ and length > settings.associate_request:
        return Event.INVALID_PDU, pdu.INVALID_PARAMETER, "an A-ASSOCIATE-RQ longer than the bound"
    if kind == pdu.P_DATA_TF and length > settings.max_pdu:
        return Event.INVALID_PDU, pdu.INVALID_PARAMETER, "a P-DATA-TF longer than the bound"
    if length != pdu.FIXED_LENGTHS.get(kind, length):
        return Event.INVALID_PDU, pdu.INVALID_PARAMETER, "a PDU of the wrong length"
    return None
