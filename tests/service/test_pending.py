"""When and where an answer is given: after the commit or at the answer deadline, in the event loop, whatever the size of the data set."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.dicom.answer import PendingResponse, Status
from plscp.matching.model import Device
from plscp.matching.registry import Locations, Registry
from plscp.service import steps
from plscp.service.handlers import LARGE_BYTES, Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.store.port import CallSoon, Draft, Filter, RequestRecord, Stale, at_once
from tests import events
from tests.service.test_other_settings import event_of, put
from tests.serving import until
from tests.temporary import TemporaryStore

SMALL, LARGE = 10, LARGE_BYTES + 1
AT_ONCE, NEVER = 0.001, 3600.0


class Holding(TemporaryStore):
    """A store that takes requests only when it is let.

    Attributes:
        held: those that wait; None: it takes them.
        fails: what it raises in place of taking a request.
    """

    def __init__(self, call_soon: CallSoon) -> None:
        super().__init__(call_soon=call_soon)
        self.held: list[Draft] | None = None
        self.fails: Exception | None = None

    def submit(self, draft: Draft) -> None:
        """As the store's, of what is no request."""
        if isinstance(draft, RequestRecord):
            if self.fails is not None:
                raise self.fails
            if self.held is not None:
                self.held.append(draft)
                return
        super().submit(draft)

    def let(self) -> None:
        """Take what waits."""
        held, self.held = self.held or [], None
        for draft in held:
            self.submit(draft)


class Rig:
    """Handlers that know one open study."""

    def __init__(self, deadline: float) -> None:
        self.call_soon: CallSoon = at_once
        self.store = Holding(lambda call: self.call_soon(call))  # noqa: PLW0108 -- another once there is a loop
        keeper = RegistryKeeper(self.store, Registry(Locations({})))
        self.sop_classes, self.zone = Profile(Device("")).sop_classes, "UTC"
        self.handlers = Handlers(self.store, keeper, self._profile, answer_deadline=deadline)
        put(keeper, "1.1", "P1", "HOSP")

    def _profile(self, ae_title: str) -> Profile:
        return Profile(Device(ae_title), sop_classes=self.sop_classes, zone=self.zone)

    def entries(self) -> int:
        """How many are stored."""
        return len(self.store.read(Filter(kinds=("entry",))))

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it in an event loop, to which the store's results come."""

        async def inside() -> None:
            self.call_soon = asyncio.get_running_loop().call_soon_threadsafe
            async with asyncio.timeout(60):
                await work()

        asyncio.run(inside())

    async def begin(self, length: int) -> tuple[Status, int]:
        """Of a note of so many characters: status, and how many entries were stored when it was given, in this thread."""
        response = self.handlers.begin(event(length))
        here, found = threading.get_ident(), []
        given = asyncio.Event()

        def take(_: Any) -> None:
            found.append(self.entries() if threading.get_ident() == here else -1)
            given.set()

        if response.answer is None:
            response.then(take)
            await given.wait()
        assert response.answer is not None
        return response.answer[0], found[0] if found else self.entries()


def event(length: int) -> Any:
    """A note of so many characters."""
    data = events.procedural([events.note(events.now(), "x" * length)], study="1.1", patient="P1")
    return event_of(data, datetime.now(UTC))


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """With the deadline that the test asks for, in seconds."""
    made = Rig(request.param)
    yield made
    made.store.close()


def lines(logs: list[Any], name: str) -> list[Any]:
    """Those of one log event."""
    return [line for line in logs if line["event"] == name]


@pytest.mark.parametrize("rig", [NEVER], indirect=True)
@pytest.mark.parametrize("length", [SMALL, LARGE])
def test_an_answer_is_given_in_the_loop_after_the_commit(rig: Rig, length: int) -> None:
    """Also of a data set that was read in the thread for large ones."""

    async def work() -> None:
        assert await rig.begin(length) == (0, 1)

    rig.run(work)


@pytest.mark.parametrize("rig", [NEVER], indirect=True)
@pytest.mark.parametrize("length", [SMALL, LARGE])
def test_what_the_first_steps_refuse_is_answered_in_the_loop(rig: Rig, length: int) -> None:
    """Nothing goes to the store."""
    rig.sop_classes = frozenset()

    async def work() -> None:
        assert await rig.begin(length) == (0x0124, 0)

    rig.run(work)


@pytest.mark.parametrize("rig", [AT_ONCE], indirect=True)
@pytest.mark.parametrize("length", [SMALL, LARGE])
def test_a_store_that_is_slow(rig: Rig, length: int) -> None:
    """At the deadline the device gets a failure with its Error ID; the event is stored all the same, and nothing is answered twice."""

    async def work() -> None:
        rig.store.held = []
        response = rig.handlers.begin(event(length))
        given: asyncio.Queue[Any] = asyncio.Queue()
        response.then(given.put_nowait)
        status, _ = await given.get()
        assert (status, status.error_id is not None) == (0x0110, True)
        await asyncio.to_thread(until, lambda: rig.store.held, "the request")
        rig.store.let()
        await asyncio.to_thread(until, rig.entries, "the event")
        assert given.empty()

    with capture_logs() as logs:
        rig.run(work)
    assert len(lines(logs, "answer-late")) == 1


@pytest.mark.parametrize("rig", [AT_ONCE], indirect=True)
def test_a_large_data_set_that_waits_for_others(rig: Rig) -> None:
    """Its deadline counts from its last byte: it is answered before it is read, and read and stored all the same."""
    go = threading.Event()
    rig.handlers._slow_lane.submit(go.wait, 60)

    async def work() -> None:
        assert await rig.begin(LARGE) == (0x0110, 0)
        go.set()
        await asyncio.to_thread(until, rig.entries, "the event")

    rig.run(work)


@pytest.mark.parametrize("rig", [NEVER], indirect=True)
@pytest.mark.parametrize(("length", "in_loop"), [(SMALL, [True, True]), (LARGE, [False, False])])
def test_a_data_set_that_is_read_again_by_other_settings(
    rig: Rig, length: int, in_loop: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store gives it back and the device's settings have changed: a large one is read again in the thread for those, too."""
    readers: list[int] = []
    read_data_set = steps.read_data_set

    def reading(*given: Any) -> Any:
        readers.append(threading.get_ident())
        return read_data_set(*given)

    monkeypatch.setattr(steps, "read_data_set", reading)

    async def work() -> None:
        rig.store.held = []
        response = rig.handlers.begin(event(length))
        given: asyncio.Queue[Any] = asyncio.Queue()
        response.then(given.put_nowait)
        await asyncio.to_thread(until, lambda: rig.store.held, "the request")
        [draft], rig.store.held = rig.store.held or [], None
        rig.zone = "Europe/Berlin"
        assert isinstance(draft, RequestRecord)
        draft.done(Stale(0))
        status, _ = await given.get()
        assert (status, [reader == threading.get_ident() for reader in readers]) == (0, in_loop)

    rig.run(work)


@pytest.mark.parametrize("rig", [NEVER], indirect=True)
def test_a_defect_with_a_large_data_set(rig: Rig) -> None:
    """It is answered 0110H at once and logged; the next one is taken."""

    async def work() -> None:
        rig.store.fails = RuntimeError("a defect")
        assert await rig.begin(LARGE) == (0x0110, 0)
        rig.store.fails = None
        assert await rig.begin(LARGE) == (0, 1)

    with capture_logs() as logs:
        rig.run(work)
    assert [line["where"] for line in lines(logs, "internal-error")] == ["handlers"]


@pytest.mark.parametrize("rig", [NEVER], indirect=True)
def test_a_large_data_set_whose_loop_has_ended(rig: Rig) -> None:
    """Nobody is left to be answered; that is no defect."""
    go = threading.Event()
    rig.handlers._slow_lane.submit(go.wait, 60)
    rig.sop_classes = frozenset()

    async def work() -> None:
        rig.handlers.begin(event(LARGE))

    with capture_logs() as logs:
        rig.run(work)
        go.set()
        rig.handlers._slow_lane.submit(int).result(60)
    assert lines(logs, "internal-error") == []


@pytest.mark.parametrize("rig", [AT_ONCE], indirect=True)
def test_who_waits_in_a_thread_gets_a_failure_at_the_deadline(rig: Rig) -> None:
    """As in the loop; the event is stored all the same."""
    rig.store.held = []
    with capture_logs() as logs:
        status, reply = rig.handlers.answer(event(SMALL))
    assert (status, reply, len(lines(logs, "answer-late"))) == (0x0110, None, 1)
    rig.store.let()
    until(rig.entries, "the event")


def test_a_response_is_given_once() -> None:
    """What comes later is dropped."""
    response = PendingResponse()
    given: list[Any] = []
    response.then(given.append)
    response.give((0, None))
    response.give((0x0110, None))
    assert (given, response.answer) == ([(0, None)], (0, None))
