"""The store against a small model of contracts section 1 that shares no code with it."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plscp.store import MemoryStore
from plscp.store.port import Delivered, EventStore, Filter, Stale, Stored
from tests.store.drafts import accepted, change, entry, rejected, request, send

CONTENTS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "1", "2"])), min_size=1, max_size=3)
Content = tuple[tuple[str, str], ...]


class Model:
    """Lists, and searches through all of them."""

    def __init__(self) -> None:
        self.position = self.registry = 0
        self.requests: list[tuple[Content, str, int, bool]] = []  # content, request id, last position, delivered
        self.entries: list[tuple[int, str, str, Content]] = []  # position, text, uid, content of its request
        self.refused: dict[Content, dict[str, int]] = {}
        self.times: dict[Content, int] = {}
        self.closed: dict[Content, int] = {}

    def judge(self, content: Content, request_id: str, at: int, refuse: str) -> tuple[str, int, list[list[str]]]:
        """(outcome, position, findings of what was added)."""
        same = [number for number, row in enumerate(self.requests) if row[0] == content]
        if same and not self.requests[same[-1]][3]:
            return "retry", self.requests[same[-1]][2], []
        if refuse == "C102":
            return self.refuse(content, refuse)
        fresh: list[tuple[int, str, str, Content]] = []
        findings: list[list[str]] = []
        known: list[int] = []
        for text, uid in content:
            everything = [*self.entries, *fresh]
            equal = [e for e in everything if uid and e[1:3] == (text, uid)]
            if equal:
                known.append(equal[0][0])
                continue
            codes = []
            if uid and any(e[2] == uid for e in everything):
                codes.append("observation-seen-before")
            others = [e for e in self.entries if e[1] == text and e[3] != content] + [e for e in fresh if e[1] == text]
            if not uid and others:
                codes.append("probable-repeat")
            findings.append(codes)
            fresh.append((self.position + 1 + len(fresh), text, uid, content))
        if not fresh:
            if content in self.refused and content not in self.closed:
                self.closed[content] = known[0]
            return "known", known[0], []
        if at < self.registry:
            return "stale", self.registry, []
        if refuse:
            return self.refuse(content, refuse)
        self.entries += fresh
        self.position += len(fresh)
        self.requests.append((content, request_id, self.position, False))
        if content in self.refused and content not in self.closed:
            self.closed[content] = self.position
        return "added", self.position, findings

    def refuse(self, content: Content, outcome: str) -> tuple[str, int, list[list[str]]]:
        """Only the first of an outcome has a position."""
        outcomes = self.refused.setdefault(content, {})
        if outcome not in outcomes:
            self.position += 1
            outcomes[outcome] = self.position
        self.times[content] = self.times.get(content, 0) + 1
        self.closed.pop(content, None)
        return "refused", outcomes[outcome], []

    def deliver(self, request_id: str) -> None:
        """An answer is known to have arrived."""
        self.requests = [(c, i, p, d or i == request_id) for c, i, p, d in self.requests]


class StoreMachine(RuleBasedStateMachine):
    """Any order of requests, proofs of arrival and registry changes, alone and in batches."""

    open_one: Callable[[], EventStore] = staticmethod(MemoryStore.open)

    @initialize()
    def open(self) -> None:
        """Both begin empty."""
        self.store = self.open_one()
        self.model = Model()
        self.receipts: list[str] = []
        self.waiting: list[tuple[Any, tuple[str, int, list[list[str]]] | None]] = []

    @rule(content=CONTENTS, old=st.booleans(), refuse=st.sampled_from(["", "", "", "C103", "C101", "C102"]))
    def queue_request(self, content: list[tuple[str, str]], old: bool, refuse: str) -> None:
        """A request, decided on the registry as it is or on an older one."""
        key = tuple(content)
        entries = [entry(text, uid=uid, index=index) for index, (text, uid) in enumerate(content)]
        decision = rejected(int(refuse, 16), refuse, content=refuse == "C102") if refuse else accepted()
        at = self.model.registry - 1 if old else self.model.registry
        draft = request(entries, decision, identity=key, at=at)
        expected = self.model.judge(key, draft.request_id, at, refuse)
        self.waiting.append((draft, expected))
        if expected[0] == "added":
            self.receipts.append(draft.request_id)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def queue_delivered(self, data: st.DataObject) -> None:
        """An answer is known to have arrived."""
        request_id = data.draw(st.sampled_from(self.receipts))
        self.model.deliver(request_id)
        self.waiting.append((Delivered([request_id]), None))

    @rule()
    def queue_change(self) -> None:
        """A registry change."""
        draft = change("study.updated", at=self.model.registry)
        self.model.position += 1
        self.model.registry = self.model.position
        self.waiting.append((draft, ("changed", self.model.position, [])))

    @precondition(lambda self: self.waiting)
    @rule()
    def send(self) -> None:
        """All that was queued goes to the store, which may take it as one batch or several."""
        waiting, self.waiting = self.waiting, []
        results = send(self.store, *(draft for draft, _ in waiting))
        pairs = zip([pair for pair in waiting if pair[1]], results, strict=True)
        for (draft, expected), result in pairs:
            assert expected is not None
            if isinstance(result, Stale):
                assert (expected[0], expected[1]) == ("stale", result.registry_position)
                continue
            assert isinstance(result, Stored)
            assert (result.outcome, result.position) == expected[:2]
            if result.outcome == "added":
                values = [json.loads(e.payload) for e in self.store.read(Filter(kinds=("entry",), limit=-1))]
                mine = [[f["code"] for f in v["findings"]] for v in values if v["request_id"] == draft.request_id]
                assert mine == expected[2]

    @invariant()
    def agree(self) -> None:
        """Head, numbering, chain and quarantine are the model's."""
        if self.waiting:
            return
        assert self.store.head() == (self.model.position, self.model.registry)
        positions = [event.position for event in self.store.read(Filter(limit=-1))]
        assert positions == list(range(1, self.model.position + 1))
        assert self.store.first_broken_position() is None
        found = sorted((i.times, i.closed_position or 0, len(i.outcomes)) for i in self.store.quarantine())
        model = self.model
        assert found == sorted((model.times[c], model.closed.get(c, 0), len(model.refused[c])) for c in model.refused)

    def teardown(self) -> None:
        """Everything that was queued is answered, then closed."""
        if hasattr(self, "store"):
            self.store.close()


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStoreAgainstModel = StoreMachine.TestCase
