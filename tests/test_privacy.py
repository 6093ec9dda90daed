"""The lookout that every test is under can fail, and tells patients from other words."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.privacy import Lookout

ROOT = Path(__file__).parents[1]
PRELUDE = """
from pydicom.dataset import Dataset
from plscp.logs import log
from plscp.metrics import Metrics
from plscp.web.problems import ApiProblem
from tests.privacy import no_patient_is_named as no_patient_is_named, patients_of_this_module as patients_of_this_module

def patient():
    made = Dataset()
    made.PatientID, made.PatientName = "MRN-77", "Testwoman^Tina"

def test_it():
    patient()
    """
SAID = {
    "log.info('stopping', why='patient MRN-77')": "log names MRN-77",
    "log.warning('stopping', who={'name': 'Testwoman'})": "log names Testwoman",
    "log.error('internal-error', exc_info=ValueError('no MRN-77'))": "log names MRN-77",
    "m = Metrics(); m.association('accepted', 'MRN-77'); globals()['m'] = m": "metric names MRN-77",
    "ApiProblem(409, 'MRN-77 is another').response()": "problem names MRN-77",
}
SILENT = ["log.debug('stopping', why='MRN-77')", "log.info('stopping', why='MRN-771 MRN-7 Testwomans')"]


def tried(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A suite of one test that does this."""
    module = folder / "test_made_up.py"
    module.write_text(PRELUDE + line + "\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=folder, env=environment
    )


@pytest.mark.parametrize("line", SAID)
def test_a_suite_that_names_a_patient_fails(line: str, tmp_path: Path) -> None:
    """In a log line, in an exception that is logged, in a label, on an error page."""
    ended = tried(line, tmp_path)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert SAID[line] in ended.stdout


@pytest.mark.parametrize("line", SILENT)
def test_debug_and_other_words_are_no_patient(line: str, tmp_path: Path) -> None:
    """At debug a patient may be named; a longer or shorter word is another one."""
    ended = tried(line, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_counts_as_a_patient() -> None:
    """Identifiers and names; no placeholder, nothing that is too short to be told from other words."""
    lookout = Lookout()
    lookout.used(
        "P1", "4711", "MRN-0042", "Doe^John", "", None, " ", "7", "42", "unknown", "UNKNOWN", "N/A", "x y", "Li^Bo"
    )
    assert lookout.patients == {"P1", "4711", "MRN-0042", "Doe^John", "Li^Bo"}
    lookout.used_in("/api/v1/patients/HX1?issuer=A", {"name": "Roe^Jane"})
    lookout.used_in("/api/v1/studies/1.2.3", {"study_id": "S9", "patient": {"id": "HX2", "issuer": "HOSP"}})
    assert {"HX1", "HX2", "Roe^Jane"} <= lookout.patients
    assert not {"S9", "HOSP"} & lookout.patients


def test_lines_of_a_server() -> None:
    """Of its standard error: JSON at info or above, and what is no JSON at all."""
    lookout = Lookout()
    lookout.used("MRN-77")
    lookout.line('{"event":"x","level":"debug","why":"MRN-77"}')
    lookout.line('{"event":"x","level":"info","why":"fine"}')
    assert lookout.found() == []
    lookout.line('{"event":"x","level":"info","why":["MRN-77"]}')
    lookout.line("Traceback: MRN-77")
    assert len(lookout.found()) == 2
    assert lookout.found() == []
