"""What must be found again by its content: identities of requests, and entries by Observation UID or as near duplicates.

Rows of table `seen`. They follow from the requests, whose rows hold the keys, so a commit does not write them: those of the newest
requests are in memory, and go to the table many at a time. At start they are made again from the requests that the table does not
know yet. Most keys begin with the time that the content states, so that what comes at one time lies side by side.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any, Final, NamedTuple, Self

import apsw

from plscp.digests import sha256
from plscp.store.connections import insert
from plscp.store.port import RequestRecord
from plscp.store.schema import TIME_BYTES

_KEY_BYTES: Final = 16
_TIMED_BYTES: Final = TIME_BYTES + _KEY_BYTES
_NO_TIME: Final = bytes(TIME_BYTES)
_DIGITS: Final = re.compile(r"[0-9]{2}([0-9]{1,12})")
MOST_ROWS: Final = 4096
"""In memory, and requests that were not looked through; then they are written."""
_FIND: Final = "SELECT s.key, s.first, s.other, s.mark FROM carray(?) k CROSS JOIN seen s ON s.key = k.value"
_TAIL: Final = """
SELECT n, identity, keys, first_position FROM requests WHERE n > (SELECT indexed FROM head) AND keys IS NOT NULL ORDER BY n
"""
_ARRIVALS: Final = """
INSERT INTO arrivals SELECT n, context, arrival, alive_us FROM requests WHERE n > (SELECT indexed FROM head)
"""


class Seen(NamedTuple):
    """Where something was seen.

    Attributes:
        first: of an identity the number of its first accepted request; of an entry the position of the first with this key.
        other: of an identity the number of its latest accepted request; of near duplicates the first position from a request
            of another identity, or 0.
        mark: of near duplicates the first 8 bytes of the identity of the request that `first` is of.
    """

    first: int
    other: int = 0
    mark: bytes = b""


class EntryKeys(NamedTuple):
    """Under which an entry is remembered; parts of a SHA-256, so nothing a device wrote decides a key's length.

    Attributes:
        near_duplicate: time, then (calling AE title, near_duplicate_key).
        observation: (calling AE title, Observation UID), or empty where the entry has none. No time: it is known whatever else changed.
        exact: (calling AE title, Observation UID, content), or empty.
    """

    near_duplicate: bytes
    observation: bytes
    exact: bytes


class Keys(NamedTuple):
    """Under which a request is remembered: time and identity; and those of its entries, in order."""

    identity: bytes
    entries: Sequence[EntryKeys]

    def packed(self) -> bytes:
        """As the request's row holds them."""
        return self.identity + b"".join(
            b"%c%b%b%b" % (len(keys.exact), keys.near_duplicate, keys.observation, keys.exact) for keys in self.entries
        )

    @classmethod
    def unpacked(cls, held: bytes) -> Self:
        """Out of a request's row."""
        at, entries = _TIMED_BYTES, []
        while at < len(held):
            width, alike = held[at], at + 1
            observation = alike + _TIMED_BYTES
            exact, at = observation + width, observation + 2 * width
            entries.append(EntryKeys(held[alike:observation], held[observation:exact], held[exact:at]))
        return cls(held[:_TIMED_BYTES], entries)


def time_of(dated: str) -> bytes:
    """How keys begin: YYMMDDHHMMSS of a DateTime (DT) as it was sent, two digits a byte; zeros for what is not there."""
    found = _DIGITS.match(dated)
    return bytes.fromhex(found[1].ljust(2 * TIME_BYTES, "0")) if found else _NO_TIME


def keys_of(request: RequestRecord) -> Keys:
    """The keys of a request and of all its entries."""
    sender = request.calling_ae.encode()
    head = len(sender).to_bytes(2) + sender
    entries = []
    for entry in request.entries:
        observation = exact = b""
        if entry.observation_uid:
            observation = sha256(b"o" + head + entry.observation_uid.encode())[:_KEY_BYTES]
            exact = sha256(b"e" + observation + entry.content)[:_KEY_BYTES]
        alike = time_of(entry.dated) + sha256(b"l" + head + entry.near_duplicate_key)[:_KEY_BYTES]
        entries.append(EntryKeys(alike, observation, exact))
    return Keys(identity_key(request.identity, request.dated), entries)


def identity_key(identity: bytes, dated: str) -> bytes:
    """The key of a request's identity, with the first DateTime that its content states (DT)."""
    return time_of(dated) + identity[:_KEY_BYTES]


def note_entry(
    before: Mapping[bytes, Seen], rows: dict[bytes, Seen], keys: EntryKeys, position: int, mark: bytes
) -> None:
    """Remember an entry that is added.

    Args:
        before: as it was before its request.
        rows: what its request has added and changed so far.
    """
    if keys.exact:
        rows[keys.exact] = Seen(position)
        if keys.observation not in before:
            rows.setdefault(keys.observation, Seen(position))
    like = before.get(keys.near_duplicate)
    if like is None:
        rows.setdefault(keys.near_duplicate, Seen(position, 0, mark))
    elif not like.other and like.mark != mark:
        rows.setdefault(keys.near_duplicate, like._replace(other=position))


def note_request(before: Mapping[bytes, Seen], rows: dict[bytes, Seen], identity: bytes, n: int) -> None:
    """Remember an accepted request by its key; arguments as of `note_entry`."""
    first = before.get(identity)
    rows[identity] = Seen(first.first if first else n, n)


def mark_of(identity: bytes) -> bytes:
    """What tells requests of other identities apart."""
    return identity[:8]


class Index:
    """The rows, in memory and in the table; used by the writer's thread only."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows: dict[bytes, Seen] = {}
        self._upto: int = connection.execute("SELECT indexed FROM head").get
        oldest = connection.execute("SELECT min(key) FROM seen").get
        self._older_layout = oldest is not None and oldest.startswith(_NO_TIME)
        for n, identity, held, position in connection.execute(_TAIL).fetchall():
            request = Keys.unpacked(held)
            before = self.find([request])
            rows: dict[bytes, Seen] = {}
            note_request(before, rows, request.identity, n)
            for at, keys in enumerate(request.entries, position):
                note_entry(before, rows, keys, at, mark_of(identity))
            self._rows |= rows

    def find(self, requests: Iterable[Keys], identities: Iterable[bytes] = ()) -> dict[bytes, Seen]:
        """What is known of the keys of requests, and of further identities.

        One that an older layout made without a time is found under the key with one.
        """
        every = (each for keys in requests for each in (keys.identity, *chain.from_iterable(keys.entries)) if each)
        keys = list(dict.fromkeys(chain(every, identities)))
        found = {key: row for key in keys if (row := self._rows.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        found |= self._stored(missing)
        if self._older_layout:
            timeless = {
                _NO_TIME + key[TIME_BYTES:]: key for key in missing if len(key) == _TIMED_BYTES and key not in found
            }
            found |= {timeless[key]: row for key, row in self._stored([*timeless]).items()}
        return found

    def _stored(self, keys: Sequence[bytes]) -> dict[bytes, Seen]:
        if not keys:
            return {}
        return {key: Seen(*row) for key, *row in self._connection.execute(_FIND, (apsw.carray(tuple(keys)),))}

    def add(self, rows: Mapping[bytes, Seen]) -> None:
        """Take rows of requests that are committed."""
        self._rows |= rows

    def write_if_due(self, upto: int, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        """Write what is in memory, of requests up to this number, which is the last.

        Also for the sake of requests without new keys, refused ones, which a start would read again.
        """
        if max(len(self._rows), upto - self._upto) < MOST_ROWS:
            return
        with transaction():
            rows = sorted((key, *row) for key, row in self._rows.items())
            insert(self._connection, "INSERT OR REPLACE INTO seen", rows)
            self._connection.execute(_ARRIVALS)
            self._connection.execute("UPDATE head SET indexed = ?", (upto,))
        self._rows.clear()
        self._upto = upto
