"""The answer of GET /api/v1/status: one screen for the person on call. It names studies and devices, never a patient."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from plscp import __version__, logs
from plscp.service.overview import iso
from plscp.web.events import retry
from plscp.web.server import Server
from plscp.web.verdict import verdict

MOST_ROWS: Final = 200
"""Of devices, rooms and associations: beyond, `truncated` says so."""


def shown(server: Server, stored: Mapping[str, Any]) -> dict[str, Any]:
    """What runs, how far it is, who is connected.

    Args:
        stored: what only the store and its disk know: ``disk_free``, ``full``, ``quarantine_open``, ``retries``, ``proposed``,
            ``failing``; members are missing where the store does not answer.
    """
    settings, overview = server.settings, server.overview
    with server.keeper.lock:
        registry = server.keeper.registry
        counts = {
            "registry_position": registry.position,
            "patients": len(registry.patients()),
            "open_studies": len(registry.studies(status="open")),
        }
    position, last_change = server.store.head()
    open_items: dict[str, int] = stored.get("quarantine_open", {})
    lists = {
        "associations": [dict(each) for each in server.acceptor.associations],
        "devices": overview.device_rows(),
        "rooms": overview.room_rows(),
    }
    status: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "ae_title": settings.dicom.ae_title,
        "draining": server.draining,
        "settings": dict(server.settings_shown),
        "store": {
            "id": server.store.store_id,
            "position": position,
            "last_registry_change": last_change,
            "disk_free": stored["disk_free"],
            "disk": _disk(server, stored),
            "failing": stored.get("failing", ""),
        },
        "relay": _relay(server),
        "registry": counts,
        "quarantine_open": sum(open_items.values()),
        "quarantine": {
            "open": sum(open_items.values()),
            "of_closed_cases": sum(overview.cases.of_cases.values()),
            "closed_cases": [{"study_instance_uid": uid, "open": n} for uid, n in overview.cases.of_cases.items()][
                :MOST_ROWS
            ],
        },
        "corrections_proposed": stored.get("proposed", 0),
        "requests_retried": server.metrics.retried_so_far(),
        "latest_retries": [{"position": note.position, **retry(note)} for note in stored.get("retries", ())],
        "clock_tolerance": settings.matching.clock_tolerance.total_seconds(),
        "certificates": [
            {"file": name, "expires": datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")}
            for (name,), when in server.metrics.certificates.values.items()
        ],
        **{name: rows[:MOST_ROWS] for name, rows in lists.items()},
        "truncated": [name for name, rows in lists.items() if len(rows) > MOST_ROWS],
        "refused_peers": [dict(each) for each in server.acceptor.refused_peers],
        "last_errors": _last_errors(server),
        "kafka": "absent" if settings.kafka is None else dict(server.relay_status) or "starting",
    }
    return {"verdict": verdict(status), **status}


def _disk(server: Server, stored: Mapping[str, Any]) -> str:
    """``full``: requests are refused; ``low``: the quarantine takes nothing any more; else ``ok``."""
    if stored["full"]:
        return "full"
    free = stored["disk_free"]
    return "low" if free is not None and free < server.settings.store.disk_reserve else "ok"


def _relay(server: Server) -> dict[str, Any]:
    """The relay's last status line, in short; empty without Kafka or before the first."""
    names = ("reachable", "away_since", "pending", "oldest_age", "topics", "restarts", "errors", "ended")
    if server.settings.kafka is None:
        return {}
    return {name: server.relay_status[name] for name in names if name in server.relay_status}


def _last_errors(server: Server) -> list[dict[str, Any]]:
    """The last refusal of each device and the last lines logged as errors, newest first."""
    rows: list[dict[str, Any]] = [
        {
            "time": iso(one.time_us),
            "what": "request-refused",
            "device": one.calling_ae,
            "text": f"{one.status:04X} {one.comment}".strip(),
        }
        for one in server.overview.devices.latest_refusals()
    ]
    rows += [{"time": line.time, "what": line.event, "device": "", "text": line.text} for line in logs.RECENT]
    return sorted(rows, key=lambda row: str(row["time"]), reverse=True)[:20]
