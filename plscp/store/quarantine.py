"""The quarantine's rows on SQLite: looked up for a batch, saved after it, and kept under the cap of each device."""

from collections.abc import Iterable
from typing import Any, Final

from plscp.store.rows import ExpiredItem, Item, Outcome

ITEMS: Final = """
SELECT q.identity, q.calling_ae, q.address, q.sop_class, q.transfer_syntax, q.first_time, q.last_time, q.times,
    q.raw_length, q.raw_digest, q.closed_position, q.raw IS NOT NULL
FROM carray(?) k CROSS JOIN quarantine q ON q.identity = k.value
"""
OUTCOMES: Final = (
    "SELECT outcome, status, comment, position, first_time, last_time, times FROM refusals WHERE identity = ?"
)
SAVE_ITEM: Final = """
INSERT INTO quarantine (identity, calling_ae, address, sop_class, transfer_syntax, first_time, last_time, times,
    raw_length, raw_digest, closed_position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (identity) DO UPDATE SET transfer_syntax = excluded.transfer_syntax, last_time = excluded.last_time,
    times = excluded.times, closed_position = excluded.closed_position
"""
SAVE_OUTCOME: Final = """
INSERT INTO refusals (identity, outcome, status, comment, position, first_time, last_time, times)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET last_time = excluded.last_time, times = excluded.times
"""
USE: Final = """
INSERT INTO quarantine_use VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes RETURNING bytes
"""
OLDEST: Final = """
SELECT n, length(raw) FROM quarantine INDEXED BY quarantine_raw WHERE raw IS NOT NULL AND calling_ae = ?
ORDER BY closed_position IS NULL, last_time LIMIT 1
"""

EXPIRED: Final = """
SELECT identity, calling_ae, length(raw) FROM quarantine INDEXED BY quarantine_raw
WHERE raw IS NOT NULL AND (closed_position IS NULL) = 0 AND last_time < ? LIMIT ?
"""


def expired_items(connection: Any, before: int, most: int) -> list[ExpiredItem]:
    """Closed items that were last sent before a moment and still have raw bytes."""
    return [ExpiredItem(*row) for row in connection.execute(EXPIRED, (before, most))]


def expunge_items(connection: Any, items: Iterable[ExpiredItem]) -> None:
    """Delete their raw bytes."""
    for item in items:
        connection.execute("UPDATE quarantine SET raw = NULL WHERE identity = ?", (item.identity,))
        connection.execute(USE, (item.calling_ae, -item.raw_bytes)).fetchall()


def look_up_items(connection: Any, identities: object) -> dict[bytes, Item]:
    """The items of these identities (a carray), each with its outcomes."""
    items = {}
    for row in connection.execute(ITEMS, (identities,)).fetchall():
        item = Item(*row)
        for outcome in connection.execute(OUTCOMES, (item.identity,)):
            item.outcomes[outcome[0]] = Outcome(*outcome)
        items[item.identity] = item
    return items


def save_items(connection: Any, items: Iterable[Item], cap: int) -> None:
    """Write items and outcomes; then drop the oldest raw bytes of each device that is over its cap, closed items first."""
    for item in items:
        connection.execute(
            SAVE_ITEM,
            (
                item.identity,
                item.calling_ae,
                item.address,
                item.sop_class,
                item.transfer_syntax,
                item.first_time,
                item.last_time,
                item.times,
                item.raw_length,
                item.raw_digest,
                item.closed_position,
            ),
        )
        for o in item.outcomes.values():
            row = (item.identity, o.outcome, o.status, o.comment, o.position, o.first_time, o.last_time, o.times)
            connection.execute(SAVE_OUTCOME, row)
        if item.raw is not None:
            connection.execute("UPDATE quarantine SET raw = ? WHERE identity = ?", (item.raw, item.identity))
            used = connection.execute(USE, (item.calling_ae, len(item.raw))).get
            while used > cap and (oldest := connection.execute(OLDEST, (item.calling_ae,)).fetchone()):
                n, length = oldest
                connection.execute("UPDATE quarantine SET raw = NULL WHERE n = ?", (n,))
                used = connection.execute(USE, (item.calling_ae, -length)).get
