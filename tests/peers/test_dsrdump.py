"""DCMTK's dsrdump reads what the typed form writes: another implementation of SR content trees agrees with ours."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from plscp.scu import requests as r
from plscp.scu.requests import ProcedureLogRequest
from tests.scu.test_requests import full
from tests.templates.strategies import KINDS

PROCEDURE_LOG = "1.2.840.10008.5.1.4.1.1.88.40"
HEMODYNAMIC_WAVEFORM = "1.2.840.10008.5.1.4.1.1.9.2.1"
NO_CHECKER = "The VR checker does not support this Specific Character Set: ISO_IR 192"
"""Said about every document in UTF-8."""
CONTRADICTING = [
    ("intervention", 'Cannot add "has properties IMAGE" to CODE in Procedure Log'),
    ("specimen_obtained", 'Cannot add "has acq context CODE" to CODE in Procedure Log'),
]


def instance(made: Dataset, path: Path, syntax: str) -> None:
    """The content as a Procedure Log instance (PS3.3 A.35.7): with the attributes of a document around it."""
    made.SOPClassUID, made.SOPInstanceUID = PROCEDURE_LOG, "1.2.3.4"
    made.PatientName, made.PatientBirthDate, made.PatientSex = "Adams^Ann", "19700101", "F"
    made.StudyDate = made.ContentDate = "20260301"
    made.StudyTime = made.ContentTime = "143000"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = "1.2.3", "1.2.3.1", "SR"
    made.ReferringPhysicianName = made.AccessionNumber = made.Manufacturer = ""
    made.SeriesNumber = made.InstanceNumber = "1"
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    made.PerformedProcedureCodeSequence = made.ReferencedPerformedProcedureStepSequence = []
    made.SynchronizationTrigger, made.AcquisitionTimeSynchronized = "NO TRIGGER", "Y"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        syntax,
        PROCEDURE_LOG,
        "1.2.3.4",
    )
    made.file_meta = meta
    made.save_as(path, enforce_file_format=True)


def dsrdump(path: Path) -> subprocess.CompletedProcess[str]:
    """Run dsrdump; the test is skipped, with the reason, where there is none."""
    program = shutil.which("dsrdump")
    if program is None:
        pytest.skip("dsrdump is missing (Debian, Ubuntu: apt-get install dcmtk)")
    command = [program, "-v", "+Pn", "+Pl", "+Pc", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def written(kind: str, path: Path, syntax: str, *, contradicting: bool) -> None:
    """An entry of a kind with every row of its table, as a document."""
    entry = full(kind, contradicting=contradicting)
    if kind == "waveform_acquired":
        entry.waveform.sop_class_uid = HEMODYNAMIC_WAVEFORM
    context = r.device_observer("1.2.3", "Recorder", room=r.text("Lab 1"))
    instance(ProcedureLogRequest(patient_id="P1", context=context, entries=[entry]).dataset(), path, syntax)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
@pytest.mark.parametrize("kind", KINDS)
def test_dsrdump_reads_every_kind_of_entry(kind: str, syntax: str, tmp_path: Path) -> None:
    """It has nothing to say about the document, and shows as many content items as were written."""
    path = tmp_path / "log.dcm"
    written(kind, path, syntax, contradicting=False)
    ended = dsrdump(path)
    assert ended.returncode == 0, ended.stderr
    said = [line for line in ended.stderr.splitlines() if NO_CHECKER not in line]
    assert said == []
    assert len(re.findall(r"^[0-9.]+ +<", ended.stdout, re.MULTILINE)) == items(dcmread(path))


@pytest.mark.parametrize(("kind", "said"), CONTRADICTING)
def test_dsrdump_holds_rows_against_the_table_that_contradicts_them(kind: str, said: str, tmp_path: Path) -> None:
    """PS3.3 Table A.35.7-2 does not have what these templates prescribe: plscp takes it with a finding, dsrdump does not."""
    path = tmp_path / "log.dcm"
    written(kind, path, ExplicitVRLittleEndian, contradicting=True)
    ended = dsrdump(path)
    assert ended.returncode != 0
    assert said in ended.stderr


def items(made: Dataset) -> int:
    """How many content items there are."""
    return 1 + sum(map(items, made.get("ContentSequence", [])))
