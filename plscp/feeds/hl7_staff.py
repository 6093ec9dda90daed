"""The hospital's staff master file (HL7 v2.8.2 chapter 8): MFN^M02 says who may add to the Medication Administration Record.

A message is taken whole or not at all; MFK^M02 says so for each of its records.
"""

import itertools
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from plscp.errors import BrokenMessage
from plscp.feeds.hl7_message import REQUIRED_FIELD, SEGMENT_SEQUENCE, TABLE_VALUE, Hl7Message, Segments, moment
from plscp.matching.changes import UNSAID, plan_operator, take_out
from plscp.matching.hospital import Step
from plscp.matching.operators import Code
from plscp.matching.plan import Plan

KINDS: Final = frozenset({"MFN^M02"})
TAKEN_OUT: Final = frozenset({"MDL", "MDC"})
_EVENTS: Final = frozenset({"MAD", "MUP", "MAC", *TAKEN_OUT})
"""Record-level event codes (table 0180)."""
LONGEST_SCHEME: Final = 16
"""Characters of a Coding Scheme Designator (SH)."""
NO_SCHEME: Final = (
    "a member of staff has no identifier of a scheme that devices can send: [operators] schemes may lack its authority"
)


def plan_of(message: Hl7Message, schemes: Mapping[str, str], *, zone: str, arrival: datetime) -> list[Step]:
    """The steps of a staff message, read by the `Hl7Rules`; what takes effect after its arrival is a validity period.

    Raises:
        BrokenMessage: it cannot be read, or lacks what it is about.
    """
    mfi = message.required("MFI")
    event = mfi.text(3) or "UPD"
    if event not in {"UPD", "REP"}:
        raise BrokenMessage("the file-level event code is neither UPD nor REP", TABLE_VALUE, mfi.place(3))
    steps: list[Step] = []
    named: dict[Code, None] = {}
    for segment in itertools.takewhile(lambda segment: segment.name != "MFE", message):
        if segment.name in {"STF", "ORG"}:
            name = segment.name
            raise BrokenMessage(f"segment {name} before the first MFE", SEGMENT_SEQUENCE, (name, 1))
    for record in message.required_groups("MFE"):
        codes = _codes(record, schemes)
        named |= dict.fromkeys(codes)
        said = _said(message, record, zone=zone, arrival=arrival)
        steps += [partial(_plan, value=value, scheme=scheme, said=said, record=record) for value, scheme in codes]
        if not codes:
            steps.append(lambda _plan: NO_SCHEME)
    if event == "REP":
        steps.append(partial(_replace, named=tuple(named)))
    return steps


def _plan(plan: Plan, *, value: str, scheme: str, said: Mapping[str, Any], record: Segments) -> str:
    """One code of one record; a location that no `[locations]` entry lists is the hospital's own affair."""
    units = [segment.text(2) for segment in record.all("ORG")]
    body = {"value": value, "scheme": scheme, **said}
    if units:
        body["locations"] = [unit for unit in dict.fromkeys(units) if plan.view.locations.resolve(unit) is not None]
    plan_operator(plan, body, "hl7")
    return ""


def _replace(plan: Plan, *, named: tuple[Code, ...]) -> str:
    """The message is the whole file: whom HL7 named before under its schemes, and it does not name, is taken out."""
    schemes = {scheme for _, scheme in named}
    for operator in plan.view.operators.all():
        code = (operator.value, operator.scheme)
        if operator.said_by == "hl7" and operator.active and operator.scheme in schemes and code not in named:
            take_out(plan, *code, "hl7")
    return ""


def _codes(record: Segments, schemes: Mapping[str, str]) -> list[Code]:
    """The codes of a member of staff: STF-2 with its authorities, else STF-1 or MFE-4 with its coding system.

    Raises:
        BrokenMessage: there is no identifier at all, or one that does not decode.
    """
    stf = record.first("STF")
    found = [(each.id, each.authority) for each in stf.identifiers(2)] if stf is not None else []
    for segment, field in ((stf, 1), (record[0], 4)):
        if not found and segment is not None and (value := segment.identifying(field, 1)):
            found = [(value, segment.identifying(field, 3))]
    if not found:
        raise BrokenMessage("a member of staff has no identifier", REQUIRED_FIELD, record[0].place(4))
    codes = ((value, schemes.get(authority, authority)) for value, authority in found)
    return list(dict.fromkeys((value, scheme) for value, scheme in codes if 0 < len(scheme) <= LONGEST_SCHEME))


def _said(message: Hl7Message, record: Segments, *, zone: str, arrival: datetime) -> dict[str, Any]:
    """What a record says of its operator: status and validity.

    MAD says all there is; the others leave what they do not say as it is. An event that takes effect later begins or ends validity then.
    """
    event = record[0].text(1)
    if event not in _EVENTS:
        raise BrokenMessage("the record-level event code is none of table 0180", TABLE_VALUE, record[0].place(1))
    effective = moment(message, record[0], 3, zone=zone, arrival=arrival)
    later = effective if effective is not None and effective > arrival else None
    if event in TAKEN_OUT:
        return {"status": "inactive"} if later is None else {"valid_until": later}
    said: dict[str, Any] = dict(UNSAID) if event == "MAD" else {}
    if event == "MAC":
        said["status"] = "active"
    stf = record.first("STF")
    if stf is not None:
        flag = stf.text(7)
        if flag:
            if flag not in {"A", "I"}:
                raise BrokenMessage("the active flag is neither A nor I", TABLE_VALUE, stf.place(7))
            said["status"] = "active" if flag == "A" else "inactive"
        for name, field in (("valid_from", 12), ("valid_until", 13)):
            if stf.says(field):
                said[name] = moment(message, stf, field, zone=zone, arrival=arrival)
    if later is not None:
        said["valid_from"] = max(later, said.get("valid_from") or later)
    return said


def acknowledged(message: Hl7Message, error: BrokenMessage | None = None) -> list[str]:
    """MFI and, as its response level asks (table 0179), the MFA segments of MFK^M02; they stand after MSA and ERR.

    An MFA has of its record the event, the control id, and whether it was posted (table 0181).

    Args:
        error: why the message was not taken; no record of it was then.

    Returns:
        Segments of which each character is a byte of the message's character set, as the fields of `MessageHeader` are.
    """
    mfi, field = message.first("MFI"), message.separators.field
    if mfi is None:
        return []
    posted = "S" if error is None else "U"
    answered = [["MFI", *(mfi.raw(number) for number in range(1, 7))]]
    if {"NE": False, "ER": error is not None, "SU": error is None}.get(mfi.text(6), True):
        answered += [["MFA", mfe.raw(1), mfe.raw(2), "", posted, mfe.raw(4), mfe.raw(5)] for mfe in message.all("MFE")]
    lines = (field.join(fields).rstrip(field) for fields in answered)
    return [line.encode(message.codec, "replace").decode("latin-1") for line in lines]
