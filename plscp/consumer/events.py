"""What consumers are handed: events, and records that could not be read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from plscp.records.parts import BARRIER, POSITION, STORE
from plscp.records.values import Record, read


@dataclass(frozen=True, slots=True)
class Event:
    """One published event.

    Attributes:
        type: such as ``org.plscp.procedure-log.entry.v1``.
        id: stable: the same in every repeat.
        key: the record's: a Study Instance UID, an issuer and Patient ID, or a calling AE title.
        topic, partition, offset: where it was read.
        store: id of the event store that published it; `position` orders everything of one store.
        time: when it occurred, UTC.
        data: the value, typed; a class of `plscp.records.values`.
    """

    type: str
    id: str
    key: str
    topic: str
    partition: int
    offset: int
    store: str
    position: int
    time: datetime | None
    data: Record


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is no event of a known type, as it is.

    Attributes:
        reason: why it could not be read; names no content.
        type: as far as it says one, else empty.
        topic, partition, offset: where it was read.
        key, value, headers: raw; None, None and none where Kafka's own client cannot take the record's batch apart (its
            checksum is wrong, its compression unknown, ...), and then also for those after it in the same batch.
        data: None, so that a program that only asks for the `data` it knows passes it over.
    """

    reason: str
    type: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    data: ClassVar[None] = None


class RecordHeaders(NamedTuple):
    """What a record's headers say; empty and 0 where they name no type, and no place in a store's order."""

    type: str
    store: str
    position: int
    texts: dict[str, str]

    @property
    def barrier(self) -> bool:
        """Whether it is the relay's own mark, which says nothing to consumers."""
        return self.type == BARRIER and not self.position


def head(raw: Any) -> RecordHeaders:
    """The headers of a ConsumerRecord, or of an `Unreadable`; never raises."""
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in raw.headers}
    digits = texts.get(POSITION, "")
    store = texts.get(STORE, "")
    # At most the digits of 64 bits: what is longer is not a position, and slow to convert.
    placed = bool(store) and digits.isascii() and digits.isdigit() and len(digits) < 20
    return RecordHeaders(texts.get("ce_type", ""), store if placed else "", int(digits) if placed else 0, texts)


def event(raw: Any, headers: RecordHeaders) -> Event | Unreadable:
    """A ConsumerRecord as an event, or as what could not be read; never raises."""
    texts = headers.texts
    missing = [name for name in ("ce_type", "ce_id", STORE) if not texts.get(name)]
    try:
        if missing:
            raise ValueError(f"no header {', '.join(missing)}")
        if not headers.position:
            raise ValueError(f"header {POSITION} is not a position")
        data = read(headers.type, raw.value or b"")
        key = (raw.key or b"").decode()
    except Exception as error:  # whatever is wrong with one record: the others go on
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Unreadable(
            reason, headers.type, raw.topic, raw.partition, raw.offset, raw.key, raw.value, tuple(raw.headers)
        )
    place = (raw.topic, raw.partition, raw.offset, headers.store, headers.position)
    return Event(headers.type, texts["ce_id"], key, *place, _time(texts.get("ce_time", "")), data)


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
