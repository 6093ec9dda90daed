"""Nothing that was read stays until the garbage collector comes: it would hold everybody up while it looks for it."""

import gc

from plscp.statuses import PROCEDURAL_EVENT_LOGGING as PEL
from tests.rawscu import SYNTAXES, RawScu
from tests.service.conftest import Running
from tests.system.attacks.attackers import element, items

REQUESTS, ITEMS = 10, 1500


def test_a_refused_request_leaves_no_circle_behind(ours: Running) -> None:
    """One with more items than are taken: what was read of it goes with its answer."""
    raw = element(0x00100020, b"P1") + element(0x0040A730, items(b"") * 3000)
    with RawScu("127.0.0.1", ours.port, contexts=[(PEL, SYNTAXES[0])]) as scu:
        scu.request(PEL, raw)
        gc.collect()
        gc.disable()
        try:
            for _ in range(REQUESTS):
                assert scu.request(PEL, raw).status == 0xC102
            found = gc.collect()
        finally:
            gc.enable()
    assert found < ITEMS
