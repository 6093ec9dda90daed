"""The rig itself: an event under a clock that is set, kept over a restart."""

from pathlib import Path

from plscp.matching.model import Device
from plscp.service.profile import Profile
from tests.events import note, procedural
from tests.system.rows.rig import POLICY, Rig, at


def test_an_event_is_logged_under_the_clock_that_the_test_sets(tmp_path: Path) -> None:
    with Rig(tmp_path, Profile(Device("HEMO1", ("LAB1",)), POLICY)) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1")
        request = procedural([note(at("10:00:00"))], patient="PA")
        assert str(rig.send(request, calling="HEMO1", when="10:00:01")) == "0000 1.1 PA"
        rig.restart()
        [event] = rig.events()
        assert event.occurred == "2024-05-14T10:00:00.000Z"
        assert rig.keeper.registry.study("1.1") is not None
