"""Values at the bounds of each value representation, and requests as trees of elements in which one may stand anywhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from struct import pack
from typing import Final

from pydicom.dataset import Dataset

from plscp.content.elements import KINDS, LONG
from plscp.content.layouts import LITTLE
from plscp.content.model import Bounds, RawElement
from plscp.content.parsing import Reader
from tests.events import encoded

_ANY: Final = (
    b"", b" ", b"\0", b"\0\0", b"\\", b"\\\\\\", b"a\\b", b"^", b"=" * 4, b"^" * 7, b"\x1b", b"\x1b$B", b"\x1b(B", b"\x1b$)C\xb0",
    b"\x80\xff", b"\xed\xa0\x80", b"\xc3\xa4", b"a\0b", b"\r\n\t\x0c\x07", b"\x7f", b"null", b"'\"<&>{}%s\\u0000", b"-", b".",
    b"x" * 16, b"x" * 17, b"x" * 64, b"x" * 65, b"x" * 1025, b"x" * 10_241, b"x" * 65_534, "\u0662\u0660".encode(),
)  # fmt: skip
_MOMENTS: Final = (
    b"0000", b"0001", b"9999", b"000001", b"00000101", b"00010101", b"99991231", b"0000010100", b"00010101000000",
    b"00010101000000+1400", b"00010101000000-1200", b"99991231235959.999999", b"99991231235960", b"99991231235959-1200",
    b"99991231235959+1400", b"20240229000000", b"20230229000000", b"20240514240000", b"20240514235960", b"20240514236000",
    b"20240514100060.999999", b"20240514100000.", b"20240514100000.1234567", b"20240514100000+1401", b"20240514100000-1201",
    b"20240514100000-0000", b"20240514100000+2400", b"20240514100000+", b"+0000", b"20240514-20240515", b"2024+0000",
    b"20241345", b"2024051410", b"202405141000", b"20240331023000", b"2024-05-14T10:00:00Z",
)  # fmt: skip
_NUMBERS: Final = (
    b"0", b"-0", b"+0", b"00", b"1.", b".1", b"1e5", b"1e400", b"-1e400", b"1e-400", b"4.9e-324", b"1.7976931348E308", b"nan",
    b"inf", b"-Infinity", b"1_0", b"0x10", b"1,5", b"1e", b"+-1", b"9" * 12, b"9" * 16, b"9" * 17, b"9" * 400, b"2147483647",
    b"2147483648", b"-2147483648", b"-2147483649", b"1\\2",
)  # fmt: skip
_UIDS: Final = (
    b"1", b"0", b"0.0", b"1.", b".1", b"1..2", b"1.02", b"1.2.3", b"1.2\0", b"1.2 ", b"1.2\\1.3", b"2." + b"9" * 62,
    b"2." + b"9" * 63, b"1.2.840.10008.1.40.1", b"1.2.840.10008.15.1.1",
)  # fmt: skip
_INTEGERS: Final = (0, 1, -1, (1 << 63) - 1, -(1 << 63), (1 << 31) - 1, -(1 << 31), 0x7FFF, -0x8000)
_FLOATS: Final = (nan, inf, -inf, 5e-324, -0.0, 1e-40, 1.7976931348623157e308)
_PARTS: Final = (b"", b"\0", b"\0\0", b"\xff" * 3, b"\xff" * 8, b"\0\0\x80\x7f", bytes(65_534))

VALUES: Final[dict[str, tuple[bytes, ...]]] = {
    **dict.fromkeys(KINDS.keys() - {"SQ"}, _ANY),
    "DT": (*_ANY, *_MOMENTS),
    "DA": (*_ANY, *_MOMENTS),
    "TM": (*_ANY, b"24", b"240000", b"235960", b"235960.999999", b"236000", b"10:00", b"1000-1100", b"100000.1234567"),
    "SH": (*_ANY, *_MOMENTS, *_NUMBERS, b"+1400", b"-1200", b"+1401", b"+0060", b"+2359", b"-0000"),
    "DS": (*_ANY, *_NUMBERS),
    "IS": (*_ANY, *_NUMBERS),
    "UI": (*_ANY, *_UIDS),
    "CS": (*_ANY, b"CONTAINER", b"TEXT", b"CODE", b"NUM", b"NUMERIC", b"IMAGE", b"COMPOSITE", b"WAVEFORM", b"DATETIME", b"UIDREF",
           b"PNAME", b"CONTAINS", b"HAS PROPERTIES", b"HAS OBS CONTEXT", b"INFERRED FROM", b"SEPARATE", b"ISO_IR 192",
           b"ISO_IR 999", b"ISO 2022 IR 6\\ISO 2022 IR 87", b"\\ISO 2022 IR 149", b"GB18030", b"DCMR", b"03001"),
    **dict.fromkeys(("FD", "OD"), (*_PARTS, *(pack("<d", number) for number in _FLOATS))),
    **dict.fromkeys(("FL", "OF"), (*_PARTS, *(pack("<f", number) for number in (nan, inf, -inf, 1e-45, -0.0)))),
    **dict.fromkeys(
        ("AT", "OB", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "UN", "US", "UV"),
        (*_PARTS, *(pack("<q", number) for number in _INTEGERS)),
    ),
}  # fmt: skip
"""For each VR but SQ what is empty, maximal, past that, malformed, or odd; values of any text for each text."""


@dataclass
class Element:
    """An element that may be changed.

    Attributes:
        value: bytes, or the items of a sequence.
        raw: what stands in its place, where something does.
        key: Value Type and level (0 the root, 1, or 2 for deeper) of its content item, and its tags in it from the outside in.
    """

    tag: int
    vr: str
    value: "bytes | list[list[Element]]"
    key: tuple[int | str, ...] = ()
    raw: bytes | None = None

    def encode(self) -> bytes:
        """Explicit VR Little Endian."""
        if self.raw is not None:
            return self.raw
        value = self.value
        if isinstance(value, list):
            value = b"".join(pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in map(encode, value))
        value += b"\0" * (len(value) % 2)
        head = pack("<HH2s", self.tag >> 16, self.tag & 0xFFFF, self.vr.encode())
        return head + (pack("<HI", 0, len(value)) if self.vr in LONG else pack("<H", len(value))) + value


def encode(elements: Sequence[Element]) -> bytes:
    """A data set, or an item."""
    return b"".join(element.encode() for element in elements)


def tree(dataset: Dataset) -> list[Element]:
    """A data set as elements."""
    root, _ = Reader(encoded(dataset), Bounds(), content=False).data_set(LITTLE)
    return _elements(list(root.elements.values()), ())


def _elements(item: Sequence[RawElement], above: tuple[int | str, ...]) -> list[Element]:
    value_type = next((element.value for element in item if element.tag == 0x0040A040), "")
    if value_type:  # content items are alike wherever they stand, but for the first level
        above = (str(value_type), min(2, _level(above) + (0x0040A730 in above)))
    made = []
    for tag, vr, value in item:
        key = (*above, tag)
        if isinstance(value, str | bytes):
            made.append(Element(tag, vr, value.encode() if isinstance(value, str) else value, key))
        else:
            made.append(Element(tag, vr, [_elements(each, key) for each in value], key))
    return made


def _level(key: tuple[int | str, ...]) -> int:
    return int(key[1]) if key and isinstance(key[0], str) else 0


def places(elements: Sequence[Element]) -> Iterator[Element]:
    """Every element, outermost first."""
    for element in elements:
        yield element
        if isinstance(element.value, list):
            for item in element.value:
                yield from places(item)


def kinds_of_places(elements: Sequence[Element]) -> list[Element]:
    """An element for each different key: what stands in the same sequences of the same kinds of item is alike."""
    return list({element.key: element for element in reversed(list(places(elements)))}.values())[::-1]


def shapes_of_sequences(element: Element) -> Iterator[bytes]:
    """The element as sequences that it should not be: empty, doubled, with an empty item, deep, cut off, without lengths."""
    head = pack("<HH2sH", element.tag >> 16, element.tag & 0xFFFF, b"SQ", 0)
    own = element.value if isinstance(element.value, list) else []
    bare = b"".join(pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in map(encode, own))
    deep = b""
    for _ in range(40):
        deep = pack("<HHI", 0xFFFE, 0xE000, len(deep)) + deep
        deep = pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(deep)) + deep
    deep = pack("<HHI", 0xFFFE, 0xE000, len(deep)) + deep
    empty = pack("<HHI", 0xFFFE, 0xE000, 0)
    for value in (b"", bare + bare, empty, bare + empty, deep):
        yield head + pack("<I", len(value)) + value
    end = pack("<HHI", 0xFFFE, 0xE0DD, 0)
    yield head + pack("<I", 0xFFFFFFFF) + bare + end
    yield head + pack("<I", 0xFFFFFFFF) + bare
    yield head + pack("<I", 0xFFFFFFFE) + bare
    yield element.encode() * 2
