"""HL7 v2 messages in vertical bar encoding (HL7 v2.8.2 chapter 2): bytes to fields, texts, identifiers and times.

The message is parsed with python-hl7; character sets, escape sequences and what is absent, empty or deleted are read here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    {
        "MSH",
        "EVN",
        "PID",
        "MRG",
        "PV1",
        "ORC",
        "OBR",
        "TQ1",
        "ZDS",
        "IPC",
        "AIL",
        "MFI",
        "MFE",
        "STF",
        "ORG",
    }
)
"""Segments that are parsed; of others only the name is looked at."""
TYPES: Final = frozenset({"ADT", "ORM", "OMI", "OMG", "MFN"})
"""Message codes that are read. Of others nothing but the header has to be in order: a report that was cut into lines stops no queue."""
DELETED: Final = '""'
"""A field that is to be empty from now on (2.5.3)."""
_NAME: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_ESCAPED_MOST: Final = 64
_UNDECODED: Final = "\ufffd"


class CompositeId(NamedTuple):
    """A CX (2.A.14): an ID, its assigning authority by namespace or else universal ID, and the identifier type code."""

    id: str
    authority: str
    type: str


@dataclass(frozen=True, slots=True)
class Separators:
    """The encoding characters of a message (MSH-1 and MSH-2)."""

    field: str
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


class Segment:
    """One segment.

    Attributes:
        name: such as ``PID``.
        sequence: 1-based, among those of its name in the message.
    """

    def __init__(self, parsed: Sequence[Any], name: str, sequence: int, separators: Separators) -> None:
        self._parsed, self.name, self.sequence, self._separators = parsed, name, sequence, separators

    def place(self, field: int, repetition: int = 1, component: int = 0) -> tuple[str | int, ...]:
        """Where something stands, as `BrokenMessage.place` has it."""
        return (self.name, self.sequence, field, repetition, *((component,) if component else ()))

    def repetitions(self, field: int) -> int:
        """How often a field stands there, empty ones included; 0 where the segment is shorter."""
        return len(self._parsed[field]) if field < len(self._parsed) else 0

    def raw(self, field: int) -> str:
        """A whole field as it was sent, escape sequences and all."""
        return str(self._parsed[field]) if field < len(self._parsed) else ""

    def says(self, field: int) -> bool:
        """Whether the field has anything, be it that it is deleted."""
        return bool(self.raw(field).strip(" "))

    def deleted(self, field: int) -> bool:
        """Whether the field is to be empty from now on."""
        return self.raw(field).strip(" ") == DELETED

    def text(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """A value without padding; empty where it is absent, empty or deleted. What did not decode is U+FFFD."""
        value = self._leaf(field, repetition, component, subcomponent).strip(" ")
        return "" if value == DELETED else self._unescaped(value).strip(" ")

    def component(self, field: int, component: int, repetition: int = 1) -> list[str]:
        """The subcomponents of a component."""
        count = self._subcomponents(field, repetition, component)
        return [self.text(field, component, index, repetition) for index in range(1, count + 1)]

    def components(self, field: int, repetition: int = 1) -> list[str]:
        """The components of a field, the first subcomponent of each."""
        if not 1 <= repetition <= self.repetitions(field):
            return []
        found = self._parsed[field][repetition - 1]
        return [
            self.text(field, each, 1, repetition) for each in range(1, 1 if isinstance(found, str) else len(found) + 1)
        ] or [self.text(field, 1, 1, repetition)]

    def identifying(self, field: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """As `text`, of what identifies somebody or something. Raises BrokenMessage: it did not decode, or cannot be unescaped."""
        place = self.place(field, repetition, component)
        value = self._leaf(field, repetition, component, subcomponent)
        if _UNDECODED in value:
            raise BrokenMessage("an identifier does not decode in the character set of the message", DATA_TYPE, place)
        if self._strange(value):
            raise BrokenMessage("an identifier has an escape sequence that cannot be read", DATA_TYPE, place)
        return self.text(field, component, subcomponent, repetition)

    def identifiers(self, field: int) -> list[CompositeId]:
        """The identifiers of a repeating CX field; empty and deleted repetitions left out. Raises BrokenMessage, as `identifying`."""
        found = []
        for repetition in range(1, self.repetitions(field) + 1):
            if value := self.identifying(field, 1, 1, repetition):
                authority = self.identifying(field, 4, 1, repetition) or self.identifying(field, 4, 2, repetition)
                found.append(CompositeId(value, authority, self.text(field, 5, 1, repetition)))
        return found

    def _leaf(self, field: int, repetition: int, component: int, subcomponent: int) -> str:
        """A value as it was sent; what is not divided further is its own first part."""
        found: Any = self._parsed[field] if field < len(self._parsed) else ""
        for index in (repetition, component, subcomponent):
            if isinstance(found, str):
                if index != 1:
                    return ""
            elif 1 <= index <= len(found):
                found = list.__getitem__(found, index - 1)
            else:
                return ""
        return str(found)

    def _subcomponents(self, field: int, repetition: int, component: int) -> int:
        found: Any = self._parsed[field] if field < len(self._parsed) else ""
        for index in (repetition, component):
            if isinstance(found, str):
                return 1 if index == 1 and found else 0
            if index > len(found):
                return 0
            found = list.__getitem__(found, index - 1)
        return 1 if isinstance(found, str) else len(found)

    # --- escape sequences (2.7) ---

    def _pieces(self, value: str) -> Iterator[tuple[str, bool]]:
        """Text and, marked True, the insides of escape sequences; an escape character without an end is text."""
        parts = value.split(self._separators.escape)
        at = 0
        while at < len(parts):
            yield parts[at], False
            if at + 2 < len(parts) and len(parts[at + 1]) <= _ESCAPED_MOST:
                yield parts[at + 1], True
                at += 2
            elif at + 1 < len(parts):
                yield self._separators.escape, False
                at += 1
            else:
                break

    def _unescaped(self, value: str) -> str:
        if self._separators.escape not in value:
            return value
        return "".join(self._meant(piece) or "" if inside else piece for piece, inside in self._pieces(value))

    def _strange(self, value: str) -> bool:
        """Whether a value has an escape sequence whose meaning is not known, or the escape character by itself."""
        escape = self._separators.escape
        return escape in value and any(
            self._meant(piece) is None if inside else piece == escape for piece, inside in self._pieces(value)
        )

    def _meant(self, sequence: str) -> str | None:
        """What an escape sequence stands for; highlighting for nothing; None where that is not known, such as other character sets."""
        separators = self._separators
        by_letter = {
            "F": separators.field,
            "S": separators.component,
            "R": separators.repetition,
            "E": separators.escape,
            "T": separators.subcomponent,
            "H": "",
            "N": "",
            ".br": " ",
            ".sp": " ",
        }
        if sequence in by_letter:
            return by_letter[sequence]
        if re.fullmatch(r"X([2-7][0-9A-Fa-f])+", sequence):  # bytes that are the same characters in every character set
            return bytes.fromhex(sequence[1:]).decode("ascii").replace("\x7f", _UNDECODED)
        return None


def first_of(segments: Iterable[Segment], name: str) -> Segment | None:
    """The first segment of a name."""
    return next((segment for segment in segments if segment.name == name), None)


class Hl7Message:
    """A message that was read.

    Attributes:
        header: MSH.
        segments: all that are parsed, in their order, MSH first.
        separators: its encoding characters.
        codec: of its character set, as Python calls it.
    """

    def __init__(self, segments: Sequence[Segment], separators: Separators, codec: str) -> None:
        self.header, self.segments = segments[0], segments
        self.separators, self.codec = separators, codec

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
    def control_id(self) -> str:
        """MSH-10."""
        return self.header.text(10)

    @property
    def sender(self) -> str:
        """Sending application and facility: ``MSH-3|MSH-4``."""
        return f"{self.header.text(3)}|{self.header.text(4)}"

    @property
    def identity(self) -> str:
        """What identifies the message, in the registry's records: ``MSH-3|MSH-4|MSH-10``, cut to 200 characters."""
        return f"{self.sender}|{self.control_id}"[:200]

    def first(self, name: str) -> Segment | None:
        """The first segment of a name."""
        return first_of(self.segments, name)

    def all(self, name: str) -> list[Segment]:
        """The segments of a name."""
        return [segment for segment in self.segments if segment.name == name]

    def groups(self, start: str) -> list[list[Segment]]:
        """The segments in groups, each from a segment of this name on; what stands before the first is left out."""
        groups: list[list[Segment]] = []
        for segment in self.segments:
            if segment.name == start:
                groups.append([])
            if groups:
                groups[-1].append(segment)
        return groups

    def required(self, name: str) -> Segment:
        """As `first`. Raises BrokenMessage: it is not there."""
        found = self.first(name)
        if found is None:
            raise BrokenMessage(f"segment {name} is missing", SEGMENT_SEQUENCE, (name, 1))
        return found


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
    four = (used.field, used.component, used.repetition, used.escape, used.subcomponent)
    if not ends or not 1 <= len(given) <= 5 or len(set(four)) < 5 or not all(map(_is_separator, four)):
        place = ("MSH", 1, 2)
        raise BrokenMessage(
            "MSH-1 and MSH-2 do not name five different encoding characters", DATA_TYPE, place, rejected=True
        )
    return used


def read(data: bytes, default_codec: str) -> Hl7Message:
    """Read a message; of one whose code is none of `TYPES` the header alone.

    Args:
        data: without the frame.
        default_codec: Python's name of the character set of a message that names none (MSH-18).

    Raises:
        BrokenMessage: it cannot be read; `rejected` where it is no message at all.
    """
    data = data.strip(b"\r\n ")
    if not data.startswith(b"MSH") or len(data) < 8:
        raise BrokenMessage(
            "segment MSH is missing: this is no HL7 message", SEGMENT_SEQUENCE, ("MSH", 1), rejected=True
        )
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
    kept, counts = [], dict[str, int]()
    numbers = []
    for index, line in enumerate(text.split("\r")):
        name = line[:3]
        if not line.strip():
            continue
        if not _NAME.fullmatch(name) or line[3:4] not in {"", separators.field} or (name == "MSH" and index):
            raise BrokenMessage("a segment begins with no segment name", SEGMENT_SEQUENCE, ("MSH", 1))
        counts[name] = counts.get(name, 0) + 1
        if name in READ:
            kept.append(line)
            numbers.append(counts[name])
    parsed = hl7.parse("\r".join(kept))
    segments = [
        Segment(segment, kept[index][:3], numbers[index], separators) for index, segment in enumerate(list(parsed))
    ]
    return Hl7Message(segments, separators, codec)


def _codec(fields: Sequence[str], separators: Separators, default_codec: str) -> str:
    """The codec of MSH-18: of several character sets that which has the others in it. Raises BrokenMessage for one not known."""
    named = [each.strip(" ") for each in (fields[17] if len(fields) > 17 else "").split(separators.repetition)]
    codecs = []
    for name in filter(None, named):
        if name not in CHARACTER_SETS:
            raise BrokenMessage(
                "MSH-18 names a character set that is not known here", TABLE_VALUE, ("MSH", 1, 18), rejected=True
            )
        codecs.append(CHARACTER_SETS[name])
    wider = [codec for codec in codecs if codec != "ascii"]
    if len(set(wider)) > 1:
        if all(codec.startswith("iso2022_jp") for codec in wider):
            return "iso2022_jp_1"
        raise BrokenMessage(
            "MSH-18 names character sets that are not read together", TABLE_VALUE, ("MSH", 1, 18), rejected=True
        )
    return (wider or codecs or [default_codec])[0]


# --- times ---------------------------------------------------------------------------------------------------------------


def moment(
    message: Hl7Message, segment: Segment, field: int, component: int = 1, *, zone: str, arrival: datetime
) -> datetime | None:
    """A time in UTC: the first moment that it may mean; None where there is none.

    It has its own offset, else that of MSH-7, else it is in the zone of the feed.

    Args:
        zone: IANA name, for times without an offset.
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
