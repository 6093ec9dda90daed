"""What a handler returns to the acceptor: pynetdicom's `(status, dataset)`, in forms that are cheap to make and encode."""

from collections.abc import Sequence
from typing import Protocol


class Status(int):
    """A DIMSE status with the fields that PS3.7 Annex C lets stand beside it; usable wherever an int is.

    Attributes:
        comment: Error Comment (0000,0902), printable ASCII, 64 characters at most, or empty.
        error_id: Error ID (0000,0903), or None.
        attributes: Attribute Identifier List (0000,1005), tags as ints.
        offending: Offending Element (0000,0901), tags as ints.
        receipt: opaque; the acceptor hands it to `heard` once the answer is known to have arrived.
    """

    comment: str = ""
    error_id: int | None = None
    attributes: Sequence[int] = ()
    offending: Sequence[int] = ()
    receipt: object = None


class Encodable(Protocol):
    """A data set that can write itself: what the acceptor needs of an Action Reply."""

    def encode(self, *, implicit: bool, little: bool) -> bytes:
        """The encoded elements, without group lengths, in tag order; not deflated."""
        ...


SUCCESS = Status(0)
