"""What the store keeps, row by row, and what it looks up before it decides; no adapter's types."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from plscp.store.port import EXPUNGED, PROPOSAL, StoredEvent


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


EMPTY_HEAD = Head(0, bytes(32), 0, 0)
_MINUTE_US = 60_000_000


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


def payload(lead: bytes, context: bytes | None, data: bytes) -> bytes:
    """The complete JSON value from its stored parts."""
    return lead + (b"," + context if context else b"") + (b"," + data if data else b"") + b"}"


def stored_event(row: EventRow, context: bytes | None) -> StoredEvent:
    """An event as the port shows it; `context` is its request's."""
    return StoredEvent(
        row.position,
        row.kind,
        row.event_id,
        row.event_id.rpartition("-")[0],
        row.topic,
        row.key,
        row.type,
        row.subject,
        row.occurred,
        row.recorded,
        payload(row.lead, context, row.data),
        row.data[len(CHANGE) :].decode() if row.kind in WITH_CHANGE else None,
    )


def thinned(signs: Iterable[tuple[str, str, int, int]]) -> list[tuple[str, str, int, int]]:
    """Signs of life (study, place, microseconds, arrival), oldest first: of each study and place the latest of each minute."""
    latest: dict[tuple[str, str, int], tuple[int, int]] = {}
    for study, place, moment, arrival in signs:
        minute = (study, place, moment // _MINUTE_US)
        known = latest.get(minute, (moment, arrival))
        latest[minute] = max(moment, known[0]), max(arrival, known[1])
    found = [(study, place, *times) for (study, place, _), times in latest.items()]
    return sorted(found, key=lambda sign: sign[2])


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


@dataclass(slots=True)
class Outcome:
    """One way in which an identity was refused."""

    outcome: str
    status: int
    comment: str
    position: int
    first_time: int
    last_time: int
    times: int


@dataclass(slots=True)
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

    upto: int = 0
    requests: Sequence[int] = ()
    positions: tuple[int, int] = (0, 0)
    raw_bytes: int = 0
    items: Sequence[ExpiredItem] = ()


LOOK_ROWS = 4
"""Request rows that are looked at for each whose raw bytes may go: those of refusals have none."""


def expired(rows: Iterable[tuple[int, int, bool, int, int, int]], before: int, now: int, most: int) -> Expired:
    """Which of the oldest requests that were not looked at yet have raw bytes to lose.

    Args:
        rows: number, arrival, whether it has raw bytes, how many, first and last position; in order, `most` * `LOOK_ROWS` of them.
        before: what arrived earlier goes, up to the first that did not. What is dated after `now` is passed over: it came while
            a clock was wrong, and nobody knows its age.
    """
    upto, raw_bytes, low, high = 0, 0, 0, 0
    requests: list[int] = []
    for n, arrival, kept, length, first, last in rows:
        if before <= arrival <= now or len(requests) == most:
            break
        upto = n
        if kept and arrival < before:
            requests.append(n)
            raw_bytes += length
            low, high = low or first, last or high
    return Expired(upto, requests, (low, high), raw_bytes)


class ClockRow(NamedTuple):
    """A device's clock difference as one request showed it; microseconds."""

    arrival: int
    calling_ae: str
    difference: int


class Retry(NamedTuple):
    """A repeat that was answered with the stored answer: when, and from where."""

    request: int
    arrival: int
    calling_ae: str
    address: str
    association: str
    message_id: int
    transfer_syntax: str
