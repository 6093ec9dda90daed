"""Command sets (PS3.7 6.3.1, 10.3): read with a few lines of struct, answered from templates made once."""

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from plscp.network.answer import Status

C_ECHO_RQ, N_ACTION_RQ, N_ACTION_RSP, C_CANCEL_RQ = 0x0030, 0x0130, 0x8130, 0x0FFF
RESPONSE: Final = 0x8000
NO_DATA_SET: Final = 0x0101

_ELEMENT: Final = struct.Struct("<HHL")
_US: Final = struct.Struct("<H")
_UNSAID: Final = re.compile(r"[^ -\[\]-~]")
"""What an Error Comment must not hold: all but printable ASCII, and the backslash."""

AFFECTED_SOP_CLASS, REQUESTED_SOP_CLASS, COMMAND_FIELD = 0x0002, 0x0003, 0x0100
MESSAGE_ID, RESPONDED_MESSAGE_ID, DATA_SET_TYPE, STATUS = 0x0110, 0x0120, 0x0800, 0x0900
OFFENDING_ELEMENT, ERROR_COMMENT, ERROR_ID = 0x0901, 0x0902, 0x0903
AFFECTED_INSTANCE, REQUESTED_INSTANCE, ATTRIBUTE_LIST, ACTION_TYPE = 0x1000, 0x1001, 0x1005, 0x1008


class Malformed(Exception):  # a condition of the wire
    """A command set that cannot be answered: no elements, or no Message ID."""


@dataclass(slots=True)
class Command:
    """A command set as far as an acceptor of ours needs it.

    Attributes:
        field: Command Field (0000,0100), or 0 where it is absent or mistyped.
        sop_class: Requested or Affected SOP Class UID as sent, without padding.
        instance: Requested SOP Instance UID, or None where absent.
        action_type: Action Type ID, or None where absent.
        fault: 0212H where an element is mistyped, else 0.
        data_unclear: Command Data Set Type, absent or mistyped, does not say whether a data set follows.
    """

    field: int
    message_id: int
    has_data: bool
    sop_class: str
    instance: str | None
    action_type: int | None
    fault: int
    data_unclear: bool = False

    @property
    def asks(self) -> bool:
        """Whether an answer is due: it is no response and no C-CANCEL."""
        return not _asks_nothing(self.field)


def _asks_nothing(field: int) -> bool:
    return bool(field & RESPONSE) or field == C_CANCEL_RQ


def elements(raw: bytes) -> dict[int, bytes]:
    """Element number of group 0000 to value.

    Raises:
        Malformed: it is no Implicit VR Little Endian command set.
    """
    found: dict[int, bytes] = {}
    position, end = 0, len(raw)
    while position < end:
        if end - position < 8:
            raise Malformed
        group, element, length = _ELEMENT.unpack_from(raw, position)
        position += 8
        if group or length > end - position or element in found:
            raise Malformed
        found[element] = raw[position : position + length]
        position += length
    return found


def parse(raw: bytes) -> Command:
    """A command set.

    Raises:
        Malformed: it cannot be answered.
    """
    found = elements(raw)
    message_id, data_set_type = found.get(MESSAGE_ID, b""), found.get(DATA_SET_TYPE, b"")
    field = found.get(COMMAND_FIELD, b"")
    operation = _US.unpack(field)[0] if len(field) == 2 else 0
    if not found or (len(message_id) != 2 and not _asks_nothing(operation)):
        raise Malformed
    unclear = len(data_set_type) != 2
    fault = 0x0212 if unclear else 0
    uids: list[str | None] = []
    for number in (REQUESTED_SOP_CLASS if REQUESTED_SOP_CLASS in found else AFFECTED_SOP_CLASS, REQUESTED_INSTANCE):
        value = found.get(number)
        text = None if value is None else value.decode("latin-1").rstrip("\0 ")
        uids.append(text)
    action = found.get(ACTION_TYPE)
    if action is not None and len(action) != 2:
        fault, action = 0x0212, None
    return Command(
        field=operation,
        message_id=_US.unpack(message_id)[0] if len(message_id) == 2 else 0,
        has_data=not unclear and _US.unpack(data_set_type)[0] != NO_DATA_SET,
        sop_class=uids[0] or "",
        instance=uids[1],
        action_type=None if action is None else _US.unpack(action)[0],
        fault=fault,
        data_unclear=unclear,
    )


class CommandReader:
    """Parses command sets of one association: most differ from the one before in their Message ID only."""

    __slots__ = ("_command", "_offset", "_raw")

    def __init__(self) -> None:
        self._raw = b""
        self._offset = 0
        self._command: Command | None = None

    def read(self, raw: bytes) -> Command:
        """As `parse`."""
        known, offset = self._command, self._offset
        if (
            known is not None
            and len(raw) == len(self._raw)
            and raw[:offset] == self._raw[:offset]
            and raw[offset + 2 :] == self._raw[offset + 2 :]
        ):
            message_id = raw[offset] | raw[offset + 1] << 8
            return Command(
                known.field, message_id, known.has_data, known.sop_class, known.instance, known.action_type, known.fault
            )
        command = parse(raw)
        self._raw, self._command = raw, command
        self._offset = 0 if command.data_unclear else _value_offset(raw, MESSAGE_ID)
        if not self._offset:
            self._command = None
        return command


def _value_offset(raw: bytes, number: int) -> int:
    position = 0
    while position < len(raw):
        _, element, length = _ELEMENT.unpack_from(raw, position)
        if element == number:
            return position + 8 if length == 2 else 0
        position += 8 + int(length)
    return 0


def _element(number: int, value: bytes, pad: bytes = b"\0") -> bytes:
    if len(value) % 2:
        value += pad
    return _ELEMENT.pack(0, number, len(value)) + value


def _sendable(uid: str) -> bool:
    """Whether it may stand in an answer: what a peer sent is not sent back unseen."""
    return uid.isascii() and uid.isprintable() and 0 < len(uid) <= 64


def _tags(tags: "tuple[int, ...]") -> bytes:
    return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags)


def _response(command: Command, status: int, fields: dict[int, bytes], *, has_data: bool, message_id: int) -> bytes:
    """A response command set in tag order, with its group length."""
    field = command.field or N_ACTION_RQ
    action = field == N_ACTION_RQ
    values: dict[int, bytes] = {
        COMMAND_FIELD: _US.pack(field | RESPONSE),
        RESPONDED_MESSAGE_ID: _US.pack(message_id),
        DATA_SET_TYPE: _US.pack(0x0001 if has_data else NO_DATA_SET),
        STATUS: _US.pack(status),
    }
    if _sendable(command.sop_class):
        values[AFFECTED_SOP_CLASS] = command.sop_class.encode("ascii")
    if action and command.instance and _sendable(command.instance):
        values[AFFECTED_INSTANCE] = command.instance.encode("ascii")
    if action and command.action_type is not None and (has_data or status in {0x0000, 0x0115, 0x0123}):
        values[ACTION_TYPE] = _US.pack(command.action_type)
    values |= fields
    body = b"".join(
        _element(number, values[number], b" " if number == ERROR_COMMENT else b"\0") for number in sorted(values)
    )
    return _element(0x0000, struct.pack("<L", len(body))) + body


@lru_cache(maxsize=512)
def _template(
    field: int, sop_class: str, instance: str | None, action_type: int | None, *, status: int, has_data: bool
) -> tuple[bytes, bytes]:
    """A response without optional fields, cut where the Message ID goes."""
    command = Command(field, 0, False, sop_class, instance, action_type, 0)
    raw = _response(command, status, {}, has_data=has_data, message_id=0)
    offset = _value_offset(raw, RESPONDED_MESSAGE_ID)
    return raw[:offset], raw[offset + 2 :]


def response(command: Command, status: int, *, has_data: bool) -> bytes:
    """The response command set (PS3.7 Table 10.3-8), with what PS3.7 Annex C lets stand beside the status.

    Args:
        status: an int, or a `Status` with further fields.
        has_data: whether an Action Reply follows.
    """
    fields: dict[int, bytes] = {}
    if isinstance(status, Status):
        if status.comment:
            fields[ERROR_COMMENT] = _UNSAID.sub("?", status.comment)[:64].encode("ascii")
        if status.error_id is not None:
            fields[ERROR_ID] = _US.pack(status.error_id)
        if status.attributes:
            fields[ATTRIBUTE_LIST] = _tags(tuple(status.attributes))
        if status.offending:
            fields[OFFENDING_ELEMENT] = _tags(tuple(status.offending))
    if fields:
        return _response(command, int(status), fields, has_data=has_data, message_id=command.message_id)
    head, tail = _template(
        command.field,
        command.sop_class,
        command.instance,
        command.action_type,
        status=int(status),
        has_data=has_data,
    )
    return head + _US.pack(command.message_id) + tail
