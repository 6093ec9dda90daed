"""How shapes are learned: a request that was read, checked and typed the plain way is cut where its values lie.

What a shape must know is asked of the plain way itself: it gets the item once more with a probe in each hole, and where
the probes come out again are the holes of what it made. A shape is kept only if the item's own values, filled in, give
exactly what the plain way had made of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from struct import Struct
from typing import Any, Final, NamedTuple

from plscp.findings import Finding
from plscp.templates.elements import (
    CONTENT_SEQUENCE,
    EXPLICIT,
    ITEM,
    ITEM_DELIMITATION,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    DataSet,
    Item,
    implicit,
)
from plscp.templates.encodings import Fault, Form
from plscp.templates.entries import likeness_text, typed_entry
from plscp.templates.identity import head, sequence
from plscp.templates.items import OBSERVATION_DATETIME, OBSERVATION_UID, TIMES, content_item
from plscp.templates.parsing import Reader
from plscp.templates.request import Bounds, ProcedureLog, TypedEntry
from plscp.templates.shapes import HOLES, LENGTHS, Envelope, Hole, Node, Pattern, Shape, Step, content_at, shapes

LONGEST: Final = 8192
"""Bytes of an item that is learned; longer ones are rare, and pay for themselves."""
MOST_HOLES: Final = 48
MOST_CONTEXTS: Final = 64
MOST_NEW: Final = 8
"""Shapes that one request may teach: a flood of ever new ones shall not double its own cost."""
_PROBES: Final[dict[str, Callable[[int], str]]] = {
    "DT": lambda n: f"98{n:02d}0102030405.{n:06d}",
    "DA": lambda n: f"97{n:02d}0102",
    "TM": lambda n: f"040302.9{n:05d}",
    "UI": lambda n: f"1.98765.4{n}.321",
    "UT": lambda n: f"?a probe {n}?",
    "PN": lambda n: f"Probe^Number{n}",
    "DS": lambda n: f"98{n:02d}76543.25",
}


class Unlearnable(Exception):
    """Something that no shape holds."""


class _Length(NamedTuple):
    """The length field of an item or a sequence with a hole in it."""

    size: int


class _Value(NamedTuple):
    """The length field of a value and the value itself."""

    size: int
    hole: Hole
    value: bytes
    outermost: bool


class _Close(NamedTuple):
    """The end of what a `_Length` began."""


_Token = bytes | _Length | _Value | _Close


class _Layout:
    """Cuts the bytes of an item that the plain reader has read."""

    def __init__(self, raw: bytes, form: Form) -> None:
        self.raw, self.form = raw, form

    def item(self, at: int, depth: int = 0) -> tuple[list[_Token], int]:
        """The tokens of the item whose head is at `at`, and where it ends."""
        (length,) = self.form.length(self.raw, at + 4)
        begin = at + 8
        if length == UNDEFINED:
            inner, end = self._elements(begin, len(self.raw), depth, delimited=True)
            return self._wrapped(at, begin, inner, end, None)
        inner, end = self._elements(begin, begin + length, depth, delimited=False)
        return self._wrapped(at, begin, inner, end, 4)

    def _wrapped(
        self, at: int, begin: int, inner: list[_Token], end: int, size: int | None
    ) -> tuple[list[_Token], int]:
        """An item or a sequence: fixed as a whole, or its head, what is in it and its end."""
        raw = self.raw
        if not any(isinstance(token, _Value) for token in inner):
            return [raw[at:end]], end
        if size is None:
            return [raw[at:begin], *inner, raw[end - 8 : end]], end
        return [raw[at : begin - size], _Length(size), *inner, _Close()], end

    def _elements(self, at: int, end: int, depth: int, *, delimited: bool) -> tuple[list[_Token], int]:
        raw, form, tokens = self.raw, self.form, list[_Token]()
        while at < end:
            begin = at
            sent = b""
            if form.explicit:
                group, element, sent, length = form.head(raw, at)
            else:
                group, element, length = form.head(raw, at)
            at += 8
            tag = group << 16 | element
            if tag == ITEM_DELIMITATION:
                if not delimited:
                    raise Unlearnable
                return tokens, at
            size, vr = 4, implicit(tag)[0]
            if form.explicit:
                vr, _, wide = EXPLICIT[sent]
                size = 4 if wide else 2
                if wide:
                    (length,) = form.length(raw, at)
                    at += 4
            elif length == UNDEFINED:
                vr = "SQ"
            if tag == SPECIFIC_CHARACTER_SET or vr == "UN":
                raise Unlearnable
            if vr == "SQ":
                inner, stop = self._items(at, length, depth + 1)
                more, at = self._wrapped(begin, at, inner, stop, None if length == UNDEFINED else size)
                tokens += more
                continue
            hole = HOLES.get(tag)
            stop = at + length
            if hole is None:
                tokens.append(raw[begin:stop])
            elif hole.vr != vr:
                raise Unlearnable
            else:
                tokens += [raw[begin : at - size], _Value(size, hole, raw[at:stop], depth == 0)]
            at = stop
        if delimited or at != end:
            raise Unlearnable
        return tokens, at

    def _items(self, at: int, length: int, depth: int) -> tuple[list[_Token], int]:
        raw, tokens = self.raw, list[_Token]()
        end = len(raw) if length == UNDEFINED else at + length
        while at < end:
            group, element, _ = self.form.item(raw, at)
            if group << 16 | element != ITEM:
                if length != UNDEFINED:
                    raise Unlearnable
                return tokens, at + 8
            more, at = self.item(at, depth)
            tokens += more
        if length == UNDEFINED or at != end:
            raise Unlearnable
        return tokens, at


def _rendered(tokens: Sequence[_Token], values: Sequence[bytes], form: Form) -> bytes:
    """The bytes of an item with other values in its holes."""
    packs = {size: Struct((">" if form.big else "<") + letter).pack for size, letter in ((2, "H"), (4, "I"))}
    out: list[bytes] = [b""]
    given = iter(values)
    opened: list[int] = []
    for token in tokens:
        if isinstance(token, _Length):
            opened.append(token.size)
            out.append(b"")
        elif isinstance(token, _Close):
            inner = out.pop()
            out[-1] += packs[opened.pop()](len(inner)) + inner
        elif isinstance(token, _Value):
            value = next(given)
            out[-1] += packs[token.size](len(value)) + value
        else:
            out[-1] += token
    [made] = out
    return made


def _pattern(text: Any, probes: Sequence[Any], *, each: bool) -> Pattern:
    """A text or bytes in which probes stand, as a pattern.

    Args:
        each: every probe must stand in it.
    """
    places = []
    for number, probe in enumerate(probes):
        times = text.count(probe)
        if times > 1 or (each and not times):
            raise Unlearnable
        if times:
            places.append((text.index(probe), number))
    percent, twice, place = ("%", "%%", "%s") if isinstance(text, str) else (b"%", b"%%", b"%b")
    form, begin = text[:0], 0
    for at, number in sorted(places):
        if at < begin:
            raise Unlearnable
        form += text[begin:at].replace(percent, twice) + place
        begin = at + len(probes[number])
    return Pattern(form + text[begin:].replace(percent, twice), tuple(number for _, number in sorted(places)))


class _Learner:
    def __init__(self, dataset: DataSet, *, strict: bool) -> None:
        self._raw, self._form, self._charset = dataset.raw, dataset.form, dataset.character_set
        self._root = shapes.root(dataset.form, dataset.character_set)
        self._strict = strict
        self._left = MOST_NEW

    def item(self, at: int, made: Item, entry: TypedEntry | None, findings: list[Finding]) -> int:
        """Learn the item whose head is at `at`; says where it ends.

        Args:
            made: what the plain reader made of it.
            entry: what it became, or None for context.
            findings: about the entry, with paths from the entry on.

        Raises:
            Unlearnable: it cannot be cut.
        """
        tokens, end = _Layout(self._raw, self._form).item(at)
        chunks = list(_chunks(tokens))
        values = [token for token in tokens if isinstance(token, _Value)]
        if self._left and end - at <= LONGEST and len(values) <= MOST_HOLES and shapes.again(hash(tuple(chunks))):
            self._left -= 1
            with suppress(Unlearnable, Fault):
                _grow(self._root, chunks, self._shape(tokens, values, made, entry, findings), self._form)
                shapes.grown(4 * (end - at) + 500)
        return end

    def _shape(
        self, tokens: list[_Token], holes: list[_Value], made: Item, entry: TypedEntry | None, findings: list[Finding]
    ) -> Shape:
        texts = [_PROBES[one.hole.vr](number) for number, one in enumerate(holes)]
        probes = [_padded(text, one.hole.vr) for text, one in zip(texts, holes, strict=True)]
        reader = Reader(_rendered(tokens, probes, self._form), Bounds())
        [node] = reader.items(self._form, self._charset)
        found: list[Finding] = []
        content = content_item(node, found, strict=self._strict)
        heads = [head(one.hole.tag, len(text)) + text.encode() for text, one in zip(texts, holes, strict=True)]
        shape = Shape(
            content.relationship,
            _pattern(node.canonical, heads, each=True),
            made.count,
            made.height,
            tuple(one.hole for one in holes),
        )
        if entry is not None:
            typed = typed_entry(content, 0, 1, strict=self._strict)
            if reader.notes or [f._replace(path=f.path[1:]) for f in (*typed.findings, *found)] != findings:
                raise Unlearnable
            shape.kind, shape.template, shape.findings = typed.kind, typed.template, tuple(findings)
            shown = [one.hole.shown(text) for text, one in zip(texts, holes, strict=True)]
            shape.json = _pattern(typed.json.decode(), shown, each=True)
            shape.likeness = _pattern(likeness_text(content), [repr(text) for text in texts], each=False)
            own = {one.hole.tag: number for number, one in enumerate(holes) if one.outermost}
            shape.when, shape.uid = own.get(OBSERVATION_DATETIME, -1), own.get(OBSERVATION_UID, -1)
        self._prove(shape, holes, made, entry)
        return shape

    def _prove(self, shape: Shape, holes: list[_Value], made: Item, entry: TypedEntry | None) -> None:
        """What the shape makes of the item's own values must be what the plain way made of them."""
        texts, canonical = [], []
        for one in holes:
            text = self._charset.decode(one.value, one.hole.vr if one.hole.free else "ST")
            if text is None:
                raise Unlearnable
            texts.append(text.rstrip("\0 "))
            value = texts[-1].encode("utf-8", "surrogatepass")
            canonical.append(head(one.hole.tag, len(value)) + value)
        if shape.canonical.filled(canonical) != made.canonical:
            raise Unlearnable
        if entry is not None:
            again = shape.entry(texts, made.canonical, entry.index, 1)
            if any(getattr(again, name) != getattr(entry, name) for name in COMPARED):
                raise Unlearnable


def learn(dataset: DataSet, request: ProcedureLog, own: int, entries: dict[int, TypedEntry], *, strict: bool) -> None:
    """Learn from a request that was accepted the plain way.

    Args:
        dataset: as the plain reader made it.
        request: what it became.
        own: how many of the request's findings, the first ones, are about the attributes before Content Sequence.
        entries: its entries by position.
        strict: the profile that it was accepted under.
    """
    place = content_at(dataset.raw, dataset.form)
    sequence_element = dataset.root.elements.get(CONTENT_SEQUENCE)
    if dataset.notes or place is None or sequence_element is None:
        return
    nodes: list[Item] = sequence_element[1]  # type: ignore[assignment]
    canonical = dataset.root.canonical
    behind = sequence(CONTENT_SEQUENCE, [node.canonical for node in nodes])
    if not canonical.endswith(behind) or not dataset.character_set.known:
        return
    first, at, _ = place
    learner = _Learner(dataset, strict=strict)
    try:
        for position, node in enumerate(nodes, 1):
            entry = entries.get(position)
            about = [
                finding._replace(path=finding.path[len(str(position)) :])
                for finding in (entry.findings if entry else ())
                if finding.code not in TIMES
            ]
            at = learner.item(at, node, entry, about)
    except Unlearnable:
        return
    key = dataset.form.name + dataset.raw[:first]
    if key not in shapes.envelopes:
        shapes.envelopes[key] = Envelope(
            dataset.character_set,
            canonical[: -len(behind)],
            dataset.root.count - 1 - sum(node.count for node in nodes),
            request.identifiers,
            request.timezone_offset,
            tuple(request.findings[:own]),
            shapes.root(dataset.form, dataset.character_set),
        )
        shapes.grown(3 * len(key) + 500)
    sketch = shapes.fit(dataset.raw, dataset.form, Bounds(), dataset.sop_class)
    if sketch is not None:
        contexts = sketch.envelope.contexts
        if len(contexts) >= MOST_CONTEXTS:
            contexts.clear()
        contexts[sketch.context()] = (request.context, tuple(request.findings[own:]))
        shapes.grown(len(request.context))


COMPARED: Final = ("kind", "template", "observation_datetime", "observation_uid", "content", "likeness", "json")


def _padded(text: str, vr: str) -> bytes:
    raw = text.encode("ascii")
    return raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)


class _Chunk(NamedTuple):
    """Fixed bytes, how many items and sequences are open before them, and the field to be read after them, if any."""

    fixed: bytes
    depth: int
    size: int = 0
    hole: int = 0


def _chunks(tokens: Sequence[_Token]) -> Iterator[_Chunk]:
    """Tokens with neighbouring fixed bytes put together, up to the next field or the end of an item or a sequence."""
    fixed, depth = b"", 1
    for token in tokens:
        if isinstance(token, bytes):
            fixed += token
        elif isinstance(token, _Close):
            if fixed:
                yield _Chunk(fixed, depth)
            fixed = b""
            depth -= 1
        else:
            yield _Chunk(fixed, depth, token.size, token.hole.tag if isinstance(token, _Value) else 0)
            fixed = b""
            depth += isinstance(token, _Length)
    if fixed:
        yield _Chunk(fixed, depth)


def _grow(node: Node, chunks: Sequence[_Chunk], shape: Shape, form: Form) -> None:
    """Add a shape to the tree; where there is no room for it, it is not kept."""
    readers = {2: Struct((">" if form.big else "<") + "H").unpack_from, 4: form.length}
    for fixed, depth, size, tag in chunks:
        step = node.steps.get(fixed)
        if step is None:
            if len(fixed) not in node.lengths:
                if len(node.lengths) >= LENGTHS:
                    return
                node.lengths = sorted([*node.lengths, len(fixed)], reverse=True)
            step = node.steps[fixed] = Step(depth, readers.get(size), size, HOLES.get(tag), Node())
        elif step.depth != depth:
            return
        node = step.node
    node.shape = node.shape or shape
