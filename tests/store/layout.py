"""Makes the stores that were released, one per layout: `python -m tests.store.layout FILE` writes the newest as SQL.

A layout that was released never changes: a new version gets a file of its own, and each old one must still open.
"""

import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw
import apsw.shell

from plscp.store import SqliteStore
from plscp.store.port import ClockMeasured, Delivered, Expunge, MessageRefused
from tests.store.drafts import (
    NOW,
    accepted,
    administered,
    again,
    change,
    correction,
    entry,
    ignore,
    judged,
    move,
    proposal,
    rejected,
    request,
    send,
)

FOLDER = Path(__file__).parent / "layouts"


def fill(store: SqliteStore) -> None:
    """One of everything that a layout can hold."""
    first = request([entry("a", uid="1.1"), entry("b", index=1)])
    refused = request(decision=rejected(), raw=b"refused bytes")
    send(store, change("study.opened"), change("admission.changed", published=False))
    send(store, first, again(first), request(decision=administered()))
    judged(store, Delivered([first.request_id]), again(first))
    send(store, refused, again(refused), request(decision=rejected(0xC102, content=True)))
    send(store, again(refused, decision=accepted(status=0xB102, comment="another study", place="LAB1", at=NOW)))
    send(
        store, ClockMeasured("HEMO1", time.time_ns() // 1000, -7), request(decision=rejected(proposal=proposal("ab12")))
    )
    send(store, Expunge(NOW + 1, NOW + 2, ignore, most=1))
    send(store, correction("ab12", move(store, 4, "9.9"), known=True))
    send(store, MessageRefused("hl7", "10.1.2.3:4", "", NOW, "no MSH", b"PID|1", ignore))


def dump(path: Path) -> str:
    """A database as SQL, its version and application id included."""
    connection: Any = apsw.Connection(str(path))
    out = io.StringIO()
    shell: Any = apsw.shell.Shell(db=connection, stdout=out)
    shell.process_command(".dump")
    numbers = {name: connection.execute(f"PRAGMA {name}").get for name in ("application_id", "user_version")}
    connection.close()
    lines = [line for line in out.getvalue().splitlines() if not line.startswith("--") and "PRAGMA" not in line]
    return "\n".join([*lines, *(f"PRAGMA {name} = {value};" for name, value in numbers.items()), ""])


def load(sql: Path, path: Path) -> None:
    """Make the database that was dumped."""
    connection: Any = apsw.Connection(str(path))
    connection.execute(sql.read_text())
    connection.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "s.db")
        fill(store)
        store.close()
        Path(sys.argv[1]).write_text(dump(Path(folder) / "s.db"))
