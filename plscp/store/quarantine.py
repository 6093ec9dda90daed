"""The quarantine: refused requests as the store writes and reads them, and what makes a request a replay of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plscp.digests import sha256
from plscp.records.parts import Replayed


@dataclass(frozen=True, slots=True)
class ReplayOf:
    """What makes a request's draft a replay of what is in quarantine.

    A replay is decided on like a request of the device, but for three things: it is taken only while its item is open; what refuses
    it is told and not kept; and a trial tells what would happen and keeps nothing.

    Attributes:
        item: identity of the quarantine item.
        content: identity of its content as it is read now: another one where it did not decode then.
        replayed: how the entries say that they were replayed.
        some: indexes of the entries that are taken, where it is not the whole request; else empty. These entries are known by
            `content` and their index from then on, and the item stays open until every entry is.
        trial: whether nothing is to be kept.
    """

    item: bytes
    content: bytes
    replayed: Replayed
    some: tuple[int, ...] = ()
    trial: bool = False

    @property
    def identity(self) -> bytes:
        """Under which it is kept (32 bytes): the identity of the whole stays free for the whole."""
        if not self.some:
            return self.content
        return sha256(b"entries" + self.content + b",".join(b"%d" % entry for entry in self.some))


class QuarantineItem(NamedTuple):
    """One refused identity.

    Attributes:
        id: first 16 hex digits of the identity: what people type.
        outcomes: each different outcome with its status, comment, JSON data, first time and position, oldest first.
        closed_position: of the later acceptance, or None while open.
        number: its place in the order of first refusals.
    """

    id: str
    identity: bytes
    calling_ae: str
    address: str
    sop_class: str
    transfer_syntax: str
    first_time: int
    last_time: int
    times: int
    raw: bytes
    raw_length: int
    outcomes: Sequence[dict[str, Any]]
    closed_position: int | None
    number: int


class OpenRefusal(NamedTuple):
    """What a quarantine item that is open says of its request: no bytes of it.

    Attributes:
        first_time, last_time: when it was refused, microseconds since the epoch, UTC.
        data: the refusal record's members, of its last different outcome.
    """

    id: str
    calling_ae: str
    sop_class: str
    last_time: int
    data: dict[str, Any]
    first_time: int = 0
