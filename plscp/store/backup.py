"""A backup: one snapshot of the store copied page by page while the server goes on, held against itself before it counts.

The copy is made from one read transaction, so a writer that commits meanwhile never makes it begin anew; what it commits waits in
the write-ahead log until the copy is done. See docs/decisions/0031-a-restored-store-is-another-store.md.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import apsw

from plscp.errors import CommandError, StoreError
from plscp.store import queries, schema
from plscp.store.private import FILE_MODE
from plscp.store.readers import open_read_only
from plscp.store.rows import Head

STEP_PAGES: Final = 1024
"""Pages copied between two looks at the progress, and synced: one sync of everything at the end would hold up the server's own."""
PART: Final = ".part"
"""Ends the name of a file that is not whole yet."""

Progress = Callable[[Literal["copy", "check"], int, int], None]
"""Told what is going on, how much of it is done, and how much there is."""


class Backup(NamedTuple):
    """A backup that was made and checked.

    Attributes:
        store, position, registry_position: id and head of the store then.
        bytes, sha256: of the file.
    """

    file: str
    store: str
    position: int
    registry_position: int
    bytes: int
    sha256: str
    seconds: float


def nobody_looks(_what: str, _done: int, _whole: int) -> None:
    """A `Progress` for those who do not want to know."""


def back_up(
    path: Path,
    target: Path,
    *,
    progress: Progress = nobody_looks,
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
    try:
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
        digest = sha256_of(part)
        size = part.stat().st_size
        part.rename(target)
        sync_folder(target.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        said = explained(error, target)
        if said is None:
            raise
        raise said from error
    return Backup(
        str(target), store_id, head.position, head.registry_position, size, digest, round(time.monotonic() - began, 3)
    )


def _check_room(source: Any, path: Path, target: Path, leave: int) -> None:
    needed = source.execute("PRAGMA page_count").get * source.execute("PRAGMA page_size").get
    found = os.statvfs(target.parent)
    free = found.f_bavail * found.f_frsize
    same = path.parent.stat().st_dev == target.parent.stat().st_dev
    if free < needed + (leave if same else 0):
        kept = f" and the server's own {leave >> 20} MiB" if same and leave else ""
        raise CommandError(f"{target.parent} has {free >> 20} MiB free: the backup needs {needed >> 20} MiB{kept}")


def _copy(source: Any, part: Path, progress: Progress, beside: Callable[[Any], None]) -> None:
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READWRITE)) as copy:
            copy.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall()
            with copy.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(STEP_PAGES)
                    os.fdatasync(descriptor)
                    progress("copy", copying.page_count - copying.remaining, copying.page_count)
            source.execute("COMMIT")
            # One file that nothing stands beside: the store's own mode came with its first page.
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            beside(copy)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def head_of(connection: Any) -> Head:
    """The head row of a store."""
    return Head(*connection.execute("SELECT position, digest, registry_position, requests FROM head").fetchall()[0])


def check(file: Path, head: Head, progress: Progress = nobody_looks, *, name: str = "") -> None:
    """Hold a copy of a store against itself, and against the head that it should have.

    Args:
        name: what the file is called in the line that says what is wrong.

    Raises:
        CommandError: it is not whole.
    """
    name = name or str(file)
    with closing(open_read_only(file)) as copy:
        found = head_of(copy)
        if found != head:
            raise CommandError(f"{name} ends at position {found.position} and not at {head.position}")
        said = copy.execute("PRAGMA quick_check(1)").get
        if said != "ok":
            raise CommandError(f"{name} is damaged: {' '.join(str(said).split())}")
        broken = queries.first_broken_position(copy, progress=lambda done: progress("check", done, head.position))
        if broken is not None:
            raise CommandError(f"{name}: the chain of digests is broken at position {broken}")


def sha256_of(file: Path) -> str:
    """Digest of a file, in hex."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """A new name is only safe once the folder that holds it is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explained(error: BaseException, target: Path, *, content: Path | None = None) -> CommandError | None:
    """What went wrong on one line; None where it speaks for itself, or is no failure of a file.

    Args:
        target: what was being written.
        content: whose content was being read, where that is another file.
    """
    read = content or target
    if isinstance(error, StoreError):
        return CommandError(str(error), 3)
    if isinstance(error, apsw.FullError):
        return CommandError(f"{target}: no space left on the disk")
    if isinstance(error, apsw.NotADBError):
        return CommandError(f"{read}: no plscp store, and no database at all")
    if isinstance(error, apsw.Error):
        return CommandError(f"{read}: {type(error).__name__}: {error}")
    if isinstance(error, OSError):
        return CommandError(f"{error.filename or target}: {error.strerror or error}")
    return None
