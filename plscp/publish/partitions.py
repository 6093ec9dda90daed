"""Which partition a record belongs to: fixed at first publication, changed on purpose from one position on."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Self

from kafka.partitioner import murmur2


@lru_cache(maxsize=65536)
def hashed(key: str) -> int:
    """The hash that Kafka's own clients use for keys, without sign."""
    return int(murmur2(key.encode())) & 0x7FFFFFFF


class Partitions:
    """Counts of partitions, each valid from a position on.

    Args:
        epochs: (first position, count), rising; the first begins at 0.
    """

    __slots__ = ("_counts", "_firsts", "count", "epochs")

    def __init__(self, epochs: Sequence[tuple[int, int]]) -> None:
        self.epochs = tuple(epochs)
        self._firsts = [first for first, _ in epochs]
        self._counts = [count for _, count in epochs]
        self.count = max(self._counts)

    @classmethod
    def fixed(cls, count: int) -> Self:
        """One count for every position."""
        return cls([(0, count)])

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `str()`.

        Raises:
            ValueError: it is not one.
        """
        pairs = [part.partition(":") for part in text.split(",")]
        return cls([(int(first), int(count)) for first, _, count in pairs])

    def __str__(self) -> str:
        return ",".join(f"{first}:{count}" for first, count in self.epochs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partitions) and self.epochs == other.epochs

    def __hash__(self) -> int:
        return hash(self.epochs)

    def of(self, position: int, key: str) -> int:
        """The partition of a record."""
        counts = self._counts
        count = counts[0] if len(counts) == 1 else counts[bisect_right(self._firsts, position) - 1]
        return hashed(key) % count

    def enlarged(self, after: int, count: int) -> "Partitions":
        """With another count for every position above `after`: nothing that may be published already moves."""
        kept = [epoch for epoch in self.epochs if epoch[0] <= after]
        return Partitions([*kept, (after + 1, count)])
