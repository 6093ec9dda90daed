"""The folder where fetched components stay, and the lock that keeps two processes from fetching at once."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from plscp.errors import CommandError


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The first of $XDG_CACHE_HOME/plscp, ~/.cache/plscp and ./.cache that can be written; it is made.

    Raises:
        CommandError: none of them can.
    """
    given = os.environ if environ is None else environ
    candidates = [Path.cwd() / ".cache"]
    if home := given.get("HOME"):
        candidates.insert(0, Path(home) / ".cache" / "plscp")
    if cache := given.get("XDG_CACHE_HOME"):
        candidates.insert(0, Path(cache) / "plscp")
    for folder in candidates:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    raise CommandError(f"no folder to keep fetched files in: none of {', '.join(map(str, candidates))} can be written")


@contextlib.contextmanager
def locked(file: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock; it ends with the process, however that ends.

    Args:
        file: the lock file; made when missing, never removed.
        waiting: called once when another process holds it.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def put(content: Path, place: Path) -> None:
    """Move a finished file to its place so that a reader, or a crash, finds all of it or nothing."""
    with content.open("rb+") as handle:
        os.fsync(handle.fileno())
    content.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
