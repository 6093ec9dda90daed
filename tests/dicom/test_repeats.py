"""What repeats is said once, then summed up."""

from collections.abc import Mapping
from typing import Any

from plscp.dicom.repeats import BETWEEN_SECONDS, FORGOTTEN_SECONDS, MOST_CAUSES, MOST_NAMES, Repeats


class Said:
    """What was said, by a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lines: list[tuple[str, int]] = []
        self.repeats = Repeats(self._say, clock=lambda: self.now)

    def _say(self, told: Mapping[str, Any], more: int) -> None:
        self.lines.append((told["text"], more))

    def happened(self, name: str, text: str = "", group: str = "rule") -> None:
        self.repeats.happened(group, name, text=text or name)


def test_the_first_of_each_cause_is_said_at_once() -> None:
    """Another name, or the same name in another group, is another cause."""
    said = Said()
    for name, group in (("A", "g"), ("B", "g"), ("A", "h"), ("A", "g"), ("B", "g")):
        said.happened(name, group=group)
    assert said.lines == [("A", 0), ("B", 0), ("A", 0)]


def test_repeats_are_summed_up_once_a_minute() -> None:
    """Within a minute nothing; then how many there were, with what was last told; and a minute later the next sum."""
    said = Said()
    said.happened("A", "first")
    for number in range(5):
        said.now += 10
        said.happened("A", f"repeat {number}")
    said.repeats.flush()
    assert said.lines == [("first", 0)]
    said.now += 10
    said.happened("A", "the sixth")
    assert said.lines[1:] == [("the sixth", 6)]
    said.happened("A", "the seventh")
    said.repeats.flush()
    assert len(said.lines) == 2


def test_repeats_that_ended_are_said_too() -> None:
    """Where nothing more happens, flush says within the minute what was not said; once."""
    said = Said()
    said.happened("A", "first")
    said.happened("A", "second")
    said.now += BETWEEN_SECONDS
    said.repeats.flush()
    said.repeats.flush()
    assert said.lines == [("first", 0), ("second", 1)]


def test_a_cause_that_was_quiet_for_an_hour_is_new() -> None:
    """It is said in full again; one that went on meanwhile is not."""
    said = Said()
    said.happened("A")
    said.happened("B")
    said.now += FORGOTTEN_SECONDS - 1
    said.happened("B")
    said.now += 1
    said.repeats.flush()
    said.happened("A", "A again")
    said.happened("B", "B again")
    assert said.lines[2:] == [("B", 1), ("A again", 0)]


def test_invented_names_are_one_cause() -> None:
    """Of one group 32 names are told apart; whoever invents more gets a line a minute, not a line each."""
    said = Said()
    for number in range(MOST_NAMES + 100):
        said.happened(f"NAME{number}")
    assert len(said.lines) == MOST_NAMES + 1
    said.now += BETWEEN_SECONDS
    said.repeats.flush()
    assert said.lines[-1] == (f"NAME{MOST_NAMES + 99}", 99)


def test_what_is_remembered_is_bounded() -> None:
    """Beyond a thousand causes the one that happened longest ago is let go, and what was not said of it is said."""
    said = Said()
    said.happened("old", group="g0")
    said.happened("old", "old again", group="g0")
    said.happened("kept", group="kept")
    for number in range(1, MOST_CAUSES - 1):
        said.happened("new", group=f"g{number}")
    assert ("old again", 1) not in said.lines
    said.happened("kept", "kept again", group="kept")
    said.happened("new", group="one more")
    assert ("old again", 1) in said.lines
    said.happened("new", group="and another")
    assert ("kept again", 1) not in said.lines
    assert len(said.repeats._causes) == len(said.repeats._names) == MOST_CAUSES
