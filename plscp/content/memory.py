"""What bytes were read before, and what they became: most of a request is what its device sent many times.

A key starts with encoding and character set, which decide what bytes mean. What made a finding is not remembered; what is
remembered may be shared by many requests and is not changed.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Self

from plscp.content.charset import ESC, CharacterSet
from plscp.content.elements import Item
from plscp.content.identity import ITEM_END
from plscp.content.identity import head as canonical_head
from plscp.content.items import (
    CONCEPT_NAME,
    MEASURED_VALUE,
    NUMERIC_VALUE,
    OBSERVATION_DATETIME,
    RELATIONSHIP_TYPE,
    VALUE_TYPE,
)
from plscp.content.model import ContentItem, Numeric
from plscp.content.syntax import is_ds, is_dt, is_pn, is_unformatted

_KEYS_BYTES: Final = 2 << 20

CONTAINS: Final = canonical_head(RELATIONSHIP_TYPE, 8) + b"CONTAINS"
"""The canonical form of an entry's Relationship Type."""


class Memory:
    """Bytes read before, and what they were: one table for all requests, emptied when it is full.

    Attributes:
        size: bytes of all keys.
    """

    def __init__(self) -> None:
        self.table: dict[bytes, Any] = {}
        self.size = 0

    def keep(self, key: bytes, found: Any) -> None:
        """Remembers what bytes are."""
        if key not in self.table:
            self.size += len(key)
        if self.size > _KEYS_BYTES:
            self.table.clear()
            self.size = len(key)
        self.table[key] = found


_ENDS: Final[dict[str, tuple[int, str, Callable[[str], bool]]]] = {
    # value type: the text or number that ends such an item, its VR, and what it must look like
    "TEXT": (0x0040A160, "UT", is_unformatted),
    "PNAME": (0x0040A123, "PN", is_pn),
    "NUM": (NUMERIC_VALUE, "DS", is_ds),
}
_ENDING: Final = {b"TEXT": b"\x40\x00\x60\xa1", b"PNAM": b"\x40\x00\x23\xa1", b"NUM ": b"\x40\x00\x0a\xa3"}
"""Their tags in little endian, by the first bytes of the value type."""
_BESIDE: Final = frozenset({RELATIONSHIP_TYPE, VALUE_TYPE, CONCEPT_NAME})
"""Nothing else may stand in an item that its text or number ends, but an entry's DateTime."""
_NO_VALUE: Final = (0, "", is_dt)


def ending_at(raw: bytes, value_type: int, end: int, explicit: bool) -> int:
    """Where a text or a number seems to begin that ends a content item; the item's end where it has none.

    Args:
        value_type: where the value of its Value Type should begin.
        end: of the item.
        explicit: whether VRs are sent.
    """
    tag = _ENDING.get(raw[value_type : value_type + 4])
    at = raw.rfind(tag, value_type, end) if tag is not None else -1
    if at < 0:
        return end
    return min(at + (12 if explicit and raw.startswith(b"UT", at + 4) else 8), end)


class Frame(NamedTuple):
    """A content item but for what differs from request to request: DateTime of an entry, text or number, children.

    The bytes before a value or children hold all lengths, so they alone say how they are read; and they made no finding.

    Attributes:
        like: the item that came first.
        canonical: the canonical form between the DateTime and what ends the item.
        size: elements and items, without those of Content Sequence.
        height: levels of sequences, without Content Sequence.
        tag, vr, valid: of the text or number that ends it, what it must look like; `tag` is 0 where there is none.
        length: bytes of that as sent.
    """

    like: ContentItem
    canonical: bytes
    size: int
    height: int
    tag: int
    vr: str
    valid: Callable[[str], bool]
    length: int

    @classmethod
    def of(cls, item: Item, made: ContentItem, ending: bytes, *, entry: bool) -> Self | None:
        """What to remember of an item that made no finding; None where nothing.

        Args:
            item: as it was read; with children, Content Sequence is its last element.
            made: the content item.
            ending: the encoded text or number that seems to end it, or its children, or nothing.
            entry: its DateTime is left out.
        """
        if not entry and not ending:
            return cls(made, item.canonical, item.count - 1, item.height, *_NO_VALUE, 0)
        like = ContentItem(made.relationship, made.value_type, made.concept, made.value)
        canonical, size, height = item.canonical, item.count - 1, item.height
        if item.start is not None:
            _, canonical, size, height, _ = item.start
        if entry:
            canonical = canonical[len(CONTAINS) + 8 + len(item.elements[OBSERVATION_DATETIME].value) :]
            if made.value_type == "CODE":
                if made.observation_uid or made.other or (ending and item.start is None):
                    return None  # more than `like` holds, or what stands where children would begin is none
                return cls(like, canonical, size, height, *_NO_VALUE, 0)
        if item.start is not None or made.value_type not in _ENDS:
            return None  # its text, number or reference is in the way
        tag, vr, valid = _ENDS[made.value_type]
        holder, last, after = item, tag, b""
        if item.measured is not None:
            holder, last, after = item.measured, MEASURED_VALUE, ITEM_END
        element = holder.elements.get(tag)
        if element is None or element.vr != vr or not isinstance(element.value, str):
            return None
        text = element.value.encode("utf-8", "surrogatepass")
        whole = canonical_head(tag, len(text)) + text + after
        beside = _BESIDE | {OBSERVATION_DATETIME} if entry else _BESIDE
        if item.elements.keys() - beside != {last} or ending.rstrip(b"\0 ") != text or not canonical.endswith(whole):
            return None
        return cls(like, canonical[: -len(whole)], size, height, tag, vr, valid, len(ending))

    def ended(self, raw: bytes, charset: CharacterSet, when: str = "") -> tuple[ContentItem, bytes] | None:
        """The item with another text or number, and its canonical form; None where that is to be looked at as a whole.

        Args:
            raw: the value as sent.
            charset: that it is in.
            when: DateTime of an entry.
        """
        like, canonical, _, _, tag, vr, valid, length = self
        if not tag or len(raw) != length:
            return None
        if raw.isascii() and ESC not in raw:
            value = raw.rstrip(b"\0 ")
            text = value.decode("ascii")
        else:
            decoded = charset.decode(raw, vr) if vr != "DS" else None
            if decoded is None:
                return None
            text = decoded.rstrip("\0 ")
            value = text.encode("utf-8", "surrogatepass")
        if vr != "UT":
            text = text.strip(" ")
        if not text or not valid(text):
            return None
        canonical += canonical_head(tag, len(value)) + value
        if vr != "DS":
            return ContentItem(like.relationship, like.value_type, like.concept, text, [], when), canonical
        old = like.value
        assert type(old) is Numeric
        number = Numeric(text, old.units, old.qualifier, old.other)
        return ContentItem(like.relationship, "NUM", like.concept, number, [], when), canonical + ITEM_END
