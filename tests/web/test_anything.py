"""Whatever is sent, the answer is one of the documented ones, never a defect."""

import json

import anyio
import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web.checked import build
from tests.web.fake import FakeServer, entry, item

IDS = st.sampled_from(
    ["P1", "P2", "12/34", "UNKNOWN", " ", "1.2.3", "1.2.4", "x" * 65, "a\\b", "ÄÖ", "%", "..", "\ud800", "\x00"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | IDS
MEMBERS = st.sampled_from(
    ["id", "issuer", "patient", "prior", "status", "location", "study_id", "name", "other_ids", "opened", "closed", "sex", "x"]
)  # fmt: skip
VALUES = LEAVES | st.sampled_from(
    ["open", "closed", "scheduled", "active", "2026-01-01T00:00:00Z", "2026-01-01", "99999-01-01T00:00Z"]
)
BODIES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=8
)
PATHS = st.sampled_from(
    [
        ("PUT", "studies/{}"),
        ("POST", "studies/{}/close"),
        ("POST", "studies/{}/cancel"),
        ("PUT", "patients/{}"),
        ("POST", "patients/{}/merge"),
        ("PUT", "admissions/{}"),
        ("PUT", "operators/L/{}"),
        ("DELETE", "operators/L/{}"),
        ("GET", "studies/{}"),
        ("GET", "patients/{}"),
        ("GET", "admissions/{}"),
        ("GET", "events/{}"),
        ("GET", "quarantine/{}"),
        ("POST", "quarantine/{}/replay"),
        ("POST", "quarantine/replay"),
        ("GET", "timeline/{}"),
        ("GET", "match"),
        ("GET", "events"),
        ("GET", "quarantine"),
    ]
)
QUERIES = st.dictionaries(
    st.sampled_from(["issuer", "after", "limit", "kind", "status", "open", "patient_id", "since", "reason"]), st.text(max_size=4) | st.integers().map(str), max_size=2
)  # fmt: skip
REQUESTS = st.lists(st.tuples(PATHS, IDS, BODIES, QUERIES), min_size=1, max_size=8)
DOCUMENTED = {200, 201, 400, 404, 405, 409, 413, 415, 422}


@given(REQUESTS)
@settings(max_examples=60, deadline=None)
def test_no_defect(requests: list[tuple[tuple[str, str], str, object, dict[str, str]]]) -> None:
    """Series of odd requests get documented answers, and the registry can be read afterwards."""
    server = FakeServer()
    server.store.add("entry", entry())
    server.store.items.append(item())

    async def run() -> None:
        transport = httpx.ASGITransport(build(server))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1/") as client:
            for (method, path, *_), identifier, body, query in requests:
                quoted = "".join(f"%{byte:02X}" for byte in identifier.encode("utf-8", "surrogatepass"))
                content = None if method == "GET" else json.dumps(body).encode()
                kind = {"Content-Type": "application/json"}
                answer = await client.request(method, path.format(quoted), params=query, content=content, headers=kind)
                assert answer.status_code in DOCUMENTED, answer.text
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == "application/problem+json"
            for path in ("studies", "patients", "admissions", "operators", "status", "events?kind=all"):
                assert (await client.get(path)).status_code == 200

    anyio.run(run)
