"""What the relay is told: value classes that travel as one JSON line on its standard input."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self, get_args

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from plscp.errors import ConfigError
from plscp.files import why_unusable
from plscp.store.port import Topic

TOPICS: tuple[str, ...] = get_args(Topic)
"""Names of the topics without prefix."""

_OURS = {
    "bootstrap_servers", "client_id", "acks", "enable_idempotence", "delivery_timeout_ms", "retries", "batch_size", "linger_ms",
    "max_in_flight_requests_per_connection", "max_request_size", "partitioner", "key_serializer", "value_serializer",
    "transactional_id", "allow_auto_create_topics", "group_id", "enable_auto_commit", "isolation_level", "auto_offset_reset",
}  # fmt: skip
"""Names of kafka-python that order and completeness depend on: not to be set."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach Kafka and what topics are like.

    Attributes:
        topic_prefix: topics are ``PREFIX.procedure-log`` and so on.
        create_topics: make missing topics; else they are waited for, with an alarm.
        partitions, replication_factor: of topics that are made; -1: the broker's default.
        request_timeout_ms: after which a request counts as lost and the connection is closed.
        extra: further settings as kafka-python names them (security_protocol, sasl_*, ssl_*, ...).
    """

    bootstrap_servers: Sequence[str]
    topic_prefix: str = "plscp"
    client_id: str = "plscp"
    create_topics: bool = True
    partitions: int = 6
    replication_factor: int = -1
    request_timeout_ms: int = 30_000
    connect_timeout_ms: int = 5_000
    extra: Mapping[str, Any] = field(default_factory=dict)

    def checked(self) -> Self:
        """Itself; ConfigError where `extra` has a name that kafka-python does not know or that is not to be set, or what TLS cannot use."""
        known = {**KafkaConsumer.DEFAULT_CONFIG, **KafkaProducer.DEFAULT_CONFIG}
        for name in self.extra:
            if name not in known:
                raise ConfigError(f"kafka: kafka-python knows no setting {name}")
            if name in _OURS:
                raise ConfigError(f"kafka: {name} is the relay's own and cannot be set")
        if "SSL" in self.extra.get("security_protocol", ""):
            _try_tls(self.extra)
        return self

    def topic(self, name: str) -> str:
        """The topic's name on the broker."""
        return f"{self.topic_prefix}.{name}"

    def _client(self, known: Mapping[str, Any], **own: Any) -> dict[str, Any]:
        common = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "client_id": self.client_id,
            "request_timeout_ms": self.request_timeout_ms,
            "bootstrap_timeout_ms": self.connect_timeout_ms,
            "reconnect_backoff_max_ms": 1000,
            "metrics_enabled": False,
            **self.extra,
            **own,
        }
        return {name: value for name, value in common.items() if name in known}

    def admin(self) -> dict[str, Any]:
        """Arguments of KafkaAdminClient."""
        return self._client(KafkaAdminClient.DEFAULT_CONFIG)

    def consumer(self) -> dict[str, Any]:
        """Arguments of a KafkaConsumer that reads given partitions and belongs to no group."""
        return self._client(
            KafkaConsumer.DEFAULT_CONFIG,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            max_poll_records=5000,
            fetch_max_wait_ms=100,
        )

    def producer(self, *, largest: int) -> dict[str, Any]:
        """Arguments of the relay's KafkaProducer for a topic; `largest` is its max.message.bytes, which counts for whole batches."""
        return self._client(
            KafkaProducer.DEFAULT_CONFIG,
            acks="all",
            enable_idempotence=True,
            # A finite one leaves holes when a broker is killed for longer, and hangs when it is frozen for longer.
            delivery_timeout_ms=float("inf"),
            batch_size=min(256 * 1024, largest),
            max_request_size=max(1 << 20, largest),
            max_block_ms=self.request_timeout_ms,
            allow_auto_create_topics=False,
        )


def _try_tls(extra: Mapping[str, Any]) -> None:
    """Use what kafka-python will. Raises ConfigError where it cannot: the library would say that no broker answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    key, password = extra.get("ssl_keyfile"), extra.get("ssl_password", "")
    uses: dict[str, Callable[[str], object]] = {
        "ssl_cafile": context.load_verify_locations,
        "ssl_certfile": lambda file: context.load_cert_chain(file, key, lambda: password),
        "ssl_crlfile": context.load_verify_locations,
        "ssl_ciphers": context.set_ciphers,
    }
    for name, use in uses.items():
        if name in extra:
            try:
                use(extra[name])
            except (OSError, ValueError) as error:
                files = f"{extra[name]}, ssl_keyfile {key}" if name == "ssl_certfile" and key else extra[name]
                raise ConfigError(f"kafka.{name}: {files}: {why_unusable(error)}") from None


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Everything that a relay process needs.

    Attributes:
        topics: names without prefix.
        stall_seconds: without any acknowledgement while the broker answers, after which the relay starts anew.
        gate_seconds: how long the first publication waits for the other topics' recovery.
        check_seconds: between two looks at whether a broker answers and topics are still those that they were.
        status_seconds: between two status lines.
        in_flight_records, in_flight_bytes: per topic, handed over and not yet acknowledged.
    """

    store_url: str
    cursor: Path
    kafka: KafkaSettings
    topics: Sequence[str] = TOPICS
    stall_seconds: float = 60.0
    gate_seconds: float = 10.0
    check_seconds: float = 5.0
    status_seconds: float = 1.0
    in_flight_records: int = 5_000
    in_flight_bytes: int = 4 << 20

    def as_json(self) -> dict[str, Any]:
        """As it travels to the relay process; holds secrets: never log it."""
        return {**asdict(self), "cursor": str(self.cursor)}

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """The other way."""
        made = cls(**given)
        return replace(made, cursor=Path(given["cursor"]), kafka=KafkaSettings(**given["kafka"]))


LEVELS: Final = {level: level[:1].encode() for level in ("debug", "info", "warning", "error")}
"""The byte that wakes the relay says the level of its log."""


def cursor_beside(store: Path) -> Path:
    """Where the relay's cursor lives: beside the store's file."""
    return store.with_name(f"{store.stem}-relay.db")
