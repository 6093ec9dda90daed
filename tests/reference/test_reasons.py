"""The list of reasons is closed: what the source can say is on it, and nothing else is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import plscp
from plscp.findings import LONGEST_PATH
from plscp.matching import comments
from plscp.reference.reasons import REASONS, Reason
from plscp.statuses import STATUSES

SOURCE = Path(plscp.__file__).parent
TOLD_BY = {"refuse", "lenient", "note", "invalid", "_fault", "_note", "RowFinding", "finding", "Finding"}
"""Functions and classes whose second argument is a reason."""


def texts(node: ast.expr) -> Iterator[str]:
    """What an expression may say, `...` for what varies; nothing where it is said elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def called(node: ast.Call) -> str:
    """The name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def in_templates_and_service() -> Iterator[str]:
    """Reasons of steps 1 to 7."""
    for path in sorted([*SOURCE.glob("content/*.py"), *SOURCE.glob("templates/*.py"), *SOURCE.glob("service/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and called(node) in TOLD_BY and len(node.args) > 1:
                yield from texts(node.args[1])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "inner.append":
                yield from texts(node.args[0])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"reason", "status.comment"}:
                yield from texts(node.value)
            elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "SIMPLE" and path.stem == "items":
                assert isinstance(node.value, ast.Dict)
                for value in node.value.values:
                    assert isinstance(value, ast.Tuple)
                    yield from texts(value.elts[-1])


def in_matching() -> Iterator[str]:
    """Reasons of steps 8 and 9, and of DateTimes that are none."""
    yield from (value for name, value in vars(comments).items() if name.isupper())
    for path in sorted(SOURCE.glob("matching/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and called(node) == "Finding":
                yield from texts(node.args[1])
            elif path.stem == "times" and isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                yield from (text for text in texts(node.exc.args[0]) if "time zone" not in text)


def holes(text: str) -> str:
    """A reason of the list as the source would have it."""
    return re.sub(r"<[^>]+>", "...", text)


def test_every_reason_of_the_source_is_explained_and_no_other() -> None:
    """Who reads an Error Comment, or a finding, finds its row."""
    said = {text.replace("......", "...") for text in (*in_templates_and_service(), *in_matching())}
    said = {re.sub(r"\.\.\.( \.\.\.)? must be \.\.\.", "... must be ...", text) for text in said}
    listed = {holes(reason.text) for reason in REASONS}
    open_ended = [re.escape(text).replace(re.escape("..."), ".+") for text in listed if "..." in text[3:]]
    said = {text for text in said if text in listed or not any(re.fullmatch(each, text) for each in open_ended)}
    assert listed == said


def test_no_reason_stands_twice() -> None:
    """One reason, one row."""
    found = [reason.text for reason in REASONS]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.text)
def test_a_reason_fits_its_comment_and_names_statuses_that_exist(reason: Reason) -> None:
    """Printable ASCII without a backslash; with a status, unless it never refuses; and it says what to mend."""
    text, statuses, when, mend = reason
    assert text.isascii()
    assert text.isprintable()
    assert "\\" not in text
    assert mend
    found = [int(status, 16) for status in statuses.split(", ") if status]
    assert all(status in STATUSES for status in found)
    assert bool(found) is (when != "never")
    if when == "warning":
        assert all(STATUSES[status].performed for status in found)
    elif when in {"always", "strict"}:
        assert not any(STATUSES[status].performed for status in found)


def test_the_longest_place_leaves_room_for_a_reason() -> None:
    """A comment is found in the table by its first words even where it is cut."""
    assert 64 - LONGEST_PATH - len(" at ") - len(" (+200)") >= 28


WHEN = {"refuse": "always", "lenient": "strict", "_fault": "always", "_note": "strict"}
"""By what tells a reason: whom it refuses."""


def test_the_list_says_whom_a_reason_refuses() -> None:
    """What every profile refuses, and what only a strict one does, as the call in the source has it."""
    listed = {holes(reason.text): reason.when for reason in REASONS}
    checked = 0
    for path in sorted([*SOURCE.glob("content/*.py"), *SOURCE.glob("templates/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and called(node) in WHEN and len(node.args) > 1:
                for text in texts(node.args[1]):
                    assert listed[text] == WHEN[called(node)], text
                    checked += 1
    assert checked > 40
