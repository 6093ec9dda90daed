"""An honest device behind the address of an attacker, of each kind: what it sends is answered, however slowly the attacker is read."""

from collections.abc import Iterator

import pytest

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RawScu
from tests.system.attacks.attackers import ATTACKS, Attack
from tests.system.attacks.honest import STUDY
from tests.system.attacks.running import Field

CROWDED = {"one byte and stop", "2,400 half-open handshakes", "300 connections of one address", "80 associations of one address",
           "A-ASSOCIATE-RQ byte by byte"}  # fmt: skip
"""Attacks that take up what one address may have of connections or associations: a further one of that address is turned away, which
the caps are for (`trusted_proxies` is for those who have many devices there)."""


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """One server, which takes all of it."""
    with Field(tmp_path_factory.mktemp("neighbours")) as made:
        yield made


@pytest.mark.xdist_group("attacks")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_a_neighbour_of_the_attacker_is_served(field: Field, attack: Attack) -> None:
    """Every request on its association is answered, its release too; where there is room for a further association, that as well."""

    def scu(address: str) -> RawScu:
        return RawScu("127.0.0.1", field.clock.port, calling="HONEST", source=(address, 0), timeout=60)

    def record(one: RawScu, count: int) -> list[int]:
        found = []
        for _ in range(count):
            data = events.encoded(events.procedural([events.note(events.now())], study=STUDY, patient="P1"))
            found.append(one.request(PROCEDURAL_EVENT_LOGGING, data).status)
        return found

    def act(address: str) -> None:
        assert record(before, 20) == [0x0000] * 20
        before.release()
        if attack.name not in CROWDED:
            with scu(address) as further:
                assert record(further, 5) == [0x0000] * 5

    before = scu(f"127.{1 + ATTACKS.index(attack)}.1.1").associate()
    try:
        field.beside(attack, act)
    finally:
        before.socket.close()
