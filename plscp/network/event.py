"""What a handler gets: the event as pynetdicom's handlers know it, made from plain values and decoded only when asked."""

import zlib
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

MOST_INFLATED: Final = 16 << 20
"""Bytes: a handler that asks for pydicom's view of a deflated data set is not to be bombed."""


@dataclass(slots=True)
class Peer:
    """One side of an association: AE title, address and port."""

    ae_title: str
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context, named as pynetdicom's handlers know it."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


@dataclass(slots=True, eq=False, repr=False)
class ActionRequest:
    """An N-ACTION-RQ with the attribute names of pynetdicom's N_ACTION primitive.

    Attributes:
        raw: the encoded data set, at most the bound's first 64 KiB where it was too long.
        truncated_length: length of the whole where it was too long, else 0.
        truncated_digest: SHA-256 of the whole where it was too long, else empty.
    """

    MessageID: int
    RequestedSOPClassUID: str
    RequestedSOPInstanceUID: str | None
    ActionTypeID: int | None
    raw: bytes
    truncated_length: int = 0
    truncated_digest: bytes = b""

    @property
    def ActionInformation(self) -> BytesIO:  # noqa: N802  # pynetdicom's name
        """The encoded data set as a stream."""
        return BytesIO(self.raw)


@dataclass(slots=True, eq=False, repr=False)
class ActionEvent:
    """One N-ACTION request, as pynetdicom's `evt.Event` for `evt.EVT_N_ACTION`.

    Attributes:
        assoc: the association: `id`, `requestor`, `acceptor`.
        timestamp: UTC, when the last byte of the request was read.
    """

    assoc: Any
    context: Context
    request: ActionRequest
    timestamp: datetime

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return self.request.MessageID

    @property
    def action_type(self) -> int | None:
        """Action Type ID (0000,1008)."""
        return self.request.ActionTypeID

    @property
    def action_information(self) -> Dataset:
        """The data set, decoded by pydicom at each call; the hot path reads `request.raw` instead.

        Raises:
            ValueError: it does not inflate, or to more than 16 MiB.
        """
        from pynetdicom.dsutils import decode  # noqa: PLC0415  # only where a handler asks for it

        syntax, raw = self.context.transfer_syntax, self.request.raw
        if syntax == DeflatedExplicitVRLittleEndian:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                raw = inflater.decompress(raw, MOST_INFLATED)
            except zlib.error as error:
                raise ValueError("the data set does not inflate") from error
            if inflater.unconsumed_tail:
                raise ValueError(f"the data set inflates to more than {MOST_INFLATED} bytes")
        dataset: Dataset = decode(BytesIO(raw), syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
        return dataset
