"""What a handler returned, as status fields and bytes."""

import zlib
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from plscp.network.answer import Status
from plscp.network.negotiation import Context


def status_of(dataset: Dataset) -> Status:
    """A status data set, as pynetdicom's handlers may return it."""
    status = Status(int(dataset.Status))
    status.comment = str(dataset.get("ErrorComment", ""))
    status.error_id = int(dataset.ErrorID) if "ErrorID" in dataset else None
    for name, keyword in (("attributes", "AttributeIdentifierList"), ("offending", "OffendingElement")):
        value = dataset.get(keyword)
        if value is not None:
            many = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
            setattr(status, name, tuple(int(tag) for tag in many))
    return status


def encoded(dataset: Any, context: Context) -> bytes:
    """An Action Reply in its context's transfer syntax."""
    syntax = context.transfer_syntax
    implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    raw = (
        encode(dataset, implicit, little) or b""
        if isinstance(dataset, Dataset)
        else dataset.encode(implicit=implicit, little=little)
    )
    if syntax == "1.2.840.10008.1.2.1.99" and raw:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        raw = packer.compress(raw) + packer.flush()
        raw += b"\0" * (len(raw) % 2)
    return bytes(raw)
