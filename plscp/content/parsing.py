"""One pass over encoded data elements, without pydicom's: those cost 20 microseconds each (PS3.5 section 7, Annex A).

Content items, their canonical form and what is wrong with them are made when their elements end. What was read before is
not read again: a request of five entries that costs 110 microseconds costs 300 without that.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from plscp.content.charset import DEFAULT, ESC, CharacterSet, character_set
from plscp.content.elements import (
    ASCII,
    BINARY,
    CONTENT_SEQUENCE,
    DICTIONARY,
    EXPLICIT,
    IMPLICIT,
    ITEM_DELIMITATION,
    SEQUENCE,
    SPECIFIC_CHARACTER_SET,
    TEXT,
    TRAILING_PADDING,
    UNDEFINED,
    Elements,
    Encoding,
    Item,
    Start,
    implicit,
    in_little_endian,
    tag_text,
)
from plscp.content.identity import ITEM_END, UNDECODED, sequence_head
from plscp.content.identity import head as canonical_head
from plscp.content.items import MEASURED_VALUE, OBSERVATION_DATETIME, code_item, content_item, judge_children, root_item
from plscp.content.memory import CONTAINS, Frame, Memory, ending_at
from plscp.content.model import Bounds, Code, ContentItem, RawElement
from plscp.content.report import Report
from plscp.content.syntax import is_dt
from plscp.findings import Finding

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

memory = Memory()
_new = tuple.__new__


class Where(NamedTuple):
    """How the bytes at some place are to be read.

    Attributes:
        charset: that of the item around, which holds unless an item has its own (PS3.3 C.12.1.1.2).
        key: what the memory's keys start with; empty where nothing is remembered.
    """

    encoding: Encoding
    charset: CharacterSet
    key: bytes


@dataclass(slots=True)
class Beginning:
    """What stands before Content Sequence in a data set.

    Attributes:
        elements, codes, where, start: as the reader had them there.
        last: the tag before it.
        root: the root item without children, once it is known that there is nothing to say about it.
        made: what later steps made of the attributes.
    """

    elements: Elements
    codes: dict[int, Code]
    where: Where
    last: int
    start: Start
    root: ContentItem | None = None
    made: dict[Any, Any] = field(default_factory=dict)


class Fault(Exception):
    """The data set cannot be read.

    Attributes:
        bound: it is past a bound, rather than broken.
    """

    def __init__(self, finding: Finding, *, bound: bool) -> None:
        super().__init__(finding.reason)
        self.finding = finding
        self.bound = bound


class Reader:
    """One pass over the bytes of one data set.

    Attributes:
        content: whether Content Sequence holds content items to be made and judged.
        report: findings about the content item that was read last; at the end the root's.
        notes: what is odd about the encoding, without keeping it from being read.
        charset: Specific Character Set of the data set itself.
        remembered: see `plscp.content.reader.DataSet`.
    """

    def __init__(self, raw: bytes, bounds: Bounds, *, content: bool) -> None:
        self.raw = raw
        self.left = bounds.elements
        self.deepest = min(bounds.depth, DEEPEST)
        self.longest = bounds.value
        self.content = content
        self.path: list[int] = []
        self.report = Report(self.path)
        self._scratch = Report()
        self.notes: list[Finding] = []
        self.charset = DEFAULT
        self._remembers = bounds.value >= _LONGEST
        self._outermost = 0
        self._content_at = -1
        self._beginning: Beginning | None = None
        self.remembered: dict[Any, Any] | None = None

    def data_set(self, encoding: Encoding) -> tuple[Item, ContentItem | None]:
        """Reads everything.

        What stands before Content Sequence is as a rule the same in all requests of a device: it is remembered whole.

        Returns:
            The data set, and the root of its content items.

        Raises:
            Fault: it cannot be read, or is past a bound.
        """
        where = self._where(encoding, DEFAULT)
        if where.key and not encoding.big:
            self._content_at = self.raw.find(_CONTENT, 0, 2 * _LONGEST)
        item, _ = self._item(0, len(self.raw), where, 0, delimited=False)
        if not self.content:
            return item, None
        # Elements behind Content Sequence belong to the root as well.
        beginning = self._beginning if self._beginning and next(reversed(item.elements)) == CONTENT_SEQUENCE else None
        self.remembered = beginning.made if beginning and not self.notes else None
        root = root_item(item, self.report, beginning.root if beginning else None)
        if beginning and not beginning.root and not self.report:
            beginning.root = replace(root, children=[])
        return item, root

    def _where(self, encoding: Encoding, charset: CharacterSet) -> Where:
        key = encoding.name + charset.key if self._remembers and charset.known else b""
        return Where(encoding, charset, key)

    def _place(self, tag: int) -> str:
        """The position of the content item that is read; outside of them the outermost tag."""
        tag = self._outermost or tag
        return ".".join(map(str, self.path)) or (tag_text(tag) if tag else "")

    def _fault(self, code: str, reason: str, tag: int, *, bound: bool = False) -> Fault:
        return Fault(Finding(code, reason, self._place(tag), refuse=True), bound=bound)

    def _note(self, code: str, reason: str, tag: int) -> None:
        self.notes.append(Finding(code, reason, self._place(tag)))

    def _item(self, pos: int, end: int, where: Where, depth: int, *, delimited: bool) -> tuple[Item, int]:
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
        raw, encoding, longest, dictionary = self.raw, where.encoding, self.longest, DICTIONARY.get
        explicit, head = encoding.explicit, encoding.head
        made = Item()
        elements = made.elements
        canonical: list[bytes] = []
        before = self.left
        last = -1
        ordered, ended = True, not delimited
        if depth == 0 and self._content_at > 0:
            known: Beginning | None = memory.table.get(b"start" + encoding.name + raw[: self._content_at])
            if known is not None and known.start.size < self.left:
                self._beginning = known
                elements.update(known.elements)
                made.codes.update(known.codes)
                where, last, start = known.where, known.last, known.start
                made.height = start.height
                canonical.append(start.canonical)
                self.charset = where.charset
                self.left -= start.size
                pos, self._content_at = self._content_at, -1
        while pos < end:
            # --- head ---
            if end - pos < 8:
                raise self._fault("truncated", "an element's head is cut off", max(last, 0))
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
                    raise self._fault("bad-vr", "two bytes that are no VR", tag)
                if group == _DELIMITERS:
                    raise self._fault("no-element", "an item's tag where an element should stand", tag)
                vr, kind, wide = described
                if wide:
                    if end - pos < 4:
                        raise self._fault("truncated", "an element's length is cut off", tag)
                    length = encoding.length(raw, pos)[0]
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
                    raise self._fault("no-element", "an item's tag where an element should stand", tag)
                vr, kind = ("SQ", SEQUENCE) if length == UNDEFINED else dictionary(tag) or implicit(tag)
            if tag <= last or not ordered:
                self._disorder(tag, last, made, noted=not ordered)
                ordered = False
            before_last, last = last, tag
            self.left -= 1
            if self.left < 0:
                raise self._fault("too-many-elements", "more elements than this server takes", tag, bound=True)
            # --- value ---
            if kind == SEQUENCE:
                key = b""
                begin = pos - (12 if explicit else 8)
                if tag in CODED and length <= _LONGEST and where.key and pos + length <= end:
                    key = where.key + raw[begin : pos + length]
                    found = memory.table.get(key)
                    if found is not None and found[3] <= self.left and depth + found[4] <= self.deepest:
                        elements[tag], code, part, count, height = found
                        if code is not None:
                            made.codes[tag] = code
                        self.left -= count
                        pos += length
                        canonical.append(part)
                        if height > made.height:  # noqa: PLR1730  # max() costs five times as much
                            made.height = height
                        continue
                elif tag == CONTENT_SEQUENCE:
                    clean = ordered and not (made.faulty or self.notes)
                    start = Start(begin, b"".join(canonical), before - self.left - 1, made.height, clean)
                    made.start = start
                    if begin == self._content_at and depth == 0 and clean and where.key:
                        self._beginning = Beginning(dict(elements), dict(made.codes), where, before_last, start)
                        memory.keep(b"start" + encoding.name + raw[:begin], self._beginning)
                left, notes, faulty = self.left, len(self.notes), made.faulty
                inner = self._where(IMPLICIT, where.charset) if sent == b"UN" else where
                made.faulty = False
                part, height, pos = self._sequence(made, tag, vr, pos, length, end, inner, depth + 1)
                canonical.append(part)
                made.height = max(made.height, height)
                if key and not made.faulty and len(self.notes) == notes:
                    memory.keep(key, (elements[tag], made.codes.get(tag), part, left - self.left, height))
                if faulty:
                    made.faulty = True
                continue
            stop = pos + length
            if stop > end:
                raise self._fault("truncated", "a value runs past the end", tag)
            if length > longest:
                raise self._fault("value-too-long", "a value is longer than this server takes", tag, bound=True)
            value = raw[pos:stop]
            pos = stop
            if length & 1:
                self._note("odd-length", "a value of odd length", tag)
            if kind == BINARY:
                if element and tag != TRAILING_PADDING:
                    if encoding.big:
                        value = in_little_endian(value, vr)
                    elements[tag] = RawElement(tag, vr, value)
                    if implicit(tag)[0] == "UN":
                        value = _unpadded(value)
                    canonical.append(canonical_head(tag, len(value)) + value)
                continue
            if value.isascii() and (kind == ASCII or ESC not in value):
                if tag == SPECIFIC_CHARACTER_SET and kind == ASCII:
                    where = self._where(encoding, character_set(value))
                    if depth == 0:
                        self.charset = where.charset
                    continue
                value = value.rstrip(b"\0 ")
                elements[tag] = _new(RawElement, (tag, vr, value.decode("ascii")))
                canonical.append(canonical_head(tag, len(value)) + value)
                continue
            text = where.charset.decode(value, vr) if kind == TEXT else None
            if text is None:
                made.faulty = True
                elements[tag] = RawElement(tag, vr, value)
                canonical.append(canonical_head(tag, len(value) | UNDECODED) + value)
            else:
                text = text.rstrip("\0 ")
                elements[tag] = RawElement(tag, vr, text)
                value = text.encode("utf-8", "surrogatepass")
                canonical.append(canonical_head(tag, len(value)) + value)
        if not ended:
            raise self._fault("truncated", "an item has no end", max(last, 0))
        if not ordered:
            canonical.sort()
            made.elements = dict(sorted(elements.items()))
        made.canonical = b"".join(canonical)
        made.count = 1 + before - self.left
        return made, pos

    def _disorder(self, tag: int, last: int, made: Item, *, noted: bool) -> None:
        """Elements that do not rise: twice is refused, since one of the two would be chosen; else it is noted."""
        if tag == last or tag in made.elements:
            raise self._fault("element-twice", "an element stands twice", tag)
        if tag == SPECIFIC_CHARACTER_SET:
            raise self._fault("element-order", "Specific Character Set after text", tag)
        if not noted:
            self._note("element-order", "elements not in the order of their tags", tag)

    def _sequence(  # noqa: PLR0917  # keywords cost time on the hot path
        self, made: Item, tag: int, vr: str, pos: int, length: int, end: int, where: Where, depth: int
    ) -> tuple[bytes, int, int]:
        """Reads a sequence into the item that it belongs to.

        Returns:
            Its canonical form, levels of sequences in the item by it, and where it ended.
        """
        if depth > self.deepest:
            raise self._fault("too-deep", "sequences are nested deeper than this server takes", tag, bound=True)
        encoding, charset, prefix = where
        raw, unpack, path = self.raw, encoding.item, self.path
        delimited = length == UNDEFINED
        if not delimited:
            if pos + length > end:
                raise self._fault("truncated", "a sequence runs past the end", tag)
            end = pos + length
        if depth == 1:
            self._outermost = tag
        counted = tag == CONTENT_SEQUENCE and len(path) == depth - 1
        content = counted and self.content
        remembers = content and prefix and not encoding.big
        if remembers:
            recall, children = memory.table.get, made.children
            length_at = 6 if encoding.explicit else 4
        items: list[list[RawElement]] = []
        parts: list[bytes] = []
        number, height, ended = 0, 0, not delimited
        while pos < end:
            if end - pos < 8:
                raise self._fault("truncated", "an item's head is cut off", tag)
            group, element, length = unpack(raw, pos)
            pos += 8
            if element != 0xE000 or group != _DELIMITERS:
                if element == 0xE0DD and group == _DELIMITERS and delimited:
                    ended = True
                    break
                raise self._fault("no-item", "a sequence holds what is no item", tag)
            number += 1
            stop, key, ending = pos + length, b"", 0
            if (
                remembers
                and stop <= end
                and 16 <= length <= _LONGEST
                and raw.startswith(_RELATIONSHIP, pos)
                and not raw.startswith(b"CON", pos + 8)
            ):  # it is no log entry: as a rule it came before but for its text or number
                ending = ending_at(raw, pos + 16 + raw[pos + length_at], stop, encoding.explicit)
                key = prefix + raw[pos:ending]
                frame = recall(key)
                if frame is not None and frame[2] < self.left and depth + frame[3] <= self.deepest:
                    known = frame
                    if frame[4] or ending != stop:
                        known = frame.ended(raw[ending:stop], charset)
                    if known is not None:
                        children.append(known[0])
                        parts.append(known[1])
                        parts.append(ITEM_END)
                        self.left -= frame[2] + 1
                        height = max(height, frame[3])
                        pos = stop
                        continue
            self.left -= 1
            if self.left < 0:
                raise self._fault("too-many-elements", "more items than this server takes", tag, bound=True)
            if counted:
                path.append(number)
            without = length == UNDEFINED
            if without:
                stop = end
            elif stop > end:
                raise self._fault("truncated", "an item runs past the end", tag)
            if content:
                part, high, pos = self._content_item(made, pos, stop, where, depth, key, ending, delimited=without)
            else:
                item, pos = self._item(pos, stop, where, depth, delimited=without)
                part, high = item.canonical, item.height
                items.append(list(item.elements.values()))
                if item.faulty:
                    made.faulty = True
                if number == 1:
                    first = item
            parts.append(part)
            parts.append(ITEM_END)
            if high > height:  # noqa: PLR1730  # max() costs five times as much
                height = high
            if counted:
                path.pop()
        if not ended:
            raise self._fault("truncated", "a sequence has no end", tag)
        if depth == 1:
            self._outermost = 0
        made.elements[tag] = _new(RawElement, (tag, vr, items))
        if items:
            if tag == MEASURED_VALUE:
                made.measured = first
            elif tag in CODED and number == 1 and not first.faulty:
                code = code_item(first.elements, self._scratch)
                if self._scratch:
                    self._scratch.clear()
                elif code is not None:
                    made.codes[tag] = code
        return sequence_head(tag, number) + b"".join(parts), height + 1, pos

    def _content_item(  # noqa: PLR0917  # keywords cost time on the hot path
        self, above: Item, pos: int, end: int, where: Where, depth: int, key: bytes, ending: int, *, delimited: bool
    ) -> tuple[bytes, int, int]:
        """Reads a content item into the item above.

        Args:
            key: where it is to be remembered without its text or number; empty: as an entry, or not at all.
            ending: where that begins.

        Returns:
            Its canonical form, levels of sequences in it, and where it ended.
        """
        raw, encoding, entry = self.raw, where.encoding, False
        if not key and where.key and not delimited and end - pos >= 24 and raw.startswith(encoding.entry, pos):
            when = pos + 24
            after = when + raw[pos + (22 if encoding.explicit else 20)]
            ending = raw.find(_CONTENT, after, end)
            if ending < 0:
                ending = ending_at(raw, after + 8, end, encoding.explicit)
            if after <= ending <= pos + _LONGEST:
                key, entry = where.key + raw[pos:when] + raw[after:ending], True
                frame = memory.table.get(key)
                if frame is not None and frame.size < self.left and depth + frame.height <= self.deepest:
                    found = self._entry(frame, above, (when, after, ending, end), where, depth)
                    if found is not None:
                        return (*found, end)
        notes, report = len(self.notes), self.report
        item, pos = self._item(pos, end, where, depth, delimited=delimited)
        made = content_item(item, report)
        told = bool(report)
        self._add(above, made, item, depth)
        if key and not told and not item.faulty and len(self.notes) == notes:
            start = item.start
            alone = start is None or (start.at == ending and next(reversed(item.elements)) == CONTENT_SEQUENCE)
            if entry == (made.relationship == "CONTAINS") and (alone or not entry):
                frame = Frame.of(item, made, raw[ending:end], entry=entry)
                if frame is not None:
                    memory.keep(key, frame)
        return item.canonical, item.height, pos

    def _add(self, above: Item, made: ContentItem, item: Item, depth: int) -> None:
        """Adds a content item, and what was said about it, to the item above."""
        above.children.append(made)
        if depth == 1 and made.relationship == "CONTAINS":
            made.digest = item.canonical
        if item.faulty:
            above.faulty = True
        if self.report:
            above.about[self.path[-1]] = list(self.report)
            self.report.clear()

    def _entry(  # keywords cost time on the hot path
        self, frame: Frame, above: Item, at: tuple[int, int, int, int], where: Where, depth: int
    ) -> tuple[bytes, int] | None:
        """An entry that came before but for its DateTime, and its text or number or its children.

        Args:
            at: where its DateTime begins and ends, where text, number or children begin, and where the entry ends.

        Returns:
            Canonical form and levels of sequences; None where it is to be read as a whole.
        """
        raw, (begin, after, ending, end) = self.raw, at
        sent = raw[begin:after].rstrip(b"\0 ")
        when = sent.decode("latin-1").strip(" ")
        if not is_dt(when):
            return None
        like, canonical, size, height, *_ = frame
        item = Item()
        if frame.tag:
            known = frame.ended(raw[ending:end], where.charset, when)
            if known is None:
                return None
            made, canonical = known
        elif ending == end:
            made = ContentItem("CONTAINS", "CODE", like.concept, like.value, [], when)
        else:
            explicit = where.encoding.explicit
            begin = ending + (12 if explicit else 8)
            length = end - begin  # nothing stands behind its children
            head = _CONTENT + (b"SQ\0\0" if explicit else b"") + max(length, 0).to_bytes(4, "little")
            if not raw.startswith(head, ending):
                return None
            self.left -= size + 1
            part, high, _ = self._sequence(item, CONTENT_SEQUENCE, "SQ", begin, length, end, where, depth + 1)
            made = ContentItem("CONTAINS", "CODE", like.concept, like.value, item.children, when)
            judge_children(item, "CODE", self.report)
            self.left += size
            canonical += part
            height = max(height, high)
        self.left -= size
        item.canonical = CONTAINS + canonical_head(OBSERVATION_DATETIME, len(sent)) + sent + canonical
        self._add(above, made, item, depth)
        return item.canonical, height


def _unpadded(value: bytes) -> bytes:
    """A value of unknown VR for the canonical form: explicit VR may call it text, and then it has no padding."""
    bare = value.rstrip(b"\0 ")
    return bare if bare and bare.isascii() and bare.decode("ascii").isprintable() else value
