"""What commands about Kafka have in common: the relay's settings and the store as the relay sees it."""

import logging
from pathlib import Path

from plscp.cli.client import settings
from plscp.errors import CommandError
from plscp.publish.settings import RelaySettings
from plscp.store.relay_view import RelayView


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


def open_source(url: str) -> RelayView:
    """The store, read-only.

    Raises:
        StoreError: there is none.
    """
    return RelayView.open(url)
