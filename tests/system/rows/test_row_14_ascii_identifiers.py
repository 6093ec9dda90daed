"""Row 14: pure ASCII identifiers under a Specific Character Set that nobody knows."""

import json
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest
from pydicom.dataset import Dataset

from plscp.matching.model import Device
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.events import encoded, note, procedural, substance
from tests.system.rows.rig import POLICY, Answer, Rig, at

UNKNOWN = b"ISO_IR 999"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A server with a study of PA at 09:00, and two devices."""
    lenient = Profile(Device("HEMO1", ("LAB1",)), POLICY)
    strict = Profile(Device("STRICT", ("LAB1",)), POLICY, strict=True)
    with Rig(tmp_path, lenient, strict) as rig:
        rig.clock("09:00")
        rig.study("1.1", "PA", location="LAB1", study_id="S1")
        rig.admission("ADM1", "PA")
        rig.clock("10:00:01")
        yield rig


def event() -> Dataset:
    """An event of PA with every identifier of Table P.2-2."""
    return procedural([note(at("10:00:00"), "Balloon up")], study="1.1", patient="PA", study_id="S1", location="Lab 1")


def administration() -> Dataset:
    """An administration to PA."""
    made = substance(at("10:00:00"), patient="PA", admission="ADM1")
    made.IssuerOfPatientID = "HOSP"
    return made


def send(
    rig: Rig, dataset: Dataset, calling: str, *, charset: bytes = UNKNOWN, change: tuple[bytes, bytes] = (b"", b"")
) -> Answer:
    """Send a request that declares a character set; `change` replaces bytes of the same number."""
    sop_class = SUBSTANCE_ADMINISTRATION_LOGGING if "ProductName" in dataset else PROCEDURAL_EVENT_LOGGING
    raw = pack("<HH2sH", 0x0008, 0x0005, b"CS", len(charset)) + charset + encoded(dataset)
    if change[0]:
        assert raw.count(change[0]) == 1
        raw = raw.replace(*change)
    with rig.scu(calling) as scu:
        return Answer(scu.request(sop_class, raw))


@pytest.mark.parametrize("charset", [UNKNOWN, b"ISO_IR 192\\ISO 2022 IR 87 ", b"UTF-8 "])
def test_row_14_ascii_identifiers_are_taken_with_a_finding(rig: Rig, charset: bytes) -> None:
    """ASCII needs no character set: both SOP Classes, unknown terms and terms that contradict each other."""
    assert str(send(rig, event(), "HEMO1", charset=charset)) == "0000 1.1 PA"
    assert str(send(rig, administration(), "HEMO1", charset=charset)) == "0000"
    records = [json.loads(each.payload) for each in rig.events()]
    assert [record["patient"]["id"] for record in records] == ["PA", "PA"]
    for record in records:
        found = [finding for finding in record["findings"] if finding["code"] == "character-set-unknown"]
        assert [(finding["path"], finding.get("refuse", False)) for finding in found] == [("(0008,0005)", False)]


@pytest.mark.parametrize("made", [event, administration])
def test_row_14_a_strict_profile_refuses_them_as_before(rig: Rig, made: type) -> None:
    """0115H, with the attribute."""
    answer = send(rig, made(), "STRICT")
    assert answer.status == "0115"
    assert rig.events() == []
    [item] = rig.quarantined()
    assert {finding["code"] for finding in item.outcomes[0]["data"]["findings"]} >= {"identifier-undecodable"}


@pytest.mark.parametrize(
    ("made", "change"),
    [
        (event, (b"LO\x02\x00PA", b"LO\x02\x00P\xe4")),
        (event, (b"Lab 1", b"L\xe4b 1")),
        (administration, (b"LO\x02\x00PA", b"LO\x02\x00P\xe4")),
        (administration, (b"ADM1", b"\xc4DM1")),
        (administration, (b"N1001", b"N1\xfc01")),
        (administration, (b"N1001", b"N\x1b(B1")),
    ],
)
def test_row_14_an_identifier_beyond_ascii_is_refused_in_both_profiles(
    rig: Rig, made: type, change: tuple[bytes, bytes]
) -> None:
    """Nothing is guessed: a fallback could spell another patient's ID."""
    for calling in ("HEMO1", "STRICT"):
        assert send(rig, made(), calling, change=change).status == "0115"
    assert rig.events() == []


@pytest.mark.filterwarnings("ignore::UserWarning")  # outside tests pydicom only warns of what it does not know
def test_row_14_the_reply_names_a_patient_in_a_character_set_that_is_known(rig: Rig) -> None:
    """The ID that the device sent is ASCII, the current one is not: it comes in UTF-8."""
    rig.patient("Müller-1")
    rig.merge("Müller-1", "PA")
    answer = send(rig, event(), "HEMO1")
    assert str(answer) == "0000 1.1 Müller-1"
    assert answer.response.reply().SpecificCharacterSet == "ISO_IR 192"
