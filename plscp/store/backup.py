"""A backup, and a store put back from it.

A backup is one snapshot of the store, copied page by page while the server goes on, held against itself before it counts. The copy
is made from one read transaction, so a writer that commits meanwhile never makes it begin anew; what it commits waits in the
write-ahead log until the copy is done. What is put back is another store, with an id of its own, that knows from which one it comes
and up to where: what the former store published after the backup stays on Kafka under its id, and is said; nothing is ever written
over it. See docs/decisions/0031-a-restored-store-is-another-store.md.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple

import apsw

from plscp.errors import CommandError, StoreError
from plscp.store import schema
from plscp.store.chain import first_broken_position
from plscp.store.connections import open_read_only
from plscp.store.files import BESIDE, FILE_MODE, locked, private_folder, sync_folder
from plscp.store.schema import StoreHead, ancestors, head_of

STEP_PAGES: Final = 1024
"""Pages copied between two looks at the progress, and synced: one sync of everything at the end would hold up the server's own."""
_COPY_BYTES: Final = 4 << 20
PART: Final = ".part"
"""Ends the name of a file that is not whole yet."""

Progress = Callable[[Literal["copy", "check"], int, int], None]
"""Told what is going on, how much of it is done, and how much there is."""


class Backup(NamedTuple):
    """A backup that was made and checked: its file, and the id and head of the store then."""

    file: str
    store: str
    position: int
    registry_position: int
    bytes: int
    sha256: str
    seconds: float


def back_up(
    path: Path,
    target: Path,
    *,
    progress: Progress = lambda *_: None,
    leave: int = 0,
    beside: Callable[[Any], None] = lambda _: None,
) -> Backup:
    """Copy a store, served or not, to a file that is not there yet.

    Args:
        leave: bytes that must stay free on the store's own disk.
        beside: writes what else the backup holds into it, given a connection.

    Raises:
        CommandError: one line why not; nothing is left of the target.
    """
    began = time.monotonic()
    if target.exists():
        raise CommandError(f"{target} is there already: a backup overwrites nothing")
    part = target.with_name(target.name + PART)
    if not path.exists():
        raise CommandError(f"there is no store at {path}", 3)
    with _on_one_line(target, target), ExitStack() as afterwards:
        afterwards.callback(part.unlink, missing_ok=True)  # it is no more where it was renamed
        with closing(open_read_only(path)) as source:
            version = schema.layout_of(source, str(path))
            if version != schema.VERSION:
                raise CommandError(
                    f"{path} has layout {version}, this plscp backs up layout {schema.VERSION}: start the server once, which "
                    "brings it up to date, or copy the file while nothing serves it"
                )
            source.execute("BEGIN")  # everything below sees the store as it is now
            head, store_id = head_of(source), source.execute("SELECT store_id FROM head").get
            _check_room(source, path, target, leave)
            _copy(source, part, progress, beside)
        check(part, head, progress)
        with part.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        size = part.stat().st_size
        part.rename(target)
        sync_folder(target.parent)
    return Backup(
        str(target), store_id, head.position, head.registry_position, size, digest, round(time.monotonic() - began, 3)
    )


def _check_room(source: Any, path: Path, target: Path, leave: int) -> None:
    needed = source.execute("PRAGMA page_count").get * source.execute("PRAGMA page_size").get
    free = shutil.disk_usage(target.parent).free
    same = path.parent.stat().st_dev == target.parent.stat().st_dev
    if free < needed + (leave if same else 0):
        kept = f" and the server's own {leave >> 20} MiB" if same and leave else ""
        raise CommandError(f"{target.parent} has {free >> 20} MiB free: the backup needs {needed >> 20} MiB{kept}")


def _copy(source: Any, part: Path, progress: Progress, beside: Callable[[Any], None]) -> None:
    with _new_file(part) as file:
        with closing(_read_write(part)) as copy:
            copy.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall()
            with copy.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(STEP_PAGES)
                    os.fdatasync(file.fileno())
                    progress("copy", copying.page_count - copying.remaining, copying.page_count)
            source.execute("COMMIT")
            # One file that nothing stands beside: the store's own mode came with its first page.
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            beside(copy)
        os.fsync(file.fileno())


def _new_file(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb")


def _read_write(path: Path) -> Any:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)


def check(file: Path, head: StoreHead, progress: Progress = lambda *_: None, *, name: str = "") -> None:
    """Hold a copy of a store, called `name` in what is said, against itself and the head that it should have; CommandError: it is not whole."""
    name = name or str(file)
    with closing(open_read_only(file)) as copy:
        found = head_of(copy)
        if found != head:
            raise CommandError(f"{name} ends at position {found.position} and not at {head.position}")
        said = copy.execute("PRAGMA quick_check(1)").get
        if said != "ok":
            raise CommandError(f"{name} is damaged: {' '.join(str(said).split())}")
        broken = first_broken_position(copy, progress=lambda done: progress("check", done, head.position))
        if broken is not None:
            raise CommandError(f"{name}: the chain of digests is broken at position {broken}")


@contextmanager
def _on_one_line(target: Path, content: Path) -> Iterator[None]:
    """What goes wrong with a file as a CommandError of one line, writing `target` from `content`."""
    try:
        yield
    except StoreError as error:
        raise CommandError(str(error), 3) from error
    except apsw.FullError as error:
        raise CommandError(f"{target}: no space left on the disk") from error
    except apsw.NotADBError as error:
        raise CommandError(f"{content}: no plscp store, and no database at all") from error
    except apsw.Error as error:
        raise CommandError(f"{content}: {type(error).__name__}: {error}") from error
    except OSError as error:
        raise CommandError(f"{error.filename or target}: {error.strerror or error}") from error


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
    progress: Progress = lambda *_: None,
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
        raise CommandError(f"{backup}: there is no such file", 2)
    part = path.with_name(path.name + PART)
    with _on_one_line(path, path):
        private_folder(path.parent)
        lock = locked(path)
    with _on_one_line(path, backup), ExitStack() as afterwards:
        afterwards.callback(lock.release)
        for file in (path, *companions):
            for tail in ("", "-journal", "-wal", "-shm", ".lock"):
                afterwards.callback(file.with_name(file.name + PART + tail).unlink, missing_ok=True)
        if path.exists() and not force:
            raise CommandError(f"{path}: a store stands there: --force moves it aside")
        _copy_in(backup, part, progress)
        store_id, old_id, position = _made_another(part, str(backup), progress, beside, standing=_lineage(path))
        with part.open("rb") as made:
            os.fsync(made.fileno())
        stood = path.exists()
        aside = _move_aside([path, *companions])
        for companion in companions:
            fresh = companion.with_name(companion.name + PART)
            if fresh.exists():
                fresh.replace(companion)
        part.rename(path)
        sync_folder(path.parent)
    return Restored(str(path), store_id, old_id, position, aside if stood else "", round(time.monotonic() - began, 3))


def _copy_in(backup: Path, part: Path, progress: Progress) -> None:
    size = backup.stat().st_size
    free = shutil.disk_usage(part.parent).free
    if free < size:
        raise CommandError(f"{part.parent} has {free >> 20} MiB free: the backup needs {size >> 20} MiB")
    done = 0
    with backup.open("rb") as source, _new_file(part) as target:
        while content := source.read(_COPY_BYTES):
            target.write(content)
            done += len(content)
            progress("copy", done, size)
        target.flush()
        os.fsync(target.fileno())


def _made_another(
    part: Path, name: str, progress: Progress, beside: Callable[[Any, str], None], *, standing: Mapping[str, int]
) -> tuple[str, str, int]:
    """Bring the copy up to date, check it, give it its new id; (new id, old id, position)."""
    with closing(_read_write(part)) as store:
        if not schema.layout_of(store, name):
            raise CommandError(f"{name}: an empty database, and no backup of a store")
        store.execute("PRAGMA journal_mode = DELETE").fetchall()
        schema.bring_up_to_date(store, str(part))
        head = head_of(store)
    check(part, head, progress, name=name)
    with closing(_read_write(part)) as store:
        old_id, said = store.execute("SELECT store_id, ancestors FROM head").fetchone()
        new_id, now = str(uuid.uuid4()), datetime.now(UTC).isoformat(timespec="seconds")
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
    suffix = stamp = datetime.now(UTC).strftime(".replaced-%Y%m%dT%H%M%SZ")
    numbers = count(1)
    while any(file.with_name(file.name + suffix).exists() for file in files):
        suffix = f"{stamp}-{next(numbers)}"
    for file in files:
        for tail in reversed(BESIDE):  # the database last: until then it is whole where it was
            there = file.with_name(file.name + tail)
            if there.exists():
                there.rename(file.with_name(file.name + suffix + tail))
    return str(files[0].with_name(files[0].name + suffix))
