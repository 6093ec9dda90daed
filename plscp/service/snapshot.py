"""The registry as it was at a position, in a file beside the store: a start then applies only what came after it.

The file follows from the store, and nothing rests on it: where it is missing, or is not exactly what this server at this store with
these settings would have made, the registry is made from the store's changes. It holds pickles, since only these are read fast
enough. That is safe only because who can write the file can write the store: it has the store's permissions, its digest shows damage,
and nothing but values and classes of the registry is read from it.
"""

import hashlib
import os
import pickle
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from plscp import __version__
from plscp.errors import StoreError
from plscp.logs import log
from plscp.matching.registry import Registry
from plscp.store.files import FILE_MODE, narrow, sync_folder
from plscp.store.port import EventStore

FORM: Final = 1
"""Of what the registry's attributes hold: a change that leaves their names as they are gets the next number."""
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
MAGIC: Final = b"plscp registry snapshot\n"
_DIGEST_BYTES: Final = 32
_READ_BYTES: Final = 1 << 20
_FRAME_ITEMS: Final = 500
"""Items pickled in one piece, which nothing interrupts: 0.2 ms."""
_SPARE_BYTES: Final = 256 << 20
"""Free disk that the file never takes: the store's own needs come first."""
_LOOK_BYTES: Final = 8 << 20
"""Written between two looks at the free disk."""
PART: Final = ".part"

MadeWith = Mapping[str, Any]
"""The settings that what the registry holds depends on, as plain values."""


class Header(NamedTuple):
    """What a snapshot was made of, all of which must fit.

    Attributes:
        version: of plscp, and `FORM`.
        digest: of the chain of events, at `position`: the store's events up to there are those it was made from.
        names: of all that a registry holds.
    """

    version: str
    store_id: str
    position: int
    digest: bytes
    made_with: dict[str, Any]
    names: list[str]


class _Restricted(pickle.Unpickler):
    """Makes values and the registry's own classes; anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("plscp.matching.") or (module, name) in _VALUES:
            found = None if "." in name else super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a snapshot")


_VALUES: Final = {("datetime", "datetime"), ("datetime", "timedelta"), ("datetime", "timezone")}


class RegistrySnapshot:
    """The snapshot of one store's registry; its folder is the store's."""

    def __init__(self, path: Path, store: EventStore) -> None:
        self.path = path
        self._store = store

    # --- reading ---

    def read(self, registry: Registry, made_with: MadeWith, upto: int | None = None) -> bool:
        """Fill an empty registry; whether the snapshot was there and fits. Else it may be half filled, and is to be thrown away.

        One of a later position than `upto` does not fit. Raises StoreError.
        """
        try:
            with self.path.open("rb") as file:
                writable = os.fstat(file.fileno()).st_mode & _WRITABLE_BY_OTHERS
                narrow(self.path)
                why = "others may have written it" if writable else self._read(file, registry, made_with, upto)
        except FileNotFoundError:
            return False
        except StoreError:
            raise
        except Exception as error:  # whatever stands in the file
            why = f"{type(error).__name__}: {error}"
        if why and why is not _LATER:
            log.warning("registry-snapshot-unusable", why=why)
        return not why

    def _read(self, file: BinaryIO, registry: Registry, made_with: MadeWith, upto: int | None) -> str:
        """Why it does not fit, or nothing."""
        end = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
        made, left = hashlib.sha256(), end
        while left > 0 and (some := file.read(min(left, _READ_BYTES))):
            made.update(some)
            left -= len(some)
        if left or file.read() != made.digest():
            return "it is not whole, or was changed"
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            return "it is no snapshot"
        header = Header(*_Restricted(file).load())
        wanted = self._header(header.position, made_with, registry)
        for name, found, there in zip(Header._fields, header, wanted, strict=True):
            if found != there:
                return f"it was made with another {name.replace('_', ' ')}"
        if upto is not None and header.position > upto:
            return _LATER
        holders = {name: (holder, at) for name, holder, at in registry.state()}
        while file.tell() < end:
            name, value = _Restricted(file).load()
            holder, at = holders[name]
            if isinstance(holder.value(at), dict) and at not in holder.whole:
                holder.value(at).update(value)
            else:
                setattr(holder, at, value)
        return ""

    def _header(self, position: int, made_with: MadeWith, registry: Registry) -> Header:
        digest = self._store.digest(position) or b""
        names = [name for name, _, _ in registry.state()]
        return Header(f"{__version__} {FORM}", self._store.store_id, position, digest, dict(made_with), names)

    # --- writing ---

    def write(self, registry: Registry, made_with: MadeWith, pause: Callable[[float], object] = time.sleep) -> bool:
        """Write one of a registry that nobody changes meanwhile, in place of the one before; whether there was room for it.

        Takes seconds for millions of patients, most of which it pauses: nobody waits for it but who ends a server.

        Args:
            pause: called with the seconds that the last piece took, so that others come to their turn.

        Raises:
            OSError: it cannot be written. The one before stays, or none.
            StoreError: the store cannot be read.
        """
        part = self.path.with_name(self.path.name + PART)
        header = self._header(registry.position, made_with, registry)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
            with open(descriptor, "wb") as file:  # noqa: PTH123 -- by its descriptor
                os.fchmod(descriptor, FILE_MODE)
                whole = self._write(file, header, registry, pause)
                file.flush()
                os.fsync(descriptor)
            if whole:
                part.replace(self.path)
                sync_folder(self.path.parent)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return whole

    def _write(self, file: BinaryIO, header: Header, registry: Registry, pause: Callable[[float], object]) -> bool:
        made = hashlib.sha256(MAGIC)
        file.write(MAGIC)
        looked = -_LOOK_BYTES
        for piece in _pieces(header, registry):
            began = time.perf_counter()
            framed = pickle.dumps(piece, protocol=5)
            made.update(framed)
            file.write(framed)
            if file.tell() - looked >= _LOOK_BYTES:
                looked, free = file.tell(), self._store.disk_free()
                if free is not None and free < _SPARE_BYTES:
                    return False
            pause(time.perf_counter() - began)
        file.write(made.digest())
        return True


_LATER: Final = "it is of a later position"


def _pieces(header: Header, registry: Registry) -> Iterator[tuple[Any, ...]]:
    """The header, then each attribute of the registry, large dictionaries in parts."""
    yield tuple(header)
    for name, holder, at in registry.state():
        value = holder.value(at)
        if isinstance(value, Mapping) and at not in holder.whole:
            items = iter(value.items())
            while some := dict(islice(items, _FRAME_ITEMS)):
                yield name, some
        else:
            yield name, value
