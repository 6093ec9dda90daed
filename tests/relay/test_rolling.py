"""A rolling restart of Kafka: three real brokers, stopped and started one after the other while events flow."""

from dataclasses import replace
from pathlib import Path

import pytest

from plscp.relay.verify import verify
from tests.relay.cluster import LocalCluster
from tests.relay.helpers import Child, check, settings
from tests.relay.test_faults import Load
from tests.relay.twin import WritableTwin

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_every_broker_restarted_in_turn(twin: WritableTwin, prefix: str, tmp_path: Path) -> None:
    """Leaders move three times; each record is on Kafka once, in order per partition, and `plscp verify` finds all well."""
    with LocalCluster(tmp_path / "kafka") as cluster:
        given = settings(twin, "", prefix)
        given = replace(given, kafka=replace(given.kafka, bootstrap_servers=cluster.addresses))
        with Child(given) as relay:
            twin.requests_of_all(8)
            relay.until_done(twin, revive=True)
            leads = cluster.until_in_sync(prefix)
            assert all(leads.values()), "a broker that leads nothing tests nothing"
            with Load(twin, relay.wake) as stop:
                for broker in cluster.brokers:
                    stop.wait(0.5)
                    broker.stop()
                    stop.wait(0.5)
                    broker.start()
                    cluster.until_in_sync(prefix)
            relay.until_done(twin, revive=True)
            assert not relay.events("noise")
        records = check(cluster.addresses[0], prefix, twin)
        report = verify(given)
        assert report.ok
        if (
            not relay.codes
        ):  # one that had to start anew may have sent some again: droppable, as `check` and `verify` have seen
            assert len(records) == twin.head(), "a record came twice"
        print(f"{twin.head()} records, relay ended {len(relay.codes)} times: {relay.codes}")
