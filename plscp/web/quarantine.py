"""Reading the quarantine over HTTP: what was refused, why, and its bytes."""

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.store.port import QuarantineItem
from plscp.web.operations import Operation, Parameter
from plscp.web.problems import Problem
from plscp.web.reading import flag, known_only, whole
from plscp.web.server import Server


class Quarantine:
    """Handlers of /api/v1/quarantine."""

    def __init__(self, server: Server) -> None:
        self._store = server.store

    async def list_quarantine(self, request: Request) -> Response:
        """Items, newest first."""
        known_only(request, "calling_ae", "open", "limit")
        items = await asyncio.to_thread(
            self._store.quarantine,
            calling_ae=request.query_params.get("calling_ae", ""),
            open_only=flag(request, "open"),
            limit=whole(request, "limit", 100, 1, 1000),
        )
        return JSONResponse({"items": [summary(item) for item in items]}, headers={"Cache-Control": "no-store"})

    async def get_quarantine(self, request: Request) -> Response:
        """One item with each different outcome, its findings and what was received."""
        known_only(request)
        item_id = request.path_params["id"]
        item = await asyncio.to_thread(self._store.quarantine_item, item_id)
        if item is None:
            raise Problem(404, "no such quarantine item, or more than one begins like this")
        whole_item = summary(item) | {
            "identity": item.identity.hex(),
            "outcomes": [shown(outcome) for outcome in item.outcomes],
            "raw": base64.b64encode(item.raw).decode(),
        }
        return JSONResponse(whole_item, headers={"Cache-Control": "no-store"})

    def operations(self) -> list[Operation]:
        """The rows of the API."""
        return [
            Operation(
                "GET",
                "/api/v1/quarantine",
                self.list_quarantine,
                "Refused requests, newest first",
                parameters=[
                    Parameter("calling_ae", "of one device"),
                    Parameter("open", "only those not accepted since", {"type": "boolean"}),
                    Parameter(
                        "limit", "most items; 100 by default", {"type": "integer", "minimum": 1, "maximum": 1000}
                    ),
                ],
                role="read",
                answers={200: "items"},
                problems=[422, 503],
            ),
            Operation(
                "GET",
                "/api/v1/quarantine/{id}",
                self.get_quarantine,
                "One refused request with its findings and bytes (raw, in base64)",
                role="read",
                answers={200: "the item"},
                problems=[404, 503],
            ),
        ]


def summary(item: QuarantineItem) -> dict[str, Any]:
    """An item without its findings and bytes."""
    last = item.outcomes[-1] if item.outcomes else {}
    return {
        "id": item.id,
        "calling_ae": item.calling_ae,
        "address": item.address,
        "sop_class": item.sop_class,
        "transfer_syntax": item.transfer_syntax,
        "first_time": moment(item.first_time),
        "last_time": moment(item.last_time),
        "times": item.times,
        "status": status_text(last.get("status")),
        "comment": last.get("comment", ""),
        "raw_length": item.raw_length,
        "raw_kept": len(item.raw),
        "closed_position": item.closed_position,
    }


def shown(outcome: dict[str, Any]) -> dict[str, Any]:
    """One outcome with readable status and time."""
    found = dict(outcome)
    found["status"] = status_text(outcome.get("status"))
    for name, value in outcome.items():
        if name.endswith("time") and isinstance(value, int):
            found[name] = moment(value)
    return found


def status_text(status: object) -> str:
    """Four hexadecimal digits."""
    return f"{status:04X}" if isinstance(status, int) else str(status or "")


def moment(microseconds: int) -> str:
    """Microseconds since the epoch as ISO 8601 UTC with milliseconds."""
    when = datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
