"""Reads topics with plain kafka-python, independent of what plscp publishes and consumes with."""

import json
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition


class Read(NamedTuple):
    """One record of an own store, and as kafka-python gave it; barriers are left out."""

    topic: str
    partition: int
    offset: int
    key: str
    position: int
    headers: dict[str, str]
    value: dict[str, Any]
    raw: Any


def read_all(bootstrap: str, prefix: str, *, store: str = "") -> list[Read]:
    """Everything in the topics with a prefix, up to their ends at the start of the call, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False)
    try:
        names = sorted(name for name in consumer.topics() if name.startswith(prefix + "."))
        places = [TopicPartition(name, part) for name in names for part in consumer.partitions_for_topic(name) or ()]
        found: list[Read] = []
        if not places:
            return found
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        while any(consumer.position(place) < ends[place] for place in places):
            for place, records in consumer.poll(timeout_ms=200).items():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    if "position" not in headers or (store and headers.get("store") != store):
                        continue
                    key = record.key.decode() if record.key is not None else ""
                    value = json.loads(record.value)
                    position = int(headers["position"])
                    at = place.topic, place.partition, record.offset
                    found.append(Read(*at, key, position, headers, value, record))
        return found
    finally:
        consumer.close()
