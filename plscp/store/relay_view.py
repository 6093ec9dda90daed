"""What the relay sees of a store: read-only, in order, and never in the writer's way."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw

from plscp.errors import StoreError, StoreNotOpened, StoreUnavailable
from plscp.records.parts import value
from plscp.store import schema
from plscp.store.connections import open_read_only, translate
from plscp.store.files import sqlite_path


class Record(NamedTuple):
    """One published position: the attributes of CloudEvents, and the complete JSON value."""

    position: int
    topic: str
    key: str
    type: str
    event_id: str
    subject: str
    occurred: str
    value: bytes


RECORDS: Final = """
SELECT position, topic, key, type, event_id, subject, occurred, lead, shared, data FROM log
WHERE position > ? AND topic IS NOT NULL {}ORDER BY position LIMIT ?
"""


class RelayView:
    """An SQLite store seen by the relay's process, for one thread at a time; what reads may raise StoreError.

    A store that does not exist yet looks like an empty one; it is looked for again at each call.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._store_id = path, ""
        self._connection: Any = None

    @classmethod
    def open(cls, url: str) -> Self:
        """The view of the store with this URL, which may be missing; ConfigError where it names no kind of store."""
        return cls(sqlite_path(url))

    @property
    def store_id(self) -> str:
        """UUID of the store, or empty as long as there is none."""
        if not self._store_id:
            self._store_id = self._one("SELECT store_id FROM head", missing="")
        return self._store_id

    def head(self) -> int:
        """Position of the last event; 0 as long as there is no store."""
        return int(self._one("SELECT position FROM head", missing=0))

    def records(self, after: int, limit: int, topics: Sequence[str] | None = None) -> list[Record]:
        """The next records after a position, in order; of all topics, or of these."""
        only = f"AND topic IN ({','.join('?' * len(topics))}) " if topics is not None else ""
        with self._reading() as connection:
            if connection is None:
                return []
            rows = connection.execute(RECORDS.format(only), (after, *(topics or ()), limit)).fetchall()
        return [
            Record._make((*about, value(about[3], lead, context, data)))  # about: position, topic, key, type, ...
            for *about, lead, context, data in rows
        ]

    def count(self, topic: str, after: int, upto: int) -> int:
        """How many records of a topic have a position above `after` and not above `upto`."""
        query = "SELECT count(*) FROM events WHERE topic = ? AND position > ? AND position <= ?"
        return int(self._one(query, topic, after, upto, missing=0))

    def bounds(self) -> dict[str, tuple[int, int]]:
        """Topic -> (lowest, highest position); only topics that have records."""
        with self._reading() as connection:
            return {} if connection is None else schema.topics_of(connection)

    def ancestors(self) -> dict[str, int]:
        """The stores that this one was restored from, each with the position up to which it counts."""
        with self._reading() as connection:
            return {} if connection is None else schema.ancestors(connection)

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _one(self, query: str, *bindings: Any, missing: Any) -> Any:
        """The only value of a query; `missing` as long as there is no store."""
        with self._reading() as connection:
            return missing if connection is None else connection.execute(query, bindings).get

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            yield self._connect()
        except StoreError:
            raise
        except (apsw.Error, OSError) as error:
            self.close()
            raise (translate(error) or StoreUnavailable(f"the store cannot be read: {error}")) from error

    def _connect(self) -> Any:
        """The connection, or None as long as there is no store with a layout."""
        if self._connection is None and self._path.exists():
            with ExitStack() as undo:
                connection = undo.enter_context(closing(open_read_only(self._path)))
                version = connection.execute("PRAGMA user_version").get
                if version == 0:  # just being made
                    return None
                if version != schema.VERSION:
                    newer = "use the newer plscp that wrote it"
                    older = "start the server once, which brings it up to date"
                    what = newer if version > schema.VERSION else older
                    raise StoreNotOpened(f"{self._path} has layout {version}: {what}")
                undo.pop_all()
                self._connection = connection
        return self._connection
