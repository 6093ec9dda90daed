"""What the handlers have the store keep beside a request: where it is a sign of life, and what it says about its device's clock."""

import pytest
from pydicom.dataset import Dataset

from plscp.matching.registry import microseconds
from plscp.statuses import PROCEDURAL_EVENT_LOGGING as PEL
from tests import events
from tests.service.conftest import Running
from tests.serving import until

STUDY = "1.2.826.0.1.3680043.9.3811.8.1"


def send(running: Running, *entries: Dataset, calling: str = "HEMO1", **given: str) -> int:
    """One request, released; its status."""
    with running.scu(calling) as scu:
        return scu.request(PEL, events.encoded(events.procedural(entries, **given))).status


@pytest.fixture(autouse=True)
def room(running: Running) -> None:
    """One open study."""
    running.study(STUDY, "P1", location="LAB1")


@pytest.mark.parametrize("given", [{"patient": "P1"}, {"study": STUDY}], ids=str)
def test_a_request_that_names_the_study_is_a_sign_of_life_at_its_place(running: Running, given: dict[str, str]) -> None:
    """When it occurred, also by a clock that nobody knows."""
    latest = events.now(-70)
    assert send(running, events.note(events.now(-90)), events.note(latest), **given) == 0
    [(study, place, moment, arrival)] = running.store.activity(0)
    assert (study, place, moment) == (STUDY, "LAB1", microseconds(latest))
    assert 70 <= (arrival - moment) / 1_000_000 < 190


@pytest.mark.parametrize(
    ("calling", "given", "status"),
    [("HEMO1", {}, 0), ("MOBILE", {"patient": "P1"}, 0), ("HEMO1", {"patient": "P9"}, 0xC104)],
    ids=["matched by place alone", "from nowhere", "refused"],
)
def test_others_are_no_sign_of_life(running: Running, calling: str, given: dict[str, str], status: int) -> None:
    """What place alone matched, comes from nowhere or is refused keeps nothing alive."""
    assert send(running, events.note(events.now()), calling=calling, **given) == status
    assert list(running.store.activity(0)) == []


def test_entries_that_are_known_are_no_sign_of_life(running: Running) -> None:
    """Nothing is added when a log is sent again."""
    entry = events.note(events.now())
    entry.ObservationUID = "1.2.3.4"
    for location, count in (("", 0), ("LAB1", 0)):
        assert send(running, entry, location=location) == 0
        assert len(list(running.store.activity(0))) == count
    assert send(running, entry, patient="P1") == 0
    assert list(running.store.activity(0)) == []


def test_measured_clocks_are_kept(running: Running) -> None:
    """Of accepted and refused requests alike, with a later commit."""
    for patient in ("P1", "P9"):
        send(running, events.note(events.now(-7)), patient=patient)
    found = until(lambda: len(kept := list(running.store.clocks(0))) == 2 and kept, "both measurements")
    assert {ae for ae, _, _ in found} == {"HEMO1"}
    assert all(7_000_000 <= difference < 60_000_000 for _, _, difference in found)
