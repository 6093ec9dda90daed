"""One number per store and partition, committed with the offsets: held against a model that remembers everything."""

import json
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule
from kafka import TopicPartition as Place

from plscp.consumer import Positions, Unreadable
from plscp.consumer.positions import LIMIT

STORES = ("11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000", "Größe")
PLACES = (Place("t", 0), Place("t", 1), Place("u", 0))


def record(place: Place, store: str, position: int) -> Unreadable:
    """One of a store; whether it can be read does not matter."""
    return Unreadable("", "", place.topic, place.partition, 0, store, position)


class Group(RuleBasedStateMachine):
    """Two members of a group over logs that the relay's promise allows, with crashes, restarts and rebalances.

    The model keeps the logs and all that was ever handled; the members know what they were told and what was committed.
    """

    members: Bundle[int] = Bundle("members")

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[Place, list[tuple[str, int]]] = {place: [] for place in PLACES}
        self.committed: dict[Place, tuple[int, str]] = {}
        self.positions = [Positions(), Positions()]
        self.owner: dict[Place, int] = {}
        self.at: dict[Place, int] = {}
        self.handled: dict[tuple[Place, str], list[int]] = defaultdict(list)
        self.broken: set[tuple[Place, str, int]] = set()

    @initialize(target=members)
    def begin(self) -> MultipleResults[int]:
        for place in PLACES:
            self.assign(place, 0)
        return multiple(0, 1)

    def assign(self, place: Place, member: int) -> None:
        offset, metadata = self.committed.get(place, (0, ""))
        self.owner[place], self.at[place] = member, offset
        self.positions[member].begin(place.topic, place.partition, metadata)

    @rule(place=st.sampled_from(PLACES), store=st.sampled_from(STORES), ahead=st.integers(1, 5))
    def publish(self, place: Place, store: str, ahead: int) -> None:
        """Positions of a store rise in a partition, with holes: the others' are elsewhere."""
        highest = max((each for own, each in self.logs[place] if own == store), default=0)
        self.logs[place].append((store, highest + ahead))

    @rule(place=st.sampled_from(PLACES), data=st.data())
    def repeat(self, place: Place, data: st.DataObject) -> None:
        """Bytes of a predecessor arrive late: any record again, after any time."""
        if self.logs[place]:
            self.logs[place].append(data.draw(st.sampled_from(self.logs[place])))

    @rule(place=st.sampled_from(PLACES), crash=st.booleans())
    def read(self, place: Place, crash: bool) -> None:
        """The next record of a partition goes to its owner, whose body may not come to its end."""
        if self.at[place] == len(self.logs[place]):
            return
        store, position = self.logs[place][self.at[place]]
        known, found = self.positions[self.owner[place]], record(place, store, position)
        if known.new(found):
            if crash:
                self.restart(self.owner[place])
                return
            assert position not in self.handled[place, store], "handed over twice"
            self.handled[place, store].append(position)
        known.handled(found)
        self.at[place] += 1
        self.committed[place] = self.at[place], known.text(*place)

    @rule(member=members)
    def restart(self, member: int) -> None:
        """A new process knows only what was committed."""
        self.positions[member] = Positions()
        for place, owner in self.owner.items():
            if owner == member:
                self.assign(place, member)

    @rule(place=st.sampled_from(PLACES), member=members)
    def rebalance(self, place: Place, member: int) -> None:
        self.assign(place, member)

    @invariant()
    def nothing_is_left_out(self) -> None:
        """What was read is what a reader with endless memory would have handled, in the same order."""
        for place, log in self.logs.items():
            for store in STORES:
                wanted = dict.fromkeys(each for own, each in log[: self.at.get(place, 0)] if own == store)
                assert self.handled[place, store] == list(wanted)


TestGroup = Group.TestCase


def counted(highest: dict[str, int]) -> Positions:
    """Such that these are the highest."""
    made = Positions()
    for store, position in highest.items():
        made.handled(record(PLACES[0], store, position))
    return made


@given(st.dictionaries(st.text(max_size=40), st.integers(1, 2**63 - 1), max_size=200), st.integers(0, 3 * LIMIT))
def test_what_fits_is_read_back(highest: dict[str, int], limit: int) -> None:
    """Never longer than the broker takes, never a number that was not counted; those read last are kept."""
    positions, again = counted(highest), Positions()
    positions.limit = limit
    text = positions.text(*PLACES[0])
    assert text.isascii()
    assert len(text) <= limit
    kept = json.loads(text)["plscp"] if text else {}
    assert list(kept.items()) == list(highest.items())[len(highest) - len(kept) :]
    again.begin("t", 0, text)
    assert again.text(*PLACES[0]) == text
    assert again.text(*PLACES[1]) == ""


def test_how_many_stores_fit() -> None:
    """With ids and positions as they are: 86 stores on one partition before the first is left out."""
    text = counted({f"{number:08x}-0000-0000-0000-000000000000": 1_000_000 for number in range(100)}).text(*PLACES[0])
    assert len(json.loads(text)["plscp"]) == 86
    assert next(iter(json.loads(text)["plscp"])) == "0000000e-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    "text",
    [
        None, "", "{", "null", "[]", "3", '{"plscp":1}', '{"plscp":{"a":"x"}}', '{"plscp":{"b":1,"a":null}}', "by hand",
        "[" * 999, '{"plscp":{"a":1e999}}',
    ],
)  # fmt: skip
def test_metadata_that_somebody_else_wrote_says_nothing(text: str | None) -> None:
    """Offsets may be set with Kafka's own tools: then everything from there counts as new."""
    positions = Positions()
    positions.begin("t", 0, text)
    assert positions.text(*PLACES[0]) == ""


def test_a_member_that_was_taken_out_of_the_group_knows_what_it_handled() -> None:
    """Its commit came too late: the same record is given to it again, and is no new one."""
    positions = counted({"s": 5})
    positions.begin("t", 0, '{"plscp":{"s":3}}')
    assert not positions.new(record(PLACES[0], "s", 5))
    assert positions.new(record(PLACES[0], "s", 6))
    assert positions.new(record(PLACES[1], "s", 5))


def test_what_a_successor_handled_counts_as_well() -> None:
    """The committed number may be above the own one."""
    positions = counted({"s": 5})
    positions.begin("t", 0, '{"plscp":{"s":9,"r":1}}')
    assert not positions.new(record(PLACES[0], "s", 9))
    assert not positions.new(record(PLACES[0], "r", 1))


def test_what_says_no_position_is_always_new() -> None:
    """Nothing says that it is a repeat; it is handed over, and leaves nothing behind."""
    positions = Positions()
    positions.handled(record(PLACES[0], "", 0))
    assert positions.new(record(PLACES[0], "", 0))
    assert positions.text(*PLACES[0]) == ""
