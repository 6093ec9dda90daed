"""Content items that came before but for their text or number: what is not read again is the same as if it were."""

import sys
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.content import parsing
from plscp.content.elements import ParsedItem
from plscp.content.layouts import Frame, Memory
from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.errors import Refused
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.procedure_log import read_log
from tests.templates import build

MATERIAL = ("121145", "DCM", "Description of Material")
TEXTS = [
    ["abcd", "dcba", " abc", "abc ", "ab\nc", "a\1bc", "\x1b(Ba", "\xe4bcd", "\xc3\xa4bc", "b\x85cd", "@\0`\xa1"],
    [
        "abcdefghijkl",
        "@\0`\xa1\4\0\0\0abcd",
        "@\0`\xa1\2\0\0\0ab\0\0",
        "abcd\xfe\xff\xdd\xe0\0\0\0\0",
        "@\0`\xa1UT\0\0\0\0\0\0",
    ],
    ["", "a", "b", "ab", "\xe4", "a\0", "  "],
]
"""Texts in Latin-1 that are equally long when they are encoded; some look like the heads of elements."""
NAMES = ["Doe^Jane", "Doe^Joan", "D\xf6e^Idas", "a\\bcdefg", "^^^^^^^^", "\x1b(BDoe^J", "Doe^Jo \0"]
AMOUNTS = ["12", " 5", "5 ", "77", "-1", "1.", "5", ""]
BROKEN = [b"77", b"7x", b"\xb57", b"\x1b("]
"""What is sent for 77: pydicom writes no decimal string that is none."""
CHANGES = ["", "", "", "when", "uid", "text", "child", "two", "set", "inner set", "no value", "type", "beside"]
SETS = ["", "ISO_IR 100", "ISO_IR 192", "GB18030", "\\ISO 2022 IR 87", "UNKNOWN"]


def child(kind: str, change: str, words: str, name: str, amount: str) -> Dataset:
    """A child of an entry: it can be a leaf, or only looks like one."""
    if kind == "text":
        made = build.text(MATERIAL, words)
    elif kind == "name":
        made = build.pname(build.ADMINISTERED_BY, name, rel="HAS PROPERTIES")
    else:
        made = build.num(build.DOSE, amount, "mg")
    inner = made.MeasuredValueSequence[0] if kind == "number" else made
    if change == "when":
        made.ObservationDateTime = build.when(1)
    elif change == "uid":
        made.ObservationUID = "1.2.3"
    elif change == "text":
        inner.TextValue = words
    elif change == "child":
        made.ContentSequence = Items([build.text(MATERIAL, words)])
    elif change == "two":
        made.MeasuredValueSequence = Items([build.dataset(TextValue=words), *made.get("MeasuredValueSequence", ())])
    elif change == "set":
        made.SpecificCharacterSet = "ISO_IR 100"
    elif change == "inner set":
        inner.SpecificCharacterSet = "ISO_IR 192"
    elif change == "no value":
        made.MeasuredValueSequence = Items([])
    elif change == "type":
        made.ValueType = "TEXT"
    elif change == "beside":
        made.UID = "1.2.3"
    return made


@st.composite
def alike(draw: st.DrawFn) -> list[tuple[Dataset, bytes]]:
    """Logs of one entry that differ in the texts and numbers below it, and what is sent for 77."""
    kind, change = draw(st.sampled_from(["text", "name", "number"])), draw(st.sampled_from(CHANGES))
    words = draw(st.sampled_from(TEXTS))
    made = []
    for _ in range(draw(st.integers(2, 4))):
        values = (draw(st.sampled_from(words)), draw(st.sampled_from(NAMES)), draw(st.sampled_from(AMOUNTS)))
        children = (child(kind, change, *values) for _ in range(draw(st.integers(1, 2))))
        made.append((build.log(entry(*children), observers=[]), draw(st.sampled_from(BROKEN))))
    return made


def encode(made: Dataset, syntax: str, declared: str, *, undefined: bool) -> bytes:
    """The bytes with texts in Latin-1, whatever is declared: what does not decode is a case of its own."""
    made.SpecificCharacterSet = "ISO_IR 100"
    raw = build.encode(made, syntax, undefined=undefined)
    value = declared.encode() + b" " * (len(declared) % 2)
    assert raw[8:18] == b"ISO_IR 100"
    length = len(value).to_bytes(4 if syntax == build.IMPLICIT else 2, "little")
    return raw[: 8 - len(length)] + length + value + raw[18:]


def told(item: ParsedItem) -> Any:
    """Everything that the reader says of an item."""
    return item.elements, item.canonical


def outcome(raw: bytes, syntax: str, bounds: Bounds) -> Any:
    """Everything that steps 5 to 7 make of a request."""
    try:
        decoded = decode(raw, syntax, calling_ae="A", sop_class=PROCEDURAL_EVENT_LOGGING, bounds=bounds)
    except Refused as refused:
        return refused.status, refused.findings
    generic = decode(raw, syntax, calling_ae="A", sop_class=SUBSTANCE_ADMINISTRATION_LOGGING, bounds=bounds)
    made: list[Any] = [decoded.identity, told(decoded.root), told(generic.root), decoded.notes, decoded.content]
    made.append(decoded.about_content)
    for strict in (False, True):
        try:
            log = read_log(decoded, strict=strict)
        except Refused as refused:
            made.append((refused.status, refused.findings))
        else:
            made.append({**asdict(log), "entries": [asdict(entry) for entry in log.entries]})
    return made


def _elements(most: int) -> Bounds:
    return Bounds(elements=most)


@settings(max_examples=100, deadline=None)
@given(
    alike(),
    st.sampled_from([build.IMPLICIT, build.EXPLICIT]),
    st.sampled_from(SETS),
    st.booleans(),
    st.sampled_from([*[Bounds()] * 4, Bounds(depth=2), Bounds(depth=3), *map(_elements, range(40, 60))]),
)
def test_what_came_before_changes_nothing(
    sent: list[tuple[Dataset, bytes]], syntax: str, declared: str, undefined: bool, bounds: Bounds
) -> None:
    """A request after others that differ from it in texts and numbers is what it would be alone, and element by element."""
    raws = [encode(made, syntax, declared, undefined=undefined).replace(b"77", number) for made, number in sent]
    with patch.object(parsing, "memory", Memory()):
        after_others = [outcome(raw, syntax, bounds) for raw in raws]
    for raw, seen in zip(raws, after_others, strict=True):
        with patch.object(parsing, "memory", Memory()):
            assert outcome(raw, syntax, bounds) == seen
        with patch.object(parsing, "LONGEST_BYTES", sys.maxsize):  # nothing is read but element by element
            assert outcome(raw, syntax, bounds) == seen


def entry(*children: Dataset) -> Dataset:
    """A drug with these children."""
    return build.coded(
        build.DRUG_ADMINISTERED, build.DEXTRAN, *children, rel="CONTAINS", ObservationDateTime=build.when(1)
    )


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT])
@pytest.mark.parametrize("declared", SETS)
def test_whichever_came_first_changes_nothing(syntax: str, declared: str) -> None:
    """Each text, and each item that only looks like a leaf, after each of the others."""
    groups = [[child("text", "", words, "", "") for words in group] for group in TEXTS]
    groups += [[child("name", "", "", name, "") for name in NAMES]]
    groups += [[child("number", "", "", "", "77") for _ in BROKEN]]
    groups += [[child(kind, change, "abcd", "Doe^Jane", "12") for change in CHANGES[2:]] for kind in ("text", "name")]
    groups += [[child("number", change, "abcd", "Doe^Jane", "12") for change in CHANGES[2:]]]
    groups += [
        [child(kind, change, *values) for values in (("abcd", "Doe^Jane", "12"), ("dcba", "Doe^Joan", "21"))]
        for kind in ("text", "name", "number")
        for change in CHANGES[2:]
    ]
    for group in groups:
        raws = [encode(build.log(entry(one), observers=[]), syntax, declared, undefined=False) for one in group]
        raws = [raw.replace(b"77", BROKEN[at % len(BROKEN)]) for at, raw in enumerate(raws)]
        alone = []
        for raw in raws:
            with patch.object(parsing, "memory", Memory()):
                alone.append(outcome(raw, syntax, Bounds()))
        for first in range(len(raws)):
            with patch.object(parsing, "memory", Memory()):
                for at in (*range(first, len(raws)), *range(first)):
                    assert outcome(raws[at], syntax, Bounds()) == alone[at]


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT])
def test_texts_and_numbers_without_end_take_no_memory(syntax: str) -> None:
    """What is kept of an item does not depend on its value, only on how long that is."""
    memory = Memory()
    with patch.object(parsing, "memory", memory):
        for number in range(1000, 1200):
            children = (
                build.text(MATERIAL, f"lot {number}"),
                build.num(build.DOSE, f"{number}", "mg"),
                build.pname(build.ADMINISTERED_BY, f"Doe^{number}"),
            )
            outcome(build.encode(build.log(entry(*children)), syntax), syntax, Bounds())
            if number == 1000:
                size, kept = memory.size, len(memory.table)
    assert (memory.size, len(memory.table)) == (size, kept)
    assert sum(isinstance(one, Frame) and one.ending is not None for one in memory.table.values()) == 5


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT])
def test_what_is_cut_off_or_goes_on_is_not_what_came_before(syntax: str) -> None:
    """An item that ends earlier or later than the same bytes did before is what it would be alone."""
    values = build.dataset(EncapsulatedDocument=b"@\0`\xa1\4\0\0\0")
    odd = child("text", "", "abcd", "", "")
    odd.update(values)
    for made in (
        entry(child("number", "", "", "", "12"), odd),
        build.note(1, "abcd"),
        entry(),
        odd,
        child("name", "", "", NAMES[0], ""),
    ):
        raw = build.encode(build.log(made, observers=[]), syntax)
        head = raw.index(b"\x40\x00\x30\xa7")
        at = head + (12 if syntax == build.EXPLICIT else 8)
        item = raw[at + 8 :]
        for cut in (*range(len(item)), *range(-8, 0)):
            body = item[:cut] if cut >= 0 else item + b"abcdefgh"[cut:]
            content = b"\xfe\xff\0\xe0" + len(body).to_bytes(4, "little") + body
            sent = raw[: at - 4] + len(content).to_bytes(4, "little") + content
            with patch.object(parsing, "memory", Memory()):
                outcome(raw, syntax, Bounds())
                after_others = outcome(sent, syntax, Bounds())
            with patch.object(parsing, "memory", Memory()):
                assert outcome(sent, syntax, Bounds()) == after_others


def hidden(syntax: str) -> bytes:
    """A Content Sequence as the value of another element would hold it."""
    return build.encode(build.dataset(ContentSequence=Items([child("text", "", "abcd", "", "")])), syntax)


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT])
def test_what_stands_beside_the_code_of_an_entry_is_kept_each_time(syntax: str) -> None:
    """Entries that are a code, with its children or without, and with more than that: as each would be alone."""
    more: list[dict[str, Any]] = [
        {},
        {"ObservationUID": "1.2.3"},
        {"ObservationUID": ""},
        {"UID": "1.2.3"},
        {"PatientID": "PAT-2"},
        {"EncapsulatedDocument": hidden(syntax)},
        {"EncapsulatedDocument": hidden(syntax).replace(b"abcd", b"\1\2\3\4")},
        {"DataSetTrailingPadding": hidden(syntax).replace(b"abcd", b"\1\2\3\4")},
        {"DataSetTrailingPadding": hidden(syntax)},
    ]
    made = []
    for children in ([], [child("text", "", "abcd", "", "")]):
        for changes in more:
            one = entry(*children)
            one.update(build.dataset(**changes))
            made.append(build.encode(build.log(one, observers=[]), syntax))
    alone = []
    for raw in made:
        with patch.object(parsing, "memory", Memory()):
            alone.append(outcome(raw, syntax, Bounds()))
    with patch.object(parsing, "memory", Memory()):
        for _ in range(2):
            for raw, seen in zip(made, alone, strict=True):
                assert outcome(raw, syntax, Bounds()) == seen


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT, build.BIG])
def test_codes_of_every_kind_are_what_they_are_element_by_element(syntax: str) -> None:
    """Codes with a version, of the other Code Value attributes, with further elements, in other character sets, or with something wrong."""
    changes: list[dict[str, Any]] = [
        {},
        {"CodingSchemeVersion": "2026"},
        {"CodeValue": None, "LongCodeValue": "1234567890123456789"},
        {"CodeValue": None, "CodingSchemeDesignator": None, "URNCodeValue": "urn:oid:1.2.3"},
        {"ContextIdentifier": "3425", "MappingResource": "DCMR"},
        {"EquivalentCodeSequence": Items([build.code(MATERIAL)])},
        {"CodeMeaning": "Gr\xf6\xdfe"},
        {"CodeMeaning": " Size "},
        {"CodeMeaning": ""},
        {"CodeMeaning": "x" * 65},
        {"CodeMeaning": "a\\b"},
        {"CodeValue": "1\0012"},
        {"SpecificCharacterSet": "ISO_IR 144", "CodeMeaning": "\u0449\u0448"},
    ]
    raws = []
    for change in changes:
        for sequence in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            one = build.coded(build.DOSE, build.DEXTRAN)
            code = one[sequence][0]
            for name, value in change.items():
                if value is None:
                    del code[name]
                else:
                    code.update(build.dataset(**{name: value}))
            raws.append(build.encode(build.log(entry(one, one), SpecificCharacterSet="ISO_IR 100"), syntax))
    for raw in raws * 2:
        for bounds in (Bounds(), Bounds(depth=3), Bounds(depth=4)):
            with patch.object(parsing, "LONGEST_BYTES", sys.maxsize):
                alone = outcome(raw, syntax, bounds)
            assert outcome(raw, syntax, bounds) == alone


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT])
def test_elements_behind_the_content_that_should_stand_before_it(syntax: str) -> None:
    """What stands before Content Sequence came before; an element behind it that belongs there has its place in the identity."""
    raw = build.encode(build.log(build.note()), syntax)
    behind = build.encode(build.dataset(PatientComments="abc", ImageComments="def"), syntax)
    with patch.object(parsing, "LONGEST_BYTES", sys.maxsize):
        alone = outcome(raw + behind, syntax, Bounds())
    outcome(raw, syntax, Bounds())
    assert outcome(raw + behind, syntax, Bounds()) == alone


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT])
def test_a_value_past_a_bound_is_so_also_where_another_bound_took_it(syntax: str) -> None:
    """Two readers with different bounds share the memory, and nothing of their verdicts."""
    raw = build.encode(build.log(build.note(), PatientComments="c" * 1500), syntax)
    for most, taken in ((1100, False), (65_536, True), (1100, False), (1499, False), (1500, True)):
        read = outcome(raw, syntax, Bounds(value=most))
        assert (read == outcome(raw, syntax, Bounds())) is taken


@pytest.mark.parametrize("syntax", [build.IMPLICIT, build.EXPLICIT])
def test_keys_of_the_memory_cannot_be_sent(syntax: str) -> None:
    """An item that begins with the word that a key begins with is what it would be alone."""
    raw = build.encode(build.log(build.note(1, "abcd"), observers=[]), syntax)
    head = raw.index(b"\x40\x00\x30\xa7")
    at = head + (12 if syntax == build.EXPLICIT else 8)
    entry_without_time = raw[raw.index(b"\x40\x00\x40\xa0", at) :]
    for body in (b"dated" + entry_without_time, b"start\x20" + raw[:head] + entry_without_time):
        content = b"\xfe\xff\0\xe0" + len(body).to_bytes(4, "little") + body
        sent = raw[: at - 4] + len(content).to_bytes(4, "little") + content
        with patch.object(parsing, "memory", Memory()):
            alone = outcome(sent, syntax, Bounds())
        with patch.object(parsing, "memory", Memory()):
            outcome(raw, syntax, Bounds())
            assert outcome(sent, syntax, Bounds()) == alone
