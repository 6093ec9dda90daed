"""What one transaction of the store knows of before, and the rows that it writes anew: an adapter looks them up for the batch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from plscp.store.corrections import Settled, Standing
from plscp.store.index import Keys, Seen
from plscp.store.port import RequestRecord


class Settlement(NamedTuple):
    """What becomes of a proposal: the columns of its row, but for the first two."""

    state: Settled
    moved: int
    settled: int
    reverts: str
    who: str
    why: str


class Answered(NamedTuple):
    """The latest accepted request of an identity.

    Attributes:
        first_id: request id of the first accepted request of this identity.
        delivered: whether a Success or Warning answer to the latest is known to have arrived.
    """

    latest: RequestRecord
    first_id: str
    delivered: bool


@dataclass
class Outcome:
    """One way in which an identity was refused."""

    outcome: str
    status: int
    comment: str
    position: int
    first_time: int
    last_time: int
    times: int


@dataclass
class QuarantineRow:
    """One quarantined identity. `raw` is what is to be written now, None where it stays as it is (`has_raw`)."""

    identity: bytes
    calling_ae: str
    address: str
    sop_class: str
    transfer_syntax: str
    first_time: int
    last_time: int
    times: int
    raw_length: int
    raw_digest: bytes
    closed_position: int | None = None
    has_raw: bool = False
    raw: bytes | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)


class ExpiredItem(NamedTuple):
    """A closed quarantine item whose raw bytes, so many, are older than they are kept."""

    identity: bytes
    calling_ae: str
    raw_bytes: int


class Expired(NamedTuple):
    """Raw bytes that are older than they are kept: some of them, the oldest first.

    Attributes:
        upto: number of the last request row that was looked at; 0 where none was.
        requests: numbers of the request rows whose raw bytes go.
        positions: of the first and the last event of these requests; 0, 0 where they have none.
        raw_bytes: of these requests.
        items: closed quarantine items.
    """

    upto: int
    requests: Sequence[int]
    positions: tuple[int, int]
    raw_bytes: int
    items: Sequence[ExpiredItem]


@dataclass(slots=True)
class Lookups:
    """What one transaction knows of before.

    Attributes:
        keys: request id -> the keys of a draft.
        seen: what is known of these; the batch goes on with it.
        answered: identity -> its latest accepted request.
        items: identity -> its quarantine item.
        replayed: identity -> index of an entry that was replayed singly -> its position; the batch goes on with it.
        moved: where the entry at a position stands, if it was moved before this transaction.
        stored_under: for positions that were there before this transaction: where they stand, and the context of their request.
        has_entries: whether entries stood under a study before this transaction.
        proposed: the state of the proposal with this id, or empty where none was kept before this transaction.
        room_for_refusals: False when the quarantine would take the last reserve of the disk.
        expired: raw bytes that arrived before a moment: (before, now, how many at most).
    """

    keys: dict[str, Keys]
    seen: dict[bytes, Seen]
    answered: dict[bytes, Answered]
    items: dict[bytes, QuarantineRow]
    replayed: dict[bytes, dict[int, int]]
    moved: Callable[[int], Standing | None]
    stored_under: Callable[[Iterable[int]], dict[int, tuple[Standing, bytes]]]
    has_entries: Callable[[str], bool]
    proposed: Callable[[str], str]
    room_for_refusals: Callable[[], bool]
    expired: Callable[[int, int, int], Expired]

    def replayed_since(self, identity: bytes) -> dict[int, int]:
        """Index and position of a request's entries that were replayed singly since the whole was accepted last, if ever."""
        before = self.answered.get(identity)
        since = before.latest.last_position if before else 0
        return {entry: at for entry, at in self.replayed.get(identity, {}).items() if at > since}
