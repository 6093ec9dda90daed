"""The contract's consumer with one state for each entry: where entries stand, whoever published what, in whatever order it is read."""

import json
import re
from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

from plscp.consumer import Event, Unreadable, decode
from tests.consumer.writing import NOON, OTHER, OWN, record

ROOT = Path(__file__).parents[2]


def states(events: Iterable[Event | Unreadable]) -> dict[str, Any]:
    """By event id what the program of the document makes of events: the record, or None where the entry stands nowhere."""
    text = (ROOT / "docs" / "contract.md").read_text("utf-8")
    (program,) = [each for each in re.findall("```python\n(.*?)```", text, re.DOTALL) if "withdrawn" in each]
    names: dict[str, Any] = {
        "Event": Event,
        "Any": Any,
        "servers": "",
        "topics": [],
        "consume": lambda *_, **__: events,
    }
    exec(program, names)
    return {entry: found for entry, (_, found) in names["state"].items()}


def event(what: str, position: int, minute: int, study: str, store: str = OWN) -> Event:
    """The example of a record of the entry `1`, at another position, time and study."""
    kind, name = {
        "entry": ("org.plscp.procedure-log.entry.v1", "drug_administered"),
        "withdrawn": ("org.plscp.event.withdrawn.v1", "withdrawn"),
        "assigned": ("org.plscp.event.assigned.v1", "assigned"),
    }[what]
    value = json.loads((ROOT / "schemas" / "examples" / kind / f"{name}.json").read_text("utf-8"))
    value |= {"position": position, "recorded": (NOON + timedelta(minutes=minute)).isoformat()}
    if what == "entry":
        value["event_id"] = "1"
    else:
        value["correction"]["event_id"] = "1"
    if "study" in value:
        value["study"]["study_instance_uid"] = study
    written = record(kind, json.dumps(value).encode(), position, store=store)
    headers = [(name, b"1" if (name, what) == ("ce_id", "entry") else content) for name, content in written.headers]
    found = decode(headers, study.encode(), written.value)
    assert isinstance(found, Event)
    return found


def moved(position: int, minute: int, study: str, store: str = OWN) -> tuple[Event, Event]:
    """The two records of a correction."""
    return event("withdrawn", position, minute, "1.1", store), event("assigned", position + 1, minute, study, store)


def test_an_entry_stands_where_it_was_moved_last_in_whatever_order_it_is_read() -> None:
    """A clock that was set back in between changes nothing."""
    story = [event("entry", 5, 0, "1.1"), *moved(7, 5, "1.2"), *moved(9, 3, "1.3")]
    for order in permutations(story):
        assert states(order)["1"].study.study_instance_uid == "1.3"


def test_what_was_moved_after_a_restore_stands_there() -> None:
    """The restored store's positions are below that of the correction that it knows nothing of; and one after the backup counts no more."""
    story = [event("entry", 5, 0, "1.1"), *moved(90, 5, "1.2"), *moved(7, 9, "1.3", OTHER)]
    for order in permutations(story):
        assert states(order)["1"].study.study_instance_uid == "1.3"


def test_what_cannot_be_read_is_passed_over() -> None:
    """It says of no entry where it stands."""
    assert states([Unreadable("no header ce_type", "", "t", 0, 0)]) == {}
