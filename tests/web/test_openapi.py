"""The OpenAPI document: every route is in it, and nothing else."""

import re
from typing import Any

import pytest

from plscp.web.app import OPERATIONS
from plscp.web.operations import routes
from tests.web.conftest import Ask
from tests.web.fake import FakeServer


@pytest.fixture
def document(server: FakeServer, ask: Ask) -> dict[str, Any]:
    """The document as served."""
    found: dict[str, Any] = ask(server, "GET", "/openapi.json").json()
    return found


def test_every_route_is_documented(document: dict[str, Any]) -> None:
    """Each path and method that is served is described, and each that is described is served."""
    served = {
        (re.sub(r":\w+}", "}", route.path), method)
        for route in routes(OPERATIONS)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method.upper()) for path, operations in document["paths"].items() for method in operations}
    assert served == described


CONTRACT = [
    ("GET", "/api/v1/studies"),
    ("GET", "/api/v1/studies/{study_instance_uid}"),
    ("PUT", "/api/v1/studies/{study_instance_uid}"),
    ("POST", "/api/v1/studies/{study_instance_uid}/close"),
    ("POST", "/api/v1/studies/{study_instance_uid}/cancel"),
    ("GET", "/api/v1/patients/{id}"),
    ("PUT", "/api/v1/patients/{id}"),
    ("POST", "/api/v1/patients/{id}/merge"),
    ("GET", "/api/v1/admissions/{id}"),
    ("PUT", "/api/v1/admissions/{id}"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/events/{position}"),
    ("GET", "/api/v1/quarantine"),
    ("GET", "/api/v1/quarantine/{id}"),
    ("POST", "/api/v1/quarantine/{id}/replay"),
    ("GET", "/api/v1/timeline/{study_instance_uid}"),
    ("GET", "/api/v1/match"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
]


@pytest.mark.parametrize(("method", "path"), CONTRACT)
def test_contract_rows(document: dict[str, Any], method: str, path: str) -> None:
    """Every row of the contract's table that this version serves is described with a summary and a unique name."""
    assert document["paths"][path][method.lower()]["summary"]


def test_document_is_consistent(document: dict[str, Any]) -> None:
    """References lead somewhere, names are unique, path parameters are declared, bodies have schemas."""
    schemas = document["components"]["schemas"]
    for kind, name in re.findall(r"'\$ref': '#/components/(\w+)/([^']+)'", str(document)):
        assert name in document["components"][kind]
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    for path, operations in document["paths"].items():
        for operation in operations.values():
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
            assert operation["responses"]
    assert {"StudyBody", "PatientBody", "AdmissionBody", "MergeBody", "ProblemDocument"} <= set(schemas)
    assert "study_instance_uid" in schemas["StudyBody"]["properties"]


def test_failures_are_documented(document: dict[str, Any]) -> None:
    """Each operation below /api names 401, and those with a body 400, 413 and 415, as problem+json."""
    for status, described in document["components"]["responses"].items():
        assert list(described["content"]) == ["application/problem+json"], status
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            if path.startswith("/api/"):
                assert "401" in responses
            if "requestBody" in operation:
                assert {"400", "413", "415", "422", "409"} <= set(responses)
