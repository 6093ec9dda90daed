"""Data sets as bytes in each transfer syntax that plscp reads, and the data sets in the bytes of files (PS3.5, PS3.10 7.1)."""

import zlib
from struct import unpack_from
from typing import Any, Final, NamedTuple

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from plscp.content.elements import DICTIONARY, EXPLICIT
from plscp.content.reader import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from plscp.statuses import INSTANCES

SYNTAXES: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)
PREAMBLE: Final = 132


class Encoded(NamedTuple):
    """An encoded data set and the UID of its transfer syntax."""

    raw: bytes
    transfer_syntax: str


def data_set(**attributes: Any) -> Dataset:
    """A data set with these attributes, by their keywords."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def encode(dataset: Dataset, transfer_syntax: str = EXPLICIT_LITTLE) -> bytes:
    """A data set without preamble and file meta information, whatever its values look like; ValueError: not one of `SYNTAXES`."""
    if transfer_syntax not in SYNTAXES:
        raise ValueError(f"transfer syntax {transfer_syntax} is none of {', '.join(SYNTAXES)}")
    out = DicomBytesIO()
    out.is_implicit_VR = transfer_syntax == IMPLICIT_LITTLE
    out.is_little_endian = transfer_syntax != EXPLICIT_BIG
    with config.disable_value_validation():
        write_dataset(out, dataset, convert_encodings(dataset.get("SpecificCharacterSet", "ISO_IR 6")))
    raw: bytes = out.getvalue()
    if transfer_syntax != DEFLATED:
        return raw
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(raw) + deflater.flush()


def as_file(given: Encoded, sop_class: str) -> bytes:
    """A DICOM file (PS3.10 7.1) that holds these bytes as they are.

    Args:
        sop_class: of the two of Annex P; the file is called an instance of its well-known SOP Instance.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(INSTANCES[sop_class])
    meta.TransferSyntaxUID = UID(given.transfer_syntax)
    out = DicomBytesIO()
    write_file_meta_info(out, meta)
    return bytes(PREAMBLE - 4) + b"DICM" + bytes(out.getvalue()) + given.raw


def of_file(raw: bytes) -> Encoded | None:
    """The data set in the bytes of a DICOM file, as it stands there; None where they look like no data set.

    Args:
        raw: with preamble and file meta information, or a bare data set in one of the little endian syntaxes.
    """
    if raw[128:PREAMBLE] == b"DICM":
        return _after_meta(raw)
    if len(raw) < 8:
        return None
    group, element, length = unpack_from("<HHI", raw)
    tag = group << 16 | element
    if tag not in DICTIONARY and element != 0:
        return None
    if raw[4:6] in EXPLICIT:
        return Encoded(raw, EXPLICIT_LITTLE)
    return Encoded(raw, IMPLICIT_LITTLE) if length <= len(raw) or length == 0xFFFFFFFF else None


def _after_meta(raw: bytes) -> Encoded | None:
    """Passes over group 0002, which is Explicit VR Little Endian (PS3.10 7.1)."""
    at, syntax = PREAMBLE, IMPLICIT_LITTLE
    while raw[at : at + 2] == b"\x02\x00":
        vr = EXPLICIT.get(raw[at + 4 : at + 6])
        head = 12 if vr is not None and vr[2] else 8
        if vr is None or at + head > len(raw):
            return None
        (length,) = unpack_from("<I", raw, at + 8) if head == 12 else unpack_from("<H", raw, at + 6)
        if raw[at + 2 : at + 4] == b"\x10\x00":
            syntax = raw[at + head : at + head + length].rstrip(b"\0 ").decode("ascii", "replace")
        at += head + length
    return Encoded(raw[at:], syntax)
