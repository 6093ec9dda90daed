"""Reads encoded data sets and finds their identity: step 5 of contracts section 2.

Implicit and Explicit VR Little Endian, Explicit VR Big Endian and Deflated; definite and undefined lengths. Every element
is kept; what is odd but can be read is noted, what cannot be read is refused with its place.
"""

import zlib
from typing import Final

from plscp.content.elements import DataSet
from plscp.content.encodings import BIG, IMPLICIT, LITTLE, Fault, Form
from plscp.content.identity import identity
from plscp.content.parsing import Reader
from plscp.errors import DoesNotMatchTemplate, InvalidArgument, Refused, TooLarge
from plscp.findings import Finding
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.templates.request import Bounds, Decoded

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
_FORMS: Final = {IMPLICIT_LITTLE: IMPLICIT, EXPLICIT_LITTLE: LITTLE, DEFLATED: LITTLE, EXPLICIT_BIG: BIG}
_NOTES: Final = 64
"""More are not told."""


def decode(raw: bytes, transfer_syntax: str, *, calling_ae: str, sop_class: str, bounds: Bounds) -> Decoded:
    """Reads a data set and finds its identity (contracts section 2, step 5; section 1, Identity).

    Args:
        raw: the encoded data set.
        transfer_syntax: its UID.
        calling_ae: AE title of the sender, without padding.
        sop_class: of the request; decides the status of what is past a bound.
        bounds: on length, also after inflating, and on shape.

    Raises:
        TooLarge: longer than the bound (0213H).
        InvalidArgument: it does not decode, or a Substance Administration is past a bound of shape (0115H).
        DoesNotMatchTemplate: a Procedural Event is past a bound of shape (C102).
    """
    form = _FORMS.get(transfer_syntax)
    if form is None:
        raise InvalidArgument([Finding("transfer-syntax", "transfer syntax is not one this server reads", refuse=True)])
    if len(raw) > bounds.data_set:
        raise _too_large()
    if transfer_syntax == DEFLATED:
        raw = _inflate(raw, bounds.data_set)
    dataset = _read(bytes(raw), form, bounds, sop_class)
    return Decoded(identity(calling_ae, sop_class, dataset.root.canonical), dataset)


def _read(raw: bytes, form: Form, bounds: Bounds, sop_class: str) -> DataSet:
    reader = Reader(raw, bounds)
    try:
        root = reader.data_set(form)
    except Fault as fault:
        raise _refusal(fault, sop_class) from None
    notes = tuple(note.finding(refuse=False) for note in reader.notes[:_NOTES])
    return DataSet(root, reader.outermost, notes, sop_class)


def _refusal(fault: Fault, sop_class: str) -> Refused:
    findings = [fault.note.finding(refuse=True)]
    if fault.bound and sop_class == PROCEDURAL_EVENT_LOGGING:
        return DoesNotMatchTemplate(findings)
    return InvalidArgument(findings)


def _too_large() -> TooLarge:
    return TooLarge([Finding("data-set-too-long", "the data set is longer than this server takes", refuse=True)])


def _inflate(raw: bytes, most: int) -> bytes:
    """Undoes RFC 1951 without ever holding more than the bound (PS3.5 A.5); one NUL after it is padding."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(raw, most + 1)
    except zlib.error:
        raise InvalidArgument([Finding("not-deflated", "the data set does not inflate", refuse=True)]) from None
    if len(inflated) > most:
        raise _too_large()
    if not inflater.eof:
        raise InvalidArgument([Finding("truncated", "the deflated data set ends too early", refuse=True)])
    if inflater.unused_data not in {b"", b"\0"}:
        raise InvalidArgument([Finding("trailing-bytes", "bytes after the deflated data set", refuse=True)])
    return inflated
