"""The chain of digests: each event's digest covers its own content and the digest of the event before it.

``digest = SHA-256(previous digest, canonical envelope, SHA-256(value as stored), SHA-256(raw))`` (raw: the request's bytes as
received; of a registry change: none). The envelope is UTF-8 text: fields that cannot hold a line feed, one per line, then
free text with its length before it, so that no two events have the same envelope; after it, for the events of a request,
the SHA-256 of such a text about the request. Both are made of what the views of `plscp.store.schema` put together again.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from plscp.digests import sha256
from plscp.records.parts import joined, utc
from plscp.store.corrections import CORRECTION
from plscp.store.port import EXPUNGED, PROPOSAL, Accepted, RequestRecord
from plscp.store.schema import head_of

NO_RAW: Final = sha256(b"")
WITHOUT_REQUEST: Final = frozenset({"registry", PROPOSAL, CORRECTION, EXPUNGED})
"""Kinds of events that belong to no request."""


class CloudEventAttributes(NamedTuple):
    """Where an event is published and about what, as in its `EventRow`; without a topic it is kept alone."""

    topic: str | None
    key: str
    type: str
    subject: str
    occurred: str


class EventRow(NamedTuple):
    """One position.

    Attributes:
        request: number of its request, or None for registry changes and proposals.
        entry: of an entry its index, else None.
        time: microseconds since the epoch of a registry change, proposal or refusal, else 0.
        lead: the JSON value's first members as the writer made them, opening brace included.
        data: its last members, as they were handed in.
        digest: of the chain, up to and including this event.
    """

    position: int
    kind: str
    request: int | None
    entry: int | None
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


_WIDTH: Final = len(EventRow._fields)
REQUEST_COLUMNS: Final = (
    "n, request_id, identity, sop_class, calling_ae, address, association, message_id, transfer_syntax, arrival, status, comment, "
    "study_instance_uid, patient_id, issuer, registry_position, entry_count, first_position, last_position, raw_length, "
    "raw_digest, shared"
)
"""Of views `log` and `request_rows`, as `request_of` takes them: named as what they become."""
_REQUEST_NAMES: Final = REQUEST_COLUMNS.split(", ")
_LOG: Final = f"""
SELECT {", ".join(EventRow._fields)}, {REQUEST_COLUMNS}, raw FROM log
WHERE position > ? AND position <= ? ORDER BY position LIMIT ?
"""  # noqa: S608 -- our names


def iso(microseconds: int) -> str:
    """ISO 8601 UTC with milliseconds and Z, from microseconds since the epoch."""
    return utc(datetime.fromtimestamp(microseconds // 1000 / 1000, UTC))


def request_of(row: Sequence[Any], raw: bytes = b"") -> RequestRecord:
    """A request as it was kept, out of its `REQUEST_COLUMNS`; of the decision only what they hold."""
    kept = dict(zip(_REQUEST_NAMES, row, strict=True))
    study, patient_id, issuer = kept.pop("study_instance_uid"), kept.pop("patient_id"), kept.pop("issuer")
    status, shared, comment = kept.pop("status"), kept.pop("shared"), kept.pop("comment")
    decision = Accepted(status, "procedure-log", "", study, patient_id, issuer, shared, comment)
    return RequestRecord(**kept, raw=raw, entries=(), decision=decision, done=lambda _: None)


def about_request(r: RequestRecord) -> bytes:
    """The part of the envelope that the events of one request share (32 bytes)."""
    answer = r.decision
    place = answer.patient_id, answer.issuer, answer.study_instance_uid
    free = (r.calling_ae, r.address, r.association, answer.comment, *place)
    about = (
        f"{r.request_id}\n{r.identity.hex()}\n{r.sop_class}\n{r.transfer_syntax}\n{r.message_id}\n{r.arrival}\n{answer.status}\n"
        f"{r.registry_position}\n{r.entry_count}\n{r.raw_length}\n{[*map(len, free)]}\n{''.join(free)}"
    )
    return sha256(about.encode())


def link(previous: bytes, event: tuple[Any, ...], about: bytes, context: bytes, raw_digest: bytes) -> bytes:
    """The digest (32 bytes) of an event, an `EventRow` but for that; `about`: `about_request` of its request, or empty."""
    position, kind, _, _, event_id, topic, key, type_, subject, occurred, recorded, time, lead, data = event
    envelope = (
        f"{position}\n{kind}\n{event_id}\n{topic or ''}\n{type_}\n{occurred}\n{recorded}\n{time}\n"
        f"{len(key)}:{key}{len(subject)}:{subject}"
    )
    value = sha256(joined(lead, context, data))
    return sha256(previous + envelope.encode() + about + value + raw_digest)


def first_broken_position(
    connection: Any, *, page: int = 1000, progress: Callable[[int], None] = lambda _: None
) -> int | None:
    """Walk the chain up to the head as it is at the beginning, a page at a time; `progress` is told how far it is.

    Returns:
        The first position that does not fit, or None; a head row that says something else counts as the next position.
    """
    head = head_of(connection)
    position, digest, registry_position = 0, bytes(32), 0
    while rows := connection.execute(_LOG, (position, head.position, page)).fetchall():
        for row in rows:
            event = EventRow(*row[:_WIDTH])
            *about, raw = row[_WIDTH:]
            try:
                request = request_of(about, raw or b"") if about[0] is not None else None
                fits = event.position == position + 1 and _fits(digest, event, request)
            except (TypeError, AttributeError):  # a value of another type than was written
                fits = False
            if not fits:
                return position + 1
            position, digest = event.position, event.digest
            if event.kind == "registry":
                registry_position = position
        progress(position)
    return None if (position, digest, registry_position) == head[:3] else position + 1


def _fits(previous: bytes, event: EventRow, request: RequestRecord | None) -> bool:
    """Whether an event, with its request, is what its digest says."""
    if (request is None) != (event.kind in WITHOUT_REQUEST):
        return False
    raw_digest, about, context = NO_RAW, b"", b""
    if request is not None:
        raw_digest, about, context = request.raw_digest, about_request(request), request.decision.context
        whole = len(request.raw) == request.raw_length  # else it was cut or expunged, or is in quarantine
        if whole and sha256(request.raw) != raw_digest:
            return False
    return event.digest == link(previous, event[:-1], about, context, raw_digest)
