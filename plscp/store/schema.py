"""The layout of the SQLite store, its version, and how an older one is brought up to date."""

import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from plscp.errors import StoreNotOpened
from plscp.store.rows import Head

APPLICATION_ID: Final = 0x706C7363
"""``plsc``: what makes an SQLite database one of ours."""

VERSION: Final = 4

LAYOUT: Final = """
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL, digest BLOB NOT NULL, registry_position INTEGER NOT NULL, requests INTEGER NOT NULL,
    store_id TEXT NOT NULL, probe INTEGER NOT NULL, topics TEXT NOT NULL DEFAULT '{}',
    expunged INTEGER NOT NULL DEFAULT 0, ancestors TEXT NOT NULL DEFAULT '[]'
);
CREATE TABLE requests (
    n INTEGER PRIMARY KEY, request_id TEXT NOT NULL, identity BLOB NOT NULL, sop_class TEXT NOT NULL,
    calling_ae TEXT NOT NULL, address TEXT NOT NULL, association TEXT NOT NULL, message_id INTEGER NOT NULL,
    transfer_syntax TEXT NOT NULL, arrival INTEGER NOT NULL, status INTEGER NOT NULL, comment TEXT NOT NULL,
    study_instance_uid TEXT NOT NULL, patient_id TEXT NOT NULL, issuer TEXT NOT NULL,
    registry_position INTEGER NOT NULL, entry_count INTEGER NOT NULL, first_position INTEGER NOT NULL,
    last_position INTEGER NOT NULL, alive_at TEXT NOT NULL, alive_us INTEGER NOT NULL DEFAULT 0,
    raw_length INTEGER NOT NULL, raw_digest BLOB NOT NULL, context BLOB NOT NULL, raw BLOB
);
CREATE INDEX requests_of_study ON requests (study_instance_uid) WHERE study_instance_uid <> '';
CREATE TABLE events (
    position INTEGER PRIMARY KEY, kind TEXT NOT NULL, request INTEGER, event_id TEXT NOT NULL, topic TEXT,
    key TEXT NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL, occurred TEXT NOT NULL, recorded TEXT NOT NULL,
    time INTEGER NOT NULL, lead BLOB NOT NULL, data BLOB NOT NULL, digest BLOB NOT NULL
);
CREATE INDEX registry_changes ON events (position) WHERE kind = 'registry';
CREATE INDEX registry_changes_by_key ON events (key, position) WHERE kind = 'registry';
CREATE TABLE identities (identity BLOB PRIMARY KEY, first INTEGER NOT NULL, latest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE seen (
    key BLOB PRIMARY KEY, position INTEGER NOT NULL, mark BLOB NOT NULL, other INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE delivered (request_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE retries (
    request INTEGER NOT NULL, arrival INTEGER NOT NULL, calling_ae TEXT NOT NULL, address TEXT NOT NULL,
    association TEXT NOT NULL, message_id INTEGER NOT NULL, transfer_syntax TEXT NOT NULL
);
CREATE INDEX retries_of_request ON retries (request);
CREATE TABLE clocks (arrival INTEGER NOT NULL, calling_ae TEXT NOT NULL, difference INTEGER NOT NULL);
CREATE TABLE proposals (id TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine (
    n INTEGER PRIMARY KEY, identity BLOB NOT NULL UNIQUE, calling_ae TEXT NOT NULL, address TEXT NOT NULL,
    sop_class TEXT NOT NULL, transfer_syntax TEXT NOT NULL, first_time INTEGER NOT NULL, last_time INTEGER NOT NULL,
    times INTEGER NOT NULL, raw_length INTEGER NOT NULL, raw_digest BLOB NOT NULL, closed_position INTEGER, raw BLOB
);
CREATE INDEX quarantine_raw ON quarantine (calling_ae, closed_position IS NULL, last_time) WHERE raw IS NOT NULL;
CREATE INDEX quarantine_open ON quarantine (last_time, calling_ae, sop_class, identity) WHERE closed_position IS NULL;
CREATE TABLE quarantine_use (calling_ae TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refusals (
    identity BLOB NOT NULL, outcome TEXT NOT NULL, status INTEGER NOT NULL, comment TEXT NOT NULL,
    position INTEGER NOT NULL, first_time INTEGER NOT NULL, last_time INTEGER NOT NULL, times INTEGER NOT NULL,
    PRIMARY KEY (identity, outcome)
) WITHOUT ROWID;
"""

Migration = Callable[[Any], None]


def _topics_to_head(connection: Any) -> None:
    """Layout 2: each commit writes two pages less. When a study last had an entry, its requests say."""
    connection.execute("ALTER TABLE head ADD COLUMN topics TEXT NOT NULL DEFAULT '{}'")
    connection.execute(
        "UPDATE head SET topics = (SELECT json_group_object(topic, json_array(lowest, highest)) FROM topics)"
    )
    connection.execute("DROP TABLE topics; DROP TABLE activity")


def _signs_of_life(connection: Any) -> None:
    """Layout 3: a request says where it is a sign of life; clock differences, proposals, the retries of a request.

    Of a request of an older layout nobody knows a place: its study looks quieter than it was, never livelier. A column that is
    added stands last, so rows are written by the names of their columns.
    """
    connection.execute("ALTER TABLE requests RENAME COLUMN latest TO alive_at")
    connection.execute("ALTER TABLE requests ADD COLUMN alive_us INTEGER NOT NULL DEFAULT 0")
    connection.execute("UPDATE requests SET alive_at = '' WHERE alive_at <> ''")
    connection.execute("""
        CREATE INDEX retries_of_request ON retries (request);
        CREATE TABLE clocks (arrival INTEGER NOT NULL, calling_ae TEXT NOT NULL, difference INTEGER NOT NULL);
        CREATE TABLE proposals (id TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
    """)


def _retention(connection: Any) -> None:
    """Layout 4: up to which request raw bytes were looked through by age; the stores that this one was restored from.

    What is open in quarantine is asked every few seconds: an index holds all of the answer.
    """
    connection.execute("ALTER TABLE head ADD COLUMN expunged INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE head ADD COLUMN ancestors TEXT NOT NULL DEFAULT '[]'")
    connection.execute(
        "CREATE INDEX quarantine_open ON quarantine (last_time, calling_ae, sop_class, identity) WHERE closed_position IS NULL"
    )


MIGRATIONS: Final[dict[int, Migration]] = {1: _topics_to_head, 2: _signs_of_life, 3: _retention}
"""From layout n to n + 1; each gets the connection, inside the one transaction that brings a store up to date."""
REWRITING: Final = frozenset({2})
"""Layouts whose step to the next one may write every page anew, which the write-ahead log holds meanwhile."""
_SMALL_STEP_BYTES: Final = 16 << 20
"""Free disk that any step needs."""


def create(connection: Any) -> None:
    """Lay out an empty store with a new store id; in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(LAYOUT)
    connection.execute("INSERT INTO head VALUES (1, 0, ?, 0, 0, ?, 0, '{}', 0, '[]')", (bytes(32), str(uuid.uuid4())))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def layout_of(connection: Any, path: str, newest: int = VERSION) -> int:
    """The layout of a database, 0 for an empty one; StoreNotOpened where it is somebody else's, or of a newer plscp."""
    application = connection.execute("PRAGMA application_id").get
    version: int = connection.execute("PRAGMA user_version").get
    if application == 0 and version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        return 0
    if application != APPLICATION_ID:
        raise StoreNotOpened(f"{path} is a database, but not a plscp store")
    if version > newest:
        raise StoreNotOpened(
            f"{path} has layout {version}, this plscp knows layouts up to {newest}: use the newer plscp that wrote it"
        )
    return version


def bring_up_to_date(connection: Any, path: str, *, migrations: Mapping[int, Migration] = MIGRATIONS) -> None:
    """Create the layout or migrate an older one, in one transaction.

    Raises:
        StoreNotOpened: as `layout_of`; or the disk has no room for the migration.
    """
    newest = max([VERSION, *(n + 1 for n in migrations)])
    version = layout_of(connection, path, newest)
    if version == 0:
        create(connection)
    elif version < newest:
        _check_room(connection, path, version, newest)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for n in range(version, newest):
                migrations[n](connection)
            connection.execute(f"PRAGMA user_version = {newest}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _check_room(connection: Any, path: str, version: int, newest: int) -> None:
    """StoreNotOpened where the disk does not take what a migration writes beside the database until it is copied back."""
    needed = _SMALL_STEP_BYTES
    if REWRITING & set(range(version, newest)):
        needed += connection.execute("PRAGMA page_count").get * connection.execute("PRAGMA page_size").get
    found = os.statvfs(Path(path).parent)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise StoreNotOpened(
            f"{path} has layout {version}: bringing it to layout {newest} needs {needed >> 20} MiB of free disk, "
            f"there are {free >> 20} MiB"
        )


def head_of(connection: Any) -> Head:
    """The head row of a store."""
    return Head(*connection.execute("SELECT position, digest, registry_position, requests FROM head").fetchall()[0])


def topics_of(connection: Any) -> dict[str, tuple[int, int]]:
    """Topic -> (lowest, highest position); only topics that have records."""
    said = json.loads(connection.execute("SELECT topics FROM head").get)
    return {topic: (low, high) for topic, (low, high) in said.items()}


def ancestors(connection: Any) -> dict[str, int]:
    """The stores that a store was restored from, each with the position up to which this one holds its events; oldest first."""
    known = connection.execute("SELECT count(*) FROM pragma_table_info('head') WHERE name = 'ancestors'").get
    if not known:  # a layout from before there were any
        return {}
    said = json.loads(connection.execute("SELECT ancestors FROM head").get)
    return {each["store"]: each["position"] for each in said}
