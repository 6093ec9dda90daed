"""Logging: one JSON line per event on a machine, a console line on a terminal; event names come from a closed list.

No patient names or IDs at INFO or above: the opaque event id, request id or position instead.
"""

import logging
import sys
from collections import deque
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final, TextIO

import structlog

EVENTS: Final[dict[str, str]] = {
    "listening": "the DICOM listener accepts associations",
    "stopping": "the server was told to stop; for how many seconds it goes on accepting, and waits for devices after that",
    "stopped": "the server has ended; how many associations were released meanwhile, aborted because it stopped, or left otherwise",
    "association-accepted": "an association was accepted",
    "association-rejected": "an association was rejected, with result, source and reason",
    "peer-refused": "an association was rejected by a setting: `rule` names it, `hint` says what to change there to let the peer in",
    "association-ended": "an association was released, aborted or lost",
    "association-aborted": "an association or connection was aborted by the server, with what was wrong",
    "connection-closed": "a connection was closed before an association was made",
    "certificates-loaded": "certificate files of a TLS listener changed and were read again",
    "certificates-refused": "certificate files that changed cannot be used; what was read before stays in use",
    "certificate-expired": "a certificate of a TLS listener has expired",
    "peer-slowed": "a peer is not read for a while: it took too much time for nothing, or as many requests wait as may",
    "request-answered": "an N-ACTION was answered with Success or Warning",
    "request-refused": "an N-ACTION was refused, with what to do about it; more: how often since the last such line",
    "procedure-step": "a procedure step began, goes on or ended, as a modality or an operator says",
    "procedure-step-refused": "an N-CREATE or N-SET of a procedure step was refused, and why",
    "procedure-step-warning": "a procedure step was taken with something left out or probably not meant",
    "case-closed-with-refusals": "a case closed while the quarantine holds drugs, contrast agents or devices of its room or patient",
    "issuer-unusable": "a Patient ID came with an issuer that cannot be used, as a rule since [issuers] lacks it; the ID names nobody",
    "answer-late": "the answer deadline passed before the store committed; the device got a failure",
    "store-opened": "the event store is open for writing",
    "store-permissions": "others may read where the store lives, or its files",
    "store-failed": "the event store could not commit",
    "store-recovered": "the event store takes requests again",
    "store-fatal": "the event store cannot be trusted any more; the server ends",
    "disk-low": "less disk is free than the watermark: every request is answered 0213H until there is a tenth more than it again",
    "disk-recovered": "enough disk is free again: requests are taken",
    "raw-expunged": "raw bytes of requests older than [store] raw_retention were deleted; their digests stay",
    "store-restored": "the store was restored from a backup, and Kafka holds events that came after the backup: plscp verify names them",
    "registry-loaded": "the registry was rebuilt from the event store: from `snapshot`, the position of its snapshot, or 0, up to `position`",
    "registry-snapshot-unusable": "the registry was rebuilt from all its changes: its snapshot is damaged, or of another store, version or settings",
    "registry-snapshot-failed": "the registry's snapshot could not be written; the next start takes longer",
    "registry-changed": "patients, admissions, studies or operators changed",
    "entries-moved": "a correction moved entries to another study or patient; `correction` is its id",
    "correction-proposed": "entries stand under another study than the rules name now; `plscp correction show` says which",
    "correction-settled": "a proposed correction was rejected, or confirmed where nothing was to be moved",
    "registry-file-refused": "the registry file, or the operators' file, was not taken, nothing of it: one of its rows, or the file, cannot be used",
    "registry-file-recovered": "a file of the registry or of operators, which was refused before, was taken",
    "registry-warning": "a registry change was taken that is legal and probably not meant",
    "worklist-away": "the worklist does not answer, or a query failed; it is asked again in so many seconds",
    "worklist-back": "the worklist answers again",
    "worklist-cut": "the worklist has more entries than [feeds.worklist] max_entries; the others are not known",
    "worklist-entry-refused": "an entry of the worklist, or a study of it, cannot be taken: why; said once while it stays so",
    "feed-listening": "a feed's listener takes connections",
    "feed-connected": "a sender connected to a feed",
    "feed-disconnected": "a sender's connection to a feed ended, after so many messages",
    "feed-refused": "a connection to a feed was closed by a setting, which `rule` names, or for its certificate; once for each address",
    "feed-message": "a message of a feed was looked at, and what became of it",
    "feed-message-refused": "a message of a feed was not taken, with the reason that its sender was told; more: how often since the last such line",
    "feed-note": "a message of a feed was acknowledged, and something of it is not done: the reason; once for each sender",
    "settings-reloaded": "the settings were read again: what applies from now on, and what needs a restart",
    "settings-refused": "the settings were read again and cannot be used; those before stay in force",
    "settings-warning": "a setting is legal but probably not meant",
    "relay-started": "the relay process was started",
    "relay-status": "what the relay does with each topic, said every second",
    "relay-stopped": "the relay process ended",
    "relay-topic-waits": "a topic refuses; it waits and the others go on",
    "relay-recovered": "the relay knows what a topic holds and goes on from there",
    "relay-topic-changed": "a topic was made again or is shorter than it was; the relay goes on after its cursor",
    "relay-kafka-away": "no broker answers; the relay keeps trying",
    "relay-kafka-back": "a broker answers again; what waited is published",
    "relay-halted": "Kafka holds what the store does not: the store is older than what it published, nothing is published",
    "request-replayed": "a request was accepted out of quarantine: by hand, or by the server after a registry change",
    "replay-proposed": "a refused request would be accepted by now, and people are asked: plscp correction show",
    "second-look-failed": "refused requests are judged again later: the store does not answer",
    "relay-restarts": "it is unknown what was written; the relay starts anew and finds out",
    "relay-record-reduced": "a record was larger than its topic takes and was published reduced",
    "http-listening": "an HTTP listener accepts requests: `listener` is api or probes",
    "secret-loaded": "a file with tokens or a passcode changed and was read again",
    "secret-refused": "a file with tokens or a passcode changed and cannot be used; what was read before stays in force",
    "internal-error": "a defect: please report it with this line",
}
"""Every event name that plscp logs, and what it means."""


COUNTED: Final[dict[tuple[str, ...], int]] = {
    (event, "error"): 0 for event in ("internal-error", "store-failed", "relay-stopped", "relay-halted")
}
"""How often each event was logged at warning or above by this process, by (event, level); those that are alerted on from 0."""
_counting: Final = Lock()


RECENT: Final[deque[dict[str, str]]] = deque(maxlen=20)
"""The last lines that were logged as errors by this process, oldest first: `time`, `what` event it is, and as `text` where it was and why."""


class UnknownEventError(ValueError):
    """An event name that is not on the closed list: a defect that the tests find."""


def _closed_list(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if event.get("event") not in EVENTS:
        raise UnknownEventError(str(event.get("event")))
    return event


def _counted(_logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Count what is logged at warning or above: an alert can rest on it."""
    if method not in {"debug", "info"}:
        key = (str(event["event"]), "error" if method == "exception" else method)
        with _counting:
            COUNTED[key] = COUNTED.get(key, 0) + 1
    if method in {"error", "exception", "critical"}:
        text = " ".join(str(event[name]) for name in ("where", "why", "error") if event.get(name))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        RECENT.append({"time": now, "what": str(event["event"]), "device": "", "text": text})
    return event


def configure(*, level: str = "info", stream: TextIO | None = None, json: bool | None = None) -> None:
    """Set up logging for the process: to standard error by default, in JSON lines by default unless that is a terminal."""
    out = stream or sys.stderr
    as_json = not out.isatty() if json is None else json
    # For people what matters comes first, as the line was written.
    shown = structlog.dev.ConsoleRenderer(sort_keys=False, pad_event_to=24, colors=out.isatty())
    renderers: list[Any] = [structlog.processors.JSONRenderer()] if as_json else [_plain, shown]
    structlog.configure(
        processors=[
            _closed_list,
            _counted,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        logger_factory=structlog.PrintLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    set_level(level)


def set_level(level: str) -> None:
    """Write lines of this level and above from now on: debug, info, warning or error."""
    _level[0] = getattr(logging, level.upper())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_level[0]))


def _plain(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """On a console a device's text is never a control sequence."""
    return {key: _printable(value) for key, value in event.items()}


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in value)
    return [_printable(each) for each in value] if isinstance(value, list | tuple) else value


def debugging() -> bool:
    """Whether lines of level debug are written; asking costs less than a line that is dropped (10 us)."""
    return _level[0] <= logging.DEBUG


_level = [logging.INFO]
log: Final = structlog.get_logger()
"""The logger of every room: ``log.info("association-accepted", association=..., ...)``."""
