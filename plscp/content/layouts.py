"""How elements are encoded, and how nearly every device encodes content items and codes: which elements, in which order.

What is encoded like that is read without a step for each element, and remembered by its bytes (`plscp.content.parsing`).
"""

from collections.abc import Callable
from itertools import product
from struct import Struct, pack
from typing import Any, Final, Literal, NamedTuple

from plscp.content import items as sr
from plscp.content.charset import CharacterSet
from plscp.content.constraints import RELATIONSHIPS
from plscp.content.elements import CONTENT_SEQUENCE, LONG
from plscp.content.identity import ITEM_END, sequence_head
from plscp.content.identity import head as canonical_head
from plscp.content.model import Code, ContentItem
from plscp.content.syntax import is_ds, is_line

CONTAINS: Final = canonical_head(sr.RELATIONSHIP_TYPE, 8) + b"CONTAINS"
"""The canonical form of an entry's Relationship Type."""
ONE_MEASURED: Final = sequence_head(sr.MEASURED_VALUE, 1)
HEAD_BYTES: Final = 12
"""No head of an element is longer."""
LONGEST_BYTES: Final = 1024
"""Of what is remembered of a content item."""
OPENING_BYTES: Final = 64
"""Relationship Type and Value Type are shorter than that."""
_KEYS_BYTES: Final = 2 << 20


class ElementHead(NamedTuple):
    """The head of an element, or of an item, in one encoding.

    Attributes:
        start: its tag, and its VR where that is sent.
        size: bytes of the whole head.
        length: reads the length of the value, from where the head begins.
    """

    tag: int
    vr: str
    start: bytes
    size: int
    length: Any

    def value(self, raw: bytes, at: int) -> tuple[int, int] | None:
        """Where the value begins and ends of an element with this head at `at`; None where none is there."""
        if not raw.startswith(self.start, at):
            return None
        begin = at + self.size
        return begin, begin + self.length(raw, at)[0]


class Opening(NamedTuple):
    """What stands before the Concept Name of a content item, and what follows from it.

    Attributes:
        canonical: the canonical form of Relationship Type and Value Type; of an entry with a DateTime, of Value Type.
        total: elements in that, and the text or number that ends the item.
        ending: the head of the text or number that ends such an item, or None; `valid`: what it must look like.
    """

    relationship: str
    value_type: str
    canonical: bytes
    total: int
    ending: ElementHead | None
    valid: Callable[[str], bool]


class Encoding:
    """How elements are encoded (PS3.5 7.1, Annex A).

    Attributes:
        head: reads an element's head: group, element, VR, empty where it is not sent, and length, of two bytes where it is.
        length: reads a length of four bytes.
        tagged: reads group, element and length of what has no VR.
        entry: the bytes with which an entry with a DateTime begins, before the length of that; `entry_size`: with the length.
        openings: by the bytes of Relationship Type and Value Type; `dated`: those of entries with a DateTime, by Value Type.
        code: heads of Code Value, Coding Scheme Designator and Code Meaning, with the most characters of each.
    """

    def __init__(self, name: bytes, order: Literal["<", ">"], *, explicit: bool) -> None:
        self.name = name
        self.explicit = explicit
        self.big = order == ">"
        self._order = order
        self.head = self._reading("HH2sH" if explicit else "HH0sI")
        self.length = self._reading("I")
        self.tagged = self._reading("HHI")
        self.item = self._head(0xFFFEE000, "")
        self.datetime = self._head(sr.OBSERVATION_DATETIME, "DT")
        self.concept_name = self._head(sr.CONCEPT_NAME, "SQ")
        self.concept_code = self._head(sr.CONCEPT_CODE, "SQ")
        self.measured = self._head(sr.MEASURED_VALUE, "SQ")
        self.units = self._head(sr.UNITS, "SQ")
        self.number = self._head(sr.NUMERIC_VALUE, "DS")
        self.content = self._head(CONTENT_SEQUENCE, "SQ")
        self.code = (
            (self._head(sr.CODE_VALUE, "SH"), 16),
            (self._head(sr.SCHEME, "SH"), 16),
            (self._head(sr.MEANING, "LO"), 64),
        )
        contains = self._text(sr.RELATIONSHIP_TYPE, "CONTAINS")
        self.entry, self.entry_size = contains + self.datetime.start, len(contains) + self.datetime.size
        endings: dict[str, tuple[ElementHead | None, Callable[[str], bool]]] = {
            "CODE": (None, bool),
            "NUM": (self.number, is_ds),
            **{value_type: (self._head(tag, vr), valid) for value_type, (tag, vr, valid, _) in sr.SIMPLE.items()},
        }
        self.openings: dict[bytes, Opening] = {}
        self.dated: dict[bytes, Opening] = {}
        for relationship, (value_type, ending) in product(sorted(RELATIONSHIPS), endings.items()):
            first = canonical_head(sr.RELATIONSHIP_TYPE, len(relationship)) + relationship.encode()
            second = canonical_head(sr.VALUE_TYPE, len(value_type)) + value_type.encode()
            sent = self._text(sr.VALUE_TYPE, value_type)
            made = Opening(relationship, value_type, first + second, 2 + (ending[0] is not None), *ending)
            self.openings[self._text(sr.RELATIONSHIP_TYPE, relationship) + sent] = made
            if first == CONTAINS:
                self.dated[sent] = made._replace(canonical=second, total=made.total - 1)

    def _reading(self, what: str) -> Any:
        return Struct(self._order + what).unpack_from

    def _head(self, tag: int, vr: str) -> ElementHead:
        start = pack(f"{self._order}HH", tag >> 16, tag & 0xFFFF)
        if not self.explicit or not vr:
            return ElementHead(tag, vr, start, 8, self._reading("4xI"))
        if vr in LONG:
            return ElementHead(tag, vr, start + vr.encode() + b"\0\0", 12, self._reading("8xI"))
        return ElementHead(tag, vr, start + vr.encode(), 8, self._reading("6xH"))

    def _text(self, tag: int, value: str) -> bytes:
        sent = value.encode() + b" " * (len(value) % 2)
        return self._head(tag, "CS").start + pack(f"{self._order}{'H' if self.explicit else 'I'}", len(sent)) + sent


IMPLICIT: Final = Encoding(b"i", "<", explicit=False)
LITTLE: Final = Encoding(b"e", "<", explicit=True)
BIG: Final = Encoding(b"b", ">", explicit=True)


class CodeSequence(NamedTuple):
    """A sequence of one code about which there is nothing to say.

    Attributes:
        total: elements and items, itself included.
    """

    code: Code
    canonical: bytes
    end: int
    total: int


def usual_code(
    raw: bytes, inside: tuple[int, int], tag: int, encoding: Encoding, charset: CharacterSet
) -> CodeSequence | None:
    """A sequence of one code of value, scheme and meaning, with nothing wrong; its item is to begin and end as given."""
    at, end = inside
    item = encoding.item.value(raw, at)
    if item is None or item[1] != end:
        return None
    texts: list[str] = []
    at, parts = item[0], [sequence_head(tag, 1)]
    for (inner, vr, start, size, length), most in encoding.code:
        if not raw.startswith(start, at):
            return None
        begin = at + size
        at = begin + length(raw, at)[0]
        read = charset.unpadded(raw[begin:at], vr)
        if read is None or (at - begin) & 1:
            return None
        text, sent = read
        text = text.strip(" ")
        if not text or not is_line(text, most):
            return None
        texts.append(text)
        parts += (canonical_head(inner, len(sent)), sent)
    if at != end:
        return None
    parts.append(ITEM_END)
    return CodeSequence(Code(texts[0], texts[1], texts[2]), b"".join(parts), end, 5)


class Frame(NamedTuple):
    """A content item but for what differs from request to request: DateTime of an entry, text or number, children.

    Its bytes hold all lengths, so they alone say how it is read; and they made no finding.

    Attributes:
        canonical: its canonical form; of an entry with a DateTime, without what stands before Value Type.
        total: elements and items, with the text or number.
        measured: bytes up to the end of Measured Value Sequence, where the number ends; else 0.
    """

    like: ContentItem
    canonical: bytes
    total: int
    ending: ElementHead | None
    valid: Callable[[str], bool]
    measured: int


class Memory:
    """What bytes were read before, and what they became: one table for all requests, emptied when it is full.

    Before the bytes that were sent a key has their kind, encoding and character set. What made a finding is not remembered; what is
    remembered is shared by many requests and not changed.
    """

    def __init__(self) -> None:
        self.table: dict[bytes, Any] = {}
        self.size = 0

    def keep(self, key: bytes, found: Any) -> None:
        """Remembers what bytes are that are not in the table."""
        self.size += len(key)
        if self.size > _KEYS_BYTES:
            self.table.clear()
            self.size = len(key)
        self.table[key] = found
