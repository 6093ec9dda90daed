"""Reads encoded data sets and finds their identity: step 5 of contract section 2.

Implicit and Explicit VR Little Endian, Explicit VR Big Endian and Deflated; definite and undefined lengths. Every element
is kept; what is odd but can be read is noted, what cannot be read is refused with its place.
"""

import zlib
from dataclasses import dataclass
from typing import Any, Final

from plscp.content.charset import CharacterSet
from plscp.content.elements import ParsedItem
from plscp.content.identity import first_datetime, identity
from plscp.content.items import NEVER_REFUSED, tell
from plscp.content.layouts import BIG, IMPLICIT, LITTLE
from plscp.content.model import Bounds, ContentItem
from plscp.content.parsing import Reader
from plscp.errors import InvalidArgument, TooLarge
from plscp.findings import Finding
from plscp.statuses import PROCEDURAL_EVENT_LOGGING

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
_ENCODINGS: Final = {IMPLICIT_LITTLE: IMPLICIT, EXPLICIT_LITTLE: LITTLE, DEFLATED: LITTLE, EXPLICIT_BIG: BIG}
_NOTES: Final = 64
"""More are not told."""


@dataclass(slots=True)
class Decoded:
    """A data set that passed step 5: its identity is known, nothing else is judged yet.

    Attributes:
        identity: SHA-256 over calling AE title, SOP Class and canonical content (contract section 1).
        dated: the first DateTime that the canonical content states, as sent.
        character_set: Specific Character Set (0008,0005) of the data set itself.
        notes: what is odd about the encoding, without keeping it from being read.
        content: the content of a Procedural Event, else None.
        about_content: what is wrong with that under a lenient profile.
        remembered: for what later steps make of the attributes before the content; None where those are not remembered or odd.
    """

    identity: bytes
    dated: str
    root: ParsedItem
    character_set: CharacterSet
    notes: list[Finding]
    content: ContentItem | None
    about_content: list[Finding]
    remembered: dict[Any, Any] | None


def decode(raw: bytes, transfer_syntax: str, *, calling_ae: str, sop_class: str, bounds: Bounds) -> Decoded:
    """Reads a data set and finds its identity (contract section 2, step 5; section 1, Identity).

    Args:
        sop_class: of the request; only that of a Procedural Event becomes content items.
        bounds: on length, also after inflating, and on shape.

    Raises:
        TooLarge: longer than the bound (0213H).
        InvalidArgument: it does not decode, or a Substance Administration is past a bound of shape (0115H).
        DoesNotMatchTemplate: a Procedural Event is past a bound of shape (C102).
    """
    encoding = _ENCODINGS.get(transfer_syntax)
    if encoding is None:
        raise InvalidArgument([Finding("transfer-syntax", "transfer syntax is not one this server reads", refuse=True)])
    if len(raw) > bounds.data_set:
        raise too_large()
    if transfer_syntax == DEFLATED:
        raw = _inflate(raw, bounds.data_set)
    reader = Reader(bytes(raw), bounds, content=sop_class == PROCEDURAL_EVENT_LOGGING)
    root, tree = reader.data_set(encoding)
    canonical = root.canonical
    return Decoded(
        identity(calling_ae, sop_class, canonical),
        first_datetime(canonical),
        root,
        reader.charset,
        reader.notes[:_NOTES],
        tree,
        reader.report,
        reader.remembered,
    )


def content_tree(decoded: Decoded, findings: list[Finding], *, strict: bool) -> ContentItem:
    """The content of a Procedural Event; `findings` takes what is wrong with it, as the profile sees it."""
    for finding in decoded.about_content:
        refuse = finding.refuse or (strict and finding.code != NEVER_REFUSED)
        tell(finding._replace(refuse=refuse), findings)
    assert decoded.content is not None
    return decoded.content


def too_large() -> TooLarge:
    """The refusal of a data set that is longer than the bound."""
    return TooLarge([Finding("data-set-too-long", "the data set is longer than this server takes", refuse=True)])


def _inflate(raw: bytes, most: int) -> bytes:
    """Undoes RFC 1951 without ever holding more than the bound (PS3.5 A.5); one NUL after it is padding."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(raw, most + 1)
    except zlib.error:
        raise InvalidArgument([Finding("not-deflated", "the data set does not inflate", refuse=True)]) from None
    if len(inflated) > most:
        raise too_large()
    if not inflater.eof:
        raise InvalidArgument([Finding("truncated", "the deflated data set ends too early", refuse=True)])
    if inflater.unused_data not in {b"", b"\0"}:
        raise InvalidArgument([Finding("trailing-bytes", "bytes after the deflated data set", refuse=True)])
    return inflated
