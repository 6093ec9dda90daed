"""Which records are new, and what to commit so that a successor knows it: one number per store and partition.

Pure bookkeeping: `events` reads and commits. In each partition the records of one store have rising positions, and a raw
repeat never has one above those before it, so one number tells repeats apart, however old they are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kafka import TopicPartition

LIMIT: Final = 4096
"""Characters of metadata that a broker takes with an offset unless told otherwise (offset.metadata.max.bytes)."""


@dataclass
class Positions:
    """The highest position of each store in one partition, in order of the last record of each."""

    highest: dict[str, int] = field(default_factory=dict)

    def new(self, store: str, position: int) -> bool:
        """Whether a position is above every one of its store so far."""
        return position > self.highest.get(store, 0)

    def handled(self, store: str, position: int) -> None:
        """Count one as seen."""
        self.highest[store] = max(position, self.highest.pop(store, 0))

    def merged(self, later: "Positions") -> "Positions":
        """The higher number of both, for each store."""
        made = Positions(dict(self.highest))
        for store, position in later.highest.items():
            made.handled(store, position)
        return made

    def text(self, limit: int = LIMIT) -> str:
        """As JSON in ASCII, of at most `limit` characters: where not all fit, those read longest ago are left out."""
        kept: dict[str, int] = {}
        room = limit - len(_written({}))
        for store, position in reversed(self.highest.items()):
            room -= len(json.dumps(store)) + len(str(position)) + 2
            if room < 0:
                break
            kept[store] = position
        return _written(dict(reversed(kept.items()))) if kept else ""

    @classmethod
    def parse(cls, text: str) -> "Positions":
        """From `text()`; nothing is known where somebody else wrote it."""
        try:
            highest = json.loads(text)["plscp"]
            return cls({str(store): int(position) for store, position in highest.items()})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls()


def _written(highest: Mapping[str, int]) -> str:
    return json.dumps({"plscp": highest}, separators=(",", ":"))


class Ledger:
    """What was handled in the partitions that this consumer has, or had.

    Attributes:
        limit: characters of metadata that the broker takes.
    """

    def __init__(self) -> None:
        self.limit = LIMIT
        self._positions: dict[TopicPartition, Positions] = {}
        self._due: dict[TopicPartition, int] = {}

    def begin(self, place: TopicPartition, metadata: str) -> None:
        """A partition was assigned, and this was committed last.

        What this process has handled itself counts as well: it may have been taken out of the group before it could commit.
        """
        self._positions[place] = self._positions.get(place, Positions()).merged(Positions.parse(metadata))
        self._due.pop(place, None)

    def new(self, place: TopicPartition, store: str, position: int) -> bool:
        """Whether a record is no repeat."""
        return self._positions[place].new(store, position)

    def done(self, place: TopicPartition, offset: int, store: str = "", position: int = 0) -> None:
        """A record was handled, or passed over: the next one to read is at `offset` + 1."""
        if position:
            self._positions[place].handled(store, position)
        self._due[place] = offset + 1

    @property
    def due(self) -> dict[TopicPartition, tuple[int, str]]:
        """(offset, metadata) to commit, by partition."""
        return {place: (offset, self._positions[place].text(self.limit)) for place, offset in self._due.items()}

    def settled(self) -> None:
        """What was due is committed, or can no longer be."""
        self._due.clear()
