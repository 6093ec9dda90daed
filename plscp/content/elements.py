"""Data elements as the reader holds them, and what is known of tags and value representations (PS3.5 6.2, 7.1)."""

from typing import Final, Literal, NamedTuple

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR

from plscp.content.charset import CharacterSet
from plscp.content.model import Code, ContentItem, RawElement
from plscp.findings import Finding

SPECIFIC_CHARACTER_SET: Final = 0x00080005
CONTENT_SEQUENCE: Final = 0x0040A730
ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD
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
}  # fmt: skip
LONG: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""Explicit VRs with two reserved bytes and a length of four (PS3.5 Table 7.1-1)."""
UNITS: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
"""Bytes that big endian turns round."""

Explicit = tuple[str, Kind, bool]
EXPLICIT: Final[dict[bytes, Explicit]] = {vr.encode(): (vr, kind, vr in LONG) for vr, kind in KINDS.items()}

_UN: Final[tuple[str, Kind]] = ("UN", BINARY)


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
        return ("LO", TEXT) if 0x10 <= tag & 0xFFFF <= 0xFF else _UN
    try:
        return _known(dictionary_VR(tag))  # repeating groups
    except KeyError:
        return _UN


class Undecoded(str):
    """Text that did not decode: shown with U+FFFD, its bytes kept.

    Attributes:
        raw: the bytes as sent.
    """

    __slots__ = ("raw",)
    raw: bytes

    @classmethod
    def of(cls, raw: bytes) -> "Undecoded":
        """What can be shown of bytes that do not decode."""
        made = cls(raw.decode("ascii", "replace").rstrip("\0 "))
        made.raw = raw
        return made


class Item:
    """A data set, or an item of a sequence.

    Attributes:
        elements: tag to (VR, value); the value is text without padding, bytes in little endian, or a list of items.
            Without group lengths, Specific Character Set and trailing padding.
        canonical: the content in canonical form (see `plscp.content.identity`).
        count: elements and items in it, this one included.
        height: how many levels of sequences are below.
        faulty: something in it is `Undecoded`.
        code, content: what was made of it without any finding; kept, since an item may stand in many requests.
        like: an item that differs from it in the value only, or None.
    """

    __slots__ = ("canonical", "code", "content", "count", "elements", "faulty", "height", "like")

    def __init__(self) -> None:
        self.elements: dict[int, tuple[str, Value]] = {}
        self.canonical = b""
        self.count = 1
        self.height = 0
        self.faulty = False
        self.code: Code | None = None
        self.content: ContentItem | None = None
        self.like: Item | None = None


Value = str | bytes | list[Item]
Element = tuple[str, Value]


class DataSet(NamedTuple):
    """A data set that was read.

    Attributes:
        root: its elements.
        character_set: Specific Character Set (0008,0005) of the data set itself.
        notes: what is odd about the encoding, without keeping it from being read.
        sop_class: of the request.
    """

    root: Item
    character_set: CharacterSet
    notes: tuple[Finding, ...]
    sop_class: str


def tag_text(tag: int) -> str:
    """A tag as the standard writes it."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def raw(tag: int, element: Element) -> RawElement:
    """An element that is kept whole."""
    vr, value = element
    if isinstance(value, list):
        return RawElement(tag, vr, [[raw(t, e) for t, e in sorted(item.elements.items())] for item in value])
    return RawElement(tag, vr, value.raw if isinstance(value, Undecoded) else value)
