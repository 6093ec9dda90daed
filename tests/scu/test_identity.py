"""The DICOM tools with a user identity, against a listener that asks for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt

from plscp.cli import main
from plscp.dicom.admission import Required, refusal
from plscp.scu.sending import Identity
from tests.dicom.wire import Listener
from tests.serving import until

DEVICES = {
    "CODE1": Required(username="hemo", passcode=lambda: "s3cret wörd"),
    "NAME1": Required(username="hemo"),
    "OPEN1": Required(),
}


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """It knows three devices; the passcode is in a file, and so is a wrong one."""
    (tmp_path / "code").write_text("s3cret wörd\n")
    (tmp_path / "wrong").write_text("s3cret\n")
    (tmp_path / "empty").write_text("\n")
    with Listener() as running:
        running.acceptor.admit = lambda caller: refusal(caller, DEVICES, unknown=False)
        running.acceptor.confirms = lambda title: DEVICES[title].username is not None
        yield running


CODE = ("-usr", "hemo", "--passcode-file", "{}/code")
RUNS = [
    (("-aet", "CODE1", *CODE), 0, ""),
    (("-aet", "CODE1", *CODE, "-rsp"), 0, ""),
    (("-aet", "CODE1", "--username", "hemo", "--passcode-file", "{}/code", "--pos-response"), 0, ""),
    (("-aet", "NAME1", "-usr", "hemo"), 0, ""),
    (("-aet", "NAME1", "-usr", "hemo", "-rsp"), 0, ""),
    (("-aet", "OPEN1", *CODE), 0, ""),
    (("-aet", "OPEN1", *CODE, "-rsp"), 1, "took the association but did not confirm the user identity"),
    (("-aet", "CODE1"), 1, "(1/2/1: no reason given: as a rule the user identity is missing or wrong)"),
    (("-aet", "CODE1", "-usr", "hemo"), 1, "(1/2/1: "),
    (("-aet", "CODE1", "-usr", "hemo", "--passcode-file", "{}/wrong"), 1, "(1/2/1: "),
    (("--passcode-file", "{}/code"), 2, "--passcode-file and --pos-response go with --username"),
    (("-rsp",), 2, "--passcode-file and --pos-response go with --username"),
    (("-usr", "hemo", "--passcode-file", "{}/empty"), 2, "--passcode-file: {}/empty: must hold one line of text"),
    (("-usr", "hemo", "--passcode-file", "{}/nowhere"), 2, "--passcode-file: {}/nowhere: No such file"),
    (("-usr", ""), 2, "must have 1 to 1024 bytes in UTF-8"),
]


@pytest.mark.parametrize("row", RUNS)
def test_user_identity(
    listener: Listener, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: tuple[tuple[str, ...], int, str]
) -> None:
    """Username and passcode are negotiated in DCMTK's spelling; what is wrong with them is one line."""
    options, status, said = row
    given = [option.replace("{}", str(tmp_path)) for option in options]
    assert main(["echo", "127.0.0.1", str(listener.port), "-ta", "60", "-to", "60", *given], {}) == status
    err = capsys.readouterr().err
    assert said.replace("{}", str(tmp_path)) in err
    assert err.count("\n") == (status != 0)
    assert "s3cret" not in err


def test_a_rejection_is_told_however_fast_the_connection_closes(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the peer has rejected and closed before pynetdicom looks whether it is connected."""
    associate = AE.associate

    def closed(event: evt.Event) -> None:
        transport = event.assoc.dul.socket
        until(lambda: transport._ready.is_set() and not transport._is_connected, "the peer to close the connection")

    def slowly(self: AE, *args: Any, **options: Any) -> Any:
        return associate(self, *args, **options, evt_handlers=[(evt.EVT_REQUESTED, closed)])

    monkeypatch.setattr(AE, "associate", slowly)
    assert main(["echo", "127.0.0.1", str(listener.port), "-ta", "60", "-to", "60", "-aet", "CODE1"], {}) == 1
    assert "(1/2/1: " in capsys.readouterr().err


def test_a_passcode_is_not_shown(listener: Listener, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not with -d either, which describes every PDU."""
    command = ["echo", "127.0.0.1", str(listener.port), "-d", "-aet", "CODE1", "-usr", "hemo"]
    assert main([*command, "--passcode-file", str(tmp_path / "code")], {}) == 0
    out, err = capsys.readouterr()
    assert "Username: [hemo]" in err
    assert "Password: [***]" in err
    assert "s3cret" not in out + err
    assert "s3cret" not in repr(Identity("hemo", "s3cret"))
