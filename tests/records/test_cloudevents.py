"""The CloudEvents SDK reads the headers that the relay writes (Kafka protocol binding, binary content mode)."""

import json
from datetime import datetime

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat

from plscp.records.examples import as_json, examples
from plscp.records.parts import BARRIER
from plscp.relay.producer import Envelope
from plscp.store.relay_view import Record

EXAMPLES = [(kind, name, as_json(value)) for kind, name, value in examples() if kind != BARRIER]
AT = "2026-03-01T14:30:00.640Z"


@pytest.mark.parametrize(("kind", "name", "value"), EXAMPLES, ids=[f"{k}-{n}" for k, n, _ in EXAMPLES])
def test_a_record_is_an_event_of_its_type(kind: str, name: str, value: object) -> None:
    """With its attributes, and the whole value as data."""
    written = json.dumps(value).encode()
    record = Record(42, "t", "1.2.3", kind, f"{name}-0", "1.2.3", AT, written)
    event = from_binary_event(KafkaMessage(dict(Envelope("6f1c").headers(record)), b"1.2.3", written), JSONFormat())
    assert (event.get_specversion(), event.get_id(), event.get_type()) == ("1.0", f"{name}-0", kind)
    assert (event.get_source(), event.get_subject()) == ("/plscp/6f1c", "1.2.3")
    assert event.get_time() == datetime.fromisoformat(AT)
    assert (event.get_dataschema(), event.get_datacontenttype()) == (f"urn:plscp:schema:{kind}", "application/json")
    assert event.get_data() == value


def test_the_barrier_is_an_event() -> None:
    """It is about nothing; where there is no time, the SDK takes its own."""
    event = from_binary_event(
        KafkaMessage(dict(Envelope("6f1c").barrier("r", None)), None, b'{"store":"6f1c"}'), JSONFormat()
    )
    assert (event.get_type(), event.get_subject()) == (BARRIER, None)
