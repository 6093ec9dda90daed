"""DIMSE: command sets read and answered (PS3.7 6.3.1, 10.3), requests as pynetdicom's handlers know them, messages (PS3.8 Annex E)."""

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from plscp.dicom.answer import Encodable, Status
from plscp.dicom.pdu import COMMAND, LAST, PDV, InvalidPdu, p_data
from plscp.dicom.settings import WireBounds

C_ECHO_RQ, N_SET_RQ, N_ACTION_RQ, N_CREATE_RQ, C_CANCEL_RQ = 0x0030, 0x0120, 0x0130, 0x0140, 0x0FFF
HANDED_OVER: Final = frozenset({N_ACTION_RQ, N_CREATE_RQ, N_SET_RQ})  # Command Fields of what a handler answers
RESPONSE: Final = 0x8000
NO_DATA_SET: Final = 0x0101
KEPT_OF_TOO_LONG: Final = 64 * 1024  # bytes of a data set that is longer than the bound

_ELEMENT: Final = struct.Struct("<HHL")
_US: Final = struct.Struct("<H")
_GROUP_LENGTH: Final = struct.Struct("<HHLL")
_US_ELEMENT: Final = struct.Struct("<HHLH")
_ALWAYS: Final = struct.Struct("<" + 4 * "HHLH")  # elements of every response
_UNSAID: Final = re.compile(r"[^ -\[\]-~]")
"""What an Error Comment must not hold: all but printable ASCII, and the backslash."""

AFFECTED_SOP_CLASS, REQUESTED_SOP_CLASS, COMMAND_FIELD = 0x0002, 0x0003, 0x0100
MESSAGE_ID, RESPONDED_MESSAGE_ID, DATA_SET_TYPE, STATUS = 0x0110, 0x0120, 0x0800, 0x0900
OFFENDING_ELEMENT, ERROR_COMMENT, ERROR_ID = 0x0901, 0x0902, 0x0903
AFFECTED_INSTANCE, REQUESTED_INSTANCE, ATTRIBUTE_LIST, ACTION_TYPE = 0x1000, 0x1001, 0x1005, 0x1008
_MALFORMED: Final = "a command set that cannot be answered"


@dataclass(slots=True)
class Command:
    """A command set as far as an acceptor of ours needs it; what may be absent is None then."""

    field: int  # Command Field (0000,0100); 0 where it is absent or mistyped
    message_id: int
    has_data: bool
    sop_class: str  # Requested or Affected, as sent, without padding
    instance: str | None  # Requested SOP Instance UID, of an N-CREATE the Affected one
    action_type: int | None
    fault: int  # 0212H where an element is mistyped, else 0
    data_unclear: bool = False  # Command Data Set Type, absent or mistyped, does not say whether a data set follows

    @property
    def asks(self) -> bool:
        """Whether an answer is due: it is no response and no C-CANCEL."""
        return not self.field & RESPONSE and self.field != C_CANCEL_RQ


def elements(raw: bytes) -> dict[int, bytes]:
    """Element number of group 0000 to value; raises InvalidPdu for what is no Implicit VR Little Endian command set."""
    found: dict[int, bytes] = {}
    position, end = 0, len(raw)
    while position < end:
        if end - position < 8:
            raise InvalidPdu(_MALFORMED)
        group, element, length = _ELEMENT.unpack_from(raw, position)
        position += 8
        if group or length > end - position or element in found:
            raise InvalidPdu(_MALFORMED)
        found[element] = raw[position : position + length]
        position += length
    return found


def parse(raw: bytes) -> Command:
    """A command set; raises InvalidPdu where it cannot be answered."""
    found = elements(raw)
    message_id, data_set_type, action = (_us(found.get(number)) for number in (MESSAGE_ID, DATA_SET_TYPE, ACTION_TYPE))
    sop_class = found.get(REQUESTED_SOP_CLASS, found.get(AFFECTED_SOP_CLASS, b""))
    field = _us(found.get(COMMAND_FIELD)) or 0
    instance = found.get(AFFECTED_INSTANCE if field == N_CREATE_RQ else REQUESTED_INSTANCE)
    command = Command(
        field=field,
        message_id=message_id or 0,
        has_data=data_set_type not in {None, NO_DATA_SET},
        sop_class=_text(sop_class),
        instance=None if instance is None else _text(instance),
        action_type=action,
        fault=0x0212 if data_set_type is None or (action is None and ACTION_TYPE in found) else 0,
        data_unclear=data_set_type is None,
    )
    if not found or (message_id is None and command.asks):
        raise InvalidPdu(_MALFORMED)
    return command


def _us(value: bytes | None) -> int | None:
    return _US.unpack(value)[0] if value is not None and len(value) == 2 else None


def _text(value: bytes) -> str:
    return value.decode("latin-1").rstrip("\0 ")


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


@lru_cache(maxsize=512)
def _uid_again(number: int, uid: str) -> bytes:
    """The element that gives a request's UID back; none for what cannot be one: what a peer sent is not sent back unseen."""
    sendable = uid.isascii() and uid.isprintable() and 0 < len(uid) <= 64
    return _element(number, uid.encode("ascii")) if sendable else b""


def _tags(number: int, tags: Sequence[int]) -> bytes:
    return _element(number, b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags))


def response(command: Command, status: int, *, has_data: bool) -> bytes:
    """The response command set (PS3.7 Tables 10.3-6, 10.3-8 and 10.3-10), with what PS3.7 Annex C lets stand beside the status."""
    said = status if isinstance(status, Status) else Status(status)
    field = command.field or N_ACTION_RQ
    body = _uid_again(AFFECTED_SOP_CLASS, command.sop_class)
    data_set = 0x0001 if has_data else NO_DATA_SET
    body += _ALWAYS.pack(
        0, COMMAND_FIELD, 2, field | RESPONSE,
        0, RESPONDED_MESSAGE_ID, 2, command.message_id,
        0, DATA_SET_TYPE, 2, data_set,
        0, STATUS, 2, said,
    )  # fmt: skip
    if said.offending:
        body += _tags(OFFENDING_ELEMENT, said.offending)
    if said.comment:
        body += _element(ERROR_COMMENT, _UNSAID.sub("?", said.comment)[:64].encode("ascii"), b" ")
    if said.error_id is not None:
        body += _US_ELEMENT.pack(0, ERROR_ID, 2, said.error_id)
    if said.instance:
        body += _element(AFFECTED_INSTANCE, said.instance.encode("ascii"))
    elif field in HANDED_OVER and command.instance:
        body += _uid_again(AFFECTED_INSTANCE, command.instance)
    if said.attributes:
        body += _tags(ATTRIBUTE_LIST, said.attributes)
    if field == N_ACTION_RQ and command.action_type is not None and (has_data or said in {0x0000, 0x0115, 0x0123}):
        body += _US_ELEMENT.pack(0, ACTION_TYPE, 2, command.action_type)
    return _GROUP_LENGTH.pack(0, 0x0000, 4, len(body)) + body


# --- what a handler gets and returns ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Peer:
    """Who asked for an association."""

    ae_title: str
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context, named as pynetdicom's handlers know it."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


@dataclass(slots=True, eq=False, repr=False)
class Message:
    """One complete request; an N-ACTION-RQ has names of pynetdicom's N_ACTION primitive, too."""

    context: Context
    command: Command
    raw: bytes  # the encoded data set; of a too long one the first 64 KiB
    length: int  # of the whole data set in bytes
    truncated_digest: bytes = b""  # SHA-256 of the whole where it was too long
    repeated: bool = False  # its Message ID was outstanding when it came

    @property
    def truncated_length(self) -> int:
        """Where it was too long, else 0."""
        return self.length if self.truncated_digest else 0

    @property
    def RequestedSOPClassUID(self) -> str:  # noqa: N802  # pynetdicom's name, as the following
        """(0000,0003)."""
        return self.command.sop_class

    @property
    def RequestedSOPInstanceUID(self) -> str | None:  # noqa: N802
        """(0000,1001)."""
        return self.command.instance

    @property
    def ActionTypeID(self) -> int | None:  # noqa: N802
        """(0000,1008)."""
        return self.command.action_type

    def answered(self, status: int, dataset: Encodable | None, max_length: int) -> bytes:
        """The PDUs of an answer: as `response`, and the Action Reply where there is one; `max_length` as in `p_data`."""
        data = encoded(dataset, self.context) if dataset is not None else b""
        command = response(self.command, status, has_data=bool(data))
        out = p_data(self.context.context_id, COMMAND, command, max_length)
        return out + p_data(self.context.context_id, 0, data, max_length) if data else out


@dataclass(slots=True, eq=False, repr=False)
class ActionEvent:
    """One request: N-ACTION, with what pynetdicom's `evt.Event` has for `evt.EVT_N_ACTION`; N-CREATE or N-SET."""

    assoc: Any  # the `Association`
    request: Message
    timestamp: datetime  # UTC, when the last byte of the request was read

    @property
    def context(self) -> Context:
        """The presentation context that it came on."""
        return self.request.context

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return self.request.command.message_id


def encoded(dataset: Encodable, context: Context) -> bytes:
    """An Action Reply in its context's transfer syntax."""
    syntax = context.transfer_syntax
    raw = dataset.encode(implicit=syntax == ImplicitVRLittleEndian, little=syntax != ExplicitVRBigEndian)
    if syntax == DeflatedExplicitVRLittleEndian and raw:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        raw = packer.compress(raw) + packer.flush()
        raw += b"\0" * (len(raw) % 2)
    return bytes(raw)


# --- messages ----------------------------------------------------------------------------------------------------------


class Assembler:
    """Puts the messages of one association together, out of the accepted contexts and within bounds."""

    def __init__(self, contexts: Mapping[int, Context], bounds: WireBounds) -> None:
        self._contexts = contexts
        self._bounds = bounds
        self._reader = CommandReader()
        self._context: Context | None = None
        self._parts = b""
        self._command: Command | None = None
        self._data: bytes | bytearray = b""
        self._length = 0
        self._hash: Any = None
        self._discarding = 0  # context of a data set of which its command did not say that it would come

    @property
    def open(self) -> bool:
        """Whether a message was begun and not ended."""
        return self._context is not None

    def feed(self, data: bytes, position: int, end: int) -> list[Message]:
        """Take the PDVs of one P-DATA-TF, between these places; returns the messages that it completed, usually none or one.

        Raises:
            InvalidPdu: what arrived is no message.
        """
        done: list[Message] = []
        if position == end:
            raise InvalidPdu("a P-DATA-TF without a presentation data value")
        while position < end:
            if end - position < 6:
                raise InvalidPdu("a presentation data value shorter than its header")
            size, context_id, control = PDV.unpack_from(data, position)
            stop = position + 4 + size
            if size < 2 or stop > end:
                raise InvalidPdu("a presentation data value longer than its PDU or shorter than its header")
            fragment = data[position + 6 : stop]
            position = stop
            context = self._context
            if context is None:
                if self._discarding and self._discard(context_id, control):
                    continue
                context = self._context = self._contexts.get(context_id)
                if context is None:
                    raise InvalidPdu("a presentation context that was not accepted")
            elif context.context_id != context_id:
                raise InvalidPdu("fragments of one message on two presentation contexts")
            take = self._take_command if control & COMMAND else self._take_data
            message = take(context, control, fragment)
            if message is not None:
                done.append(message)
        return done

    def _discard(self, context_id: int, control: int) -> bool:
        """Whether a fragment belongs to a data set whose command, answered 0212H, did not say that it would come."""
        mine = context_id == self._discarding and not control & COMMAND
        if not mine or control & LAST:
            self._discarding = 0
        return mine

    def _take_command(self, context: Context, control: int, fragment: bytes) -> Message | None:
        if self._command is not None:
            raise InvalidPdu("a command fragment where the data set was due")
        raw = self._parts + fragment if self._parts else fragment
        if len(raw) > self._bounds.command_set:
            raise InvalidPdu("a command set longer than the bound")
        if not control & LAST:
            self._parts = raw
            return None
        command = self._reader.read(raw)
        if command.has_data:
            self._command = command
            return None
        if command.data_unclear:
            self._discarding = context.context_id
        return self._end(context, command)

    def _take_data(self, context: Context, control: int, fragment: bytes) -> Message | None:
        command = self._command
        if command is None:
            raise InvalidPdu("a data set fragment without a command before it")
        self._length += len(fragment)
        if self._hash is not None:
            self._hash.update(fragment)
        else:
            kept = self._data
            if not kept:
                self._data = kept = fragment
            elif isinstance(kept, bytearray):
                kept += fragment
            else:
                self._data = kept = bytearray(kept) + fragment  # as many small fragments as they like cost no more
            if self._length > self._bounds.data_set:
                self._hash = sha256(kept)
                self._data = bytes(kept[:KEPT_OF_TOO_LONG])
        return self._end(context, command) if control & LAST else None

    def _end(self, context: Context, command: Command) -> Message:
        digest = b"" if self._hash is None else self._hash.digest()
        message = Message(context, command, bytes(self._data), self._length, digest)
        self._context = self._command = self._hash = None
        self._parts, self._data, self._length = b"", b"", 0
        return message
