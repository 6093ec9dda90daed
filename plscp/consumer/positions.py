"""Which records are new, and what to commit so that a successor knows it: one number per store and partition.

Pure bookkeeping, for any client. In each partition the records of one store have rising positions, and a raw repeat never
has one above those before it, so one number tells repeats apart, however old they are.
"""

import json
from collections import defaultdict
from typing import Final

from plscp.consumer.events import Event, Unreadable

LIMIT: Final = 4096
"""Characters of metadata that a broker takes with an offset unless told otherwise (offset.metadata.max.bytes)."""


class Positions:
    """The highest position of each store in each partition that this consumer has, or had.

    Attributes:
        limit: characters of metadata that the broker takes.
    """

    def __init__(self) -> None:
        self.limit = LIMIT
        # By topic and partition; the stores in the order of the last record of each.
        self._highest: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)

    def new(self, found: Event | Unreadable) -> bool:
        """Whether it is no repeat; what says no position counts as new."""
        return not found.position or found.position > self._highest[found.topic, found.partition].get(found.store, 0)

    def handled(self, found: Event | Unreadable) -> None:
        """Count it as seen."""
        if found.position:
            self._count(found.topic, found.partition, found.store, found.position)

    def text(self, topic: str, partition: int) -> str:
        """What to commit as metadata with a partition's offset: ASCII, at most `limit` characters, empty where nothing is known.

        Where not all stores fit, those read longest ago are left out.
        """
        kept: dict[str, int] = {}
        room = self.limit - len('{"plscp":{}}')
        for store, position in reversed(self._highest[topic, partition].items()):
            room -= len(json.dumps(store)) + len(str(position)) + 2
            if room < 0:
                break
            kept[store] = position
        return json.dumps({"plscp": dict(reversed(kept.items()))}, separators=(",", ":")) if kept else ""

    def begin(self, topic: str, partition: int, metadata: str | None) -> None:
        """A partition was assigned, and this metadata was committed last; where somebody else wrote it, it says nothing.

        What this process has handled itself goes on to count: it may have been taken out of the group before it could commit.
        """
        try:
            committed = {str(store): int(at) for store, at in json.loads(metadata or "")["plscp"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return
        for store, position in committed.items():
            self._count(topic, partition, store, position)

    def _count(self, topic: str, partition: int, store: str, position: int) -> None:
        highest = self._highest[topic, partition]
        highest[store] = max(position, highest.pop(store, 0))
