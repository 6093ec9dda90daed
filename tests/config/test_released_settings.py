"""Settings files of released versions go on working, and mean what they meant.

Beside each file stands what its own version said that it means (`plscp config show --json`). Whoever releases a version adds a file
with every setting that is new in it; a file that was released never changes.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from plscp.config import load

FOLDER = Path(__file__).parents[1] / "fixtures" / "settings"
FILES = sorted(FOLDER.glob("*.toml"))


def missing(then: Any, now: Any, path: str = "") -> list[str]:
    """What was said then and is not said now, by the paths of the settings; what is new since is none of them."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [fault for name in then for fault in missing(then[name], now.get(name), f"{path}.{name}".strip("."))]
    return [] if then == now else [f"{path}: {then!r} then, {now!r} now"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_released_file_means_what_it_meant(file: Path) -> None:
    """Every value is the one that its version showed: relative paths, defaults that the file does not mention and masks included."""
    then = json.loads(file.with_suffix(".json").read_text("utf-8").replace("{folder}", str(FOLDER)))
    assert missing(then, load(file, {}).model_dump(mode="json")) == []


def test_there_are_files() -> None:
    """The first version's whole settings, and the file that it wrote for its users to start from."""
    assert {"0.1.0", "0.1.0-starter"} <= {file.stem for file in FILES}
