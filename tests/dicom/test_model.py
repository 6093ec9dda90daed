"""Arbitrary PDUs, cut anywhere, answers at any time, any clock: the acceptor beside a model of what PS3.8 wants of it."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self
from unittest.mock import Mock, patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from plscp.dicom import acceptor, association
from plscp.dicom.admission import Required, refusal
from plscp.dicom.answer import PendingResponse
from plscp.dicom.settings import Deadlines, NetworkSettings, WireBounds
from plscp.dicom.upper_layer import State
from tests.dicom.model import NEVER, Model, Sent, elements
from tests.dicom.stimuli import GOOD, ITEMS, KNOWN, begun, pdu, requests, stimuli, streams
from tests.dicom.wire import Line, Transport, pdvs_of

EXAMPLES = int(os.environ.get("PLSCP_TEST_EXAMPLES", "100"))
SETTINGS = NetworkSettings(
    port=0,
    futile_share=1.0,
    bounds=WireBounds(pdu=600, associate_request=1024, command_set=200, waiting_requests=2),
    deadlines=Deadlines(artim=7.0),
)
ALLOWED = (State.STA1, State.STA2, State.STA6, State.STA8, State.STA13)
"""States that an acceptor may be found in while nothing is being worked on."""


# --- the acceptor ------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes when it is told to, and by so much at each look."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 1000.0, tick

    def monotonic(self) -> float:
        """Seconds."""
        self.now += self.tick
        return self.now


class Window(Transport):
    """A peer that may have stopped reading: then the next answer does not leave."""

    def __init__(self, one: Any) -> None:
        super().__init__()
        self.one, self.stuck, self.told = one, False, False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.stuck and not self.told and data[0] == 4:
            self.told = True
            self.one.pause_writing()

    def reads(self) -> None:
        """The peer reads again."""
        self.stuck = False
        if self.told:
            self.told = False
            self.one.resume_writing()


class Real:
    """The acceptor with the clock and the handler in hand; a context manager.

    Attributes:
        mode: what the handler does: a status, `later`, or a defect.
        due: the answer that is to come.
    """

    def __init__(self, *, crowded: bool = False, tick: float = 0.0) -> None:
        self.clock = Clock(tick)
        self.mode: Any = 0
        self.due: PendingResponse | None = None
        self.sent: list[Sent] = []
        self._ends = ExitStack()
        for module in (acceptor, association):
            self._ends.enter_context(patch.object(module, "time", self.clock))
        for noisy in (acceptor, association):
            self._ends.enter_context(patch.object(noisy, "log", Mock()))
        self.settings = replace(SETTINGS, max_associations=0 if crowded else 1000)
        self.line = line = self._ends.enter_context(Line(self.settings, self._handle))
        line.acceptor.admit = lambda caller: refusal(caller, dict.fromkeys(KNOWN, Required()), unknown=False)
        self.window = Window(line.association)
        line.transport = line.association._transport = self.window

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.__exit__(*exc)  # type: ignore[arg-type]

    def _handle(self, event: Any) -> Any:
        if self.mode == "later":
            self.due = PendingResponse()
            return self.due
        if self.mode == "raises":
            raise RuntimeError
        return (self.mode, None)

    def answer(self, how: Any) -> None:
        """The answer that was to come."""
        due, self.due = self.due, None
        assert due is not None
        due.give((how, None))
        self.line.turn()

    def passes(self, seconds: float) -> None:
        """Time, and the acceptor's look at the deadlines."""
        self.clock.now += seconds
        one = self.line.association
        if not self.line.lost and one.deadline <= self.clock.now:
            assert one in self.line.acceptor._open
            one.overdue()
        self.line.turn()

    def heard(self) -> list[Sent]:
        """Everything that was sent so far, as the model says it."""
        self.sent += [said(kind, body) for kind, body in self.line.pdus()]
        return self.sent


def said(kind: int, body: bytes) -> Sent:
    """A PDU in the model's words."""
    if kind == 4:
        [(context, control, raw)] = pdvs_of(body)
        assert control == 3
        found = elements(raw)
        assert found[0x0800] == b"\1\1"
        field, number, status = (int.from_bytes(found[tag], "little") for tag in (0x0100, 0x0120, 0x0900))
        return ("RSP", context, field, number, status)
    if kind == 2:
        return ("AC",)
    assert len(body) == 4
    return {3: ("RJ", *body[1:]), 6: ("RP",), 7: ("ABORT", *body[2:])}[kind]


STATUS_OF = {"raises": 0x0110, "nonsense": 0x0110}


class Both:
    """The acceptor and its model, told the same."""

    window_stuck = False

    def __init__(self, *, crowded: bool = False) -> None:
        self.real = Real(crowded=crowded)
        self.model = Model(self.real.settings, ITEMS, KNOWN, (1, 3, 5), self._user)
        self.model.wrote = self._wrote  # type: ignore[method-assign]

    def _user(self) -> int | None:
        mode = self.real.mode
        return None if mode == "later" else STATUS_OF.get(mode, mode)

    def _wrote(self) -> None:
        if self.window_stuck and not self.model.blocked:
            self.model.blocks()

    def compare(self) -> None:
        """They agree."""
        real, model = self.real, self.model
        assert real.heard() == model.sent
        assert real.line.state in ALLOWED
        assert (real.line.state, real.line.lost) == (model.state, model.state == 1)
        if model.state != 1:
            deadline = real.line.association.deadline
            assert deadline - 1000.0 == (model.deadline if model.deadline != NEVER else NEVER)
        else:
            assert not real.line.acceptor._open


def cut(raw: bytes, places: Sequence[int]) -> list[bytes]:
    """Bytes in pieces."""
    marks = sorted({place % (len(raw) + 1) for place in places})
    return [raw[a:b] for a, b in zip([0, *marks], [*marks, len(raw)], strict=True) if a < b]


MODES = st.sampled_from(["later", "later", "later", "later", "later", 0, 0, 0xC103, "raises", "nonsense"])
PLACES = st.lists(st.integers(0, 1 << 16), max_size=3)
RARELY = st.sampled_from([False] * 9 + [True])
MOSTLY = st.sampled_from([True] * 9 + [False])


class Machine(RuleBasedStateMachine):
    """Peer, handler, clock and operator in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.both = Both()
        self.real, self.model = self.both.real, self.both.model

    def connect(self, mode: Any, crowded: bool, first: bool) -> None:
        self.teardown()
        self.both = Both(crowded=crowded)
        self.real, self.model = self.both.real, self.both.model
        self.real.mode = mode
        if first:
            self.arrives(pdu(1, GOOD), [])

    def is_over(self) -> bool:
        return self.model.state in {1, 13}

    connects = initialize(mode=MODES, crowded=RARELY, first=MOSTLY)(connect)
    connects_anew = precondition(is_over)(rule(mode=MODES, crowded=RARELY, first=MOSTLY)(connect))

    def is_open(self) -> bool:
        return self.model.state != 1

    def is_due(self) -> bool:
        return self.real.due is not None

    def arrives(self, raw: bytes, places: Sequence[int]) -> None:
        for piece in cut(raw, places):
            self.real.line.send(piece)
            self.model.came(piece)

    @precondition(is_open)
    @rule(raw=stimuli, size=st.sampled_from([None, None, None, 3, 7, 20]), places=PLACES)
    def anything_arrives(self, raw: bytes, size: int | None, places: list[int]) -> None:
        self.arrives(raw[:size], places)

    def is_answering(self) -> bool:
        return self.model.state in {6, 8}

    @precondition(is_answering)
    @rule(raw=requests, places=PLACES)
    def asks(self, raw: bytes, places: list[int]) -> None:
        self.arrives(raw, places)

    @precondition(is_answering)
    @rule(raw=requests)
    def asks_at_once(self, raw: bytes) -> None:
        self.arrives(raw, [])

    @precondition(is_answering)
    @rule(raw=requests, more=begun)
    def asks_and_begins(self, raw: bytes, more: bytes) -> None:
        self.arrives(raw + more, [])

    @precondition(is_answering)
    @rule()
    def releases(self) -> None:
        self.arrives(pdu(5, bytes(4)), [])

    @rule(mode=MODES)
    def handler_will(self, mode: Any) -> None:
        self.real.mode = mode

    @precondition(is_due)
    @rule(how=st.sampled_from([0, 0xB000, "nonsense"]))
    def handler_answers(self, how: Any) -> None:
        self.model.answer(STATUS_OF.get(how, how))
        self.real.answer(how)

    @rule(seconds=st.sampled_from([0.5, 0.5, 2.5, 2.5, 4.5, 6.5, 10.0, 25.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.real.passes(seconds)
        self.model.passes(seconds)

    @precondition(is_open)
    @rule()
    def peer_stops_reading(self) -> None:
        self.real.window.stuck = self.both.window_stuck = True

    @precondition(is_open)
    @rule()
    def peer_reads(self) -> None:
        self.both.window_stuck = False
        if self.model.blocked:
            self.model.unblocks()
        self.real.window.reads()
        self.real.line.turn()

    @precondition(is_open)
    @rule(really=RARELY)
    def server_stops(self, really: bool) -> None:
        if not really:
            return
        self.real.line.acceptor.end_idle()
        self.real.line.turn()
        self.model.shutdown()

    @precondition(is_open)
    @rule(how=st.sampled_from(["eof", "reset", "", "", "", ""]))
    def peer_closes(self, how: str) -> None:
        if how == "eof":
            self.real.line.association.eof_received()
        elif how == "reset":
            self.real.line.transport.closing = True
        else:
            return
        self.real.line.turn()
        self.model.lost()

    @invariant()
    def agree(self) -> None:
        self.both.compare()

    def teardown(self) -> None:
        self.real.__exit__(None, None, None)


@pytest.mark.seeded
def test_any_order_of_events_is_answered_as_the_model_says() -> None:
    """PDUs, answers, time, a peer that does not read, shutdown, loss: states, PDUs sent and deadlines are the model's."""
    run_state_machine_as_test(Machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=40))


@settings(max_examples=EXAMPLES)
@given(
    raw=streams,
    places=st.lists(st.integers(0, 1 << 16), max_size=5),
    mode=st.sampled_from([0, "later", "raises"]),
    tick=st.sampled_from([0.0, 0.003]),
)
def test_how_bytes_are_cut_does_not_matter(raw: bytes, places: list[int], mode: Any, tick: float) -> None:
    """Whole, in pieces, byte by byte, on a slow machine: the same PDUs and state, and they are the model's."""
    found = []
    for pieces in ([raw], cut(raw, places), [raw[i : i + 1] for i in range(len(raw))]):
        with Real(tick=tick) as real:
            real.mode = mode
            real.line.send(*pieces)
            while real.due is not None:
                real.answer(0)
            found.append((list(real.heard()), int(real.line.state)))
    model = Model(SETTINGS, ITEMS, KNOWN, (1, 3, 5), lambda: None if mode == "later" else STATUS_OF.get(mode, mode))
    model.came(raw)
    while model.busy is not None:
        model.answer(0)
    assert found == [(model.sent, model.state)] * 3
