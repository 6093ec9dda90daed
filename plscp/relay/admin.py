"""What an operator does on purpose while the relay is stopped: `plscp relay repartition` and `plscp relay rewind`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from plscp.errors import CursorUnchanged, RelayError
from plscp.relay.cluster import Cluster, TopicState
from plscp.relay.cursor import Cursor, PartitionCheckpoint, Partitions, TopicCursor
from plscp.relay.settings import RelaySettings
from plscp.relay.tail import TopicReader, readable
from plscp.store.relay_view import RelayView


class Repartitioned(NamedTuple):
    """The count of partitions before and after, and the first position that the new one holds for."""

    topic: str
    before: int
    after: int
    first_position: int


class Rewound(NamedTuple):
    """The first position that will be published again, and how many records that are."""

    topic: str
    first_position: int
    records: int


def repartition(settings: RelaySettings, topic: str) -> Repartitioned:
    """Use as many partitions as the topic has now, for every record that the store does not have yet.

    Records that are in the store keep their partition, published or not: so none can come twice, in two partitions.

    Raises:
        CursorUnchanged: nothing was published yet, or the topic has not more partitions.
        RelayError: the relay runs, or the broker is away.
    """
    full = settings.kafka.topic(_name(settings, topic))
    with _stopped(settings) as (source, cursor):
        known = cursor.topic(full)
        if known is None:
            raise CursorUnchanged(f"{full}: nothing was published yet, its partitions are counted when something is")
        found = _look(settings, full)
        before = known.partitions.epochs[-1][1]
        if found.partitions <= known.partitions.count:
            raise CursorUnchanged(f"{full} has {found.partitions} partitions and {before} are in use: nothing to do")
        head = source.head()
        cursor.save(full, known._replace(partitions=known.partitions.enlarged(head, found.partitions)))
        return Repartitioned(full, before, found.partitions, head + 1)


def rewind(settings: RelaySettings, topic: str, position: int) -> Rewound:
    """Publish everything above a position again: for a topic that was made again, or lost its end.

    Args:
        position: the last one that is not published again; 0: all.

    Raises:
        CursorUnchanged: the topic holds own records above the position, or the store has no such position.
        RelayError: the relay runs, or the broker is away.
    """
    name = _name(settings, topic)
    full = settings.kafka.topic(name)
    if position < 0:
        raise CursorUnchanged("a position is 0 or more")
    with _stopped(settings) as (source, cursor):
        head = source.head()
        if position > head:
            raise CursorUnchanged(f"{full}: the store ends at position {head}")
        found = _look(settings, full)
        known = cursor.topic(full)
        plan = known.partitions if known else Partitions.fixed(found.partitions)
        if found.partitions < plan.count:
            raise CursorUnchanged(f"{full} has {found.partitions} partitions, fewer than the {plan.count} in use")
        above: set[int] = set()
        with readable(full), TopicReader(settings.kafka, full, found.partitions, source.store_id) as reader:
            checkpoints = {part: PartitionCheckpoint(end) for part, end in reader.ends.items()}
            for read in reader.records():
                part = read.record.partition
                checkpoints[part] = checkpoints[part]._replace(position=max(checkpoints[part].position, read.position))
                if read.position > position:
                    above.add(read.position)
        if above:
            raise CursorUnchanged(
                f"{full} holds {len(above)} records of this store above position {position}, up to {max(above)}: "
                "they would come twice; make the topic anew first"
            )
        cursor.save(full, TopicCursor(found.topic_id, plan, position + 1, checkpoints))
        return Rewound(full, position + 1, source.count(name, position, head))


def _name(settings: RelaySettings, topic: str) -> str:
    """The topic's name without prefix."""
    name = topic.removeprefix(settings.kafka.topic_prefix + ".")
    if name not in settings.topics:
        raise CursorUnchanged(f"no topic {topic}: there are {', '.join(settings.topics)}")
    return name


@contextmanager
def _stopped(settings: RelaySettings) -> Iterator[tuple[RelayView, Cursor]]:
    """The store, and the cursor that only one process at a time may hold."""
    with closing(RelayView.open(settings.store_url)) as source:
        if not source.store_id:
            raise RelayError(f"there is no store at {settings.store_url}")
        with closing(Cursor(settings.cursor, source.store_id)) as cursor:
            yield source, cursor


def _look(settings: RelaySettings, full: str) -> TopicState:
    with closing(Cluster(settings.kafka)) as cluster:
        found = cluster.look([full], create=False)[full]
    if found.refusal:
        raise CursorUnchanged(f"{full}: {found.refusal}")
    return found
