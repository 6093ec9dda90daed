"""What a restored store's predecessor published after the backup: on Kafka, and in no store that goes on. It is named, for people."""

import json
from contextlib import closing
from typing import Any, NamedTuple, Self

from kafka import errors as kafka_errors

from plscp.errors import RelayError, Unreachable
from plscp.publish.cluster import Cluster, one_line
from plscp.publish.cursor import peek
from plscp.publish.envelope import POSITION, STORE
from plscp.publish.settings import RelaySettings
from plscp.publish.source import OpenSource
from plscp.publish.tail import Headers, Lineage, Reader


class Beyond(NamedTuple):
    """One record that Kafka holds and the restored store does not.

    Attributes:
        position: in the former store.
        device: calling AE title; empty for registry changes.
        study: Study Instance UID, or empty.
        occurred: ISO 8601 UTC.
    """

    topic: str
    partition: int
    offset: int
    store: str
    position: int
    event_id: str
    type: str
    device: str
    study: str
    occurred: str

    @classmethod
    def of(cls, record: Any, headers: Headers) -> Self:
        """From a consumer's record."""
        try:
            value = json.loads(record.value)
        except ValueError:
            value = {}
        sender, study = value.get("sender") or {}, value.get("study") or value.get("change") or {}
        text = {name: content.decode("utf-8", "replace") for name, content in headers.items()}
        return cls(
            record.topic,
            record.partition,
            record.offset,
            text[STORE],
            int(text[POSITION]),
            text.get("ce_id", ""),
            text.get("ce_type", ""),
            str(sender.get("ae_title", "")),
            str(study.get("study_instance_uid", "")),
            text.get("ce_time", ""),
        )


def beyond(settings: RelaySettings, open_source: OpenSource) -> list[Beyond]:
    """What Kafka holds beyond the backup that the store was restored from, in order of position.

    Read from where the relay's cursor was at the backup, so it is quick.

    Raises:
        RelayError: Kafka or the store cannot be reached.
    """
    found: list[Beyond] = []
    with closing(open_source(settings.store_url)) as source:
        lineage = Lineage(source.store_id, source.ancestors())
        try:
            with closing(Cluster(settings.kafka)) as cluster:
                topics = cluster.ids([settings.kafka.topic(name) for name in settings.topics])
            for topic, (topic_id, count) in topics.items():
                if not count:  # it is not there
                    continue
                known = peek(settings.cursor, source.store_id, topic)
                checkpoints = known.checkpoints if known is not None and known.topic_id == topic_id else {}
                parts = list(range(count))
                with Reader(settings.kafka, topic) as reader:
                    begins, ends = reader.bounds(parts)
                    starts = {
                        part: max(begins[part], checkpoints[part].next_offset if part in checkpoints else 0)
                        for part in parts
                    }
                    for record in reader.records({part: (starts[part], ends[part]) for part in parts}):
                        headers = dict(record.headers)
                        if lineage.is_beyond(headers):
                            found.append(Beyond.of(record, headers))
        except Unreachable as error:
            raise RelayError(str(error)) from error
        except kafka_errors.KafkaError as error:
            raise RelayError(f"Kafka cannot be read: {one_line(error)}") from error
    return sorted(found, key=lambda each: (each.position, each.topic, each.offset))
