"""What is generated from values.yaml and the settings: every value is described, and the files are not stale."""

import subprocess
import sys

import pytest
import yaml

from tests.deploy.helm import CHART, ROOT

GENERATE = ROOT / "deploy" / "generate.py"


def generated(what: str) -> str:
    """What the generator prints."""
    done = subprocess.run([sys.executable, str(GENERATE), what], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


@pytest.mark.parametrize(
    ("what", "file"), [("schema", "values.schema.json"), ("readme", "README.md"), ("at-once", "files/at-once.json")]
)
def test_not_stale(what: str, file: str) -> None:
    """The checked-in file is what the generator prints."""
    assert (CHART / file).read_text("utf-8") == generated(what), "make generate brings it up to date"


@pytest.mark.parametrize("file", ["alerts.yaml", "dashboard.json"])
def test_the_chart_carries_what_the_repository_has(file: str) -> None:
    """A chart cannot reach out of its folder: it has copies."""
    assert (CHART / "files" / file).read_bytes() == (ROOT / "deploy" / "observability" / file).read_bytes()


def test_every_value_has_a_line_in_the_reference_and_a_description() -> None:
    """No value of values.yaml is missing in README.md, and each row says what it does."""
    rows = [line for line in (CHART / "README.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {row.split("`")[1]: row.rsplit(" | ", 1)[1].rstrip(" |") for row in rows}
    assert all(named.values()), [name for name, text in named.items() if not text]

    def paths(tree: dict[str, object], path: str = "") -> set[str]:
        found = set()
        for name, value in tree.items():
            here = f"{path}.{name}".strip(".")
            whole = here in named or not (isinstance(value, dict) and value)
            found |= {here} if whole else paths(value, here)  # type: ignore[arg-type]  # as the line before says
        return found

    assert paths(yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))) == set(named)


def test_wrong_usage() -> None:
    """Anything but what it can make: exit status 2 and one line."""
    done = subprocess.run([sys.executable, str(GENERATE), "all"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: generate.py schema|readme|at-once\n")
