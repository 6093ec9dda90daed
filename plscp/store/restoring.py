"""A store put back from a backup: another store, with an id of its own, that knows from which one it comes and up to where.

What the former store published after the backup stays on Kafka under its id, and is said; nothing is ever written over it. See
docs/decisions/0031-a-restored-store-is-another-store.md.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from plscp.errors import CommandError, StoreError
from plscp.store import schema
from plscp.store.backup import PART, Progress, check, explained, head_of, nobody_looks, sync_folder
from plscp.store.lockfile import LockFile
from plscp.store.private import BESIDE, FILE_MODE, private_folder
from plscp.store.readers import open_read_only

_COPY_BYTES: Final = 4 << 20


class Restored(NamedTuple):
    """A store that was put back.

    Attributes:
        store: its new id.
        restored_from: id of the store that the backup was made of.
        position: of its head, which was the backup's.
        moved_aside: where the store that stood there is now, or empty.
    """

    file: str
    store: str
    restored_from: str
    position: int
    moved_aside: str
    seconds: float


def restore(
    backup: Path,
    path: Path,
    *,
    force: bool = False,
    progress: Progress = nobody_looks,
    companions: Sequence[Path] = (),
    beside: Callable[[Any, str], None] = lambda _connection, _store_id: None,
) -> Restored:
    """Make a store out of a backup.

    Args:
        path: where; its folder is made when it is missing.
        force: move a store that stands there aside.
        companions: other databases of that store, to be moved aside with it.
        beside: takes what else the backup holds out of it, given a connection and the new id.

    Raises:
        CommandError: one line why not; what stood there is as it was.
        StoreNotOpened: a server has the store open.
    """
    began = time.monotonic()
    if not backup.is_file():
        raise CommandError(f"{backup}: there is no such file")
    part = path.with_name(path.name + PART)
    try:
        private_folder(path.parent)
        lock = LockFile(path.with_name(path.name + ".lock"))
        lock.take()
    except BaseException as error:
        said = explained(error, path)
        raise error if said is None else said from None
    try:
        if path.exists() and not force:
            raise CommandError(f"{path}: a store stands there: --force moves it aside")
        _copy(backup, part, progress)
        store_id, old_id, position = _made_another(part, str(backup), progress, beside, standing=_lineage(path))
        with part.open("rb") as made:
            os.fsync(made.fileno())
        stood = path.exists()
        aside = _move_aside([path, *companions])
        for companion in companions:
            fresh = companion.with_name(companion.name + PART)
            fresh.with_name(fresh.name + ".lock").unlink(missing_ok=True)
            if fresh.exists():
                fresh.replace(companion)
        part.rename(path)
        sync_folder(path.parent)
    except BaseException as error:
        for file in (path, *companions):
            for tail in ("", "-journal", "-wal", "-shm", ".lock"):
                file.with_name(file.name + PART + tail).unlink(missing_ok=True)
        said = explained(error, path, content=backup)
        if said is None:
            raise
        raise said from error
    finally:
        lock.release()
    return Restored(str(path), store_id, old_id, position, aside if stood else "", round(time.monotonic() - began, 3))


def _copy(backup: Path, part: Path, progress: Progress) -> None:
    size = backup.stat().st_size
    free = shutil.disk_usage(part.parent).free
    if free < size:
        raise CommandError(f"{part.parent} has {free >> 20} MiB free: the backup needs {size >> 20} MiB")
    part.unlink(missing_ok=True)
    done = 0
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with backup.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        while content := source.read(_COPY_BYTES):
            target.write(content)
            done += len(content)
            progress("copy", done, size)
        target.flush()
        os.fsync(target.fileno())


def _made_another(
    part: Path, name: str, progress: Progress, beside: Callable[[Any, str], None], *, standing: Mapping[str, int]
) -> tuple[str, str, int]:
    """Bring the copy up to date, check it, give it its new id; (new id, old id, position).

    Args:
        standing: the store that stands there and those that it was restored from, as `_lineage` tells them.
    """
    with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READWRITE)) as store:
        if not schema.layout_of(store, name):
            raise CommandError(f"{name}: an empty database, and no backup of a store")
        store.execute("PRAGMA journal_mode = DELETE").fetchall()
        schema.bring_up_to_date(store, str(part))
        head = head_of(store)
    check(part, head, progress, name=name)
    with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READWRITE)) as store:
        old_id = store.execute("SELECT store_id FROM head").get
        said = store.execute("SELECT ancestors FROM head").get
        new_id = str(uuid.uuid4())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        former = json.loads(said)
        own = {each["store"]: each["position"] for each in former} | {old_id: head.position}
        siblings = [{"store": each, "position": upto, "restored": now} for each, upto in _shared(own, standing).items()]
        lineage = [*former, *siblings, {"store": old_id, "position": head.position, "restored": now}]
        beside(store, new_id)
        store.execute("UPDATE head SET store_id = ?, ancestors = ?", (new_id, json.dumps(lineage)))
    return new_id, old_id, head.position


def _lineage(path: Path) -> dict[str, int]:
    """A store and those that it was restored from, each with the position up to which the store holds its events.

    Nothing where no store can be read: a restore is what people do about it.
    """
    if not path.exists():
        return {}
    with suppress(apsw.Error, OSError, ValueError, StoreError), closing(open_read_only(path)) as connection:
        store_id, position = connection.execute("SELECT store_id, position FROM head").fetchall()[0]
        return {**ancestors(connection), store_id: position}
    return {}


def _shared(own: Mapping[str, int], standing: Mapping[str, int]) -> dict[str, int]:
    """Of a store that was itself restored, and is put away for the same backup or another of its line: what counts of its events.

    Up to where both have the same former store's events, theirs are the same, and it may have published them meanwhile.
    """
    common = max((min(upto, own[store]) for store, upto in standing.items() if store in own), default=0)
    return {store: min(upto, common) for store, upto in standing.items() if store not in own and common}


def _move_aside(files: Sequence[Path]) -> str:
    """Move databases out of the way, with what SQLite keeps beside them; where the first of them is now.

    A write-ahead log that somebody left without its database goes too: SQLite would take it for the new store's.
    """
    stamp = datetime.now(UTC).strftime(".replaced-%Y%m%dT%H%M%SZ")
    suffixes = (f"{stamp}-{number}" if number else stamp for number in count())
    suffix = next(
        suffix for suffix in suffixes if not any(file.with_name(file.name + suffix).exists() for file in files)
    )
    for file in files:
        for tail in reversed(BESIDE):  # the database last: until then it is whole where it was
            there = file.with_name(file.name + tail)
            if there.exists():
                there.rename(file.with_name(file.name + suffix + tail))
    return str(files[0].with_name(files[0].name + suffix))


def ancestors(connection: Any) -> dict[str, int]:
    """The stores that a store was restored from, each with the position up to which this one holds its events; oldest first."""
    known = connection.execute("SELECT count(*) FROM pragma_table_info('head') WHERE name = 'ancestors'").get
    if not known:  # a layout from before there were any
        return {}
    said = json.loads(connection.execute("SELECT ancestors FROM head").get)
    return {each["store"]: each["position"] for each in said}


def restored_from(path: Path) -> dict[str, int]:
    """As `ancestors`, of the store in a file."""
    with closing(open_read_only(path)) as connection:
        return ancestors(connection)
