"""The `plscp` command itself: help, versions, spellings, failures, settings commands."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

import plscp.cli
from plscp.cli import main, scu
from plscp.cli.commands import COMMANDS
from plscp.config import load, reference, starter
from plscp.errors import CommandError, ConfigError, StoreNotOpened
from tests.cli.conftest import Run


def test_version(run: Run) -> None:
    """--version names program and version."""
    assert run("--version") == (0, "plscp 0.1.0\n", "")


def test_help_names_every_command(run: Run) -> None:
    """The help lists every command; without arguments it is the help too."""
    ran = run("--help")
    assert ran.status == 0
    for name in COMMANDS:
        assert f"  {name}" in ran.out
    bare = run()
    assert bare.status == 2
    assert "Commands:" in bare.out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["stduy"], "No such command 'stduy'. Did you mean 'study'?"),
        (["quarantene", "list"], "No such command 'quarantene'. Did you mean 'quarantine'?"),
        (["xyzzy"], "No such command 'xyzzy' (see plscp --help)"),
        (["config", "shwo"], "config: No such command 'shwo'. Did you mean 'show'?"),
        (["--nope"], "No such option: --nope"),
        (["status", "extra"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(run: Run, typed: list[str], said: str) -> None:
    """A wrong command or option is one line that suggests the nearest, and status 2."""
    ran = run(*typed)
    assert ran.status == 2
    assert ran.err.startswith("plscp: ")
    assert ran.err.count("\n") == 1
    assert said in ran.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("a line"), 2),
        (StoreNotOpened("a line"), 3),
        (CommandError("a line"), 1),
        (CommandError("a line", 3), 3),
        (CommandError("a\nline\x1b"), 1),
        (BrokenPipeError(), 1),
        (KeyboardInterrupt(), 130),
        (ValueError("odd"), 70),
    ],
)
def test_failures_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int) -> None:
    """Whatever a command raises ends in an exit status and at most one line, never a traceback."""

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(plscp.cli, "_run", fail)
    if isinstance(error, BrokenPipeError):
        monkeypatch.setattr("os.dup2", lambda *_: 1)
    ran = run("status")
    assert ran.status == status
    assert ran.err.count("\n") <= 1
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.err
    if status == 70:
        assert "defect: ValueError: odd; PLSCP_DEBUG=1 shows where" in ran.err


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """PLSCP_DEBUG=1 adds the traceback of a defect."""

    def fail(*_: object) -> int:
        raise ValueError("odd")

    monkeypatch.setattr(plscp.cli, "_run", fail)
    assert main(["status"], {"PLSCP_DEBUG": "1"}) == 70
    assert "Traceback" in capsys.readouterr().err


SPELLINGS = [
    (["send", "h", "1", "f", "-aet", "X"], ["send", "h", "1", "f", "--aet", "X"]),
    (["echo", "-aec=Y", "-ta", "3", "h", "1"], ["echo", "--aec=Y", "--ta", "3", "h", "1"]),
    (
        ["simulate", "-td", "1", "-to", "2", "-pdu", "0", "-vd", "h", "1"],
        ["simulate", "--td", "1", "--to", "2", "--pdu", "0", "-v", "-d", "h", "1"],
    ),
    (["echo", "h", "1", "-usr", "me", "-rsp"], ["echo", "h", "1", "--username", "me", "--pos-response"]),
]


@pytest.mark.parametrize(("typed", "read"), SPELLINGS)
def test_scu_spellings(typed: list[str], read: list[str]) -> None:
    """`-aet` and the like are read as DCMTK and pynetdicom users type them."""
    commands: Any = get_group(scu.app).commands
    found = [commands[name].make_context(name, rest).params for name, *rest in (typed, read)]
    assert found[0] == found[1]
    assert (
        found[0] != commands[typed[0]].make_context(typed[0], ["h", "1", "f"][: 3 if typed[0] == "send" else 2]).params
    )


def test_only_the_scu_commands_have_their_spellings(run: Run) -> None:
    """Elsewhere they are no options, and after `--` they are names of files."""
    assert "No such option: -a" in run("study", "list", "-aet", "X").err
    assert "-aet: No such file" in run("send", "127.0.0.1", "1", "--", "-aet").err


def test_config_init(run: Run, tmp_path: Path) -> None:
    """`config init` writes settings that load, and overwrites nothing unless forced."""
    assert run("config", "init").status == 0
    assert (tmp_path / "plscp.toml").read_text() == starter()
    load(tmp_path / "plscp.toml", {})
    (tmp_path / "plscp.toml").write_text("mine")
    again = run("config", "init")
    assert (again.status, again.err) == (1, "plscp: plscp.toml is there already: --force overwrites it\n")
    assert (tmp_path / "plscp.toml").read_text() == "mine"
    assert run("config", "init", "--force").status == 0
    assert run("config", "init", "nowhere/plscp.toml").status == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Path.mkdir, "Is a directory"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    ],
    ids=["a folder", "a link to nothing"],
)
@pytest.mark.parametrize("command", [("config", "check"), ("config", "show")], ids=" ".join)
def test_a_settings_file_that_is_none(
    run: Run, tmp_path: Path, command: tuple[str, ...], make: Callable[[Path], object], said: str
) -> None:
    """What stands in the place of ./plscp.toml, such as the folder that a mount of a missing file leaves, is not passed over."""
    make(tmp_path / "plscp.toml")
    assert run(*command) == (2, "", f"plscp: plscp.toml: {said}\n")


def test_config_check(run: Run, tmp_path: Path) -> None:
    """`config check` names every fault with its path, one a line, and warns of what is probably not meant."""
    assert run("config", "check").status == 0
    (tmp_path / "plscp.toml").write_text("[dicom]\nprot = 1\n[matching]\nclose_grace = '30'\n")
    ran = run("config", "check")
    assert ran.status == 2
    assert 'plscp: plscp.toml: dicom.prot: no such setting; did you mean "port"?' in ran.err.splitlines()
    assert len(ran.err.splitlines()) == 2
    (tmp_path / "plscp.toml").write_text("[http]\ntoken_file = 'nowhere'\n")
    assert "http.token_file" in run("config", "check").err
    (tmp_path / "good.toml").write_text("[devices.A]\n")
    good = run("config", "check", "--config", "good.toml")
    assert (good.status, good.out) == (0, "good.toml: no fault\n")
    assert good.err.startswith("warning: operators: absent")
    assert run("config", "check", "--config", "nowhere.toml").status == 2


def test_config_show(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`config show` prints what is in force, the environment included, secrets masked."""
    monkeypatch.setenv("PLSCP_DICOM__PORT", "4242")
    (tmp_path / "plscp.toml").write_text("[kafka]\nbootstrap_servers = ['k:1']\nssl_password = 'open-sesame'\n")
    ran = run("config", "show")
    shown = tomllib.loads(ran.out)
    assert shown["dicom"]["port"] == 4242
    assert shown["kafka"]["ssl_password"] == "***"
    assert "open-sesame" not in ran.out + run("config", "show", "--json").out


def test_config_reference(run: Run) -> None:
    """`config reference` prints what docs/settings.md holds."""
    assert run("config", "reference").out == reference()


BAD_SERVE = [
    ("[dicom]\nport = 'x'\n", 2, 'plscp.toml: dicom.port: must be a whole number, not "x"'),
    ("[http]\nhost = '0.0.0.0'\n", 2, "http.token_file: is missing"),
    ("[http]\ntoken_file = 'nowhere'\n", 2, "http.token_file: nowhere: No such file or directory"),
    (
        "[kafka]\nbootstrap_servers=['k:1']\nssl_password_file='nowhere'\n",
        2,
        "kafka.ssl_password_file: nowhere: No such file",
    ),
    ("[dicm]\n", 2, 'dicm: no such setting; did you mean "dicom"?'),
]


@pytest.mark.parametrize(("text", "status", "said"), BAD_SERVE)
def test_serve_with_bad_settings(run: Run, tmp_path: Path, text: str, status: int, said: str) -> None:
    """`serve` with settings that cannot be used is one line and status 2, before anything is opened."""
    (tmp_path / "plscp.toml").write_text(text)
    ran = run("serve")
    assert ran.status == status
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plscp.toml"]


def test_serve_without_settings_says_what_it_would_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what to type; status 2, and nothing is made: a store in a folder that happens to be the current one is not meant."""
    monkeypatch.setenv("PLSCP_DICOM__AE_TITLE", "CATH")
    ran = run("serve")
    assert ran.status == 2
    for part in (
        "CATH at 127.0.0.1:11112",
        "none is named; all others are refused",
        "127.0.0.1:8080",
        "none: events stay",
    ):
        assert part in ran.out, part
    assert f"{tmp_path}/data/plscp.db, which it would make" in ran.out
    assert ran.err == "plscp: serve: no settings file: `plscp config init` writes one, --defaults runs as above\n"
    assert list(tmp_path.iterdir()) == []


def test_serve_names_the_store_that_it_would_open(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL writes a space as %20, and a file's name does not."""
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "plscp.db").touch()
    monkeypatch.setenv("PLSCP_STORE__URL", "sqlite:///a%20b/plscp.db")
    assert f"{tmp_path}/a b/plscp.db, which is there" in run("serve").out


def test_serve_takes_the_defaults_or_a_file(run: Run, tmp_path: Path) -> None:
    """Who asks for the defaults where there is a file is told so, and gets neither."""
    (tmp_path / "plscp.toml").write_text("")
    ran = run("serve", "--defaults")
    assert (ran.status, ran.out) == (2, "")
    assert "no settings file, and plscp.toml is one" in ran.err


@pytest.mark.parametrize(
    ("typed", "allowed"),
    [
        (["--help"], []),
        (["stduy"], []),
        (["echo", "127.0.0.1", "1"], ["pynetdicom"]),
        (["study", "list", "--url", "http://127.0.0.1:9"], ["httpx"]),
        (["schema", "show"], []),
    ],
)
def test_only_what_is_called_is_loaded(tmp_path: Path, typed: list[str], allowed: list[str]) -> None:
    """Commands start fast: help and a wrong name load no room, DICOM tools no Kafka, commands over HTTP neither, and none the store; what works on files no HTTP."""
    code = (
        f"import sys; from plscp.cli import main; main({typed!r}); "
        "print([m for m in ('kafka', 'pynetdicom', 'apsw', 'uvicorn', 'starlette', 'httpx') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout.splitlines()[-1] == str(allowed)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("plscp st", "status study step"), ("plscp study l", "list"), ("plscp echo --ae", "--aet --aec")],
)
def test_shells_complete(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: str, offered: str
) -> None:
    """Commands, their parts and their options are offered, though a command is loaded only when it is asked for."""
    monkeypatch.setenv("_PLSCP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    with pytest.raises(SystemExit):
        run()
    assert capfd.readouterr().out.split() == offered.split()
