"""What the store keeps, row by row, and what one transaction looks up before it judges its drafts; no adapter's types."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from plscp.digests import sha256
from plscp.store.port import EXPUNGED, PROPOSAL, RequestDraft


class Head(NamedTuple):
    """The one head row: everything an append builds on.

    Attributes:
        position: of the last event; 0 in an empty store.
        digest: of the last event; 32 zero bytes in an empty store.
        registry_position: position of the last registry change, or 0.
        requests: number of the last request row.
    """

    position: int
    digest: bytes
    registry_position: int
    requests: int


class RequestRow(NamedTuple):
    """One request that has positions: accepted, or the first of its identity with a given refusal.

    Attributes:
        n: running number, from 1.
        status: the answer.
        first_position, last_position: of its events; both 0 when it added none.
        alive_at: the place where it is a sign of life of its study, or empty.
        alive_us: when that sign occurred, microseconds since the epoch, UTC.
        context: JSON members that its entries share.
        raw: None where it is not kept here: refusals keep it in quarantine, retention deletes it.
    """

    n: int
    request_id: str
    identity: bytes
    sop_class: str
    calling_ae: str
    address: str
    association: str
    message_id: int
    transfer_syntax: str
    arrival: int
    status: int
    comment: str
    study_instance_uid: str
    patient_id: str
    issuer: str
    registry_position: int
    entry_count: int
    first_position: int
    last_position: int
    alive_at: str
    alive_us: int
    raw_length: int
    raw_digest: bytes
    context: bytes
    raw: bytes | None


class EventRow(NamedTuple):
    """One position.

    Attributes:
        request: number of its request row, or None for registry changes and proposals.
        time: microseconds since the epoch of a registry change, proposal or refusal, else 0.
        lead: the JSON value's first members as the writer made them, opening brace included.
        data: its last members, as they were handed in.
        digest: of the chain, up to and including this event.
    """

    position: int
    kind: str
    request: int | None
    event_id: str
    topic: str | None
    key: str
    type: str
    subject: str
    occurred: str
    recorded: str
    time: int
    lead: bytes
    data: bytes
    digest: bytes


CHANGE = b'"change":'
WITH_CHANGE = frozenset({"registry", PROPOSAL})
"""Kinds of events that hold a change."""
WITHOUT_REQUEST = WITH_CHANGE | {EXPUNGED}
"""Kinds of events that belong to no request."""


class Answered(NamedTuple):
    """The latest accepted request of an identity, and what a retry of it is told.

    Attributes:
        first_id: request id of the first accepted request of this identity.
        delivered: 1 when a Success or Warning answer to it is known to have arrived, else 0.
    """

    request_id: str
    status: int
    comment: str
    study_instance_uid: str
    patient_id: str
    issuer: str
    position: int
    n: int
    first_id: str
    first_n: int
    delivered: int


class Seen(NamedTuple):
    """The first entry with some property.

    Attributes:
        position: of that entry.
        mark: for likenesses: the first 8 bytes of its request's identity.
        other: for likenesses: the first position from a request of another identity, or 0.
    """

    position: int
    mark: bytes = b""
    other: int = 0


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
class Item:
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


class EntryKeys(NamedTuple):
    """Under which an entry is remembered; each 16 bytes of a SHA-256, so nothing a device wrote decides a key's length.

    Attributes:
        near_duplicate_key: (calling AE title, near_duplicate_key).
        observation: (calling AE title, Observation UID), or empty where the entry has none.
        exact: (calling AE title, Observation UID, content), or empty.
    """

    near_duplicate_key: bytes
    observation: bytes
    exact: bytes


def keys_of(draft: RequestDraft) -> list[EntryKeys]:
    """The keys of a request's entries, in order."""
    sender = draft.calling_ae.encode()
    head = len(sender).to_bytes(2) + sender
    keys = []
    for entry in draft.entries:
        observation = exact = b""
        if entry.observation_uid:
            stem = b"o" + head + entry.observation_uid.encode()
            observation = sha256(stem)[:16]
            exact = sha256(b"e" + observation + entry.content)[:16]
        keys.append(EntryKeys(sha256(b"l" + head + entry.near_duplicate_key)[:16], observation, exact))
    return keys


StoredUnder = tuple[str, str, str, bytes]
"""Study Instance UID, Patient ID and issuer under which an event was stored, and the context of its request."""


@dataclass(slots=True)
class Known:
    """Lookups of one transaction.

    Attributes:
        answered: identity -> its latest accepted request.
        seen: entry key -> the first entry with it.
        items: identity -> its quarantine item.
        stored_under: for positions that were there before this transaction.
        has_entries: whether entries stood under a study before this transaction.
        proposed: whether a proposal with this id was kept before this transaction.
        room_for_refusals: False when the quarantine would take the last reserve of the disk.
        expired: raw bytes that arrived before a moment: (before, now, how many at most).
    """

    answered: dict[bytes, Answered]
    seen: dict[bytes, Seen]
    items: dict[bytes, Item]
    stored_under: Callable[[Iterable[int]], dict[int, StoredUnder]]
    has_entries: Callable[[str], bool]
    proposed: Callable[[str], bool]
    room_for_refusals: Callable[[], bool]
    expired: Callable[[int, int, int], Expired]
