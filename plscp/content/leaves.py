"""Content items without children that differ in their text or number only: what stands before it is not read again.

The bytes before the value hold all lengths, so they alone say how the item is read; and what they hold was looked at before.
"""

from typing import Final, NamedTuple, Self

from plscp.content.charset import ESC, CharacterSet
from plscp.content.elements import Item
from plscp.content.encodings import Form
from plscp.content.identity import ITEM_END
from plscp.content.identity import head as canonical_head

_TEXTS: Final = {(0x0040A160, "UT"), (0x0040A123, "PN")}
"""Text Value and Person Name."""
_NUMBERS: Final = {(0x0040A30A, "DS")}
"""Numeric Value, in the one item of Measured Value Sequence."""
_HEADS: Final = (b"\x40\x00\x60\xa1", b"\x40\x00\x0a\xa3", b"\x40\x00\x23\xa1")
"""Their tags in little endian."""
_MEASURED: Final = 0x0040A300
_BESIDE: Final = frozenset({0x0040A010, 0x0040A040, 0x0040A043})
"""Relationship Type, Value Type and Concept Name: nothing else may stand in a leaf."""


def value_at(raw: bytes, pos: int, end: int, form: Form) -> int:
    """Where in an item's bytes a text or a number seems to begin that ends it, or 0."""
    for head in _HEADS:
        at = raw.rfind(head, pos, end)
        if at >= 0:
            return at + (12 if form.explicit and raw.startswith(b"UT", at + 4) else 8)
    return 0


class Leaf(NamedTuple):
    """A content item that was read without a note, and where its value stands in it.

    Attributes:
        value: as it was sent.
        tag, vr: of the value.
        held: the item of Measured Value Sequence where the value stands in that, or None.
        outer, before, after: the canonical form around: up to that item, in the item that holds the value, after it.
    """

    item: Item
    value: bytes
    tag: int
    vr: str
    held: Item | None
    outer: bytes
    before: bytes
    after: bytes

    @classmethod
    def of(cls, item: Item, value: bytes) -> Self | None:
        """The leaf of an item whose encoded value seems to be this one; None where it is not its last bytes."""
        last = max(item.elements)
        if last == _MEASURED:
            held = item.elements[last][1]
            if type(held) is not list or len(held) != 1 or not held[0].elements:
                return None
            holder, after, ends = held[0], ITEM_END, _NUMBERS
        else:
            holder, after, ends = item, b"", _TEXTS
        tag = max(holder.elements)
        vr, text = holder.elements[tag]
        if (tag, vr) not in ends or not isinstance(text, str):
            return None
        sent = text.encode("utf-8", "surrogatepass")
        piece = canonical_head(tag, len(sent)) + sent
        whole = holder.canonical + after
        if (
            item.elements.keys() - _BESIDE != {last}
            or value.rstrip(b"\0 ") != sent
            or not item.canonical.endswith(whole)
        ):
            return None
        before = holder.canonical[: -len(piece)]
        return cls(item, value, tag, vr, holder if after else None, item.canonical[: -len(whole)], before, after)

    def with_value(self, raw: bytes, charset: CharacterSet) -> Item | None:
        """The item with another encoded value; None where that is to be looked at as a whole."""
        if raw == self.value:
            return self.item
        if raw.isascii() and ESC not in raw:
            value = raw.rstrip(b"\0 ")
            text = value.decode("ascii")
        else:
            decoded = charset.decode(raw, self.vr) if self.held is None else None
            if decoded is None:
                return None
            text = decoded.rstrip("\0 ")
            value = text.encode("utf-8", "surrogatepass")
        like, made = self.item, Item()
        made.like, made.count, made.height = like, like.count, like.height
        canonical = self.before + canonical_head(self.tag, len(value)) + value
        if self.held is None:
            made.elements = {**like.elements, self.tag: (self.vr, text)}
        else:
            inner = Item()
            inner.elements = {**self.held.elements, self.tag: (self.vr, text)}
            inner.canonical, inner.count, inner.height = canonical, self.held.count, self.held.height
            made.elements = {**like.elements, _MEASURED: ("SQ", [inner])}
        made.canonical = self.outer + canonical + self.after
        return made
