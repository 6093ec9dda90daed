"""Drafts for tests of the store: small, numbered, and told apart by what a test says about them."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from plscp.store.corrections import CorrectionDraft, EventMove, Standing
from plscp.store.port import (
    Accepted,
    ClockMeasured,
    Delivered,
    Draft,
    EntriesKnown,
    EntryDraft,
    EventStore,
    RegistryDraft,
    RegistryRecord,
    Rejected,
    RequestRecord,
    Result,
    Stored,
)

STUDY = "1.2.3"
NOW = 1_795_000_000_000_000
_numbers = count(1)


def digest(*parts: object) -> bytes:
    """32 bytes that stand for these parts."""
    return hashlib.sha256(repr(parts).encode()).digest()


def ignore(_: Result) -> None:
    """For drafts that go through `send`, which waits for itself."""


def entry(
    content: str = "x",
    *,
    index: int = 0,
    uid: str = "",
    near_duplicate_key: str = "",
    data: bytes = b"",
    dated: str = "",
) -> EntryDraft:
    """An entry; without a near_duplicate_key of its own, entries are alike when their contents are equal."""
    return EntryDraft(
        index=index,
        type="org.plscp.procedure-log.entry.v1",
        occurred=f"2026-11-22T10:00:{index:02d}.000Z",
        observation_uid=uid,
        content=digest("content", content),
        near_duplicate_key=digest("near_duplicate_key", near_duplicate_key or content),
        data=data or b'"entry":{"text":"%s"}' % content.encode(),
        dated=dated,
    )


def accepted(study: str = STUDY, status: int = 0, comment: str = "", *, place: str = "", at: int = 0) -> Accepted:
    """A decision to log; a sign of life at a place."""
    context = b'"study":{"study_instance_uid":"%s"},"sender":{"ae_title":"HEMO1"}' % study.encode()
    return Accepted(status, "procedure-log", study, study, "P-" + study, "HOSP", context, comment, place, at)


def administered(patient: str = "P1") -> Accepted:
    """A decision to log an administration."""
    return Accepted(0, "medication-administration", f"HOSP|{patient}", "", patient, "HOSP", b'"patient":{}')


def rejected(
    status: int = 0xC103, outcome: str = "", *, content: bool = False, proposal: RegistryRecord | None = None
) -> Rejected:
    """A decision to refuse."""
    outcome = outcome or f"{status:04X} no study"
    return Rejected(status, outcome, b'"status":"%04X","findings":[]' % status, outcome, content, proposal)


def request(
    entries: Sequence[EntryDraft] = (),
    decision: Accepted | Rejected | None = None,
    *,
    identity: object = None,
    ae: str = "HEMO1",
    at: int = 1 << 40,
    arrival: int = NOW,
    raw: bytes = b"raw",
    **more: Any,
) -> RequestRecord:
    """A request; its identity is that of its sender and entries unless one is given."""
    number = next(_numbers)
    entries = list(entries) or [entry(f"content {number}")]
    if identity is None:
        identity = (ae, [(e.observation_uid, e.content, e.near_duplicate_key) for e in entries])
    return RequestRecord(
        request_id=f"{number:032x}",
        identity=digest("identity", identity),
        sop_class="1.2.840.10008.1.40",
        calling_ae=ae,
        address="127.0.0.1",
        association="a1",
        message_id=number % 65536,
        transfer_syntax="1.2.840.10008.1.2.1",
        arrival=arrival,
        raw=raw,
        entries=entries,
        decision=decision or accepted(),
        registry_position=at,
        done=ignore,
        dated=entries[0].dated,
        **more,
    )


def change(
    *whats: str,
    at: int = 1 << 40,
    study: str = STUDY,
    published: bool = True,
    time: int = NOW,
    without_entries: str = "",
) -> RegistryDraft:
    """Registry changes about a study."""
    records = [
        RegistryRecord(
            {"what": what, "study_instance_uid": study},
            "study" if published else None,
            study,
            "org.plscp.study.opened.v1",
            study,
            without_entries,
        )
        for what in whats
    ]
    return RegistryDraft(records, at, time, "http", ignore)


def proposal(name: str, **members: Any) -> RegistryRecord:
    """A proposed correction with this id."""
    change = {"what": "proposal.move", **members}
    return RegistryRecord.proposal(change, STUDY, name)


def move(store: EventStore, position: int, study: str) -> EventMove:
    """An entry that is moved to another study, from where it stands."""
    [found] = store.standing([position])
    was = found.at
    now = Standing(position, 0, study, "P-" + study, "HOSP")
    withdrawn, assigned = b'"withdrawn":%d' % position, b'"assigned":%d' % position
    key = was.study_instance_uid
    return EventMove(was, now, "procedure-log", key, study, found.entry.occurred, withdrawn, assigned)


def correction(
    name: str,
    *moves: EventMove,
    at: int = 1 << 40,
    state: Any = "confirmed",
    known: bool = False,
    reverts: str = "",
    proposed: Sequence[int] = (),
) -> CorrectionDraft:
    """A correction with this id: of a proposal that is `known`; else of one that takes back another or is made by hand."""
    made = None
    if not known and (reverts or proposed):
        made = proposal(name, positions=list(proposed))
    elif not known:
        made = proposal(name)
    return CorrectionDraft(name, state, moves, at, NOW, "http", "me", "so it is", ignore, made, reverts)


def again(draft: RequestRecord, **differently: Any) -> RequestRecord:
    """The same content, sent once more as a request of its own."""
    copy = request(draft.entries, draft.decision, ae=draft.calling_ae, raw=draft.raw)
    copy.identity = draft.identity
    for name, value in differently.items():
        setattr(copy, name, value)
    return copy


def send(store: EventStore, *drafts: Draft) -> list[Result]:
    """Submit drafts together and wait for their results, in order; at most 20 s."""
    results: dict[int, Result] = {}
    everything = threading.Event()
    wanted = [draft for draft in drafts if not isinstance(draft, Delivered | ClockMeasured)]

    def collect(index: int) -> Callable[[Result], None]:
        def done(result: Result) -> None:
            assert index not in results, "delivered twice"
            results[index] = result
            if len(results) == len(wanted):
                everything.set()

        return done

    for index, draft in enumerate(wanted):
        draft.done = collect(index)
    for each in drafts:
        store.submit(each)
    assert not wanted or everything.wait(60), "no result"
    return [results[index] for index in range(len(wanted))]


def judged(store: EventStore, *drafts: Draft) -> list[Result]:
    """As `send`; drafts with known entries are submitted once more, one by one, as judged on exactly these."""
    results = send(store, *drafts)
    wanted = [draft for draft in drafts if not isinstance(draft, Delivered | ClockMeasured)]
    for index, (draft, result) in enumerate(zip(wanted, results, strict=True)):
        if isinstance(result, EntriesKnown):
            assert isinstance(draft, RequestRecord)
            draft.judged = result.under
            (results[index],) = send(store, draft)
    return results


def stored(store: EventStore, draft: Draft) -> Stored:
    """Submit one draft and expect it to be stored; one with known entries as judged on them."""
    (result,) = judged(store, draft)
    assert isinstance(result, Stored), result
    return result
