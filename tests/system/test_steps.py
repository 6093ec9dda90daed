"""A server with `[feeds.mpps]` as a process: killed while a step is in progress, and a whole case around a step."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx

from plscp.scu.pci_case import pci_case
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.feeds.modality import Modality, created, ended
from tests.rawscu import RawScu
from tests.serving import Serving

SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/data/plscp.db"
[http]
port = 0
[feeds.mpps]
[matching]
patient_id_issuer = "HOSP"
[locations.LAB1]
names = ["Lab 1"]
[devices.XRAY1]
location = "LAB1"
sop_classes = ["procedural-event-logging", "modality-performed-procedure-step"]
[devices.HEMO1]
location = "LAB1"
[devices.INJECT1]
location = "LAB1"
[devices.TABLET1]
location = "LAB1"
[operators]
policy = "list"
allowed = [{ value = "N1001", scheme = "L", locations = ["LAB1"] }]
"""
STUDY = "1.2.826.0.1.3680043.9.3811.9.1"
STEP = "1.2.826.0.1.3680043.9.3811.9.2"


def test_a_step_outlives_its_server(tmp_path: Path) -> None:
    """Acknowledged is committed: after a SIGKILL the study is open, and N-SET closes it; a repeat of either is harmless."""
    with Serving(tmp_path, SETTINGS) as server:
        with Modality(server.host, server.port, "XRAY1") as xray:
            assert xray.create(created(STUDY, station="XRAY1"), STEP).status == 0
            server.kill()
        server.start()
        assert server.get(f"/api/v1/studies/{STUDY}")["steps"] == [STEP]
        with RawScu(server.host, server.port, calling="HEMO1") as recorder:
            data = events.procedural([events.note(events.now())], patient="P1")
            assert recorder.request(PROCEDURAL_EVENT_LOGGING, events.encoded(data)).status == 0
        with Modality(server.host, server.port, "XRAY1") as xray:
            assert xray.create(created(STUDY, station="XRAY1"), STEP).status == 0x0111
            assert xray.set(ended(), STEP).status == 0
            server.kill()
        server.start()
        with Modality(server.host, server.port, "XRAY1") as xray:
            assert (xray.set(ended(), STEP).status, server.get(f"/api/v1/studies/{STUDY}")["status"]) == (
                0x0110,
                "closed",
            )
        [step] = server.get("/api/v1/steps")["steps"]
        assert (step["sop_instance_uid"], step["status"]) == (STEP, "COMPLETED")
        [change] = [
            event
            for event in server.get("/api/v1/events", kind="registry")["events"]
            if event["change"]["what"] == "study.opened"
        ]
        assert (change["source"], change["message"]) == ("mpps", STEP)


def test_what_stands_under_the_wrong_study_is_moved(tmp_path: Path) -> None:
    """A step that contradicts the patient, and one of the wrong worklist entry, propose corrections that somebody can confirm."""
    with Serving(tmp_path, SETTINGS) as server:
        with Modality(server.host, server.port, "XRAY1") as xray:
            assert xray.create(created(STUDY, station="XRAY1"), STEP).status == 0
            with RawScu(server.host, server.port, calling="HEMO1") as recorder:
                data = events.procedural([events.note(events.now())], study=STUDY)
                assert recorder.request(PROCEDURAL_EVENT_LOGGING, events.encoded(data)).status == 0
            assert xray.create(created(STUDY, patient="P2", station="XRAY1")).status == 0x0110
            assert xray.set(ended("DISCONTINUED", reason=("110514", "DCM")), STEP).status == 0
            assert xray.create(created(f"{STUDY}.2", patient="P2", station="XRAY1")).status == 0
        newest, oldest = server.get("/api/v1/corrections")["corrections"]
        assert oldest["to"]["patient"]["id"] == "P2"
        assert newest["to"] == {"study_instance_uid": "", "patient": {"id": "", "issuer": ""}}
        path = f"{server.http}/api/v1/corrections"
        assert httpx.post(f"{path}/{newest['id']}/confirm", json={}).status_code == 422  # to where, somebody must say
        moved = httpx.post(f"{path}/{oldest['id']}/confirm", json={})  # to the only study of the patient who was named
        assert moved.status_code == 200, moved.text
        [entry] = server.get(f"/api/v1/timeline/{STUDY}.2")["entries"]
        assert entry["study"]["study_instance_uid"] == f"{STUDY}.2"


def test_a_case_around_a_step(tmp_path: Path) -> None:
    """`plscp simulate --mpps` needs nobody who opens a study: its X-ray system does, and closes it."""
    with Serving(tmp_path, SETTINGS) as server:
        httpx.put(f"{server.http}/api/v1/admissions/V-90210", json={"patient": {"id": "4711-0815", "issuer": "HOSP"}})
        command = ["simulate", server.host, str(server.port), "--speed", "5000", "--mpps"]
        ran = subprocess.run(
            [sys.executable, "-m", "plscp", *command], capture_output=True, text=True, timeout=120, check=False
        )
        assert "IN PROGRESS: 0000 success" in ran.stdout, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        assert ran.returncode == 0, ran.stdout + ran.stderr
        [step] = server.get("/api/v1/steps")["steps"]
        assert step["status"] == "COMPLETED"
        assert step["ended"] is not None
        assert datetime.fromisoformat(step["started"]) <= datetime.now(UTC)


def test_a_simulated_case_goes_on_when_its_server_starts_again(tmp_path: Path) -> None:
    """Killed amid a case: each device, also the one with a step, associates again, says so, and all is stored once."""
    with Serving(tmp_path, SETTINGS) as server:
        httpx.put(f"{server.http}/api/v1/admissions/V-90210", json={"patient": {"id": "4711-0815", "issuer": "HOSP"}})
        server.config.write_text(server.config.read_text().replace("port = 0", f"port = {server.port}", 1))
        command = ["simulate", server.host, str(server.port), "--speed", "200", "--mpps", "--json"]
        with subprocess.Popen(
            [sys.executable, "-m", "plscp", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as simulated:
            assert simulated.stdout is not None
            begun = [simulated.stdout.readline() for _ in range(8)]
            server.kill()
            server.start()
            out, err = simulated.communicate(timeout=120)
        answers = [json.loads(line) for line in (*begun, *out.splitlines())]
        assert simulated.returncode == 0, err
        assert "Traceback" not in err
        for device in ("HEMO1", "XRAY1", "INJECT1", "TABLET1"):
            assert re.search(rf"^{device}: .+: associating again in 0\.5 s, to send it again$", err, re.MULTILINE), err
        case = [answer for answer in answers if "step" not in answer]
        assert len(case) == len(pci_case())
        assert all(answer["status"] == answer["expected"] for answer in case)
        stored = server.get("/api/v1/events", limit=1000)["events"]
        assert len(stored) == sum(answer["entries"] for answer in case if answer["expected"][0] != "C")
        [step] = server.get("/api/v1/steps")["steps"]
        assert step["status"] == "COMPLETED"
