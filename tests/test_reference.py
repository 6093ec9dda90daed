"""docs/settings.md against the model: right types, and nothing offered that is refused; the registry file in `config check`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from plscp.config import Settings, load, problems, reference, starter
from plscp.config.model import (
    AllowedOperator,
    DeviceTable,
    Hl7Table,
    Hl7Tls,
    HttpTls,
    Kafka,
    Location,
    MppsTable,
    OperatorPolicy,
    Tls,
    WorklistTable,
    WorklistTls,
)
from plscp.errors import ConfigError

TITLES: dict[str, type[BaseModel]] = {
    "[locations.NAME]": Location,
    "[devices.AE]": DeviceTable,
    "[dicom.tls]": Tls,
    "[http.tls]": HttpTls,
    "[feeds.mpps]": MppsTable,
    "[feeds.worklist]": WorklistTable,
    "[feeds.worklist.tls]": WorklistTls,
    "[feeds.hl7]": Hl7Table,
    "[feeds.hl7.tls]": Hl7Tls,
    "Each of `operators.allowed`": AllowedOperator,
    "[kafka]": Kafka,
    "[operators]": OperatorPolicy,
}
IN_SCHEMA = {
    "number": "number", "whole number": "integer", "bytes": "integer", "port": "integer", "true or false": "boolean",
    "text": "string", "secret": "string", "duration": "string", "time zone": "string", "UID": "string", "URL": "string",
    "AE title": "string", "host:port": "string", "date and time": "string", "text or list of text": "array",
    "network or list of networks": "array", "table of lists of text": "object",
}  # fmt: skip
"""What each kind of the reference is in JSON Schema."""


def rows() -> Iterator[tuple[type[BaseModel], str, str]]:
    """(model, setting, kind) of each row of the reference."""
    for part in reference().split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        model: type[BaseModel] = TITLES.get(title) or type(getattr(Settings(), title.strip("[]")))
        if not issubclass(model, BaseModel):
            continue  # [issuers]: names that a hospital makes up
        for name, kind in re.findall(r"^\| `(\w+)` \| (.*?) \| ", rest, re.MULTILINE):
            yield model, name, kind


def schema_of(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The JSON Schema of a setting, without the null of one that may be absent."""
    found: dict[str, Any] = model.model_json_schema()["properties"][name]
    options: list[dict[str, Any]] = [option for option in found.get("anyOf", [found]) if option.get("type") != "null"]
    assert len(options) == 1
    return options[0]


@pytest.mark.parametrize(("model", "name", "kind"), list(rows()), ids=lambda value: getattr(value, "__name__", value))
def test_the_reference_names_the_right_type(model: type[BaseModel], name: str, kind: str) -> None:
    """What the reference calls a number, a list or one of some words is that for the model too."""
    schema = schema_of(model, name)
    if kind.startswith("list of "):
        assert schema["type"] == "array"
        items = schema["items"]
        if kind == "list of tables":
            assert "$ref" in items
        else:
            assert items.get("enum") == (re.findall(r'`"(.*?)"`', kind) or None)
    elif kind.startswith("`"):
        assert schema.get("enum") == re.findall(r'`"(.*?)"`', kind)
    else:
        assert schema["type"] == IN_SCHEMA[kind]


OFFERED = re.compile(r"(?:sqlite|postgres\w*|memory|https?)://\S*?(?=[\s,;|`\"]|$)")


def test_no_store_is_offered_that_is_refused(tmp_path: Path) -> None:
    """Each URL in the reference, in the starter file and in the lines about a wrong one opens a store."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"PLSCP_STORE__URL": "mysql://x"})
    said = [*OFFERED.findall(reference() + starter()), *OFFERED.findall(str(caught.value).split(", not")[0])]
    assert len(said) >= 4
    for url in said:
        assert url.startswith("sqlite:///"), url
        load(None, {"PLSCP_STORE__URL": url})


def test_the_registry_file_is_checked_too(tmp_path: Path) -> None:
    """Every row that a server would refuse is a fault; a file that cannot be read is one."""
    (path := tmp_path / "plscp.toml").write_text('[registry]\nfile = "current.toml"\n[locations.LAB1]\n')
    assert "No such file" in problems(path, {})[0]
    (tmp_path / "current.toml").write_text("patients = [")
    assert problems(path, {})[0].startswith(f"registry.file: {tmp_path}/current.toml: ")
    (tmp_path / "current.toml").write_text(
        'patients = [{ id = "P1", birth_date = "banana" }, { id = "P2", issuer = "H" }]\n[[studies]]\nstudy_instance_uid = "x"\n'
    )
    assert [line.split(f"{tmp_path}/current.toml: ")[1] for line in problems(path, {})] == [
        "patients 1: patient: birth_date: not a date: YYYYMMDD (PS3.5 6.2, DA)",
        "studies 1 (x): study: study_instance_uid: not a UID (PS3.5 9.1)",
    ]
    (tmp_path / "current.toml").write_text('[[studies]]\nstudy_instance_uid = "1.2"\nlocation = "LAB 1"\n')
    assert problems(path, {}) == []
    [warning] = load(path, {}).registry_file()[1]
    assert warning.endswith('no [locations] entry lists "LAB 1": a place of its own; did you mean "LAB1"?')
