"""A cluster of three real brokers, for what one broker cannot show: leaders that move while records flow."""

import contextlib
from pathlib import Path
from typing import Any, Self

from kafka import KafkaAdminClient

from plscp.local.fetch import fetch
from plscp.local.kafka import HOST, LocalBroker, free_port
from tests.serving import until

BROKERS = 3


class LocalCluster:
    """Three brokers, each also a controller; every partition is on all of them, and two must have a record."""

    def __init__(self, folder: Path) -> None:
        controllers = [free_port() for _ in range(BROKERS)]
        voters = ",".join(f"{n}@{HOST}:{port}" for n, port in enumerate(controllers, 1))
        self.brokers: list[LocalBroker] = []
        for number, controller in enumerate(controllers, 1):
            port = free_port()
            broker = LocalBroker(
                folder / str(number),
                properties={
                    "node.id": str(number),
                    "controller.quorum.voters": voters,
                    "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
                    "default.replication.factor": "3",
                    "offsets.topic.replication.factor": "3",
                    "min.insync.replicas": "2",
                    "broker.session.timeout.ms": "9000",
                },
            )
            broker.port = port
            self.brokers.append(broker)
        for broker in self.brokers[1:]:
            broker.cluster_id = self.brokers[0].cluster_id

    @property
    def addresses(self) -> list[str]:
        """All brokers, to start from."""
        return [broker.address for broker in self.brokers]

    def __enter__(self) -> Self:
        runtime = fetch()
        for broker in self.brokers:  # none answers before two of them are there
            broker._runtime = runtime
            broker._format()
            broker._run()
        for broker in self.brokers:
            broker._await(120)
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.brokers:
            broker.kill()

    def until_in_sync(self, prefix: str) -> dict[int, int]:
        """Wait until every partition of the topics with a prefix is on all brokers; how many each broker leads."""

        def in_sync() -> dict[int, int]:
            leads = dict.fromkeys(range(1, BROKERS + 1), 0)
            for partition in self._partitions(prefix):
                if len(partition["isr_nodes"]) < BROKERS or partition["leader_id"] not in leads:
                    return {}
                leads[partition["leader_id"]] += 1
            return leads

        return dict(until(in_sync, "all replicas in sync", 120))

    def _partitions(self, prefix: str) -> list[dict[str, Any]]:
        admin = KafkaAdminClient(bootstrap_servers=self.addresses)
        with contextlib.closing(admin):
            names = [name for name in admin.list_topics() if name.startswith(prefix + ".")]
            return [partition for topic in admin.describe_topics(names) for partition in topic["partitions"]]
