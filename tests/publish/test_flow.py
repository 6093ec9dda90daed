"""Plain flow on the real broker, four topics of six partitions, requests of five entries."""

from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.publish.helpers import Child, check, settings
from tests.publish.twin import WritableTwin


@pytest.mark.kafka
def test_everything_arrives_once_and_in_order(kafka_broker: Broker, tmp_path: Path) -> None:
    """What was there before the relay, and what comes while it runs."""
    twin = WritableTwin(tmp_path / "store.db")
    twin.requests_of_all(40)
    with Child(settings(twin, kafka_broker.address, "flow")) as relay:
        relay.until_done(twin)
        for _ in range(20):
            twin.requests_of_all(4)
            relay.wake()
        status = relay.until_done(twin)
    read = check(kafka_broker.address, "flow", twin)
    assert len(read) == twin.head() == 600
    assert sum(topic["acknowledged"] for topic in status["published"].values()) == 600
    assert not relay.events("noise")
