"""What holds of every command: its help, its exit statuses, `--json` where it reads, and that nothing breaks on a narrow terminal."""

import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.core import TyperCommand

from plscp.cli import main, output
from plscp.cli.client import Api
from plscp.cli.commands import COMMANDS, build
from plscp.cli.demo import DemoServer
from plscp.errors import DEFECT, EXIT_STATUSES, INTERRUPTED
from plscp.scu.pci_case import CaseSubject
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
UID = CaseSubject.study_instance_uid
SCP = "127.0.0.1 {port} -aet HEMO1"

CALLS = {
    "serve": "--config server.toml",
    "demo": "--no-kafka",
    "kafka": "",
    "config init": "made.toml",
    "config check": "--config server.toml",
    "config show": "--config server.toml",
    "config reference": "",
    "config schema": "",
    "status": "",
    "reload": "",
    "study list": "",
    "study show": UID,
    "study open": "1.2.3 --patient 4711",
    "study close": "1.2.3",
    "patient show": CaseSubject.patient_id,
    "patient add": "P9 --name Doe^Jo",
    "admission show": CaseSubject.admission_id,
    "room list": "",
    "step list": "--all",
    "step end": "1.2.3",
    "event list": "",
    "event show": "{position}",
    "event tail": "--after 0 --limit 3",
    "event export": "",
    "event timeline": UID,
    "quarantine list": "",
    "quarantine show": "{item}",
    "quarantine explain": "{item}",
    "quarantine export": "{item}",
    "quarantine replay": "--all --dry-run",
    "correction list": "",
    "correction show": "{correction}",
    "correction make": "{position} --to-study 1.2.3 --dry-run",
    "correction confirm": "ff --dry-run",
    "correction reject": "ff --why wrong",
    "correction revert": "{correction} --dry-run",
    "operator list": "",
    "operator add": "N9 L",
    "operator remove": "N9 L",
    "feed list": "",
    "feed messages": "",
    "feed show": "1",
    "match": "--patient 4711",
    "explain": "event.json",
    "example": "drug-administered --study 1.2.3",
    "send": f"{SCP} event.json",
    "simulate": "127.0.0.1 {port} --speed 10000",
    "echo": SCP,
    "verify": "--config kafka.toml",
    "backup": "backup.db --config server.toml",
    "restore": "backup.db --force --config store.toml",
    "conformance": "",
    "reference metrics": "",
    "reference log-events": "",
    "schema export": "made",
    "schema show": "",
    "schema check": f"{ROOT}/schemas/released",
    "schema register": "--registry http://127.0.0.1:9",
    "schema registry-file": "",
    "schema release": "made/released",
    "relay repartition": "study --config kafka.toml",
    "relay rewind": "study --to 0 --config kafka.toml",
}
"""Words with which each command does something; {names} are those of the lab."""

ANSWERS_NO = {"step end", "correction confirm", "correction reject", "feed show", "quarantine replay"}
"""Of these: that there is no such thing, or that what waits would be refused again."""
NO_DATA = {"serve", "demo", "kafka", "config init", "schema release", "schema register"}
"""What reads nothing for others."""
JSON_ALWAYS = {"config schema", "schema registry-file", "example"}
NEEDS_KAFKA = {"verify", "relay repartition", "relay rewind"}
LINES = {"event tail", "event export", "send", "simulate"}
"""Commands that have a JSON document for each line."""
IN_TABLES = [name for name in CALLS if name.split()[-1] in {"list", "messages", "timeline", "tail", "status", "match"}]
IN_TABLES += ["study show", "patient show", "event show", "quarantine show", "quarantine replay", "schema show"]


def every(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Each command below one, by its whole name."""
    for name, below in getattr(command, "commands", {}).items():
        yield from every(below, *path, name)
    if not getattr(command, "commands", None):
        yield " ".join(path), command


def commands() -> dict[str, Any]:
    """Every command that there is."""
    whole = build()
    for name in COMMANDS:
        whole.resolve_command(None, [name])
    return dict(every(whole))


EVERY = commands()
OPTIONS = {name: {word for option in each.params for word in option.opts} for name, each in EVERY.items()}


class Lab(NamedTuple):
    """A server at which a whole case was played, and whose entries were moved once."""

    server: DemoServer
    names: dict[str, str]

    def words(self, name: str, *more: str) -> list[str]:
        """What is typed for a command."""
        url = ["--url", self.server.url] if "--url" in OPTIONS[name] else []
        return [*name.split(), *CALLS[name].format(**self.names).split(), *url, *more]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The server of the demo, without Kafka."""
    with DemoServer(tmp_path_factory.mktemp("lab"), "") as server:
        assert main(["simulate", "127.0.0.1", str(server.port), "--speed", "10000", "-q"], {}) == 0
        assert main(["study", "open", "1.2.3", "--patient", "4711", "--url", server.url], {}) == 0
        assert main(["operator", "add", "N9", "L", "--url", server.url], {}) == 0
        api = Api(server.url)
        entries = api.get("/api/v1/events", {"after": 0, "study": UID})["events"]
        body = {"positions": [entries[0]["position"]], "to": {"study_instance_uid": "1.2.3"}, "why": "wrong room"}
        correction = api.post("/api/v1/corrections", body)["id"]
        item = api.get("/api/v1/quarantine")["items"][0]["id"]
        names = {"position": str(entries[1]["position"]), "item": item, "correction": correction}
        yield Lab(server, {"port": str(server.port), **names})


@pytest.fixture(autouse=True)
def files(run: Run, lab: Lab, tmp_path: Path) -> None:
    """What the calls name, in the working folder."""
    settings = (
        (lab.server.folder / "plscp.toml")
        .read_text("utf-8")
        .replace('"current.toml"', f'"{lab.server.folder}/current.toml"')
    )
    (tmp_path / "server.toml").write_text(settings.replace("sqlite:///", f"sqlite:///{lab.server.folder}/"))
    (tmp_path / "kafka.toml").write_text('[kafka]\nbootstrap_servers = ["127.0.0.1:9"]\n')
    (tmp_path / "store.toml").write_text('[store]\nurl = "sqlite:///other.db"\n')
    (tmp_path / "broken.toml").write_text("[dicom")
    (tmp_path / "event.json").write_text(run("example", *CALLS["example"].split()).out)


def test_the_calls_are_of_every_command() -> None:
    """A command that is added has its line here."""
    assert set(CALLS) == set(EVERY)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pynetdicom's, of a connection that nobody took
@pytest.mark.parametrize("name", CALLS)
def test_each_command_ends_with_the_status_of_what_happened(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its help 0, wrong usage and settings 2, nobody there 3, a defect 70, interrupted 130: one line on standard error, no traceback."""
    helped = run(*name.split(), "--help")
    assert (helped.status, helped.err) == (0, "")
    assert helped.out.startswith(f"Usage: plscp {name}")
    words = lab.words(name)
    expected = {(*words, "--nope"): 2}
    if "--config" in OPTIONS[name]:
        bare = [
            word for word in words if word not in {"--url", lab.server.url, "--config"} and not word.endswith(".toml")
        ]
        expected[*bare, "--config", "broken.toml"] = 2
    if "--url" in OPTIONS[name]:
        expected[*words[:-1], "http://127.0.0.1:9"] = 3
    elif "-aec" in OPTIONS[name]:
        expected[*(word if word != lab.names["port"] else "9" for word in words)] = 3
    elif name in {*NEEDS_KAFKA, "backup"}:
        expected[*(word if word != "server.toml" else "store.toml" for word in words)] = 3  # there is no store
    elif name == "schema register":
        expected[*words] = 3
    for typed, status in expected.items():
        ran = run(*typed)
        assert (ran.status, ran.err.count("\n")) == (status, 1), (typed, ran)
        assert ran.err.startswith("plscp: ")
    gc.collect()
    for error, status in ((KeyboardInterrupt(), INTERRUPTED), (ZeroDivisionError("odd"), DEFECT)):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(TyperCommand, "invoke", fail)
        ran = run(*words)
        assert (ran.status, ran.out) == (status, "")
        assert "Traceback" not in ran.err


@pytest.mark.parametrize("name", sorted(CALLS.keys() - NO_DATA - NEEDS_KAFKA))
def test_what_reads_has_json(run: Run, lab: Lab, name: str) -> None:
    """One document, and nothing else on standard output; of what comes one by one, a document on each line."""
    if name == "restore":
        run(*lab.words("backup"))
    ran = run(*lab.words(name, *([] if name in JSON_ALWAYS else ["--json"])))
    assert ran.status == (1 if name in ANSWERS_NO else 0), ran
    if ran.out or ran.status == 0:
        for document in ran.out.splitlines() if name in LINES else [ran.out]:
            json.loads(document)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", IN_TABLES)
def test_no_word_is_cut_on_a_narrow_terminal(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    """What is printed there has the same words as where there is room, and no line is longer than the terminal."""

    def shown(wide: int) -> str:
        monkeypatch.setattr(output, "WIDE", wide)
        return run(*lab.words(name)).out

    whole, narrow = shown(100_000), shown(width)
    assert max(map(len, narrow.splitlines())) <= width
    assert {*words(whole)} <= {*words(narrow)}


def words(text: str) -> list[str]:
    """The words, without what follows a name; numbers are left out, as some are of seconds since."""
    return [word for word in re.split(r"[\s:]+", text) if not re.fullmatch(r"[\d.,+()-]*", word)]


def test_the_exit_statuses_are_documented_once(run: Run) -> None:
    """In the help, and with the same words where operators read about them."""
    shown = " ".join(run("--help").out.split("Exit status:")[1].split())
    assert shown == " ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUSES.items())
    part = (ROOT / "docs" / "operate.md").read_text("utf-8").split("## Exit statuses")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in part.splitlines() if line.startswith("| ")]
    assert rows[2:] == [[str(status), meaning] for status, meaning in EXIT_STATUSES.items()]
