"""What other clients use: `decode` on what they have read, without Kafka; and what importing it brings along."""

import subprocess
import sys
from typing import Any

import pytest

from plscp import consumer
from plscp.consumer import Event, Unreadable, decode
from plscp.records.parts import PatientRecord
from tests.consumer.writing import NOON, OWN, PATIENT, Written, barrier, patient

SOMEWHERE: dict[str, Any] = {"topic": "t", "partition": 3, "offset": 17}


def decoded(written: Written) -> Event | Unreadable | None:
    """As read at some place."""
    return decode(written.headers, written.key, written.value, **SOMEWHERE)


def test_an_event_is_typed_and_says_where_it_was_read() -> None:
    found = decoded(patient(7))
    assert isinstance(found, Event)
    assert (found.type, found.id, found.key, found.time) == (PATIENT, "1-7", "HOSPITAL|4711", NOON)
    assert (found.topic, found.partition, found.offset, found.store, found.position) == ("t", 3, 17, OWN, 7)
    assert isinstance(found.data, PatientRecord)


def test_a_barrier_is_nothing() -> None:
    assert decoded(barrier()) is None


@pytest.mark.parametrize("headers", [None, []])
def test_a_record_without_headers_is_no_event(headers: list[tuple[str, bytes | None]] | None) -> None:
    """Some clients say None."""
    found = decode(headers, b"k", b"v")
    assert isinstance(found, Unreadable)
    assert (found.reason, found.headers) == ("no header ce_type, ce_id, store", ())
    assert (found.topic, found.partition, found.offset, found.store, found.position) == ("", -1, -1, "", 0)


def test_what_cannot_be_read_says_its_position_where_it_has_one() -> None:
    """So that a repeat of it is none the less known as one."""
    found = decoded(patient(7)._replace(value=b"{"))
    assert isinstance(found, Unreadable)
    assert (found.store, found.position) == (OWN, 7)
    written = patient(7)
    elsewhere = decoded(written._replace(headers=[each for each in written.headers if each[0] != "position"]))
    assert isinstance(elsewhere, Unreadable)
    assert (elsewhere.store, elsewhere.position) == ("", 0)


LOADED = """
import sys, plscp.consumer as consumer
found = set(sys.modules)
consumer.{name}
print(*sorted(found), "|", *sorted(set(sys.modules) - found))
"""


def loaded(name: str) -> tuple[set[str], set[str]]:
    """Modules that importing the package loads in a process of its own, and that asking it for a name loads then."""
    ended = subprocess.run(
        [sys.executable, "-c", LOADED.format(name=name)], capture_output=True, text=True, check=True, timeout=120
    )
    first, _, then = ended.stdout.partition("|")
    return set(first.split()), set(then.split())


def rooms(modules: set[str]) -> set[str]:
    """The rooms of plscp among them."""
    return {name.split(".")[1] for name in modules if name.startswith("plscp.")}


def test_its_pure_parts_bring_neither_server_nor_kafka() -> None:
    """Only what a record's types are made of."""
    modules, then = loaded("decode")
    assert rooms(modules) == {
        *("consumer", "content", "digests", "errors", "findings", "matching", "records", "statuses", "templates")
    }
    assert not {"kafka", "pynetdicom", "apsw", "sqlite3", "httpx", "starlette", "uvicorn", "structlog"} & modules
    assert then == set()


def test_kafka_is_loaded_with_what_reads_from_it() -> None:
    modules, then = loaded("consume")
    assert "kafka" not in modules
    assert "kafka" in then
    assert rooms(then) == {"consumer", "relay"}


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'consumer'"):
        _ = consumer.consumer
