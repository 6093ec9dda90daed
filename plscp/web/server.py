"""What the HTTP side needs of the running server; `plscp.app.Server` is one, tests bring smaller ones."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from plscp.config import Settings
from plscp.config.live import Reloaded
from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.service.closed_cases import ClosedCases
from plscp.service.devices import Devices
from plscp.store.port import EventStore, RegistryRecord

Plan = Callable[[Registry], Sequence[RegistryRecord]]


class Keeper(Protocol):
    """The registry and the way to change it."""

    @property
    def registry(self) -> Registry:
        """To be read under `lock`."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while the registry is read or changed."""

    async def change(self, plan: Plan, source: str) -> list[int]:
        """Make changes durable; the position of the last one in a list, or an empty list where nothing changes.

        Raises:
            Conflict: from the plan.
            StoreError: nothing was kept.
        """


class Acceptor(Protocol):
    """The DICOM listener."""

    @property
    def associations(self) -> Sequence[Mapping[str, Any]]:
        """The associations that are open: calling_ae, address, since, requests."""

    @property
    def refused_peers(self) -> Sequence[Mapping[str, Any]]:
        """The peers that a setting refused: calling_ae, address, rule, hint, times, first, last; those refused last come first."""


class Overview(Protocol):
    """What is looked at every few seconds."""

    @property
    def devices(self) -> Devices:
        """What each device did last."""

    @property
    def cases(self) -> ClosedCases:
        """The cases that are over while something of them is in quarantine."""

    def device_rows(self) -> list[dict[str, Any]]:
        """Each device as status shows it."""

    def room_rows(self) -> list[dict[str, Any]]:
        """Each room and the studies that are there."""


class Server(Protocol):
    """A running server."""

    @property
    def overview(self) -> Overview:
        """What is looked at every few seconds."""

    @property
    def settings(self) -> Settings:
        """What is in force now: to be asked each time."""

    @property
    def settings_shown(self) -> Mapping[str, Any]:
        """The settings' part of the status: file, loaded, restart, fault."""

    async def reload(self) -> Reloaded:
        """Read the settings again.

        Raises:
            TimeoutError: the file system does not answer.
        """

    @property
    def store(self) -> EventStore:
        """The event store."""

    @property
    def keeper(self) -> Keeper:
        """The registry."""

    @property
    def metrics(self) -> Metrics:
        """What was counted."""

    @property
    def relay_status(self) -> Mapping[str, Any]:
        """The relay's last status line; empty before the first."""

    @property
    def draining(self) -> bool:
        """True from SIGTERM on."""

    @property
    def acceptor(self) -> Acceptor:
        """The DICOM listener."""

    def loop_alive(self) -> bool:
        """Whether the event loop has turned lately."""

    def explain_match(self, query: Mapping[str, str]) -> dict[str, Any]:
        """What a request with these identifiers would match now."""
