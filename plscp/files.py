"""Whether files have changed: for settings, certificates and secrets that are exchanged while the server runs. TOML files. And a lock."""

import fcntl
import math
import os
import time
import tomllib
from pathlib import Path
from typing import Any, Final, Self

_TRY_SECONDS: Final = 0.05
"""Between two tries to take a lock that another process has."""

Stamp = tuple[int, int, int, int]


class Files:
    """Files that are looked at again and again, through symlinks: whether they have changed, and do so no more.

    Editors and copies write in steps: a file counts as changed once two looks have found the same.

    Args:
        names: of the files; None: there is none.
        known: whether they are read after this; else they may have changed since they were, and count as changed at first.
    """

    def __init__(self, *names: str | None, known: bool = True) -> None:
        self._names = [name for name in names if name]
        self._seen = self._stamps()
        self._used = self._seen if known else None

    def look(self) -> bool:
        """Whether they are other ones than when this was last True, or at first. To be called every second or so."""
        stamps = self._stamps()
        settled, self._seen = stamps == self._seen, stamps
        if not settled or stamps == self._used:
            return False
        self._used = stamps
        return True

    def _stamps(self) -> list[Stamp | None]:
        return list(map(stamp, self._names))


def stamp(name: str) -> Stamp | None:
    """What changes when a file does; None where it is not there."""
    try:
        state = Path(name).stat()
    except (OSError, ValueError):
        return None
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as nested tables, with a byte order mark or without. Raises ValueError: one line says why it cannot be read."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        said = error.strerror or str(error)
    except UnicodeDecodeError:
        said = "is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        said = " ".join(str(error).split())
    except (ValueError, RecursionError):
        said = "holds a number with too many digits, or tables or lists nested too deeply"
    raise ValueError(said)


def why_unusable(error: Exception) -> str:
    """Why a file of TLS cannot be used: the system's words, or OpenSSL's reason; what OpenSSL says beside that is not for people."""
    if hasattr(error, "reason"):
        return (error.reason or "").lower().replace("_", " ") or "cannot be used"
    return getattr(error, "strerror", None) or "cannot be used"


class LockFile:
    """A file that one process has at a time: from `take` until `release` or its end, however that comes. It holds the process's id.

    The file stays: taking away a locked file would let two processes lock two different files of the same name.
    As a context manager it waits, for as long as it takes. What cannot be opened is an OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._descriptor = path, -1

    def take(self, *, patience: float = 0.0) -> bool:
        """Lock the file, which is made for its owner alone where it is missing; whether that came about within so many seconds."""
        if self._descriptor >= 0:
            return True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(descriptor)
                    return False
                time.sleep(_TRY_SECONDS)
            else:
                break
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return True

    @property
    def holder(self) -> str:
        """The id of the process that has it, or had it last; empty where none is known."""
        return self.path.read_bytes()[:20].decode("ascii", "replace").strip()

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        self.take(patience=math.inf)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
