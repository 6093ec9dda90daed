"""Row 15: a value of an attribute is never the server's own failure."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from plscp.matching.model import Device
from plscp.service.profile import Profile
from tests.events import code, note, procedural, substance
from tests.system.rows.rig import POLICY, Rig, at


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A server with a study of PA at 09:00; the devices' clock is 14 hours ahead of UTC, the server's 12 behind."""
    profiles = [
        Profile(Device("HEMO1", ("LAB1",)), POLICY),
        Profile(Device("STRICT", ("LAB1",)), POLICY, strict=True),
        Profile(Device("EAST", ("LAB1",)), POLICY, zone="+1400"),
        Profile(Device("WEST", ("LAB1",)), POLICY, zone="-1200"),
    ]
    with Rig(tmp_path, *profiles) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1")
        rig.clock("10:00:01")
        yield rig


def event(*times: str) -> Dataset:
    """Notes of PA at these times, after the observer's type and name."""
    made = procedural([note(at("10:00:00"), f"note {number}") for number, _ in enumerate(times)], study="1.1")
    kind = Dataset()
    kind.RelationshipType, kind.ValueType = "HAS OBS CONTEXT", "CODE"
    kind.ConceptNameCodeSequence = code("121005", "DCM", "Observer Type")
    kind.ConceptCodeSequence = code("121006", "DCM", "Person")
    made.ContentSequence.insert(0, kind)
    for entry, time in zip(made.ContentSequence[2:], times, strict=True):
        entry.ObservationDateTime = time
    return made


def administration(time: str) -> Dataset:
    """An administration to PA."""
    made = substance(at("10:00:00"), patient="PA")
    made.IssuerOfPatientID = "HOSP"
    made.SubstanceAdministrationDateTime = time
    return made


PUNCTUAL = "20240514100000+0000"
IN_YEAR_0 = ["00000101000000", "00000514100000.5+0000", "000002291000", "00001231235959+1400"]


@pytest.mark.parametrize("calling", ["HEMO1", "STRICT"])
@pytest.mark.parametrize("time", IN_YEAR_0)
@pytest.mark.parametrize("before", [[], [PUNCTUAL]])
def test_row_15_a_datetime_in_year_0000_is_c102_with_the_path(
    rig: Rig, time: str, calling: str, before: list[str]
) -> None:
    """Alone and beside others: the calendar has no such year, and the comment says which item."""
    answer = rig.send(event(*before, time), calling=calling)
    path = 3 + len(before)
    assert (answer.status, answer.comment) == ("C102", f"C.17.3 Observation DateTime is no valid DT at {path}")
    [item] = rig.quarantined()
    assert [finding["path"] for finding in item.outcomes[0]["data"]["findings"] if finding.get("refuse")] == [str(path)]


@pytest.mark.parametrize("calling", ["HEMO1", "STRICT"])
@pytest.mark.parametrize("time", IN_YEAR_0)
def test_row_15_an_administration_in_year_0000_is_0115_with_the_attribute(rig: Rig, time: str, calling: str) -> None:
    """Substance Administration has no C102."""
    answer = rig.send(administration(time), calling=calling, substance=True)
    assert answer.status == "0115"
    [item] = rig.quarantined()
    refusing = [finding for finding in item.outcomes[0]["data"]["findings"] if finding.get("refuse")]
    assert [finding["path"] for finding in refusing] == ["(0044,0010)"]


@pytest.mark.parametrize(
    ("calling", "time"),
    [
        ("HEMO1", "00010101000000+1400"),
        ("EAST", "00010101000000"),
        ("HEMO1", "99991231235960-0000"),
        ("HEMO1", "99991231235959-1200"),
        ("WEST", "99991231235959"),
        ("STRICT", "99991231235960-1200"),
    ],
)
def test_row_15_a_moment_beyond_the_calendars_ends_is_refused_with_its_path(rig: Rig, calling: str, time: str) -> None:
    """A valid DT whose UTC lies before year 1 or after 9999."""
    answer = rig.send(event(PUNCTUAL, time), calling=calling)
    assert (answer.status, answer.comment) == ("C102", "not a date and time: outside the years 1 to 9999 at 4")
    assert rig.send(administration(time), calling=calling, substance=True).status == "0115"
    [item, _] = rig.quarantined()
    refusing = [finding for finding in item.outcomes[0]["data"]["findings"] if finding.get("refuse")]
    assert [finding["path"] for finding in refusing] == ["(0044,0010)"]


@pytest.mark.parametrize("time", ["00010102000000+0000", "99991230235959.999999+0000", "99991231235959+0000"])
def test_row_15_the_first_and_the_last_years_are_times_as_others(rig: Rig, time: str) -> None:
    """A study that is named takes the event, whatever its device believes the year to be."""
    assert str(rig.send(event(PUNCTUAL, time), calling="HEMO1")) == "0000 1.1 PA"
    assert [each.occurred[:4] for each in rig.events()] == ["2024", time[:4]]
