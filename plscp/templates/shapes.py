"""Shapes: first-level items as a device sends them again and again, where only texts, numbers, times and UIDs change.

A shape is what the plain reader and the templates once made of such an item, with holes for the values that change. Bytes
that fit a shape are compared and cut, not read, checked and typed anew; whatever does not fit goes the plain way, which
alone refuses. So shapes save time and decide nothing: a request of known shapes costs a fifth (E1) to a sixth (E5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from struct import Struct
from typing import Any, Final, NamedTuple

from plscp.digests import sha256
from plscp.findings import Finding
from plscp.templates.charset import ESC, CharacterSet
from plscp.templates.elements import CONTENT_SEQUENCE, UNDEFINED
from plscp.templates.encodings import Form
from plscp.templates.fragments import encoded, moment, number, quoted
from plscp.templates.identity import sequence
from plscp.templates.request import Bounds, Identifiers, TypedEntry
from plscp.templates.rows import CONTAINS
from plscp.templates.syntax import is_da, is_ds, is_dt, is_pn, is_tm, is_ui, is_unformatted

START: Final = 4096
"""Content Sequence begins before this byte where shapes are of use."""
LAYOUTS: Final = 4
"""So many layouts of items of one length are tried."""
LENGTHS: Final = 12
"""So many lengths of what may come next are tried."""
GLIMPSED: Final = 4096
MEMORY: Final = 8 << 20
"""Bytes of shapes before all are forgotten."""
_HEAD: Final = Struct(">II").pack
_CONTENT: Final = {False: b"\x40\x00\x30\xa7", True: b"\x00\x40\xa7\x30"}
_END: Final = {False: b"\xfe\xff\xdd\xe0\0\0\0\0", True: b"\xff\xfe\xe0\xdd\0\0\0\0"}


def content_at(raw: bytes, form: Form) -> tuple[int, int, int] | None:
    """Where Content Sequence stands: its head, its first item, its end; None where it is not the last element."""
    head = raw.find(_CONTENT[form.big], 0, START)
    first = head + (12 if form.explicit else 8)
    if head < 0 or first > len(raw) or (form.explicit and raw[head + 4 : head + 6] != b"SQ"):
        return None
    (length,) = form.length(raw, first - 4)
    if length == UNDEFINED:
        end = len(raw) - 8
        return (head, first, end) if raw[end:] == _END[form.big] else None
    return (head, first, len(raw)) if first + length == len(raw) else None


class Hole(NamedTuple):
    """A value that changes.

    Attributes:
        tag, vr: of the element.
        shown: how the value is published.
        valid: what it must look like.
        free: it is text in the declared character sets; else ASCII.
    """

    tag: int
    vr: str
    shown: Callable[[str], str]
    valid: Callable[[str], bool]
    free: bool = False


def _amount(text: str) -> str:
    return f'{number(text)},"text":{quoted(text)}'


HOLES: Final[dict[int, Hole]] = {
    hole.tag: hole
    for hole in (
        Hole(0x0040A032, "DT", moment, is_dt),
        Hole(0x0040A171, "UI", quoted, is_ui),
        Hole(0x0040A160, "UT", quoted, is_unformatted, free=True),
        Hole(0x0040A120, "DT", quoted, is_dt),
        Hole(0x0040A121, "DA", quoted, is_da),
        Hole(0x0040A122, "TM", quoted, is_tm),
        Hole(0x0040A123, "PN", quoted, is_pn, free=True),
        Hole(0x0040A124, "UI", quoted, is_ui),
        Hole(0x0040A30A, "DS", _amount, is_ds),
        Hole(0x00081155, "UI", quoted, is_ui),
    )
}
"""Values of content items (PS3.3 C.17.3); codes are none: they decide what an item is."""


class Pattern(NamedTuple):
    """Text, or bytes, with places for values: which value stands in each."""

    form: Any
    order: tuple[int, ...]

    def filled(self, values: Sequence[Any]) -> Any:
        """The pattern with these values, by hole."""
        return self.form % tuple([values[at] for at in self.order])


NONE: Final = Pattern("", ())


@dataclass(slots=True, eq=False)
class Shape:
    """What an item is but for the values in its holes.

    Attributes:
        relationship: its relationship to the root.
        canonical: canonical form (see `plscp.templates.identity`).
        count, height: as the reader's `Item` has them.
        holes: in the order of the bytes.
        kind, template: of an entry.
        json, likeness: of an entry: its typed form, and what its likeness is the digest of.
        when, uid: which hole is the entry's Observation DateTime and UID, or -1.
        findings: about an entry, with paths from the entry on.
    """

    relationship: str
    canonical: Pattern
    count: int
    height: int
    holes: tuple[Hole, ...] = ()
    kind: str = ""
    template: str = ""
    json: Pattern = NONE
    likeness: Pattern = NONE
    when: int = -1
    uid: int = -1
    findings: tuple[Finding, ...] = ()

    def entry(self, texts: Sequence[str], canonical: bytes, index: int, position: int) -> TypedEntry:
        """The typed entry with these values.

        Args:
            texts: of the holes.
            canonical: of the whole item.
            index: 0-based among the entries.
            position: 1-based among all first-level items.
        """
        shown = [hole.shown(text) for hole, text in zip(self.holes, texts, strict=True)]
        return TypedEntry(
            index,
            self.kind,
            self.template,
            texts[self.when] if self.when >= 0 else "",
            texts[self.uid] if self.uid >= 0 else "",
            sha256(canonical),
            sha256(self.likeness.filled([repr(text) for text in texts]).encode()),
            encoded(self.json.filled(shown)),
            [finding._replace(path=f"{position}{finding.path}") for finding in self.findings],
        )


class Step(NamedTuple):
    """What follows fixed bytes: a length or a value to be read, and what may come after it.

    Attributes:
        depth: open items and sequences before the fixed bytes.
        length: reads the length field, or None where neither length nor value follows.
        size: bytes of that field.
        hole: the value that follows it, or None where it is the length of an item or a sequence.
        node: what comes next.
    """

    depth: int
    length: Any
    size: int
    hole: Hole | None
    node: "Node"


class Layout(NamedTuple):
    """A shape with values of certain lengths: how to cut it, and the fixed bytes before, between and after the values."""

    cut: Any
    fixed: tuple[bytes, ...]
    shape: Shape


class Node:
    """A place in the tree of all shapes: the fixed bytes that may come next, longest first; and the shape that ends here.

    The root has layouts as well, by the length of the item.
    """

    __slots__ = ("layouts", "lengths", "shape", "steps")

    def __init__(self) -> None:
        self.layouts: dict[int, list[Layout]] = {}
        self.lengths: list[int] = []
        self.steps: dict[bytes, Step] = {}
        self.shape: Shape | None = None


@dataclass(slots=True, eq=False)
class Envelope:
    """Everything before Content Sequence, with what was made of it.

    Attributes:
        charset: of the data set.
        canonical: canonical form of it.
        count: elements.
        identifiers, offset, findings: what step 6 made of it.
        contexts: context items -> what they are together: the JSON, what was found about tree and log.
        root: the tree of shapes in its encoding and character set.
    """

    charset: CharacterSet
    canonical: bytes
    count: int
    identifiers: Identifiers
    offset: str
    findings: tuple[Finding, ...]
    root: Node
    contexts: dict[tuple[object, ...], tuple[bytes, tuple[Finding, ...]]] = field(default_factory=dict)


class Cut(NamedTuple):
    """A first-level item that fits a shape.

    Attributes:
        values: of the holes, as text.
        canonical: its canonical form.
    """

    shape: Shape
    values: list[str]
    canonical: bytes


class Sketch(NamedTuple):
    """A data set that fits: step 5 is done, and steps 6 and 7 are known but for what lies between the entries.

    Attributes:
        raw, form, bounds, sop_class: to read it the plain way after all.
    """

    envelope: Envelope
    cuts: list[Cut]
    raw: bytes
    form: Form
    bounds: Bounds
    sop_class: str

    def canonical(self) -> bytes:
        """The canonical form of the data set."""
        return self.envelope.canonical + sequence(CONTENT_SEQUENCE, [cut.canonical for cut in self.cuts])

    def context(self) -> tuple[object, ...]:
        """What the context is made of: all first-level items that are no entries."""
        return tuple(
            (position, cut.shape, *cut.values)
            for position, cut in enumerate(self.cuts, 1)
            if cut.shape.relationship != CONTAINS
        )


class Shapes:
    """All shapes and envelopes that were learned; emptied when they take too much memory."""

    def __init__(self) -> None:
        self.envelopes: dict[bytes, Envelope] = {}
        self.roots: dict[bytes, Node] = {}
        self.glimpsed: dict[int, None] = {}
        self.size = 0

    def again(self, layout: int) -> bool:
        """Whether a layout comes at least the second time: what never comes again is not worth learning."""
        if layout in self.glimpsed:
            return True
        if len(self.glimpsed) >= GLIMPSED:
            self.glimpsed.clear()
        self.glimpsed[layout] = None
        return False

    def grown(self, size: int) -> None:
        """Note so many bytes more; forget everything where that is too much."""
        self.size += size
        if self.size > MEMORY:
            self.envelopes.clear()
            self.roots.clear()
            self.size = size

    def root(self, form: Form, charset: CharacterSet) -> Node:
        """The tree for an encoding and a character set."""
        return self.roots.setdefault(form.name + charset.key, Node())

    def fit(self, raw: bytes, form: Form, bounds: Bounds, sop_class: str) -> Sketch | None:
        """Cut a data set of known shapes; None where anything is not as known."""
        place = content_at(raw, form)
        if place is None:
            return None
        head, at, stop = place
        envelope = self.envelopes.get(form.name + raw[:head])
        if envelope is None:
            return None
        cuts: list[Cut] = []
        left, deepest = bounds.elements - envelope.count, bounds.depth - 1
        root, charset, longest = envelope.root, envelope.charset, bounds.value
        while at < stop:
            if stop - at < 8:
                return None
            (length,) = form.length(raw, at + 4)
            end = at + 8 + length
            for layout in root.layouts.get(length, ()):
                parts = layout.cut(raw, at) if end <= stop else ()
                if parts[::2] == layout.fixed:
                    shape, values = layout.shape, parts[1::2]
                    break
            else:
                found = self._walk(raw, at, stop, root)
                if found is None:
                    return None
                shape, values, end = found
            cut = _read(shape, values, charset, longest)
            left -= shape.count
            if cut is None or shape.height > deepest:
                return None
            cuts.append(cut)
            at = end
        return Sketch(envelope, cuts, raw, form, bounds, sop_class) if left >= 0 and cuts else None

    def _walk(self, raw: bytes, at: int, stop: int, root: Node) -> tuple[Shape, Sequence[bytes], int] | None:
        """Find the shape of the item at `at` in the tree: the shape, the values and where the item ends."""
        begin, node, ends = at, root, [stop]
        values: list[bytes] = []
        spans: list[int] = []
        while True:
            for length in node.lengths:
                step = node.steps.get(raw[at : at + length])
                if step is not None:
                    break
            else:
                return None
            at += length
            depth, read, size, hole, node = step
            if depth != len(ends):
                return None
            if read is not None:
                (length,) = read(raw, at)
                at += size
                if at + length > ends[-1]:
                    return None
                if hole is None:
                    ends.append(at + length)
                    continue
                values.append(raw[at : at + length])
                spans += (at, at + length)
                at += length
            while at == ends[-1] and len(ends) > 1:
                ends.pop()
            shape = node.shape
            if shape is not None and len(ends) == 1:
                if self.again(hash((shape, *map(len, values)))):
                    self._lay_out(raw, [begin, *spans, at], shape, root)
                return shape, values, at

    def _lay_out(self, raw: bytes, places: list[int], shape: Shape, root: Node) -> None:
        """Keep where everything lies when the values are as long as now: then one call cuts the item (E5: a fifth faster)."""
        cut = Struct("".join(f"{end - begin}s" for begin, end in pairwise(places))).unpack_from
        size = places[-1] - places[0]
        layouts = root.layouts.setdefault(size - 8, [])
        if len(layouts) < LAYOUTS:
            layouts.append(Layout(cut, cut(raw, places[0])[::2], shape))
            self.grown(size + 300)


def _read(shape: Shape, values: Sequence[bytes], charset: CharacterSet, longest: int) -> Cut | None:
    """Read the values in the holes; None where one is not as it should be."""
    texts: list[str] = []
    canonical: list[bytes] = []
    for hole, sent in zip(shape.holes, values, strict=True):
        if len(sent) & 1 or len(sent) > longest:
            return None
        if sent.isascii() and not (hole.free and ESC in sent):
            value = sent.rstrip(b"\0 ")
            text = value.decode("ascii")
        else:
            decoded = charset.decode(sent, hole.vr) if hole.free else None
            if decoded is None:
                return None
            text = decoded.rstrip("\0 ")
            value = text.encode("utf-8", "surrogatepass")
        if not text or text[0] == " " or not hole.valid(text):
            return None
        texts.append(text)
        canonical.append(_HEAD(hole.tag, len(value)) + value)
    return Cut(shape, texts, shape.canonical.filled(canonical))


shapes: Final = Shapes()
