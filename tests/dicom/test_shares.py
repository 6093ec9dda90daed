"""Who pays for futile work: an address until there is an association, then the association and its AE title; never an honest neighbour.

The clock of the accounts stands still, or is turned by hand: a debt does not wear off meanwhile, and no verdict depends on the machine.
"""

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from select import select
from typing import Any

import pytest

from plscp.dicom import fairness
from plscp.dicom.answer import SUCCESS
from plscp.dicom.association import NEVER, Association
from plscp.dicom.fairness import (
    BURST_SECONDS,
    COUNTED_EVERY_SECONDS,
    KNOWN_SECONDS,
    LEAST_CREDIT_SECONDS,
    LONGEST_TURN_SECONDS,
    MOST_FORGIVEN_SECONDS,
    MOST_REST_SECONDS,
    MOST_UNASSOCIATED_REST_SECONDS,
    OWN_SECONDS,
    READ_SECONDS,
    REFUSED_AT_ONCE,
    REFUSED_BYTES,
    REFUSED_PER_SECOND,
    SHORTEST_TURN_SECONDS,
    STRANGERS_CREDIT_SECONDS,
    STRANGERS_SHARE,
    TITLES,
    UNASSOCIATED_SECONDS,
    Accounts,
    AddressTurns,
    ConnectionBudget,
)
from plscp.dicom.settings import NetworkCounters, NetworkSettings
from plscp.dicom.sockets import KNOWS_ENDS
from plscp.dicom.upper_layer import State
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.dicom.wire import CONTEXTS, DATA, SETTINGS, Listener, Transport, pdus_of, request
from tests.rawscu import RELEASE_RQ, VERIFICATION, RawScu, associate_rq

SHARE = 0.05
SHARED = replace(SETTINGS, futile_share=SHARE)
HERE, THERE = "10.0.0.1", "10.0.0.2"
RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS)


class Clock:
    """Monotonic seconds, turned by hand; calls things when their time has come."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it when so many seconds have passed."""
        self._due.append((self.now + seconds, call))

    def passes(self, seconds: float) -> None:
        """Time goes by, and what is due is done in its order."""
        end = self.now + seconds
        while self._due and min(self._due, key=lambda due: due[0])[0] <= end:
            first = min(self._due, key=lambda due: due[0])
            self._due.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end


@pytest.fixture
def clock() -> Clock:
    """One for the accounts alone."""
    return Clock()


# --- accounts --------------------------------------------------------------------------------------------------------------


def tab(accounts: Accounts, address: str = HERE, title: str = "") -> ConnectionBudget:
    """Of a connection, or of an association."""
    made = ConnectionBudget(accounts, address)
    if title:
        made.associate(address, title)
    return made


def works(one: ConnectionBudget, seconds: float) -> None:
    """So much futile work, in pieces that count in full."""
    for _ in range(round(seconds / MOST_FORGIVEN_SECONDS)):
        one.charge(MOST_FORGIVEN_SECONDS)


NEIGHBOURS: list[tuple[str, tuple[str, str], tuple[str, str], bool]] = [
    ("the same title at the same address", (HERE, "SCAN"), (HERE, "SCAN"), True),
    ("another title there", (HERE, "SCAN"), (HERE, "HEMO1"), False),
    ("the same title elsewhere", (HERE, "SCAN"), (THERE, "SCAN"), False),
    ("a new connection there", (HERE, "SCAN"), (HERE, ""), False),
    ("an association, while connections owe", (HERE, ""), (HERE, "HEMO1"), False),
    ("a new connection, while connections owe", (HERE, ""), (HERE, ""), True),
    ("a new connection elsewhere", (HERE, ""), (THERE, ""), False),
]


@pytest.mark.parametrize(
    ("attacker", "neighbour", "shared"), [row[1:] for row in NEIGHBOURS], ids=[row[0] for row in NEIGHBOURS]
)
def test_who_shares_a_debt(clock: Clock, attacker: tuple[str, str], neighbour: tuple[str, str], shared: bool) -> None:
    """A neighbour that itself took a little for nothing rests only with those that it has account and address in common with."""
    accounts = Accounts(SHARED, clock)
    works(tab(accounts, *attacker), BURST_SECONDS + 0.1)
    other = tab(accounts, *neighbour)
    works(other, MOST_FORGIVEN_SECONDS + 0.02)
    assert (other.rest() > 0.0) == shared


def test_an_association_that_owes_nothing_never_rests(clock: Clock) -> None:
    """Also not under a title that others use for an attack: each of its requests is accepted."""
    accounts = Accounts(SHARED, clock)
    works(tab(accounts, HERE, "HEMO1"), 10.0)
    honest = tab(accounts, HERE, "HEMO1")
    for _ in range(1000):
        assert honest.charge(OWN_SECONDS / 2) == 0.0
        honest.made_up_for()


def test_titles_without_end_pay_together(clock: Clock) -> None:
    """Under ever another name one may take the share of some, not of each; a title that owes nothing is not asked to pay."""
    accounts = Accounts(SHARED, clock)
    taken = 0.0
    for number in range(50):
        one = tab(accounts, HERE, f"T{number}")
        while one.charge(MOST_FORGIVEN_SECONDS) == 0.0:
            taken += MOST_FORGIVEN_SECONDS
    assert taken <= TITLES * BURST_SECONDS + 50 * MOST_FORGIVEN_SECONDS
    assert tab(accounts, HERE, "HEMO1").charge(OWN_SECONDS) == 0.0
    assert tab(accounts, THERE, "T0").charge(0.1) == 0.0


def test_a_trusted_proxy_pays_for_nothing_before_the_association(clock: Clock) -> None:
    """Afterwards each title behind it pays for itself, and for no other."""
    accounts = Accounts(SHARED, clock)
    before = ConnectionBudget(accounts, None)
    works(before, 10.0)
    assert before.rest() == 0.0
    for number in range(50):
        one = ConnectionBudget(accounts, None)
        one.associate(HERE, f"T{number}")
        works(one, BURST_SECONDS)
        assert one.rest() == 0.0
        works(one, 0.1)
        assert one.rest() > 0.0


def test_what_connections_owe_is_bounded(clock: Clock) -> None:
    """After a flood of connections, however long, the address is out of debt in some seconds."""
    accounts = Accounts(SHARED, clock)
    works(tab(accounts), 60.0)
    assert accounts.rest(HERE) == pytest.approx(MOST_UNASSOCIATED_REST_SECONDS)
    clock.passes(MOST_UNASSOCIATED_REST_SECONDS)
    assert accounts.rest(HERE) == pytest.approx(0.0)


def test_debts_that_are_paid_are_forgotten_first(clock: Clock) -> None:
    """Addresses without end do not wipe out what one owes, while most of them owe nothing any more."""
    accounts = Accounts(SHARED, clock)
    accounts.charge("debtor", 1000.0)
    for number in range(3 * fairness.MOST_KNOWN):
        accounts.charge(f"10.{number}", 0.001)
        clock.now += 0.001
    assert accounts.rest("debtor") > 0.0
    assert len(accounts._debts) <= fairness.MOST_KNOWN + 1


# --- strangers -------------------------------------------------------------------------------------------------------------


def crowd(accounts: Accounts, clock: Clock, number: int = 200) -> list[str]:
    """So many addresses in debt, each for as long as the test goes on."""
    addresses = [f"10.1.{each // 250}.{each % 250}" for each in range(number)]
    for address in addresses:
        accounts.charge(address, 100.0)
    clock.passes(COUNTED_EVERY_SECONDS)
    accounts.rest(addresses[0])  # they are counted
    return addresses


@pytest.mark.parametrize("number", [1, 6, 7, 50, 500])
def test_strangers_have_no_more_than_their_share_however_many_they_are(clock: Clock, number: int) -> None:
    """What the debts of all of them wear off by in a second is what they may take in a second; each has the same part, or its own share."""
    accounts = Accounts(SHARED, clock)
    addresses = crowd(accounts, clock, number)
    before = [accounts._owed(address, clock.now) for address in addresses]
    clock.passes(1.0)
    accounts.rest(addresses[0])
    worn = [then - accounts._owed(address, clock.now) for then, address in zip(before, addresses, strict=True)]
    assert worn == pytest.approx([min(SHARE, STRANGERS_SHARE / number)] * number)
    assert sum(worn) <= STRANGERS_SHARE + 0.001


def test_the_credit_of_many_strangers_is_shared(clock: Clock) -> None:
    """One has a quarter of a second of work before it rests; each of many has little, and never none."""
    for number, credit in (
        (1, BURST_SECONDS),
        (4, BURST_SECONDS),
        (10, STRANGERS_CREDIT_SECONDS / 10),
        (500, LEAST_CREDIT_SECONDS),
    ):
        accounts = Accounts(SHARED, clock)
        crowd(accounts, clock, number)
        assert accounts.charge(THERE, credit) == 0.0
        assert accounts.charge(THERE, 0.001) > 0.0


def test_who_had_a_request_accepted_is_not_slowed_by_strangers(clock: Clock) -> None:
    """Its association, its AE title and its address keep credit, share and refused requests for some minutes; others at its address do not."""
    accounts = Accounts(SHARED, clock)
    device = tab(accounts, HERE, "HEMO1")
    device.made_up_for()
    crowd(accounts, clock)
    assert accounts.charge((HERE, "HEMO1"), BURST_SECONDS) == accounts.charge(HERE, BURST_SECONDS) == 0.0
    assert accounts.charge((HERE, "HEMO1"), SHARE) == pytest.approx(1.0)
    assert sum(is_free(device, 100) for _ in range(100)) == REFUSED_AT_ONCE
    assert accounts.charge((HERE, "SCAN"), BURST_SECONDS) > 1.0
    clock.passes(KNOWN_SECONDS)
    assert accounts.charge((HERE, "HEMO1"), BURST_SECONDS + 0.001) > 1.0


def test_a_stranger_that_owes_nothing_is_not_slowed_by_many(clock: Clock) -> None:
    """The connection, the proposal and the first request of a device that comes while hundreds attack."""
    accounts = Accounts(SHARED, clock)
    crowd(accounts, clock, 1000)
    device = tab(accounts, HERE)
    assert device.charge(LEAST_CREDIT_SECONDS) == 0.0
    assert accounts.rest(HERE) == 0.0
    device.associate(HERE, "HEMO1")
    assert device.charge(LEAST_CREDIT_SECONDS) == 0.0
    device.made_up_for()
    assert device.charge(BURST_SECONDS) == 0.0


def test_refused_requests_that_are_free_are_fewer_among_many_strangers(clock: Clock) -> None:
    """Else ninety addresses with twenty a second each take all of the time; a device under test alone has all of them."""
    accounts = Accounts(SHARED, clock)
    crowd(accounts, clock, 90)
    free = REFUSED_AT_ONCE * STRANGERS_SHARE / 90 / SHARE
    assert sum(is_free(tab(accounts, HERE, "HEMO1"), 100) for _ in range(100)) == int(free) > 0


def test_a_crowd_that_has_left_slows_nobody_any_more(clock: Clock) -> None:
    """When their debts are paid a stranger has its own share again."""
    accounts = Accounts(SHARED, clock)
    for number in range(100):
        accounts.charge(f"10.1.0.{number}", 0.3)
    clock.passes(COUNTED_EVERY_SECONDS)
    assert accounts.charge(HERE, 0.1) > 0.0
    assert accounts.slower(HERE) > 1.0
    for _ in range(1200):
        clock.passes(COUNTED_EVERY_SECONDS)
        accounts.rest(HERE)
    assert accounts.charge(HERE, BURST_SECONDS) == 0.0
    assert accounts.slower(HERE) == 1.0


# --- refused requests ------------------------------------------------------------------------------------------------------


def test_refused_requests_are_normal(clock: Clock) -> None:
    """Twenty a second for an hour, sixty at once before that: none costs anything, whatever the machine took for it."""
    accounts = Accounts(SHARED, clock)
    device = tab(accounts, HERE, "HEMO1")
    for _ in range(REFUSED_AT_ONCE):
        assert device.charge(MOST_FORGIVEN_SECONDS) == 0.0
        assert device.refused(1000, 0.001) == 0.0
    assert accounts._debts == {}
    for _ in range(3600):
        clock.passes(1.0)
        for _ in range(REFUSED_PER_SECOND):
            assert device.charge(MOST_FORGIVEN_SECONDS) == 0.0
            assert device.refused(1000, 0.001) == 0.0
    assert accounts._debts == {}
    clock.passes(3.0)
    free = sum(is_free(device, 1000) for _ in range(100))
    assert free == REFUSED_AT_ONCE


def test_a_refused_request_that_is_free_forgives_nothing_else(clock: Clock) -> None:
    """What others before it took stays owed: a hundred a second are slowed, though twenty of them are free."""
    device = tab(Accounts(SHARED, clock), HERE, "HEMO1")
    rests = []
    for _ in range(1000):
        clock.passes(0.01)
        rests.append(max(device.charge(0.002), device.refused(1000, 0.001)))
    assert not any(rests[:90])
    assert all(rests[300:][number] or rests[301:][number] for number in range(600))


def is_free(device: ConnectionBudget, length: int) -> bool:
    """Whether a refused request costs nothing."""
    before = device.taken
    device.refused(length, 0.001)
    return device.taken == before


@pytest.mark.parametrize(("length", "free"), [(0, 60), (REFUSED_BYTES - 1, 60), (REFUSED_BYTES, 30), (1 << 20, 0)])
def test_large_refused_requests_count_as_several(clock: Clock, length: int, free: int) -> None:
    """What a refused request costs grows with its data set."""
    device = tab(Accounts(SHARED, clock), HERE, "HEMO1")
    assert sum(is_free(device, length) for _ in range(100)) == free


def test_refused_requests_of_many_titles(clock: Clock) -> None:
    """An address has as many as some titles have; another one has its own."""
    accounts = Accounts(SHARED, clock)
    titles = [tab(accounts, HERE, f"T{number}") for number in range(50)]
    assert sum(is_free(one, 100) for one in titles for _ in range(100)) == TITLES * REFUSED_AT_ONCE
    assert is_free(tab(accounts, THERE, "T1"), 100)


def test_before_an_association_nothing_is_forgiven(clock: Clock) -> None:
    """There are no requests to refuse."""
    assert not is_free(tab(Accounts(SHARED, clock)), 100)


# --- connections of an address in debt ---------------------------------------------------------------------------------------


class Guest:
    """A connection that waits, and what it does when it is read."""

    def __init__(self, name: str, read: list[str], then: Callable[[], None] = lambda: None) -> None:
        self.name, self._read, self._then = name, read, then

    def __call__(self) -> None:
        """Read."""
        self._read.append(self.name)
        self._then()


def test_connections_are_read_one_after_the_other(clock: Clock) -> None:
    """In the order of their coming, when the debt is paid; what each does counts before the next."""
    accounts = Accounts(SHARED, clock)
    admission = AddressTurns(accounts, clock.later)
    read: list[str] = []
    accounts.charge(HERE, BURST_SECONDS + 0.4 * SHARE)
    for name in "abc":
        admission.wait(HERE, Guest(name, read, lambda: accounts.charge(HERE, 0.2 * SHARE)))  # type: ignore[arg-type]
    admission.wait(THERE, Guest("elsewhere", read))
    clock.passes(0.01)
    assert read == ["elsewhere"]
    seen = []
    for _ in range(12):
        clock.passes(0.1)
        seen.append("".join(read[1:]))
    assert seen == ["", "", "", "a", "a", "ab", "ab", "abc", "abc", "abc", "abc", "abc"]


@pytest.mark.parametrize(
    ("others", "most"), [(0, LONGEST_TURN_SECONDS), (4, 2.3 * LONGEST_TURN_SECONDS), (99, 120 * SHORTEST_TURN_SECONDS)]
)
def test_a_flood_of_connections_does_not_starve_an_address(clock: Clock, others: int, most: float) -> None:
    """Connections that are made and closed without end keep the debt at its highest: each that waits has its turn all the same."""
    accounts = Accounts(SHARED, clock)
    admission = AddressTurns(accounts, clock.later)
    read: list[str] = []
    accounts.charge(HERE, 1000.0)
    for _ in range(others):
        admission.wait(HERE, Guest("attacker", read))
    admission.wait(HERE, Guest("honest", read))
    began = clock.now
    while "honest" not in read:
        accounts.charge(HERE, 0.1)
        clock.passes(0.01)
    assert clock.now - began < most + 0.1


def test_a_connection_that_is_gone_has_no_turn(clock: Clock) -> None:
    """Those who close while they wait hold nobody up, and leave nothing behind."""
    accounts = Accounts(SHARED, clock)
    admission = AddressTurns(accounts, clock.later)
    read: list[str] = []
    accounts.charge(HERE, 1000.0)
    gone = [Guest("gone", read) for _ in range(99)]
    for one in gone:
        admission.wait(HERE, one)
    admission.wait(HERE, Guest("honest", read))
    for one in gone:
        admission.leave(HERE, one)
    clock.passes(LONGEST_TURN_SECONDS + 0.5)
    assert read == ["honest"]
    assert not admission._lines


# --- on the wire, without sockets -----------------------------------------------------------------------------------------


class House:
    """A listener without sockets; one clock for everything."""

    def __init__(self, clock: Clock, **settings: Any) -> None:
        self.clock = clock
        self.slowed: Counter[str] = Counter()
        self.status = 0xC103
        house = self

        class Counted(NetworkCounters):
            def association(self, outcome: str, reason: str) -> None:
                house.slowed[f"{outcome} {reason}"] += 1

        from plscp.dicom.acceptor import Acceptor  # noqa: PLC0415  # here, where its one use is

        self.acceptor = Acceptor(
            replace(SHARED, **settings), lambda _: (self.status or SUCCESS, None), counters=Counted()
        )
        self.acceptor.later = clock.later  # type: ignore[method-assign]
        self.acceptor.address_turns = AddressTurns(self.acceptor.accounts, clock.later)

    def guest(self, *chunks: bytes, address: str = HERE) -> "Wire":
        """A connection that sends this."""
        return Wire(self, address).send(*chunks)

    def passes(self, seconds: float) -> None:
        """Time goes by in small steps, and the listener looks at its deadlines."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.passes(min(0.05, end - self.clock.now))
            for one in [one for one in self.acceptor._open if one.deadline <= self.clock.now]:
                one.overdue()


class Wire:
    """One connection; what it sends while it is not read arrives when it is."""

    def __init__(self, house: House, address: str) -> None:
        self.house = house
        self.transport = Transport(address)
        self.association = Association(house.acceptor)
        self.association.connection_made(self.transport)
        self._late: list[bytes] = []
        resume = self.transport.resume_reading

        def resumed() -> None:
            resume()
            house.clock.later(0.0, self._arrive)

        self.transport.resume_reading = resumed  # type: ignore[method-assign]

    def _arrive(self) -> None:
        while self._late and self.transport.reading and not self.transport.closing:
            self.association.data_received(self._late.pop(0))

    def send(self, *chunks: bytes) -> "Wire":
        """Each chunk is one read."""
        self._late += chunks
        self._arrive()
        return self

    def kinds(self) -> list[int]:
        """The PDUs that were written, taken."""
        found = [kind for kind, _ in pdus_of(bytes(self.transport.written))]
        self.transport.written.clear()
        return found


@pytest.fixture
def house(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> House:
    """With the default share; work takes no time but where a test says so."""
    monkeypatch.setattr(time, "monotonic", clock)
    return House(clock)


def owing(house: House, seconds: float, guest: Wire) -> None:
    """The association took so much beyond its credit."""
    for _ in range(round((BURST_SECONDS + seconds) / 0.01)):
        guest.association.charge(0.01)


def test_a_release_is_answered_while_the_association_rests(house: House) -> None:
    """At once, though a request would wait; and an A-ABORT is heard."""
    guest = house.guest(RQ, request(1))
    owing(house, 1.0, guest)
    assert (guest.kinds(), house.slowed["slowed futile-work"]) == ([2, 4], 1)
    guest.send(RELEASE_RQ[:1], RELEASE_RQ[1:])
    assert (guest.kinds(), guest.association.state) == ([6], State.STA13)


def test_requests_of_an_association_that_rests_are_answered_later_and_so_is_its_release(house: House) -> None:
    """What was sent without waiting for answers waits for the end of the rest; then all of it is answered."""
    guest = house.guest(RQ)
    owing(house, 0.1, guest)
    guest.send(request(1), RELEASE_RQ)
    assert (guest.kinds(), guest.transport.reading) == ([2], False)
    house.passes(1.0)
    assert guest.kinds() == []
    house.passes(1.5)
    assert guest.kinds() == [4, 6]


def test_an_association_is_answered_in_the_end_whatever_others_owe_under_its_name(house: House) -> None:
    """A rest has an end although the debt never has."""
    guest = house.guest(RQ)
    owing(house, 0.1, guest)
    guest.send(request(1), RELEASE_RQ)
    guest.kinds()
    for _ in range(round(MOST_REST_SECONDS) + 1):
        house.acceptor.accounts.charge((HERE, "HEMO1"), 10.0)
        house.passes(1.0)
    assert guest.kinds() == [4, 6]


def test_sixty_refused_requests_and_a_release_without_a_pause(house: House) -> None:
    """Whatever time each of them took; beyond that one rests, and what is accepted ends the rest."""
    guest = house.guest(RQ)
    for number in range(1, REFUSED_AT_ONCE + 1):
        guest.association.charge(MOST_FORGIVEN_SECONDS)
        guest.send(request(number))
    assert guest.kinds() == [2] + [4] * REFUSED_AT_ONCE
    assert not house.slowed
    for number in range(300):
        guest.send(request(number + 100))
    assert house.slowed["slowed futile-work"]
    guest._late.clear()
    house.status = 0
    house.passes(30.0)
    guest.kinds()
    guest.send(request(9999), RELEASE_RQ)
    assert guest.kinds()[-1] == 6


@pytest.mark.parametrize("seconds", [5.0, 60.0])
def test_the_first_pdu_has_its_time_from_when_the_connection_is_read(house: House, seconds: float) -> None:
    """A connection that waits for its turn is not closed for being late; once it is read, its deadline runs."""
    house.acceptor.address_turns = AddressTurns(house.acceptor.accounts, lambda *_: None)
    house.acceptor.accounts.charge(HERE, 1.0)
    guest = house.guest(RQ)
    assert (guest.transport.reading, guest.association.deadline) == (False, NEVER)
    house.passes(seconds)
    assert not guest.transport.closing
    guest.association.read_on()
    assert guest.association.deadline == house.clock.now + SETTINGS.deadlines.first_pdu_deadline
    house.passes(0.1)
    assert guest.kinds() == [2]


def test_a_silent_connection_that_waited_is_closed_when_its_own_time_is_over(house: House) -> None:
    """The rest does not count, everything else does."""
    guest = house.guest()
    house.passes(SETTINGS.deadlines.first_pdu_deadline - 1.0)
    house.acceptor.accounts.charge(HERE, BURST_SECONDS + 0.8 * SHARE)
    guest.association.rest(0.0)
    house.passes(0.7)
    assert not guest.transport.reading
    house.passes(0.2)
    assert guest.transport.reading
    house.passes(0.8)
    assert not guest.transport.closing
    house.passes(0.2)
    assert guest.transport.closing


def test_a_message_has_its_time_while_it_is_read(house: House) -> None:
    """A rest in the middle of a message does not end the association; a message that does not end while it is read does."""
    guest = house.guest(RQ, request(1)[: -len(DATA) - 12])
    house.passes(SETTINGS.deadlines.message_deadline - 2.0)
    owing(house, 5.0 * SHARE, guest)
    assert not guest.transport.reading
    house.passes(6.5)
    assert (guest.kinds(), guest.transport.reading) == ([2], True)
    house.passes(1.0)
    assert guest.kinds() == [7]


def test_an_attacker_is_read_again_only_when_it_is_its_turn_again(house: House) -> None:
    """A connection that takes more than a proposal may waits again, behind the others."""
    house.acceptor.accounts.charge(HERE, 1.0)
    guest = house.guest(RQ[:40])
    house.passes(LONGEST_TURN_SECONDS + 0.2)
    assert guest.transport.reading
    guest.association.charge(UNASSOCIATED_SECONDS)
    assert guest.transport.reading
    guest.association.charge(UNASSOCIATED_SECONDS)
    assert not guest.transport.reading


@pytest.fixture
def proxied(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> House:
    """A proxy is trusted, and a whole network."""
    monkeypatch.setattr(time, "monotonic", clock)
    networks = tuple(map(ip_network, (HERE, "fd00::/8")))
    return House(clock, trusted_proxies=networks, max_associations_per_address=2, max_associations=20)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [(HERE, True), (f"::ffff:{HERE}", True), ("fd00::1", True), (THERE, False), ("fe80::1", False)],
)
def test_connections_of_a_trusted_proxy_are_not_counted_against_one_address(
    proxied: House, address: str, trusted: bool
) -> None:
    """Neither its connections, nor its associations, nor what it takes before there is one; the caps of the whole server hold."""
    proxied.acceptor.accounts.charge(address, 10.0)
    found = Counter(guest.association.state for guest in [proxied.guest(RQ, address=address) for _ in range(10)])
    assert found[State.STA6] == (10 if trusted else 0)


def test_every_association_behind_a_proxy_pays_for_itself(proxied: House) -> None:
    """One that owes rests, the others do not."""
    one, other = proxied.guest(RQ), proxied.guest(RQ.replace(b"HEMO1", b"HEMO2"))
    owing(proxied, 1.0, one)
    one.send(request(1))
    other.send(request(1))
    assert (one.kinds(), other.kinds()) == ([2], [2, 4])


def test_what_goes_on_sending_after_an_abort_is_slowed(house: House) -> None:
    """No byte is looked at, but each read takes its time: the rest of 4 GiB is read ever more slowly."""
    guest = house.guest(struct.pack(">BBL", 1, 0, 0xFFFFFFFF))
    assert (guest.kinds(), guest.association.state) == ([7], State.STA13)
    chunks = round(2 * BURST_SECONDS / READ_SECONDS)
    guest.send(*[bytes(1000)] * chunks)
    assert (house.slowed["slowed futile-work"], guest.transport.reading) == (1, False)
    assert len(guest._late) > chunks // 4
    house.passes(SETTINGS.deadlines.artim)
    assert guest.transport.closing


# --- over sockets: an attacker and an honest device behind one address -----------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Refuses what SCAN sends; a debt never wears off, and no rest ends by itself."""

    def answer(event: Any) -> Any:
        return (0xC103 if event.assoc.requestor.ae_title == "SCAN" else SUCCESS), None

    made = Listener(answer, futile_share=SHARE)
    frozen = Clock()
    made.acceptor.accounts = Accounts(made.acceptor.settings, frozen)
    with made:
        yield made


def test_sixty_refused_requests_in_quick_succession_over_a_socket(listener: Listener) -> None:
    """All answered, no pause counted, and the release is answered."""
    slowed: list[str] = []
    listener.acceptor.slowed = lambda _, reason: slowed.append(reason)  # type: ignore[assignment, method-assign]
    with RawScu("127.0.0.1", listener.port, calling="SCAN") as scu:
        assert [scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status for _ in range(60)] == [0xC103] * 60
        assert not slowed


def test_a_device_that_is_slowed_gets_the_answer_to_its_release(listener: Listener) -> None:
    """Refused until it rests, for ever, since the clock stands: its release is answered, and so is a neighbour of its address."""
    slowed: list[str] = []
    listener.acceptor.slowed = lambda _, reason: slowed.append(reason)  # type: ignore[assignment, method-assign]
    scu = RawScu("127.0.0.1", listener.port, calling="SCAN").associate()
    while not slowed:
        assert scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0xC103
    with RawScu("127.0.0.1", listener.port, calling="HEMO1") as honest:
        for _ in range(100):
            assert honest.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0
    scu.release()
    scu.socket.close()
    with RawScu("127.0.0.1", listener.port, calling="SCAN", contexts=[(VERIFICATION, CONTEXTS[0][1])]):
        pass  # it may come back


@pytest.mark.skipif(not KNOWS_ENDS, reason="this system does not tell of an end before all was read")
def test_the_end_of_a_connection_that_rests_is_noticed(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer closes while it rests, though what it had sent before is never read: it is listed no longer."""
    monkeypatch.setattr(fairness, "MOST_REST_SECONDS", float("inf"))
    scu = RawScu("127.0.0.1", listener.port, calling="SCAN").associate()
    slowed: list[str] = []
    listener.acceptor.slowed = lambda _, reason: slowed.append(reason)  # type: ignore[assignment, method-assign]
    with scu.socket:
        while not slowed:  # the rest may begin when half of a request is read
            scu.send(PROCEDURAL_EVENT_LOGGING, DATA)
            listener.until(lambda: slowed or select([scu.socket], [], [], 0)[0])
            assert slowed or scu.response().status == 0xC103
        scu.socket.sendall(request(9999))
        listener.until(lambda: any(one._held for one in listener.acceptor._open))
        assert listener.acceptor.associated == 1
    listener.until(lambda: not listener.acceptor.associated)


def test_settings_reach_the_listener() -> None:
    """`[dicom] trusted_proxies`, as text, becomes networks."""
    from plscp.config import Settings  # noqa: PLC0415  # here, where its one use is

    made = Settings.model_validate({"dicom": {"trusted_proxies": ["10.1.2.3", "fd00::/8"]}}).network()
    assert made.trusted_proxies == (ip_network("10.1.2.3/32"), ip_network("fd00::/8"))
    assert NetworkSettings().trusted_proxies == ()
