"""Commands run in this process, against a real HTTP listener on loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from plscp.cli import main
from plscp.store.port import RefusedMessage
from tests.web.fake import FakeServer, Running, entry, item, proposal, retry


class Ran(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in an empty folder, without settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("PLSCP_URL", "PLSCP_TOKEN_FILE", "PLSCP_CA_FILE", "PLSCP_CONFIG", "PLSCP_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def running(*arguments: str) -> Ran:
        capfd.readouterr()
        status = main(arguments)
        out, err = capfd.readouterr()
        return Ran(status, out, err)

    return running


@pytest.fixture
def server() -> Iterator[Running]:
    """A server with a study, two entries, a refusal and a quarantine item."""
    fake = FakeServer()
    fake.store.add("entry", entry())
    fake.store.add(
        "refusal", {"status": "C102", "comment": "TID3106 r4 missing 121154", "sender": {"ae_title": "XRAY1"}}
    )
    fake.store.add("entry", entry("9.9"), key="9.9")
    fake.store.items.append(item())
    fake.store.noted.append(retry(1))
    fake.store.proposed.append(proposal())
    raw = b"MSH|^~\\&|ADT|CLINIC\rPV1|1|I\r"
    why = "segment PID is missing PID^1"
    fake.store.messages.append(
        RefusedMessage(1, "hl7", "10.1.2.9:4711", "ADT|CLINIC|7", 1_767_225_600_000_000, why, len(raw), raw)
    )
    with Running(fake) as running:
        yield running


@pytest.fixture
def call(run: Run, server: Running) -> Run:
    """Run a command with the server's address."""

    def calling(*arguments: str) -> Ran:
        return run(*arguments, "--url", server.url)

    return calling
