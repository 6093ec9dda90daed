"""The OpenAPI document as other programs take it: a judge of OpenAPI, and a generator that makes a client's types of it."""

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import ValidationError

from plscp.web.app import OPERATIONS, described
from tests.web.checked import judge
from tests.web.conftest import Ask
from tests.web.fake import FakeServer, entry, item

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own libraries'
    from openapi_spec_validator import validate


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with a Pydantic class for each schema of the document."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(described()))
    target = folder / "client.py"
    options = [
        *("--input", str(folder / "openapi.json"), "--input-file-type", "openapi", "--output", str(target)),
        *("--output-model-type", "pydantic_v2.BaseModel", "--target-python-version", "3.11", "--use-annotated"),
        *("--openapi-scopes", "schemas", "paths", "parameters", "--enum-field-as-literal", "all"),
    ]
    command = [sys.executable, "-W", "ignore", "-m", "datamodel_code_generator", *options]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture
def client(generated: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """That module."""
    spec = importlib.util.spec_from_file_location("client", generated)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "client", module)
    spec.loader.exec_module(module)
    return module


def test_the_document_is_one_of_openapi() -> None:
    """OpenAPI 3.1 says so."""
    validate(described())


def test_every_operation_says_what_it_takes_and_gives() -> None:
    """Each parameter, each body and each answer has a schema; each failure is a problem document."""
    document = described()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert all(parameter["schema"] for parameter in operation["parameters"])
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            for status, response in operation["responses"].items():
                if int(status) < 400:
                    assert all(content["schema"] for content in response["content"].values())
                else:
                    assert response == {"$ref": f"#/components/responses/{status}"}
    assert [row.path for row in OPERATIONS if row.answer is None] == [
        "/metrics",
        "/openapi.json",
    ]


def test_a_generated_client_compiles(generated: Path, tmp_path: Path) -> None:
    """Strictly, as mypy sees it."""
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(generated)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_a_generated_client_reads_answers(client: Any, server: FakeServer, ask: Ask) -> None:
    """Each of its classes takes the answer that it was made for."""
    study = {"status": "open", "patient": {"id": "P1", "issuer": "H"}, "location": "LAB1"}
    made = client.StudyAnswer.model_validate_json(ask(server, "PUT", "/api/v1/studies/1.2.3", json=study).content)
    assert (made.status, made.patient.id, len(made.stays)) == ("open", "P1", 1)
    server.store.add("entry", entry())
    server.store.items.append(item())
    for path, name in (
        ("studies", "StudyPage"),
        ("patients", "PatientPage"),
        ("events?kind=all", "EventPage"),
        ("events/2", "EventWithRequest"),
        ("events/2/retries", "RetryPage"),
        ("timeline/1.2.3", "TimelineAnswer"),
        ("quarantine", "QuarantinePage"),
        ("quarantine/0101", "QuarantineAnswer"),
        ("corrections", "CorrectionPage"),
        ("match?patient_id=P1", "MatchAnswer"),
        ("status", "StatusAnswer"),
        ("nothing", "ProblemDocument"),
    ):
        getattr(client, name).model_validate_json(ask(server, "GET", f"/api/v1/{path}").content)


@pytest.mark.parametrize(
    ("method", "path", "status", "media", "body"),
    [
        ("GET", "/livez", 200, "application/json", b'{"status":"dead"}'),
        ("GET", "/livez", 200, "text/plain", b'{"status":"live"}'),
        ("GET", "/livez", 422, "application/problem+json", b"{}"),
        ("GET", "/api/v1/studies", 200, "application/json", b"{}"),
        ("GET", "/api/v1/studies", 422, "application/problem+json", b'{"status":422}'),
        ("GET", "/api/v1/nothing", 200, "application/json", b"{}"),
        ("GET", "/api/v1/events", 200, "application/json", b'{"events":[{"position":0}],"next":0}'),
    ],
)
def test_what_is_not_described_is_noticed(method: str, path: str, status: int, media: str, body: bytes) -> None:
    """The judge of every answer of these tests refuses another status, media type or member."""
    with pytest.raises((AssertionError, ValidationError)):
        judge(method, path, status, media, body)
