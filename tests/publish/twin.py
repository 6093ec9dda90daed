"""A store's twin for the relay's tests: what is published, and nothing else; readable from the relay's process."""

import json
import sqlite3
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from plscp.publish.source import Record

TOPICS = ("procedure-log", "medication-administration", "quarantine", "study")
TYPES = {
    "procedure-log": "org.plscp.procedure-log.entry.v1",
    "medication-administration": "org.plscp.medication-administration.v1",
    "quarantine": "org.plscp.request.refused.v1",
    "study": "org.plscp.study.updated.v1",
}
SCHEMA = """
CREATE TABLE store (id TEXT);
CREATE TABLE record (position INTEGER PRIMARY KEY, topic TEXT, key TEXT, type TEXT, event TEXT, subject TEXT, occurred TEXT, value BLOB);
CREATE TABLE bounds (topic TEXT PRIMARY KEY, lowest INTEGER, highest INTEGER);
CREATE TABLE head (position INTEGER);
INSERT INTO head VALUES (0);
"""


class Twin:
    """Reads a twin; the relay's process opens it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.base = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)

    @classmethod
    def open(cls, url: str) -> Self:
        return cls(Path(url))

    @property
    def store_id(self) -> str:
        return str(self.base.execute("SELECT id FROM store").fetchone()[0])

    def head(self) -> int:
        return int(self.base.execute("SELECT position FROM head").fetchone()[0])

    def records(self, after: int, limit: int, topics: Sequence[str] | None = None) -> list[Record]:
        only = f"AND topic IN ({','.join('?' * len(topics))})" if topics is not None else ""
        query = f"SELECT * FROM record WHERE position > ? {only} ORDER BY position LIMIT ?"
        return self.base.execute(query, (after, *(topics or ()), limit)).fetchall()

    def count(self, topic: str, after: int, upto: int) -> int:
        query = "SELECT count(*) FROM record WHERE topic = ? AND position > ? AND position <= ?"
        return int(self.base.execute(query, (topic, after, upto)).fetchone()[0])

    def bounds(self) -> Mapping[str, tuple[int, int]]:
        return {topic: (low, high) for topic, low, high in self.base.execute("SELECT * FROM bounds")}

    def ancestors(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        self.base.close()


class WritableTwin(Twin):
    """Fills a twin, request by request.

    Args:
        file: made when missing.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.base.execute("PRAGMA journal_mode = WAL")
        self.base.execute("PRAGMA synchronous = OFF")
        if not self.base.execute("SELECT 1 FROM sqlite_master").fetchone():
            self.base.executescript(SCHEMA)
            self.base.execute("INSERT INTO store VALUES (?)", (str(uuid.uuid4()),))
        self.requests = 0

    def request(self, topic: str, *, key: str = "", entries: int = 5, padding: int = 200) -> list[int]:
        """One request of five entries in one commit; their positions."""
        self.requests += 1
        return self.append([(topic, key or f"1.2.840.{self.requests % 23}", padding)] * entries)

    def requests_of_all(self, count: int, *, topics: Sequence[str] = TOPICS) -> None:
        """So many requests, over all topics in turn, each in a commit of its own."""
        for number in range(count):
            self.request(topics[number % len(topics)])

    def append(self, records: Sequence[tuple[str, str, int]]) -> list[int]:
        """Records of (topic, key, length of padding) in one commit; their positions."""
        position, request = self.head(), uuid.uuid4().hex
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows = []
        for index, (topic, key, padding) in enumerate(records):
            position += 1
            value = {
                "event_id": f"{request}-{index}",
                "request_id": request,
                "entry_index": index,
                "position": position,
                "recorded": now,
                "match": {"rule": "1", "status": "0000"},
                "entry": "x" * padding,
            }
            rows.append(
                (
                    position,
                    topic,
                    key,
                    TYPES[topic],
                    value["event_id"],
                    key,
                    now,
                    json.dumps(value, separators=(",", ":")).encode(),
                )
            )
        base = self.base
        base.execute("BEGIN IMMEDIATE")
        base.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        base.execute("UPDATE head SET position = ?", (position,))
        for topic, _, _ in records:
            base.execute(
                "INSERT INTO bounds VALUES (?1, ?2, ?2) ON CONFLICT DO UPDATE SET highest = ?2",
                (topic, max(row[0] for row in rows if row[1] == topic)),
            )
        base.execute("COMMIT")
        return [row[0] for row in rows]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from plscp.publish.__main__ import main

    main(Twin.open)
