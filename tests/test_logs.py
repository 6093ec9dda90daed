"""Logs: a closed list of event names, one JSON line per event."""

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from plscp import logs
from plscp.logs import EVENTS, UnknownEventError, log

SOURCE = Path(logs.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


@pytest.fixture(autouse=True)
def _default_again() -> Iterator[None]:
    """Leave logging as other tests expect it."""
    yield
    logs.configure()


def names() -> Iterator[tuple[str, str]]:
    """(place, event name) of each logging call in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
            ):
                for branch in ast.walk(node.args[0]):
                    if isinstance(branch, ast.Constant) and isinstance(branch.value, str):
                        yield f"{path.relative_to(SOURCE)}:{node.lineno}", branch.value


def test_every_name_is_on_the_list() -> None:
    """Each logging call of the source uses a name of the closed list."""
    found = list(names())
    assert found
    assert [(place, name) for place, name in found if name not in EVENTS] == []


def test_the_list_is_documented() -> None:
    """Names are kebab-case, each with one line that says what it means."""
    for name, meaning in EVENTS.items():
        assert name == name.lower()
        assert name.replace("-", "").isalnum()
        assert meaning
        assert "\n" not in meaning


def test_json_lines() -> None:
    """Where the stream is no terminal each event is one JSON object on one line, with its level and UTC time."""
    out = io.StringIO()
    logs.configure(stream=out)
    log.info("listening", ae_title="PL\nSCP", port=11112)
    log.warning("stopping")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["event"] == "listening"
    assert first["level"] == "info"
    assert first["ae_title"] == "PL\nSCP"
    assert first["timestamp"].endswith("Z")
    assert second["level"] == "warning"


def test_exceptions_stay_on_the_line() -> None:
    """An exception is part of its event's line."""
    out = io.StringIO()
    logs.configure(stream=out)
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("internal-error")
    (line,) = out.getvalue().splitlines()
    assert "ValueError: odd" in json.loads(line)["exception"]


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level: str, lines: int) -> None:
    """Only events of the level and above are written."""
    out = io.StringIO()
    logs.configure(level=level, stream=out)
    log.debug("stopping")
    log.info("stopping")
    log.warning("stopping")
    log.error("stopping")
    assert len(out.getvalue().splitlines()) == lines


def test_console() -> None:
    """The console style is for people: the name, no JSON."""
    out = io.StringIO()
    logs.configure(stream=out, json=False)
    log.info("listening", port=11112)
    assert "listening" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_unknown_name() -> None:
    """A name that is not on the list is a defect that shows at once."""
    logs.configure(stream=io.StringIO())
    with pytest.raises(UnknownEventError, match="made-up"):
        log.info("made-up")
