"""The CloudEvents envelope of a record (binary mode on Kafka)."""

from typing import TYPE_CHECKING, Final

from plscp.records.parts import BARRIER, PARTITIONS, POSITION, STORE

if TYPE_CHECKING:  # consumers read headers without a store
    from plscp.relay.cursor import Partitions
    from plscp.store.relay_view import Record

Headers = list[tuple[str, bytes]]

JSON: Final = b"application/json"
REDUCED: Final = ("reduced", b"too-large")

_OVERHEAD: Final = 61 + 5 + 5 * 5
"""Bytes of a batch's head, and at most of a record's lengths and counters."""
_PER_HEADER: Final = 10


class Envelope:
    """Makes headers for the records of one store."""

    def __init__(self, store_id: str) -> None:
        self._store = (STORE, store_id.encode())
        self._source = ("ce_source", f"/plscp/{store_id}".encode())
        self._types: dict[str, Headers] = {}

    def headers(self, record: "Record") -> Headers:
        """The headers of a record; a list of its own."""
        position, _, _, kind, event_id, subject, occurred, _ = record
        made = self._fixed(kind).copy()
        made.append(("ce_id", event_id.encode()))
        if subject:
            made.append(("ce_subject", subject.encode()))
        if occurred:
            made.append(("ce_time", occurred.encode()))
        made.append((POSITION, b"%d" % position))
        return made

    def barrier(self, run: str, partitions: "Partitions | None") -> Headers:
        """The headers of a barrier: no position; consumers skip it.

        Args:
            run: what makes this recovery different from others.
            partitions: said where it is known.
        """
        said = [] if partitions is None else [(PARTITIONS, str(partitions).encode())]
        return [*self._fixed(BARRIER), ("ce_id", run.encode()), *said]

    def _fixed(self, kind: str) -> Headers:
        found = self._types.get(kind)
        if found is None:
            found = self._types[kind] = [
                ("ce_specversion", b"1.0"),
                ("ce_type", kind.encode()),
                self._source,
                ("ce_dataschema", f"urn:plscp:schema:{kind}".encode()),
                ("content-type", JSON),
                self._store,
            ]
        return found


def size(key: bytes, value: bytes, headers: Headers) -> int:
    """At least the bytes that a batch of this one record takes."""
    return _OVERHEAD + len(key) + len(value) + sum(_PER_HEADER + len(name) + len(content) for name, content in headers)
