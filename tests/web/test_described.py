"""A real server, with a case in its store, is asked whatever its OpenAPI document allows, and what it does not.

No question is a defect, each status is documented, each answer fits its schema, and another method is answered 405 with Allow.
"""

import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import settings
from schemathesis.config import SchemathesisConfig

from plscp.cli import main
from plscp.web.app import described
from plscp.web.operations import CSV, JSON, NDJSON
from tests.seed import SEED
from tests.serving import Serving

SETTINGS: Final = """
[dicom]
port = 0
unknown_devices = "accept"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
max_body = 65536
[log]
format = "json"
[matching]
patient_id_issuer = "HOSP"
[locations.LAB1]
"""
ALLOWED: Final = ["2xx", "404", "409", "422"]
"""What JSON Schema cannot say of values is answered 422: that two do not go together, or that a position is still to come."""
REFUSED: Final = ["400", "404", "405", "413", "415", "422"]
CHECKS: Final = {
    "positive_data_acceptance": {"expected-statuses": ALLOWED},
    "negative_data_rejection": {"expected-statuses": REFUSED},
}
API: Final = schemathesis.openapi.from_dict(
    described(), config=SchemathesisConfig.from_dict({"seed": SEED, "checks": CHECKS})
)
STUDY: Final = "1.2.3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that the demo's case was sent to."""
    with Serving(tmp_path_factory.mktemp("server"), SETTINGS) as serving:
        body = {"status": "open", "patient": {"id": "4711", "issuer": "HOSP"}, "location": "LAB1"}
        serving.put(f"/api/v1/studies/{STUDY}", body).raise_for_status()
        case = ["--speed", "5000", "-q", "--study-uid", STUDY, "--patient-id", "4711"]
        assert main(["simulate", serving.host, str(serving.port), *case], {}) == 0
        yield serving


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for all questions."""
    with requests.Session() as session:
        yield session


@API.parametrize()
@settings(max_examples=int(os.environ.get("PLSCP_TEST_EXAMPLES", "5")))
def test_it_is_as_it_is_described(case: schemathesis.Case[Any], server: Serving, session: requests.Session) -> None:
    """Of one operation."""
    query = case.query or {}
    if str(query.get("follow")).lower() in {"", "1", "true", "yes"}:
        query["follow"] = "false"  # an answer that is kept open has tests of its own
    if case.path == "/api/v1/events":
        case.headers["Accept"] = (JSON, NDJSON, CSV)[len(str(query)) % 3]
    case.call_and_validate(base_url=server.http, session=session)
