"""The hospital's staff master file (HL7 v2.8.2 chapter 8): MFN^M02 says who may add to the Medication Administration Record.

A message is taken whole or not at all; MFK^M02 says so for each of its records.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from plscp.errors import BrokenMessage
from plscp.feeds.hl7_message import REQUIRED_FIELD, SEGMENT_SEQUENCE, TABLE_VALUE, Hl7Message, Segment, first_of, moment
from plscp.matching.hospital import Step
from plscp.matching.operators import Code
from plscp.matching.plan import Plan
from plscp.matching.staff import UNSAID, plan_operator, take_out

KINDS: Final = frozenset({"MFN^M02"})
TAKEN_OUT: Final = frozenset({"MDL", "MDC"})
_EVENTS: Final = frozenset({"MAD", "MUP", "MAC", *TAKEN_OUT})
"""Record-level event codes (table 0180)."""
LONGEST_SCHEME: Final = 16
"""Characters of a Coding Scheme Designator (SH)."""
NO_SCHEME: Final = (
    "a member of staff has no identifier of a scheme that devices can send: [operators] schemes may lack its authority"
)


class StaffRecord(NamedTuple):
    """One record of the message: MFE, and the segments that follow it."""

    mfe: Segment
    segments: list[Segment]

    def first(self, name: str) -> Segment | None:
        """The first segment of a name."""
        return first_of(self.segments, name)


def records_of(message: Hl7Message) -> list[StaffRecord]:
    """The records of a message, in their order. Raises BrokenMessage: there is none, or a segment stands before the first."""
    found: list[StaffRecord] = []
    for segment in message.segments:
        if segment.name == "MFE":
            found.append(StaffRecord(segment, []))
        elif segment.name in {"STF", "ORG"}:
            if not found:
                raise BrokenMessage(f"segment {segment.name} before the first MFE", SEGMENT_SEQUENCE, (segment.name, 1))
            found[-1].segments.append(segment)
    if not found:
        raise BrokenMessage("segment MFE is missing", SEGMENT_SEQUENCE, ("MFE", 1))
    return found


def plan_of(message: Hl7Message, schemes: Mapping[str, str], *, zone: str, arrival: datetime) -> list[Step]:
    """The steps of a staff message.

    Args:
        schemes: from each name of an authority to the Coding Scheme Designator that devices send (`[operators] schemes`).
        zone: of times without an offset.
        arrival: UTC; what takes effect later is a validity period.

    Raises:
        BrokenMessage: it cannot be read, or lacks what it is about.
    """
    mfi = message.required("MFI")
    event = mfi.text(3) or "UPD"
    if event not in {"UPD", "REP"}:
        raise BrokenMessage("the file-level event code is neither UPD nor REP", TABLE_VALUE, mfi.place(3))
    steps: list[Step] = []
    named: dict[Code, None] = {}
    for record in records_of(message):
        codes = _codes(record, schemes)
        named |= dict.fromkeys(codes)
        said = _said(message, record, zone=zone, arrival=arrival)
        steps += [partial(_plan, value=value, scheme=scheme, said=said, record=record) for value, scheme in codes]
        if not codes:
            steps.append(lambda _plan: NO_SCHEME)
    if event == "REP":
        steps.append(partial(_replace, named=tuple(named)))
    return steps


def _plan(plan: Plan, *, value: str, scheme: str, said: Mapping[str, Any], record: StaffRecord) -> str:
    """One code of one record; a location that no `[locations]` entry lists is the hospital's own affair."""
    units = [segment.text(2) for segment in record.segments if segment.name == "ORG"]
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


def _codes(record: StaffRecord, schemes: Mapping[str, str]) -> list[Code]:
    """The codes of a member of staff: STF-2 with its authorities, else STF-1 or MFE-4 with its coding system.

    Raises:
        BrokenMessage: there is no identifier at all, or one that does not decode.
    """
    stf = record.first("STF")
    found = [(each.id, each.authority) for each in stf.identifiers(2)] if stf is not None else []
    for segment, field in ((stf, 1), (record.mfe, 4)):
        if not found and segment is not None and (value := segment.identifying(field, 1)):
            found = [(value, segment.identifying(field, 3))]
    if not found:
        raise BrokenMessage("a member of staff has no identifier", REQUIRED_FIELD, record.mfe.place(4))
    codes = ((value, schemes.get(authority, authority)) for value, authority in found)
    return list(dict.fromkeys((value, scheme) for value, scheme in codes if 0 < len(scheme) <= LONGEST_SCHEME))


def _said(message: Hl7Message, record: StaffRecord, *, zone: str, arrival: datetime) -> dict[str, Any]:
    """What a record says of its operator: status and validity.

    MAD says all there is; the others leave what they do not say as it is. An event that takes effect later begins or ends validity then.
    """
    event = record.mfe.text(1)
    if event not in _EVENTS:
        raise BrokenMessage("the record-level event code is none of table 0180", TABLE_VALUE, record.mfe.place(1))
    effective = moment(message, record.mfe, 3, zone=zone, arrival=arrival)
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


# --- the answer --------------------------------------------------------------------------------------------------------


def acknowledged(message: Hl7Message, error: BrokenMessage | None = None) -> list[str]:
    """MFI and, as its response level asks (table 0179), the MFA segments of MFK^M02; they stand after MSA and ERR.

    Args:
        error: why the message was not taken; no record of it was then.

    Returns:
        Segments of which each character is a byte of the message's character set, as the fields of `MessageHeader` are.
    """
    mfi = message.first("MFI")
    if mfi is None:
        return []
    return [segment.encode(message.codec, "replace").decode("latin-1") for segment in _answered(message, mfi, error)]


def _answered(message: Hl7Message, mfi: Segment, error: BrokenMessage | None) -> Iterator[str]:
    field = message.separators.field
    sent = field.join(["MFI", *(mfi.raw(number) for number in range(1, 7))]).rstrip(field)
    asked = {"NE": False, "ER": error is not None, "SU": error is None}.get(mfi.text(6), True)
    yield sent
    if asked:
        yield from _mfa(message, error is None)


def _mfa(message: Hl7Message, taken: bool) -> Iterator[str]:
    """One for each record: its event, its control id, and whether it was posted (table 0181)."""
    for mfe in message.all("MFE"):
        fields = ["MFA", mfe.raw(1), mfe.raw(2), "", "S" if taken else "U", mfe.raw(4), mfe.raw(5)]
        yield message.separators.field.join(fields).rstrip(message.separators.field)
