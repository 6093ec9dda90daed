"""A store's twin, a prefix and an admin client per test; one broker that tests may kill and freeze."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plscp.local.kafka import LocalBroker
from tests.conftest import Broker
from tests.relay.twin import WritableTwin


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[WritableTwin]:
    made = WritableTwin(tmp_path / "store.db")
    yield made
    made.close()


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Of topics that no other test uses."""
    return re.sub(r"[^A-Za-z0-9_-]+", ".", str(request.node.name)).strip(".")[:80]


@pytest.fixture
def admin(kafka_broker: Broker) -> Iterator[Any]:
    from kafka import KafkaAdminClient  # noqa: PLC0415  # it warns where it is read, and warnings are errors

    client = KafkaAdminClient(bootstrap_servers=kafka_broker.address)
    yield client
    client.close()


@pytest.fixture(scope="module")
def weak_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker that the tests of one module kill and freeze, and leave running."""
    with LocalBroker(tmp_path_factory.mktemp("weak")) as broker:
        yield broker
