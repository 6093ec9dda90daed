"""The layout of the SQLite store, its version, and how an older one is brought up to date.

A commit writes to the ends of `requests` and `events` and to `head`, and to nothing else as a rule (decision 45): what requests have
in common stands once in `contexts`; what is found again (`seen`, `arrivals`) is written for many requests
at a time, up to request `head.indexed`; proofs of arrival gather in `head.delivered` before they go to their table. The
views put together again what was taken apart, and what is written with what is not yet.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from plscp.errors import StoreNotOpened

APPLICATION_ID: Final = 0x706C7363
"""``plsc``: what makes an SQLite database one of ours."""

VERSION: Final = 6

_REQUEST: Final = """
    r.n, lower(hex(r.request_id)) AS request_id, r.identity, c.sop_class, c.calling_ae, c.address, r.association, r.message_id,
    c.transfer_syntax, r.arrival, c.status, c.comment, c.study_instance_uid, c.patient_id, c.issuer, c.registry_position,
    r.entry_count, r.first_position, r.last_position, c.alive_at, r.alive_us, r.raw_length, r.raw_digest, c.shared, r.raw"""
_ID: Final = "lower(hex(r.request_id))"
_TIME: Final = "strftime('%Y-%m-%dT%H:%M:%fZ', e.{} / 1000.0, 'unixepoch')"
_OF_LAYOUT_5: Final = f"""
CREATE TABLE contexts (
    n INTEGER PRIMARY KEY, sop_class TEXT NOT NULL, calling_ae TEXT NOT NULL, address TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL, status INTEGER NOT NULL, comment TEXT NOT NULL, study_instance_uid TEXT NOT NULL,
    patient_id TEXT NOT NULL, issuer TEXT NOT NULL, registry_position INTEGER NOT NULL, alive_at TEXT NOT NULL,
    key TEXT NOT NULL, type TEXT NOT NULL, shared BLOB NOT NULL
);
CREATE INDEX contexts_of_study ON contexts (study_instance_uid) WHERE study_instance_uid <> '';
CREATE TABLE requests (
    n INTEGER PRIMARY KEY, context INTEGER NOT NULL, arrival INTEGER NOT NULL, alive_us INTEGER NOT NULL,
    first_position INTEGER NOT NULL, last_position INTEGER NOT NULL, request_id BLOB NOT NULL, identity BLOB NOT NULL,
    association TEXT NOT NULL, message_id INTEGER NOT NULL, entry_count INTEGER NOT NULL, raw_length INTEGER NOT NULL,
    raw_digest BLOB NOT NULL, keys BLOB, raw BLOB
);
CREATE TABLE events (
    position INTEGER PRIMARY KEY, kind TEXT NOT NULL, request INTEGER, entry INTEGER, topic TEXT, event_id TEXT, key TEXT,
    type TEXT, subject TEXT, occurred INTEGER NOT NULL, recorded INTEGER NOT NULL, time INTEGER NOT NULL,
    lead BLOB NOT NULL, data BLOB NOT NULL, digest BLOB NOT NULL
);
CREATE INDEX registry_changes ON events (position) WHERE kind = 'registry';
CREATE INDEX registry_changes_by_key ON events (key, position) WHERE kind = 'registry';
CREATE TABLE seen (
    key BLOB PRIMARY KEY, first INTEGER NOT NULL, other INTEGER NOT NULL, mark BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE arrivals (
    request INTEGER PRIMARY KEY, context INTEGER NOT NULL, arrival INTEGER NOT NULL, alive_us INTEGER NOT NULL
);
CREATE INDEX arrivals_of_context ON arrivals (context);
CREATE TABLE delivered (request_id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE VIEW arrived AS
    SELECT r.arrival, c.calling_ae, c.status, c.study_instance_uid, c.alive_at, r.alive_us, r.n AS request
    FROM requests r CROSS JOIN contexts c ON c.n = r.context WHERE r.n > (SELECT indexed FROM head)
    UNION ALL SELECT a.arrival, c.calling_ae, c.status, c.study_instance_uid, c.alive_at, a.alive_us, a.request
    FROM arrivals a CROSS JOIN contexts c ON c.n = a.context;
CREATE VIEW request_rows AS SELECT{_REQUEST} FROM requests r CROSS JOIN contexts c ON c.n = r.context;
CREATE VIEW requests_of_study AS
    SELECT c.study_instance_uid, r.n, r.first_position, r.last_position
    FROM contexts c CROSS JOIN arrivals a ON a.context = c.n CROSS JOIN requests r ON r.n = a.request
    WHERE r.first_position > 0
    UNION ALL SELECT c.study_instance_uid, r.n, r.first_position, r.last_position
    FROM requests r CROSS JOIN contexts c ON c.n = r.context
    WHERE r.n > (SELECT indexed FROM head) AND r.first_position > 0;
CREATE VIEW log AS SELECT
    e.position, e.kind, e.request, e.entry, coalesce(e.event_id, {_ID} || '-' || e.entry) AS event_id, e.topic,
    coalesce(e.key, c.key) AS key, coalesce(e.type, c.type) AS type,
    coalesce(e.subject, nullif(c.study_instance_uid, ''), c.key) AS subject,
    {_TIME.format("occurred")} AS occurred, {_TIME.format("recorded")} AS recorded, e.time,
    CASE WHEN e.entry IS NULL THEN e.lead ELSE CAST(
        '{{"event_id":"' || {_ID} || '-' || e.entry || '","position":' || e.position || ',"recorded":"' || {_TIME.format("recorded")} ||
        '","request_id":"' || {_ID} || '","entry_index":' || e.entry || ',"entry_count":' || r.entry_count || ',' || e.lead
    AS BLOB) END AS lead, e.data, e.digest,{_REQUEST}
    FROM events e LEFT JOIN requests r ON r.n = e.request LEFT JOIN contexts c ON c.n = r.context;
"""  # noqa: S608 -- our words
_OF_LAYOUT_6: Final = """
CREATE TABLE standings (
    position INTEGER PRIMARY KEY, standing INTEGER NOT NULL, study_instance_uid TEXT NOT NULL, patient_id TEXT NOT NULL,
    issuer TEXT NOT NULL, correction TEXT NOT NULL
);
CREATE INDEX standings_of_study ON standings (study_instance_uid);
CREATE INDEX corrections_by_key ON events (key, position) WHERE kind = 'correction';
CREATE INDEX proposals_by_state ON proposals (state, position);
CREATE TABLE refused_messages (
    n INTEGER PRIMARY KEY, source TEXT NOT NULL, peer TEXT NOT NULL, message TEXT NOT NULL, time INTEGER NOT NULL,
    why TEXT NOT NULL, raw_length INTEGER NOT NULL, raw BLOB NOT NULL
);
CREATE TABLE replayed_entries (
    identity BLOB NOT NULL, entry INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (identity, entry)
) WITHOUT ROWID;
"""
_SETTLED: Final = {
    "state": "TEXT NOT NULL DEFAULT 'proposed'",
    "moved": "INTEGER NOT NULL DEFAULT 0",
    "settled": "INTEGER NOT NULL DEFAULT 0",
    "reverts": "TEXT NOT NULL DEFAULT ''",
    "who": "TEXT NOT NULL DEFAULT ''",
    "why": "TEXT NOT NULL DEFAULT ''",
}
"""What became of a proposal, and by whom: columns that layout 6 adds."""
LAYOUT: Final = f"""
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL, digest BLOB NOT NULL, registry_position INTEGER NOT NULL, requests INTEGER NOT NULL,
    store_id TEXT NOT NULL, probe INTEGER NOT NULL, topics TEXT NOT NULL DEFAULT '{{}}',
    expunged INTEGER NOT NULL DEFAULT 0, ancestors TEXT NOT NULL DEFAULT '[]', indexed INTEGER NOT NULL DEFAULT 0,
    delivered BLOB NOT NULL DEFAULT x''
);
CREATE TABLE retries (
    request INTEGER NOT NULL, arrival INTEGER NOT NULL, calling_ae TEXT NOT NULL, address TEXT NOT NULL,
    association TEXT NOT NULL, message_id INTEGER NOT NULL, transfer_syntax TEXT NOT NULL
);
CREATE INDEX retries_of_request ON retries (request);
CREATE TABLE clocks (arrival INTEGER NOT NULL, calling_ae TEXT NOT NULL, difference INTEGER NOT NULL);
CREATE TABLE proposals (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, {", ".join(map(" ".join, _SETTLED.items()))}
) WITHOUT ROWID;
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
{_OF_LAYOUT_5}{_OF_LAYOUT_6}"""

CONTEXTS_KEPT: Final = 1024
"""Of `contexts` in memory; one that comes again later gets another row."""
TIME_BYTES: Final = 6
"""A key that begins with the content's own time begins with so many bytes of it."""
Migration = Callable[[Any], None]


class StoreHead(NamedTuple):
    """What an append builds on, of the one head row: the last event, registry change and request row; of an empty store zeros."""

    position: int
    digest: bytes
    registry_position: int
    requests: int


_TOPICS_TO_HEAD: Final = """
ALTER TABLE head ADD COLUMN topics TEXT NOT NULL DEFAULT '{}';
UPDATE head SET topics = (SELECT json_group_object(topic, json_array(lowest, highest)) FROM topics);
DROP TABLE topics; DROP TABLE activity;
"""
"""Layout 2: each commit writes two pages less. When a study last had an entry, its requests say."""
_SIGNS_OF_LIFE: Final = """
ALTER TABLE requests RENAME COLUMN latest TO alive_at;
ALTER TABLE requests ADD COLUMN alive_us INTEGER NOT NULL DEFAULT 0;
UPDATE requests SET alive_at = '' WHERE alive_at <> '';
CREATE INDEX retries_of_request ON retries (request);
CREATE TABLE clocks (arrival INTEGER NOT NULL, calling_ae TEXT NOT NULL, difference INTEGER NOT NULL);
CREATE TABLE proposals (id TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
"""
"""Layout 3: a request says where it is a sign of life; clock differences, proposals, the retries of a request.

Of a request of an older layout nobody knows a place: its study looks quieter than it was, never livelier. A column that is
added stands last, so rows are written by the names of their columns.
"""
_RETENTION: Final = """
ALTER TABLE head ADD COLUMN expunged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN ancestors TEXT NOT NULL DEFAULT '[]';
CREATE INDEX quarantine_open ON quarantine (last_time, calling_ae, sop_class, identity) WHERE closed_position IS NULL;
"""
"""Layout 4: up to which request raw bytes were looked through by age; the stores that this one was restored from."""


def _few_pages(connection: Any) -> None:
    """Layout 5: a commit touches few pages (decision 45). What is known of an older event stays in its row as it is.

    The keys of an older layout do not begin with a time: they get zeros in its place, and are looked for as well.
    """
    no_time = f"zeroblob({TIME_BYTES})"
    connection.execute(f"""
        DROP INDEX registry_changes; DROP INDEX registry_changes_by_key; DROP INDEX requests_of_study;
        ALTER TABLE requests RENAME TO requests_4; ALTER TABLE events RENAME TO events_4;
        ALTER TABLE seen RENAME TO seen_4; ALTER TABLE delivered RENAME TO delivered_4;
        ALTER TABLE head ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE head ADD COLUMN delivered BLOB NOT NULL DEFAULT x'';
        {_OF_LAYOUT_5}
        UPDATE head SET indexed = requests;
        INSERT INTO delivered SELECT unhex(request_id) FROM delivered_4;
        INSERT INTO seen SELECT CAST({no_time} || substr(identity, 1, 16) AS BLOB), first, latest, x'' FROM identities;
        INSERT INTO seen SELECT iif(mark = x'', key, CAST({no_time} || key AS BLOB)), position, other, mark FROM seen_4;
        INSERT INTO events SELECT position, kind, request, NULL, topic, event_id, key, type, subject,
            unixepoch(occurred) * 1000 + substr(occurred, 21, 3), unixepoch(recorded) * 1000 + substr(recorded, 21, 3),
            time, lead, data, digest FROM events_4;
    """)  # noqa: S608 -- our words
    contexts: dict[tuple[Any, ...], int] = {}
    for n, *context in connection.execute("""
        SELECT n, sop_class, calling_ae, address, transfer_syntax, status, comment, study_instance_uid, patient_id, issuer,
            registry_position, alive_at, '', '', context FROM requests_4 ORDER BY n
    """):
        known = contexts.get(tuple(context))
        if known is None:
            if len(contexts) >= CONTEXTS_KEPT:
                contexts.clear()
            known = contexts[tuple(context)] = n  # unique is all that it has to be
            connection.execute(f"INSERT INTO contexts VALUES (?{', ?' * len(context)})", (n, *context))  # noqa: S608
        connection.execute(
            """INSERT INTO requests SELECT n, ?, arrival, alive_us, first_position, last_position, unhex(request_id), identity,
                association, message_id, entry_count, raw_length, raw_digest, NULL, raw FROM requests_4 WHERE n = ?""",
            (known, n),
        )
    connection.execute("""
        INSERT INTO arrivals SELECT n, context, arrival, alive_us FROM requests;
        DROP TABLE requests_4; DROP TABLE events_4; DROP TABLE seen_4; DROP TABLE delivered_4; DROP TABLE identities;
    """)


_CORRECTIONS: Final = "".join(f"ALTER TABLE proposals ADD COLUMN {name} {kind};" for name, kind in _SETTLED.items())
"""Layout 6: what became of proposals; beside it, in `_OF_LAYOUT_6`, where moved events stand, and more."""
MIGRATIONS: Final[dict[int, str | Migration]] = {
    1: _TOPICS_TO_HEAD,
    2: _SIGNS_OF_LIFE,
    3: _RETENTION,
    4: _few_pages,
    5: _CORRECTIONS + _OF_LAYOUT_6,
}
"""From layout n to n + 1: SQL, or a function of the connection, in the one transaction that brings a store up to date."""
REWRITTEN: Final = 5
"""Layout whose rows stand beside those of the older one until both are written."""
_SMALL_STEP_BYTES: Final = 16 << 20
"""Free disk that any step needs."""


def create(connection: Any) -> None:
    """Lay out an empty store with a new store id; in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(LAYOUT)
    connection.execute(
        "INSERT INTO head (one, position, digest, registry_position, requests, store_id, probe) VALUES (1, 0, ?, 0, 0, ?, 0)",
        (bytes(32), str(uuid.uuid4())),
    )
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


def bring_up_to_date(connection: Any, path: str, *, migrations: Mapping[int, str | Migration] = MIGRATIONS) -> None:
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
                step = migrations[n]
                if isinstance(step, str):
                    connection.execute(step)
                else:
                    step(connection)
            connection.execute(f"PRAGMA user_version = {newest}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _check_room(connection: Any, path: str, version: int, newest: int) -> None:
    """StoreNotOpened where the disk does not take what a migration writes beside the database until it is copied back."""
    needed = _SMALL_STEP_BYTES
    if version < REWRITTEN:  # once in the write-ahead log, once in the database
        needed += 2 * connection.execute("PRAGMA page_count").get * connection.execute("PRAGMA page_size").get
    free = shutil.disk_usage(Path(path).parent).free
    if free < needed:
        raise StoreNotOpened(
            f"{path} has layout {version}: bringing it to layout {newest} needs {needed >> 20} MiB of free disk, "
            f"there are {free >> 20} MiB"
        )


def head_of(connection: Any) -> StoreHead:
    """The head row of a store."""
    return StoreHead(*connection.execute(f"SELECT {', '.join(StoreHead._fields)} FROM head").fetchall()[0])  # noqa: S608


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
