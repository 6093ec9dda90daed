"""The relay's own memory: how many partitions there are and how far each is known to be written.

Older than the truth, it costs only reading.
"""

import contextlib
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw
from kafka.partitioner import murmur2

from plscp.errors import RelayError
from plscp.files import LockFile
from plscp.store.connections import BUSY_MS
from plscp.store.files import BESIDE, private_database, private_file

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS {0}topic (topic TEXT PRIMARY KEY, id TEXT, partitions TEXT, low INTEGER);
CREATE TABLE IF NOT EXISTS {0}part (topic TEXT, part INTEGER, next INTEGER, position INTEGER, event TEXT, PRIMARY KEY (topic, part));
"""
_TOPICS: Final = "SELECT topic, id, partitions, low FROM {0}topic"
_PARTS: Final = "SELECT topic, part, next, position, event FROM {0}part"
_PUT_TOPIC: Final = "INSERT OR REPLACE INTO {0}topic VALUES (?, ?, ?, ?)"
_PUT_PART: Final = "INSERT OR REPLACE INTO {0}part VALUES (?, ?, ?, ?, ?)"
_IN_BACKUP: Final = "relay_"
"""Before the tables' names where a backup of the store holds them."""


@lru_cache(maxsize=65536)
def hashed(key: str) -> int:
    """The hash that Kafka's own clients use for keys, without sign."""
    return int(murmur2(key.encode())) & 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Partitions:
    """Counts of partitions, each valid from a position on.

    Attributes:
        epochs: (first position, count), rising; the first begins at 0.
    """

    epochs: Sequence[tuple[int, int]]

    @classmethod
    def fixed(cls, count: int) -> Self:
        """One count for every position."""
        return cls([(0, count)])

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `str()`; ValueError where it is none."""
        pairs = [part.partition(":") for part in text.split(",")]
        return cls([(int(first), int(count)) for first, _, count in pairs])

    def __str__(self) -> str:
        return ",".join(f"{first}:{count}" for first, count in self.epochs)

    @property
    def count(self) -> int:
        """How many are in use: the most of any position."""
        return max(count for _, count in self.epochs)

    def of(self, position: int, key: str) -> int:
        """The partition of a record."""
        epochs = self.epochs
        at = 0 if len(epochs) == 1 else bisect_right(epochs, position, key=itemgetter(0)) - 1
        return hashed(key) % epochs[at][1]

    def enlarged(self, after: int, count: int) -> "Partitions":
        """With another count for every position above `after`: nothing that may be published already moves."""
        kept = [epoch for epoch in self.epochs if epoch[0] <= after]
        return Partitions([*kept, (after + 1, count)])


class PartitionCheckpoint(NamedTuple):
    """How far a partition is known to be written.

    Attributes:
        next_offset: of the first record that was not looked at.
        position: the highest own one below that offset; 0 where there is none.
        event_id: of the record with that position; empty when not known.
    """

    next_offset: int = 0
    position: int = 0
    event_id: str = ""


class TopicCursor(NamedTuple):
    """What is known of a topic.

    Attributes:
        topic_id: the broker's UUID for it; another one means that the topic was made again.
        low: every record of this topic with a lower position is acknowledged.
    """

    topic_id: str
    partitions: Partitions
    low: int
    checkpoints: Mapping[int, PartitionCheckpoint]


class Cursor:
    """A small database beside the store, and the lock that lets one relay at a time use both.

    Made when missing, set aside when it is not a database; what another store wrote is forgotten. `patience`: seconds to wait for
    another relay to end. Raises RelayError: another process holds it, or it cannot be written.
    """

    def __init__(self, file: Path, store_id: str, *, patience: float = 0.0) -> None:
        self.file, self.store_id = file, store_id
        self._turn = threading.Lock()
        self._lock = LockFile(file.with_name(file.name + ".lock"))
        try:
            private_file(self._lock.path)
            free = self._lock.take(patience=patience)
        except OSError as error:
            raise RelayError(f"the relay's lock {self._lock.path} cannot be used: {error.strerror}") from error
        if not free:
            raise RelayError(f"a relay is at work on this store ({self._lock.path} is locked): stop the server first")
        try:
            try:
                self._base = self._open()
            except (apsw.NotADBError, apsw.CorruptError):
                # Nothing is lost but time: the partitions themselves are read instead.
                file.replace(file.with_name(file.name + ".damaged"))
                for tail in BESIDE[1:]:
                    file.with_name(file.name + tail).unlink(missing_ok=True)
                self._base = self._open()
            with self._base:
                if self._base.execute("SELECT id FROM store").fetchall() != [(store_id,)]:
                    self._base.execute("DELETE FROM store; DELETE FROM topic; DELETE FROM part;")
                    self._base.execute("INSERT INTO store VALUES (?)", (store_id,))
        except (apsw.Error, OSError) as error:
            self._lock.release()
            raise RelayError(f"the relay's cursor {file} cannot be used: {error}") from error

    def _open(self) -> apsw.Connection:
        private_database(self.file)
        base = apsw.Connection(str(self.file))
        base.set_busy_timeout(BUSY_MS)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")  # losing the last second costs only reading
        base.execute("CREATE TABLE IF NOT EXISTS store (id TEXT PRIMARY KEY)")
        base.execute(_TABLES.format(""))
        return base

    def topic(self, topic: str) -> TopicCursor | None:
        """What is known of a topic, or None."""
        with self._turn:
            return _topics(self._base).get(topic)

    def save(self, topic: str, known: TopicCursor) -> None:
        """Keep it, in one transaction; RelayError where it cannot be written now."""
        try:
            with self._turn, self._base:
                _put(self._base, topic, known)
        except apsw.Error as error:
            raise RelayError(f"the relay's cursor {self.file} cannot be written: {error}") from error

    def close(self, *, alone: bool = False) -> None:
        """Close it and let the next one in; `alone`: as one file, without a write-ahead log beside it."""
        with contextlib.suppress(apsw.Error):
            if alone:
                self._base.execute("PRAGMA journal_mode = DELETE").fetchall()
            self._base.close()
        self._lock.release()


def _topics(base: Any, prefix: str = "") -> dict[str, TopicCursor]:
    """What a database says, by topic."""
    parts: defaultdict[str, dict[int, PartitionCheckpoint]] = defaultdict(dict)
    for topic, part, *checkpoint in base.execute(_PARTS.format(prefix)):
        parts[topic][part] = PartitionCheckpoint(*checkpoint)
    return {
        topic: TopicCursor(topic_id, Partitions.parse(counts), low, parts[topic])
        for topic, topic_id, counts, low in base.execute(_TOPICS.format(prefix))
    }


def _put(base: Any, topic: str, known: TopicCursor, prefix: str = "") -> None:
    counts = str(known.partitions)
    base.execute(_PUT_TOPIC.format(prefix), (topic, known.topic_id, counts, known.low))
    base.executemany(_PUT_PART.format(prefix), [(topic, part, *at) for part, at in known.checkpoints.items()])


def peek(file: Path, store_id: str) -> dict[str, TopicCursor]:
    """What the cursor of this store says of each topic, read beside a running relay; nothing where it is another store's.

    Raises RelayError.
    """
    if not file.exists():
        return {}
    try:
        with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as base:
            base.set_busy_timeout(BUSY_MS)
            base.execute("BEGIN")
            own = base.execute("SELECT id FROM store").fetchall() == [(store_id,)]
            return _topics(base) if own else {}
    except apsw.Error as error:
        raise RelayError(f"the relay's cursor {file} cannot be read: {error}") from error


class Carried(NamedTuple):
    """What a cursor says, on its way into a backup of its store or out of one.

    So what was published by then is known although Kafka may have deleted it since. Read it before the store's own
    snapshot: it must not know of more than the store does.
    """

    topics: Mapping[str, TopicCursor] = {}

    def put(self, backup: apsw.Connection) -> None:
        """Write it into a backup."""
        backup.execute(_TABLES.format(_IN_BACKUP))
        for topic, known in self.topics.items():
            _put(backup, topic, known, _IN_BACKUP)

    @classmethod
    def take(cls, backup: apsw.Connection) -> Self:
        """Take it out of a backup; nothing where a backup has none."""
        if not backup.execute("SELECT count(*) FROM sqlite_schema WHERE name = ?", (f"{_IN_BACKUP}topic",)).get:
            return cls()
        found = cls(_topics(backup, _IN_BACKUP))
        backup.execute(f"DROP TABLE {_IN_BACKUP}topic; DROP TABLE {_IN_BACKUP}part")
        return found

    def make(self, file: Path, store_id: str) -> None:
        """Make a cursor of it, for the store that it belongs to from now on; RelayError where that cannot be written."""
        cursor = Cursor(file, store_id)
        try:
            for topic, known in self.topics.items():
                cursor.save(topic, known)
        finally:
            cursor.close(alone=True)
