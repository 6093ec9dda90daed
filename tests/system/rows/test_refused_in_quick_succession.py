"""Also from this review: a tester whose requests are refused, one after the other, and who then releases."""

from pathlib import Path

from plscp.dicom.fairness import REFUSED_AT_ONCE, Accounts, AddressTurns, Payer
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.system.rows.rig import Rig, at


def refused(number: int) -> bytes:
    """For a patient whom nobody knows, each with other words."""
    return events.encoded(events.procedural([events.note(at("10:00"), f"note {number}")], patient="NOBODY"))


class Unhurried(Accounts):
    """No piece of work counts for more than it takes: a machine that stalls is nobody's debt."""

    def charge(self, payer: Payer, seconds: float, most: float = float("inf")) -> float:
        """As ever, but for the stall."""
        return super().charge(payer, min(seconds, 0.002), most)


def test_sixty_refused_requests_then_a_release(tmp_path: Path) -> None:
    """All are answered without a pause; more of them are slowed, and the release is answered all the same, as is a neighbour.

    The clock of the accounts stands still: nothing that is owed wears off, and no rest ends by itself.
    """
    pauses: list[str] = []
    with Rig(tmp_path) as rig:
        rig.study("1.1", "PA", location="LAB1")
        acceptor = rig.acceptor
        acceptor.accounts = Unhurried(acceptor.settings, lambda: 1000.0)
        acceptor.later = lambda *_: None  # type: ignore[method-assign]
        acceptor.address_turns = AddressTurns(acceptor.accounts, acceptor.later)
        acceptor.slowed = lambda _, reason: pauses.append(reason)  # type: ignore[assignment, method-assign]
        with rig.scu("TESTER") as scu:
            for number in range(REFUSED_AT_ONCE):
                assert scu.request(PROCEDURAL_EVENT_LOGGING, refused(number)).status == 0xC103
        assert not pauses
        scu = rig.scu("TESTER").associate()
        number = REFUSED_AT_ONCE
        while not pauses:
            number += 1
            assert scu.request(PROCEDURAL_EVENT_LOGGING, refused(number)).status == 0xC103
            rig.settle()  # it is answered first, and charged then
        for _ in range(20):
            honest = events.procedural([events.note(at("10:00"))], study="1.1")
            assert rig.send(honest, calling="HEMO1", when="10:00:30").status == "0000"
        scu.release()
        scu.socket.close()
    assert pauses == ["futile-work"]
