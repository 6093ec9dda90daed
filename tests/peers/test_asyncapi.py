"""AsyncAPI's own parser reads the document that describes the topics."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from plscp.records.parts import BARRIER
from plscp.records.schemas import TOPICS, asyncapi

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "build" / "peers" / "node_modules"
ERROR, WARNING = 0, 1


def parsed(file: Path) -> dict[str, Any]:
    """What the parser says; the test is skipped, with the reason, where there is none."""
    node = shutil.which("node")
    if node is None or not (MODULES / "@asyncapi").is_dir():
        pytest.skip("@asyncapi/parser is missing (make peers installs it where there are node and npm)")
    command = [node, str(Path(__file__).parent / "asyncapi.cjs"), str(file)]
    environment = os.environ | {"NODE_PATH": str(MODULES)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_the_document_is_a_valid_one_and_names_every_message() -> None:
    """Topics, messages and Kafka bindings arrive as they were written."""
    found = parsed(ROOT / "schemas" / "asyncapi.json")
    assert [each for each in found["said"] if each["severity"] <= WARNING] == []
    assert found["version"] == "3.0.0"
    assert [(topic["address"], topic["messages"]) for topic in found["topics"]] == [
        (f"{{prefix}}.{name}", sorted([*kinds, BARRIER])) for name, (_, _, kinds) in TOPICS.items()
    ]
    assert all(topic["kafka"]["topicConfiguration"] == {"cleanup.policy": ["delete"]} for topic in found["topics"])


def test_a_wrong_document_is_told(tmp_path: Path) -> None:
    """The parser looks at what it is given: an action that there is not."""
    made = asyncapi()
    shutil.copytree(ROOT / "schemas", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("released"))
    made["operations"]["publish-study"]["action"] = "shout"
    (tmp_path / "asyncapi.json").write_text(json.dumps(made), "utf-8")
    assert [each["severity"] for each in parsed(tmp_path / "asyncapi.json")["said"]].count(ERROR) > 0
