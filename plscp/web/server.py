"""What the HTTP side needs of the running server; `plscp.app.Server` is one, tests bring smaller ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from plscp.config import Settings
from plscp.config.live import Reloaded
from plscp.metrics import Metrics
from plscp.service.keeper import RegistryKeeper
from plscp.service.overview import ServerOverview
from plscp.store.port import EventStore


class Acceptor(Protocol):
    """The DICOM listener."""

    @property
    def associations(self) -> Sequence[Mapping[str, Any]]:
        """The associations that are open: calling_ae, address, since, requests."""

    @property
    def refused_peers(self) -> Sequence[Mapping[str, Any]]:
        """The peers that a setting refused: calling_ae, address, rule, hint, times, first, last; those refused last come first."""


class Server(Protocol):
    """A running server.

    Attributes:
        settings: what is in force now: to be asked each time.
        draining: True from SIGTERM on.
        relay_status: the relay's last status line; empty before the first.
    """

    settings: Settings
    keeper: RegistryKeeper
    metrics: Metrics
    overview: ServerOverview
    draining: bool
    relay_status: dict[str, Any]

    @property
    def store(self) -> EventStore:
        """The event store."""

    @property
    def acceptor(self) -> Acceptor:
        """The DICOM listener."""

    @property
    def settings_shown(self) -> Mapping[str, Any]:
        """The settings' part of the status: file, loaded, restart, fault."""

    async def reload(self) -> Reloaded:
        """Read the settings again.

        Raises:
            TimeoutError: the file system does not answer.
        """

    def loop_alive(self) -> bool:
        """Whether the event loop has turned lately."""

    def explain_match(self, query: Mapping[str, str]) -> dict[str, Any]:
        """What a request with these identifiers would match now."""
