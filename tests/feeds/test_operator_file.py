"""The operators' file: only the differences to its previous content are changes, and who is no longer listed is taken out."""

import tomllib
from pathlib import Path

import pytest

from plscp.config import Settings, load, problems
from plscp.errors import ConfigError, InvalidBody
from plscp.feeds.registry_file import apply_operators
from plscp.matching import changes
from tests.matching.world import World

FILE = """
operators = [
  { value = "N1001", scheme = "L", locations = ["LAB1"], valid_until = 2030-01-01T00:00:00 },
  { value = "N2002", scheme = "L" },
]
"""


def read(world: World, text: str) -> tuple[list[str], list[str], list[str]]:
    """Read a content; returns who changed, what was refused, and the warnings."""
    planned = apply_operators(world.registry, None, tomllib.loads(text), world.policy, world.now)
    world.take(planned.records)
    return [record.subject for record in planned.records if record.subject], planned.refused, planned.warnings


def active(world: World) -> list[str]:
    """Who may add."""
    return [each.value for each in world.registry.operators.all() if each.active]


def test_what_it_says_is_known_and_said_once() -> None:
    """The same content again changes nothing, also when HTTP has said otherwise meanwhile."""
    world = World()
    assert read(world, FILE) == (["L|N1001", "L|N2002"], [], [])
    first = world.registry.operators.known("N1001", "L")
    assert first is not None
    assert (first.locations, first.said_by, str(first.valid_until)) == (("LAB1",), "file", "2030-01-01 00:00:00+00:00")
    world.plan(changes.delete_operator, ("N1001", "L"))
    assert read(world, FILE) == ([], [], [])
    assert active(world) == ["N2002"]


def test_differences_are_changes() -> None:
    """A row says all that holds; a row that goes takes its operator out, and one that comes back takes him in again."""
    world = World()
    read(world, FILE)
    shorter = FILE.replace(', locations = ["LAB1"], valid_until = 2030-01-01T00:00:00', "")
    assert read(world, shorter)[0] == ["L|N1001"]
    everywhere = world.registry.operators.known("N1001", "L")
    assert everywhere is not None
    assert (everywhere.locations, everywhere.valid_until) == ((), None)
    assert read(world, "operators = []")[0] == ["L|N1001", "L|N2002"]
    assert active(world) == []
    assert read(world, FILE)[0] == ["L|N1001", "L|N2002"]
    assert active(world) == ["N1001", "N2002"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (FILE + "\npeople = []", "operators' file: 'people' is not operators"),
        ("operators = 5", "operators' file: operators is not a list of tables"),
        (FILE.replace("N2002", "N1001"), "operators' file: operators 2: the code stands in a row before"),
    ],
)
def test_a_file_that_is_none_changes_nothing(text: str, fault: str) -> None:
    """One line says why."""
    world = World()
    read(world, FILE)
    with pytest.raises(InvalidBody) as caught:
        read(world, text)
    assert str(caught.value).startswith(fault)
    assert active(world) == ["N1001", "N2002"]


def test_of_a_file_with_one_bad_row_nothing_is_taken() -> None:
    """The row is named by its number, the operator is not; a location that nobody lists is taken, with a warning."""
    world = World()
    wrong = FILE.replace('value = "N2002"', 'value = ""')
    assert read(world, wrong) == ([], ["operators 2: operator: value: must have a value"], [])
    assert world.registry.operators.all() == []
    [line] = read(world, FILE.replace("LAB1", "LAB9"))[2]
    assert line.startswith('operators 1: locations: no [locations] entry lists "LAB9"')


def test_the_settings_name_it(tmp_path: Path) -> None:
    """Beside the settings; `config check` reads it; with a policy that allows anyone it is a contradiction."""
    path = tmp_path / "plscp.toml"
    path.write_text(
        "[operators]\npolicy = 'list'\nfile = 'operators.toml'\n[operators.schemes]\nL = ['HOSP', '1.2.3']\n"
    )
    assert load(path, {}).operators_file == str(tmp_path / "operators.toml")
    assert problems(path, {}) == [f"operators.file: {tmp_path}/operators.toml: No such file or directory"]
    (tmp_path / "operators.toml").write_text(FILE.replace("scheme", "schema"))
    assert [line.partition(".toml: ")[2] for line in problems(path, {})] == [
        "operators 1: operator: unknown key schema: did you mean scheme?",
        "operators 2: operator: unknown key schema: did you mean scheme?",
    ]
    (tmp_path / "operators.toml").write_text(FILE)
    assert problems(path, {}) == []
    assert Settings().operators_file is None
    for text, fault in (
        ("[operators]\nfile = 'operators.toml'\n", 'operators.file: is given but policy is not "list"'),
        (
            "[operators]\npolicy = 'list'\n[operators.schemes]\nL = ['A']\nM = ['A']\n",
            'operators: "A" names both L and M',
        ),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=fault):
            load(path, {})
