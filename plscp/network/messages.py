"""Messages from presentation data values (PS3.8 Annex E, PS3.7 6.3): command fragments, then data set fragments, one context."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from plscp.network.dimse import Command, CommandReader, Malformed
from plscp.network.negotiation import Context
from plscp.network.pdu import COMMAND, LAST, PDV

KEPT_OF_TOO_LONG: Final = 64 * 1024


class Violation(Exception):  # a condition of the wire
    """What arrived is no message: A-ABORT, source 2, reason 6; `str()` names the fault."""


class Message:
    """One complete request.

    Attributes:
        data: the encoded data set; of a too long one the first 64 KiB.
        length: of the whole data set in bytes.
        digest: SHA-256 of the whole where it was too long, else empty.
        repeated: whether its Message ID was outstanding when it came.
    """

    __slots__ = ("command", "context", "data", "digest", "length", "repeated")

    def __init__(self, context: Context, command: Command, data: bytes, length: int, digest: bytes) -> None:
        self.context = context
        self.command = command
        self.data = data
        self.length = length
        self.digest = digest
        self.repeated = False


class Assembler:
    """Puts the messages of one association together.

    Args:
        contexts: the accepted ones by their ID.
        command_bound, data_bound: most bytes of a command set, and of a data set that is kept whole.
    """

    __slots__ = (
        "_command",
        "_context",
        "_contexts",
        "_data",
        "_discarding",
        "_hash",
        "_length",
        "_parts",
        "_reader",
        "command_bound",
        "data_bound",
    )

    def __init__(self, contexts: Mapping[int, Context], command_bound: int, data_bound: int) -> None:
        self._contexts = contexts
        self.command_bound, self.data_bound = command_bound, data_bound
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
        """Take the PDVs of one P-DATA-TF.

        Args:
            data: holds the PDU's variable field from `position` to `end`.

        Returns:
            The messages that it completed, usually none or one.

        Raises:
            Violation: the association cannot go on.
        """
        done: list[Message] = []
        if position == end:
            raise Violation("a P-DATA-TF without a presentation data value")
        while position < end:
            if end - position < 6:
                raise Violation("a presentation data value shorter than its header")
            size, context_id, control = PDV.unpack_from(data, position)
            stop = position + 4 + size
            if size < 2 or stop > end:
                raise Violation("a presentation data value longer than its PDU or shorter than its header")
            message = self._take(context_id, control, data[position + 6 : stop])
            if message is not None:
                done.append(message)
            position = stop
        return done

    def _take(self, context_id: int, control: int, fragment: bytes) -> Message | None:
        context = self._context
        if context is None:
            if self._discarding and self._discard(context_id, control):
                return None
            context = self._contexts.get(context_id)
            if context is None:
                raise Violation("a presentation context that was not accepted")
            self._context = context
        elif context.context_id != context_id:
            raise Violation("fragments of one message on two presentation contexts")
        if control & COMMAND:
            return self._take_command(context, control, fragment)
        return self._take_data(context, control, fragment)

    def _discard(self, context_id: int, control: int) -> bool:
        """Whether a fragment belongs to a data set whose command, answered 0212H, did not say that it would come."""
        mine = context_id == self._discarding and not control & COMMAND
        if not mine or control & LAST:
            self._discarding = 0
        return mine

    def _take_command(self, context: Context, control: int, fragment: bytes) -> Message | None:
        if self._command is not None:
            raise Violation("a command fragment where the data set was due")
        raw = self._parts + fragment if self._parts else fragment
        if len(raw) > self.command_bound:
            raise Violation("a command set longer than the bound")
        if not control & LAST:
            self._parts = raw
            return None
        try:
            command = self._reader.read(raw)
        except Malformed:
            raise Violation("a command set that cannot be answered") from None
        if command.has_data:
            self._command = command
            return None
        if command.data_unclear:
            self._discarding = context.context_id
        return self._end(context, command)

    def _take_data(self, context: Context, control: int, fragment: bytes) -> Message | None:
        command = self._command
        if command is None:
            raise Violation("a data set fragment without a command before it")
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
            if self._length > self.data_bound:
                self._hash = sha256(kept)
                self._data = bytes(kept[:KEPT_OF_TOO_LONG])
        return self._end(context, command) if control & LAST else None

    def _end(self, context: Context, command: Command) -> Message:
        digest = self._hash.digest() if self._hash is not None else b""
        message = Message(context, command, bytes(self._data), self._length, digest)
        self._context = self._command = self._hash = None
        self._parts, self._data, self._length = b"", b"", 0
        return message
