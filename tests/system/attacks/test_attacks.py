"""Every attack on a real server, while an honest device on the same network goes on sending."""

from collections.abc import Iterator

import pytest

from tests.system.attacks.attackers import ATTACKS, Attack
from tests.system.attacks.running import Field

SHARED = 0.15
"""Seconds that an answer may take here, whatever it takes when all is calm: other tests and their brokers share the machine. What
these tests found took seconds; `make attacks` is the one that measures."""


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """One server, which takes all of it; its honest association stays open throughout."""
    with Field(tmp_path_factory.mktemp("attacked")) as made:
        yield made


@pytest.mark.xdist_group("attacks")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_an_honest_device_does_not_notice(field: Field, attack: Attack) -> None:
    """Answered in time, no memory lost; the attack is answered, counted, and logged once for each cause and peer."""
    outcome = field.attack(attack, windows=20, floor=SHARED)
    assert outcome.statuses == {0x0000}
    assert outcome.held, f"p99 {outcome.p99 * 1000:.1f} ms, calm {outcome.calm * 1000:.1f} ms"
    assert outcome.grown < 100
    assert attack.logged in {line["event"] for line in outcome.lines}
    assert not outcome.repeated()
    assert "internal-error" not in {line["event"] for line in outcome.lines}
