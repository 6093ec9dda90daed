"""Whether files have changed: for settings, certificates and secrets that are exchanged while the server runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

Stamp = tuple[int, int, int, int]


class Files:
    """Files that are looked at again and again, through symlinks: whether they have changed, and do so no more.

    Editors and copies write in steps: a file counts as changed once two looks have found the same.

    Args:
        names: gives the files' names.
        known: whether they are read after this; else they may have changed since they were, and count as changed at first.
    """

    def __init__(self, names: Callable[[], Sequence[str]], *, known: bool = True) -> None:
        self._names = names
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

    def _stamps(self) -> tuple[tuple[str, ...], tuple[Stamp | None, ...]]:
        names = tuple(self._names())
        return names, tuple(map(stamp, names))


def stamp(name: str) -> Stamp | None:
    """What changes when a file does; None where it is not there."""
    try:
        state = Path(name).stat()
    except (OSError, ValueError):
        return None
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino
