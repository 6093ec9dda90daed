"""A case that closes while drugs, contrast agents or devices of it stand in quarantine is said, counted and shown; others are not."""

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from plscp.matching import changes
from plscp.metrics import Metrics
from plscp.service.keeper import utc_now
from plscp.service.overview import ClosedCases
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING as PEL
from plscp.statuses import SUBSTANCE_ADMINISTRATION_LOGGING as SAL
from tests.events import at, coded, drug, encoded, note, now, procedural, substance
from tests.service.conftest import POLICY, PROFILES, Running

STUDY, OTHER = "1.2.826.0.1.3680043.9.7.11", "1.2.826.0.1.3680043.9.7.12"


class Watched:
    """A server whose cases are watched; study STUDY of PX11 is open in LAB1."""

    def __init__(self, server: Running) -> None:
        self.server = server
        server.study(STUDY, "PX11", location="LAB1")
        self.again()

    def again(self) -> None:
        """As after a restart."""
        self.metrics = Metrics()
        self.cases = ClosedCases(self.server.store, self.server.keeper, profile, self.metrics)
        self.server.keeper.changed.append(self.cases.changed)

    @property
    def closed(self) -> float:
        """How many cases were counted as closed with refusals."""
        return self.metrics.closed_with_refusals.child().value

    @property
    def open(self) -> float:
        """How many open items were counted; -1 before the first look."""
        return self.metrics.of_closed_cases.children.get((), -1)

    def send(self, dataset: Dataset, calling: str = "HEMO1", sop_class: str = PEL) -> int:
        """One request; the status of its answer."""
        with self.server.scu(calling) as scu:
            scu.send(sop_class, encoded(dataset))
            return scu.response().status

    def of_two(self, patient: str, admission: str, other: str) -> int:
        """An administration to a patient under the admission of another one: C110."""
        body = {"id": admission, "patient": {"id": other, "issuer": "HOSP"}}
        self.server.change(lambda registry: changes.put_admission(registry, body, POLICY, utc_now()))
        return self.send(substance(now(), patient=patient, admission=admission), "MOBILE", SAL)

    def close(self, study: str = STUDY) -> list[Any]:
        """Close a study; what is said of it."""
        self.server.change(lambda registry: changes.close_study(registry, study, POLICY, utc_now()))
        with capture_logs() as lines:
            self.cases.review()
        return [line for line in lines if line["event"] == "case-closed-with-refusals"]


def profile(calling_ae: str) -> Profile:
    """How the tests' server treats a device."""
    return PROFILES[calling_ae]


@pytest.fixture
def watched(ours: Running) -> Watched:
    """A study in LAB1."""
    return Watched(ours)


def device(patient: str = "") -> Dataset:
    """A stent (TID 3107)."""
    used = coded("CONTAINS", ("371876007", "SCT", "Device deployed"), ("65818007", "SCT", "Stent"))
    return procedural([at(used, now())], patient=patient)


def broken() -> Dataset:
    """A drug without its time, beside a note: C102."""
    given = drug(now())
    del given.ObservationDateTime
    return procedural([given, note(now())])


def unknown() -> Dataset:
    """A code that no template names, without its time: C102."""
    return procedural([coded("CONTAINS", ("GIVEN", "99SHOP", "Given"), ("DRUG-7", "99SHOP", "A drug"))])


# What is refused: of an unknown patient from the room, of the patient from anywhere, by its content (twice), an administration.
OF_THE_CASE: list[Callable[[Watched], int]] = [
    lambda w: w.send(procedural([note(now()), drug(now())], study_id="S-WRONG", patient="PX99")),
    lambda w: w.send(device(patient="PX99")),
    lambda w: w.of_two("PX11", "AX12", other="PX12"),
    lambda w: w.send(broken()),
    lambda w: w.send(unknown()),
    lambda w: w.send(substance(now(), patient="PX99"), sop_class=SAL),
]
NOT_OF_THE_CASE: list[Callable[[Watched], int]] = [
    lambda w: w.send(procedural([note(now())], study_id="S-WRONG", patient="PX99")),
    lambda w: w.send(device(patient="PX99"), "HEMO2"),
    lambda w: w.send(procedural([drug(now())], patient="PX99"), "MOBILE"),
]


@pytest.mark.parametrize("refused", OF_THE_CASE)
def test_a_case_that_closes_with_refused_drugs_or_devices_is_said(
    watched: Watched, refused: Callable[[Watched], int]
) -> None:
    """A warning with the position of the closing, the devices and the items; nothing of the patient or the study."""
    assert refused(watched) >= 0x0100
    [line] = watched.close()
    assert line["log_level"] == "warning"
    assert (line["refusals"], line["position"]) == (1, watched.server.keeper.registry.position)
    [item] = watched.server.store.quarantine()
    assert line["quarantine"] == [item.id]
    assert line["devices"] == [item.calling_ae]
    assert "PX" not in str(line)
    assert STUDY not in str(line)
    assert (watched.closed, watched.open) == (1, 1)
    assert watched.cases.of_cases == {STUDY: 1}


@pytest.mark.parametrize("refused", NOT_OF_THE_CASE)
def test_what_is_no_drug_or_of_another_room_says_nothing(watched: Watched, refused: Callable[[Watched], int]) -> None:
    """A note, another room's device, a patient whom nobody knows."""
    assert refused(watched) >= 0x0100
    assert watched.close() == []
    assert (watched.closed, watched.open) == (0, 0)


def test_an_open_case_is_not_counted(watched: Watched) -> None:
    """It can still be mended before the case ends."""
    OF_THE_CASE[0](watched)
    watched.cases.review()
    assert (watched.closed, watched.open) == (0, 0)


def test_it_counts_until_the_item_is_closed_or_the_case_is_open_again(watched: Watched) -> None:
    """A repeat that is accepted closes the item; a study that is opened again is no closed case."""
    sent = procedural([drug(now())], patient="PX99", study_id="S-WRONG")
    watched.send(sent)
    watched.close()
    assert watched.open == 1
    watched.server.study(STUDY, "PX11", location="LAB1")
    watched.cases.review()
    assert watched.open == 0
    assert len(watched.close()) == 1
    assert watched.open == 1
    watched.server.study(OTHER, "PX99", location="LAB1", study_id="S-WRONG")
    assert watched.send(sent) == 0x0000
    watched.cases.review()
    assert watched.open == 0


def test_a_restart_counts_again_and_says_nothing_again(watched: Watched) -> None:
    """What is open is worked out of the store; what closed before was said."""
    OF_THE_CASE[0](watched)
    watched.close()
    watched.again()
    with capture_logs() as lines:
        watched.cases.review()
    assert lines == []
    assert (watched.closed, watched.open) == (0, 1)


def test_a_refusal_after_the_closing_counts(watched: Watched) -> None:
    """An injector that sends late: the case is over, and its contrast agent is not in it."""
    watched.close()
    OF_THE_CASE[0](watched)
    watched.cases.review()
    assert watched.open == 1
