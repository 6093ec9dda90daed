"""plscp's events with kafka-python alone: a line of JSON for each on standard output, until Ctrl-C.

python kafka_python.py 127.0.0.1:9092 GROUP plscp.procedure-log plscp.medication-administration
"""

import json
import re
import sys

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition

highest: dict[TopicPartition, dict[str, int]] = {}
"""By partition: the highest position of each store. It is kept as metadata of the offset that is committed."""


class Forget(ConsumerRebalanceListener):
    """What another member of the group reads now is not known here any more."""

    def on_partitions_revoked(self, revoked):
        for place in revoked:
            highest.pop(place, None)

    def on_partitions_assigned(self, assigned):
        pass


def known(consumer, place):
    """The numbers of a partition; at first those that were committed last."""
    if place not in highest:
        committed = consumer.committed(place, metadata=True)
        highest[place] = json.loads(committed.metadata)["plscp"] if committed and committed.metadata else {}
    return highest[place]


def line(record, headers):
    """What a consumer needs first; `value` has it all."""
    value = json.loads(record.value)
    return json.dumps(
        {
            "topic": record.topic,
            "position": int(headers["position"]),
            "id": headers["ce_id"].decode(),
            "type": headers["ce_type"].decode(),
            "key": record.key.decode(),
            "study": (value.get("study") or {}).get("study_instance_uid", ""),
            "patient": (value.get("patient") or {}).get("id", ""),
            "kind": value.get("entry", {}).get("kind", ""),
        }
    )


def main(broker, group, *topics):
    """Read as a member of a consumer group; what was printed is committed."""
    consumer = KafkaConsumer(
        bootstrap_servers=broker,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # a new group begins with what there is, not with what comes next
        metadata_max_age_ms=10_000,  # a topic that is made later is found soon
    )
    # As a pattern: kafka-python 3.0 makes a topic that is asked for by its name and is not there, with too few partitions.
    consumer.subscribe(pattern=f"^({'|'.join(map(re.escape, topics))})$", listener=Forget())
    try:
        while True:
            for place, records in consumer.poll(timeout_ms=500).items():
                numbers = known(consumer, place)
                for record in records:
                    headers = dict(record.headers)
                    if "position" not in headers:  # a barrier
                        continue
                    store, position = headers["store"].decode(), int(headers["position"])
                    if position <= numbers.get(store, 0):  # a repeat
                        continue
                    print(line(record, headers), flush=True)
                    numbers[store] = position
                done = OffsetAndMetadata(records[-1].offset + 1, json.dumps({"plscp": numbers}), -1)
                consumer.commit({place: done})
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
