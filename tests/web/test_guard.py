"""The token rule: who may use the API."""

from pathlib import Path

import pytest

from plscp.errors import ConfigError
from plscp.web.app import build
from plscp.web.guard import TokenFile
from tests.web.conftest import Ask
from tests.web.fake import FakeServer, settings_of

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


def test_token_changes(guarded: FakeServer, tmp_path: Path, ask: Ask) -> None:
    """A token file that is written anew is in force at the next request; one that vanishes leaves the last token."""
    held = TokenFile(tmp_path / "token", "open-sesame")
    (tmp_path / "new").write_text("another")
    (tmp_path / "new").replace(tmp_path / "token")
    assert held.current() == "another"
    (tmp_path / "token").unlink()
    assert held.current() == "another"


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
