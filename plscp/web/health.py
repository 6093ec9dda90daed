"""Health, metrics and status: what probes, Prometheus and `plscp status` ask. The first two hold no patient data and need no token."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.errors import StoreError
from plscp.metrics import CONTENT_TYPE
from plscp.web.operations import JSON, TEXT, Operation
from plscp.web.problems import Problem
from plscp.web.server import Server
from plscp.web.status import shown

PROBE_SECONDS = 2.0
LATEST_RETRIES = 5


class Health:
    """Handlers of /livez, /readyz, /metrics and /api/v1/status."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def livez(self, _request: Request) -> Response:
        """Live: the event loop turns and the store's writer is alive."""
        checks = {"event_loop": self._server.loop_alive(), "writer": self._server.store.alive()}
        if not all(checks.values()):
            bad = ", ".join(name for name, good in checks.items() if not good)
            raise Problem(503, f"not alive: {bad}", checks=checks)
        return JSONResponse({"status": "live"})

    async def readyz(self, _request: Request) -> Response:
        """Ready: the store answers and the server is not draining. Kafka away changes nothing."""
        if self._server.draining:
            raise Problem(503, "draining: the server was told to stop")
        try:
            await asyncio.wait_for(asyncio.to_thread(self._server.store.probe), PROBE_SECONDS)
        except TimeoutError:
            raise Problem(503, f"the store has not answered within {PROBE_SECONDS:g} s") from None
        except StoreError as error:
            raise Problem(503, f"the store does not answer: {error}") from None
        return JSONResponse({"status": "ready"})

    async def metrics(self, _request: Request) -> Response:
        """Prometheus' text format."""
        body = await asyncio.to_thread(self._server.metrics.exposition)
        return Response(body, headers={"Content-Type": CONTENT_TYPE})

    async def status(self, _request: Request) -> Response:
        """What runs, how far it is, who is connected, and what is not as it should be: no patient."""
        stored = await asyncio.to_thread(self._stored)
        return JSONResponse(shown(self._server, stored))

    def _stored(self) -> dict[str, Any]:
        """What only the store and its disk know, as counts: cheap however much it holds; a file system may hang."""
        store = self._server.store
        disk = {"disk_free": store.disk_free(), "full": store.full()}
        try:
            return {
                **disk,
                "quarantine_open": store.quarantine_open(),
                "retries": store.retries(0, LATEST_RETRIES),
                "proposed": store.proposals_count(),
                "failing": "" if (refusing := store.refusing()) is None else str(refusing),
            }
        except StoreError as error:
            return {**disk, "failing": str(error)}

    def operations(self) -> list[Operation]:
        """The rows of the API."""
        return [
            Operation(
                "GET",
                "/livez",
                self.livez,
                "Whether the process should go on",
                role=None,
                answers={200: "live"},
                problems=[503],
            ),
            Operation(
                "GET",
                "/readyz",
                self.readyz,
                "Whether it takes work",
                role=None,
                answers={200: "ready"},
                problems=[503],
            ),
            Operation(
                "GET",
                "/metrics",
                self.metrics,
                "Metrics for Prometheus",
                role=None,
                answers={200: "metrics"},
                media=[TEXT],
            ),
            Operation(
                "GET",
                "/api/v1/status",
                self.status,
                "What runs, how far it is, who is connected",
                role="read",
                answers={200: "status"},
                media=[JSON],
                problems=[503],
            ),
        ]
