"""A store's twin for the relay's tests: its layout, with nothing in it but what is published."""

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from plscp.store import schema
from plscp.store.chain import iso
from plscp.store.relay_view import RelayView

TOPICS = ("procedure-log", "medication-administration", "quarantine", "study")
TYPES = {
    "procedure-log": "org.plscp.procedure-log.entry.v1",
    "medication-administration": "org.plscp.medication-administration.v1",
    "quarantine": "org.plscp.request.refused.v1",
    "study": "org.plscp.study.updated.v1",
}
COLUMNS = "position, kind, event_id, topic, key, type, subject, occurred, recorded, time, lead, data, digest"


class WritableTwin(RelayView):
    """Fills a store as a writer would, request by request, without rules, chain and syncs.

    Args:
        file: made when missing.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.file, self.url = file, f"sqlite:///{file}"
        self.base: Any = apsw.Connection(str(file))
        self.base.set_busy_timeout(60_000)
        self.base.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
        if not schema.layout_of(self.base, str(file)):
            schema.create(self.base)
        self.requests = 0

    def close(self) -> None:
        """Both connections."""
        super().close()
        self.base.close()

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
        milliseconds = time.time_ns() // 1_000_000
        now = iso(milliseconds * 1000)
        rows, topics, base = [], self.bounds(), self.base
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
            lead = json.dumps(value, separators=(",", ":"))[:-1].encode()
            rows.append(
                (
                    *(position, "entry", value["event_id"], topic, key, TYPES[topic], key),
                    *(milliseconds, milliseconds, 0, lead, b"", b""),
                )
            )
            low, _ = topics.get(topic, (position, position))
            topics[topic] = (low, position)
        base.execute("BEGIN IMMEDIATE")
        base.executemany(f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        base.execute("UPDATE head SET position = ?, topics = ?", (position, json.dumps(topics)))
        base.execute("COMMIT")
        return [row[0] for row in rows]
