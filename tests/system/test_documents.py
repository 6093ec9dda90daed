"""The documents: what they name exists, what they tell to type works, and each of their blocks says by its kind how it is held.

`sh` is run, top to bottom: of the guides here, else by the test module that names the document. `toml` is read as the file that it is
for; in a guide one without a title goes to the end of /etc/plscp/plscp.toml. `json`, `yaml` and `python` are read, and held against what
plscp has. `console` needs root, a cluster or Kafka and is not run, except that `systemctl` starts and stops a server here too; `text` and
`http` show what comes. Any other language is an excerpt of an example, which has its own test.
"""

import ast
import importlib
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from markdown_it import MarkdownIt

from plscp.cli.commands import COMMANDS, build
from plscp.config import Settings, starter
from plscp.feeds.registry_file import apply_operators, check
from plscp.local.kafka import free_port
from plscp.logs import EVENTS
from plscp.matching.model import Policy
from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.records.values import ADAPTERS
from plscp.scu.files import TYPED

ROOT: Final = Path(__file__).parents[2]
GUIDES: Final = ("operate", "secure", "runbook")
DOCUMENTS: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DECISIONS: Final = sorted((ROOT / "docs" / "decisions").glob("*.md"))
BLOCK: Final = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN: Final = frozenset({"console", "text", "http"})
"""Kinds of blocks that show something, and are not run."""
NO_EVENTS: Final = frozenset({"read-token", "feed-token", "operate-token"})


def text_of(guide: str) -> str:
    """One of the guides."""
    return (ROOT / "docs" / f"{guide}.md").read_text("utf-8")


class Block(NamedTuple):
    """A block of code: its kind, the file that it is for where it says one, and what is in it."""

    kind: str
    title: str
    text: str


def blocks(text: str) -> list[Block]:
    """Every block of a document, as a reader of Markdown finds them; one that is indented has no kind."""
    found = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in {"fence", "code_block"}:
            kind, _, more = token.info.partition(" ")
            found.append(Block(kind, more.removeprefix('title="').removesuffix('"'), token.content))
    return found


def in_languages(block: Block, text: str, folder: Path) -> None:
    """Hold a block that is neither run nor only shown against what reads it; `text` is the whole document."""
    match block.kind:
        case "python":
            imports_exist(ast.parse(block.text), besides={*re.findall(r"`(\w+)\.py`", text)})
        case "toml":
            file = folder / "block.toml"
            file.write_text(block.text, "utf-8")
            assert faults_of_toml(file, tomllib.loads(block.text)) == []
        case "json":
            values = json.loads(block.text)
            for value in values if isinstance(values, list) else [values]:
                for name in TYPED.keys() & value.keys():
                    TYPED[name].model_validate(value)
                if value.get("type") in ADAPTERS:
                    ADAPTERS[value["type"]].validate_python(value)
        case "yaml":
            assert yaml.safe_load(block.text)
        case _:
            examples = [path.read_text("utf-8", "ignore") for path in (ROOT / "examples").rglob("*") if path.is_file()]
            assert block.kind, "a block without a kind: console or text where it is not to be run"
            assert any(block.text in example for example in examples), (
                f"neither of a known kind nor of an example: {block}"
            )


def imports_exist(program: ast.Module, besides: set[str]) -> None:
    """Each module that is imported, and each name out of one; but for files of the reader's own."""
    for node in ast.walk(program):
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module not in besides:
            assert node.module
            for name in node.names:
                assert hasattr(importlib.import_module(node.module), name.name), f"{node.module}.{name.name}"


def faults_of_toml(file: Path, content: dict[str, Any]) -> list[str]:
    """What the server says of it: of a registry file, of operators' file, or of settings."""
    if isinstance(content.get("operators"), list):
        return check(file, Registry(), Policy(), apply_operators).refused
    if content.keys() & {"patients", "admissions", "studies"}:
        return check(file, Registry(), Policy()).refused
    whole = tomllib.loads(starter())
    for name, table in content.items():
        whole[name] = {**whole.get(name, {}), **table}
    Settings.model_validate(whole)  # what it names may stand in the other tables; files need not be there
    return []


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CONTRIBUTING.md", *DECISIONS], ids=lambda path: path.stem)
def test_every_block_has_a_kind_and_holds(path: Path, tmp_path: Path) -> None:
    """None is passed over: what is no command for a shell is read here, as its kind has it."""
    text = path.read_text("utf-8")
    found = blocks(text)
    assert [(block.kind, block.text) for block in found] == BLOCK.findall(text)  # what the tests below go by
    for block in found:
        if path in DECISIONS:
            assert block.kind
        elif block.kind not in {"sh", *SHOWN}:
            in_languages(block, text, tmp_path)
    if path.stem not in GUIDES and any(block.kind == "sh" for block in found):
        modules = [module for module in (ROOT / "tests").rglob("test_*.py") if module != Path(__file__)]
        assert any(path.name in module.read_text("utf-8") for module in modules), "no test runs its commands"


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as the usual renderers make them."""
    prose = BLOCK.sub("", text)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(path: Path) -> None:
    """To a file of the repository, and to a heading there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


def typed(text: str) -> Iterator[list[str]]:
    """Words of each `plscp ...` that is shown, in a block or within a sentence."""
    code = [block for _, block in BLOCK.findall(text)] + re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    for line in "\n".join(code).replace("\\\n", " ").splitlines():
        for part in re.split(r"[|;&(]+|\s#", line):
            words = part.strip().lstrip("! ").replace("$", "").split()
            while words[:1] == ["--"] or (words and "=" in words[0]):
                words = words[1:]
            if "--" in words and "plscp" in words[words.index("--") + 1 :]:  # kubectl exec ... -- plscp
                words = words[words.index("--") + 1 :]
            if words[:1] == ["plscp"] and len(words) > 1:
                yield words[1:]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_and_option_that_is_shown_exists(path: Path) -> None:
    """Nothing is promised that the command line does not know."""
    everything = build()
    for name in COMMANDS:
        everything.resolve_command(None, [name])
    for words in typed(path.read_text("utf-8")):
        command: Any = everything
        rest = list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert command is not everything or rest[0].startswith("-"), words
        assert not getattr(command, "commands", {}) or not rest or rest[0].startswith("-"), words
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in rest:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, words
            elif re.fullmatch(r"-[a-z]{2,}", word):
                assert word in known, words  # as DCMTK users type it


def test_what_the_architecture_names_is_in_the_code() -> None:
    """Modules below plscp, and the classes and functions named with them after a colon."""
    named = re.findall(r"`(\w[\w/]*)\.py(?:: ([\w.]+))?`", text_of("architecture"))
    rooms = ROOT / "plscp"
    assert [
        module for module, _ in named if not any(ROOT.glob(f"{module}.py")) and not any(rooms.rglob(f"{module}.py"))
    ] == []
    assert sum(bool(name) for _, name in named) > 30
    for module, name in named:
        found: Any = importlib.import_module(f"plscp.{module.replace('/', '.')}") if name else None
        for part in name.split(".") if name else ():
            found = getattr(found, part)


def test_the_classes_that_the_glossary_names_are_in_the_code() -> None:
    """A word whose class was renamed is found here."""
    source = "".join(path.read_text("utf-8") for path in (ROOT / "plscp").rglob("*.py"))
    classes = set(re.findall(r"^class (\w+)", source, re.MULTILINE))
    assert set(re.findall(r"`([A-Z][a-z]\w+)[`.]", text_of("glossary"))) <= classes


def settings_names(model: Any = Settings) -> Iterator[str]:
    """Every name of a setting, whatever table it stands in."""
    for definition in [model.model_json_schema(), *model.model_json_schema()["$defs"].values()]:
        yield from definition.get("properties", ())


@pytest.mark.parametrize("guide", GUIDES)
def test_every_event_metric_and_setting_that_is_named_exists(guide: str) -> None:
    """Backticked words that look like one."""
    prose = BLOCK.sub("", text_of(guide))
    words = {word for code in re.findall(r"`([^`\n]+)`", prose) for word in re.findall(r"[\w.-]+", code)}
    made = Metrics()
    names = {line.split()[2] for line in made.exposition().decode().splitlines() if line.startswith("# TYPE ")}
    assert {word for word in words if word.startswith("plscp_")} <= names
    events = {word for word in words if re.fullmatch(r"[a-z]+(-[a-z]+)+", word)}
    assert events - NO_EVENTS <= set(EVENTS)
    written = {match[0] for match in re.findall(r"`(?:\[[\w.]+\] )?([a-z]+(_[a-z]+)+)(?: = [^`]*)?`", prose)}
    assert {word for word in written if not word.startswith("plscp_")} <= {*settings_names()}


class Walk:
    """Somebody who follows a guide in a folder that stands for the machine.

    Args:
        root: takes the place of `/` for what the guides write to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.here = root / "work"
        self.settings = root / "etc" / "plscp" / "plscp.toml"
        for folder in (self.here, self.settings.parent, root / "var" / "lib" / "plscp"):
            folder.mkdir(parents=True)
        (root / "var" / "lib" / "plscp").chmod(0o700)
        names = ("11112", "2762", "8080", "8081")
        self.ports = {name: str(free_port()) for name in names}
        self.variables = {
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.here),
            "PLSCP_CONFIG": str(self.settings),
            "PLSCP_HTTP__PORT": self.ports["8080"],
        }
        self.server: subprocess.Popen[str] | None = None
        self.said = ""

    def here_for(self, text: str) -> str:
        """What is written for the machine, for this folder."""
        for path in ("/etc/plscp", "/var/lib/plscp"):
            text = text.replace(path, f"{self.root}{path}")
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        text = text.replace("runuser -u plscp -- ", "")  # one user does it all here
        return text.replace("plscp.clinic.example", "localhost").replace('"0.0.0.0"', '"127.0.0.1"')

    def follow(self, text: str) -> None:
        """Every block, in order."""
        try:
            for kind, title, block in blocks(text):
                if kind == "sh":
                    self.run(block)
                elif kind == "toml" and not title:
                    with self.settings.open("a") as file:
                        file.write("\n" + self.here_for(block))
                elif kind == "console":
                    self.system(block)
        finally:
            self.stop()

    def run(self, block: str) -> None:
        """A block of shell: each command must end well, one after `!` must not."""
        script = re.sub(r"^! (.*)$", r"if \1; then exit 97; fi", self.here_for(block), flags=re.MULTILINE)
        state = self.here / ".state"
        before = f"set -euo pipefail; cd {self.here}; [ ! -e {state} ] || . {state}\n"
        ran = subprocess.run(
            ["bash", "-c", f'{before}{script}\nexport -p > {state}; declare -f >> {state}; echo "cd $PWD" >> {state}'],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.said += ran.stdout
        log = self.root / "log"
        assert ran.returncode == 0, f"{block}\n{ran.stdout}{ran.stderr}{log.read_text() if log.exists() else ''}"
        if "config init" in block:  # what the reader is told to set
            written = self.settings.read_text().replace("sqlite:///data", f"sqlite:///{self.root}/var/lib/plscp")
            self.settings.write_text(self.here_for(written))

    def system(self, block: str) -> None:
        """Of a block that needs root, what starts and stops the server."""
        if re.search(r"^systemctl (stop|restart) plscp", block, re.MULTILINE):
            self.stop()
        if re.search(r"^systemctl (start|restart|enable --now) plscp", block, re.MULTILINE):
            self.start()

    def start(self) -> None:
        """The server, as the unit does it."""
        with (self.root / "log").open("w") as log:
            self.server = subprocess.Popen(
                ["plscp", "serve"], cwd=self.here, env=self.variables, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.server.stdout is not None
        for line in self.server.stdout:
            if line.startswith("listening "):
                return
        raise AssertionError((self.root / "log").read_text())

    def stop(self) -> None:
        """End it as systemd does."""
        if self.server is not None:
            self.server.terminate()
            assert self.server.wait(60) == 0
            assert self.server.stdout is not None
            self.server.stdout.close()
            self.server = None


@pytest.mark.slow
def test_operate_can_be_followed(tmp_path: Path) -> None:
    """Settings, a first device, an event, a backup that is restored: as it is written."""
    walk = Walk(tmp_path)
    walk.follow(text_of("operate"))
    assert "0000 success; study 1.2.3, patient 4711" in walk.said


@pytest.mark.slow
def test_secure_can_be_followed(tmp_path: Path) -> None:
    """A CA, certificates, an AE title bound to its certificate, tokens with roles: as it is written."""
    walk = Walk(tmp_path)
    walk.follow(text_of("secure"))
    assert "subject=CN=HEMO1,O=Clinic" in walk.said
    assert "401" in walk.said


@pytest.mark.slow
def test_the_runbook_can_be_followed(tmp_path: Path) -> None:
    """A request that was refused, since nobody had opened its study, is replayed out of the quarantine by hand, and is accepted."""
    walk = Walk(tmp_path)
    walk.variables["PLSCP_MATCHING__REPLAY"] = "off"  # else the server was quicker
    walk.run("plscp config init /etc/plscp/plscp.toml")
    walk.start()
    try:
        walk.run(
            "plscp example drug-administered --study 1.2.3 > event.json\n"
            "! plscp send 127.0.0.1 11112 event.json --now -aet HEMO1\n"
            "plscp study open 1.2.3 --patient 4711 --location LAB1\n"
        )
        walk.said = ""
        walk.follow(
            "\n".join(f"```{kind}\n{block}```" for kind, block in BLOCK.findall(text_of("runbook")) if kind == "sh")
        )
    finally:
        walk.stop()
    assert "would be accepted" in walk.said
    assert re.search(r"accepted +0000 +1\.2\.3 of 4711", walk.said)
    assert "nothing in quarantine" in walk.said


def test_every_alert_has_its_entry_in_the_runbook() -> None:
    """One section for each alert, in which its annotation ends; and no section for an alert that is not there."""
    rules = (ROOT / "deploy" / "observability" / "alerts.yaml").read_text("utf-8")
    alerts = re.findall(r"alert: (\w+)", rules)
    sections = re.findall(r"^## (Plscp\w+)$", text_of("runbook"), re.MULTILINE)
    assert sorted(sections) == sorted(alerts)
    assert re.findall(r"runbook: \"?([^\"\s]+)", rules) == [f"docs/runbook.md#{alert.lower()}" for alert in alerts]
