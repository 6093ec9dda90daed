"""The tree of errors: drawn, complete, and each leaf knows what it means to whoever gets it."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from plscp import errors
from plscp.errors import (
    CommandError,
    DoesNotMatchTemplate,
    InvalidArgument,
    MissingAttribute,
    MissingAttributeValue,
    PlscpError,
    Refused,
    StoreError,
    TooLarge,
)
from plscp.findings import Finding
from plscp.statuses import STATUSES

SOURCE = Path(errors.__file__).parent
ALL = {
    name: found
    for name, found in vars(errors).items()
    if inspect.isclass(found) and issubclass(found, PlscpError) and found.__module__ == errors.__name__
}


def drawn() -> dict[str, str]:
    """Name to the name of the class above it, as the drawing in the module shows it."""
    above: dict[int, str] = {}
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^(\s*)((?:[│├└─ ]|\s)*)([A-Z]\w+)", line)
        if match and line.strip()[0] in "P│├└":
            depth = (len(match[1]) + len(match[2])) // 4
            found[match[3]] = above.get(depth - 1, "")
            above[depth] = match[3]
    return found


def test_the_drawing_is_the_tree() -> None:
    """Every error is drawn once, below its base class, and nothing is drawn that does not exist."""
    tree = drawn()
    assert set(tree) == set(ALL)
    for name, parent in tree.items():
        if parent:
            assert ALL[name].__mro__[1] is ALL[parent], name


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_error(name: str) -> None:
    """Each error has an exit status, a label that metrics can carry, says whether it is worth a repeat, and is explained."""
    found = ALL[name]
    assert found.__doc__
    assert found.exit_status in {1, 2, 3}
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", found.label)
    assert isinstance(found.retriable, bool)


def test_labels_tell_store_errors_apart() -> None:
    """Each leaf below StoreError has a label of its own, and says whether the process must end."""
    leaves = [found for found in ALL.values() if issubclass(found, StoreError)]
    assert len({leaf.label for leaf in leaves}) == len(leaves)
    assert {leaf.__name__ for leaf in leaves if leaf.fatal} == {"StoreBroken", "StoreNotOpened"}
    assert not any(leaf.fatal and leaf.retriable for leaf in leaves)


FINDING = Finding("missing-row", "missing 121154", "3.2", "TID3108", "4", refuse=True)

REFUSALS = [
    (MissingAttribute([0x00080018], [FINDING]), 0x0120),
    (MissingAttributeValue([0x00080018], [FINDING]), 0x0121),
    (InvalidArgument([FINDING]), 0x0115),
    (TooLarge([FINDING]), 0x0213),
    (DoesNotMatchTemplate([FINDING]), 0xC102),
    (Refused(0x0118), 0x0118),
]


@pytest.mark.parametrize(("refused", "status"), REFUSALS, ids=lambda value: type(value).__name__)
def test_refusals_know_their_status(refused: Refused, status: int) -> None:
    """Each refusal carries its row of the table of statuses; its text is the Error Comment."""
    assert refused.status == status
    assert refused.info is STATUSES[status]
    if refused.findings:
        assert str(refused) == "TID3108 r4 missing 121154 at 3.2"


def test_every_refusal_has_a_row() -> None:
    """No class of refusal is added without a row above."""
    assert {type(refused) for refused, _ in REFUSALS} == {found for found in ALL.values() if issubclass(found, Refused)}


def test_every_status_can_be_refused_with() -> None:
    """Any failure status of the table makes a refusal; one that is not in the table is a defect."""
    for code, info in STATUSES.items():
        if not info.performed:
            assert Refused(code).status == code
    with pytest.raises(KeyError):
        Refused(0xC999)


def test_command_error_has_its_exit_status() -> None:
    """A command's failure ends the process as it says."""
    assert CommandError("x").exit_status == 1
    assert CommandError("x", 3).exit_status == 3


def test_no_error_is_made_elsewhere() -> None:
    """Errors live in one module: no other one derives from them."""
    strangers = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path != Path(errors.__file__)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Name) and base.id in ALL
    ]
    assert strangers == []
