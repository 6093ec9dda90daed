"""Data elements as they are encoded, and what is known of tags and value representations (PS3.5 6.2, 7.1, Annex A)."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR

from plscp.content.model import ContentItem, RawElement
from plscp.findings import Finding

SPECIFIC_CHARACTER_SET: Final = 0x00080005
CONTENT_SEQUENCE: Final = 0x0040A730
ITEM_DELIMITATION: Final = 0xFFFEE00D
TRAILING_PADDING: Final = 0xFFFCFFFC
UNDEFINED: Final = 0xFFFFFFFF

Kind = Literal[0, 1, 2, 3]
TEXT: Final[Kind] = 0
"""Text in the declared character sets."""
ASCII: Final[Kind] = 1
"""Text in the default repertoire, whatever is declared."""
SEQUENCE: Final[Kind] = 2
BINARY: Final[Kind] = 3

KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UT"), TEXT),
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"), ASCII),
    "SQ": SEQUENCE,
    **dict.fromkeys(
        ("AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "UN", "US", "UV"), BINARY
    ),
}
LONG: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""Explicit VRs with two reserved bytes and a length of four (PS3.5 Table 7.1-1)."""
_WORDS: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
"""Bytes that big endian turns round."""

EXPLICIT: Final = {vr.encode(): (vr, kind, vr in LONG) for vr, kind in KINDS.items()}
"""By the VR as sent: VR, kind, and whether its length has four bytes."""


def _known(vr: str) -> tuple[str, Kind]:
    vr = "OW" if vr == "OB or OW" else vr[:2]
    return vr, KINDS.get(vr, BINARY)


DICTIONARY: Final[dict[int, tuple[str, Kind]]] = {tag: _known(row[0]) for tag, row in DicomDictionary.items()}
"""VR and kind by tag (PS3.6)."""


def implicit(tag: int) -> tuple[str, Kind]:
    """VR and kind of an element whose VR is not sent: the dictionary's, UN where it has none (PS3.5 A.1)."""
    found = DICTIONARY.get(tag)
    if found is not None:
        return found
    if tag & 0xFFFF == 0:
        return "UL", BINARY
    if tag & 0x10000:
        return ("LO", TEXT) if 0x10 <= tag & 0xFFFF <= 0xFF else ("UN", BINARY)
    try:
        return _known(dictionary_VR(tag))  # repeating groups
    except KeyError:
        return "UN", BINARY


def in_little_endian(value: bytes, vr: str) -> bytes:
    """A value of a binary VR that was sent in big endian."""
    size = _WORDS.get(vr, 1)
    if size == 1 or len(value) % size:
        return value
    return b"".join([value[at : at + size][::-1] for at in range(0, len(value), size)])


def tag_text(tag: int) -> str:
    """A tag as the standard writes it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


Elements = Mapping[int, RawElement]
"""The elements of a data set or an item, by tag in ascending order.

A sequence's value is a list of items, each a list of elements; a text that does not decode is the bytes as sent.
Without group lengths, Specific Character Set and trailing padding.
"""


class ParsedItem:
    """A data set, or an item of a sequence, as the reader leaves it.

    Attributes:
        elements: what is in it; Content Sequence is empty here where its items became `children`.
        about: findings about a child and what is below it, by its position.
        parts: the canonical form of each element (see `plscp.content.identity`), in the order of their tags.
    """

    __slots__ = ("about", "children", "elements", "parts")

    def __init__(self) -> None:
        self.elements: dict[int, RawElement] = {}
        self.children: list[ContentItem] = []
        self.about: dict[int, list[Finding]] = {}
        self.parts: list[bytes] = []

    @property
    def canonical(self) -> bytes:
        """The content in canonical form."""
        return b"".join(self.parts)


def undecoded(element: RawElement) -> bool:
    """Whether it is a text that does not decode: its VR is one of text, its value the bytes as sent."""
    return type(element.value) is bytes and KINDS[element.vr] < SEQUENCE


def any_undecoded(elements: Iterable[RawElement]) -> bool:
    """Whether there is such a text in elements or in the items of their sequences."""
    return any(
        undecoded(element) or (isinstance(element.value, list) and any(map(any_undecoded, element.value)))
        for element in elements
    )


def shown(element: RawElement | None) -> str:
    """A text without padding behind it, U+FFFD for bytes that do not decode; empty where it is absent or no text."""
    if element is None:
        return ""
    value = element.value
    if isinstance(value, bytes) and undecoded(element):
        return value.decode("ascii", "replace").rstrip("\0 ")
    return value if isinstance(value, str) else ""


def text_of(elements: Elements, tag: int) -> str:
    """A text without spaces around it, or empty."""
    element = elements.get(tag)
    if element is None:
        return ""
    value = element[2]
    return (value if type(value) is str else shown(element)).strip(" ")


def items_of(element: RawElement | None) -> list[Elements]:
    """The items of a sequence; none where it is absent or no sequence."""
    if element is None or not isinstance(element.value, list):
        return []
    return [{inner.tag: inner for inner in item} for item in element.value]
