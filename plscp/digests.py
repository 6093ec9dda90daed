"""SHA-256 without giving up the GIL: hashlib lets go of it for more than 2,047 bytes, and to have it back costs more than the digest.

Measured with another thread that computes: 4 KB in one piece 25 to 70 us, in two pieces 11 us.
"""

from hashlib import sha256 as _sha256
from typing import Final

_PIECE: Final = 2047
_LARGE: Final = 64 * 1024
"""From here on others had better run meanwhile."""


def sha256(data: bytes) -> bytes:
    """The digest, 32 bytes."""
    if len(data) <= _PIECE or len(data) > _LARGE:
        return _sha256(data).digest()
    made = _sha256(data[:_PIECE])
    for at in range(_PIECE, len(data), _PIECE):
        made.update(data[at : at + _PIECE])
    return made.digest()
