"""What a handler returns to the acceptor: `(status, data set)` as to pynetdicom, in forms that are cheap to make and encode."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol


class Status(int):
    """A DIMSE status with the fields that PS3.7 Annex C lets stand beside it; usable wherever an int is."""

    comment: str = ""  # Error Comment (0000,0902), printable ASCII, 64 characters at most
    error_id: int | None = None  # (0000,0903)
    attributes: Sequence[int] = ()  # Attribute Identifier List (0000,1005), tags as ints
    offending: Sequence[int] = ()  # Offending Element (0000,0901), tags as ints
    instance: str = ""  # Affected SOP Instance UID (0000,1000) that the SCP has made, where an N-CREATE names none
    receipt: object = None  # handed to `on_delivery_confirmed` once the answer is known to have arrived


SUCCESS: Final = Status(0)


class Encodable(Protocol):
    """A data set that can write itself: what the acceptor needs of an Action Reply."""

    def encode(self, *, implicit: bool, little: bool) -> bytes:
        """The encoded elements, without group lengths, in tag order; not deflated."""
        ...


class PendingResponse:
    """An answer that may still be to come: what a handler returns in place of it; `answer` is None until then.

    It is given where it is taken, in the event loop, and calls at once: a future would cost a timer and two turns of the loop.
    """

    __slots__ = ("_then", "answer")

    def __init__(self) -> None:
        self.answer: tuple[Any, Any] | None = None
        self._then: Callable[[tuple[Any, Any]], None] | None = None

    def give(self, answer: tuple[Any, Any]) -> None:
        """Answer; what is given after that is dropped."""
        if self.answer is None:
            self.answer = answer
            if self._then is not None:
                self._then(answer)

    def then(self, call: Callable[[tuple[Any, Any]], None]) -> None:
        """Call this with the answer once it is given; only of a response that has none yet."""
        self._then = call
