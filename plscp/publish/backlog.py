"""How many records of a topic Kafka has not acknowledged: counted as the store grows, never from the beginning again."""

from typing import Final, NamedTuple

from plscp.publish.source import Source

AT_ONCE_POSITIONS: Final = 20_000
"""How far one count goes on; what lies beyond is taken for records until a later one gets there."""


class Progress(NamedTuple):
    """How far a lane is.

    Attributes:
        base: every record of the topic up to this position is acknowledged.
        done: how many records above it are acknowledged, or were there already.
    """

    base: int = 0
    done: int = 0


class Backlog:
    """What one topic still has to publish.

    Args:
        topic: without prefix.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._base = self._upto = self._count = 0

    def pending(self, source: Source, progress: Progress) -> int:
        """Records that are not acknowledged.

        Args:
            progress: read before the store is asked, so that nothing is acknowledged that is not counted.
        """
        if progress.base != self._base:
            self._base = self._upto = progress.base
            self._count = 0
        head = source.head()
        highest = source.bounds().get(self._topic, (0, 0))[1]
        if highest <= self._upto:
            self._upto = max(self._upto, head)
            return max(self._count - progress.done, 0)
        upto = min(highest, self._upto + AT_ONCE_POSITIONS)
        self._count += source.count(self._topic, self._upto, upto)
        self._upto = max(head, highest) if upto == highest else upto
        return max(self._count - progress.done, 0) + max(highest - self._upto, 0)
