"""The store as the relay sees it: records by position, read-only."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

Record = tuple[int, str, str, str, str, str, str, bytes]
"""(position, topic, key, type, event id, subject, occurred, value): one record as it is to be published."""


class Source(Protocol):
    """Read-only view of one store, for one thread at a time."""

    @property
    def store_id(self) -> str:
        """The store's UUID."""
        ...

    def head(self) -> int:
        """Position of the last event; 0 where there is none."""
        ...

    def records(self, after: int, limit: int, topics: Sequence[str] | None = None) -> Sequence[Record]:
        """Up to `limit` published records with a position above `after`, in order; of these topics, or of all."""
        ...

    def count(self, topic: str, after: int, upto: int) -> int:
        """How many records of a topic have a position above `after` and not above `upto`."""
        ...

    def bounds(self) -> Mapping[str, tuple[int, int]]:
        """Topic -> (lowest, highest position); only topics that have records."""
        ...

    def ancestors(self) -> Mapping[str, int]:
        """The stores that this one was restored from: id -> position up to which this one holds that one's events."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


OpenSource = Callable[[str], Source]
"""Opens the store that a URL names; raises PlscpError when it cannot."""
