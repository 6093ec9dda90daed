"""Row 17: racing PUTs of one new study, over HTTP, against a whole server."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.serving import Serving

SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///plscp.db"
[http]
port = 0
"""
RACERS = 8
ROUNDS = 20


def test_row_17_of_eight_racing_puts_of_one_new_study_one_says_201(tmp_path: Path) -> None:
    """Exactly one made it; the seven others say 200, all of them what is known now. The same for patient and admission."""
    with Serving(tmp_path, SETTINGS) as server, ThreadPoolExecutor(RACERS) as pool:
        start = threading.Barrier(RACERS)

        def put(path: str, body: dict[str, Any]) -> httpx.Response:
            with httpx.Client(base_url=server.http) as client:
                start.wait(60)
                return client.put(path, json=body)

        for number in range(ROUNDS):
            patient = {"id": f"P{number}", "issuer": "HOSP"}
            puts: list[tuple[str, dict[str, Any]]] = [
                (f"/api/v1/studies/1.2.{number}", {"status": "open", "patient": patient}),
                (f"/api/v1/patients/Q{number}?issuer=HOSP", {"sex": "F"}),
                (f"/api/v1/admissions/A{number}?issuer=HOSP", {"patient": patient}),
            ]
            for path, body in puts:
                answers = [racing.result() for racing in [pool.submit(put, path, body) for _ in range(RACERS)]]
                assert sorted(answer.status_code for answer in answers) == [200] * (RACERS - 1) + [201], path
                assert len({answer.text for answer in answers}) == 1
        assert server.stop() == 0
