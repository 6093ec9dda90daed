"""Encoded data sets: what is read, what is noted, what is refused and with which status (contract section 2, step 5)."""

from collections.abc import Callable, Collection
from struct import pack
from typing import Any

import pytest
from pydicom.dataset import Dataset

from plscp.content.elements import Elements, any_undecoded, items_of, shown, undecoded
from plscp.content.model import Bounds, RawElement
from plscp.content.reader import Decoded, decode
from plscp.errors import DoesNotMatchTemplate, InvalidArgument, Refused, TooLarge
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.templates import build

PATIENT_ID, CONTENT = 0x00100020, 0x0040A730
PATIENT = b"\x10\x00\x20\x00\x04\x00\x00\x00P  1"
"""(0010,0020) in Implicit VR Little Endian."""
ITEM_HEAD, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)
WITHOUT = b"\xff" * 4


def read(raw: bytes, syntax: str = build.IMPLICIT, sop_class: str = PROCEDURAL_EVENT_LOGGING, **bounds: int) -> Decoded:
    return decode(raw, syntax, calling_ae="HEMO1", sop_class=sop_class, bounds=Bounds(**bounds))


def generic(raw: bytes, syntax: str = build.IMPLICIT) -> Decoded:
    """As `read`, with the items of Content Sequence as elements, not as content items."""
    return read(raw, syntax, SUBSTANCE_ADMINISTRATION_LOGGING)


def items(of: Elements) -> list[Elements]:
    """The items of Content Sequence."""
    return items_of(of[CONTENT])


def total(of: Collection[RawElement]) -> int:
    """How many elements and items there are."""
    items = [item for element in of if isinstance(element.value, list) for item in element.value]
    return len(of) + len(items) + sum(map(total, items))


def sequence(tag: bytes, *items: bytes) -> bytes:
    """A sequence in Implicit VR Little Endian, everything with its length."""
    body = b"".join(ITEM_HEAD + pack("<I", len(one)) + one for one in items)
    return tag + pack("<I", len(body)) + body


def nested(levels: int, *, lengths: bool = True) -> bytes:
    """Content Sequence in Content Sequence, with a Patient ID in the innermost item."""
    raw = PATIENT
    for _ in range(levels):
        if lengths:
            raw = sequence(b"\x40\x00\x30\xa7", raw)
        else:
            raw = b"\x40\x00\x30\xa7" + WITHOUT + ITEM_HEAD + WITHOUT + raw + ITEM_END + SEQUENCE_END
    return raw


def explicit(tag: int, vr: bytes, value: bytes, *, wide: bool = False) -> bytes:
    """An element in Explicit VR Little Endian."""
    length = b"\0\0" + pack("<I", len(value)) if wide else pack("<H", len(value))
    return pack("<HH", tag >> 16, tag & 0xFFFF) + vr + length + value


BROKEN = [
    # what | bytes | transfer syntax | finding | path
    ("head cut off", PATIENT + b"\x10\x00", build.IMPLICIT, "truncated", "(0010,0020)"),
    ("value cut off", PATIENT[:-1], build.IMPLICIT, "truncated", "(0010,0020)"),
    ("length past the end", b"\x10\x00\x20\x00\xf0\xff\xff\xff", build.IMPLICIT, "truncated", "(0010,0020)"),
    ("item past its sequence", b"\x40\x00\x30\xa7\x08\x00\x00\x00" + ITEM_HEAD + b"\x0c\x00\x00\x00" + PATIENT,
     build.IMPLICIT, "truncated", "1"),
    ("sequence past the end", b"\x40\x00\x30\xa7\x40\x00\x00\x00", build.IMPLICIT, "truncated", "(0040,A730)"),
    ("sequence without an end", b"\x40\x00\x30\xa7" + WITHOUT, build.IMPLICIT, "truncated", "(0040,A730)"),
    ("item without an end", b"\x40\x00\x30\xa7" + WITHOUT + ITEM_HEAD + WITHOUT + PATIENT, build.IMPLICIT, "truncated", "1"),
    ("no item in a sequence", b"\x40\x00\x30\xa7\x0c\x00\x00\x00" + PATIENT, build.IMPLICIT, "no-item", "(0040,A730)"),
    ("delimiter outside", ITEM_END, build.IMPLICIT, "no-element", "(FFFE,E00D)"),
    ("item head cut off", b"\x40\x00\x30\xa7\x04\x00\x00\x00" + ITEM_HEAD, build.IMPLICIT, "truncated", "(0040,A730)"),
    ("the same element twice", PATIENT + PATIENT, build.IMPLICIT, "element-twice", "(0010,0020)"),
    ("twice, one between", explicit(0x00100020, b"LO", b"P1") + explicit(0x00100021, b"LO", b"I1")
     + explicit(0x00100020, b"LO", b"P2"), build.EXPLICIT, "element-twice", "(0010,0020)"),
    ("twice, a lower one between", explicit(0x00100021, b"LO", b"I1") + explicit(0x00100010, b"PN", b"A^B ")
     + explicit(0x00100021, b"LO", b"I2"), build.EXPLICIT, "element-twice", "(0010,0021)"),
    ("character set after a lower one", explicit(0x00100021, b"LO", b"I1") + explicit(0x00080001, b"UL", bytes(4))
     + explicit(0x00080005, b"CS", b"ISO_IR 100"), build.EXPLICIT, "element-order", "(0008,0005)"),
    ("character set after text", PATIENT + b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100", build.IMPLICIT,
     "element-order", "(0008,0005)"),
    ("no VR", b"\x10\x00\x20\x00??\x02\x00P1", build.EXPLICIT, "bad-vr", "(0010,0020)"),
    ("length of a wide VR cut off", b"\x40\x00\x60\xa1UT\x00\x00", build.EXPLICIT, "truncated", "(0040,A160)"),
    ("undefined length of text", b"\x40\x00\x60\xa1UT\x00\x00" + WITHOUT, build.EXPLICIT, "truncated", "(0040,A160)"),
    ("deep inside", sequence(b"\x40\x00\x30\xa7", b"", sequence(b"\x40\x00\x30\xa7", PATIENT[:-1])), build.IMPLICIT,
     "truncated", "2.1"),
    ("not deflated", b"\xff" * 10, build.DEFLATED, "not-deflated", ""),
    ("deflated, cut off", build.deflate(PATIENT * 1)[:-2], build.DEFLATED, "truncated", ""),
    ("bytes after it", build.deflate(explicit(PATIENT_ID, b"LO", b"P1")) + b"\0\0", build.DEFLATED, "trailing-bytes", ""),
    ("JPEG", PATIENT, "1.2.840.10008.1.2.4.50", "transfer-syntax", ""),
]  # fmt: skip


@pytest.mark.parametrize("sop_class", [PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING])
@pytest.mark.parametrize(
    ("what", "raw", "syntax", "code", "path"), BROKEN, ids=lambda x: x if isinstance(x, str) else ""
)
def test_what_does_not_decode_is_refused_with_its_place(  # noqa: PLR0917  # a row of a table
    what: str, raw: bytes, syntax: str, code: str, path: str, sop_class: str
) -> None:
    """What cannot be read is 0115H in both SOP Classes, and the finding says where."""
    with pytest.raises(InvalidArgument) as refused:
        read(raw, syntax, sop_class)
    [finding] = refused.value.findings
    assert (finding.code, finding.path, finding.refuse) == (code, path, True), what


SHAPES: list[tuple[str, bytes, dict[str, int], str]] = [
    ("33 levels", nested(33), {}, "too-deep"),
    ("33 levels without lengths", nested(33, lengths=False), {}, "too-deep"),
    ("200 levels", nested(200), {}, "too-deep"),
    ("10,000 levels without lengths", nested(10_000, lengths=False), {}, "too-deep"),
    ("200 levels, whatever the setting", nested(200), {"depth": 10_000}, "too-deep"),
    ("elements", PATIENT + b"\x10\x00\x21\x00" + bytes(4), {"elements": 1}, "too-many-elements"),
    ("items", sequence(b"\x40\x00\x30\xa7", *[b""] * 20), {"elements": 20}, "too-many-elements"),
    ("value", b"\x40\x00\x60\xa1" + pack("<I", 65_538) + b"x" * 65_538, {}, "value-too-long"),
]


@pytest.mark.parametrize(("what", "raw", "bounds", "code"), SHAPES, ids=[row[0] for row in SHAPES])
def test_bounds_of_shape(what: str, raw: bytes, bounds: dict[str, int], code: str) -> None:
    """Depth, elements and value lengths past their bounds: C102 for a Procedural Event, 0115H for a Substance Administration."""
    for sop_class, kind in (
        (PROCEDURAL_EVENT_LOGGING, DoesNotMatchTemplate),
        (SUBSTANCE_ADMINISTRATION_LOGGING, InvalidArgument),
    ):
        with pytest.raises(kind) as refused:
            decode(raw, build.IMPLICIT, calling_ae="A", sop_class=sop_class, bounds=Bounds(**bounds))
        assert refused.value.findings[0].code == code, what


def test_bounds_are_inclusive() -> None:
    """What lies exactly at a bound is read; sequences that were read before count again."""
    read(nested(32))
    read(PATIENT + b"\x10\x00\x21\x00" + bytes(4), elements=2)
    read(PATIENT, data_set=len(PATIENT), value=4)
    log = build.encode(build.log(build.drug()), build.IMPLICIT)
    count = total(generic(log).root.elements.values())
    read(log, elements=count)
    with pytest.raises(DoesNotMatchTemplate):
        read(log, elements=count - 1)
    read(log, depth=4)
    with pytest.raises(DoesNotMatchTemplate):
        read(log, depth=3)


def test_length_counts_before_and_after_inflating() -> None:
    """A data set past its bound is 0213H, also where it only grows to that by inflating."""
    with pytest.raises(TooLarge):
        read(PATIENT, data_set=len(PATIENT) - 1)
    bomb = build.deflate(bytes(40 << 20))
    assert len(bomb) < 1 << 20
    with pytest.raises(TooLarge):
        read(bomb, build.DEFLATED)
    raw = explicit(PATIENT_ID, b"LO", b"P1")
    assert read(build.deflate(raw), build.DEFLATED, data_set=len(raw) + 8).root.elements[PATIENT_ID] == (
        PATIENT_ID,
        "LO",
        "P1",
    )
    assert read(build.deflate(raw) + b"\0", build.DEFLATED).root.elements[PATIENT_ID] == (PATIENT_ID, "LO", "P1")


NOTED = [
    ("odd length", b"\x10\x00\x20\x00\x03\x00\x00\x00P-1", "odd-length", "(0010,0020)"),
    ("wrong order", PATIENT + b"\x10\x00\x10\x00\x02\x00\x00\x00A^", "element-order", "(0010,0010)"),
    ("inside an item", sequence(b"\x40\x00\x30\xa7", b"", b"\x10\x00\x20\x00\x03\x00\x00\x00P-1"), "odd-length", "2"),
]


@pytest.mark.parametrize(("what", "raw", "code", "path"), NOTED, ids=[row[0] for row in NOTED])
def test_oddities_are_read_and_noted(what: str, raw: bytes, code: str, path: str) -> None:
    """Odd lengths and elements out of order are read; a finding says where they are, each time."""
    for _ in range(2):
        [note] = read(raw).notes
        assert (note.code, note.path, note.refuse) == (code, path, False), what


def element(raw: bytes, tag: int, syntax: str = build.EXPLICIT) -> Any:
    return generic(raw, syntax).root.elements.get(tag)


def test_un_with_undefined_length_holds_implicit_vr() -> None:
    """UN of undefined length is a sequence in Implicit VR, in big endian data sets too (PS3.5 6.2.2)."""
    inner = WITHOUT + ITEM_HEAD + WITHOUT + PATIENT + ITEM_END + SEQUENCE_END
    for syntax, head in ((build.EXPLICIT, b"\x09\x00\x01\x10UN\0\0"), (build.BIG, b"\x00\x09\x10\x01UN\0\0")):
        tag, vr, items = element(head + inner, 0x00091001, syntax)
        assert (tag, vr) == (0x00091001, "SQ")
        assert items[0] == [(PATIENT_ID, "LO", "P  1")]


def test_un_of_a_known_tag_is_what_the_dictionary_says() -> None:
    """Some senders write UN for what they do not know; the dictionary's VR is taken."""
    assert element(explicit(PATIENT_ID, b"UN", b"P1", wide=True), PATIENT_ID) == (PATIENT_ID, "LO", "P1")
    items = ITEM_HEAD + pack("<I", len(PATIENT)) + PATIENT
    _, vr, found = element(explicit(CONTENT, b"UN", items, wide=True), CONTENT)
    assert (vr, found[0]) == ("SQ", [(PATIENT_ID, "LO", "P  1")])


def test_numbers_are_held_in_little_endian() -> None:
    """Binary values are the same bytes whatever the transfer syntax; OB and UN are not turned."""
    made = Dataset()
    made.add_new(0x00280010, "US", 513)
    made.add_new(0x0040A161, "FD", 1.5)
    made.add_new(0x0040A162, "SL", -2)
    made.add_new(0x00041511, "OB", b"\1\2")
    made.add_new(0x00720052, "AT", [0x00100020, 0x00080005])
    held = [read(build.encode(made, syntax), syntax).root.elements for syntax in (build.EXPLICIT, build.BIG)]
    assert held[0] == held[1]
    assert held[0][0x00280010] == (0x00280010, "US", b"\1\2")


def test_padding_group_lengths_and_trailing_padding_are_no_content() -> None:
    """Trailing spaces and NULs go, leading spaces stay; group lengths and Data Set Trailing Padding are left out."""
    raw = b"".join(
        (
            explicit(0x00100000, b"UL", bytes(4)),
            explicit(0x00100010, b"PN", b" A^B "),
            explicit(0x0020000D, b"UI", b"1.2\0"),
            explicit(0xFFFCFFFC, b"OB", bytes(8), wide=True),
        )
    )
    assert read(raw, build.EXPLICIT).root.elements == {
        0x00100010: (0x00100010, "PN", " A^B"),
        0x0020000D: (0x0020000D, "UI", "1.2"),
    }


def test_an_item_has_its_own_character_set() -> None:
    """Specific Character Set in an item holds for it and below, not for its siblings (PS3.3 C.12.1.1.2)."""
    name = b"\x10\x00\x10\x00\x02\x00\x00\x00\xe9\xe8"
    own = b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 144"
    below = sequence(b"\x40\x00\x30\xa7", name)
    raw = b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100" + name + sequence(b"\x40\x00\x30\xa7", own + name + below, name)
    root = generic(raw).root.elements
    first, second = items(root)
    assert root[0x00100010].value == second[0x00100010].value == "éè"
    assert first[0x00100010].value == items(first)[0][0x00100010].value == "щш"


def test_text_that_does_not_decode_keeps_its_bytes() -> None:
    """U+FFFD is shown, the bytes are kept; the items above know of it."""
    name = b"\x10\x00\x10\x00\x02\x00\x00\x00A\xe9"
    root = generic(sequence(b"\x40\x00\x30\xa7", name)).root
    found = items(root.elements)[0][0x00100010]
    assert undecoded(found)
    assert (shown(found), found.value, any_undecoded(root.elements.values())) == ("A\ufffd", b"A\xe9", True)


CHANGES: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("a byte less", lambda raw: raw[:-1]),
    ("a byte more", lambda raw: raw + b"\0"),
    ("another length", lambda raw: raw.replace(pack("<I", 3), pack("<I", 5), 1)),
]


@pytest.mark.parametrize(("what", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_what_was_read_before_does_not_hide_what_is_broken(what: str, change: Callable[[bytes], bytes]) -> None:
    """Remembered bytes are recognised only whole: the same data set, damaged, is refused again and again."""
    raw = build.encode(build.log(build.drug(), build.note(2)), build.IMPLICIT)
    for _ in range(3):
        read(raw)
        with pytest.raises(Refused):
            read(change(raw) if change(raw) != raw else raw[:-3])
    assert what


def test_what_was_read_before_is_read_the_same_again() -> None:
    """Memory changes no result: identity and elements are those of the first time, in every transfer syntax."""
    for syntax in build.SYNTAXES:
        raw = build.encode(build.log(build.drug(1), build.drug(2), build.note(3)), syntax)
        first, second = (decode(raw, syntax, calling_ae="A", sop_class="1.2", bounds=Bounds()) for _ in range(2))
        assert first.identity == second.identity
        assert first.root.canonical == second.root.canonical
