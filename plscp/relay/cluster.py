"""What the broker says about topics; one connection, made when it is needed and thrown away when it fails."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from plscp.errors import Unreachable
from plscp.relay.clients import connected
from plscp.relay.settings import KafkaSettings

SMALLEST = 8192
"""A topic whose max.message.bytes is less cannot take even a reduced record."""


class TopicState(NamedTuple):
    """One topic as the broker sees it.

    Attributes:
        topic_id: UUID; another one means that it was made again.
        largest: max.message.bytes.
        refusal: why nothing can be written there, or empty.
    """

    topic_id: str = ""
    partitions: int = 0
    largest: int = 0
    refusal: str = ""


def one_line(error: BaseException) -> str:
    """The cause on one line, short, with the error's name."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (text if text.startswith(name) else f"{name}: {text}" if text else name)[:200]


class Cluster:
    """Looks at topics and makes them, for one thread; every method raises `Unreachable` when no broker answers."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._admin: Any = None

    def look(self, topics: Sequence[str], *, create: bool = True) -> dict[str, TopicState]:
        """The state of each topic; missing ones are made where the settings say so, unless `create` is False."""
        with self._asking():
            found = self._describe(topics)
            missing = [name for name, state in found.items() if state == _MISSING]
            if missing and create and self._kafka.create_topics:
                found |= self._create(missing)
            return {name: self._sized(name, state) for name, state in found.items()}

    def describe(self, topics: Sequence[str]) -> dict[str, TopicState]:
        """The state of each topic but for its max.message.bytes; a missing one has no id and no partitions."""
        with self._asking():
            return self._describe(topics)

    def close(self) -> None:
        """Throw the connection away."""
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except kafka_errors.KafkaError as error:
            self.close()
            servers = ", ".join(self._kafka.bootstrap_servers)
            raise Unreachable(f"no broker answers at {servers}: {one_line(error)}") from error

    def _describe(self, topics: Sequence[str]) -> dict[str, TopicState]:
        if self._admin is None:
            self._admin = connected(KafkaAdminClient, self._kafka.admin())
        described = {topic["name"]: topic for topic in self._admin.describe_topics(list(topics))}
        return {name: _state(described.get(name)) for name in topics}

    def _create(self, missing: Sequence[str]) -> dict[str, TopicState]:
        wanted = {
            "num_partitions": self._kafka.partitions,
            "replication_factor": self._kafka.replication_factor,
            "configs": {"cleanup.policy": "delete"},
        }
        answer = self._admin.create_topics(dict.fromkeys(missing, wanted), raise_errors=False)
        refused: dict[str, TopicState] = {}
        for topic in answer["topics"]:
            error = kafka_errors.for_code(topic["error_code"])
            if error not in {kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError}:
                refused[topic["name"]] = TopicState(refusal=f"it is missing and cannot be made: {error.__name__}")
        made = [name for name in missing if name not in refused]
        self._admin.wait_for_topics(made)
        return self._describe(made) | refused

    def _sized(self, name: str, state: TopicState) -> TopicState:
        if state.refusal:
            return state
        asked = ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": None, "cleanup.policy": None})
        try:
            answer = self._admin.describe_configs([asked], config_filter="all")
        except kafka_errors.AuthorizationError as error:
            return state._replace(refusal=f"its max.message.bytes cannot be read: {one_line(error)}")
        found = answer["topic"][name]
        largest, policy = int(found["max.message.bytes"]["value"]), found["cleanup.policy"]["value"]
        refusal = f"its max.message.bytes is {largest}, less than {SMALLEST}" if largest < SMALLEST else ""
        if "compact" in policy:
            # Of one key the last record would be left, and a barrier, which has none, is refused.
            mended = f"--bootstrap-server {self._kafka.bootstrap_servers[0]} --alter --topic {name}"
            refusal = (
                f"its cleanup.policy is {policy}, which deletes events that were not read: "
                f"kafka-configs.sh {mended} --add-config cleanup.policy=delete"
            )
        return state._replace(largest=largest, refusal=refusal)


_MISSING = TopicState(refusal="it is missing")


def _state(described: dict[str, Any] | None) -> TopicState:
    if described is None:
        return _MISSING
    error = kafka_errors.for_code(described["error_code"])
    if error is kafka_errors.UnknownTopicOrPartitionError:
        return _MISSING
    if error is not kafka_errors.NoError:
        return TopicState(refusal=error.__name__)
    allowed, refusal = described.get("authorized_operations"), ""
    if allowed is not None and "WRITE" not in allowed:
        refusal = "writing to it is not allowed"
    elif allowed is not None and "READ" not in allowed:
        refusal = "reading it, which recovery needs, is not allowed"
    return TopicState(str(described["topic_id"]), len(described["partitions"]), 0, refusal)
