"""Files that `send` takes, and what it says of those that it does not."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from plscp.errors import CommandError
from plscp.scu.files import read
from plscp.scu.pci_case import pci_case
from plscp.scu.requests import moment, stamp

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LOG = next(request for request in pci_case() if request.count == 2)


def log() -> Dataset:
    """Action Information with two entries."""
    return LOG.dataset(NOW)


def stored(path: Path, dataset: Dataset, syntax: str | None) -> Path:
    """A file with preamble in a transfer syntax, or the bare data set in Implicit VR Little Endian."""
    if syntax is None:
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    else:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path)
    return path


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, None])
def test_a_dicom_file_is_read_with_or_without_preamble(tmp_path: Path, syntax: str | None) -> None:
    """What comes out is what went in."""
    assert read(stored(tmp_path / "event.dcm", log(), syntax)).to_json_dict() == log().to_json_dict()


def test_a_json_model_file_is_read(tmp_path: Path) -> None:
    """PS3.18 Annex F, as an object or as an array of one."""
    for number, content in enumerate((log().to_json_dict(), [log().to_json_dict()])):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(content))
        assert read(path).to_json_dict() == log().to_json_dict()


def test_sop_uids_are_left_out(tmp_path: Path) -> None:
    """A stored Procedure Log can be sent: Action Information holds no SOP UIDs (PS3.4 5.4.2.3)."""
    dataset = log()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.40", "1.2.3"
    found = read(stored(tmp_path / "log.dcm", dataset, ExplicitVRLittleEndian))
    assert found.to_json_dict() == log().to_json_dict()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"00100020": ', "not in the DICOM JSON Model"),
        (b"[]", "0 data sets, where one request holds one"),
        (b'{"00100020": {"vr": "LO", "Value": ["P"]}}', "neither a log"),
        (b"\x08\x00\x05\x00CS\xff\xff", "not a DICOM data set|neither a log"),
        (b"", "not a DICOM data set|neither a log"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_file_that_is_no_event_is_one_line_and_usage(tmp_path: Path, content: bytes, line: str) -> None:
    """The line names the file and says why."""
    path = tmp_path / "event"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=line) as caught:
        read(path)
    assert caught.value.exit_status == 2
    assert str(path) in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """As any command says it."""
    with pytest.raises(CommandError, match="No such file"):
        read(tmp_path / "nothing")


def test_stamp_sets_the_times_to_that_of_sending(tmp_path: Path) -> None:
    """`send --now`: the last entry happens now, those before it just before, strictly rising."""
    path = tmp_path / "event.json"
    path.write_text(log().to_json())
    dataset = read(path)
    later = datetime(2026, 4, 2, 8, tzinfo=UTC)
    stamp(dataset, later)
    times = [item.ObservationDateTime for item in dataset.ContentSequence if "ObservationDateTime" in item]
    assert len(times) == 2
    assert times[0] < times[1] == moment(later).text
