"""Character sets of text values: Specific Character Set (0008,0005) and ISO 2022 code extensions (PS3.5 6.1, PS3.3 C.12.1.1.2).

Nothing is guessed: bytes that the declared character sets do not explain do not decode. A fallback could spell another
patient's ID.
"""

import re
from functools import lru_cache
from typing import Final

ESC: Final = 0x1B

_SINGLE_BYTE: Final = {
    "6": None, "100": "latin_1", "101": "iso8859_2", "109": "iso8859_3", "110": "iso8859_4", "144": "iso8859_5",
    "127": "iso8859_6", "126": "iso8859_7", "138": "iso8859_8", "148": "iso8859_9", "203": "iso8859_15",
    "13": "katakana", "166": "tis_620",
}  # fmt: skip
_MULTI_BYTE: Final = {"87": "x0208", "159": "x0212", "149": "euc_kr", "58": "gb2312"}
_WHOLE: Final = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
"""Terms that stand alone: no code extensions (PS3.3 Table C.12-5)."""

_TO_G0: Final = {b"\x1b(B": "6", b"\x1b(J": "13", b"\x1b$B": "87", b"\x1b$(D": "159"}
_TO_G1: Final = {
    b"\x1b-A": "100", b"\x1b-B": "101", b"\x1b-C": "109", b"\x1b-D": "110", b"\x1b-L": "144", b"\x1b-G": "127",
    b"\x1b-F": "126", b"\x1b-H": "138", b"\x1b-M": "148", b"\x1b-b": "203", b"\x1b)I": "13", b"\x1b-T": "166",
    b"\x1b$)C": "149", b"\x1b$)A": "58",
}  # fmt: skip
_ESCAPE: Final = re.compile(rb"(\x1b\$\(.|\x1b\$\).|\x1b\$.|\x1b[()\-].)", re.DOTALL)
_C1: Final = re.compile(rb"[\x80-\x9f]")
"""No character of any ISO 8859 part, though Python's codecs take them for control characters."""
_HALVES: Final = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
_JAPANESE: Final = frozenset({"13", "87", "159"})

_RESETS: Final = {
    # Code extensions are back to the first character set after each of these (PS3.5 6.1.2.5.3): control characters in
    # any text, the backslash where a value may have several, and the delimiters of a person's name.
    **dict.fromkeys(("ST", "LT", "UT"), re.compile(rb"([\x00-\x1f])")),
    **dict.fromkeys(("SH", "LO", "UC"), re.compile(rb"([\x00-\x1f\\])")),
    "PN": re.compile(rb"([\x00-\x1f\\^=])"),
}


class CharacterSet:
    """The character sets that one Specific Character Set (0008,0005) declares.

    Attributes:
        text: the attribute as sent: values joined by backslash, or empty.
        known: False where a term is unknown or terms contradict each other; then only ASCII decodes.
        key: tells it from every other one that is known.
    """

    __slots__ = ("_codec", "_declared", "_extensions", "_initial", "key", "known", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.key = text.encode("ascii", "replace") + b"\0"
        self.known = True
        self._codec: str | None = None
        self._extensions = False
        self._initial = "6"
        terms = [term.strip(" ") for term in text.split("\\")]
        if len(terms) == 1 and terms[0] in _WHOLE:
            self._codec = _WHOLE[terms[0]]
            self._declared = frozenset[str]()
            return
        numbers = [_number(term, first=place == 0) for place, term in enumerate(terms)]
        self.known = None not in numbers
        self._declared = frozenset(number for number in numbers if number)
        self._extensions = len(terms) > 1 or terms[0].startswith("ISO 2022")
        if numbers[0] is not None and numbers[0] in _SINGLE_BYTE:
            self._initial = numbers[0]

    def decode(self, raw: bytes, vr: str) -> str | None:
        """The text that bytes of a VR spell, padding included, or None where they do not decode; VRs of the default repertoire have ASCII only."""
        if raw.isascii() and (ESC not in raw or vr not in _RESETS):
            return raw.decode("ascii")
        if not self.known or vr not in _RESETS or (ESC in raw and not self._extensions):
            return None
        try:
            return raw.decode(self._codec) if self._codec else self._extended(raw, vr)
        except UnicodeDecodeError:
            return None

    def unpadded(self, raw: bytes, vr: str) -> tuple[str, bytes] | None:
        """As `decode`, without padding behind it; and the same in UTF-8."""
        if raw.isascii() and ESC not in raw:
            raw = raw.rstrip(b"\0 ")
            return raw.decode("ascii"), raw
        text = self.decode(raw, vr)
        if text is None:
            return None
        text = text.rstrip("\0 ")
        return text, text.encode("utf-8", "surrogatepass")

    def _extended(self, raw: bytes, vr: str) -> str | None:
        """ISO 2022: text in G0 (bytes below 80H) and G1 (above), each switched by escape sequences."""
        g0, g1 = "6", self._initial
        out: list[str] = []
        resets = _RESETS[vr]
        for run in _ESCAPE.split(raw):
            if run[:1] == b"\x1b":
                number = _TO_G0.get(run, "")
                if self._allows(number):
                    g0 = number
                    continue
                number = _TO_G1.get(run, "")
                if not self._allows(number):
                    return None
                g1 = number
                continue
            for half in _HALVES.findall(run):
                if half[0] < 0x80 and g0 in {"87", "159"}:
                    paired, g0 = _pairs(half, g0)
                    if g0 == "6":
                        g1 = self._initial
                    out.append(paired)
                elif half[0] < 0x80:
                    out.append(half.decode("ascii"))
                    if resets.search(half):
                        g0, g1 = "6", self._initial
                else:
                    text = _upper(half, g1)
                    if text is None:
                        return None
                    out.append(text)
        return "".join(out)

    def _allows(self, number: str) -> bool:
        return number == "6" or number in self._declared or (number == "13" and bool(self._declared & _JAPANESE))


def _number(term: str, *, first: bool) -> str | None:
    """ISO registration number of a Defined Term."""
    if not term:
        return "6" if first else None
    for start in ("ISO_IR ", "ISO 2022 IR "):
        if term.startswith(start):
            number = term[len(start) :]
            if number in _SINGLE_BYTE or (number in _MULTI_BYTE and start == "ISO 2022 IR "):
                return number
    return None


def _pairs(half: bytes, g0: str) -> tuple[str, str]:
    """Two-byte characters in G0, and the set that is there after them; a control character ends them."""
    out: list[str] = []
    place = 0
    while place < len(half):
        byte = half[place]
        if byte < 0x20:
            out.append(half[place:].decode("ascii"))
            return "".join(out), "6"
        if byte == 0x20:
            out.append(" ")
            place += 1
            continue
        pair = bytes(b | 0x80 for b in half[place : place + 2])
        out.append((pair if g0 == "87" else b"\x8f" + pair).decode("euc_jp"))
        place += 2
    return "".join(out), g0


def _upper(half: bytes, g1: str) -> str | None:
    codec = _SINGLE_BYTE.get(g1) or _MULTI_BYTE.get(g1)
    if codec == "katakana":
        return "".join(map(chr, (b - 0xA1 + 0xFF61 for b in half))) if all(0xA1 <= b <= 0xDF for b in half) else None
    if codec is None or (g1 in _SINGLE_BYTE and _C1.search(half)):
        return None
    return half.decode(codec)


@lru_cache(maxsize=64)
def character_set(raw: bytes) -> CharacterSet:
    """The character set that the encoded value of (0008,0005) declares; empty: the default repertoire."""
    return CharacterSet(raw.decode("ascii", "replace").rstrip(" \0"))


DEFAULT: Final = character_set(b"")
