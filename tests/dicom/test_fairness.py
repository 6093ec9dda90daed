"""Whose work led to nothing is read more slowly; whose requests are accepted is not."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from plscp.dicom import acceptor, association, fairness
from plscp.dicom.acceptor import Acceptor
from plscp.dicom.answer import SUCCESS
from plscp.dicom.association import Association
from plscp.dicom.fairness import BURST_SECONDS, MOST_KNOWN, SHAKING_SECONDS, Accounts, AddressTurns, Turns
from tests.dicom.wire import CONTEXTS, SETTINGS, Line, Transport, pdus_of, request
from tests.rawscu import associate_rq

SHARED = replace(SETTINGS, futile_share=0.1)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock to turn by hand."""
    moment = [1000.0]
    monkeypatch.setattr("plscp.dicom.fairness.time.monotonic", lambda: moment[0])
    return moment


def test_beyond_the_credit_one_rests_until_the_share_has_paid(now: list[float]) -> None:
    """Up to the credit nobody rests; a second beyond it takes ten of rest at a tenth's share; others owe nothing."""
    accounts = Accounts(SHARED)
    assert accounts.charge("10.0.0.1", BURST_SECONDS) == 0.0
    assert accounts.charge("10.0.0.1", 1.0) == pytest.approx(10.0)
    assert accounts.charge("10.0.0.2", 0.01) == 0.0
    now[0] += 10.0
    assert accounts.charge("10.0.0.1", 0.0) == pytest.approx(0.0)


@pytest.mark.usefixtures("now")
def test_what_is_made_up_for_is_owed_no_more() -> None:
    """Work that is taken back leaves no debt, and never a credit."""
    accounts = Accounts(SHARED)
    for _ in range(100):
        accounts.charge("10.0.0.1", 0.02)
        accounts.charge("10.0.0.1", -0.03)
    assert accounts.charge("10.0.0.1", BURST_SECONDS + 0.1) == pytest.approx(1.0)


def test_addresses_without_end_take_no_memory() -> None:
    """However many addresses there are, few are remembered."""
    accounts = Accounts(SHARED)
    for number in range(3 * MOST_KNOWN):
        accounts.charge(f"10.{number}", 0.001)
    assert len(accounts._debts) <= MOST_KNOWN + 1


def test_handshakes_have_their_turns(now: list[float]) -> None:
    """What is more than a turn's worth waits for the next turn, in order, and whatever one of them raises."""
    turns: list[Callable[[], None]] = []
    done: list[int] = []
    waiting = Turns(lambda _, call: turns.append(call))

    def one(number: int) -> None:
        done.append(number)
        now[0] += SHAKING_SECONDS / 2
        if number == 1:
            raise ValueError

    for number in range(7):
        waiting.wait(partial(one, number))
    assert (done, len(turns)) == ([], 1)
    with pytest.raises(ValueError, match=r"^$"):
        turns.pop()()
    assert done == [0, 1]
    while turns:
        before = len(done)
        turns.pop()()
        assert 0 < len(done) - before <= 3
    assert done == list(range(7))


class Ticking:
    """A clock on which each look takes two milliseconds: so long does work take here, on any machine."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        self.now += 0.002
        return self.now


@pytest.mark.parametrize(("status", "slowed"), [(0x0000, False), (0xB102, False), (0xC103, True), (0x0213, True)])
def test_refusals_are_slowed_and_accepted_requests_are_not(
    monkeypatch: pytest.MonkeyPatch, status: int, slowed: bool
) -> None:
    """A device whose requests are refused rests at last, and is answered all the same; one whose are accepted never does."""
    clock = Ticking()
    for module in (acceptor, association, fairness):
        monkeypatch.setattr(module, "time", clock)
    seen: list[str] = []
    with Line(replace(SETTINGS, futile_share=0.001), lambda _: (status, None) if status else (SUCCESS, None)) as line:
        line.acceptor.slowed = lambda _, reason: seen.append(reason)  # type: ignore[assignment, method-assign]
        line.associate()
        line.acceptor.later = lambda *_: None  # type: ignore[method-assign]
        for number in range(1, 201):
            line.send(request(number))
            assert [answer.Status for answer in line.answers()] == [status]
            if seen:
                break
    assert seen == ["futile-work"] * slowed


def test_a_debt_is_that_of_the_address_not_of_one_connection(now: list[float]) -> None:
    """A new connection is read when the debt is paid; those of other addresses at once."""
    owner = Acceptor(replace(SETTINGS, futile_share=0.5), lambda _: (SUCCESS, None))
    rests: list[tuple[float, Callable[[], None]]] = []
    owner.address_turns = AddressTurns(owner.accounts, lambda *rest: rests.append(rest))
    owner.accounts.charge("10.0.0.5", BURST_SECONDS + 0.5)

    def connected(address: str) -> tuple[Association, Transport]:
        one, transport = Association(owner), Transport(address)
        one.connection_made(transport)
        return one, transport

    other, _ = connected("10.0.0.1")
    assert not rests
    one, transport = connected("10.0.0.5")
    began = now[0]
    while not transport.reading:
        [(seconds, call)] = rests
        rests.clear()
        now[0] += seconds
        call()
    assert now[0] - began == pytest.approx(1.0)
    one.data_received(associate_rq("HEMO1", "PLSCP", CONTEXTS))
    assert [kind for kind, _ in pdus_of(bytes(transport.written))] == [2]
    for each in (one, other):
        each.connection_lost(None)
