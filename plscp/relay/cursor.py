"""The relay's own memory: how many partitions there are and how far each is known to be written.

Older than the truth, it costs only reading.
"""

import contextlib
import fcntl
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw
from kafka.partitioner import murmur2

from plscp.errors import RelayError
from plscp.store.files import FILE_MODE, private_database, private_file

_SCHEMA = """
CREATE TABLE IF NOT EXISTS store (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS topic (topic TEXT PRIMARY KEY, id TEXT, partitions TEXT, low INTEGER);
CREATE TABLE IF NOT EXISTS part (topic TEXT, part INTEGER, next INTEGER, position INTEGER, event TEXT, PRIMARY KEY (topic, part));
"""


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
        checkpoints: by partition.
    """

    topic_id: str
    partitions: Partitions
    low: int
    checkpoints: Mapping[int, PartitionCheckpoint]


class Cursor:
    """A small database beside the store, and the lock that lets one relay at a time use both.

    Args:
        file: made when missing; set aside when it is not a database.
        store_id: what another store wrote is forgotten.
        patience: seconds to wait for another relay to end.

    Attributes:
        lost: whether nothing was known at the start.

    Raises:
        RelayError: another process holds it, or it cannot be written.
    """

    def __init__(self, file: Path, store_id: str, *, patience: float = 0.0) -> None:
        self.file, self.store_id = file, store_id
        self._turn = threading.Lock()
        self._lock = self._take(file.with_name(file.name + ".lock"), patience)
        try:
            try:
                self._base = self._open()
            except (apsw.NotADBError, apsw.CorruptError):
                # Nothing is lost but time: the partitions themselves are read instead.
                file.replace(file.with_name(file.name + ".damaged"))
                for tail in ("-wal", "-shm"):
                    file.with_name(file.name + tail).unlink(missing_ok=True)
                self._base = self._open()
            with self._base:
                known = [row[0] for row in self._base.execute("SELECT id FROM store")]
                self.lost = known != [store_id]
                if self.lost:
                    self._base.execute("DELETE FROM store; DELETE FROM topic; DELETE FROM part;")
                    self._base.execute("INSERT INTO store VALUES (?)", (store_id,))
        except (apsw.Error, OSError) as error:
            os.close(self._lock)
            raise RelayError(f"the relay's cursor {file} cannot be used: {error}") from error

    @staticmethod
    def _take(file: Path, patience: float) -> int:
        try:
            private_file(file)
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise RelayError(f"the relay's lock {file} cannot be used: {error.strerror}") from error
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(handle)
                    raise RelayError(
                        f"a relay is at work on this store ({file} is locked): stop the server first"
                    ) from None
                time.sleep(0.05)
            else:
                return handle

    def _open(self) -> apsw.Connection:
        private_database(self.file)
        base = apsw.Connection(str(self.file))
        base.set_busy_timeout(2000)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")  # losing the last second costs only reading
        base.execute(_SCHEMA)
        return base

    def topic(self, topic: str) -> TopicCursor | None:
        """What is known of a topic, or None."""
        with self._turn:
            return _read(self._base, topic)

    def save(self, topic: str, known: TopicCursor) -> None:
        """Keep it, in one transaction; RelayError where it cannot be written now."""
        try:
            with self._turn, self._base:
                self._base.execute(
                    "INSERT OR REPLACE INTO topic VALUES (?, ?, ?, ?)",
                    (topic, known.topic_id, str(known.partitions), known.low),
                )
                self._base.executemany(
                    "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?)",
                    [(topic, part, *checkpoint) for part, checkpoint in known.checkpoints.items()],
                )
        except apsw.Error as error:
            raise RelayError(f"the relay's cursor {self.file} cannot be written: {error}") from error

    def close(self) -> None:
        """Close it and let the next one in."""
        with contextlib.suppress(apsw.Error):
            self._base.close()
        os.close(self._lock)


def _read(base: apsw.Connection, topic: str) -> TopicCursor | None:
    row = base.execute("SELECT id, partitions, low FROM topic WHERE topic = ?", (topic,)).fetchone()
    if row is None:
        return None
    checkpoints = base.execute("SELECT part, next, position, event FROM part WHERE topic = ?", (topic,))
    return TopicCursor(
        row[0],
        Partitions.parse(row[1]),
        row[2],
        {part: PartitionCheckpoint(*checkpoint) for part, *checkpoint in checkpoints},
    )


CARRIED: Final = """
CREATE TABLE relay_topic (topic TEXT PRIMARY KEY, id TEXT, partitions TEXT, low INTEGER);
CREATE TABLE relay_part (topic TEXT, part INTEGER, next INTEGER, position INTEGER, event TEXT, PRIMARY KEY (topic, part));
"""
"""The cursor inside a backup of its store: what was published by then is known although Kafka may have deleted it since."""


class Carried(NamedTuple):
    """What a cursor knows, on its way into a backup or out of one.

    Attributes:
        topics: (topic, topic id, partitions, low).
        parts: (topic, partition, next offset, position, event id).
    """

    topics: Sequence[tuple[Any, ...]] = ()
    parts: Sequence[tuple[Any, ...]] = ()

    @classmethod
    def read(cls, file: Path, store_id: str) -> Self:
        """What the cursor of a store says now, read beside a running relay; RelayError where it cannot be read.

        Take it before the store's own snapshot: it must not know of more than the store does.
        """
        with _beside(file, store_id) as base:
            if base is None:
                return cls()
            topics = base.execute("SELECT topic, id, partitions, low FROM topic").fetchall()
            return cls(topics, base.execute("SELECT topic, part, next, position, event FROM part").fetchall())

    def put(self, backup: Any) -> None:
        """Write it into a backup, through a connection."""
        backup.execute(CARRIED)
        backup.executemany("INSERT INTO relay_topic VALUES (?, ?, ?, ?)", self.topics)
        backup.executemany("INSERT INTO relay_part VALUES (?, ?, ?, ?, ?)", self.parts)

    @classmethod
    def take(cls, backup: Any) -> Self:
        """Take it out of a backup, through a connection; nothing where a backup has none."""
        if not backup.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'relay_topic'").get:
            return cls()
        topics = backup.execute("SELECT * FROM relay_topic").fetchall()
        found = cls(topics, backup.execute("SELECT * FROM relay_part").fetchall())
        backup.execute("DROP TABLE relay_topic; DROP TABLE relay_part")
        return found

    def make(self, file: Path, store_id: str) -> None:
        """Make a cursor of it, for the store that it belongs to from now on; RelayError where that cannot be written."""
        with closing(Cursor(file, store_id)) as cursor:
            for topic, topic_id, partitions, low in self.topics:
                checkpoints = {
                    part: PartitionCheckpoint(at, position, event)
                    for name, part, at, position, event in self.parts
                    if name == topic
                }
                cursor.save(topic, TopicCursor(topic_id, Partitions.parse(partitions), low, checkpoints))
            cursor._base.execute(
                "PRAGMA journal_mode = DELETE"
            ).fetchall()  # one file, without a write-ahead log beside it


def peek(file: Path, store_id: str, topic: str) -> TopicCursor | None:
    """What the cursor of this store says of a topic, read beside a running relay; None when it says nothing."""
    with _beside(file, store_id) as base:
        return None if base is None else _read(base, topic)


@contextmanager
def _beside(file: Path, store_id: str) -> Iterator[apsw.Connection | None]:
    """A cursor as it is now, read beside a running relay; None where it says nothing of this store."""
    if not file.exists():
        yield None
        return
    try:
        with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as base:
            base.set_busy_timeout(2000)
            base.execute("BEGIN")
            own = base.execute("SELECT id FROM store").fetchall() == [(store_id,)]
            yield base if own else None
    except apsw.Error as error:
        raise RelayError(f"the relay's cursor {file} cannot be read: {error}") from error
