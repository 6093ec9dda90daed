"""Types that other people's generators make of the schemas compile, and read real records of every kind."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plscp.local import fetch
from plscp.records import schemas
from plscp.records.examples import as_json, examples
from plscp.records.parts import WITHDRAWN_TYPE, ReducedRecord, RelayStarted
from plscp.records.schemas import ENTRIES
from plscp.records.values import ADAPTERS, RECORDS
from tests.peers.test_asyncapi import MODULES

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "records" / "golden" / "now.jsonl"


@cache
def schema(name: str) -> dict[str, Any]:
    """As it is published; made once, since it is asked for with every record."""
    return schemas.schema(name)


def title(name: str) -> str:
    """The name of the class that generators make of a schema."""
    return str(schema(name)["title"])


def records() -> Iterator[tuple[str, dict[str, Any]]]:
    """Type and value of the examples, one of every kind, and of what a server wrote for the golden story."""
    for kind, _, value in examples():
        yield kind, as_json(value)
    for line in GOLDEN.read_bytes().splitlines():
        value = json.loads(line)
        if value["type"] in RECORDS and not (value["type"] == WITHDRAWN_TYPE and "reduced" in value):  # never too large
            yield value["type"], value


RECORDS_READ = [*records()]


def tool(name: str) -> str:
    """Where a program is; the test is skipped, with the reason, where it is missing."""
    if (found := shutil.which(name)) is None:
        pytest.skip(f"{name} is missing (make peers installs it as root on Debian)")
    return found


def ran(command: Sequence[str | Path], given: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A program's end."""
    environment = os.environ | {"NODE_PATH": str(MODULES)}
    return subprocess.run(
        command, input=given, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of types for each generator."""
    node = tool("node")
    if not (MODULES / "@asyncapi" / "modelina").is_dir():
        pytest.skip("the generators are missing (make peers installs them where there are node and npm)")
    made = tmp_path_factory.mktemp("generated")
    ended = ran([node, HERE / "generated_types.cjs", ROOT / "schemas" / "draft-07", made])
    assert ended.returncode == 0, ended.stderr
    return made


def compiled(folder: Path, *more: str) -> list[str]:
    """What the strict TypeScript compiler says against a folder's files."""
    strict = ["--strict", "--target", "es2022", "--module", "commonjs", "--types", "", *more]
    ended = ran(
        [tool("node"), MODULES / "typescript" / "bin" / "tsc", *strict, *sorted(folder.glob("*.ts"))], "", folder
    )
    said = [line for line in ended.stdout.splitlines() if "error" in line]
    assert bool(said) == bool(ended.returncode), ended.stdout + ended.stderr
    return said


def plain(value: Any) -> Any:
    """A value without what is null, with its times as such: however a language spells them."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", value):
        return datetime.fromisoformat(value)
    return value


# --- TypeScript ---


def switch(member: dict[str, str]) -> str:
    """A program that takes a member of the entry of each kind, and says that there are no more kinds."""
    cases = "\n".join(f'    case "{kind}": return entry.{name};' for kind, name in member.items())
    return f"""import type {{ ProcedureLogEntry }} from "./ProcedureLogEntry";
export function said(record: ProcedureLogEntry): unknown {{
  if ("reduced" in record) return record.dataref;
  const entry = record.entry;
  switch (entry.kind) {{
{cases}
  }}
  const none: never = entry;
  return none;
}}
"""


OWN = {
    kind: next(name for name in schema(kind)["required"] if name not in {"kind", "template"})
    for kind in ENTRIES
    if kind != "substance_administered"
}
"""A member of each kind of entry."""
OTHERS = {kind: next(name for name in OWN.values() if name not in schema(kind)["properties"]) for kind in OWN}
"""A member that each kind has not, but another has."""


def test_typescript_narrows_an_entry_by_its_kind(generated: Path, tmp_path: Path) -> None:
    """Each member is there in the branch of its kind, is none in that of another, and no kind is forgotten."""
    types = tmp_path / "types"
    shutil.copytree(generated / "json2ts", types)
    (types / "switch.ts").write_text(switch(OWN), "utf-8")
    assert compiled(types, "--noEmit") == []
    (types / "switch.ts").write_text(switch(OTHERS), "utf-8")
    wrong = compiled(types, "--noEmit")
    assert len(wrong) == len(OTHERS)
    assert all("error TS2339: Property" in line or "error TS2551: Property" in line for line in wrong)
    (types / "switch.ts").write_text(switch(dict([*OWN.items()][1:])), "utf-8")
    assert [line for line in compiled(types, "--noEmit") if "to type 'never'" not in line] == []


def test_typescript_knows_every_member_of_real_records(generated: Path, tmp_path: Path) -> None:
    """json-schema-to-typescript: a record is of its type, and has no member that the type does not name."""
    types = tmp_path / "types"
    shutil.copytree(generated / "json2ts", types)
    names = sorted(set(map(title, ADAPTERS)))
    lines = [f'import type {{ {name} }} from "./{name}";' for name in names]
    for number, (kind, value) in enumerate(RECORDS_READ):
        lines.append(f"export const record{number}: {title(kind)} = {json.dumps(value)};")
    (types / "records.ts").write_text("\n".join(lines), "utf-8")
    assert compiled(types, "--noEmit") == []


def test_a_class_has_one_name_in_each_language(generated: Path) -> None:
    """No generator has to tell two classes apart by a number."""
    for file in (generated / "json2ts").glob("*.ts"):
        assert re.findall(r"^export (?:interface|type) (\w*\d)\b", file.read_text("utf-8"), re.MULTILINE) == []
    assert [file for file in (generated / "java").rglob("*.java") if file.stem[-1].isdigit()] == []


def test_quicktype_reads_real_records(generated: Path, tmp_path: Path) -> None:
    """Its types compile, and its checks at run time pass each record, which is then the same."""
    types = tmp_path / "types"
    shutil.copytree(generated / "quicktype", types)
    assert compiled(types) == []
    program = """
const lines = require("fs").readFileSync(0, "utf8").trim().split("\\n").map((line) => line.split("\\t"));
for (const [name, value] of lines) {
  const { Convert } = require(`./${name}.js`);
  const written = Convert[name[0].toLowerCase() + name.slice(1) + "ToJson"](Convert["to" + name](value));
  console.log(JSON.stringify(JSON.parse(written)));
}
"""
    given = "".join(f"{title(kind)}\t{json.dumps(value)}\n" for kind, value in RECORDS_READ)
    ended = ran([tool("node"), "-e", program], given, types)
    assert ended.returncode == 0, ended.stderr
    read = [plain(json.loads(line)) for line in ended.stdout.split("\n")[:-1]]
    assert read == [plain(value) for _, value in RECORDS_READ]


# --- Java ---


def test_java_reads_real_records(generated: Path, tmp_path: Path) -> None:
    """Modelina's classes compile, and Jackson reads each record into them and writes the same."""
    javac = tool("javac")
    jars = os.pathsep.join(str(jar) for jar in fetch.fetch().jars if "jackson" in jar.name)
    sources = [HERE / "ReadRecords.java", *(generated / "java").rglob("*.java")]
    ended = ran([javac, "-nowarn", "-cp", jars, "-d", tmp_path, *sources])
    assert ended.returncode == 0, ended.stderr
    given = ""
    for kind, value in RECORDS_READ:
        record = ReducedRecord if "reduced" in value else RECORDS.get(kind, RelayStarted)
        name = record.__name__ if "oneOf" in schema(kind) else title(kind)
        given += f"org.example.{title(kind).lower()}\t{name}\t{json.dumps(value)}\n"
    kinds = [f"{kind}={title(kind)}" for kind in ENTRIES]
    ended = ran([tool("java"), "-cp", f"{tmp_path}{os.pathsep}{jars}", "ReadRecords", *kinds], given)
    assert ended.returncode == 0, ended.stderr
    lines = [line.split("\t", 1) for line in ended.stdout.split("\n")[:-1]]
    assert [plain(json.loads(value)) for _, value in lines] == [plain(value) for _, value in RECORDS_READ]
    assert [name for name, _ in lines] == [title(v["entry"]["kind"]) if "entry" in v else "" for _, v in RECORDS_READ]


# --- Python ---


@pytest.mark.parametrize("kind", ADAPTERS)
def test_python_reads_real_records(kind: str, tmp_path: Path) -> None:
    """The classes of datamodel-code-generator read each record, the entry as the class of its kind, and write the same."""
    source, made = ROOT / "schemas" / f"{kind}.json", tmp_path / "generated.py"
    options = [
        "--input-file-type",
        "jsonschema",
        "--output-model-type",
        "pydantic_v2.BaseModel",
        "--formatters",
        "builtin",
    ]
    program = Path(sys.executable).parent / "datamodel-codegen"
    ended = ran([program, "--input", source, "--output", made, "--class-name", "Root", *options])
    assert ended.returncode == 0, ended.stderr
    assert re.findall(r"^class (\w*\d)\b", made.read_text("utf-8"), re.MULTILINE) == []
    spec = importlib.util.spec_from_file_location(f"generated_{title(kind)}", made)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    for of, value in RECORDS_READ:
        if of == kind:
            read = module.Root.model_validate_json(json.dumps(value))
            assert plain(json.loads(read.model_dump_json(exclude_unset=True))) == plain(value)
            if "entry" in value:
                assert type(read.root.entry).__name__ == title(value["entry"]["kind"])
