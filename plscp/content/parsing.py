"""One pass over encoded data elements, without pydicom's: those cost 20 microseconds each (PS3.5 section 7, Annex A).

Content items, their canonical form and what is wrong with them are made when their elements end. Content items that are
encoded as nearly all are (`plscp.content.layouts`), and have nothing wrong, are made straight from their bytes; what they have in
common with others, and what stands before Content Sequence, is remembered by its bytes.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from plscp.content.charset import DEFAULT, CharacterSet, character_set
from plscp.content.elements import (
    ASCII,
    BINARY,
    CONTENT_SEQUENCE,
    DICTIONARY,
    EXPLICIT,
    ITEM_DELIMITATION,
    SEQUENCE,
    SPECIFIC_CHARACTER_SET,
    TRAILING_PADDING,
    UNDEFINED,
    ParsedItem,
    any_undecoded,
    implicit,
    in_little_endian,
    tag_text,
)
from plscp.content.identity import ITEM_END, UNDECODED, sequence_head
from plscp.content.identity import head as canonical_head
from plscp.content.items import (
    Report,
    code_of,
    content_item,
    judge_children,
    root_item,
)
from plscp.content.layouts import (
    CONTAINS,
    HEAD_BYTES,
    IMPLICIT,
    LONGEST_BYTES,
    ONE_MEASURED,
    OPENING_BYTES,
    CodeSequence,
    ElementHead,
    Encoding,
    Frame,
    Memory,
    Opening,
    usual_code,
)
from plscp.content.model import Bounds, ContentItem, Numeric, RawElement, Value
from plscp.content.syntax import is_dt
from plscp.errors import DoesNotMatchTemplate, InvalidArgument, Refused
from plscp.findings import Finding

DEEPEST: Final = 60
"""No setting goes deeper: reading, checking and publishing go down by calls; and each sequence is up to three levels of JSON, of which
consumers' parsers take 200."""

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
    """What stands before Content Sequence in a data set, where there is nothing odd about it.

    Attributes:
        last: the last tag.
        total: elements and items.
        root: the root item without children, once it is known that there is nothing to say about it.
        made: what later steps made of the attributes.
    """

    elements: dict[int, RawElement]
    parts: list[bytes]
    charset: CharacterSet
    last: int
    total: int
    root: ContentItem | None = None
    made: dict[Any, Any] = field(default_factory=dict)


class Reader:
    """One pass over the bytes of one data set.

    Attributes:
        content: whether Content Sequence holds content items to be made and judged.
        report: findings about the content item that was read last; at the end the root's.
        notes, charset, remembered: see `plscp.content.reader.Decoded`.
    """

    def __init__(self, raw: bytes, bounds: Bounds, *, content: bool) -> None:
        self.raw = raw + bytes(HEAD_BYTES)  # what seems to be a head at the end can be looked at
        self.size = len(raw)
        self.left = bounds.elements
        self.deepest = min(bounds.depth, DEEPEST)
        self.longest = bounds.value
        self.content = content
        self.path: list[int] = []
        self.report = Report(self.path)
        self.notes: list[Finding] = []
        self.charset = DEFAULT
        self.remembered: dict[Any, Any] | None = None
        self._outermost = 0

    def data_set(self, encoding: Encoding) -> tuple[ParsedItem, ContentItem | None]:
        """Reads everything: the data set, and the root of its content items.

        Raises:
            InvalidArgument: it cannot be read, or is past a bound.
            DoesNotMatchTemplate: its content is past a bound.
        """
        where, item = self._where(encoding, DEFAULT), ParsedItem()
        pos, last, beginning = 0, -1, None
        if self.content and where.key:
            at = self.raw.find(encoding.content.start, 0, 2 * LONGEST_BYTES)
            beginning = self._beginning(at, where) if at > 0 else None
            if beginning is not None:
                pos, last, self.charset = at, beginning.last, beginning.charset
                where = self._where(encoding, self.charset)
                item.elements, item.parts = dict(beginning.elements), list(beginning.parts)
                self.left -= beginning.total
        self._item(item, pos, self.size, where, 0, delimited=False, last=last)
        if not self.content:
            return item, None
        if beginning is None or self.notes or next(reversed(item.elements)) != CONTENT_SEQUENCE:
            return item, root_item(
                item, self.report, None
            )  # elements behind Content Sequence belong to the root as well
        self.remembered = beginning.made
        root = root_item(item, self.report, beginning.root)
        if beginning.root is None and not self.report:
            beginning.root = replace(root, children=[])
        return item, root

    def _beginning(self, at: int, where: Where) -> Beginning | None:
        """What stands before Content Sequence, which seems to be at `at`; None where it is to be read with the rest."""
        key = b"start" + where.key + bytes((self.deepest,)) + self.raw[:at]
        known: Beginning | None = memory.table.get(key)
        if known is None:
            left, item = self.left, ParsedItem()
            try:
                _, last = self._item(item, 0, at, where, 0, delimited=False)
            except Refused:
                last = -1
            if last > 0 and not self.notes and not self.report.undecoded:
                known = Beginning(item.elements, item.parts, self.charset, last, left - self.left)
                memory.keep(key, known)
            self.left, self.charset, self.report.undecoded, self._outermost = left, DEFAULT, False, 0
            for said in (self.notes, self.report, self.path):
                said.clear()
        return known if known is not None and known.total < self.left else None

    def _where(self, encoding: Encoding, charset: CharacterSet) -> Where:
        # Nothing is remembered where a value in it might be past the bound of another reader.
        key = encoding.name + charset.key if charset.known and self.longest >= 2 * LONGEST_BYTES else b""
        return Where(encoding, charset, key)

    def _place(self, tag: int) -> str:
        """The position of the content item that is read; outside of them the outermost tag."""
        tag = self._outermost or tag
        return ".".join(map(str, self.path)) or (tag_text(tag) if tag else "")

    def _fault(self, code: str, reason: str, tag: int, *, bound: bool = False) -> Refused:
        kind = DoesNotMatchTemplate if bound and self.content else InvalidArgument
        return kind([Finding(code, reason, self._place(tag), refuse=True)])

    def _note(self, code: str, reason: str, tag: int) -> None:
        self.notes.append(Finding(code, reason, self._place(tag)))

    def _item(
        self, made: ParsedItem, pos: int, end: int, where: Where, depth: int, *, delimited: bool, last: int = -1
    ) -> tuple[int, int]:
        """Reads elements up to `end`, or up to an Item Delimitation Item; returns where it ended, and its last tag.

        Args:
            depth: levels of sequences above.
            delimited: the item has no length of its own.
            last: the last tag that is in it already.
        """
        raw, encoding, longest, dictionary = self.raw, where.encoding, self.longest, DICTIONARY.get
        explicit, head = encoding.explicit, encoding.head
        elements, parts = made.elements, made.parts
        ordered, ended = True, not delimited
        while pos < end:
            # --- head ---
            if end - pos < 8:
                raise self._fault("truncated", "an element's head is cut off", max(last, 0))
            group, element, sent, length = head(raw, pos)
            pos += 8
            tag = group << 16 | element
            described = EXPLICIT.get(sent)
            if described is None and tag == ITEM_DELIMITATION and delimited:
                ended = True
                break
            if described is None and explicit:
                raise self._fault("bad-vr", "two bytes that are no VR", tag)
            if group == _DELIMITERS:
                raise self._fault("no-element", "an item's tag where an element should stand", tag)
            if described is not None:
                vr, kind, wide = described
                if wide:
                    if end - pos < 4:
                        raise self._fault("truncated", "an element's length is cut off", tag)
                    length = encoding.length(raw, pos)[0]
                    pos += 4
                    if vr == "UN":
                        vr, kind = ("SQ", SEQUENCE) if length == UNDEFINED else implicit(tag)
            else:
                vr, kind = ("SQ", SEQUENCE) if length == UNDEFINED else dictionary(tag) or implicit(tag)
            if tag <= last or not ordered:
                self._disorder(tag, last, made, noted=not ordered)
                ordered = False
            last = tag
            self.left -= 1
            if self.left < 0:
                raise self._fault("too-many-elements", "more elements than this server takes", tag, bound=True)
            # --- value ---
            if kind == SEQUENCE:
                inner = self._where(IMPLICIT, where.charset) if sent == b"UN" else where
                part, pos = self._sequence(made, tag, vr, pos, length, end, inner, depth + 1)
                parts.append(part)
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
                    if implicit(tag)[0] == "UN":  # explicit VR may call it text, and then it has no padding
                        bare = value.rstrip(b"\0 ")
                        value = bare if bare and bare.isascii() and bare.decode("ascii").isprintable() else value
                    parts.append(canonical_head(tag, len(value)) + value)
                continue
            if tag == SPECIFIC_CHARACTER_SET and kind == ASCII and value.isascii():
                where = self._where(encoding, character_set(value))
                if depth == 0:
                    self.charset = where.charset
                continue
            found = where.charset.unpadded(value, vr)
            if found is None:
                self.report.undecoded = True
                elements[tag] = RawElement(tag, vr, value)
                parts.append(canonical_head(tag, len(value) | UNDECODED) + value)
            else:
                text, value = found
                elements[tag] = _new(RawElement, (tag, vr, text))
                parts.append(canonical_head(tag, len(value)) + value)
        if not ended:
            raise self._fault("truncated", "an item has no end", max(last, 0))
        if not ordered:
            parts.sort()
            made.elements = dict(sorted(elements.items()))
        return pos, last

    def _disorder(self, tag: int, last: int, made: ParsedItem, *, noted: bool) -> None:
        """Elements that do not rise: twice is refused, since one of the two would be chosen; else it is noted."""
        if tag == last or tag in made.elements:
            raise self._fault("element-twice", "an element stands twice", tag)
        if tag == SPECIFIC_CHARACTER_SET:
            raise self._fault("element-order", "Specific Character Set after text", tag)
        if not noted:
            self._note("element-order", "elements not in the order of their tags", tag)

    def _sequence(  # noqa: PLR0917  # keywords cost time on the hot path
        self, made: ParsedItem, tag: int, vr: str, pos: int, length: int, end: int, where: Where, depth: int
    ) -> tuple[bytes, int]:
        """Reads a sequence into the item that it belongs to; returns its canonical form, and where it ended."""
        if depth > self.deepest:
            raise self._fault("too-deep", "sequences are nested deeper than this server takes", tag, bound=True)
        raw, unpack, path, report, children = self.raw, where.encoding.tagged, self.path, self.report, made.children
        delimited = length == UNDEFINED
        if not delimited:
            if pos + length > end:
                raise self._fault("truncated", "a sequence runs past the end", tag)
            end = pos + length
        if depth == 1:
            self._outermost = tag
        counted = tag == CONTENT_SEQUENCE and len(path) == depth - 1
        content = counted and self.content
        straight = content and where.key and depth + 2 <= self.deepest
        items: list[list[RawElement]] = []
        parts: list[bytes] = []
        number, ended = 0, not delimited
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
            stop = pos + length
            found = self._straight(number, pos, stop, where, depth) if straight and stop <= end else None
            if found is not None:
                pos = stop
            else:
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
                item = ParsedItem()
                pos, _ = self._item(item, pos, stop, where, depth, delimited=without)
                if content:
                    found = content_item(item, report), item.parts
                else:
                    items.append(list(item.elements.values()))
                    parts += item.parts
                if counted:
                    path.pop()
            if found is not None:
                child, own = found
                children.append(child)
                if depth == 1 and child.relationship == "CONTAINS":
                    child.digest = b"".join(own)
                    own = [child.digest]
                parts += own
                if report:
                    made.about[number] = list(report)
                    report.clear()
            parts.append(ITEM_END)
        if not ended:
            raise self._fault("truncated", "a sequence has no end", tag)
        if depth == 1:
            self._outermost = 0
        made.elements[tag] = _new(RawElement, (tag, vr, items))
        return sequence_head(tag, number) + b"".join(parts), pos

    # --- what is encoded as nearly always ---

    def _straight(  # keywords cost time on the hot path
        self, number: int, pos: int, end: int, where: Where, depth: int
    ) -> tuple[ContentItem, list[bytes]] | None:
        """Reads a content item that is encoded as nearly all are, and has nothing wrong itself; None where nothing was read.

        Each step goes on by the lengths sent, so what does not end at `end` is not what it seemed.
        """
        raw, encoding, key = self.raw, where.encoding, where.key
        own: list[bytes] = []
        at, openings, when, total = pos, encoding.openings, "", 1
        if depth == 1 and raw.startswith(encoding.entry, pos):
            tag, _, _, size, length = encoding.datetime
            begin = pos + encoding.entry_size
            at = begin + length(raw, begin - size)[0]
            if at > end or (at - begin) & 1:
                return None
            sent = raw[begin:at].rstrip(b"\0 ")
            when = sent.decode("latin-1").strip(" ")
            if not is_dt(when):
                return None
            openings, key, total = encoding.dated, b"dated" + key, 3
            own += (CONTAINS, canonical_head(tag, len(sent)), sent)
        # --- what it has in common with others ---
        _, _, start, size, length = encoding.concept_name
        begin, named = at, raw.find(start, at, at + OPENING_BYTES)
        if named < 0:
            return None
        at = named + size + length(raw, named)[0]
        if raw.startswith(encoding.concept_code.start, at):
            at += size + length(raw, at)[0]
        elif raw.startswith(encoding.measured.start, at):
            at = raw.find(encoding.number.start, at, end)
        if at > end or not named < at <= named + LONGEST_BYTES:
            return None
        key += raw[begin:at]
        frame = memory.table.get(key) or self._frame(key, openings, (begin, named, at), where, depth)
        if frame is None:
            return None
        like, canonical, more, ending, valid, measured = frame
        own.append(canonical)
        total += more
        value = like.value
        # --- what is its own ---
        if ending is not None:
            tag, vr, start, size, length = ending
            if not raw.startswith(start, at):
                return None
            begin = at + size
            stop = begin + length(raw, at)[0]
            if stop > end or stop - begin > self.longest or (stop - begin) & 1 or (measured and stop != at + measured):
                return None
            read = where.charset.unpadded(raw[begin:stop], vr)
            if read is None:
                return None
            text, sent = read
            if like.value_type != "TEXT":
                text = text.strip(" ")
            if not text or not valid(text):
                return None
            value, at = text, stop
            own += (canonical_head(tag, len(sent)), sent)
            if type(like.value) is Numeric:
                value = _new(Numeric, (text, like.value.units, None, ()))
                own.append(ITEM_END)
        if total > self.left:
            return None
        if at == end:
            self.left -= total
            if value is like.value and like.relationship != "CONTAINS":
                return like, own
            return ContentItem(like.relationship, like.value_type, like.concept, value, [], when), own
        _, _, start, size, length = encoding.content
        if not raw.startswith(start, at) or at + size + length(raw, at)[0] != end or total == self.left:
            return None
        self.left -= total + 1
        item = ParsedItem()
        self.path.append(number)
        part, _ = self._sequence(item, CONTENT_SEQUENCE, "SQ", at + size, end - at - size, end, where, depth + 1)
        own.append(part)
        judge_children(item, like.value_type, self.report)
        self.path.pop()
        return ContentItem(like.relationship, like.value_type, like.concept, value, item.children, when), own

    def _frame(
        self, key: bytes, openings: dict[bytes, Opening], at: tuple[int, int, int], where: Where, depth: int
    ) -> Frame | None:
        """What stands before the text, number or children of a content item; None where it is not as usual.

        Args:
            at: where that begins, where Concept Name begins, and where all should end.
        """
        raw, encoding, (begin, named, end) = self.raw, where.encoding, at
        opening = openings.get(raw[begin:named])
        name = self._code(encoding.concept_name, named, end, where, depth) if opening is not None else None
        if opening is None or name is None:
            return None
        relationship, value_type, canonical, total, ending, valid = opening
        canonical, total, stop, measured = canonical + name.canonical, total + name.total, name.end, 0
        value: Value = None
        if value_type == "CODE":
            coded = self._code(encoding.concept_code, stop, end, where, depth)
            if coded is None:
                return None
            value, stop = coded.code, coded.end
            canonical, total = canonical + coded.canonical, total + coded.total
        elif value_type == "NUM":
            inside = encoding.measured.value(raw, stop)
            item = encoding.item.value(raw, inside[0]) if inside is not None else None
            units = self._code(encoding.units, item[0], end, where, depth + 1) if item is not None else None
            if inside is None or item is None or units is None or item[1] != inside[1]:
                return None
            value, stop, measured = Numeric(None, units.code), units.end, item[1] - units.end
            canonical, total = canonical + ONE_MEASURED + units.canonical, total + units.total + 2
        if stop != end:
            return None
        frame = Frame(
            ContentItem(relationship, value_type, concept=name.code, value=value),
            canonical,
            total,
            ending,
            valid,
            measured,
        )
        memory.keep(key, frame)
        return frame

    def _code(self, head: ElementHead, at: int, end: int, where: Where, depth: int) -> CodeSequence | None:
        """A sequence of one code that has nothing wrong and ends before `end`; None where it is to be read element by element."""
        inside = head.value(self.raw, at)
        if inside is None or inside[1] > end:
            return None
        usual = usual_code(self.raw, inside, head.tag, where.encoding, where.charset)
        if usual is not None:
            return usual
        # It has further elements, or another kind of Code Value.
        tag, (begin, end) = head.tag, inside
        left, noted, report, item = self.left, len(self.notes), Report(), ParsedItem()
        try:
            canonical, _ = self._sequence(item, tag, "SQ", begin, end - begin, end, where, depth + 1)
        except Refused:
            code = None
        else:
            code = code_of(item.elements, tag, report)
        total, self.left = 1 + left - self.left, left
        odd = report or len(self.notes) > noted or any_undecoded(item.elements.values())
        del self.notes[noted:]
        if code is None or odd or any(isinstance(element.value, list) for element in code.other):
            return None  # a sequence in it may be deeper than another request may go
        return CodeSequence(code, canonical, end, total)
