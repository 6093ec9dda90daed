"""Every attack on a real server, while an honest device on the same network goes on sending."""

from collections.abc import Iterator

import pytest

from tests.system.attacks.attackers import ATTACKS, Attack
from tests.system.attacks.running import Field

UNTIMED = float("inf")
"""Seconds that an answer may take here: other tests and their brokers share the machine. `make attacks` is the one that measures."""


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """One server, which takes all of it; its honest association stays open throughout."""
    with Field(tmp_path_factory.mktemp("attacked"), niceness=0) as made:
        yield made


@pytest.mark.xdist_group("attacks")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_an_honest_device_is_served(field: Field, attack: Attack) -> None:
    """Every request is answered Success, no memory lost; the attack is answered, counted, and logged once for each cause and peer."""
    outcome = field.attack(attack, floor=UNTIMED)
    assert outcome.statuses == {0x0000}
    assert outcome.grown < 100
    assert not outcome.repeated()
    assert "internal-error" not in {line["event"] for line in outcome.lines}
