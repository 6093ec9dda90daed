"""Identity: what makes two requests the same content (contract section 1).

Canonical form of an element, elements in tag order::

    tag (4 bytes, big endian)  length (4)  value
    tag                        FFFFFFFF    number of items (4)  { canonical form of the item  FFFEE00D }

Text is UTF-8 without padding, everything else little endian. Bit 31 of a length marks text that did not decode and enters
as its bytes. The VR does not enter: implicit VR has none. Group lengths, Specific Character Set and Data Set Trailing
Padding are left out. Every value has its length before it, every item an end that no element starts with, so no two
contents have the same form; and what stands around a value does not change with its length.
"""

from struct import Struct
from typing import Final

from plscp.digests import sha256

_LENGTH: Final = Struct(">I").pack
_HEAD: Final = Struct(">III").pack
ITEM_END: Final = b"\xff\xfe\xe0\x0d"
UNDECODED: Final = 0x80000000
_DATED: Final = (b"\x00\x40\xa0\x32", b"\x00\x44\x00\x10")
"""Observation DateTime (0040,A032) and Substance Administration DateTime (0044,0010)."""
_LONGEST_DT: Final = 26
head = Struct(">II").pack
"""Tag and length of an element that is no sequence."""


def sequence_head(tag: int, items: int) -> bytes:
    """What stands before the items of a sequence, each of which has its `ITEM_END`."""
    return _HEAD(tag, 0xFFFFFFFF, items)


def identity(calling_ae: str, sop_class: str, canonical: bytes) -> bytes:
    """SHA-256 over who sent it, what for, and the content, each with its length before it."""
    who, what = calling_ae.encode("utf-8", "replace"), sop_class.encode("utf-8", "replace")
    return sha256(b"".join((_LENGTH(len(who)), who, _LENGTH(len(what)), what, _LENGTH(len(canonical)), canonical)))


def first_datetime(canonical: bytes) -> str:
    """The first DateTime that a content in canonical form states, as sent; empty where there is none.

    It only says where the identity is looked for (decision 45): should the bytes of a tag occur within a value, any text will do.
    """
    for tag in _DATED:
        at = canonical.find(tag)
        if at >= 0:
            start = at + 8
            length = int.from_bytes(canonical[at + 4 : start])
            return canonical[start : start + min(length, _LONGEST_DT)].decode("ascii", "replace")
    return ""
