"""What is read from an SQLite store; each function takes a connection and returns plain values."""

import json
from collections.abc import Callable
from typing import Any, Final

from plscp.store.chain import Verifier
from plscp.store.ledger import HAS_ENTRIES
from plscp.store.port import (
    MOST_COUNTED,
    Filter,
    OpenRefusal,
    Proposal,
    QuarantineItem,
    RawKept,
    RetryNote,
    StoredEvent,
)
from plscp.store.rows import CHANGE, EMPTY_HEAD, EventRow, Head, RequestRow, stored_event, thinned

_EVENT: Final = ", ".join(f"e.{name}" for name in EventRow._fields)
_REQUEST: Final = ", ".join(f"r.{name}" for name in RequestRow._fields)
_EVENTS: Final = f"SELECT {_EVENT}, r.context FROM events e LEFT JOIN requests r ON r.n = e.request"  # noqa: S608 -- our names
_WITH_REQUEST: Final = f"SELECT {_EVENT}, {_REQUEST} FROM events e LEFT JOIN requests r ON r.n = e.request"  # noqa: S608
_OF_STUDY: Final = """e.position IN (
    SELECT x.position FROM requests s JOIN events x ON x.position BETWEEN s.first_position AND s.last_position
    WHERE s.study_instance_uid = ?1 AND s.study_instance_uid <> '' AND s.last_position > ?2
    UNION SELECT position FROM events WHERE kind = 'registry' AND key = ?1 AND topic = 'study' AND position > ?2)"""
_LATE_US: Final = 60_000_000
"""How far arrivals may be out of the order in which requests are numbered: more than the answer deadline."""


def _event(row: tuple[Any, ...]) -> StoredEvent:
    return stored_event(EventRow(*row[:-1]), row[-1])


def events(connection: Any, which: Filter) -> list[StoredEvent]:
    """Events in order of position."""
    wanted = "e.position > ?2 AND ?1 = ''"
    if which.study_instance_uid:
        wanted = _OF_STUDY
    bindings: list[Any] = [which.study_instance_uid, which.after, which.limit]
    if which.kinds:
        wanted += " AND e.kind IN (SELECT value FROM json_each(?4))"
        bindings.append(json.dumps(list(which.kinds)))
    order = "DESC" if which.latest else "ASC"
    rows = connection.execute(f"{_EVENTS} WHERE {wanted} ORDER BY e.position {order} LIMIT ?3", bindings)
    found = [_event(row) for row in rows]
    return found[::-1] if which.latest else found


def event(connection: Any, position: int) -> StoredEvent | None:
    """The event at a position."""
    row = connection.execute(f"{_EVENTS} WHERE e.position = ?", (position,)).fetchone()
    return _event(row) if row else None


def timeline(connection: Any, study_instance_uid: str) -> list[StoredEvent]:
    """A study's entries by when they occurred."""
    everything = Filter(study_instance_uid=study_instance_uid, limit=-1, kinds=("entry",))
    if not study_instance_uid:
        return []
    return sorted(events(connection, everything), key=lambda e: (e.occurred, e.position))


def changes(connection: Any, after: int, limit: int) -> list[tuple[int, int, dict[str, Any]]]:
    """Registry changes after a position."""
    rows = connection.execute(
        "SELECT position, time, data FROM events WHERE kind = 'registry' AND position > ? ORDER BY position LIMIT ?",
        (after, limit),
    )
    return [(position, time, json.loads(data[len(CHANGE) :])) for position, time, data in rows]


def activity(connection: Any, since_us: int) -> list[tuple[str, str, int, int]]:
    """Signs of life that arrived since then, oldest first; of each study and place the latest of each minute."""
    signs = []
    cursor = connection.execute("SELECT arrival, study_instance_uid, alive_at, alive_us FROM requests ORDER BY n DESC")
    for arrival, study, place, moment in cursor:
        if arrival < since_us - _LATE_US:
            break
        if place and arrival >= since_us:  # a sign is never later than its arrival
            signs.append((study, place, moment, arrival))
    cursor.close()
    return thinned(signs)


def clocks(connection: Any, since_us: int) -> list[tuple[str, int, int]]:
    """Clock differences measured since then, oldest first."""
    found = []
    cursor = connection.execute("SELECT calling_ae, arrival, difference FROM clocks ORDER BY rowid DESC")
    for row in cursor:
        if row[1] < since_us - _LATE_US:
            break
        if row[1] >= since_us:
            found.append(row)
    cursor.close()
    found.reverse()
    return sorted(found, key=lambda row: row[1])


def has_entries(connection: Any, study_instance_uid: str) -> bool:
    """Whether any entry stands under a study."""
    return bool(connection.execute(HAS_ENTRIES, (study_instance_uid,)).get)


_RAW: Final = """
SELECT r.raw_length, r.raw_digest, coalesce(length(r.raw), length(q.raw), 0) FROM events e CROSS JOIN requests r ON r.n = e.request
LEFT JOIN quarantine q ON q.identity = r.identity WHERE e.position = ?
"""


def raw_kept(connection: Any, position: int) -> RawKept | None:
    """What is left of an event's request as it was received."""
    row = connection.execute(_RAW, (position,)).fetchone()
    return RawKept(*row) if row else None


_RETRIES: Final = """
SELECT r.last_position, t.arrival, t.calling_ae, t.address, t.association, t.message_id, t.transfer_syntax
FROM retries t CROSS JOIN requests r ON r.n = t.request
"""


def retries(connection: Any, position: int, limit: int) -> list[RetryNote]:
    """Repeats that got the stored answer, newest first: of the request of one event, or (0) of all."""
    if position:
        one = " WHERE t.request = (SELECT request FROM events WHERE position = ?) ORDER BY t.rowid DESC LIMIT ?"
        rows = connection.execute(_RETRIES + one, (position, limit))
    else:
        rows = connection.execute(_RETRIES + " ORDER BY t.rowid DESC LIMIT ?", (limit,))
    return [RetryNote(*row) for row in rows]


_PROPOSALS: Final = """
SELECT p.id, p.position, e.time, e.lead, e.data FROM proposals p CROSS JOIN events e ON e.position = p.position
"""


def _proposal(row: tuple[Any, ...]) -> Proposal:
    proposal_id, position, time, lead, data = row
    return Proposal(proposal_id, position, time, json.loads(lead + b"}")["source"], json.loads(data[len(CHANGE) :]))


def proposals(connection: Any, limit: int) -> list[Proposal]:
    """Proposed corrections, newest first."""
    rows = connection.execute(_PROPOSALS + " ORDER BY p.position DESC LIMIT ?", (limit,)).fetchall()
    return [_proposal(row) for row in rows]


def proposals_count(connection: Any) -> int:
    """How many corrections are proposed."""
    return int(connection.execute("SELECT count(*) FROM proposals").get)


def proposal(connection: Any, proposal_id: str) -> Proposal | None:
    """The only proposal whose id begins like this."""
    if not proposal_id:
        return None
    beginning = " WHERE substr(p.id, 1, length(?1)) = ?1 LIMIT 2"
    rows = connection.execute(_PROPOSALS + beginning, (proposal_id.lower(),)).fetchall()
    return _proposal(rows[0]) if len(rows) == 1 else None


_ITEMS: Final = """
SELECT identity, calling_ae, address, sop_class, transfer_syntax, first_time, last_time, times, coalesce(raw, x''),
    raw_length, closed_position FROM quarantine
"""
_OUTCOMES: Final = """
SELECT f.outcome, f.status, f.comment, f.position, f.first_time, f.last_time, f.times, e.data
FROM refusals f JOIN events e USING (position) WHERE f.identity = ? ORDER BY f.position
"""


def _item(connection: Any, row: tuple[Any, ...]) -> QuarantineItem:
    identity, *about, closed_position = row
    names = ("outcome", "status", "comment", "position", "first_time", "last_time", "times")
    outcomes = [
        {**dict(zip(names, found[:-1], strict=True)), "data": json.loads(b"{" + found[-1] + b"}")}
        for found in connection.execute(_OUTCOMES, (identity,)).fetchall()
    ]
    return QuarantineItem._make((identity.hex()[:16], identity, *about, outcomes, closed_position))


def quarantine(connection: Any, calling_ae: str, limit: int, *, open_only: bool) -> list[QuarantineItem]:
    """Items, newest first."""
    rows = connection.execute(
        _ITEMS + " WHERE (?1 = '' OR calling_ae = ?1) AND (NOT ?2 OR closed_position IS NULL)"
        " ORDER BY last_time DESC, n DESC LIMIT ?3",
        (calling_ae, open_only, limit),
    ).fetchall()
    return [_item(connection, row) for row in rows]


def quarantine_item(connection: Any, item_id: str) -> QuarantineItem | None:
    """The only item whose identity begins with these hex digits."""
    try:
        lowest, highest = (bytes.fromhex(item_id.ljust(64, end)) for end in "0f")
    except ValueError:
        return None
    rows = connection.execute(_ITEMS + " WHERE identity BETWEEN ? AND ? LIMIT 2", (lowest, highest)).fetchall()
    return _item(connection, rows[0]) if len(rows) == 1 and item_id else None


_OPEN: Final = (
    "FROM quarantine INDEXED BY quarantine_open WHERE closed_position IS NULL ORDER BY last_time DESC LIMIT ?"
)
"""Out of the index alone: what is asked often neither walks through all that was ever refused nor reads bytes of requests."""


def quarantine_open(connection: Any) -> dict[str, int]:
    """How many items are open, by calling AE title."""
    count = f"SELECT calling_ae, count(*) FROM (SELECT calling_ae {_OPEN}) GROUP BY calling_ae"  # noqa: S608 -- our words
    return dict(connection.execute(count, (MOST_COUNTED,)).fetchall())


def open_refusals(connection: Any, limit: int) -> list[OpenRefusal]:
    """What is open and what its request held, newest first."""
    last = "SELECT e.data FROM refusals f JOIN events e USING (position) WHERE f.identity = q.identity ORDER BY f.position DESC LIMIT 1"
    items = f"SELECT identity, calling_ae, sop_class, last_time {_OPEN}"
    rows = connection.execute(f"SELECT q.*, ({last}) FROM ({items}) q", (limit,)).fetchall()  # noqa: S608 -- our words
    return [
        OpenRefusal(identity.hex()[:16], calling_ae, sop_class, last_time, json.loads(b"{" + (data or b"") + b"}"))
        for identity, calling_ae, sop_class, last_time, data in rows
    ]


def last_arrivals(connection: Any) -> dict[str, int]:
    """When the last accepted request of each calling AE title arrived."""
    newest = "SELECT calling_ae, arrival, status FROM requests ORDER BY n DESC LIMIT ?"
    latest = f"SELECT calling_ae, max(arrival) FROM ({newest}) WHERE status = 0 OR status >> 12 = 11 GROUP BY 1"  # noqa: S608
    return dict(connection.execute(latest, (MOST_COUNTED,)).fetchall())


def first_broken_position(
    connection: Any, *, page: int = 1000, progress: Callable[[int], None] = lambda _: None
) -> int | None:
    """Walk the chain up to the head as it is at the beginning, a page at a time; `progress` is told how far it is."""
    width = len(EventRow._fields)
    row = connection.execute("SELECT position, digest, registry_position, requests FROM head").fetchone()
    head = Head(*row) if row else EMPTY_HEAD
    verifier = Verifier()
    while True:
        rows = connection.execute(
            f"{_WITH_REQUEST} WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT ?",
            (verifier.position, head.position, page),
        ).fetchall()
        pairs = ((EventRow(*r[:width]), RequestRow(*r[width:]) if r[width] is not None else None) for r in rows)
        if not rows or not verifier.feed(pairs):
            return verifier.finish(head)
        progress(verifier.position)
