"""`plscp schema register` against a small registry of its own, which has what Confluent's API says; a real one is in tests/peers."""

import json
import ssl
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from plscp.records.schemas import schema
from plscp.records.values import ADAPTERS
from tests import tls
from tests.cli.conftest import Run

ENTRY = "org.plscp.procedure-log.entry.v1"
BASIC = "Basic " + b64encode(b"ci:s3cret").decode()


class Registry(ThreadingHTTPServer):
    """Subjects with their schemas, what was set and asked, and what there is to go wrong."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.subjects: dict[str, list[str]] = {}
        self.compatibility: dict[str, str] = {}
        self.changes: list[str] = []
        self.wanted = ""
        self.incompatible = self.foreign = False
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://localhost:{self.server_address[1]}/api"

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        match method, *path.partition("?")[0].split("/")[2:]:
            case "GET", "subjects", subject, "versions" if subject in self.subjects:
                return 200, [*range(1, len(self.subjects[subject]) + 1)]
            case "GET", "subjects", _, "versions":
                return 404, {"error_code": 40401, "message": "Subject not found."}
            case "POST", "subjects", subject, "versions":
                if self.incompatible:
                    return 409, {"error_code": 409, "message": "Incompatible: TYPE_CHANGED at /position"}
                self.changes.append(subject)
                self.subjects.setdefault(subject, []).append(body["schema"])
                return 200, {"id": len(self.changes)}
            case "POST", "subjects", subject:
                known = self.subjects.get(subject, [])
                if body["schema"] in known:
                    return 200, {"subject": subject, "version": known.index(body["schema"]) + 1, "id": 7, **body}
                return 404, {"error_code": 40403 if known else 40401, "message": "Not found."}
            case "POST", "compatibility", "subjects", _, "versions":
                return 200, {"is_compatible": not self.incompatible, "messages": ["TYPE_CHANGED at /position"]}
            case "PUT", "config", subject if subject in self.subjects:  # as some that know no subject before
                self.compatibility[subject] = body["compatibility"]
                return 200, body
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}


class Answers(BaseHTTPRequestHandler):
    """One request after the other."""

    server: Registry

    def do_GET(self) -> None:
        """As any other."""
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.server.foreign:
            status, said = 200, b"<html>"
        elif self.server.wanted and self.headers.get("Authorization") != self.server.wanted:
            status, said = 401, b"{}"
        else:
            status, made = self.server.answer(self.command, self.path, body)
            said = json.dumps(made).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT = do_GET  # noqa: N815  # as http.server wants them named

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def serving(registry: Registry) -> Iterator[Registry]:
    """While it answers."""
    thread = Thread(target=registry.serve_forever)
    thread.start()
    yield registry
    registry.shutdown()
    thread.join()
    registry.server_close()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry that has nothing; no registry is named in the environment."""
    for name in ("URL", "USER", "PASSWORD", "TOKEN", "CA_FILE"):
        monkeypatch.delenv(f"PLSCP_REGISTRY_{name}", raising=False)
    yield from serving(Registry())


def outcomes(run: Run, registry: Registry, *more: str) -> dict[str, Any]:
    """Of each subject."""
    ran = run("schema", "register", "--registry", registry.url, "--json", *more)
    assert (ran.status, ran.err) == (0, "")
    return {each["subject"]: each for each in json.loads(ran.out)}


def test_each_type_is_a_subject_and_once_more_changes_nothing(run: Run, registry: Registry) -> None:
    """In draft-07, under the type's name, and with what a released schema promises."""
    done = outcomes(run, registry)
    assert {subject: (each["outcome"], each["version"]) for subject, each in done.items()} == dict.fromkeys(
        ADAPTERS, ("new subject", 1)
    )
    assert registry.compatibility == dict.fromkeys(ADAPTERS, "FORWARD_TRANSITIVE")
    made = schema(ENTRY, draft_07=True)
    del made["$id"]
    assert json.loads(registry.subjects[ENTRY][0]) == made
    again = outcomes(run, registry)
    assert {(each["outcome"], each["version"]) for each in again.values()} == {("unchanged", 1)}
    assert sorted(registry.changes) == sorted(ADAPTERS)


def test_a_dry_run_changes_nothing_and_says_what_would_be(run: Run, registry: Registry) -> None:
    """A subject that is new, and a version that is; one that the registry would refuse is told."""
    registry.subjects[ENTRY] = ["{}"]
    done = outcomes(run, registry, "--dry-run")
    assert (done.pop(ENTRY)["outcome"], {each["outcome"] for each in done.values()}) == ("new version", {"new subject"})
    assert (registry.changes, registry.compatibility) == ([], {})
    registry.incompatible = True
    refused = run("schema", "register", "--registry", registry.url, "--dry-run")
    assert (refused.status, refused.err.count("\n")) == (1, 1)
    assert f"refuses: {ENTRY}: TYPE_CHANGED at /position" in refused.err
    assert outcomes(run, registry, "--dry-run", "--compatibility", "NONE")[ENTRY]["outcome"] == "new version"


def test_a_new_version_is_held_against_the_old_ones(run: Run, registry: Registry) -> None:
    """By the registry, whose compatibility is set before; its words are the error's."""
    registry.subjects[ENTRY] = ["{}"]
    registry.incompatible = True
    refused = run("schema", "register", "--registry", registry.url)
    assert (refused.status, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert "Incompatible: TYPE_CHANGED at /position" in refused.err
    assert registry.compatibility == {ENTRY: "FORWARD_TRANSITIVE"}
    registry.incompatible = False
    assert outcomes(run, registry)[ENTRY]["version"] == 2


@pytest.mark.parametrize("from_environment", [True, False])
def test_who_asks_is_said_by_a_password_or_a_token(
    run: Run, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, from_environment: bool
) -> None:
    """Out of a file or the environment, never from the command line; both at once and half of one are wrong usage."""
    (tmp_path / "secret").write_text("s3cret\n", "utf-8")
    ask = ("schema", "register", "--registry", registry.url, "--dry-run")
    for wanted, variable, option, more in (
        (BASIC, "PLSCP_REGISTRY_PASSWORD", "--password-file", ("--user", "ci")),
        ("Bearer s3cret", "PLSCP_REGISTRY_TOKEN", "--token-file", ()),
    ):
        registry.wanted = wanted
        refused = run(*ask)
        assert (refused.status, refused.err.count("\n")) == (1, 1)
        assert "it answered 401; see --user and --token-file" in refused.err
        if from_environment:
            monkeypatch.setenv(variable, "s3cret")
            assert run(*ask, *more).status == 0
            monkeypatch.delenv(variable)
        else:
            assert run(*ask, option, "secret", *more).status == 0
    assert run(*ask, "--user", "ci").status == 2
    assert run(*ask, "--user", "ci", "--password-file", "secret", "--token-file", "secret").status == 2


def test_https_needs_a_trusted_certificate(run: Run, registry: Registry, tmp_path: Path) -> None:
    """--ca-file names whom to trust."""
    made = tls.write(tmp_path)
    tls.authority("hospital").cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.private_key)
    for secured in serving(Registry(context)):
        assert len(outcomes(run, secured, "--dry-run", "--ca-file", "ca.pem")) == len(ADAPTERS)
        refused = run("schema", "register", "--registry", secured.url)
        assert (refused.status, refused.err.count("\n")) == (3, 1)
        assert "certificate is not trusted" in refused.err
    assert registry.changes == []


def test_what_is_no_registry_is_one_line(run: Run, registry: Registry) -> None:
    """No address, nobody there, another path, another server."""
    for url, status, said in (
        ("registry:8081", 2, "must be an address"),
        ("http://127.0.0.1:9", 3, "no registry answers there"),
        (registry.url + "/v9", 1, "refuses: "),
    ):
        ran = run("schema", "register", "--registry", url)
        assert (ran.status, ran.out, ran.err.count("\n")) == (status, "", 1)
        assert said in ran.err
    registry.foreign = True
    ran = run("schema", "register", "--registry", registry.url)
    assert (ran.status, ran.err.count("\n")) == (1, 1)
    assert "is not a schema registry with Confluent's API: it answered 200" in ran.err


@pytest.mark.parametrize(
    "url",
    [
        "http://ci:s3cret@127.0.0.1:9",
        "ftp://ci:s3cret@127.0.0.1:9",
        "http://127.0.0.1:9/?key=s3cret",
        "http://127.0.0.1:9/#s3cret",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_said_again(run: Run, url: str) -> None:
    """What is printed ends in the logs of whatever runs the command."""
    ran = run("schema", "register", "--registry", url)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "s3cret" not in ran.err
