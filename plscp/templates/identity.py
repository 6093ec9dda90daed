"""Identity: what makes two requests the same content (contracts section 1).

Canonical form of an element, elements in tag order::

    tag (4 bytes, big endian)  length (4)  value
    tag                        FFFFFFFF    number of items (4)  { length (4)  canonical form of the item }

Text is UTF-8 without padding, everything else little endian. Bit 31 of a length marks text that did not decode and enters
as its bytes. The VR does not enter: implicit VR has none. Group lengths, Specific Character Set and Data Set Trailing
Padding are left out. Every part has its length before it, so no two contents have the same form.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final

_LENGTH: Final = Struct(">I").pack
_HEAD: Final = Struct(">III").pack
UNDECODED: Final = 0x80000000
head = Struct(">II").pack
"""Tag and length of an element that is no sequence."""


def sequence(tag: int, items: Sequence[bytes]) -> bytes:
    """A sequence in canonical form, from its items' canonical forms."""
    if len(items) == 1:
        return _HEAD(tag, 0xFFFFFFFF, 1) + _LENGTH(len(items[0])) + items[0]
    return _HEAD(tag, 0xFFFFFFFF, len(items)) + prefixed(items)


def prefixed(parts: Iterable[bytes]) -> bytes:
    """Parts one after another, each with its length before it."""
    return b"".join([piece for part in parts for piece in (_LENGTH(len(part)), part)])


def identity(calling_ae: str, sop_class: str, canonical: bytes) -> bytes:
    """SHA-256 over who sent it, what for, and the content."""
    return sha256(
        prefixed((calling_ae.encode("utf-8", "replace"), sop_class.encode("utf-8", "replace"), canonical))
    ).digest()
