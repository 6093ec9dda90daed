"""What consumers are handed: events, and records that could not be read; made of a record's headers, key and value."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

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
        store, position: as far as its headers say them, else empty and 0.
        key, value, headers: raw; None, None and none where Kafka's own client cannot take the record's batch apart (its
            checksum is wrong, its compression unknown, ...), and then also for those after it in the same batch.
        data: None, so that a program that only asks for the `data` it knows passes it over.
    """

    reason: str
    type: str
    topic: str
    partition: int
    offset: int
    store: str = ""
    position: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    data: ClassVar[None] = None


def decode(
    headers: Iterable[tuple[str, bytes | None]] | None,
    key: bytes | None,
    value: bytes | None,
    *,
    topic: str = "",
    partition: int = -1,
    offset: int = -1,
) -> Event | Unreadable | None:
    """What one record of Kafka is, whichever client has read it; never raises.

    Args:
        headers, key, value: as they are on the wire.
        topic, partition, offset: where it was read; kept, and what `Positions` goes by.

    Returns:
        The event; None for the relay's barrier, which says nothing to consumers; else what could not be read, and why.
    """
    raw = tuple(headers or ())
    texts = {name: (content or b"").decode("utf-8", "replace") for name, content in raw}
    kind, store, digits = texts.get("ce_type", ""), texts.get(STORE, ""), texts.get(POSITION, "")
    # At most the digits of 64 bits: what is longer is not a position, and slow to convert.
    placed = bool(store) and digits.isascii() and digits.isdigit() and len(digits) < 20
    position = int(digits) if placed else 0
    if kind == BARRIER and not position:
        return None
    missing = [name for name in ("ce_type", "ce_id", STORE) if not texts.get(name)]
    try:
        if missing:
            raise ValueError(f"no header {', '.join(missing)}")
        if not position:
            raise ValueError(f"header {POSITION} is not a position")
        data = read(kind, value or b"")
        text = (key or b"").decode()
    except Exception as error:  # whatever is wrong with one record: the others go on
        reason = str(error).partition("\n")[0] or type(error).__name__
        at = store if placed else "", position
        return Unreadable(reason, kind, topic, partition, offset, *at, key, value, raw)
    time = None
    with suppress(ValueError, OverflowError):
        said = datetime.fromisoformat(texts.get("ce_time", ""))
        time = said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
    return Event(kind, texts["ce_id"], text, topic, partition, offset, store, position, time, data)
