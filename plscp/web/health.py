"""What probes, Prometheus and the person on call ask: health, metrics, status, what would match; and to read the settings again."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from plscp import __version__, logs
from plscp.errors import StoreError
from plscp.service.explain_match import SOP_CLASSES
from plscp.service.overview import iso
from plscp.store.port import EventStore
from plscp.web.answers import HealthAnswer, MatchAnswer, ReloadAnswer, StatusAnswer
from plscp.web.operations import TEXT, ApiCall, Parameter, operation
from plscp.web.problems import ApiProblem
from plscp.web.verdict import verdict

if TYPE_CHECKING:
    from plscp.app import Server

PROBE_SECONDS = 2.0
LATEST_RETRIES = 5
MOST_ROWS: Final = 200
"""Of devices, rooms and associations: beyond, `truncated` says so."""
MATCH: Final = (
    Parameter("sop_class", "of the request", {"type": "string", "enum": list(SOP_CLASSES)}, next(iter(SOP_CLASSES))),
    Parameter("ae_title", "A, the device that would send"),
    Parameter(
        "at",
        "when the entry occurred: ISO 8601 or a DICOM DT, as the device stamps it, without offset in its time zone; now by default",
    ),
    Parameter("study_instance_uid", "U"),
    Parameter("patient_id", "P"),
    Parameter("issuer", "issuer of the Patient ID"),
    Parameter("issuer_universal_entity_id", "Universal Entity ID of that issuer"),
    Parameter("study_id", "S"),
    Parameter("location", "L, by any of its names"),
    Parameter("frame", "Synchronization Frame of Reference UID; the server's own by default"),
    Parameter("patient_name", "of an administration, as a PN"),
    Parameter("admission_id", "of an administration"),
    Parameter("issuer_of_admission_id", "of an administration"),
    Parameter("operator", "of an administration: value^scheme of the operator's code"),
)


# --- without a token, and without patients ---


@operation("GET", "/livez", HealthAnswer, role=None, parameters=None, problems=[503])
async def livez(call: ApiCall) -> HealthAnswer:
    """Whether the process should go on: the event loop turns and the store's writer is alive."""
    checks = {"event_loop": call.server.loop_alive(), "writer": call.server.store.alive()}
    if not all(checks.values()):
        bad = ", ".join(name for name, good in checks.items() if not good)
        raise ApiProblem(503, f"not alive: {bad}", checks=checks)
    return HealthAnswer(status="live")


@operation("GET", "/readyz", HealthAnswer, role=None, parameters=None, problems=[503])
async def readyz(call: ApiCall) -> HealthAnswer:
    """Whether it takes work: the store answers and the server is not draining. Kafka away changes nothing."""
    if call.server.draining:
        raise ApiProblem(503, "draining: the server was told to stop")
    try:
        await asyncio.wait_for(asyncio.to_thread(call.server.store.probe), PROBE_SECONDS)
    except TimeoutError:
        raise ApiProblem(503, f"the store has not answered within {PROBE_SECONDS:g} s") from None
    except StoreError as error:
        raise ApiProblem(503, f"the store does not answer: {error}") from None
    return HealthAnswer(status="ready")


@operation("GET", "/metrics", None, role=None, parameters=None, media=[TEXT])
async def metrics(call: ApiCall) -> Response:
    """Metrics in Prometheus' text format."""
    body = await asyncio.to_thread(call.server.metrics.exposition)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})


# --- what would match, and the settings ---


@operation("GET", "/api/v1/match", MatchAnswer, role="read", parameters=MATCH)
async def match(call: ApiCall) -> MatchAnswer:
    """What a request of one entry with these identifiers would be answered, and why; nothing is stored."""
    query = {name: call[name] for name in call.request.query_params}  # what is not given is not empty
    return MatchAnswer.model_validate(call.server.explain_match(query))


@operation("POST", "/api/v1/reload", ReloadAnswer, problems=[503])
async def reload(call: ApiCall) -> ReloadAnswer:
    """Read the settings and their files again: what applies from now on, and what needs a restart.

    422 with the faults where they cannot be used.
    """
    if call.server.draining:
        raise ApiProblem(503, "draining: the server was told to stop")
    try:
        done = await call.server.reload()
    except TimeoutError:
        raise ApiProblem(503, "the settings cannot be read now: their file system does not answer") from None
    if done.faults:
        raise ApiProblem(422, done.fault, faults=list(done.faults))
    return ReloadAnswer(applied=list(done.applied), restart=list(done.restart), fault="")


# --- the status ---


@operation("GET", "/api/v1/status", StatusAnswer, role="read", parameters=None, problems=[503])
async def status(call: ApiCall) -> StatusAnswer:
    """What runs, how far it is, who is connected, and what is not as it should be: it names studies and devices, never a patient."""
    server, settings, overview = call.server, call.server.settings, call.server.overview
    stored = await asyncio.to_thread(_stored, server.store)
    with server.keeper.lock:
        registry = server.keeper.registry
        counts = {
            "registry_position": registry.position,
            "patients": registry.patient_count,
            "open_studies": len(registry.studies(status="open")),
            "steps_in_progress": len(registry.steps.in_progress()),
        }
    position, last_change = server.store.head()
    free, refused = stored["disk_free"], sum(stored.get("quarantine_open", {}).values())
    of_cases = [{"study_instance_uid": uid, "open": count} for uid, count in overview.cases.of_cases.items()]
    lists = {
        "associations": server.acceptor.associations,
        "devices": overview.device_rows(),
        "rooms": overview.room_rows(),
    }
    shown: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "ae_title": settings.dicom.ae_title,
        "draining": server.draining,
        "settings": server.live.shown,
        "store": {
            "id": server.store.store_id,
            "position": position,
            "last_registry_change": last_change,
            "disk_free": free,
            "disk": "full"
            if stored["full"]
            else "low"
            if free is not None and free < settings.store.disk_reserve
            else "ok",
            "failing": stored.get("failing", ""),
        },
        "relay": {} if settings.kafka is None else server.relay_status,
        "registry": counts,
        "quarantine_open": refused,
        "quarantine": {
            "open": refused,
            "of_closed_cases": sum(overview.cases.of_cases.values()),
            "closed_cases": of_cases[:MOST_ROWS],
        },
        "corrections_proposed": stored.get("proposed", 0),
        "requests_retried": int(sum(child.value for child in list(server.metrics.retries.children.values()))),
        "latest_retries": stored.get("retries", ()),
        "clock_tolerance": settings.matching.clock_tolerance.total_seconds(),
        "certificates": [
            {"file": name, "expires": datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")}
            for (name,), when in server.metrics.certificates.children.items()
        ],
        **{name: rows[:MOST_ROWS] for name, rows in lists.items()},
        "truncated": [name for name, rows in lists.items() if len(rows) > MOST_ROWS],
        "refused_peers": server.acceptor.refused_peers,
        "feeds": [{"feed": name, **each} for name, each in server.feeds.status().items()],
        "last_errors": _last_errors(server),
        "kafka": "absent" if settings.kafka is None else server.relay_status or "starting",
    }
    return StatusAnswer.model_validate({"verdict": verdict(shown), **shown})


def _stored(store: EventStore) -> dict[str, Any]:
    """What only the store and its disk know, as counts: cheap however much it holds; a file system may hang."""
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


def _last_errors(server: "Server") -> list[dict[str, Any]]:
    refused: list[dict[str, Any]] = [
        {
            "time": iso(one.time_us),
            "what": "request-refused",
            "device": one.calling_ae,
            "text": f"{one.status:04X} {one.comment}".strip(),
        }
        for one in server.overview.devices.latest_refusals()
    ]
    return sorted([*refused, *logs.RECENT], key=lambda row: str(row["time"]), reverse=True)[:20]
