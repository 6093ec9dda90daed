"""Numbers events without gaps and chains them; collects the rows of one transaction."""

from typing import Any

from plscp.digests import sha256
from plscp.store.chain import NO_RAW, link
from plscp.store.port import Accepted, Rejected, RequestDraft
from plscp.store.rows import EventRow, Head, RequestRow


def raw_length(draft: RequestDraft) -> int:
    """Bytes of the whole request, also where `raw` was cut."""
    return draft.raw_length if draft.raw_length >= 0 else len(draft.raw)


def raw_digest(draft: RequestDraft) -> bytes:
    """SHA-256 of the whole request, also where `raw` was cut."""
    return draft.raw_digest or sha256(draft.raw)


class Appender:
    """The head as it moves.

    Attributes:
        requests, events: rows to add, in order.
        topics: topic -> (first, last position added).
        recorded: the time that all events of this transaction carry.
    """

    def __init__(self, head: Head, recorded: str) -> None:
        self.position, self.digest, self.registry_position, self.request_count = head
        self.recorded = recorded
        self.requests: list[RequestRow] = []
        self.events: list[EventRow] = []
        self.topics: dict[str, tuple[int, int]] = {}

    @property
    def head(self) -> Head:
        """The head after what was appended."""
        return Head(self.position, self.digest, self.registry_position, self.request_count)

    def request_row(self, draft: RequestDraft, answer: Accepted | Rejected, positions: tuple[int, int]) -> RequestRow:
        """Number and collect the next request.

        Args:
            positions: of its first and last event; 0, 0 where it adds none.
        """
        accepted = answer if isinstance(answer, Accepted) else None
        self.request_count += 1
        row = RequestRow(
            self.request_count,
            draft.request_id,
            draft.identity,
            draft.sop_class,
            draft.calling_ae,
            draft.address,
            draft.association,
            draft.message_id,
            draft.transfer_syntax,
            draft.arrival,
            answer.status,
            answer.comment,
            accepted.study_instance_uid if accepted else "",
            accepted.patient_id if accepted else "",
            accepted.issuer if accepted else "",
            min(draft.registry_position, self.registry_position),
            len(draft.entries),
            *positions,
            accepted.alive_at if accepted else "",
            accepted.alive_us if accepted else 0,
            raw_length(draft),
            raw_digest(draft),
            accepted.context if accepted else b"",
            draft.raw if accepted else None,
        )
        self.requests.append(row)
        return row

    def append(self, event: tuple[Any, ...], request: RequestRow | None, about: bytes) -> None:
        """Chain and collect the next event.

        Args:
            event: an `EventRow` but for the digest; its position must be the next one.
            request: whose event it is, or None for registry changes and proposals.
            about: `about_request` of that request, or empty.
        """
        position, topic = event[0], event[4]
        assert position == self.position + 1
        context, raw = (request.context, request.raw_digest) if request else (b"", NO_RAW)
        self.digest = link(self.digest, event, about, context, raw)
        self.events.append(EventRow._make((*event, self.digest)))
        self.position = position
        if topic is not None:
            self.topics[topic] = (self.topics.get(topic, (position,))[0], position)
