"""What one transaction of the store looks up: what was there before, for the batch that decides."""

from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import apsw

from plscp.store.chain import REQUEST_COLUMNS, request_of
from plscp.store.corrections import Standing
from plscp.store.index import Index, identity_key, keys_of
from plscp.store.port import Draft, RequestRecord

ID_BYTES: Final = 16
QUARANTINED: Final = "SELECT EXISTS (SELECT 1 FROM carray(?) k CROSS JOIN quarantine q ON q.identity = k.value)"
ANSWERED: Final = f"""
SELECT (SELECT lower(hex(f.request_id)) FROM requests f WHERE f.n = ?),
    EXISTS (SELECT 1 FROM delivered d WHERE d.request_id = (SELECT request_id FROM requests WHERE n = ?2)), {REQUEST_COLUMNS}
FROM request_rows WHERE n = ?2
"""  # noqa: S608 -- our names
STANDING: Final = """
SELECT e.position, coalesce(s.standing, e.position), coalesce(s.study_instance_uid, c.study_instance_uid),
    coalesce(s.patient_id, c.patient_id), coalesce(s.issuer, c.issuer), coalesce(s.correction, ''), r.arrival, c.shared
FROM carray(?) k CROSS JOIN events e ON e.position = k.value CROSS JOIN requests r ON r.n = e.request
CROSS JOIN contexts c ON c.n = r.context LEFT JOIN standings s ON s.position = e.position WHERE e.kind = 'entry'
"""
"""Where entries stand: the columns of a `Standing`, when their request arrived, and what its entries share."""
MOVED: Final = """
SELECT position, standing, study_instance_uid, patient_id, issuer, correction FROM standings WHERE position = ?
"""
HAS_ENTRIES: Final = """
SELECT ?1 <> '' AND (EXISTS (SELECT 1 FROM standings WHERE study_instance_uid = ?1) OR EXISTS (
    SELECT 1 FROM requests_of_study r WHERE r.study_instance_uid = ?1 AND r.study_instance_uid <> ''
    AND r.last_position - r.first_position >= (
        SELECT count(*) FROM standings s WHERE s.position BETWEEN r.first_position AND r.last_position)))
"""
OLDEST_RAW: Final = """
SELECT n, arrival, raw IS NOT NULL, raw_length, first_position, last_position FROM requests
WHERE n > (SELECT expunged FROM head) ORDER BY n LIMIT ?
"""
LOOK_ROWS: Final = 4
"""Request rows that are looked at for each whose raw bytes may go: those of refusals have none."""
EXPIRED: Final = """
SELECT identity, calling_ae, length(raw) FROM quarantine INDEXED BY quarantine_raw
WHERE raw IS NOT NULL AND (closed_position IS NULL) = 0 AND last_time < ? LIMIT ?
"""
REPLAYED: Final = """
SELECT x.identity, x.entry, x.position FROM carray(?) k CROSS JOIN replayed_entries x ON x.identity = k.value
"""
ITEMS: Final = """
SELECT q.identity, q.calling_ae, q.address, q.sop_class, q.transfer_syntax, q.first_time, q.last_time, q.times,
    q.raw_length, q.raw_digest, q.closed_position, q.raw IS NOT NULL
FROM carray(?) k CROSS JOIN quarantine q ON q.identity = k.value
"""
OUTCOMES: Final = (
    "SELECT outcome, status, comment, position, first_time, last_time, times FROM refusals WHERE identity = ?"
)


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
        requests: numbers of the request rows whose raw bytes, so many, go.
        positions: of the first and the last event of these requests; 0, 0 where they have none.
    """

    upto: int
    requests: Sequence[int]
    positions: tuple[int, int]
    raw_bytes: int
    items: Sequence[ExpiredItem]


def integers(numbers: Iterable[int]) -> Any:
    """64-bit integers, as a query takes them."""
    return apsw.carray(array("q", numbers), flags=apsw.SQLITE_CARRAY_INT64)


def ids_in(delivered: bytes) -> list[bytes]:
    """The request ids that stand one after the other in the head row."""
    return [delivered[at : at + ID_BYTES] for at in range(0, len(delivered), ID_BYTES)]


class Lookups:
    """What is known of before, within one transaction; the batch goes on with `seen`, `answered` and `replayed`.

    Args:
        delivered: ids of requests whose answers arrived, which are not in their table yet.
        any_replayed: whether entries were ever replayed singly.
        room_for_refusals: whether the quarantine may grow.

    Attributes:
        keys: request id -> the keys of a draft.
        seen: what is known of these.
        answered: identity -> its latest accepted request.
        items: identity -> its quarantine item.
        replayed: identity -> index of an entry that was replayed singly -> its position.
    """

    def __init__(
        self,
        connection: Any,
        index: Index,
        drafts: Sequence[Draft],
        *,
        delivered: bytes,
        any_replayed: bool,
        room_for_refusals: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self.room_for_refusals = room_for_refusals
        requests = [draft for draft in drafts if isinstance(draft, RequestRecord)]
        self.keys = {draft.request_id: keys_of(draft) for draft in requests}
        self.answered: dict[bytes, Answered] = {}
        self.items: dict[bytes, QuarantineRow] = {}
        self.replayed: dict[bytes, dict[int, int]] = {}
        identities = {draft.identity: self.keys[draft.request_id].identity for draft in requests}
        replays = [(draft.replay, draft.dated) for draft in requests if draft.replay is not None]
        identities |= {replay.content: identity_key(replay.content, dated) for replay, dated in replays}
        self.seen = index.find(self.keys.values(), identities.values()) if requests else {}
        if identities:
            items = (replay.item for replay, _ in replays if replay.item not in identities)
            wanted = apsw.carray((*identities, *items))
            if connection.execute(QUARANTINED, (wanted,)).get:
                for row in connection.execute(ITEMS, (wanted,)).fetchall():
                    item = self.items[row[0]] = QuarantineRow(*row)
                    outcomes = connection.execute(OUTCOMES, (item.identity,))
                    item.outcomes = {outcome[0]: Outcome(*outcome) for outcome in outcomes}
            if any_replayed:
                for identity, entry, position in connection.execute(REPLAYED, (wanted,)):
                    self.replayed.setdefault(identity, {})[entry] = position
        for identity, key in identities.items():
            if row := self.seen.get(key):
                first_id, arrived, *about = connection.execute(ANSWERED, (row.first, row.other)).fetchall()[0]
                latest = request_of(about)
                arrived = bool(arrived) or bytes.fromhex(latest.request_id) in ids_in(delivered)
                self.answered[identity] = Answered(latest, first_id, arrived)

    def replayed_since(self, identity: bytes) -> dict[int, int]:
        """Index and position of a request's entries that were replayed singly since the whole was accepted last, if ever."""
        before = self.answered.get(identity)
        since = before.latest.last_position if before else 0
        return {entry: at for entry, at in self.replayed.get(identity, {}).items() if at > since}

    def moved(self, position: int) -> Standing | None:
        """Where the entry at a position stands, if it was moved before this transaction."""
        row = self._connection.execute(MOVED, (position,)).fetchone()
        return None if row is None else Standing(*row)

    def stored_under(self, positions: Collection[int]) -> dict[int, tuple[Standing, bytes]]:
        """Where entries of before this transaction stand, and the context of their request."""
        if not positions:
            return {}
        rows = self._connection.execute(STANDING, (integers(positions),))
        same: dict[bytes, bytes] = {}  # hundreds of entries of one request have one context
        return {at[0]: (Standing(*at), same.setdefault(shared, shared)) for *at, _, shared in rows}

    def has_entries(self, study_instance_uid: str) -> bool:
        """Whether entries stood under a study before this transaction."""
        return bool(self._connection.execute(HAS_ENTRIES, (study_instance_uid,)).get)

    def proposed(self, proposal_id: str) -> str:
        """The state of a proposal, or empty where none was kept before this transaction."""
        return self._connection.execute("SELECT state FROM proposals WHERE id = ?", (proposal_id,)).get or ""

    def expired(self, before: int, now: int, most: int) -> Expired:
        """What of the oldest requests that were not looked at yet, and of closed items, has raw bytes to lose.

        What arrived before a moment goes, up to the first that did not. What is dated after `now` is passed over: it came
        while a clock was wrong, and nobody knows its age.
        """
        upto, raw_bytes, low, high = 0, 0, 0, 0
        requests: list[int] = []
        for n, arrival, kept, length, first, last in self._connection.execute(OLDEST_RAW, (most * LOOK_ROWS,)):
            if before <= arrival <= now or len(requests) == most:
                break
            upto = n
            if kept and arrival < before:
                requests.append(n)
                raw_bytes += length
                low, high = low or first, last or high
        items = [ExpiredItem(*row) for row in self._connection.execute(EXPIRED, (before, most))]
        return Expired(upto, requests, (low, high), raw_bytes, items)
