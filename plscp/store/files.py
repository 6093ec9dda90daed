"""A store's files: which they are, their owner's alone, locked while a server has them, synced.

They hold patients' data: 0600, in a folder of 0700. SQLite gives a write-ahead log and its index the mode of the database, so the
database has its own before SQLite opens it. What cannot be made or written is an OSError.
"""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from plscp.errors import ConfigError, StoreNotOpened
from plscp.files import LockFile
from plscp.logs import log

_URLS: Final = "sqlite:///relative/path or sqlite:////absolute/path"
FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077
BESIDE: Final = ("", "-wal", "-shm")
"""What SQLite keeps beside a database."""


def sqlite_path(url: str) -> Path:
    """The database file that a URL names; ConfigError where it names none."""
    scheme, separator, rest = url.partition("://")
    if scheme in {"postgresql", "postgres"}:
        raise ConfigError(f"[store] url: PostgreSQL comes with a later version; this one knows {_URLS}")
    if scheme != "sqlite" or not separator:
        raise ConfigError(f"[store] url names no store that plscp knows; it should look like {_URLS}")
    if not rest.startswith("/") or len(rest) < 2 or rest.endswith("/"):
        raise ConfigError(f"[store] url names no file; it should look like {_URLS}")
    return Path(unquote(rest[1:]))


def registry_snapshot(url: str) -> Path:
    """The file beside the store that a URL names for the snapshot of its registry, which may be deleted at any time."""
    path = sqlite_path(url)
    return path.with_name(path.name + ".registry")


def private_folder(folder: Path) -> None:
    """Make a folder for its owner alone; one that is there keeps its mode, and is warned of where others may look into it."""
    try:
        folder.mkdir(FOLDER_MODE, parents=True)
    except FileExistsError:
        if not folder.is_dir():
            raise
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & _OTHERS:
            log.warning(
                "store-permissions", path=str(folder), mode=f"{mode:04o}", why="others may look into the folder"
            )


def private_file(path: Path) -> None:
    """Make a file for its owner alone where it is missing, else take away what others may do with it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    narrow(path)


def private_database(path: Path) -> None:
    """The same for a database and what SQLite keeps beside it."""
    private_file(path)
    for tail in BESIDE[1:]:
        narrow(path.with_name(path.name + tail))


def narrow(path: Path) -> None:
    """Take away what others may do with a file, or say that it cannot be taken; a file that is not there is none's."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & _OTHERS:
            return
        path.chmod(mode & ~_OTHERS)
    except FileNotFoundError:
        pass
    except OSError as error:
        why = f"others may read the file, and that cannot be changed: {error.strerror}"
        log.warning("store-permissions", path=str(path), mode=f"{mode:04o}", why=why)


def sync_folder(folder: Path) -> None:
    """A new name is only safe once the folder that holds it is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def locked(path: Path) -> LockFile:
    """The lock of the one process that writes a store, taken; StoreNotOpened where another has it."""
    lock = LockFile(path.with_name(path.name + ".lock"))
    private_file(lock.path)
    if not lock.take():
        who = f" (process {lock.holder})" if lock.holder else ""
        raise StoreNotOpened(f"another server{who} has the store open: {lock.path} is locked")
    return lock
