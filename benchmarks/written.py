"""The server that a user would write: `python -m benchmarks.written PORT DATABASE [BROKER TOPIC]`.

A stock pynetdicom AE. Its handler walks every element of the data set with pydicom, commits what it found to SQLite with
synchronous=FULL, sends it to Kafka with kafka-python and returns Success. It checks nothing, matches nothing and repeats
what is sent again.
"""

import json
import sqlite3
import sys
import threading
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event

ASSOCIATIONS = 2000


def members(dataset: Dataset) -> list[dict[str, Any]]:
    """Every element with its tag, VR and value; sequences with their items."""
    return [
        {
            "tag": f"{element.tag:08X}",
            "vr": element.VR,
            "value": [members(item) for item in element.value] if element.VR == "SQ" else str(element.value),
        }
        for element in dataset
    ]


class Events:
    """A table of events, and a topic where there is a broker."""

    def __init__(self, database: str, broker: str = "", topic: str = "") -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(database, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE IF NOT EXISTS events (n INTEGER PRIMARY KEY, study TEXT, content TEXT)"
        )
        self._topic = topic
        self._producer = None
        if broker:
            admin = KafkaAdminClient(bootstrap_servers=broker)
            admin.create_topics([NewTopic(topic, num_partitions=6, replication_factor=1)])
            admin.close()
            self._producer = KafkaProducer(bootstrap_servers=broker, acks="all")

    def action(self, event: Event) -> tuple[int, None]:
        """Answer an N-ACTION."""
        information = event.action_information
        study = str(information.get("StudyInstanceUID", ""))
        content = json.dumps(members(information))
        with self._lock, self._connection:
            self._connection.execute("INSERT INTO events (study, content) VALUES (?, ?)", (study, content))
        if self._producer is not None:
            self._producer.send(self._topic, key=study.encode(), value=content.encode())
        return 0x0000, None


def main(port: str, database: str, broker: str = "", topic: str = "") -> None:
    """Serve until killed."""
    ae = AE("PLSCP")
    ae.maximum_associations = ASSOCIATIONS
    for uid in ("1.2.840.10008.1.40", "1.2.840.10008.1.42", "1.2.840.10008.1.1"):
        ae.add_supported_context(uid)
    handlers = [(evt.EVT_N_ACTION, Events(database, broker, topic).action)]
    ae.start_server(("127.0.0.1", int(port)), evt_handlers=handlers)


if __name__ == "__main__":
    main(*sys.argv[1:])
