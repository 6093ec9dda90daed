"""One pass over encoded data elements, without pydicom's: those cost 20 microseconds each (PS3.5 section 7, Annex A)."""

from typing import Any, Final

from plscp.content.charset import DEFAULT, ESC, CharacterSet, character_set
from plscp.content.elements import (
    ASCII,
    CONTENT_SEQUENCE,
    DICTIONARY,
    EXPLICIT,
    ITEM,
    ITEM_DELIMITATION,
    SEQUENCE,
    SEQUENCE_DELIMITATION,
    SPECIFIC_CHARACTER_SET,
    TEXT,
    TRAILING_PADDING,
    UNDEFINED,
    UNITS,
    Item,
    Undecoded,
    implicit,
)
from plscp.content.encodings import IMPLICIT, Fault, Form, Note, Where, memory
from plscp.content.identity import UNDECODED
from plscp.content.identity import head as canonical_head
from plscp.content.identity import sequence as canonical_sequence
from plscp.content.leaves import Leaf, value_at
from plscp.templates.request import Bounds

DEEPEST: Final = 60
"""No setting goes deeper: reading, checking and publishing go down by calls; and each sequence is up to three levels of JSON, of which
consumers' parsers take 200."""

CODED: Final = frozenset(
    {0x0040A043, 0x0040A168, 0x004008EA, 0x0040A301, 0x0040A504, 0x00540302, 0x00401101, 0x00081072}
)
"""Sequences of codes: a device sends the same bytes again and again."""
_RELATIONSHIP: Final = b"\x40\x00\x10\xa0"
"""Relationship Type (0040,A010) in little endian: as a rule the first element of a content item."""
_CONTENT: Final = b"\x40\x00\x30\xa7"
"""Content Sequence (0040,A730) in little endian."""
_LONGEST: Final = 1024
_DELIMITERS: Final = 0xFFFE


class Reader:
    """One pass over the bytes of one data set.

    Attributes:
        notes: what was odd.
        outermost: Specific Character Set of the data set itself.
    """

    def __init__(self, raw: bytes, bounds: Bounds) -> None:
        self.raw = raw
        self.left = bounds.elements
        self.deepest = min(bounds.depth, DEEPEST)
        self.longest = bounds.value
        self._remembers = bounds.value >= _LONGEST
        self.notes: list[Note] = []
        self.outermost = DEFAULT
        self._content_at = -1

    def data_set(self, form: Form) -> Item:
        """Reads everything.

        What stands before Content Sequence is as a rule the same in all requests of a device: it is remembered whole.

        Raises:
            Fault: it cannot be read, or is past a bound.
        """
        where = self._where(form, DEFAULT)
        if where.key and not form.big:
            self._content_at = self.raw.find(_CONTENT, 0, 2 * _LONGEST)
        return self.item(0, len(self.raw), where, 0, delimited=False)[0]

    def _where(self, form: Form, charset: CharacterSet) -> Where:
        return Where(form, charset, form.name + charset.key if self._remembers and charset.known else b"")

    def item(self, pos: int, end: int, where: Where, depth: int, *, delimited: bool) -> tuple[Item, int]:
        """Reads elements up to `end`, or up to an Item Delimitation Item.

        Args:
            pos: where to start.
            end: where the container ends.
            where: how to read it.
            depth: levels of sequences above.
            delimited: the item has no length of its own.

        Returns:
            The item, and where it ended.
        """
        raw, form, longest, dictionary = self.raw, where.form, self.longest, DICTIONARY.get
        explicit, head = form.explicit, form.head
        made = Item()
        elements = made.elements
        canonical: list[bytes] = []
        before = self.left
        last = -1
        ordered, ended = True, not delimited
        if depth == 0 and self._content_at > 0:
            start = memory.table.get(b"start" + form.name + raw[: self._content_at])
            if start is not None and start[-1] < self.left:
                known, part, where, last, made.height, count = start
                elements.update(known)
                canonical.append(part)
                self.outermost = where.charset
                self.left -= count
                pos, self._content_at = self._content_at, -1
        while pos < end:
            # --- head ---
            if end - pos < 8:
                raise Fault("truncated", "an element's head is cut off", max(last, 0))
            sent = b""
            if explicit:
                group, element, sent, length = head(raw, pos)
                pos += 8
                tag = group << 16 | element
                described = EXPLICIT.get(sent)
                if described is None:
                    if tag == ITEM_DELIMITATION and delimited:
                        ended = True
                        break
                    raise Fault("bad-vr", "two bytes that are no VR", tag)
                if group == _DELIMITERS:
                    raise Fault("no-element", "an item's tag where an element should stand", tag)
                vr, kind, wide = described
                if wide:
                    if end - pos < 4:
                        raise Fault("truncated", "an element's length is cut off", tag)
                    length = form.length(raw, pos)[0]
                    pos += 4
                    if vr == "UN":
                        vr, kind = ("SQ", SEQUENCE) if length == UNDEFINED else implicit(tag)
            else:
                group, element, length = head(raw, pos)
                pos += 8
                tag = group << 16 | element
                if group == _DELIMITERS:
                    if tag == ITEM_DELIMITATION and delimited:
                        ended = True
                        break
                    raise Fault("no-element", "an item's tag where an element should stand", tag)
                vr, kind = ("SQ", SEQUENCE) if length == UNDEFINED else dictionary(tag) or implicit(tag)
            if tag <= last:
                self._disorder(tag, last, elements, noted=not ordered)
                ordered = False
            before_last, last = last, tag
            self.left -= 1
            if self.left < 0:
                raise Fault("too-many-elements", "more elements than this server takes", tag, bound=True)
            # --- value ---
            if kind == SEQUENCE:
                key = b""
                begin = pos - (12 if explicit else 8)
                if tag in CODED and length <= _LONGEST and where.key and pos + length <= end:
                    key = where.key + raw[begin : pos + length]
                    found = memory.table.get(key)
                    if found is not None and found[2] <= self.left and depth + found[3] <= self.deepest:
                        elements[tag], part, count, height = found
                        self.left -= count
                        pos += length
                        canonical.append(part)
                        if height > made.height:  # noqa: PLR1730  # max() costs five times as much
                            made.height = height
                        continue
                elif begin == self._content_at and depth == 0 and not (made.faulty or self.notes or not where.key):
                    start = (
                        dict(elements),
                        b"".join(canonical),
                        where,
                        before_last,
                        made.height,
                        before - self.left - 1,
                    )
                    memory.keep(b"start" + form.name + raw[:begin], start)
                left, notes = self.left, len(self.notes)
                inner = self._where(IMPLICIT, where.charset) if sent == b"UN" else where
                items, part, height, faulty, pos = self._sequence(tag, pos, length, end, inner, depth + 1)
                elements[tag] = (vr, items)
                canonical.append(part)
                if height >= made.height:
                    made.height = height + 1
                if faulty:
                    made.faulty = True
                elif key and len(self.notes) == notes:
                    memory.keep(key, (elements[tag], part, left - self.left, height + 1))
                continue
            stop = pos + length
            if stop > end:
                raise Fault("truncated", "a value runs past the end", tag)
            if length > longest:
                raise Fault("value-too-long", "a value is longer than this server takes", tag, bound=True)
            value = raw[pos:stop]
            pos = stop
            if length & 1:
                self.notes.append(Note("odd-length", "a value of odd length", tag, []))
            if kind == TEXT:
                if value.isascii() and ESC not in value:
                    value = value.rstrip(b"\0 ")
                    elements[tag] = (vr, value.decode("ascii"))
                    canonical.append(canonical_head(tag, len(value)) + value)
                    continue
                text = where.charset.decode(value, vr)
            elif kind == ASCII:
                if value.isascii():
                    if tag == SPECIFIC_CHARACTER_SET:
                        where = self._where(form, character_set(value))
                        if depth == 0:
                            self.outermost = where.charset
                        continue
                    value = value.rstrip(b"\0 ")
                    elements[tag] = (vr, value.decode("ascii"))
                    canonical.append(canonical_head(tag, len(value)) + value)
                    continue
                text = None
            else:
                if element and tag != TRAILING_PADDING:
                    if form.big:
                        value = _turned(value, vr)
                    elements[tag] = (vr, value)
                    if implicit(tag)[0] == "UN":
                        value = _unpadded(value)
                    canonical.append(canonical_head(tag, len(value)) + value)
                continue
            # --- text that is not ASCII ---
            if text is None:
                made.faulty = True
                elements[tag] = (vr, Undecoded.of(value))
                canonical.append(canonical_head(tag, len(value) | UNDECODED) + value)
            else:
                text = text.rstrip("\0 ")
                elements[tag] = (vr, text)
                value = text.encode("utf-8", "surrogatepass")
                canonical.append(canonical_head(tag, len(value)) + value)
        if not ended:
            raise Fault("truncated", "an item has no end", max(last, 0))
        if not ordered:
            canonical.sort()
        made.canonical = b"".join(canonical)
        made.count = 1 + before - self.left
        return made, pos

    def _disorder(self, tag: int, last: int, elements: dict[int, Any], *, noted: bool) -> None:
        """Elements that do not rise: twice is refused, since one of the two would be chosen; else it is noted."""
        if tag == last or tag in elements:
            raise Fault("element-twice", "an element stands twice", tag)
        if tag == SPECIFIC_CHARACTER_SET:
            raise Fault("element-order", "Specific Character Set after text", tag)
        if not noted:
            self.notes.append(Note("element-order", "elements not in the order of their tags", tag, []))

    def _sequence(  # noqa: PLR0917  # keywords cost time on the hot path
        self, tag: int, pos: int, length: int, end: int, where: Where, depth: int
    ) -> tuple[list[Item], bytes, int, bool, int]:
        """Reads a sequence.

        Returns:
            Its items, its canonical form, levels below, whether something in it did not decode, and where it ended.
        """
        if depth > self.deepest:
            raise Fault("too-deep", "sequences are nested deeper than this server takes", tag, bound=True)
        if length == UNDEFINED:
            return self._items(tag, pos, end, where, depth, delimited=True)
        stop = pos + length
        if stop > end:
            raise Fault("truncated", "a sequence runs past the end", tag)
        return self._items(tag, pos, stop, where, depth, delimited=False)

    def _items(
        self, tag: int, pos: int, end: int, where: Where, depth: int, *, delimited: bool
    ) -> tuple[list[Item], bytes, int, bool, int]:
        raw, unpack = self.raw, where.form.item
        items: list[Item] = []
        height, faulty, ended, noted = 0, False, not delimited, len(self.notes)
        while pos < end:
            if end - pos < 8:
                raise Fault("truncated", "an item's head is cut off", tag)
            group, element, length = unpack(raw, pos)
            pos += 8
            what = group << 16 | element
            if what != ITEM:
                if what == SEQUENCE_DELIMITATION and delimited:
                    ended = True
                    break
                raise Fault("no-item", "a sequence holds what is no item", tag)
            self.left -= 1
            if self.left < 0:
                raise Fault("too-many-elements", "more items than this server takes", tag, bound=True)
            try:
                if length == UNDEFINED:
                    made, pos = self.item(pos, end, where, depth, delimited=True)
                elif pos + length > end:
                    raise Fault("truncated", "an item runs past the end", tag)
                elif (
                    tag == CONTENT_SEQUENCE
                    and length <= _LONGEST
                    and raw.startswith(_RELATIONSHIP, pos)
                    and not raw.startswith(b"CON", pos + 8)
                    and where.key
                ):
                    made = self._recalled(pos, pos + length, where, depth)
                    pos += length
                else:
                    made, pos = self.item(pos, pos + length, where, depth, delimited=False)
            except Fault as fault:
                fault.note.steps.append((tag, len(items) + 1))
                raise
            items.append(made)
            if self.notes:
                for note in self.notes[noted:]:
                    note.steps.append((tag, len(items)))
                noted = len(self.notes)
            if made.height > height:  # noqa: PLR1730  # max() costs five times as much
                height = made.height
            if made.faulty:
                faulty = True
        if not ended:
            raise Fault("truncated", "a sequence has no end", tag)
        return items, canonical_sequence(tag, [item.canonical for item in items]), height, faulty, pos

    def _recalled(self, pos: int, end: int, where: Where, depth: int) -> Item:
        """A content item that is no log entry is as a rule one that came before, but for its text or number."""
        raw = self.raw
        value = value_at(raw, pos, end, where.form)
        key = where.key + raw[pos - 8 : value or end]
        known: Leaf | Item | None = memory.table.get(key)
        if known is not None:
            found = known.with_value(raw[value:end], where.charset) if isinstance(known, Leaf) else known
            if found is not None and found.count - 1 <= self.left and depth + found.height <= self.deepest:
                self.left -= found.count - 1
                return found
        notes = len(self.notes)
        made, _ = self.item(pos, end, where, depth, delimited=False)
        if not made.faulty and len(self.notes) == notes:
            kept = Leaf.of(made, raw[value:end]) if value else made
            if kept is not None:
                memory.keep(key, kept)
        return made


def _turned(value: bytes, vr: str) -> bytes:
    """Big endian numbers in little endian."""
    size = UNITS.get(vr, 1)
    if size == 1 or len(value) % size:
        return value
    return b"".join([value[at : at + size][::-1] for at in range(0, len(value), size)])


def _unpadded(value: bytes) -> bytes:
    """A value of unknown VR for the canonical form: explicit VR may call it text, and then it has no padding."""
    bare = value.rstrip(b"\0 ")
    return bare if bare and bare.isascii() and bare.decode("ascii").isprintable() else value
