"""Corrections as the other rooms see them: where entries stand, what moves them, what was proposed and what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from plscp.store.port import RegistryRecord, Result, StoredEvent, Topic

CORRECTION: Final = "correction"
"""Kind of the two events, withdrawn and assigned, that move an entry."""
MOST_MOVED: Final = 1000
"""Entries that one correction moves at most: all of it is one transaction."""


class Standing(NamedTuple):
    """Where an entry stands.

    Attributes:
        position: of the entry's event.
        standing: of the event that says where it stands: `position`, or that of the last correction's `assigned`.
        study_instance_uid, patient_id, issuer: as of `standing`; not yet followed through merges.
        correction: id of the correction that moved it last, or empty.
    """

    position: int
    standing: int
    study_instance_uid: str
    patient_id: str
    issuer: str
    correction: str = ""


class EventMove(NamedTuple):
    """One entry that a correction moves: where it stands, where it is to stand, and the two records that say so.

    Attributes:
        now: its `standing` and `correction` are the store's to say.
        key_was, key_now: partition keys of the withdrawn and the assigned record.
        withdrawn, assigned: JSON members of the two records but for their leads.
    """

    was: Standing
    now: Standing
    topic: "Topic"
    key_was: str
    key_now: str
    occurred: str
    withdrawn: bytes
    assigned: bytes


class Settlement(NamedTuple):
    """What became of a proposed correction, as its row says it; the attributes are those of a `Proposal`."""

    state: Literal["confirmed", "rejected"]
    moved: int
    settled: int
    reverts: str
    who: str
    why: str


@dataclass(slots=True)
class CorrectionDraft:
    """What is to become of a proposed correction: confirmed, with what it moves, or rejected. All of it, or nothing.

    `Stale` where the registry has changed, an entry stands elsewhere by now, or somebody else has settled it: decide again.

    Attributes:
        id: of the proposal; 16 hex digits.
        moves: what moves, at most `MOST_MOVED`; each has its two events, one after the other.
        time: microseconds since the epoch, UTC.
        source, who, why: who said so, as `RegistryDraft.source` and by name; and why.
        proposal: the proposal itself, where it was not kept before: a correction by hand.
        reverts: id of the confirmed correction that this one takes back: that is `reverted` then.
    """

    id: str
    state: Literal["confirmed", "rejected"]
    moves: Sequence[EventMove]
    registry_position: int
    time: int
    source: str
    who: str
    why: str
    done: "Callable[[Result], None]"
    proposal: "RegistryRecord | None" = None
    reverts: str = ""


class Proposal(NamedTuple):
    """A correction that was proposed, and what became of it.

    Attributes:
        id: what people type.
        time: when it was proposed, microseconds since the epoch, UTC.
        change: what it would do, JSON-able.
        state: ``superseded`` where another correction moved one of its entries first.
        moved: position of the first event of the correction that it became, or 0.
        settled: position of the last event of what became of it, or 0.
        reverts: id of the correction that it takes back, or empty.
        who, why: of whoever confirmed or rejected it.
    """

    id: str
    position: int
    time: int
    source: str
    change: dict[str, Any]
    state: Literal["proposed", "confirmed", "rejected", "reverted", "superseded"] = "proposed"
    moved: int = 0
    settled: int = 0
    reverts: str = ""
    who: str = ""
    why: str = ""


class StandingEvent(NamedTuple):
    """An entry's event, and where it stands.

    Attributes:
        last: the event that says so: `entry`, or the last correction's `assigned`.
        arrival: of its request, microseconds since the epoch, UTC.
    """

    entry: "StoredEvent"
    last: "StoredEvent"
    at: Standing
    arrival: int


@dataclass(slots=True)
class EntryFilter:
    """Entries that are asked for by the study, or by (Patient ID, issuer), under which they stand, and more.

    Attributes:
        calling_ae: of one device; empty: of any.
        since, until: when they occurred: ISO 8601 UTC, both included; empty: without bound.
    """

    study_instance_uid: str = ""
    patient_ids: Sequence[tuple[str, str]] = ()
    calling_ae: str = ""
    since: str = ""
    until: str = ""
    limit: int = MOST_MOVED
