"""HL7 v2 messages in vertical bar encoding (HL7 v2.8.2 chapter 2): bytes to fields, texts, identifiers and times.

python-hl7 divides them; character sets, escape sequences and what is absent, empty or deleted are read here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import hl7

from plscp.errors import BrokenMessage
from plscp.matching.times import instant

# HL7 table 0357
SEGMENT_SEQUENCE, REQUIRED_FIELD, DATA_TYPE, TABLE_VALUE, UNKNOWN_KEY, INTERNAL = 100, 101, 102, 103, 204, 207

CHARACTER_SETS: Final = {
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 10), 15)},
    "ISO IR14": "iso2022_jp_1",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
}
"""HL7 table 0211, as far as Python decodes them: by value the codec. UTF-16 and UTF-32 have bytes that end segments and frames."""
READ: Final = frozenset(
    ("MSH", "EVN", "PID", "MRG", "PV1", "ORC", "OBR", "TQ1", "ZDS", "IPC", "AIL", "MFI", "MFE", "STF", "ORG")
)
"""Segments that are parsed; of others only the name is looked at."""
TYPES: Final = frozenset({"ADT", "ORM", "OMI", "OMG", "MFN"})
"""Message codes that are read. Of others nothing but the header has to be in order: a report that was cut into lines stops no queue."""
DELETED: Final = '""'
"""A field that is to be empty from now on (2.5.3)."""
_NAME: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_ESCAPED_MOST: Final = 64
_HEXADECIMAL: Final = re.compile("X([2-7][0-9A-Fa-f])+")
"""Bytes that are the same characters in every character set."""
_UNDECODED: Final = "\ufffd"


class CompositeId(NamedTuple):
    """A CX (2.A.14): an ID, its assigning authority by namespace or else universal ID, and the identifier type code."""

    id: str
    authority: str
    type: str


class Separators(NamedTuple):
    """The encoding characters of a message (MSH-1 and MSH-2)."""

    field: str
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def letters(self) -> dict[str, str]:
        """Each encoding character by the letter that stands for it in an escape sequence (2.7.1)."""
        return dict(zip("FSRET", self, strict=True))


class Segment:
    """One segment; `sequence` counts from 1 among those of its name in the message."""

    def __init__(self, parsed: Sequence[Any], name: str, sequence: int, separators: Separators) -> None:
        self._parsed, self.name, self.sequence, self._separators = parsed, name, sequence, separators

    def place(self, field: int, repetition: int = 1, component: int = 0) -> tuple[str | int, ...]:
        """Where something stands, as `BrokenMessage.place` has it."""
        return (self.name, self.sequence, field, repetition, *((component,) if component else ()))

    def raw(self, field: int) -> str:
        """A whole field as it was sent, escape sequences and all."""
        return str(self._parsed[field]) if field < len(self._parsed) else ""

    def says(self, field: int) -> bool:
        """Whether the field has anything, be it that it is deleted."""
        return bool(self.raw(field).strip(" "))

    def text(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """A value without padding; empty where it is absent, empty or deleted. What did not decode is U+FFFD."""
        value = self._sent(field, repetition, component, subcomponent).strip(" ")
        return "" if value == DELETED else self._unescaped(value)[0].strip(" ")

    def components(self, field: int) -> list[str]:
        """The components of a field, the first subcomponent of each."""
        return [self.text(field, number) for number in range(1, len(self._parts(field, 1)) + 1)]

    def identifying(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """As `text`, of what identifies somebody or something. Raises BrokenMessage: it did not decode, or cannot be unescaped."""
        place = self.place(field, repetition, component)
        value = self._sent(field, repetition, component, subcomponent)
        if _UNDECODED in value:
            raise BrokenMessage("an identifier does not decode in the character set of the message", DATA_TYPE, place)
        if not self._unescaped(value)[1]:
            raise BrokenMessage("an identifier has an escape sequence that cannot be read", DATA_TYPE, place)
        return self.text(field, component, subcomponent, repetition)

    def identifiers(self, field: int) -> list[CompositeId]:
        """The identifiers of a repeating CX field; empty and deleted repetitions left out. Raises BrokenMessage, as `identifying`."""
        found = []
        for repetition in range(1, len(self._parts(field)) + 1):
            if value := self.identifying(field, 1, 1, repetition):
                authority = self.identifying(field, 4, 1, repetition) or self.identifying(field, 4, 2, repetition)
                found.append(CompositeId(value, authority, self.text(field, 5, 1, repetition)))
        return found

    def _parts(self, field: int, *within: int) -> Sequence[Any]:
        """What a field is divided into, or a repetition or component of it; what is not divided is its own one part."""
        parts = self._parsed[field] if field < len(self._parsed) else ()
        for number in within:
            part = parts[number - 1] if number <= len(parts) else ""
            parts = (part,) if isinstance(part, str) else part
        return parts

    def _sent(self, field: int, repetition: int, component: int, subcomponent: int) -> str:
        parts = self._parts(field, repetition, component)
        return str(parts[subcomponent - 1]) if subcomponent <= len(parts) else ""

    def _unescaped(self, value: str) -> tuple[str, bool]:
        """A value with its escape sequences read (2.7), and whether all could be; an escape character without an end stays.

        Highlighting stands for nothing; so does what is not known, such as other character sets.
        """
        used, known = self._separators, True
        if used.escape not in value:
            return value, True
        letters = {
            **used.letters,
            **dict.fromkeys(("H", "N"), ""),
            **dict.fromkeys((".br", ".sp"), " "),
        }

        def meant(found: re.Match[str]) -> str:
            nonlocal known
            sequence = found[1]
            if sequence in letters:
                return letters[sequence]
            if sequence and _HEXADECIMAL.fullmatch(sequence):
                return bytes.fromhex(sequence[1:]).decode("ascii").replace("\x7f", _UNDECODED)
            known = False
            return found[0] if sequence is None else ""

        escape = re.escape(used.escape)
        read = re.sub(f"{escape}([^{escape}]{{0,{_ESCAPED_MOST}}}){escape}|{escape}", meant, value)
        return read, known


class Segments(list[Segment]):
    """Segments of a message, in their order."""

    def first(self, name: str) -> Segment | None:
        """The first of a name."""
        return next((segment for segment in self if segment.name == name), None)

    def all(self, name: str) -> list[Segment]:
        """Those of a name."""
        return [segment for segment in self if segment.name == name]

    def groups(self, start: str) -> list["Segments"]:
        """In groups, each from a segment of this name on; what stands before the first is left out."""
        groups: list[Segments] = []
        for segment in self:
            if segment.name == start:
                groups.append(Segments())
            if groups:
                groups[-1].append(segment)
        return groups

    def required(self, name: str) -> Segment:
        """As `first`. Raises BrokenMessage: it is not there."""
        found = self.first(name)
        if found is None:
            raise BrokenMessage(f"segment {name} is missing", SEGMENT_SEQUENCE, (name, 1))
        return found

    def required_groups(self, start: str) -> list["Segments"]:
        """As `groups`. Raises BrokenMessage: there is none."""
        self.required(start)
        return self.groups(start)


class Hl7Message(Segments):
    """A message that was read: all segments that are parsed, MSH first; `codec` is what Python calls its character set."""

    def __init__(self, segments: Iterable[Segment], separators: Separators, codec: str) -> None:
        super().__init__(segments)
        self.header, self.separators, self.codec = self[0], separators, codec

    @property
    def kind(self) -> str:
        """Message code and trigger event: ``ADT^A01``."""
        code, event = self.header.text(9, 1), self.event
        return f"{code}^{event}" if event else code

    @property
    def event(self) -> str:
        """The trigger event, of a sender of old from EVN-1: ``A01``; of an order the only one there was before v2.3."""
        evn = self.first("EVN")
        stated = self.header.text(9, 2) or (evn.text(1) if evn is not None else "")
        return stated or ("O01" if self.header.text(9, 1) == "ORM" else "")

    @property
    def sender(self) -> str:
        """Sending application and facility: ``MSH-3|MSH-4``."""
        return f"{self.header.text(3)}|{self.header.text(4)}"

    @property
    def identity(self) -> str:
        """What identifies the message, in the registry's records: ``MSH-3|MSH-4|MSH-10``, cut to 200 characters."""
        return f"{self.sender}|{self.header.text(10)}"[:200]


class MessageHeader(NamedTuple):
    """What an acknowledgement needs of a message, however broken the rest is: fields of MSH as sent, by their number."""

    separators: Separators
    fields: dict[int, str]


def header_of(data: bytes) -> MessageHeader:
    """The header of a message whose first bytes these are; with what it does not say left out."""
    line = re.split(rb"[\r\n]", data.lstrip(b"\r\n "), maxsplit=1)[0][:4096].decode("latin-1")
    if not line.startswith("MSH") or len(line) < 5:
        return MessageHeader(Separators("|"), {})
    try:
        separators = _separators(line)
    except BrokenMessage:
        separators = Separators(line[3]) if _is_separator(line[3]) else Separators("|")
    parts = line.split(separators.field)
    return MessageHeader(separators, {number: part for number, part in enumerate(parts[2:], 3) if part.isprintable()})


def _is_separator(character: str) -> bool:
    return "!" <= character <= "~" and not character.isalnum()


def _separators(line: str) -> Separators:
    """The encoding characters that a header names. Raises BrokenMessage: these cannot be."""
    field = line[3:4]
    given, ends, _ = line[4:].partition(field) if field else ("", "", "")
    # The fifth of them marks what was cut (v2.7), and nothing is.
    used = Separators(field, *given[:4])
    if not ends or not 1 <= len(given) <= 5 or len(set(used)) < 5 or not all(map(_is_separator, used)):
        why = "MSH-1 and MSH-2 do not name five different encoding characters"
        raise BrokenMessage(why, DATA_TYPE, ("MSH", 1, 2), rejected=True)
    return used


def read(data: bytes, default_codec: str) -> Hl7Message:
    """Read a message; of one whose code is none of `TYPES` the header alone.

    Args:
        default_codec: Python's name of the character set of a message that names none (MSH-18).

    Raises:
        BrokenMessage: it cannot be read; `rejected` where it is no message at all.
    """
    data = data.strip(b"\r\n ")
    if not data.startswith(b"MSH") or len(data) < 8:
        why = "segment MSH is missing: this is no HL7 message"
        raise BrokenMessage(why, SEGMENT_SEQUENCE, ("MSH", 1), rejected=True)
    line = re.split(rb"[\r\n]", data, maxsplit=1)[0].decode("latin-1")
    separators = _separators(line)
    fields = line.split(separators.field)
    code = fields[8].split(separators.component)[0].strip(" ") if len(fields) > 8 else ""
    if code and code not in TYPES:
        data, fields = line.encode("latin-1"), fields[:17]
    codec = _codec(fields, separators, default_codec)
    text = data.decode(codec, "replace").replace("\r\n", "\r")
    if "\r" not in text:
        text = text.replace("\n", "\r")
    kept: list[tuple[str, int]] = []
    counts = Counter[str]()
    for index, line in enumerate(text.split("\r")):
        name = line[:3]
        if not line.strip():
            continue
        if not _NAME.fullmatch(name) or line[3:4] not in {"", separators.field} or (name == "MSH" and index):
            raise BrokenMessage("a segment begins with no segment name", SEGMENT_SEQUENCE, ("MSH", 1))
        counts[name] += 1
        if name in READ:
            kept.append((line, counts[name]))
    parsed = hl7.parse("\r".join(line for line, _ in kept))
    segments = (
        Segment(fields, line[:3], number, separators) for fields, (line, number) in zip(parsed, kept, strict=True)
    )
    return Hl7Message(segments, separators, codec)


def _codec(fields: Sequence[str], separators: Separators, default_codec: str) -> str:
    """The codec of MSH-18: of several character sets that which has the others in it. Raises BrokenMessage for one not known."""
    named = [name for each in "".join(fields[17:18]).split(separators.repetition) if (name := each.strip(" "))]
    place = ("MSH", 1, 18)
    if not CHARACTER_SETS.keys() >= set(named):
        raise BrokenMessage("MSH-18 names a character set that is not known here", TABLE_VALUE, place, rejected=True)
    codecs = {CHARACTER_SETS[name] for name in named}
    wider = codecs - {"ascii"}
    if wider == {"iso2022_jp", "iso2022_jp_1"}:
        return "iso2022_jp_1"
    if len(wider) > 1:
        raise BrokenMessage("MSH-18 names character sets that are not read together", TABLE_VALUE, place, rejected=True)
    return next(iter(wider or codecs), default_codec)


def moment(
    message: Hl7Message, segment: Segment, field: int, component: int = 1, *, zone: str, arrival: datetime
) -> datetime | None:
    """A time in UTC: the first moment that it may mean; None where there is none.

    Args:
        zone: IANA name, of a time that has no offset of its own, where MSH-7 has none either.
        arrival: UTC; decides between the readings of a repeated hour.

    Raises:
        BrokenMessage: it is no time (2.A.22, DTM).
    """
    text = segment.text(field, component)
    if not text:
        return None
    stated = re.search(r"[+-]\d{4}$", message.header.text(7))
    try:
        return instant(
            text,
            request_offset=stated[0] if stated else "",
            device_zone=zone,
            server_zone=zone,
            arrival=arrival,
            tolerance=timedelta(days=1),
        ).earliest
    except ValueError:
        place = segment.place(field, 1, component)
        raise BrokenMessage("not a date and time: YYYYMMDDHHMMSS+ZZZZ is expected", DATA_TYPE, place) from None
