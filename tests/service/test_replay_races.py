"""Replays and the device's own repeats, interleaved in every way through the real store: an event of its own for each, once."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from queue import SimpleQueue
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plscp.dicom.answer import Status
from plscp.matching import changes
from plscp.matching.model import Device
from plscp.matching.registry import Locations, Registry
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.service.replay import _event
from plscp.service.steps import Answer, Pending, Replaying
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store.port import Delivered, Draft, Filter, RequestRecord, Result
from plscp.store.quarantine import QuarantineItem
from tests import events
from tests.rawscu import SYNTAXES
from tests.service.conftest import POLICY
from tests.temporary import TemporaryStore

NUMBERS: Final = count(1)
TEXTS: Final = ("a", "b")


class HeldStore(TemporaryStore):
    """The store, to which requests go when a test says so: one by one, or several in one transaction."""

    def __init__(self) -> None:
        self._soon: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.held: list[RequestRecord] = []
        super().__init__(call_soon=self._soon.put)

    def submit(self, draft: Draft) -> None:
        """Hold requests; everything else goes on."""
        if isinstance(draft, RequestRecord):
            self.held.append(draft)
        else:
            super().submit(draft)

    def turn_until(self, done: Callable[[], bool]) -> None:
        """The event loop turns: the writer is woken, and results reach their owners."""
        while not done():
            self._soon.get(timeout=60)()

    def release(self, *indexes: int) -> None:
        """Have the writer take these; returns when each has its result."""
        drafts = [self.held[index] for index in sorted({index % len(self.held) for index in indexes})]
        told: list[RequestRecord] = []
        for draft in drafts:
            self.held.remove(draft)
            draft.done = _and_tell(draft, told)
        for draft in drafts:
            super().submit(draft)
        self.turn_until(lambda: len(told) == len(drafts))


def _and_tell(draft: RequestRecord, told: list[RequestRecord]) -> Callable[[Result], None]:
    done = draft.done

    def call(result: Result) -> None:
        told.append(draft)
        done(result)

    return call


class Case:
    """One refused request of two entries, whose study is opened at some time."""

    def __init__(self, store: HeldStore, keeper: RegistryKeeper, handlers: Handlers) -> None:
        self.store, self.keeper, self.handlers = store, keeper, handlers
        self.number = next(NUMBERS)
        self.study = f"1.2.826.0.1.3680043.9.3811.11.{self.number}"
        self.heard = 0
        self.answers: list[Status] = []
        self.replays: list[Pending] = []
        self.opened = False
        moment = datetime.now(UTC)
        notes = [events.note(moment, f"{text} {self.number}") for text in TEXTS]
        raw = events.encoded(events.procedural(notes, study=self.study))
        now = int(moment.timestamp() * 1_000_000)
        self.item = QuarantineItem(
            "0" * 16,
            b"",
            "HEMO1",
            "127.0.0.1",
            str(PROCEDURAL_EVENT_LOGGING),
            SYNTAXES[1],
            now,
            now,
            1,
            raw,
            len(raw),
            [],
            None,
            0,
        )
        self.device()
        self.finish()
        [self.item] = store.quarantine(open_only=True, limit=1)
        assert [int(answer) for answer in self.answers] == [0xC103]

    # --- what happens ---

    def device(self) -> None:
        """It sends its request once more."""

        def resolve(answer: Answer) -> None:
            self.answers.append(answer[0])

        self.handlers._run_steps(self.handlers._pending(_event(self.item), resolve))

    def hear(self) -> None:
        """The device has the last answer that was a Success."""
        if self.answers and int(self.answers[-1]) == 0 and self.answers[-1].receipt:
            self.store.submit(Delivered([str(self.answers[-1].receipt)]))
            self.heard += 1

    def replay(self, entries: tuple[int, ...] = (), *, trial: bool = False) -> None:
        """Somebody has it replayed, or some entries of it, or asks what would happen."""

        def done(pending: Pending, _: Answer) -> None:
            self.replays.append(pending)

        keep = Replaying(self.item.identity, "http", datetime.now(UTC), lambda *_: not trial, entries)
        self.handlers.replay(_event(self.item), keep, done)

    def change(self) -> None:
        """The study is opened, or something about it changes: what is decided meanwhile is stale."""
        body = {
            "study_instance_uid": self.study,
            "patient": {"id": "P"},
            "status": "open",
            "study_id": str(next(NUMBERS)),
        }
        done: list[object] = []
        self.keeper.begin(
            lambda registry: changes.put_study(registry, body, POLICY, datetime.now(UTC)), "http", done.append
        )
        self.store.turn_until(lambda: bool(done))
        self.opened = True

    def finish(self) -> None:
        """Everything that is on its way arrives."""
        while self.store.held:
            self.store.release(0)

    # --- what came of it ---

    def stored(self) -> dict[str, int]:
        """How often each entry stands in the store."""
        found = self.store.read(Filter(study_instance_uid=self.study, kinds=("entry",), limit=1000))
        texts = [json.loads(event.payload)["entry"]["text"].partition(" ")[0] for event in found]
        return {text: texts.count(text) for text in TEXTS}

    def check(self) -> None:
        """Nothing twice, nothing lost."""
        found = self.stored()
        most = 1 + self.heard
        assert all(times <= most for times in found.values()), found
        if any(int(answer) == 0 for answer in self.answers):
            assert all(found.values()), found
        item = self.store.quarantine_item(self.item.id)
        assert item is not None
        assert (item.closed_position is None) == (not all(found.values())) or self.heard


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple[HeldStore, RegistryKeeper, Handlers]]:
    """A store, its registry and handlers, for all cases."""
    store = HeldStore()
    keeper = RegistryKeeper(store, Registry(Locations({"LAB1": []})))
    handlers = Handlers(store, keeper, lambda ae: Profile(Device(ae, ("LAB1",)), replace(POLICY)))
    yield store, keeper, handlers
    assert store.first_broken_position() is None
    store.close()


STEPS: Final = st.one_of(
    st.just(("device",)),
    st.just(("replay",)),
    st.just(("trial",)),
    st.tuples(st.just("some"), st.sampled_from([(0,), (1,), (0, 1)])),
    st.just(("change",)),
    st.tuples(st.just("release"), st.lists(st.integers(0, 5), min_size=1, max_size=3)),
    st.tuples(st.just("release"), st.lists(st.integers(0, 5), min_size=1, max_size=3)),
)


def run(parts: Any, steps: list[Any], *, hears: bool = False) -> Case:
    """A case in which these steps happen, one after the other."""
    case = Case(*parts)
    for what, *how in steps:
        match what:
            case "device":
                case.device()
            case "replay":
                case.replay()
            case "trial":
                case.replay(trial=True)
            case "some":
                case.replay(how[0])
            case "change":
                case.change()
            case "hear":
                case.hear()
            case "release" if case.store.held:
                case.store.release(*how[0])
    case.finish()
    if not hears:
        case.check()
    return case


@settings(max_examples=1000, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_a_replay_and_a_repeat_add_one_event(parts: Any, steps: list[Any]) -> None:
    """However they interleave: each entry stands once, and a device that was told Success has all of it stored.

    At the end the device sends it once more: it is told Success, and nothing is added twice.
    """
    case = run(parts, steps)
    if not case.opened:
        case.change()
    case.device()
    case.finish()
    assert int(case.answers[-1]) == 0
    assert case.stored() == {"a": 1, "b": 1}
    case.check()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(STEPS, st.just(("hear",))), min_size=1, max_size=14))
def test_what_a_device_sends_after_it_has_its_answer(parts: Any, steps: list[Any]) -> None:
    """Each answer that has arrived allows one more event, and no more; what was told Success is stored."""
    case = run(parts, [("change",), *steps], hears=True)
    case.check()


def test_a_trial_changes_nothing(parts: Any) -> None:
    """Whatever it would do."""
    case = Case(*parts)
    case.change()
    head = case.store.head()
    case.replay(trial=True)
    case.replay((0,), trial=True)
    case.finish()
    assert case.store.head() == head
    assert [pending.stored.outcome for pending in case.replays if pending.stored] == ["added", "added"]


@pytest.mark.parametrize("entries", [(), (0,), (0, 1)])
def test_a_replay_that_was_decided_before_the_device_had_its_answer(parts: Any, entries: tuple[int, ...]) -> None:
    """The device repeats, is told Success and shows that it has that, all while a replay is on its way: the replay adds nothing."""
    case = Case(*parts)
    case.change()
    case.replay(entries)
    case.device()
    case.store.release(1)
    assert int(case.answers[-1]) == 0
    case.hear()
    case.finish()
    [replayed] = case.replays
    assert replayed.stored is not None
    assert replayed.stored.outcome == "closed"
    assert case.stored() == {"a": 1, "b": 1}
