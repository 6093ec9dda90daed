"""Row 1: whose ID a Patient ID is, is read in both SOP Classes and decides."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from plscp.matching import comments
from plscp.matching.model import Device
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.events import encoded, note, now, procedural, substance
from tests.rawscu import RawScu
from tests.serving import Serving
from tests.system.rows.rig import POLICY, Rig, at

OID = "1.2.840.99999.1"
ISSUERS = {"HOSP": ["Hospital", OID], "EAST": ["East Clinic"]}
DEVICES = (Profile(Device("WESTERN", patient_id_issuer="East Clinic"), POLICY),)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Two hospitals with a patient 7 each, whose studies are open in different rooms."""
    with Rig(tmp_path, *DEVICES, issuers=ISSUERS) as rig:
        rig.clock("09:00")
        rig.study("1.1", "7", issuer="Hospital", location="LAB1")
        rig.study("1.2", "7", issuer="EAST", location="LAB2")
        rig.clock("10:00")
        yield rig


def issued(made: Dataset, issuer: str = "", universal: str = "") -> Dataset:
    """The request with (0010,0021) and (0010,0024)."""
    if issuer:
        made.IssuerOfPatientID = issuer
    if universal:
        item = Dataset()
        item.UniversalEntityID, item.UniversalEntityIDType = universal, "ISO"
        made.IssuerOfPatientIDQualifiersSequence = [item]
    return made


SENT = [
    # (0010,0021), Universal Entity ID of (0010,0024), the study of whom, or the comment
    ("", "", "1.1", ""),
    ("HOSP", "", "1.1", ""),
    ("Hospital", "", "1.1", ""),
    ("", OID, "1.1", ""),
    ("Hospital", OID, "1.1", ""),
    ("EAST", "", "1.2", ""),
    ("East Clinic", "", "1.2", ""),
    ("", "East Clinic", "1.2", ""),
    ("EAST", OID, "", comments.ISSUERS_CONTRADICT),
    ("WEST", "", "", comments.ISSUER_NOT_LISTED),
    ("", "1.2.3", "", comments.ISSUER_NOT_LISTED),
    ("HOSP", "1.2.3", "", comments.ISSUER_NOT_LISTED),
]


@pytest.mark.parametrize(("issuer", "universal", "study", "comment"), SENT)
def test_row_01_the_issuer_of_a_procedural_event_decides(
    rig: Rig, issuer: str, universal: str, study: str, comment: str
) -> None:
    made = procedural([note(at("09:59:59"))], patient="7")
    answer = rig.send(issued(made, issuer, universal))
    assert (str(answer), answer.comment) == ((f"0000 {study} 7", "") if study else ("C103", comment))


@pytest.mark.parametrize(("issuer", "universal", "study", "comment"), SENT)
def test_row_01_the_issuer_of_an_administration_decides(
    rig: Rig, issuer: str, universal: str, study: str, comment: str
) -> None:
    answer = rig.send(issued(substance(at("09:59:59"), patient="7"), issuer, universal), substance=True)
    if not study:
        assert str(answer) == "C110"
        assert [item.outcomes[0]["comment"] for item in rig.quarantined()] == [comment]
        return
    assert str(answer) == "0000"
    [event] = rig.events()
    patient = json.loads(event.payload)["patient"]
    assert patient == {"id": "7", "issuer": {"1.1": "HOSP", "1.2": "EAST"}[study]}


def test_row_01_an_event_for_the_other_hospitals_patient_is_not_put_on_the_study_named(rig: Rig) -> None:
    entries = [note(at("09:59:59"))]
    for issuer, universal in (("EAST", ""), ("", "EAST"), ("East Clinic", "EAST")):
        answer = rig.send(issued(procedural(entries, study="1.1", patient="7"), issuer, universal))
        assert (str(answer), answer.comment) == ("C104", comments.PATIENT_CONTRADICTS)
    answer = rig.send(issued(procedural(entries, study="1.1", patient="7"), "WEST"))
    assert (str(answer), answer.comment) == ("C104", comments.ISSUER_NOT_LISTED)
    assert rig.events() == []


def test_row_01_the_devices_issuer_counts_where_none_is_sent(rig: Rig) -> None:
    made = procedural([note(at("09:59:59"))], patient="7")
    assert str(rig.send(made, calling="WESTERN")) == "0000 1.2 7"
    made = issued(procedural([note(at("09:59:59"))], patient="7"), "HOSP")
    assert str(rig.send(made, calling="WESTERN")) == "0000 1.1 7"


def test_row_01_the_published_match_shows_what_was_sent_and_what_is_used(rig: Rig) -> None:
    rig.send(issued(procedural([note(at("09:59:59"))], patient="7"), "Hospital", OID))
    [event] = rig.events()
    given = json.loads(event.payload)["match"]["given"]
    assert (given["issuer"], given["issuer_as_sent"], given["issuer_universal_entity_id"]) == ("HOSP", "Hospital", OID)


def test_row_01_log_and_metric_name_the_issuer_that_is_not_listed(rig: Rig) -> None:
    with capture_logs() as lines:
        for number in range(3):
            made = procedural([note(at("09:59:59"), f"note {number}")], patient="7")
            rig.send(issued(made, "WEST"))
        rig.send(issued(substance(at("09:59:59"), patient="7"), "WEST"), substance=True)
    told = [line for line in lines if line["event"] == "issuer-unusable"]
    assert [(line["calling_ae"], line["issuers"], line["log_level"]) for line in told] == [
        ("MOBILE", ["WEST"], "warning")
    ]
    assert "[issuers]" in told[0]["why"]
    text = rig.metrics.exposition().decode()
    assert 'plscp_unusable_issuers_total{device="MOBILE",reason="issuer-not-listed"} 4.0' in text


def test_row_01_an_issuer_listed_later_is_taken_without_rewriting_what_is_stored(tmp_path: Path) -> None:
    with Rig(tmp_path, policy=replace(POLICY, patient_id_issuer="")) as rig:
        rig.clock("09:00")
        rig.study("1.1", "7", issuer="Hospital", location="LAB1")
        stored = [event.payload for event in rig.events("registry")]
        made = procedural([note(at("09:00:00"))], patient="7")
        assert rig.send(issued(made, "HOSP"), when="09:00:01").comment == comments.ISSUER_NOT_LISTED
        rig.issuers = ISSUERS
        rig.restart()
        assert [event.payload for event in rig.events("registry")] == stored
        assert str(rig.send(issued(made, "HOSP"))) == "0000 1.1 7"
        # A feed that says the same patient again brings him to the one spelling.
        rig.patient("7", issuer=OID)
        assert str(rig.send(issued(procedural([note(at("09:00:00"))], patient="7"), "Hospital"))) == "0000 1.1 7"
        assert [patient.current for patient in rig.keeper.registry.patients()] == [("7", "HOSP")]


SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"
[http]
port = 0
[matching]
patient_id_issuer = "Hospital"
accession_as_admission = true
[issuers]
HOSP = ["Hospital", "1.2.840.99999.1"]
[registry]
file = "current.toml"
"""
REGISTRY = """
patients = [{ id = "7", issuer = "1.2.840.99999.1" }]
studies = [{ study_instance_uid = "1.1", accession_number = "4711", patient = { id = "7" }, status = "open" }]
"""


def test_row_01_and_08_the_settings_of_plscp_serve_reach_requests_file_and_http(tmp_path: Path) -> None:
    (tmp_path / "current.toml").write_text(REGISTRY)
    with Serving(tmp_path, SETTINGS) as server:
        [patient] = server.get("/api/v1/patients")["patients"]
        assert (patient["id"], patient["issuer"]) == ("7", "HOSP")
        assert server.get("/api/v1/patients/7", issuer="Hospital")["issuer"] == "HOSP"
        match = server.get("/api/v1/match", patient_id="7", issuer=OID)
        assert (match["study_instance_uid"], match["given"]["issuer_as_sent"]) == ("1.1", OID)
        assert server.get("/api/v1/match", patient_id="7", issuer="WEST")["comment"] == comments.ISSUER_NOT_LISTED
        with RawScu(server.host, server.port) as scu:
            for issuer, universal, status in (("", "", 0), ("Hospital", OID, 0), ("WEST", "", 0xC103)):
                made = issued(procedural([note(now())], patient="7"), issuer, universal)
                assert scu.request(PROCEDURAL_EVENT_LOGGING, encoded(made)).status == status
            made = substance(now(), admission="4711")
            assert scu.request(SUBSTANCE_ADMINISTRATION_LOGGING, encoded(made)).status == 0
