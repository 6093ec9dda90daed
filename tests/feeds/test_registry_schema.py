"""The JSON Schema of the registry file against what reads the file: with every value of a pool in every member, one form of both."""

import re
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from plscp.cli import main
from plscp.feeds.registry_file import Planned, check, plain
from plscp.matching.bodies import Body, RegistryFileBody
from plscp.matching.model import Policy
from plscp.matching.registry import Registry

JUDGE: Final = Draft202012Validator(RegistryFileBody.json_schema(), format_checker=FormatChecker())
GUIDE: Final = (Path(__file__).parents[2] / "docs" / "registry-file.md").read_text("utf-8")
[EXAMPLE] = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
MODELS: Final[dict[str, type[Body]]] = {
    name: field.annotation.__args__[0]  # type: ignore[union-attr]
    for name, field in RegistryFileBody.model_fields.items()
}
NEEDED: Final[dict[str, dict[str, Any]]] = {
    "patients": {"id": "P1"},
    "admissions": {"id": "A1", "patient": {"id": "P2"}},
    "studies": {"study_instance_uid": "1.2.3"},
}
REFERENCE: Final = [
    {"id": "P1"},
    {"id": "P1", "issuer": "HOSP"},
    {"id": "P1", "name": "x"},
    {"id": 1},
    {"id": "P" * 65},
]
POOL: Final[list[Any]] = [
    "", "P1", " P1 ", "x" * 16, "x" * 17, "x" * 64, "x" * 65, "x" * 325, "back\\slash", "a\tb", "Müller^Änne",
    "1.2.3", "1.02.3", "1", "1." + "2" * 62, "1." + "2" * 63, "open", "scheduled", "closed", "cancelled", "active", "discharged", "Open",
    "19600514", "1960-05-14", "1960", 5, 1.5, True, date(1960, 5, 14), datetime(2026, 11, 26, 8, tzinfo=UTC), datetime(2026, 11, 26, 8),  # noqa: DTZ001
    "2026-11-26T08:00:00Z", "2026-11-26T08:00:00+01:00", "yesterday", [], [{"id": "P9"}], [{"id": ""}], ["P9"], *REFERENCE,
]  # fmt: skip
"""Values that some member may have and others may not."""


def refused(folder: Path, content: dict[str, Any]) -> Planned:
    """What a server that knows nothing says to a file with this content."""
    file = folder / "current.toml"
    file.write_text(tomli_w.dumps(content), "utf-8")
    return check(file, Registry(), Policy())


def judged(content: dict[str, Any]) -> bool:
    """Whether the schema takes it, as an editor reads it."""
    return bool(JUDGE.is_valid(plain(tomllib.loads(tomli_w.dumps(content)))))


ROWS: Final = [
    (section, {**NEEDED[section], name: value})
    for section, model in MODELS.items()
    for name in (*model.model_fields, "unknown_member")
    for value in POOL
]


@pytest.mark.parametrize("section", MODELS)
def test_every_value_in_every_member(tmp_path: Path, section: str) -> None:
    """What the schema takes the reader takes, and the other way round."""
    differ = [
        (row, planned.refused)
        for of, row in ROWS
        if of == section and judged({section: [row]}) is bool((planned := refused(tmp_path, {section: [row]})).refused)
    ]
    assert differ == []


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whole_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Rows of every section with several members each, and sections that none has."""
    content: dict[str, Any] = {}
    for section, model in MODELS.items():
        names = data.draw(st.lists(st.sampled_from([*model.model_fields]), unique=True, max_size=3))
        row = NEEDED[section] | {name: data.draw(st.sampled_from(POOL)) for name in names}
        if data.draw(st.booleans()):
            content[section] = [row] if data.draw(st.integers(0, 9)) else row
    if not data.draw(st.integers(0, 9)):
        content["studys"] = []
    folder = tmp_path_factory.mktemp("file", numbered=True)
    if not judged(content):
        assert refused(folder, content).refused
    else:  # rows that fit by themselves may contradict each other: of that a schema knows nothing
        for section, rows in content.items():
            assert refused(folder, {section: rows}).refused == []


def test_the_example_of_the_guide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken whole, and every member that there is stands in it or in the table below; the command prints this schema."""
    content = tomllib.loads(EXAMPLE)
    assert judged(content)
    planned = refused(tmp_path, content)
    assert (
        planned.refused,
        {record.change["what"] for record in planned.records} >= {"patient.changed", "study.opened"},
    ) == ([], True)
    table = dict(re.findall(r"^\| `(\w+)` \| (.*)$", GUIDE, re.MULTILINE))
    assert {name: re.findall(r"`(\w+)`", cells) for name, cells in table.items()} == {
        section: [*model.model_fields] for section, model in MODELS.items()
    }
    assert main(["schema", "registry-file"], {}) == 0
    assert '"RegistryFileBody"' in capsys.readouterr().out
