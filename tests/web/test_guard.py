"""Who may use the API: tokens and their roles, each operation asked with each of them; without tokens, this machine alone."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio
import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from plscp.config import load
from plscp.config.model import ROLES, Role
from plscp.errors import ConfigError
from plscp.web.app import OPERATIONS
from plscp.web.guard import Guard
from plscp.web.operations import ApiCall, Operation
from tests.web.checked import build
from tests.web.conftest import Ask
from tests.web.fake import FakeServer, settings_of

if TYPE_CHECKING:
    from plscp.app import Server

OPEN_PATHS = ["/livez", "/readyz", "/metrics", "/openapi.json"]
GUARDED = ["/api/v1/studies", "/api/v1/events", "/api/v1/quarantine", "/api/v1/status", "/api/v1/nothing"]


@pytest.fixture
def guarded(tmp_path: Path) -> FakeServer:
    """A server with a token file."""
    (tmp_path / "token").write_text("open-sesame\n")
    return FakeServer(settings_of(tmp_path, '[http]\ntoken_file = "token"\n'))


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Authorization": "Bearer open-sesame"}, True),
        ({"Authorization": "bearer  open-sesame "}, True),
        ({"Authorization": "Bearer open-sesam"}, False),
        ({"Authorization": "Bearer open-sesame2"}, False),
        ({"Authorization": "Basic open-sesame"}, False),
        ({"Authorization": "open-sesame"}, False),
        ({"Authorization": "Bearer"}, False),
    ],
)
def test_token(guarded: FakeServer, ask: Ask, path: str, headers: dict[str, str], allowed: bool) -> None:
    """Everything below /api/ asks for the token, also what is not there."""
    answer = ask(guarded, "GET", path, headers=headers)
    assert (answer.status_code != 401) is allowed
    if not allowed:
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["status"] == 401


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_health_needs_no_token(guarded: FakeServer, ask: Ask, path: str) -> None:
    """Probes, metrics and the document hold no patient data and need no token."""
    assert ask(guarded, "GET", path).status_code == 200


def test_non_ascii_token(guarded: FakeServer, ask: Ask) -> None:
    """A header outside ASCII is a wrong token, not a defect."""
    assert ask(guarded, "GET", GUARDED[0], headers={"Authorization": "Bearer öäü".encode("latin-1")}).status_code == 401


def test_tokens_are_exchanged_while_the_server_runs(tmp_path: Path) -> None:
    """A token is in force at the request after it was written: first beside the old one, then alone; blank lines are none.

    A file that vanishes, or holds what is no token, leaves the last tokens in force, which one line says.
    """
    file = tmp_path / "token"
    file.write_text("old\n")
    application = build(FakeServer(settings_of(tmp_path, '[http]\ntoken_file = "token"\n')))

    def valid() -> list[str]:
        return [
            token
            for token in ("old", "new", "", "half\x07way")
            if status(application, "GET", "/api/v1/studies", token) != 401
        ]

    with capture_logs() as lines:
        assert valid() == ["old"]
        for number, (text, tokens) in enumerate(
            [("old\n\n new \n\n", ["old", "new"]), ("new\n", ["new"]), ("\n \n", ["new"]), ("half\x07way\n", ["new"])]
        ):
            (tmp_path / "written").write_text(text)
            (tmp_path / "written").replace(file)
            os.utime(file, ns=(number, number))
            assert valid() == tokens
        file.unlink()
        assert valid() == ["new"]
    assert [line["event"] for line in lines] == ["secret-loaded"] * 2 + ["secret-refused"] * 3
    assert not any("half" in str(line) for line in lines)


def status(application: ASGIApp, method: str, path: str, token: str) -> int:
    """The status of one request with a token, or without where it is empty."""

    async def call() -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(application), base_url="http://127.0.0.1:8080"
        ) as client:
            return (await client.request(method, path, headers=headers)).status_code

    return anyio.run(call)


# --- roles ---------------------------------------------------------------------------------------------------------------


TOKENS: dict[str, Role] = {"any1": "operate", "op1": "operate", "op2": "operate", "feed1": "feed", "read1": "read"}
ROLE_OF: dict[tuple[str, str], Role] = {
    ("GET", "/api/v1/status"): "read",
    ("GET", "/api/v1/studies"): "read",
    ("GET", "/api/v1/studies/{study_instance_uid}"): "read",
    ("GET", "/api/v1/studies/{study_instance_uid}/history"): "read",
    ("PUT", "/api/v1/studies/{study_instance_uid}"): "feed",
    ("POST", "/api/v1/studies/{study_instance_uid}/close"): "feed",
    ("POST", "/api/v1/studies/{study_instance_uid}/cancel"): "feed",
    ("GET", "/api/v1/patients"): "read",
    ("GET", "/api/v1/patients/{id}"): "read",
    ("GET", "/api/v1/patients/{id}/history"): "read",
    ("GET", "/api/v1/rooms"): "read",
    ("PUT", "/api/v1/patients/{id}"): "feed",
    ("POST", "/api/v1/patients/{id}/merge"): "feed",
    ("GET", "/api/v1/admissions"): "read",
    ("GET", "/api/v1/admissions/{id}"): "read",
    ("PUT", "/api/v1/admissions/{id}"): "feed",
    ("GET", "/api/v1/operators"): "read",
    ("PUT", "/api/v1/operators/{scheme}/{value}"): "feed",
    ("DELETE", "/api/v1/operators/{scheme}/{value}"): "feed",
    ("GET", "/api/v1/steps"): "read",
    ("GET", "/api/v1/steps/{sop_instance_uid}"): "read",
    ("POST", "/api/v1/steps/{sop_instance_uid}/end"): "feed",
    ("GET", "/api/v1/events"): "read",
    ("GET", "/api/v1/events/{position}"): "read",
    ("GET", "/api/v1/events/{position}/retries"): "read",
    ("GET", "/api/v1/timeline/{study_instance_uid}"): "read",
    ("GET", "/api/v1/quarantine"): "read",
    ("GET", "/api/v1/quarantine/{id}"): "read",
    ("POST", "/api/v1/quarantine/{id}/replay"): "operate",
    ("POST", "/api/v1/quarantine/replay"): "operate",
    ("GET", "/api/v1/corrections"): "read",
    ("GET", "/api/v1/corrections/{id}"): "read",
    ("POST", "/api/v1/corrections"): "operate",
    ("POST", "/api/v1/corrections/{id}/confirm"): "operate",
    ("POST", "/api/v1/corrections/{id}/reject"): "operate",
    ("POST", "/api/v1/corrections/{id}/revert"): "operate",
    ("POST", "/api/v1/reload"): "operate",
    ("GET", "/api/v1/match"): "read",
    ("GET", "/api/v1/feeds"): "read",
    ("GET", "/api/v1/feeds/messages"): "read",
    ("GET", "/api/v1/feeds/messages/{id}"): "operate",  # what a hospital's message says of a patient, whole
}
"""The role that each operation asks for: a new operation needs its row here."""


@pytest.fixture
def with_roles(tmp_path: Path) -> FakeServer:
    """A server with all four token files."""
    for name, text in {"any": "any1\n", "op": "op1\nop2\n", "feed": "feed1\n", "read": "read1\nfeed1\n"}.items():
        (tmp_path / name).write_text(text)
    files = {"token_file": "any", "operate_token_file": "op", "feed_token_file": "feed", "read_token_file": "read"}
    return FakeServer(settings_of(tmp_path, "[http]\n" + "".join(f"{k} = '{v}'\n" for k, v in files.items())))


def test_every_operation_asks_for_its_role() -> None:
    """Each operation below /api/ has its row in the table, and those without a role are the probes and this document."""
    assert {(row.method, row.plain_path): row.role for row in OPERATIONS if row.role} == ROLE_OF
    assert {row.path for row in OPERATIONS if row.role is None} == set(OPEN_PATHS)
    more = {path for (method, path), role in ROLE_OF.items() if method == "GET" and role != "read"}
    assert more == {"/api/v1/feeds/messages/{id}"}


@pytest.mark.parametrize(("method", "path"), ROLE_OF)
def test_every_operation_with_every_role(with_roles: FakeServer, method: str, path: str) -> None:
    """A token of the role or of one that may do more passes; a lesser one is 403, none or a wrong one 401: both name the role."""
    application = build(with_roles)
    needed = ROLE_OF[method, path]
    url = re.sub(r"{\w+}", "7", path)
    for token, role in TOKENS.items():
        passes = ROLES.index(role) >= ROLES.index(needed)
        assert (status(application, method, url, token) not in {401, 403}) is passes, token
        assert (status(application, method, url, token) == 403) is not passes, token
    for token in ("", "read", "READ1", "any1any1"):
        assert status(application, method, url, token) == 401


@pytest.mark.parametrize(
    ("token", "refused"),
    [
        ("read1", (403, "this needs a token of role feed, not read", 'Bearer realm="plscp", error="insufficient_scope", scope="feed"')),
        ("nobody", (401, "send a token of role feed as Authorization: Bearer TOKEN", 'Bearer realm="plscp"')),
    ],
)  # fmt: skip
def test_a_refusal_names_the_role(with_roles: FakeServer, ask: Ask, token: str, refused: tuple[int, str, str]) -> None:
    """Both refusals are problem documents that name the role, and say it in WWW-Authenticate (RFC 6750 3.1)."""
    code, detail, challenge = refused
    answer = ask(with_roles, "PUT", "/api/v1/patients/7", json={}, headers={"Authorization": f"Bearer {token}"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": {401: "Unauthorized", 403: "Forbidden"}[code],
        "status": code,
        "detail": detail,
        "role": "feed",
    }
    assert answer.headers["www-authenticate"] == challenge


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/api/v1/nothing", 404), ("POST", "/api/v1/status", 405), ("DELETE", "/api/v1/studies", 405), ("HEAD", "/api/v1/studies", 200), ("GET", "/api/v1/patients/a/b", 404)],
)  # fmt: skip
def test_what_is_no_operation(with_roles: FakeServer, method: str, path: str, code: int) -> None:
    """With any token a path or method that is none is answered as such; HEAD asks for what GET does."""
    application = build(with_roles)
    assert status(application, method, path, "read1") == code
    assert status(application, method, path, "") == 401


def test_the_document_shows_the_roles(with_roles: FakeServer, ask: Ask) -> None:
    """Each operation of /openapi.json lists the roles whose tokens pass, and the answers 401 and 403; probes list none."""
    document = ask(with_roles, "GET", "/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == set(ROLES)
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            needed = ROLE_OF.get((method.upper(), path))
            if needed is None:
                assert "security" not in described
            else:
                assert [next(iter(one)) for one in described["security"] if one] == list(ROLES[ROLES.index(needed) :])
                assert {"401", "403"} <= described["responses"].keys()


def test_an_operation_without_a_role_is_a_defect(server: FakeServer) -> None:
    """Below /api/ none can be declared that asks for no token."""

    async def handler(_call: ApiCall) -> Response:
        return Response()

    with pytest.raises(ValueError, match="asks for a role"):
        Operation("GET", "/api/v1/open", handler, None, role=None)
    new = Operation("GET", "/api/v1/new/{id:path}", handler, None)
    assert new.role == "operate"
    needed = Guard(Response(), cast("Server", server), [new]).needed
    assert [needed(method, "/api/v1/new/a/b") for method in ("GET", "HEAD", "PUT")] == ["operate", "operate", None]
    assert needed("GET", "/api/v1/newer") is None


def test_settings_that_are_exchanged_bring_their_tokens(with_roles: FakeServer, tmp_path: Path) -> None:
    """The guard asks the settings in force: another token file counts from the next request on; one that is not there changes nothing."""
    application = build(with_roles)
    (tmp_path / "other").write_text("other1\n")
    with_roles.settings = settings_of(tmp_path, '[http]\ntoken_file = "other"\n')
    assert [status(application, "GET", "/api/v1/studies", token) for token in ("any1", "other1")] == [401, 200]
    with capture_logs() as lines:
        with_roles.settings = settings_of(tmp_path, '[http]\ntoken_file = "nowhere"\n')
        assert [status(application, "GET", "/api/v1/studies", token) for token in ("any1", "other1")] == [401, 200]
    assert [line["event"] for line in lines] == ["secret-refused"]


def test_no_authentication_in_so_many_words(tmp_path: Path, ask: Ask) -> None:
    """With authentication "none" any host's name is served without a token, but still no page of another site; with tokens they count."""
    text = '[http]\nhost = "0.0.0.0"\nauthentication = "none"\n'
    server = FakeServer(settings_of(tmp_path, text))
    path = "/api/v1/studies"
    assert ask(server, "GET", path, headers={"Host": "plscp.clinic.example"}).status_code == 200
    assert (
        ask(server, "GET", path, headers={"Host": "plscp.clinic.example", "Origin": "http://evil.example"}).status_code
        == 403
    )
    (tmp_path / "token").write_text("t\n")
    server = FakeServer(settings_of(tmp_path, text + 'read_token_file = "token"\n'))
    assert ask(server, "GET", path).status_code == 401
    assert ask(server, "GET", path, headers={"Authorization": "Bearer t"}).status_code == 200


def test_nothing_public_without_authentication(tmp_path: Path) -> None:
    """A public address without token files is a fault unless authentication is "none"."""
    (tmp_path / "plscp.toml").write_text('[http]\nhost = "10.0.0.1"\n')
    with pytest.raises(ConfigError, match=r"http\.token_file: is missing"):
        load(tmp_path / "plscp.toml", {})


# --- without tokens --------------------------------------------------------------------------------------------------------


FOREIGN = [
    ({}, 200),
    ({"Host": "localhost:8080"}, 200),
    ({"Host": "[::1]:8080"}, 200),
    ({"Host": "plscp.evil.example"}, 421),
    ({"Host": "127.0.0.1.evil.example:8080"}, 421),
    ({"Host": ""}, 421),
    ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"}, 200),
    ({"Host": "127.0.0.1:8080", "Origin": "http://evil.example"}, 403),
    ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:9999"}, 403),
    ({"Host": "127.0.0.1:8080", "Origin": "null"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), FOREIGN)
def test_no_token_on_loopback(server: FakeServer, ask: Ask, headers: dict[str, str], status: int) -> None:
    """Without a token file this machine is served, but no web page of another site that runs in a browser here."""
    assert ask(server, "GET", "/api/v1/studies", headers=headers).status_code == status


def test_token_file_missing(tmp_path: Path) -> None:
    """A token file that cannot be read stops the start, in one line."""
    server = FakeServer(settings_of(tmp_path, '[http]\ntoken_file = "nowhere"\n'))
    with pytest.raises(ConfigError, match=r"http\.token_file: .*No such file"):
        build(server)
