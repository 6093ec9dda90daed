"""What commands about Kafka have in common: the relay's settings and the store as the relay sees it."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from plscp.cli import output
from plscp.cli.client import settings
from plscp.errors import CommandError
from plscp.publish.settings import RelaySettings
from plscp.publish.verify import Beyond

MOST_NAMED = 100
"""Records beyond a backup that are named, a line each."""


def relay_settings(config: Path | None) -> RelaySettings:
    """The settings of the relay.

    Raises:
        ConfigError: the settings cannot be used.
        CommandError: they name no Kafka.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)  # one line says what is wrong, and it is ours
    found = settings(config).relay()
    if found is None:
        raise CommandError("kafka: the settings name no Kafka: [kafka] bootstrap_servers", 2)
    return found


def beyond_lines(these: Sequence[Beyond]) -> Iterator[str]:
    """What Kafka holds beyond a restored backup, a line each, so that people can look for it and enter it again."""
    if not these:
        return
    yield (
        f"Kafka holds {len(these)} records of after the backup that this store does not have; consumers have them, "
        "and they stay as they are:"
    )
    for each in these[:MOST_NAMED]:
        who = each.device or "registry"
        study = f"study {each.study}" if each.study else ""
        parts = (f"position {each.position}", each.event_id, who, study, output.local(each.occurred), each.type)
        yield "  " + "  ".join(part for part in parts if part)
    if len(these) > MOST_NAMED:
        yield f"  and {len(these) - MOST_NAMED} more: --json names them all"
