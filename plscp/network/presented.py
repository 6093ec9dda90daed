"""What a client certificate that was refused says of itself: subject and issuer, for the log.

OpenSSL judges the certificate, and forgets it when it refuses it: neither `getpeercert` nor the chain can be asked then. So the client's
Certificate message is kept as OpenSSL hands it to Python's hook for handshake messages (`_msg_callback`, since 3.8, not documented:
where it is missing the line says that the subject is not known). Nothing is decided by what is read here: it is what the peer claims.
"""

import ssl
from collections.abc import Iterator
from typing import Any, Final

from plscp.network.admission import printable

MOST_SHOWN: Final = 256
_HANDSHAKE, _CERTIFICATE, _TLS_13 = 22, 11, 0x0304
_HOOK: Final[Any] = vars(ssl.SSLContext.__mro__[1]).get("_msg_callback")
_SHORT: Final = {3: "CN", 6: "C", 7: "L", 8: "ST", 10: "O", 11: "OU"}
"""Attribute types below 2.5.4 (RFC 4514 3)."""
_ENCODINGS: Final = {12: "utf-8", 19: "ascii", 20: "latin-1", 22: "ascii", 28: "utf-32-be", 30: "utf-16-be"}
"""Of the string types of ASN.1, by their tags."""


class Handshake(ssl.SSLObject):
    """A TLS connection that keeps what the peer presented.

    Attributes:
        message: the peer's Certificate message with its header, or empty.
        version_read: of TLS, as a number (RFC 8446 4.1.2).
    """

    message: bytes = b""
    version_read: int = 0


def keep_presented(context: ssl.SSLContext) -> None:
    """Have the connections of this context keep the Certificate message of their peers."""
    context.sslobject_class = Handshake
    if _HOOK is not None:
        _HOOK.__set__(context, _note)


def _note(connection: object, direction: str, version: int, *message: Any) -> None:
    content, kind, data = message
    if content == _HANDSHAKE and kind == _CERTIFICATE and direction == "read" and isinstance(connection, Handshake):
        connection.message, connection.version_read = data, version


def forget(connection: object) -> None:
    """The handshake is done: nothing of it is wanted any more."""
    if isinstance(connection, Handshake):
        connection.message = b""


def certificate(connection: object) -> bytes:
    """The peer's own certificate (DER) as it was presented; empty where there was none or it cannot be told apart."""
    if not isinstance(connection, Handshake):
        return b""
    message = connection.message
    at = 4  # the header
    if connection.version_read == _TLS_13:
        at += 1 + message[at] if len(message) > at else 1  # RFC 8446 4.4.2: a context comes first
    at += 3  # length of the list
    size = int.from_bytes(message[at : at + 3])
    der = message[at + 3 : at + 3 + size]
    return der if len(der) == size else b""


def described(connection: object) -> dict[str, str]:
    """Subject and issuer of what the peer presented, as the log has them; where there is none, why."""
    der = certificate(connection)
    if not der:
        if isinstance(connection, Handshake) and (connection.message or _HOOK is not None):
            return {"certificate": "", "certificate_absent": "the device sent none"}
        return {"certificate": "", "certificate_absent": "this Python does not tell"}
    try:
        inside = _inside(der, *_only(der, 0, len(der)))
        fields = list(_inside(der, *next(inside)[1:]))
        fields = fields[fields[0][0] == 0xA0 :]  # version, which the oldest leave out
        _serial, _signature, issuer, _validity, subject = fields[:5]
        return {"certificate": _name(der, *subject[1:]), "certificate_issuer": _name(der, *issuer[1:])}
    except (ValueError, IndexError, StopIteration):
        return {"certificate": "", "certificate_absent": "it cannot be read"}


def _name(der: bytes, start: int, stop: int) -> str:
    """A Name (RFC 5280 4.1.2.4) as text; what cannot be printed is shown as `?`."""
    parts: list[str] = []
    for _, first, last in _inside(der, start, stop):
        for _, begin, end in _inside(der, first, last):
            (_, a, b), (tag, c, d), *_rest = _inside(der, begin, end)
            kind = der[a:b]
            name = _SHORT.get(kind[2], "?") if kind[:2] == b"\x55\x04" and len(kind) == 3 else "?"
            text = der[c:d].decode(_ENCODINGS.get(tag, "latin-1"), "replace")
            parts.append(f"{name}={text}")
            if sum(map(len, parts)) > MOST_SHOWN:
                break
    return printable(", ".join(parts)[:MOST_SHOWN])


def _only(der: bytes, start: int, stop: int) -> tuple[int, int]:
    _, first, last = next(_inside(der, start, stop))
    return first, last


def _inside(der: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The DER values between these places: tag, where the content starts and where it stops.

    Raises:
        ValueError: one goes on beyond the end.
    """
    while start < stop:
        tag, size, at = der[start], der[start + 1], start + 2
        if size & 0x80:
            at += size & 0x7F
            size = int.from_bytes(der[start + 2 : at])
        if at + size > stop:
            raise ValueError("a value that is longer than what holds it")
        yield tag, at, at + size
        start = at + size
