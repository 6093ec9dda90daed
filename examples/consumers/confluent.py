"""plscp's events with confluent-kafka, typed by plscp.consumer: a line of JSON for each on standard output, until Ctrl-C.

python confluent.py 127.0.0.1:9092 GROUP plscp.procedure-log plscp.medication-administration
"""

import json
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from plscp.consumer import Event, Positions, Unreadable, decode

positions = Positions()


def begin(consumer, partitions):
    """Partitions were assigned: what was committed last says what of them is handled."""
    for at in consumer.committed(partitions):
        positions.begin(at.topic, at.partition, at.metadata)


def line(event: Event) -> str:
    """What a consumer needs first; `event.data` has it all, typed."""
    study, patient, entry = (getattr(event.data, name, None) for name in ("study", "patient", "entry"))
    return json.dumps(
        {
            "topic": event.topic,
            "position": event.position,
            "id": event.id,
            "type": event.type,
            "key": event.key,
            "study": study.study_instance_uid if study else "",
            "patient": patient.id if patient else "",
            "kind": entry.kind if entry else "",
        }
    )


def main(broker, group, *topics):
    """Read as a member of a consumer group; what was printed is committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": group,
            "enable.auto.commit": False,
            "allow.auto.create.topics": False,  # plscp makes its topics, with the number of partitions that it is told
            "auto.offset.reset": "earliest",  # a new group begins with what there is, not with what comes next
            "topic.metadata.refresh.interval.ms": 10_000,  # a topic that is made later is found soon
        }
    )
    consumer.subscribe(list(topics), on_assign=begin)
    try:
        while True:
            done = {}
            for message in consumer.consume(500, timeout=0.5):
                if error := message.error():
                    if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # else it may be made later
                        raise KafkaException(error)
                    continue
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                place = {"topic": topic, "partition": partition, "offset": offset}
                found = decode(message.headers(), message.key(), message.value(), **place)
                if isinstance(found, Unreadable):
                    print(f"cannot be read: {topic} {partition} {offset}: {found.reason}", file=sys.stderr)
                elif found and positions.new(found):  # neither a barrier nor a repeat
                    print(line(found), flush=True)
                    positions.handled(found)
                done[topic, partition] = TopicPartition(topic, partition, offset + 1, positions.text(topic, partition))
            if done:
                consumer.commit(offsets=list(done.values()), asynchronous=False)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
