"""Honest devices among a crowd: some hostile connections of every kind at once. `make crowd` brings 10,000, and measures."""

from pathlib import Path

import pytest

from tests.system.attacks.attackers import ATTACKS
from tests.system.attacks.crowd import crowd, served

EACH = 12


@pytest.mark.slow
@pytest.mark.xdist_group("attacks")
def test_honest_devices_are_served_in_a_crowd(tmp_path: Path) -> None:
    """Every honest request is answered Success; every kind made its connections, and nothing came out of the loop."""
    with served(tmp_path) as (server, secure_port):
        found = crowd(server, secure_port, connections=EACH * len(ATTACKS), seconds=1.0, niceness=0)
        assert [window.statuses for window in (found.before, found.during, found.after)] == [{0x0000}] * 3
        assert {name: seen["connections"] for name, seen in found.seen.items()} == {
            attack.name: EACH for attack in ATTACKS
        }
        assert "internal-error" not in "".join(server.lines)
