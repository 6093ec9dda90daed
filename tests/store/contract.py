"""What every event store does, whatever it is made of: run by each adapter's own test module."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from plscp.errors import StoreBusy, StoreUnavailable
from plscp.records.parts import PublishedFinding
from plscp.store.corrections import EntryFilter, Proposal, Standing
from plscp.store.ledger import MESSAGES_KEPT, MESSAGES_KEPT_BYTES
from plscp.store.limits import StoreLimits
from plscp.store.port import (
    CLOCKS_KEPT_US,
    LAST,
    MOST_MESSAGE_BYTES,
    ClockMeasured,
    Delivered,
    EntriesKnown,
    EntryDraft,
    EventStore,
    Failed,
    Filter,
    KnownEntry,
    MessageRefused,
    RefusedMessage,
    RegistryDraft,
    RegistryRecord,
    Result,
    RetryNote,
    Stale,
    Stored,
    StoredEvent,
)
from tests.serving import until
from tests.store.drafts import (
    NOW,
    STUDY,
    accepted,
    administered,
    again,
    change,
    correction,
    digest,
    entry,
    ignore,
    judged,
    move,
    proposal,
    rejected,
    request,
    send,
    stored,
)

Open = Callable[..., EventStore]
MINUTE = 60_000_000


def payloads(store: EventStore, *kinds: str) -> list[dict[str, Any]]:
    """The JSON values of all events of these kinds."""
    return [json.loads(event.payload) for event in store.read(Filter(kinds=kinds, limit=-1))]


def added(store: EventStore) -> int:
    """How many entries there are."""
    return len(store.read(Filter(kinds=("entry",), limit=-1)))


# Contract section 1, the table of identity. Each row: what was sent before (with `D`: its answer is known to have arrived),
# what is sent now, and what becomes of it: (outcome, entries added, same_content_as of the first added, codes of the
# writer's findings on each added entry).
A = (entry("a"),)
A_UID = (entry("a", uid="1.1"),)
IDENTITY: dict[
    str, tuple[list[tuple[Sequence[EntryDraft], str]], Sequence[EntryDraft], str, int, bool, list[list[str]]]
] = {
    "new content": ([], [entry("n")], "added", 1, False, [[]]),
    "same content, no answer known to have arrived": ([(A, "")], A, "retry", 0, False, []),
    "same content, an answer known to have arrived": ([(A, "D")], A, "added", 1, True, [[]]),
    "same content twice before, only the first's answer arrived": ([(A, "D"), (A, "")], A, "retry", 0, False, []),
    "same content twice before, both answers arrived": ([(A, "D"), (A, "D")], A, "added", 1, True, [[]]),
    "Observation UID known, same content, no answer arrived": ([(A_UID, "")], A_UID, "retry", 0, False, []),
    "Observation UID known, same content, answer arrived": ([(A_UID, "D")], A_UID, "known", 0, False, []),
    "Observation UID known, same content, in another request": (
        [([entry("a", uid="1.1"), entry("b", uid="1.2", index=1)], "")],
        A_UID,
        "known",
        0,
        False,
        [],
    ),
    "Observation UID known beside a new entry": (
        [(A_UID, "")],
        [entry("a", uid="1.1"), entry("b", uid="1.2", index=1)],
        "added",
        1,
        False,
        [[]],
    ),
    "Observation UID known with different content": (
        [(A_UID, "")],
        [entry("other", uid="1.1")],
        "added",
        1,
        False,
        [["observation-seen-before"]],
    ),
    "Observation UID with the second of two contents": (
        [(A_UID, ""), ([entry("other", uid="1.1")], "")],
        [entry("other", uid="1.1"), entry("c", index=1)],
        "added",
        1,
        False,
        [[]],
    ),
    "an equal entry in a cumulative log": (
        [(A, "")],
        [entry("a"), entry("b", index=1)],
        "added",
        2,
        False,
        [["probable-repeat"], []],
    ),
    "an entry that is only alike": (
        [([entry("a", near_duplicate_key="L")], "")],
        [entry("b", near_duplicate_key="L")],
        "added",
        1,
        False,
        [["probable-repeat"]],
    ),
    "an equal entry that has an Observation UID now": (
        [(A, "")],
        [entry("a", uid="1.9")],
        "added",
        1,
        False,
        [[]],
    ),
    "an equal entry that had an Observation UID": (
        [(A_UID, "")],
        [entry("a"), entry("b", index=1)],
        "added",
        2,
        False,
        [["probable-repeat"], []],
    ),
    "equal contents and a cumulative log before": (
        [(A, "D"), ([entry("a"), entry("b", index=1)], "D")],
        A,
        "added",
        1,
        True,
        [["probable-repeat"]],
    ),
    "the same Observation UID and content twice in one request": (
        [],
        [entry("a", uid="1.1"), entry("a", uid="1.1", index=1)],
        "added",
        1,
        False,
        [[]],
    ),
    "the same Observation UID with two contents in one request": (
        [],
        [entry("a", uid="1.1"), entry("b", uid="1.1", index=1)],
        "added",
        2,
        False,
        [[], ["observation-seen-before"]],
    ),
    "two alike in one request": (
        [],
        [entry("a", near_duplicate_key="L"), entry("b", near_duplicate_key="L", index=1)],
        "added",
        2,
        False,
        [[], ["probable-repeat"]],
    ),
}


class EventStoreContract:
    """Subclass it beside a fixture `open_one` that opens a store with the keyword arguments of `SqliteStore`."""

    @pytest.fixture
    def store(self, open_one: Open) -> EventStore:
        """A new, empty store."""
        return open_one()

    def test_an_empty_store_has_nothing(self, store: EventStore) -> None:
        """Nothing is read from an empty store, and its chain is whole."""
        assert store.head() == (0, 0)
        assert store.read(Filter()) == []
        assert store.event(1) is None
        assert store.event(0) is None
        assert list(store.changes(0)) == []
        assert store.quarantine() == []
        assert store.first_broken_position() is None
        assert len(store.store_id) == 36

    # --- identity ---

    @pytest.mark.parametrize("how", ["one-by-one", "in-one-batch", "restarted", "indexed", "indexed-and-restarted"])
    @pytest.mark.parametrize("row", IDENTITY)
    def test_identity(self, open_one: Open, row: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each row of the table of identity, across transactions and within one, and with a restart after each request.

        What is found again is in memory, or was written to the index at once.
        """
        if "indexed" in how:
            monkeypatch.setattr("plscp.store.index.MOST_ROWS", 1)
        store = open_one()
        before, now, outcome, count, linked, findings = IDENTITY[row]
        firsts = []
        drafts: list[Any] = []
        for entries, delivered in before:
            draft = request(entries)
            firsts.append(draft)
            drafts.append(draft)
            if delivered:
                drafts.append(Delivered([draft.request_id]))
        last = request(now)
        if how == "in-one-batch":
            *_, result = judged(store, *drafts, last)
        else:
            for draft in drafts:
                judged(store, draft)
                if "restarted" in how:
                    store.close()
                    store = self.opened_again(store, open_one)
            (result,) = judged(store, last)
        assert isinstance(result, Stored)
        assert (result.outcome, result.entries) == (outcome, count)
        mine = [p for p in payloads(store, "entry") if p["request_id"] == last.request_id]
        assert [[f["code"] for f in p["findings"]] for p in mine] == findings
        assert all((p["same_content_as"] is not None) == linked for p in mine)
        if linked:
            assert mine[0]["same_content_as"] == f"{firsts[0].request_id}-0"
        assert store.first_broken_position() is None

    @pytest.mark.parametrize("code", ["observation-seen-before", "probable-repeat"])
    def test_findings_name_positions(self, store: EventStore, code: str) -> None:
        """A different content names both positions, a probable repeat the other one."""
        uid = "1.1" if code == "observation-seen-before" else ""
        first = stored(store, request([entry("a", uid=uid, near_duplicate_key="L")]))
        second = stored(store, request([entry("b", uid=uid, near_duplicate_key="L")]))
        (finding,) = payloads(store)[-1]["findings"]
        expected = [first.position, second.position] if uid else [first.position]
        assert (finding["code"], finding["positions"]) == (code, expected)
        assert finding["reason"].isascii()

    def test_the_writers_findings_follow_the_drafts_own(self, store: EventStore) -> None:
        """Findings that came with the entry stay, before the writer's."""
        stored(store, request([entry("a", near_duplicate_key="L")]))
        late = entry("b", near_duplicate_key="L")
        late.findings = [PublishedFinding(code="study-not-started", reason="x")]
        stored(store, request([late]))
        assert [f["code"] for f in payloads(store)[-1]["findings"]] == ["study-not-started", "probable-repeat"]

    @pytest.mark.parametrize("uid", ["", "1.1"])
    def test_other_devices_entries_are_not_looked_at(self, store: EventStore, uid: str) -> None:
        """Observation UID and near_duplicate_key count within one calling AE title only."""
        stored(store, request([entry("a", uid=uid)], ae="HEMO1"))
        assert stored(store, request([entry("a", uid=uid)], ae="XRAY1")).outcome == "added"
        assert payloads(store)[-1]["findings"] == []

    def test_a_retry_gets_the_stored_answer(self, store: EventStore) -> None:
        """The stored status, comment, study and patient, whatever the decision would be now, and nothing is added."""
        draft = request([entry("a")], accepted("9.9", 0xB102, "another study"))
        first = stored(store, draft)
        for decision in (accepted("1.1"), rejected(), rejected(0xC102, content=True)):
            result = stored(store, again(draft, decision=decision, registry_position=0))
            assert result == first._replace(outcome="retry", entries=0)
        assert store.head()[0] == 1

    def test_a_lost_race_gets_the_winners_answer(self, store: EventStore) -> None:
        """Two equal requests in one batch: the second is a retry of the first."""
        draft = request([entry("a")], accepted("9.9", 0xB104, "w"))
        first, second = send(store, draft, again(draft, decision=accepted("7.7")))
        assert isinstance(first, Stored)
        assert second == first._replace(outcome="retry", entries=0)

    def test_delivery_of_a_retrys_answer_counts(self, store: EventStore) -> None:
        """The receipt of a retry is that of the stored request: once it arrived, the next one is an event of its own."""
        draft = request([entry("a")])
        stored(store, draft)
        retry = stored(store, again(draft))
        store.submit(Delivered([retry.request_id]))
        assert stored(store, again(draft)).outcome == "added"

    def test_delivery_of_a_known_answer_says_nothing_about_other_requests(self, store: EventStore) -> None:
        """`known` has a receipt of its own: the request that brought the entry may still be retried."""
        draft = request([entry("a", uid="1.1"), entry("b", index=1)])
        stored(store, draft)
        known = stored(store, request([entry("a", uid="1.1")]))
        assert known.outcome == "known"
        store.submit(Delivered([known.request_id]))
        assert stored(store, again(draft)).outcome == "retry"

    # --- corrections ---

    def test_a_correction_is_two_events_for_each_entry(self, store: EventStore) -> None:
        """Withdrawn under the old key, then assigned under the new one; the entry's own event stays as it was."""
        first = stored(store, request([entry("a"), entry("b", index=1)], accepted("1.1")))
        before = store.read(Filter(limit=-1))
        draft = correction("ab12", move(store, 1, "2.2"), move(store, 2, "2.2"))
        assert send(store, draft) == [Stored("corrected", "ab12", position=7, entries=2)]
        assert store.read(Filter(limit=-1))[:2] == before
        moved = store.read(Filter(after=3))
        assert [(e.position, e.kind, e.topic, e.key, e.type.split(".")[-2], e.event_id) for e in moved] == [
            (4, "correction", "procedure-log", "1.1", "withdrawn", "ab12-0"),
            (5, "correction", "procedure-log", "2.2", "assigned", "ab12-1"),
            (6, "correction", "procedure-log", "1.1", "withdrawn", "ab12-2"),
            (7, "correction", "procedure-log", "2.2", "assigned", "ab12-3"),
        ]
        assert [(e.subject, e.occurred) for e in moved[:2]] == [
            ("1.1", before[0].occurred),
            ("2.2", before[0].occurred),
        ]
        whole = {"type": moved[1].type, "event_id": "ab12-1", "position": 5, "assigned": 1}
        assert json.loads(moved[1].payload) == {**whole, "recorded": moved[1].recorded}
        assert [one.at for one in store.standing([1, 2, 3])] == [
            Standing(1, 5, "2.2", "P-2.2", "HOSP", "ab12"),
            Standing(2, 7, "2.2", "P-2.2", "HOSP", "ab12"),
        ]
        assert first.position == 2
        assert store.first_broken_position() is None

    def test_everything_asks_where_an_entry_stands_now(self, store: EventStore) -> None:
        """The answer of a retry, known entries, the timeline, whether a study has entries; also in the same transaction."""
        draft = request([entry("a", uid="1.1"), entry("b", uid="1.2", index=1)], accepted("1.1"))
        stored(store, draft)
        known = request([entry("a", uid="1.1")], accepted("1.1"), identity="x")
        corrected, retried, told = send(store, correction("ab12", move(store, 1, "2.2")), again(draft), known)
        assert isinstance(corrected, Stored)
        under = KnownEntry(0, 1, "2.2", "P-2.2", "HOSP", accepted("1.1").context, 5)
        assert told == EntriesKnown((under,))
        for result in (retried, stored(store, again(draft))):
            assert isinstance(result, Stored)
            assert (result.outcome, result[4:7], result.standing) == ("retry", ("2.2", "P-2.2", "HOSP"), 5)
        result = stored(store, known)
        assert (result.outcome, result[4:7], result.position, result.standing) == ("known", under[2:5], 1, 5)
        assert [store.has_entries(study) for study in ("1.1", "2.2", "3.3")] == [True, True, False]
        stored(store, correction("cd34", move(store, 2, "3.3")))
        assert [store.has_entries(study) for study in ("1.1", "2.2", "3.3")] == [False, True, True]
        assert [one.last.position for one in store.timeline("2.2")] == [5]
        assert [(one.entry.position, one.last.position) for one in store.timeline("3.3")] == [(2, 8)]
        assert store.timeline("1.1") == []
        assert [one.entry.position for one in store.timeline("1.1", original=True)] == [1, 2]
        assert [e.position for e in store.read(Filter(study_instance_uid="1.1"))] == [1, 2, 4, 7]
        assert [e.position for e in store.read(Filter(study_instance_uid="3.3"))] == [8]
        (back,) = send(store, change("study.opened", study="1.1", without_entries="1.1"))
        assert isinstance(back, Stored)

    @pytest.mark.parametrize("together", [True, False])
    def test_what_was_decided_on_another_standing_is_stale(self, store: EventStore, *, together: bool) -> None:
        """Of two corrections of one entry the second is decided again, on where the first has put it; nothing of it is kept."""
        stored(store, request([entry("a"), entry("b", index=1)], accepted("1.1")))
        first = correction("ab12", move(store, 1, "2.2"))
        second = correction("cd34", move(store, 2, "3.3"), move(store, 1, "3.3"))
        results = send(store, first, second) if together else [*send(store, first), *send(store, second)]
        assert [type(result) for result in results] == [Stored, Stale]
        assert store.head()[0] == 5
        assert [one.id for one in store.proposals()] == ["ab12"]
        stored(store, correction("cd34", move(store, 1, "3.3")))
        assert store.standing([1])[0].at == Standing(1, 8, "3.3", "P-3.3", "HOSP", "cd34")

    def test_a_correction_made_on_an_older_registry_is_stale(self, store: EventStore) -> None:
        """A merge that was acknowledged is seen by it."""
        stored(store, request([entry("a")], accepted("1.1")))
        draft = correction("ab12", move(store, 1, "2.2"), at=0)
        assert [type(result) for result in send(store, change("study.opened"), draft)] == [Stored, Stale]

    def test_what_becomes_of_proposals(self, store: EventStore) -> None:
        """Confirmed, rejected, reverted; superseded where another moves one of its entries; each settled once, by whom and why."""
        stored(store, request([entry(text, index=n) for n, text in enumerate("abc")], accepted("1.1")))
        for name, positions in (("aa", [1]), ("bb", [2]), ("cc", [1, 2]), ("dd", [3])):
            stored(store, request(decision=rejected(proposal=proposal(name, positions=positions))))
        assert store.proposals_count() == 4
        for name, state, moves in (
            ("aa", "confirmed", [move(store, 1, "2.2")]),
            ("bb", "rejected", []),
            ("ee", "confirmed", []),
        ):
            (result,) = send(store, correction(name, *moves, state=state, known=True))
            assert isinstance(result, Stored) == (name != "ee")
            assert [type(r) for r in send(store, correction(name, *moves, state=state, known=True))] == [Stale]
        back = correction("ff", move(store, 1, "1.1"), reverts="aa", proposed=[1])
        assert isinstance(send(store, back)[0], Stored)
        (twice,) = send(store, correction("gg", move(store, 1, "1.1"), reverts="aa"))
        assert isinstance(twice, Stale)
        found = {one.id: one for one in store.proposals()}
        assert {name: one.state for name, one in found.items()} == {
            "aa": "reverted", "bb": "rejected", "cc": "superseded", "dd": "proposed", "ff": "confirmed"
        }  # fmt: skip
        assert found["aa"][6:] == (12, 13, "", "me", "so it is")
        assert found["bb"][6:] == (0, 14, "", "me", "so it is")
        assert (found["ff"].position, found["ff"].moved, found["ff"].settled, found["ff"].reverts) == (15, 16, 17, "aa")
        assert [one.id for one in store.proposals(state="proposed")] == ["dd"]
        assert store.proposals_count() == 1
        event = store.event(14)
        assert event is not None
        assert (event.kind, event.topic, event.change) == (
            "proposal", None, '{"what":"proposal.rejected","id":"bb","who":"me","why":"so it is"}'
        )  # fmt: skip
        assert store.standing([1])[0].at == Standing(1, 17, "1.1", "P-1.1", "HOSP", "ff")
        assert [one.entry.position for one in store.timeline("1.1")] == [1, 2, 3]
        assert store.first_broken_position() is None

    def test_entries_are_chosen_by_where_they_stand(self, store: EventStore) -> None:
        """By study or by patient, of one device, by when they occurred; what was moved counts where it is."""
        stored(store, request([entry("a"), entry("b", index=30)], accepted("1.1")))
        stored(store, request([entry("c", index=10)], accepted("1.1"), ae="OTHER"))
        stored(store, request(decision=administered("P-1.1")))
        stored(store, request([entry("d", index=20)], accepted("2.2")))
        stored(store, correction("ab12", move(store, 2, "2.2")))
        moment = "2026-11-22T10:00:{}.000Z"
        rows: list[tuple[EntryFilter, list[int]]] = [
            (EntryFilter("1.1"), [1, 3]),
            (EntryFilter("2.2"), [2, 5]),
            (EntryFilter("2.2", limit=1), [2]),
            (EntryFilter("1.1", calling_ae="OTHER"), [3]),
            (EntryFilter("1.1", since=moment.format("01")), [3]),
            (EntryFilter("1.1", until=moment.format("09")), [1]),
            (EntryFilter(patient_ids=[("P-1.1", "HOSP")]), [1, 3, 4]),
            (EntryFilter(patient_ids=[("P-1.1", "HOSP"), ("P-2.2", "HOSP")]), [1, 2, 3, 4, 5]),
            (EntryFilter(patient_ids=[("P-1.1", "")]), []),
        ]
        for which, positions in rows:
            assert store.entries(which) == positions, which

    # --- known entries ---

    def test_known_entries_are_told_before_anything_is_kept(self, store: EventStore) -> None:
        """Which entries, where they are stored and under what; also of requests that would be refused, or are stale."""
        stored(store, request([entry("a", uid="1.1"), entry("b", uid="1.2", index=1)], accepted("1.1")))
        stored(store, request([entry("c", uid="1.3")], accepted("2.2")))
        mixed = [entry("c", uid="1.3"), entry("new", index=1), entry("b", uid="1.2", index=2)]
        expected = (
            KnownEntry(0, 3, "2.2", "P-2.2", "HOSP", accepted("2.2").context),
            KnownEntry(2, 2, "1.1", "P-1.1", "HOSP", accepted("1.1").context),
        )
        for decision, at in ((accepted(), 1 << 40), (rejected(), 1 << 40), (accepted(), -1)):
            assert send(store, request(mixed, decision, identity="x", at=at)) == [EntriesKnown(expected)]
        assert (store.head()[0], store.quarantine()) == (3, [])

    def test_known_entries_of_the_same_batch_are_told(self, store: EventStore) -> None:
        """A race within one transaction: the second of two requests learns where the first has put their entry."""
        first, second = send(
            store,
            request([entry("a", uid="1.1"), entry("b", uid="1.2", index=1)], accepted("1.1")),
            request([entry("b", uid="1.2")], accepted("2.2")),
        )
        assert isinstance(first, Stored)
        assert second == EntriesKnown((KnownEntry(0, 2, "1.1", "P-1.1", "HOSP", accepted("1.1").context),))
        assert added(store) == 2

    def test_a_judgement_counts_for_exactly_the_entries_it_was_made_on(self, store: EventStore) -> None:
        """An entry that came in meanwhile makes it be judged once more."""
        stored(store, request([entry("a", uid="1.1")], accepted("1.1")))
        draft = request([entry("a", uid="1.1"), entry("b", uid="1.2", index=1), entry("c", index=2)], identity="x")
        (told,) = send(store, draft)
        assert isinstance(told, EntriesKnown)
        stored(store, request([entry("b", uid="1.2")], accepted("2.2")))
        draft.judged = told.under
        (told,) = send(store, draft)
        assert isinstance(told, EntriesKnown)
        assert [(known.entry, known.study_instance_uid) for known in told.under] == [(0, "1.1"), (1, "2.2")]
        draft.judged = told.under
        assert stored(store, draft).entries == 1

    def test_what_was_judged_is_stale_after_a_registry_change(self, store: EventStore) -> None:
        """Under which patient known entries stand now depends on the registry: also where nothing is to be added."""
        stored(store, request([entry("a", uid="1.1")]))
        draft = request([entry("a", uid="1.1")], identity="x", at=0)
        (told,) = send(store, draft)
        assert isinstance(told, EntriesKnown)
        changed = stored(store, change("patient.merged"))
        draft.judged = told.under
        assert send(store, draft) == [Stale(changed.position)]

    def test_all_known_names_the_first_entrys_study(self, store: EventStore) -> None:
        """Every entry known and no contradiction: 0000, nothing added, study and patient of the first entry's request."""
        stored(store, request([entry("a", uid="1.1")], accepted("1.1")))
        stored(store, request([entry("b", uid="1.2")], accepted("2.2")))
        both = [entry("b", uid="1.2"), entry("a", uid="1.1", index=1)]
        result = stored(store, request(both, accepted("3.3", 0xB102, "x"), identity="x"))
        assert result[:1] + result[2:8] == ("known", 0, "", "2.2", "P-2.2", "HOSP", 2)
        assert added(store) == 2
        assert store.quarantine() == []

    def test_known_entries_that_contradict_are_refused(self, store: EventStore) -> None:
        """Judged on them and refused: in quarantine, nothing is added, with all entries known or some."""
        stored(store, request([entry("a", uid="1.1")], accepted("1.1")))
        for entries in ([entry("a", uid="1.1")], [entry("a", uid="1.1"), entry("b", index=1)]):
            draft = request(entries, rejected(0xC104), identity=len(entries))
            assert stored(store, draft)[:1] == ("refused",)
        assert added(store) == 1
        assert len(store.quarantine(open_only=True)) == 2

    # --- proposed corrections ---

    def test_a_proposal_is_kept_beside_its_refusal(self, store: EventStore) -> None:
        """It has a position and no topic, does not move the registry, and is no registry change."""
        stored(store, change("study.opened"))
        decision = rejected(0xC104, proposal=proposal("ab12", positions=[7]))
        draft = request([entry("x")], decision, arrival=NOW + 3)
        assert stored(store, draft)[:8] == ("refused", draft.request_id, 0xC104, decision.comment, "", "", "", 2)
        assert store.head() == (3, 1)
        event = store.read(Filter(kinds=("proposal",)))[0]
        assert (event.position, event.topic, event.event_id) == (3, None, f"{draft.request_id}-p")
        assert json.loads(event.change or "") == {"what": "proposal.move", "positions": [7]}
        assert [position for position, _, _ in store.changes(0)] == [1]
        [found] = store.proposals()
        assert found == Proposal("ab12", 3, NOW + 3, "server", {"what": "proposal.move", "positions": [7]})
        assert store.first_broken_position() is None

    def test_the_same_proposal_is_kept_once(self, store: EventStore) -> None:
        """By its id: from another request, in the same transaction and from a registry draft too."""
        decision = rejected(0xC104, proposal=proposal("ab12"))
        drafts = [request([entry(text)], decision) for text in "abc"]
        send(store, *drafts[:2])
        stored(store, drafts[2])
        stored(store, change("study.opened"))
        more = change("study.updated", "study.updated")
        more.records = [proposal("ab12"), *more.records, proposal("cd34"), proposal("cd34")]
        stored(store, more)
        assert [(found.id, found.position) for found in store.proposals()] == [("cd34", 8), ("ab12", 2)]
        assert [found.id for found in store.proposals(limit=1)] == ["cd34"]
        assert [found.id for found in store.proposals(before=8)] == ["ab12"]
        assert store.proposals_count() == 2
        assert store.head() == (8, 7)
        assert store.first_broken_position() is None

    def test_a_draft_of_nothing_but_known_proposals_changes_nothing(self, store: EventStore) -> None:
        """There is nothing to write, and that is no failure."""
        for _ in range(2):
            draft = change()
            draft.records = [proposal("ab12")]
            assert stored(store, draft)[:1] == ("changed",)
        assert store.head() == (1, 0)

    def test_proposals_are_found_by_prefix(self, store: EventStore) -> None:
        """A unique beginning of the id finds it; an ambiguous, unknown or empty one does not."""
        draft = change()
        draft.records = [proposal("ab12"), proposal("ab34"), proposal("cd%_")]
        stored(store, draft)
        table = {"ab1": "ab12", "AB3": "ab34", "ab": None, "": None, "ff": None, "c": "cd%_", "%": None, "ab_": None}
        for prefix, name in table.items():
            found = store.proposal(prefix)
            assert (found and found.id) == name, prefix

    # --- a change that needs a study without entries ---

    def test_a_change_that_needs_a_study_without_entries_is_stale_once_one_stands_there(
        self, store: EventStore
    ) -> None:
        """Entries of the same transaction count, those of other studies and refusals do not."""
        stored(store, request(decision=accepted("9.9")))
        stored(store, request(decision=rejected()))
        assert not store.has_entries(STUDY)
        assert stored(store, change("study.updated", without_entries=STUDY)).outcome == "changed"
        _, result = send(store, request(), change("study.updated", without_entries=STUDY))
        assert result == Stale(3)
        assert send(store, change("study.updated", "study.updated", without_entries=STUDY)) == [Stale(3)]
        assert store.has_entries(STUDY)
        assert store.has_entries("9.9")
        assert not store.has_entries("")
        stored(store, request(decision=administered()))
        assert not store.has_entries("")
        assert stored(store, change("study.updated")).position == 6

    def test_content_that_is_refused_is_not_looked_up(self, store: EventStore) -> None:
        """A refusal of steps 5 to 7 stands although its entries are known, and on whatever registry."""
        stored(store, request([entry("a", uid="1.1")]))
        stored(store, change("study.opened"))
        late = request([entry("a", uid="1.1")], rejected(0xC102, content=True), identity="other", at=0)
        assert stored(store, late).outcome == "refused"

    # --- the registry's position ---

    @pytest.mark.parametrize("decision", [accepted(), rejected()], ids=["accepted", "rejected"])
    def test_decisions_on_an_older_registry_are_stale(self, store: EventStore, decision: Any) -> None:
        """Nothing is kept of a decision that a later registry change may have made wrong."""
        first = stored(store, change("study.opened"))
        (result,) = send(store, request(decision=decision, at=first.position - 1))
        assert result == Stale(first.position)
        assert store.head() == (1, 1)
        assert store.quarantine() == []
        assert stored(store, request(decision=decision, at=first.position)).outcome in {"added", "refused"}

    def test_a_registry_change_in_the_same_batch_makes_stale(self, store: EventStore) -> None:
        """The comparison counts what the same transaction has just appended."""
        _, result, second = send(store, change("study.opened", at=0), request(at=0), change("study.closed", at=0))
        assert (result, second) == (Stale(1), Stale(1))

    def test_entries_do_not_make_stale(self, store: EventStore) -> None:
        """Only registry changes move the registry's position."""
        stored(store, request(at=0))
        assert stored(store, request(at=0)).outcome == "added"
        assert store.head() == (2, 0)

    def test_registry_changes(self, store: EventStore) -> None:
        """Changes stand together, carry their source, and are read back as they were handed in."""
        result = stored(store, change("study.opened", "study.updated", time=NOW + 7))
        assert (result.outcome, result.position, store.head()) == ("changed", 2, (2, 2))
        opened, updated = payloads(store, "registry")
        assert opened["event_id"] == f"{result.request_id}-0"
        assert (updated["source"], updated["position"]) == ("http", 2)
        assert updated["change"] == {"what": "study.updated", "study_instance_uid": STUDY}
        assert list(store.changes(0)) == [(1, NOW + 7, opened["change"]), (2, NOW + 7, updated["change"])]
        assert [position for position, _, _ in store.changes(1)] == [2]
        assert [position for position, _, _ in store.changes(0, limit=1)] == [1]
        assert json.loads(store.read(Filter())[0].change or "") == opened["change"]

    def test_changes_that_are_not_published_have_no_topic(self, store: EventStore) -> None:
        """Admissions and the like have a position and no topic."""
        stored(store, change("admission.changed", published=False))
        assert store.read(Filter())[0].topic is None

    # --- what is published ---

    def test_the_value_of_an_entry(self, store: EventStore) -> None:
        """Envelope, shared context and the entry's own members make one JSON object."""
        draft = request([entry("a"), entry("b", index=1)])
        stored(store, draft)
        value = payloads(store)[1]
        assert value.pop("recorded").endswith("Z")
        assert value == {
            "type": "org.plscp.procedure-log.entry.v1",
            "event_id": f"{draft.request_id}-1",
            "request_id": draft.request_id,
            "entry_index": 1,
            "entry_count": 2,
            "position": 2,
            "same_content_as": None,
            "findings": [],
            "study": {"study_instance_uid": STUDY},
            "sender": {"ae_title": "HEMO1"},
            "entry": {"text": "b"},
        }

    def test_the_record_around_an_entry(self, store: EventStore) -> None:
        """Key, topic, type and times are those of the decision and the entry."""
        draft = request([entry("a", index=3)])
        stored(store, draft)
        (event,) = store.read(Filter())
        assert event._replace(payload=b"", recorded="") == StoredEvent(
            1,
            "entry",
            f"{draft.request_id}-3",
            draft.request_id,
            "procedure-log",
            STUDY,
            "org.plscp.procedure-log.entry.v1",
            STUDY,
            "2026-11-22T10:00:03.000Z",
            "",
            b"",
            None,
        )
        assert store.event(1) == event

    def test_an_administration_is_keyed_by_its_patient(self, store: EventStore) -> None:
        """Administrations have their topic and key and belong to no study."""
        stored(store, request(decision=administered("P7")))
        (event,) = store.read(Filter())
        assert (event.topic, event.key, event.subject) == ("medication-administration", "HOSP|P7", "HOSP|P7")
        assert store.timeline("") == []

    def test_empty_fragments_leave_a_valid_value(self, store: EventStore) -> None:
        """No context and no members of its own: still one JSON object."""
        bare = entry("a")
        bare.data = b""
        decision = accepted()
        decision.context = b""
        stored(store, request([bare], decision))
        assert payloads(store)[0]["findings"] == []

    # --- quarantine ---

    def test_a_refusal_is_published_once_per_outcome(self, store: EventStore) -> None:
        """One item per identity; the first of each outcome has a position, repeats only count up."""
        draft = request(decision=rejected(0xC103), raw=b"bytes", arrival=NOW)
        results = [
            stored(store, draft),
            stored(store, again(draft, arrival=NOW + 1)),
            stored(store, again(draft, decision=rejected(0xC101), arrival=NOW + 2)),
            stored(store, again(draft, arrival=NOW + 3)),
        ]
        assert [(r.outcome, r.status, r.position) for r in results] == [
            ("refused", 0xC103, 1),
            ("refused", 0xC103, 1),
            ("refused", 0xC101, 2),
            ("refused", 0xC103, 1),
        ]
        assert store.head() == (2, 0)
        (item,) = store.quarantine()
        assert (item.times, item.first_time, item.last_time) == (4, NOW, NOW + 3)
        assert (item.raw, item.raw_length, item.closed_position) == (b"bytes", 5, None)
        assert [(o["status"], o["times"], o["position"], o["first_time"]) for o in item.outcomes] == [
            (0xC103, 3, 1, NOW),
            (0xC101, 1, 2, NOW + 2),
        ]
        assert item.outcomes[0]["data"] == {"status": "C103", "findings": []}

    def test_the_value_of_a_refusal(self, store: EventStore) -> None:
        """A refusal goes to the quarantine topic under the calling AE title and points to its item."""
        draft = request(decision=rejected())
        stored(store, draft)
        (event,) = store.read(Filter())
        assert (event.kind, event.topic, event.key) == ("refusal", "quarantine", "HEMO1")
        assert event.type == "org.plscp.request.refused.v1"
        value = json.loads(event.payload)
        assert value["event_id"] == f"{draft.request_id}-r"
        assert value["dataref"] == f"/api/v1/quarantine/{draft.identity.hex()[:16]}"
        assert value["status"] == "C103"

    def test_a_later_acceptance_closes_the_item_and_a_later_refusal_opens_it_again(self, store: EventStore) -> None:
        """Closing names the position; what was accepted can be refused again when it is sent again."""
        draft = request(decision=rejected())
        stored(store, draft)
        right = again(draft, decision=accepted())
        result = stored(store, right)
        assert (result.outcome, result.position) == ("added", 2)
        assert [item.closed_position for item in store.quarantine()] == [2]
        assert store.quarantine(open_only=True) == []
        send(store, Delivered([right.request_id]), again(draft))
        assert [(item.closed_position, item.times) for item in store.quarantine(open_only=True)] == [(None, 2)]

    def test_all_known_closes_the_item_too(self, store: EventStore) -> None:
        """A refused request whose entries came in by another way is settled."""
        draft = request([entry("a", uid="1.1")], rejected(0xC102, content=True))
        stored(store, draft)
        stored(store, request([entry("a", uid="1.1")], identity="other"))
        assert stored(store, again(draft, decision=accepted())).outcome == "known"
        assert [item.closed_position for item in store.quarantine()] == [2]

    def test_items_are_found_by_prefix(self, store: EventStore) -> None:
        """A unique prefix of the identity finds the item; an ambiguous, unknown or odd one does not."""
        one, two = (request(decision=rejected(), raw=b"%d" % n) for n in range(2))
        one.identity, two.identity = b"\xab\xcd" + bytes(30), b"\xab\xce" + bytes(30)
        send(store, one, two)
        table = {"abcd": b"0", "ABCE": b"1", "abc": None, "abcd0": b"0", "": None, "ff": None, "nothex": None}
        for prefix, raw in table.items():
            found = store.quarantine_item(prefix)
            assert (found and found.raw) == raw, prefix
        assert store.quarantine_item(one.identity.hex()[:16]) == store.quarantine_item(one.identity.hex())

    def test_items_are_listed_newest_first_by_device(self, store: EventStore) -> None:
        """The list can be narrowed to a device and cut."""
        for number, ae in enumerate(["A", "B", "A"]):
            stored(store, request(decision=rejected(), ae=ae, arrival=NOW + number))
        assert [item.last_time - NOW for item in store.quarantine()] == [2, 1, 0]
        assert [item.last_time - NOW for item in store.quarantine(calling_ae="A")] == [2, 0]
        assert [item.last_time - NOW for item in store.quarantine(limit=1)] == [2]

    def test_a_repeat_of_a_refused_request_moves_no_item_of_the_list(self, store: EventStore) -> None:
        """What was refused first last comes first: who reads the list in parts, by number, misses none."""
        drafts = [request(decision=rejected(), arrival=NOW + number) for number in range(3)]
        send(store, *drafts)
        whole = store.quarantine()
        assert [item.last_time - NOW for item in whole] == [2, 1, 0]
        send(store, again(drafts[0], arrival=NOW + 9), request(decision=rejected(), arrival=NOW + 10))
        rest = store.quarantine(before=whole[0].number)
        assert [(item.number, item.last_time - NOW) for item in rest] == [(whole[1].number, 1), (whole[2].number, 9)]
        assert [item.last_time - NOW for item in store.quarantine(before=rest[0].number, limit=1)] == [9]

    def test_what_is_open_is_counted_by_device_and_told_without_bytes(self, store: EventStore) -> None:
        """An item that was closed no longer counts; of two outcomes of an item the last different one is told."""
        assert (store.quarantine_open(), store.open_refusals()) == ({}, [])
        drafts = [request(decision=rejected(), ae=ae, arrival=NOW + number) for number, ae in enumerate("ABA")]
        for draft in drafts:
            stored(store, draft)
        stored(store, again(drafts[2], decision=rejected(0xC104), arrival=NOW + 9))
        assert store.quarantine_open() == {"A": 2, "B": 1}
        found = store.open_refusals()
        assert [(one.id, one.calling_ae, one.last_time - NOW, one.data["status"]) for one in found] == [
            (drafts[2].identity.hex()[:16], "A", 9, "C104"),
            (drafts[1].identity.hex()[:16], "B", 1, "C103"),
            (drafts[0].identity.hex()[:16], "A", 0, "C103"),
        ]
        assert store.open_refusals(limit=1) == found[:1]
        stored(store, again(drafts[1], decision=accepted()))
        assert store.quarantine_open() == {"A": 2}
        assert [one.calling_ae for one in store.open_refusals()] == ["A", "A"]

    def test_the_last_arrival_of_each_device_is_known(self, store: EventStore) -> None:
        """Of accepted requests; a refusal is none, nor is a replay, which no association brought."""
        assert store.last_arrivals() == {}
        for number, ae in enumerate(["A", "B", "A"]):
            stored(store, request(ae=ae, arrival=NOW + number))
        stored(store, request(decision=rejected(), ae="C"))
        for number, ae in enumerate("ABC"):
            replay = request(ae=ae, arrival=NOW + 10 + number)
            replay.association = ""
            stored(store, replay)
        assert store.last_arrivals() == {"A": NOW + 2, "B": NOW + 1}

    def test_raw_bytes_are_capped_per_device(self, open_one: Open) -> None:
        """The oldest raw bytes go first, digests and counts stay, other devices are not touched; a repeat brings them back."""
        store = open_one(limits=StoreLimits(quarantine_bytes=25))
        drafts = [request(decision=rejected(), arrival=NOW + n, raw=b"%010d" % n) for n in range(4)]
        stored(store, request(decision=rejected(), ae="OTHER", raw=b"o" * 20))
        send(store, *drafts)
        kept = {item.arrival: store.quarantine_item(item.identity.hex()) for item in drafts}
        raws = [item.raw if item else None for item in kept.values()]
        assert raws == [b"", b"", drafts[2].raw, drafts[3].raw]
        assert all(item and item.raw_length == 10 for item in kept.values())
        assert len(store.quarantine(calling_ae="OTHER")[0].raw) == 20
        stored(store, again(drafts[0], arrival=NOW + 9))
        back = store.quarantine_item(drafts[0].identity.hex())
        assert back
        assert back.raw == drafts[0].raw
        assert store.first_broken_position() is None

    def test_raw_bytes_that_come_back_encoded_otherwise_have_their_own_length(self, open_one: Open) -> None:
        """The same content in another transfer syntax is the same item; its length and syntax are those of the bytes that it has."""
        store = open_one(limits=StoreLimits(quarantine_bytes=25))
        first = request(decision=rejected(), raw=b"%020d" % 0)
        stored(store, first)
        stored(store, request(decision=rejected(), arrival=NOW + 1, raw=b"%020d" % 1))
        gone = store.quarantine_item(first.identity.hex())
        assert gone
        assert (gone.raw, gone.raw_length) == (b"", 20)
        other = again(first, raw=b"%015d" % 0, arrival=NOW + 2, transfer_syntax="1.2.840.10008.1.2")
        stored(store, other)
        back = store.quarantine_item(first.identity.hex())
        assert back
        assert (back.raw, back.raw_length, back.transfer_syntax) == (other.raw, 15, "1.2.840.10008.1.2")

    def test_refused_messages_of_feeds_are_kept_and_the_oldest_go_first(self, store: EventStore) -> None:
        """Newest first, cut, with the length of the whole; bounded by count and by bytes; they move nothing."""

        def message(raw: bytes, number: int = 0) -> MessageRefused:
            return MessageRefused("hl7", "10.1.2.3:4", f"c{number}", NOW + number, "no MSH", raw, ignore)

        assert isinstance(stored(store, message(b"x" * (MOST_MESSAGE_BYTES + 1))), Stored)
        send(store, *(message(b"%d" % n, n) for n in range(1, 20)))
        assert store.head() == (0, 0)
        (first,) = store.refused_messages(1, before=2)
        assert (first.number, len(first.raw), first.raw_length) == (1, MOST_MESSAGE_BYTES, MOST_MESSAGE_BYTES + 1)
        newest = RefusedMessage(20, "hl7", "10.1.2.3:4", "c19", NOW + 19, "no MSH", 2, b"19")
        assert store.refused_messages(2)[0] == newest == store.refused_message(20)
        send(store, *(message(b"more", n) for n in range(MESSAGES_KEPT - 1)))
        assert [m.number for m in store.refused_messages(MESSAGES_KEPT + 1)] == [*range(MESSAGES_KEPT + 19, 19, -1)]
        whole = bytes(MOST_MESSAGE_BYTES)
        send(store, *(message(whole, n) for n in range(MESSAGES_KEPT_BYTES // len(whole) + 1)))
        assert sum(len(m.raw) for m in store.refused_messages(MESSAGES_KEPT)) == MESSAGES_KEPT_BYTES
        assert store.refused_message(20) is None

    def test_cut_raw_bytes_keep_length_and_digest_of_the_whole(self, store: EventStore) -> None:
        """Past a bound the quarantine has the first bytes, and says how long the whole was."""
        draft = request(decision=rejected(0x0213, content=True), raw=b"first", raw_length=10**7, raw_digest=digest("w"))
        stored(store, draft)
        (item,) = store.quarantine()
        assert (item.raw, item.raw_length) == (b"first", 10**7)
        assert store.first_broken_position() is None

    # --- reading ---

    def test_reading_by_position_study_and_kind(self, store: EventStore) -> None:
        """Filters combine; a study's events are its entries and its registry changes."""
        send(
            store,
            change("study.opened"),
            change("study.opened", study="9.9"),
            request([entry("a"), entry("b", index=1)]),
            request(decision=accepted("9.9")),
            request(decision=rejected()),
        )
        table: list[tuple[Filter, list[int]]] = [
            (Filter(), [1, 2, 3, 4, 5, 6]),
            (Filter(after=4), [5, 6]),
            (Filter(after=1, limit=2), [2, 3]),
            (Filter(limit=2, latest=True), [5, 6]),
            (Filter(after=1, limit=1, latest=True, study_instance_uid=STUDY), [4]),
            (Filter(after=1, limit=9, latest=True, study_instance_uid=STUDY), [3, 4]),
            (Filter(study_instance_uid=STUDY), [1, 3, 4]),
            (Filter(study_instance_uid=STUDY, after=1, limit=1), [3]),
            (Filter(study_instance_uid="9.9", kinds=("entry",)), [5]),
            (Filter(kinds=("registry", "refusal")), [1, 2, 6]),
            (Filter(study_instance_uid="unknown"), []),
        ]
        for which, positions in table:
            assert [event.position for event in store.read(which)] == positions, which

    @pytest.mark.parametrize("rows", [1, 4096])
    def test_reading_by_patient_device_kind_of_entry_and_time(
        self, store: EventStore, monkeypatch: pytest.MonkeyPatch, rows: int
    ) -> None:
        """What stands or stood under an identifier while it named the patient; filters combine, whatever is indexed."""
        monkeypatch.setattr("plscp.store.index.MOST_ROWS", rows)

        def note(index: int) -> EntryDraft:
            return entry(f"{index}", index=index, data=b'"entry":{"template":"","kind":"note"}')

        said = {"what": "patient.changed", "id": "P1", "issuer": "HOSP"}
        patient = RegistryRecord(said, "patient", "HOSP|P1", "org.plscp.patient.changed.v1", "P1")
        send(
            store,
            RegistryDraft([patient], 1 << 40, NOW, "http", ignore),
            request([note(0), entry("b", index=1)], accepted("9.9")),
            request([note(5)], accepted("9.9"), ae="XRAY1"),
            request([entry("c", index=7)], administered()),
            request(decision=rejected(), ae="XRAY1"),
        )
        moved = move(store, 2, "2.2")
        places = [b'{"patient":{"id":"%b","issuer":"HOSP"}}' % each for each in (b"P-9.9", b"P-2.2")]
        correction_of = b'"correction":{"moved_from":%b,"moved_to":%b}' % (places[0], places[1])
        assigned = b'"patient":{"id":"P-2.2","issuer":"HOSP"},' + correction_of
        (done,) = send(store, correction("ab12", moved._replace(withdrawn=correction_of, assigned=assigned)))
        assert isinstance(done, Stored)
        withdrawn = store.read(Filter(kinds=("correction",)))[0].position
        ten = datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp() * 1_000_000
        old, new = [("P-9.9", "HOSP", 0, LAST)], [("P-2.2", "HOSP", 0, LAST)]
        table: list[tuple[Filter, list[int]]] = [
            (Filter(patient=old), [2, 3, 4, withdrawn]),
            (Filter(patient=new), [withdrawn + 1]),
            (Filter(patient=[("P-9.9", "HOSP", 3, withdrawn)]), [3, 4]),
            (Filter(patient=[("P-9.9", "", 0, LAST)]), []),
            (Filter(patient=[]), []),
            (Filter(patient=[("P1", "HOSP", 0, LAST)], patient_keys=["HOSP|P1"]), [1, 5]),
            (Filter(patient=[("P1", "HOSP", 2, LAST)], patient_keys=["HOSP|P1"]), [5]),
            (Filter(patient=old, after=2, upto=4, latest=True, limit=1), [4]),
            (Filter(patient=old, study_instance_uid="2.2"), []),
            (Filter(calling_ae="XRAY1"), [4, 6]),
            (Filter(calling_ae="XRAY1", kinds=("refusal",)), [6]),
            (Filter(entry_kind="note"), [2, 4]),
            (Filter(entry_kind="note", calling_ae="HEMO1"), [2]),
            (Filter(since=int(ten) + 1_000_000, until=int(ten) + 5_000_000, kinds=("entry",)), [3]),
            (Filter(since=int(ten) + 1, kinds=("entry",)), [3, 4, 5]),
            (Filter(upto=2), [1, 2]),
        ]
        head = store.head()[0]
        for which, positions in table:
            assert [event.position for event in store.read(which)] == positions, which
            near = replace(which, upto=min(which.upto, head))
            assert [event.position for event in store.read(near)] == positions, near

    def test_a_timeline_is_in_the_order_of_occurrence(self, store: EventStore) -> None:
        """Entries by when they occurred, then by position; other studies' are not among them."""
        for index in (5, 1, 5):
            stored(store, request([entry(f"{index}", index=index)], identity=uuid.uuid4()))
            stored(store, request([entry(f"{index}", index=index)], accepted("9.9"), identity=uuid.uuid4()))
        found = [one.last for one in store.timeline(STUDY)]
        assert [(e.occurred[17:19], e.position) for e in found] == [("01", 3), ("05", 1), ("05", 5)]

    def test_signs_of_life(self, store: EventStore) -> None:
        """Study, place, time and arrival of accepted requests that are one, since a moment, oldest first, the latest per minute."""
        minute = NOW - NOW % MINUTE
        send(
            store,
            request(decision=accepted("old", place="LAB1", at=minute - 90 * MINUTE), arrival=minute),
            request(decision=accepted(place="LAB1", at=minute + 10), arrival=minute + 40),
            request(decision=accepted(place="LAB1", at=minute + 30), arrival=minute + 50),
            request(decision=accepted(place="LAB1", at=minute + 20), arrival=minute + 60),
            request(decision=accepted(place="LAB2", at=minute + 25), arrival=minute + 60),
            request(decision=accepted(place="LAB1", at=minute - MINUTE), arrival=minute + 70),
            request(decision=accepted(), arrival=minute),
            request(decision=rejected(), arrival=minute),
            request(decision=administered(), arrival=minute),
        )
        found = [
            (STUDY, "LAB1", minute - MINUTE, minute + 70),
            (STUDY, "LAB2", minute + 25, minute + 60),
            (STUDY, "LAB1", minute + 30, minute + 60),
        ]
        assert list(store.activity(minute)) == [("old", "LAB1", minute - 90 * MINUTE, minute), *found]
        assert list(store.activity(minute + 1)) == found
        assert list(store.activity(minute + 55)) == [found[0], (STUDY, "LAB1", minute + 20, minute + 60), found[1]]

    def test_clock_differences(self, open_one: Open) -> None:
        """What was measured since a moment, by arrival; it costs no commit, and is not lost when the store is closed."""
        store = open_one()
        now = time.time_ns() // 1000
        measured = [("HEMO1", now - 90 * MINUTE, 0), ("XRAY1", now, -7), ("HEMO1", now - MINUTE // 2, 120 * MINUTE)]
        for ae, arrival, difference in measured:
            store.submit(ClockMeasured(ae, arrival, difference))
        stored(store, request())
        store.close()
        assert store.head()[0] == 1
        reopened = self.opened_again(store, open_one)
        assert list(reopened.clocks(0)) == [measured[0], measured[2], measured[1]]
        assert list(reopened.clocks(now - 5 * MINUTE)) == [measured[2], measured[1]]

    @staticmethod
    def opened_again(store: EventStore, open_one: Open) -> EventStore:
        """The same store after a restart; an adapter that keeps nothing gives it back as it is."""
        return open_one() if hasattr(store, "path") else store

    def test_old_clock_differences_are_forgotten(self, open_one: Open) -> None:
        """A day and an hour after their arrival; newer ones stay."""
        store = open_one()
        now = time.time_ns() // 1000
        for number in range(5):
            store.submit(ClockMeasured("OLD", now - CLOCKS_KEPT_US - number - 1, number))
        store.submit(ClockMeasured("NEW", now, 0))
        store.close()
        assert [ae for ae, _, _ in self.opened_again(store, open_one).clocks(0)] == ["NEW"]

    def test_retries_are_noted_with_when_and_from_where(self, store: EventStore) -> None:
        """Of one event's request, whichever of its events is named, or of all, newest first."""
        draft = request([entry("a"), entry("b", index=1)])
        other = request()
        send(store, draft, other)
        notes = []
        for number, of in enumerate((draft, other, draft)):
            repeat = again(of, arrival=NOW + number, address=f"10.0.0.{number}", association=f"a{number}")
            assert stored(store, repeat).outcome == "retry"
            position = 2 if of is draft else 3
            notes.append(
                RetryNote(
                    position,
                    NOW + number,
                    "HEMO1",
                    f"10.0.0.{number}",
                    f"a{number}",
                    repeat.message_id,
                    repeat.transfer_syntax,
                    number + 1,
                )
            )
        assert store.retries() == notes[::-1]
        assert store.retries(limit=1) == notes[2:]
        assert store.retries(1) == store.retries(2) == [notes[2], notes[0]]
        assert store.retries(3) == [notes[1]]
        assert store.retries(before=3) == notes[1::-1]
        assert store.retries(1, before=3) == [notes[0]]
        assert store.retries(3, limit=0) == store.retries(99) == []
        stored(store, change("study.opened"))
        assert store.retries(4) == []

    # --- the writer ---

    def test_one_bad_member_does_not_fail_its_batch(self, open_one: Open) -> None:
        """A draft that cannot be stored fails alone; the others of its batch are stored, without a gap."""
        store = open_one()
        bad = again(request([entry("a")]), address="\ud800")
        results = send(store, request(), bad, request())
        assert [type(result) for result in results] == [Stored, Failed, Stored]
        assert store.head()[0] == 2
        assert store.first_broken_position() is None

    def test_results_come_in_one_call_per_batch_and_before_after_commit(self, open_one: Open) -> None:
        """What queued up while the writer was busy is one transaction, and one call brings its results."""
        here = threading.get_ident()
        results: list[tuple[type[Result], int]] = []
        calls: list[int] = []
        heads: list[tuple[int, int]] = []

        def call_soon(call: Callable[[], None]) -> None:
            before = len(results)
            call()
            if threading.get_ident() != here and len(results) > before:
                calls.append(len(results) - before)

        def done(result: Result) -> None:
            results.append((type(result), store.head()[0]))
            if len(results) == 1:  # the writer is busy here: these queue up
                for draft in more:
                    store.submit(draft)

        store = open_one(call_soon=call_soon, after_commit=lambda head: heads.append((head, len(results))))
        first, *more = [request() for _ in range(4)]
        for draft in (first, *more):
            draft.done = done
        store.submit(first)
        until(lambda: len(results) == 4, "the results")
        store.close()
        assert results == [(Stored, 1)] + [(Stored, 4)] * 3
        assert calls == [1, 3]
        assert heads == [(1, 1), (4, 4)]

    def test_batches_are_bounded(self, open_one: Open) -> None:
        """One transaction takes no more than its bound of drafts."""
        batches: list[int] = []
        store = open_one(limits=StoreLimits(batch_drafts=4))
        store.measure(lambda _seconds, drafts: batches.append(drafts))
        send(store, *(request() for _ in range(20)))
        assert sum(batches) == 20
        assert max(batches) <= 4

    def test_a_full_queue_is_busy(self, open_one: Open) -> None:
        """Beyond the bound of drafts or bytes a draft fails at once, and nothing of it is kept."""
        results: list[Result] = []

        def submit_more(_: Result) -> None:
            for size in (10, 10, 10, 100_000):  # the writer is busy here
                late = request(raw=bytes(size))
                late.done = results.append
                store.submit(late)

        store = open_one(limits=StoreLimits(queue_requests=2, queue_bytes=50_000))
        first = request()
        first.done = submit_more
        store.submit(first)
        until(lambda: len(results) == 4, "the results")
        store.close()
        labels = [r.error.label if isinstance(r, Failed) else "stored" for r in results]
        assert labels == ["store-busy", "store-busy", "stored", "stored"]
        assert StoreBusy.retriable

    def test_closing_finishes_what_is_queued_and_refuses_what_comes_after(self, store: EventStore) -> None:
        """Every draft gets exactly one result, and closing twice is harmless."""
        results: list[Result] = []
        drafts = [request() for _ in range(50)]
        for draft in drafts:
            draft.done = results.append
            store.submit(draft)
        assert store.alive()
        store.probe()
        store.close()
        store.close()
        assert [type(result) for result in results] == [Stored] * 50
        late = request()
        late.done = results.append
        store.submit(late)
        store.submit(Delivered([late.request_id]))
        assert isinstance(results[-1], Failed)
        assert isinstance(results[-1].error, StoreUnavailable)
        assert not store.alive()
        with pytest.raises(StoreUnavailable):
            store.probe()

    def test_an_owner_that_raises_does_not_end_the_writer(self, open_one: Open) -> None:
        """What goes wrong with a result or after a commit is not the store's failure."""

        def raising(_: object) -> None:
            raise RuntimeError("an owner's defect")

        store = open_one(after_commit=raising)
        draft = request()
        draft.done = raising
        store.submit(draft)
        assert stored(store, request()).position == 2

    def test_positions_have_no_gaps(self, store: EventStore) -> None:
        """Entries, refusals and changes share one numbering; retries, stale and known drafts take no number."""
        first = request([entry("a", uid="1.1"), entry("b", index=1)])
        send(
            store,
            first,
            change("study.opened"),
            again(first),
            request(at=0),
            request(decision=rejected()),
            request([entry("a", uid="1.1")]),
            request(),
        )
        assert [event.position for event in store.read(Filter())] == [1, 2, 3, 4, 5]
        assert store.first_broken_position() is None
