"""The chain of digests: each event's digest covers its own content and the digest of the event before it.

``digest = SHA-256(previous digest, canonical envelope, SHA-256(value as stored), SHA-256(raw))`` (raw: the request's bytes as
received; of a registry change: none). The envelope is UTF-8 text: fields that cannot hold a line feed, one per line, then
free text with its length before it, so that no two events have the same envelope; after it, for the events of a request,
the SHA-256 of such a text about the request.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from plscp.digests import sha256
from plscp.records.parts import joined, utc
from plscp.store.rows import WITHOUT_REQUEST, EventRow, RequestRow
from plscp.store.schema import head_of

NO_RAW: Final = sha256(b"")
_WIDTH: Final = len(EventRow._fields)
_COLUMNS: Final = ", ".join(
    [*(f"e.{name}" for name in EventRow._fields), *(f"r.{name}" for name in RequestRow._fields)]
)
_WITH_REQUEST: Final = f"""
SELECT {_COLUMNS} FROM events e LEFT JOIN requests r ON r.n = e.request
WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT ?
"""  # noqa: S608 -- our names


def iso(microseconds: int) -> str:
    """ISO 8601 UTC with milliseconds and Z, from microseconds since the epoch."""
    return utc(datetime.fromtimestamp(microseconds // 1000 / 1000, UTC))


def about_request(r: RequestRow) -> bytes:
    """The part of the envelope that the events of one request share (32 bytes)."""
    free = (r.calling_ae, r.address, r.association, r.comment, r.patient_id, r.issuer, r.study_instance_uid)
    about = (
        f"{r.request_id}\n{r.identity.hex()}\n{r.sop_class}\n{r.transfer_syntax}\n{r.message_id}\n{r.arrival}\n{r.status}\n"
        f"{r.registry_position}\n{r.entry_count}\n{r.raw_length}\n{[*map(len, free)]}\n{''.join(free)}"
    )
    return sha256(about.encode())


def link(previous: bytes, event: tuple[Any, ...], about: bytes, context: bytes, raw_digest: bytes) -> bytes:
    """The digest of one event (32 bytes).

    Args:
        event: its `EventRow` but for the digest.
        about: `about_request` of its request, or empty.
    """
    position, kind, _, event_id, topic, key, type_, subject, occurred, recorded, time, lead, data = event
    envelope = (
        f"{position}\n{kind}\n{event_id}\n{topic or ''}\n{type_}\n{occurred}\n{recorded}\n{time}\n"
        f"{len(key)}:{key}{len(subject)}:{subject}"
    )
    value = sha256(joined(lead, context, data))
    return sha256(previous + envelope.encode() + about + value + raw_digest)


def first_broken_position(
    connection: Any, *, page: int = 1000, progress: Callable[[int], None] = lambda _: None
) -> int | None:
    """Walk the chain up to the head as it is at the beginning, a page at a time.

    Args:
        progress: told how far it is.

    Returns:
        The first position that does not fit, or None; a head row that says something else counts as the next position.
    """
    head = head_of(connection)
    position, digest, registry_position = 0, bytes(32), 0
    while rows := connection.execute(_WITH_REQUEST, (position, head.position, page)).fetchall():
        for row in rows:
            event = EventRow(*row[:_WIDTH])
            request = RequestRow(*row[_WIDTH:]) if row[_WIDTH] is not None else None
            try:
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


def _fits(previous: bytes, event: EventRow, request: RequestRow | None) -> bool:
    """Whether an event, with its request, is what its digest says."""
    if (request is None) != (event.kind in WITHOUT_REQUEST):
        return False
    raw_digest, about, context = NO_RAW, b"", b""
    if request is not None:
        raw_digest, about, context = request.raw_digest, about_request(request), request.context
        whole = request.raw is not None and len(request.raw) == request.raw_length
        if whole and sha256(request.raw or b"") != raw_digest:
            return False
    return event.digest == link(previous, event[:-1], about, context, raw_digest)
