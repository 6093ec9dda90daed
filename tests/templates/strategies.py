"""Hypothesis strategies: valid logs in every variation that the templates allow, and trees of nothing in particular."""

from hypothesis import strategies as st

from plscp.content.model import Code, ContentItem, Numeric, RawElement, ReferencedSop
from tests.templates.tables import LINES, Line
from tests.templates.trees import (
    LINE,
    MEASURED,
    PRIVATE,
    QUOTED,
    code,
    device,
    entry,
    entry_line,
    is_nested,
    item_for,
    person,
    root,
)

KINDS = sorted({line.kind for line in LINES if line.kind})
WORDS = st.text(max_size=12)
TAGS = st.integers(0x00080000, 0xFFFFFFFF)
TEXTS = st.sampled_from(
    ["", "20240102", "20240102030405.120+0100", "2024010203", "1.2.840.10008.1", "Müller^Jürgen=鈴木"]
)


def raw(depth: int = 1) -> st.SearchStrategy[RawElement]:
    """Elements that no one interprets."""
    plain = st.builds(RawElement, TAGS, st.sampled_from(["LO", "UN", "FD"]), WORDS | st.binary(max_size=8))
    if not depth:
        return plain
    items = st.lists(st.lists(raw(depth - 1), max_size=2).map(tuple), max_size=2).map(tuple)
    return plain | st.builds(RawElement, TAGS, st.just("SQ"), items)


OTHERS = st.just(()) | st.lists(raw(), max_size=2).map(tuple)
CODES = st.one_of(
    st.builds(Code, WORDS, WORDS, WORDS, WORDS, OTHERS),
    st.sampled_from([line for line in LINES if line.concept.startswith("EV")]).map(
        lambda line: code(*line.concept.split()[1:3])
    ),
    st.sampled_from([Code("G-C340", "SRT", "Route"), Code("DD-60002", "SNM3", "Complication"), PRIVATE]),
)
NUMBERS = st.builds(
    Numeric,
    st.none() | st.sampled_from(["5.0", "-1e3", "+.5", "007", "1e400", "nan", "1_0", "", "9" * 16]),
    st.none() | CODES,
    st.none() | CODES,
    OTHERS,
)
REFERENCES = st.builds(ReferencedSop, TEXTS, TEXTS, OTHERS)
VALUES = st.one_of(st.none(), WORDS, TEXTS, CODES, NUMBERS, REFERENCES)


def junk(depth: int = 2, relationships: tuple[str, ...] = ()) -> st.SearchStrategy[ContentItem]:
    """Content items of any shape, often close to a row."""
    anything = ("HAS PROPERTIES", "HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD", "INFERRED FROM", "?")
    types = ["TEXT", "CODE", "NUM", "PNAME", "UIDREF", "DATETIME", "DATE", "IMAGE", "COMPOSITE", "WAVEFORM", "?"]
    children = st.lists(junk(depth - 1), max_size=4) if depth else st.just(list[ContentItem]())
    return st.builds(
        ContentItem,
        st.sampled_from(relationships or anything),
        st.sampled_from(types),
        st.none() | CODES,
        VALUES,
        children,
        st.just("") | TEXTS,
        st.just("") | TEXTS,
        st.just("") | st.just("3001"),
        st.just(b""),
        OTHERS,
    )


ABOUT_A_NUMBER = [
    line for line in LINES if line.tid in MEASURED and not is_nested(line) and line.value_type != "INCLUDE"
]
QUOTATIONS = [line for line in LINES if line.tid in QUOTED and not is_nested(line) and line.value_type != "INCLUDE"]


@st.composite
def varied(draw: st.DrawFn, line: Line) -> ContentItem:
    """An item that fills a row, in one of the ways in which devices differ."""
    item = item_for(line, draw(st.integers(0, 30)))
    if draw(st.booleans()):
        return item
    concept = item.concept
    assert concept is not None
    item.concept = concept._replace(
        meaning=draw(st.sampled_from([concept.meaning, concept.meaning.upper(), ""])),
        version=draw(st.sampled_from(["", "20240101"])),
        other=draw(OTHERS),
    )
    if isinstance(item.value, Numeric):
        item.value = Numeric(draw(st.sampled_from(["5", "5.0", "0.10", "1e-3"])), item.value.units, None, draw(OTHERS))
    elif isinstance(item.value, str):
        item.value = draw(WORDS)
    elif isinstance(item.value, Code) and line.value_type == "CODE" and "EV" not in line.value:
        item.value = draw(st.sampled_from([item.value, PRIVATE]))
    item.observation_datetime = draw(st.sampled_from(["", "20240102030405"]))
    item.other = draw(OTHERS)
    nested = [child for child in LINES if (child.tid, child.parent) == (line.tid, line.row) and child.req != "M"]
    if "by300" in line.remarks and draw(st.booleans()):
        nested += [child for child in ABOUT_A_NUMBER if draw(st.booleans())]
    for child in nested:
        if draw(st.booleans()):
            item.children.append(draw(varied(child)))
    if draw(st.booleans()):
        item.children.append(ContentItem("HAS CONCEPT MOD", "CODE", PRIVATE, PRIVATE))
    return item


@st.composite
def valid_entries(draw: st.DrawFn, kinds: list[str] = KINDS) -> ContentItem:
    """An entry with any of its rows, qualifiers and unknown items, in any order."""
    kind = draw(st.sampled_from(kinds))
    made = entry(kind)
    own = entry_line(kind)
    made.observation_datetime = draw(st.sampled_from(["20240102030405", "202401020304", "20240102030405.5+0100"]))
    made.observation_uid = draw(st.sampled_from(["", "1.2.3.4"]))
    mandatory = {(c.concept, c.relationship) for c in made.children}
    quotes = draw(st.booleans())
    for line in LINES:
        if line.value_type == "INCLUDE" or "IFF" in line.remarks:
            continue
        below = line.kind == kind and line.parent == own.row and line.tid != "3001"
        if below or line.tid == "3010" or (quotes and line in QUOTATIONS and draw(st.booleans())):
            for _ in range(draw(st.integers(0, 2 if line.vm == "1-n" else 1))):
                item = draw(varied(line))
                if (item.concept, item.relationship) not in mandatory or line.vm == "1-n":
                    made.children.append(item)
    if draw(st.booleans()):
        made.children += draw(st.sampled_from([device(), person(), device() + person()]))
    if draw(st.booleans()):
        made.children.append(ContentItem("HAS PROPERTIES", "TEXT", PRIVATE, "unknown", other=draw(OTHERS)))
    return made if draw(st.booleans()) else _shuffled(draw, made)


def _shuffled(draw: st.DrawFn, item: ContentItem) -> ContentItem:
    item.children = list(draw(st.permutations(item.children)))
    return item


@st.composite
def valid_logs(draw: st.DrawFn) -> ContentItem:
    """A log with context and entries; the context before, after or between them."""
    observers = draw(st.sampled_from([device(), person(), device() + person(), person() + device() + device()]))
    for tid, number in (("3601", "1"), ("3601", "2"), ("3601", "4"), ("3001", "4"), ("3001", "5"), ("3001", "5")):
        if draw(st.booleans()):
            observers.append(item_for(LINE[tid, number]))
    log = root(*draw(st.lists(valid_entries(), max_size=3)), observers=observers)
    log.other = draw(OTHERS)
    if draw(st.booleans()):
        log.children = log.children[len(observers) :] + log.children[: len(observers)]
    return log
