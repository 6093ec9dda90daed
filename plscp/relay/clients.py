"""Makes kafka-python's clients so that one that finds no broker leaves nothing behind, and none makes a topic by asking for it."""

import logging
from collections.abc import Callable
from typing import Any

from kafka.net.compat import KafkaNetClient


def connected(make: Callable[..., Any], config: dict[str, Any], *, quiet: bool = True) -> Any:
    """A KafkaAdminClient, KafkaConsumer or KafkaProducer; KafkaError where no broker answers.

    Where the constructor fails, the library leaves a thread and four descriptors running: as many as there are tries
    while Kafka is away.

    Args:
        quiet: the library's own log, which reports every try to connect, is switched off: who uses a client here says each
            cause once, in one line.
    """
    if quiet:
        library = logging.getLogger("kafka")
        library.propagate = False
        library.setLevel(logging.CRITICAL + 1)
    made: list[Any] = []

    def network(**given: Any) -> Any:
        made.append(KafkaNetClient(**given))
        # 3.0.12 does not hand the setting of this name on: who asks for a topic that is not there would make it.
        made[-1].cluster.config["allow_auto_create_topics"] = False
        return made[-1]

    try:
        return make(**config, kafka_client=network)
    except BaseException:
        for each in made:
            each.close()
        raise
