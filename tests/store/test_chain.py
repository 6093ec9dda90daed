"""Tampering with a store is found, wherever it was done."""

from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.store.contract import Open
from tests.store.drafts import change, entry, rejected, request, send

TAMPERING = {
    "an entry's own members": ("UPDATE events SET data = CAST('\"entry\":1' AS BLOB) WHERE position = 3", 3),
    "a value of another type": ("UPDATE events SET data = '1' WHERE position = 3", 3),
    "an entry's finding": (
        "UPDATE events SET lead = CAST(replace(lead, 'null', '\"x\"') AS BLOB) WHERE position = 3",
        3,
    ),
    "when an entry occurred": ("UPDATE events SET occurred = occurred + 1 WHERE position = 3", 3),
    "the key it is published under": ("UPDATE events SET key = '9.9' WHERE position = 4", 4),
    "where it is published": ("UPDATE events SET topic = 'patient' WHERE position = 4", 4),
    "what entries of a request share": ("UPDATE contexts SET shared = CAST('\"study\":1' AS BLOB) WHERE n = 1", 2),
    "the status that was answered": ("UPDATE contexts SET status = 1 WHERE n = 1", 2),
    "who sent it": ("UPDATE contexts SET calling_ae = 'X', address = 'HEMO1127.0.0.1' WHERE n = 1", 2),
    "raw bytes": ("UPDATE requests SET raw = x'00', raw_length = 1 WHERE n = 1", 2),
    "raw bytes of the same length": ("UPDATE requests SET raw = CAST('ray' AS BLOB) WHERE n = 1", 2),
    "a registry change": ("UPDATE events SET data = CAST('\"change\":{}' AS BLOB) WHERE position = 1", 1),
    "when a registry change was made": ("UPDATE events SET time = time + 1 WHERE position = 1", 1),
    "a refusal": ("UPDATE events SET data = x'' WHERE position = 5", 5),
    "an event taken away": ("DELETE FROM events WHERE position = 4", 4),
    "the last event taken away": ("DELETE FROM events WHERE position = 6", 6),
    "an event moved to another request": ("UPDATE events SET request = 2 WHERE position = 3", 3),
    "a digest": ("UPDATE events SET digest = zeroblob(32) WHERE position = 2", 2),
    "the head's position": ("UPDATE head SET position = 5", 6),
    "the head's digest": ("UPDATE head SET digest = zeroblob(32)", 7),
    "the head's registry position": ("UPDATE head SET registry_position = 0", 7),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found(open_sqlite: Open, path: Path, what: str) -> None:
    """The first position that does not fit is named."""
    sql, position = TAMPERING[what]
    store = open_sqlite()
    send(store, change("study.opened"), request([entry("a"), entry("b", index=1)]), request())
    send(store, request(decision=rejected()), request())
    assert store.head()[0] == 6
    assert store.first_broken_position() is None
    store.close()
    connection: Any = apsw.Connection(str(path))
    connection.execute(sql)
    assert connection.changes() == 1
    connection.close()
    found = open_sqlite().first_broken_position()
    # A head row that was moved back hides the events after it from the walk: then the head itself does not fit.
    assert found == position


def test_deleted_raw_bytes_keep_the_chain_whole(open_sqlite: Open, path: Path) -> None:
    """Retention may take raw bytes away: their digest stays."""
    store = open_sqlite()
    send(store, request(), request())
    store.close()
    connection: Any = apsw.Connection(str(path))
    connection.execute("UPDATE requests SET raw = NULL")
    connection.close()
    assert open_sqlite().first_broken_position() is None
