"""The store against a small model of contract section 1 that shares no code with it."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plscp.store import SqliteStore
from plscp.store.corrections import EntryFilter, EventMove, Standing
from plscp.store.port import Delivered, EntriesKnown, Filter, Stale, Stored
from tests.serving import until
from tests.store.drafts import accepted, again, change, correction, entry, proposal, rejected, request, send
from tests.temporary import MEMORY

CONTENTS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "1", "2"])), min_size=1, max_size=3)
DATED = {"a": "20261122100000", "b": "20261122100000.5+0100", "c": ""}
"""When an entry with some text occurred, as sent."""
STUDIES = st.sampled_from(["1.1", "2.2"])
Content = tuple[str, tuple[tuple[str, str], ...]]
"""A study as named, and (text, Observation UID) of each entry."""
Known = tuple[tuple[int, int, str, int], ...]
"""Of each known entry its place in the request, its position, the study under which it stands, and what moved it there."""


class Added(NamedTuple):
    """An entry that was added."""

    position: int
    text: str
    uid: str
    of: Content


class Expected(NamedTuple):
    """What becomes of a draft."""

    outcome: str
    position: int
    findings: list[list[str]]
    known: Known = ()
    same_as: str = ""
    under: str = ""


class Moved(NamedTuple):
    """A correction: of each entry its position, the event that then says where it stands, and the study where it stood."""

    entries: tuple[tuple[int, int, str], ...]
    state: str


class Model:
    """Lists, and searches through all of them."""

    def __init__(self) -> None:
        self.position = self.registry = 0
        self.requests: list[tuple[Content, str, int, bool]] = []  # content, request id, last position, delivered
        self.entries: list[Added] = []
        self.refused: dict[Content, dict[str, int]] = {}
        self.times: dict[Content, int] = {}
        self.closed: dict[Content, int] = {}
        self.proposals: dict[str, int] = {}
        self.retried: dict[int, int] = {}
        self.moved: dict[int, tuple[str, int]] = {}  # by position of an entry: the study, and the event that says so
        self.corrections: dict[str, Moved] = {}
        self.firsts: dict[int, int] = {}  # by a request's last position its first

    def stands(self, added: Added) -> tuple[str, int]:
        """The study under which an entry stands, and the position of what moved it there, or 0."""
        return self.moved.get(added.position, (added.of[0], 0))

    def correct(self, name: str, moves: list[tuple[int, int, str]], at: int, reverts: str) -> Expected:
        """Of each entry its position, the event that was thought to say where it stands, and where to."""
        stood = {added.position: self.stands(added) for added in self.entries}
        wrong = any((stood[position][1] or position) != standing for position, standing, _ in moves)
        if at < self.registry or wrong or (reverts and self.corrections[reverts].state != "confirmed"):
            return Expected("stale", self.registry, [])
        self.position += 1
        self.proposals[name] = self.position
        entries = []
        for position, _, study in moves:
            self.position += 2
            self.moved[position] = study, self.position
            entries.append((position, self.position, stood[position][0]))
        self.corrections[name] = Moved(tuple(entries), "confirmed")
        if reverts:
            self.corrections[reverts] = self.corrections[reverts]._replace(state="reverted")
        return Expected("corrected", self.position, [])

    def judge(self, content: Content, request_id: str, at: int, refuse: str, *, judged: Known, move: str) -> Expected:
        """What becomes of a request that was judged with these entries taken as known."""
        same = [number for number, row in enumerate(self.requests) if row[0] == content]
        if same and not self.requests[same[-1]][3]:
            position = self.requests[same[-1]][2]
            self.retried[position] = self.retried.get(position, 0) + 1
            first = next(added for added in self.entries if added.position == self.firsts[position])
            return Expected("retry", position, [], under=self.stands(first)[0])
        if refuse == "C102":
            return self.refuse(content, refuse, "")
        fresh: list[Added] = []
        findings: list[list[str]] = []
        known: list[tuple[int, int, str, int]] = []
        for index, (text, uid) in enumerate(content[1]):
            everything = [*self.entries, *fresh]
            equal = [e for e in everything if uid and (e.text, e.uid) == (text, uid)]
            if equal:
                if equal[0] not in fresh:
                    known.append((index, equal[0].position, *self.stands(equal[0])))
                continue
            codes = []
            if uid and any(e.uid == uid for e in everything):
                codes.append("observation-seen-before")
            others = [e for e in self.entries if e.text == text and e.of != content]
            others += [e for e in fresh if e.text == text]
            if not uid and others:
                codes.append("probable-repeat")
            findings.append(codes)
            fresh.append(Added(self.position + 1 + len(fresh), text, uid, content))
        if tuple(known) != judged:
            return Expected("entries-known", 0, [], tuple(known))
        if at < self.registry:
            return Expected("stale", self.registry, [])
        if refuse:
            return self.refuse(content, refuse, move)
        if not fresh:
            if content in self.refused and content not in self.closed:
                self.closed[content] = known[0][1]
            return Expected("known", known[0][1], [], under=known[0][2])
        self.entries += fresh
        self.firsts[self.position + len(fresh)] = self.position + 1
        self.position += len(fresh)
        self.requests.append((content, request_id, self.position, False))
        if content in self.refused and content not in self.closed:
            self.closed[content] = self.position
        return Expected("added", self.position, findings, same_as=self.requests[same[0]][1] if same else "")

    def refuse(self, content: Content, outcome: str, move: str) -> Expected:
        """Only the first of an outcome has a position; so has only the first of the same proposals."""
        outcomes = self.refused.setdefault(content, {})
        if outcome not in outcomes:
            self.position += 1
            outcomes[outcome] = self.position
        if move and move not in self.proposals:
            self.position += 1
            self.proposals[move] = self.position
        self.times[content] = self.times.get(content, 0) + 1
        self.closed.pop(content, None)
        return Expected("refused", outcomes[outcome], [])

    def change(self, without_entries: str) -> Expected:
        """A registry change, unless entries stand where none may."""
        if any(self.stands(e)[0] == without_entries for e in self.entries):
            return Expected("stale", self.registry, [])
        self.position += 1
        self.registry = self.position
        return Expected("changed", self.position, [])

    def deliver(self, request_id: str) -> None:
        """An answer is known to have arrived."""
        self.requests = [(c, i, p, d or i == request_id) for c, i, p, d in self.requests]


class StoreMachine(RuleBasedStateMachine):
    """Any order of requests, proofs of arrival, registry changes, corrections, restarts and crashes; requests alone and in batches.

    What the store indexes later and in bulk is written after one row, some or many: it answers as the model, which knows at once.

    The machine judges known entries as the service does: those under another study than the request's are refused, with a
    proposal. It hands such a request in again at any later time.
    """

    @initialize(rows=st.sampled_from([1, 7, 4096]))
    def open(self, rows: int) -> None:
        """Both begin empty.

        Args:
            rows: of the index that are kept in memory.
        """
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("plscp.store.index.MOST_ROWS", rows)
        self.patch.setattr("plscp.store.ledger.MOST_DELIVERED_BYTES", 16 * rows)
        self.patch.setattr("plscp.store.ledger.CONTEXTS_KEPT", rows)
        self.folder = Path(tempfile.mkdtemp(prefix="plscp-model-", dir=MEMORY))
        self.stores = 0
        self.store = SqliteStore(self.folder / "0.db")
        self.model = Model()
        self.receipts: list[str] = []
        self.waiting: list[tuple[Any, Content | None, Expected | None]] = []
        self.told: list[tuple[Content, Any, EntriesKnown]] = []

    def queue(self, content: Content, draft: Any, judged: Known, refuse: str, move: str = "") -> None:
        """A request, and what the model says about it."""
        at = draft.registry_position
        expected = self.model.judge(content, draft.request_id, at, refuse, judged=judged, move=move)
        self.waiting.append((draft, content, expected))
        if expected.outcome == "added":
            self.receipts.append(draft.request_id)

    @rule(
        study=STUDIES, content=CONTENTS, old=st.booleans(), refuse=st.sampled_from(["", "", "", "C103", "C101", "C102"])
    )
    def queue_new(self, study: str, content: list[tuple[str, str]], *, old: bool, refuse: str) -> None:
        """A request, as a rule of new content."""
        self.queue_request(study, content, old=old, refuse=refuse)

    def queue_request(self, study: str, content: list[tuple[str, str]], *, old: bool, refuse: str) -> None:
        """A request, decided on the registry as it is or on an older one, with no entry taken as known."""
        key = (study, tuple(content))
        entries = [entry(text, uid=uid, index=n, dated=DATED[text]) for n, (text, uid) in enumerate(content)]
        decision = rejected(int(refuse, 16), refuse, content=refuse == "C102") if refuse else accepted(study)
        at = self.model.registry - 1 if old else self.model.registry
        self.queue(key, request(entries, decision, identity=key, at=at), (), refuse)

    @precondition(lambda self: self.model.requests)
    @rule(data=st.data(), proved=st.booleans())
    def queue_repeat(self, data: st.DataObject, *, proved: bool) -> None:
        """What was accepted comes again; perhaps its answer is known to have arrived."""
        (study, content), request_id, _, _ = data.draw(st.sampled_from(self.model.requests))
        if proved:
            self.model.deliver(request_id)
            self.waiting.append((Delivered([request_id]), None, None))
        self.queue_request(study, list(content), old=False, refuse="")

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def queue_judged(self, data: st.DataObject) -> None:
        """One whose known entries the store has told, now or a good while ago, judged on them."""
        content, draft, told = self.told.pop(data.draw(st.integers(0, len(self.told) - 1)))
        elsewhere = [known.position for known in told.under if known.study_instance_uid != content[0]]
        move = f"{elsewhere} {content[0]}" if elsewhere else ""
        decision = rejected(0xC104, "C104", proposal=proposal(move)) if move else accepted(content[0])
        judged = tuple((one.entry, one.position, one.study_instance_uid, one.standing) for one in told.under)
        once_more = again(draft, decision=decision, judged=told.under, registry_position=self.model.registry)
        self.queue(content, once_more, judged, "C104" if move else "", move)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def queue_delivered(self, data: st.DataObject) -> None:
        """An answer is known to have arrived."""
        request_id = data.draw(st.sampled_from(self.receipts))
        self.model.deliver(request_id)
        self.waiting.append((Delivered([request_id]), None, None))

    @rule(without_entries=st.sampled_from(["", "1.1", "2.2"]))
    def queue_change(self, without_entries: str) -> None:
        """A registry change, perhaps one that needs a study without entries."""
        if without_entries:  # what a correction in the same transaction moved away counts as being there still
            self.send()
        draft = change("study.updated", at=self.model.registry, without_entries=without_entries)
        self.waiting.append((draft, None, self.model.change(without_entries)))

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), study=st.sampled_from(["1.1", "2.2", "3.3"]), old=st.booleans(), wrong=st.booleans())
    def queue_correction(self, data: st.DataObject, study: str, *, old: bool, wrong: bool) -> None:
        """Entries are moved, as decided on where they stand, or on where they stood or will stand."""
        chosen = data.draw(st.lists(st.sampled_from(self.model.entries), min_size=1, max_size=3, unique=True))
        moves = []
        for added in chosen:
            standing = self.model.stands(added)[1] or added.position
            moves.append((added.position, standing - (wrong and old), study))
        self.correct(moves, self.model.registry - (old and not wrong))

    @precondition(lambda self: self.model.corrections)
    @rule(data=st.data())
    def queue_revert(self, data: st.DataObject) -> None:
        """A correction is taken back, which another may have moved on, or taken back before."""
        name = data.draw(st.sampled_from([*self.model.corrections]))
        moves = [(position, standing, study) for position, standing, study in self.model.corrections[name].entries]
        self.correct(moves, self.model.registry, reverts=name)

    def correct(self, moves: list[tuple[int, int, str]], at: int, reverts: str = "") -> None:
        """Queue a correction with what the model says about it."""
        name = f"{len(self.model.proposals):04x}-{self.stores}-{self.model.position}-{len(self.waiting)}"
        made = [
            EventMove(
                Standing(position, standing, "was", "", ""), Standing(position, 0, study, "P-" + study, "HOSP"),
                "procedure-log", "was", study, "2026-11-22T10:00:00.000Z", b'"withdrawn":1', b'"assigned":1',
            )
            for position, standing, study in moves
        ]  # fmt: skip
        draft = correction(name, *made, at=at, reverts=reverts)
        self.waiting.append((draft, None, self.model.correct(name, moves, at, reverts)))

    @precondition(lambda self: not self.waiting)
    @rule()
    def restart(self) -> None:
        """The store is closed and opened again."""
        self.store.close()
        self.store = SqliteStore(self.store.path)

    @precondition(lambda self: not self.waiting)
    @rule()
    def crash(self) -> None:
        """All ends at once, and the store is opened as its files are. What waits for someone else's commit got one before."""
        self.queue_change("")
        self.send()
        writer = self.store._writer
        until(lambda: writer._sleeping, "the writer to rest")  # it is done with what follows the commit
        self.stores += 1
        path = self.folder / f"{self.stores}.db"
        for tail in ("", "-wal"):
            shutil.copy(self.store.path.with_name(self.store.path.name + tail), path.with_name(path.name + tail))
        self.store.close()
        self.store = SqliteStore(path)

    @precondition(lambda self: self.waiting)
    @rule()
    def send(self) -> None:
        """All that was queued goes to the store, which may take it as one batch or several."""
        waiting, self.waiting = self.waiting, []
        results = send(self.store, *(draft for draft, *_ in waiting))
        rows = zip([row for row in waiting if row[2]], results, strict=True)
        for (draft, content, expected), result in rows:
            assert expected is not None
            if isinstance(result, Stale):
                assert (expected.outcome, expected.position) == ("stale", result.registry_position)
                continue
            if isinstance(result, EntriesKnown):
                known = tuple((k.entry, k.position, k.study_instance_uid, k.standing) for k in result.under)
                assert (expected.outcome, expected.known) == ("entries-known", known)
                assert content is not None
                self.told.append((content, draft, result))
                continue
            assert isinstance(result, Stored)
            assert (result.outcome, result.position) == expected[:2]
            if expected.under:
                assert result.study_instance_uid == expected.under
            if result.outcome == "added":
                values = [json.loads(e.payload) for e in self.store.read(Filter(kinds=("entry",), limit=-1))]
                mine = [value for value in values if value["request_id"] == draft.request_id]
                assert [[f["code"] for f in value["findings"]] for value in mine] == expected.findings
                same_as = {(value["same_content_as"] or "").partition("-")[0] for value in mine}
                assert same_as == {expected.same_as}

    @invariant()
    def agree(self) -> None:
        """Head, numbering, chain, quarantine, proposals and retries are the model's."""
        if self.waiting:
            return
        model = self.model
        assert self.store.head() == (model.position, model.registry)
        positions = [event.position for event in self.store.read(Filter(limit=-1))]
        assert positions == list(range(1, model.position + 1))
        assert self.store.first_broken_position() is None
        found = sorted((i.times, i.closed_position or 0, len(i.outcomes)) for i in self.store.quarantine())
        assert found == sorted((model.times[c], model.closed.get(c, 0), len(model.refused[c])) for c in model.refused)
        assert {p.id: p.position for p in self.store.proposals()} == model.proposals
        assert {position: len(self.store.retries(position)) for position in model.retried} == model.retried
        states = {p.id: p.state for p in self.store.proposals() if p.id in model.corrections}
        assert states == {name: moved.state for name, moved in model.corrections.items()}
        for study in ("1.1", "2.2", "3.3"):
            under = [added.position for added in model.entries if model.stands(added)[0] == study]
            assert self.store.has_entries(study) == bool(under)
            assert sorted(one.at.position for one in self.store.timeline(study)) == under
            assert self.store.entries(EntryFilter(study)) == under

    def teardown(self) -> None:
        """Everything that was queued is answered, then closed."""
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.patch.undo()


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStoreAgainstModel = StoreMachine.TestCase
