"""Files that hold patients' data are their owner's alone: 0600, in a folder of 0700.

SQLite gives a write-ahead log and its index the mode of the database, so the database has its own before SQLite opens it.
"""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from plscp.logs import log

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077
BESIDE: Final = ("", "-wal", "-shm")
"""What SQLite keeps beside a database."""


def private_folder(folder: Path) -> None:
    """Make a folder for its owner alone; one that is there keeps its mode, and is warned of where others may look into it.

    Raises:
        OSError: it cannot be made.
    """
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
    """Make a file for its owner alone where it is missing, else take away what others may do with it.

    Raises:
        OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    narrow(path)


def private_database(path: Path) -> None:
    """The same for a database and what SQLite keeps beside it.

    Raises:
        OSError: it cannot be made.
    """
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
        return
    except OSError as error:
        why = f"others may read the file, and that cannot be changed: {error.strerror}"
        log.warning("store-permissions", path=str(path), mode=f"{mode:04o}", why=why)
