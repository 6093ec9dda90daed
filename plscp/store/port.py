"""The event store as the other rooms see it: drafts go in, results come out, events are read by position.

A *draft* is submitted, the one writer takes it inside a transaction that holds the head, and its `done` is called with its result
after the transaction is committed and synced. A draft whose decision was made on an older registry comes back as `Stale`, is decided again
and is submitted again; so does one whose entries are partly stored already (`EntriesKnown`), unless it was decided on exactly these.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol, Self

from plscp.errors import StoreError
from plscp.records.parts import PROPOSED_TYPE, PublishedFinding
from plscp.store.corrections import CorrectionDraft, EntryFilter, Proposal, StandingEvent
from plscp.store.quarantine import OpenRefusal, QuarantineItem, ReplayOf

Topic = Literal["procedure-log", "medication-administration", "quarantine", "study", "patient"]
PROPOSAL: Final = "proposal"
"""Kind of a proposed correction's event, and the first part of its ``what``."""
EXPUNGED: Final = "expunged"
"""Kind of the event that says that raw bytes were deleted for their age."""
MOST_COUNTED: Final = 100_000
"""Open quarantine items that are counted, and requests that are looked through: what is asked every second stays cheap."""
LAST: Final = 2**63 - 1
"""Past every position and number."""
MOST_MESSAGE_BYTES: Final = 64 << 10
"""Kept of a refused message of a feed."""
CLOCKS_KEPT_US: Final = 25 * 3_600_000_000
"""How long measured clock differences are kept: they count for up to a day."""


@dataclass(slots=True)
class EntryDraft:
    """One log entry or administration of a request, before it has a position.

    Attributes:
        index: 0-based, among the first-level entries of its request.
        type: CloudEvents type; the same of all entries of a request.
        occurred: when, ISO 8601 UTC with milliseconds and Z (CloudEvents time).
        observation_uid: Observation UID (0040,A171) or empty.
        content: SHA-256 of the entry's canonical content (32 bytes).
        near_duplicate_key: SHA-256 of (Observation DateTime as sent, concept, value): what makes a probable repeat (32 bytes).
        dated: that DateTime as sent (DT).
        data: JSON members of what is the entry's own, e.g. ``b'"occurred":{...},"entry":{...}'``.
        findings: about it and its request; the writer appends its own.
    """

    index: int
    type: str
    occurred: str
    observation_uid: str
    content: bytes
    near_duplicate_key: bytes
    data: bytes
    findings: Sequence[PublishedFinding] = ()
    dated: str = ""


@dataclass(slots=True)
class Accepted:
    """A decision to log: where, and what the answer is.

    Attributes:
        status: 0000, B101, B102 or B104.
        key: partition key of its entries.
        study_instance_uid: empty for administrations.
        context: JSON members (no braces) common to the request's entries: study, patient, match, sender, inherited context.
        comment: Error Comment for a warning.
        alive_at: the place where the request is a sign of life of its study, or empty where it is none.
        alive_us: when that sign occurred, microseconds since the epoch, UTC.
    """

    status: int
    topic: Topic
    key: str
    study_instance_uid: str
    patient_id: str
    issuer: str
    context: bytes
    comment: str = ""
    alive_at: str = ""
    alive_us: int = 0


class RegistryRecord(NamedTuple):
    """One change of patients, admissions, studies, locations or operators; or a proposed correction.

    Attributes:
        change: the change as a JSON object: what the registry projection applies, and nothing else decides. Where its
            ``what`` begins with ``proposal``, it changes nothing and does not move the registry's position: it is kept once
            for each `subject`, to be confirmed by people.
        topic, key: where it is published, with its partition key; without a topic it is kept alone.
        type, subject: of CloudEvents; the subject of a proposal is its id.
        without_entries: Study Instance UID of a study under which no entry may stand for this change to be made, or empty.
    """

    change: dict[str, Any]
    topic: Topic | None
    key: str
    type: str
    subject: str
    without_entries: str = ""

    @classmethod
    def proposal(cls, change: dict[str, Any], key: str, proposal_id: str, kind: str = PROPOSED_TYPE) -> Self:
        """A proposed correction, which is kept alone; `key`: partition key of where what it is about stands."""
        return cls(change, None, key, kind, proposal_id)

    @property
    def proposed(self) -> bool:
        """Whether it is a proposal."""
        return str(self.change["what"]).partition(".")[0] == PROPOSAL


@dataclass(slots=True)
class Rejected:
    """A decision to refuse, from step 5 of the checks on: kept in quarantine.

    Attributes:
        outcome: what makes this refusal differ from another of the same identity: published once each. Status and
            first finding, e.g. ``C102 TID3108 r4 3.2``.
        data: JSON members of the refusal record (status, comment, findings, sender, ...), without braces.
        content_refused: True for steps 5 to 7: the content itself is at fault, so its entries are not looked up.
        proposal: a correction that would remove the reason, kept beside the refusal.

    The others are those of `Accepted`, of what stands nowhere.
    """

    status: int
    outcome: str
    data: bytes
    comment: str
    content_refused: bool
    proposal: RegistryRecord | None = None
    study_instance_uid: ClassVar = ""
    patient_id: ClassVar = ""
    issuer: ClassVar = ""
    context: ClassVar = b""
    key: ClassVar = ""
    alive_at: ClassVar = ""
    alive_us: ClassVar = 0


class KnownEntry(NamedTuple):
    """An entry of a request that is stored already: same calling AE title, Observation UID and content.

    Attributes:
        entry: 0-based, its place among the entries of the request that brings it again.
        position: where it is stored.
        study_instance_uid, patient_id, issuer: under which it stands; not yet followed through merges.
        context: what the entries of the request that brought it first share (`Accepted.context`).
        standing: position of the last correction's event that moved it there, or 0.
    """

    entry: int
    position: int
    study_instance_uid: str
    patient_id: str
    issuer: str
    context: bytes
    standing: int = 0


@dataclass(slots=True)
class RequestRecord:
    """One N-ACTION request from step 5 on, with its decision: what is submitted, numbered, kept, and read again.

    Attributes:
        request_id: 32 hex digits, unique; the stem of each entry's event id.
        identity: SHA-256 (contract section 1), 32 bytes.
        arrival: microseconds since the epoch, UTC.
        raw: the encoded data set as received; may be cut (64 KiB) with `raw_length` and `raw_digest` of the whole.
        entries: empty where it was read again.
        registry_position: R, the registry's position on which `decision` was made; as kept no higher than the registry's then.
        done: called once, after the commit or failure, by the store's `CallSoon`: one call for all of a batch.
        judged: the entries that the decision took as stored already, as the store has told them.
        dated: the first DateTime that the content states, as sent (DT); always the same for one identity.
        replay: of what it is a replay. Then `arrival` is when it was replayed, and no association brought it: `association` is empty.

        n: running number of those that have positions, from 1: accepted, or the first of an identity with a given refusal.
        entry_count: of all its entries; `first_position`, `last_position`: of those that it added, or 0, 0.
        keys: under which it and the entries that it added are found again; None for a refusal. See `plscp.store.index`.
    """

    request_id: str
    identity: bytes
    sop_class: str
    calling_ae: str
    address: str
    association: str
    message_id: int
    transfer_syntax: str
    arrival: int
    raw: bytes
    entries: Sequence[EntryDraft]
    decision: Accepted | Rejected
    registry_position: int
    done: "Callable[[Result], None]"
    raw_length: int = -1
    raw_digest: bytes = b""
    judged: tuple[KnownEntry, ...] = ()
    dated: str = ""
    replay: ReplayOf | None = None
    n: int = 0
    entry_count: int = 0
    first_position: int = 0
    last_position: int = 0
    keys: bytes | None = None

    @property
    def type(self) -> str:
        """CloudEvents type of its entries."""
        return self.entries[0].type if self.entries else ""

    @property
    def content(self) -> bytes:
        """The identity of the whole content that it is, or is some of."""
        return self.identity if self.replay is None else self.replay.content


@dataclass(slots=True)
class RegistryDraft:
    """Registry changes that stand or fall together, planned on the registry as of `registry_position`.

    Attributes:
        time: microseconds since the epoch, UTC.
        source: who said so: ``file``, ``http``, ``server``, ``hl7``, ``mpps``, ``worklist``.
        message: of a feed, what identifies the message that said so, such as its control id; else empty.
    """

    records: Sequence[RegistryRecord]
    registry_position: int
    time: int
    source: str
    done: "Callable[[Result], None]"
    message: str = ""


@dataclass(slots=True)
class Delivered:
    """The answers to these requests are known to have arrived; stored with a later commit. No result."""

    request_ids: Sequence[str]


class ClockMeasured(NamedTuple):
    """A device's clock difference, a request's arrival minus its latest DateTime in microseconds; stored with a later commit.

    No result.
    """

    calling_ae: str
    arrival: int
    difference: int


@dataclass(slots=True)
class Expunge:
    """Raw bytes of requests that arrived before a moment are to be deleted, the oldest first; their digests stay.

    Open quarantine items keep theirs. An event of kind `expunged` says what went. To be submitted again while it finds as many
    as it may.

    Attributes:
        before, now: microseconds since the epoch, UTC. What claims to have arrived after `now` came while a clock was wrong: it is kept.
        most: requests, and quarantine items, of one transaction.
    """

    before: int
    now: int
    done: "Callable[[Result], None]"
    most: int = 256


@dataclass(slots=True)
class MessageRefused:
    """A message of a feed that could not be taken: kept to be looked at. It has no position and moves nothing.

    Attributes:
        source: the feed, as `RegistryDraft.source`.
        peer: who sent it, as the feed names its peers, such as ``10.1.2.3:40112``.
        message: as `RegistryDraft.message`.
        time: when it came, microseconds since the epoch, UTC.
        why: what the peer was told.
        raw: as received; what is longer than `MOST_MESSAGE_BYTES` is cut.
        raw_length: bytes of the whole where `raw` was cut before.
    """

    source: str
    peer: str
    message: str
    time: int
    why: str
    raw: bytes
    done: "Callable[[Result], None]"
    raw_length: int = -1


class Stored(NamedTuple):
    """The draft is committed and synced.

    Attributes:
        outcome: ``added``; ``retry`` (the stored answer); ``known`` (every entry was there already: of the first of them);
            ``refused`` (in quarantine; a replay: nothing was kept); ``closed`` (of a replay: its item is not open any more);
            ``changed`` (registry); ``expunged``; ``kept`` (a refused message of a feed); ``corrected``.
        request_id: the receipt to hand back as `Delivered` once the answer is known to have arrived: for a retry the
            stored request's, else the draft's own.
        status, comment: the answer to send. For ``known``: 0000.
        study_instance_uid, patient_id, issuer: for the Action Reply; where the first entry stands, not yet followed through merges.
        position: of the last event appended, or of the stored request; of what closed an item; 0 where nothing has one.
        standing: of what is stored already: position of the last correction's event that moved its first entry, or 0.
        entries: how many entries were added, or moved; of how many requests and quarantine items raw bytes were deleted.
    """

    outcome: Literal["added", "retry", "known", "refused", "closed", "changed", "expunged", "kept", "corrected"]
    request_id: str
    status: int = 0x0000
    comment: str = ""
    study_instance_uid: str = ""
    patient_id: str = ""
    issuer: str = ""
    position: int = 0
    entries: int = 0
    standing: int = 0


class Stale(NamedTuple):
    """Nothing was kept: the registry, or where entries stand, has changed since. Catch up to `registry_position`, decide again."""

    registry_position: int


class EntriesKnown(NamedTuple):
    """Nothing was kept: these entries of the request are stored already. Decide on that, and submit it with them as `judged`."""

    under: tuple[KnownEntry, ...]


class Failed(NamedTuple):
    """Nothing was kept."""

    error: StoreError


Result = Stored | Stale | EntriesKnown | Failed
Draft = RequestRecord | RegistryDraft | Delivered | ClockMeasured | Expunge | MessageRefused | CorrectionDraft


class StoredEvent(NamedTuple):
    """One position of the store.

    Attributes:
        kind: ``entry``, ``registry``, ``refusal``, ``proposal``, ``correction`` or ``expunged``.
        payload: the record's complete JSON value, as published (position and event id included).
        change: for ``registry`` and ``proposal``: the change as JSON text, else None.
    """

    position: int
    kind: str
    event_id: str
    request_id: str
    topic: str | None
    key: str
    type: str
    subject: str
    occurred: str
    recorded: str
    payload: bytes
    change: str | None


@dataclass(slots=True)
class Filter:
    """What to read: events after a position.

    Attributes:
        upto: of no larger position.
        latest: where there are more than `limit`, the last of them and not the first; in order all the same.
        study_instance_uid: of one study: what its requests, corrections and registry changes say of it.
        patient: what was stored under a (Patient ID, issuer), from one position on and before another; None: under any.
        patient_keys: partition keys of that patient's registry changes.
        calling_ae: of the requests of one device.
        kinds: of one of these kinds; `entry_kind`: entries of one kind, alone.
        since, until: occurred in this time, microseconds since the epoch, UTC; its end not included.
    """

    after: int = 0
    limit: int = 1000
    study_instance_uid: str = ""
    kinds: Sequence[str] = field(default_factory=tuple)
    latest: bool = False
    upto: int = LAST
    patient: Sequence[tuple[str, str, int, int]] | None = None
    patient_keys: Sequence[str] = ()
    calling_ae: str = ""
    entry_kind: str = ""
    since: int = -LAST
    until: int = LAST


class RetryNote(NamedTuple):
    """A repeat that was answered with the stored answer; `position` is that of the last event of the request that it repeats."""

    position: int
    arrival: int
    calling_ae: str
    address: str
    association: str
    message_id: int
    transfer_syntax: str
    number: int


class RawKept(NamedTuple):
    """Length in bytes and SHA-256 of a request as it was received, and how many of its bytes are still there."""

    length: int
    digest: bytes
    kept: int


class RefusedMessage(NamedTuple):
    """A `MessageRefused` as it is kept; `number` is its place in the order in which they came."""

    number: int
    source: str
    peer: str
    message: str
    time: int
    why: str
    raw_length: int
    raw: bytes


class EventStore(Protocol):
    """The port. Every adapter runs tests/store/contract.py."""

    store_id: str

    def submit(self, draft: Draft) -> None:
        """Queue a draft; its `done` is called exactly once. A full queue or a closed store: `done(Failed(...))` at once."""

    def measure(self, committed: "Callable[[float, int], None]") -> None:
        """From now on tell this function the seconds and the number of drafts of each commit, on the writer's thread."""

    def head(self) -> tuple[int, int]:
        """(position of the last event, position of the last registry change); 0 where there is none."""

    def read(self, which: Filter) -> list[StoredEvent]:
        """Events in order of position; safe from any thread."""

    def changes(self, after: int, limit: int = 1000) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Registry changes after a position: (position, time in microseconds, change), in order."""

    def changes_of(self, keys: Sequence[str]) -> list[StoredEvent]:
        """Registry changes with one of these keys (as of a `RegistryRecord`), as events, in order of position."""

    def digest(self, position: int) -> bytes | None:
        """The digest of the event at a position, which covers all events before it; None where there is none."""

    def activity(self, since_us: int) -> Iterator[tuple[str, str, int, int]]:
        """Signs of life of requests that arrived since then: (Study Instance UID, place, microseconds, arrival), oldest first.

        Of each study and place the latest of each minute, and the latest arrival of one.
        """

    def clocks(self, since_us: int) -> Iterator[tuple[str, int, int]]:
        """(calling AE title, arrival, difference) in microseconds of what was `ClockMeasured` since then, oldest first."""

    def has_entries(self, study_instance_uid: str) -> bool:
        """Whether any entry stands under a study, after corrections."""

    def standing(self, positions: Sequence[int]) -> list[StandingEvent]:
        """The entries at these positions, and where they stand, in order of position; what is no entry is left out."""

    def entries(self, which: EntryFilter) -> list[int]:
        """Positions of entries by where they stand, in order."""

    def retries(self, position: int = 0, limit: int = 100, *, before: int = LAST) -> list[RetryNote]:
        """Repeats that got the stored answer, with a number below `before`, newest first: of one event's request, or (0) of all."""

    def proposals(self, limit: int = 1000, *, before: int = LAST, state: str = "") -> list[Proposal]:
        """Proposed corrections, also those by hand, of a smaller position than `before`, newest first; in one state, or all."""

    def proposals_count(self) -> int:
        """How many corrections are proposed and not settled yet."""

    def proposal(self, proposal_id: str) -> Proposal | None:
        """One proposed correction by its id or a unique prefix of it."""

    def event(self, position: int) -> StoredEvent | None:
        """The event at a position, or None."""

    def timeline(self, study_instance_uid: str, *, original: bool = False) -> list[StandingEvent]:
        """One study's entries by when they occurred, then by position: those that stand there, or that stood there first."""

    def quarantine(
        self,
        *,
        calling_ae: str = "",
        open_only: bool = False,
        reason: str = "",
        since: int = 0,
        until: int = LAST,
        limit: int = 1000,
        before: int = LAST,
    ) -> list[QuarantineItem]:
        """Quarantine items; what was refused first last comes first, however often it was repeated.

        Args:
            reason: how the last different outcome begins: its status (``C103``), or more of it (``C103 no known patient``).
            since, until: refused last in this time, microseconds since the epoch, UTC; its end not included.
            before: only those of a smaller number.
        """

    def quarantine_after(self, after: int, limit: int, **which: Any) -> list[tuple[int, str]]:
        """(number, id) of quarantine items of a larger number, in order; `which` as of `quarantine`, but for limit and before."""

    def replayed_entries(self, content: bytes) -> dict[int, int]:
        """Which entries of a refused request were replayed singly, and their positions."""

    def quarantine_item(self, item_id: str) -> QuarantineItem | None:
        """One item by its id or a unique prefix of its identity in hex."""

    def quarantine_open(self) -> dict[str, int]:
        """How many of the newest `MOST_COUNTED` quarantine items are open, by calling AE title."""

    def open_refusals(self, limit: int = 1000) -> list[OpenRefusal]:
        """Quarantine items that are open, those that were refused last first."""

    def last_arrivals(self) -> dict[str, int]:
        """When the last accepted request of each calling AE title, of the newest `MOST_COUNTED`, arrived: microseconds since the epoch.

        What was replayed is none: its device sent nothing then.
        """

    def refused_messages(self, limit: int = 100, *, before: int = LAST) -> list[RefusedMessage]:
        """Refused messages of feeds of a smaller number than `before`, newest first."""

    def refused_message(self, number: int) -> RefusedMessage | None:
        """One refused message of a feed; None where it was never there, or went for newer ones."""

    def refusing(self) -> StoreError | None:
        """Why nothing is stored at present, or None."""

    def first_broken_position(self) -> int | None:
        """Walk the whole chain of digests; the first position that does not fit (head + 1: the head row), or None."""

    def probe(self) -> None:
        """Raises StoreError when the store does not answer (readiness)."""

    def alive(self) -> bool:
        """Whether the writer turns (liveness)."""

    def disk_free(self) -> int | None:
        """Bytes free where the store lives, or None where that means nothing."""

    def full(self) -> bool:
        """Whether requests are refused for lack of disk."""

    def raw_kept(self, position: int) -> RawKept | None:
        """What is left of the request that an event belongs to, as it was received; None where the event has none."""

    def close(self) -> None:
        """Finish what is queued, deliver every result, close. Safe to call twice."""


CallSoon = Callable[[Callable[[], None]], object]
"""Calls something in the next turn of the event loop that submits drafts, or at once where there is none; from any thread."""


def at_once(call: Callable[[], None]) -> None:
    """A `CallSoon` that does not wait: results reach their owners on the writer's thread."""
    call()
