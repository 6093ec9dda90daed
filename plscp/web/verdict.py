"""The first line of `plscp status`: what matters most now, worked out of what the status shows."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

Level = Literal["ok", "warning", "critical"]
BEHIND_SECONDS: Final = 60.0
CERTIFICATE_DAYS: Final = 14.0
MOST_NAMED: Final = 3
MANY_REFUSED: Final = 10
"""Open refused requests of a device that is being set up; more of them, and nothing taken since, are somebody's events."""


def verdict(status: Mapping[str, Any]) -> dict[str, Any]:
    """Level and text of the most severe finding, and the texts of all; members that are missing in the status say nothing."""
    found = list(findings(status))
    critical = [text for level, text in found if level == "critical"]
    everything = critical + [text for level, text in found if level == "warning"]
    if not everything:
        return {"level": "ok", "text": "OK", "all": []}
    more = f" (+{len(everything) - 1} more)" if len(everything) > 1 else ""
    return {"level": "critical" if critical else "warning", "text": everything[0] + more, "all": everything}


def findings(status: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    """What is not as it should be, most severe first within each level."""
    store, relay, settings = (status.get(name) or {} for name in ("store", "relay", "settings"))
    if store.get("disk") == "full":
        yield "critical", "DISK FULL: requests are refused (0213H)"
    if store.get("failing"):
        yield "critical", f"STORE FAILING: {store['failing']}"
    if any(topic.get("state") == "halted" for topic in (relay.get("topics") or {}).values()):
        yield "critical", "RELAY HALTED: the store is older than what Kafka holds"
    if relay.get("ended"):
        yield "warning", f"RELAY STOPPED, {relay.get('pending', 0)} waiting"
    elif relay.get("reachable") is False:
        away = _seconds(relay.get("away_since"), status.get("time"))
        yield "warning", f"KAFKA AWAY{'' if away is None else ' ' + span(away)}, {relay.get('pending', 0)} waiting"
    else:
        waiting = [name for name, topic in (relay.get("topics") or {}).items() if topic.get("state") == "waiting"]
        if waiting:
            yield "warning", f"TOPIC WAITS {_some(waiting)}"
        if relay.get("oldest_age", 0) > BEHIND_SECONDS:
            yield "warning", f"RELAY BEHIND {span(relay['oldest_age'])}, {relay.get('pending', 0)} waiting"
    if settings.get("fault"):
        yield "warning", "SETTINGS REFUSED: the former ones hold"
    if status.get("draining"):
        yield "warning", "DRAINING"
    of_closed = (status.get("quarantine") or {}).get("of_closed_cases", 0)
    if of_closed:
        yield "warning", f"CLOSED CASES WITH REFUSALS {of_closed}"
    if store.get("disk") == "low":
        yield "warning", "DISK LOW"
    yield from _devices(status)
    for feed in status.get("feeds") or ():
        silent = [str(sender["sender"]) for sender in feed.get("senders") or () if sender.get("silent")]
        if silent:
            yield "warning", f"FEED SILENT {feed.get('feed')}: {_some(silent)}"
    for each in status.get("certificates") or ():
        left = _seconds(status.get("time"), each.get("expires"))
        if left is not None and left < CERTIFICATE_DAYS * 86400:
            said = "EXPIRED" if left <= 0 else f"EXPIRES in {span(left)}"
            yield "warning", f"CERTIFICATE {said}: {each.get('file')}"


def _devices(status: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    tolerance = float(status.get("clock_tolerance") or 120.0)
    devices = status.get("devices") or ()
    refused = [
        f"{device['ae_title']} {device['quarantine_open']}"
        for device in devices
        if (device.get("quarantine_open") or 0) > MANY_REFUSED and _refused_last(device)
    ]
    if refused:
        yield "warning", f"DEVICE REFUSED {_some(refused)}"
    silent = [str(device["ae_title"]) for device in devices if device.get("silent")]
    if silent:
        yield "warning", f"DEVICE SILENT {_some(silent)}"
    off = [
        f"{device['ae_title']} {behind(device['clock_difference'])}"
        for device in devices
        if abs(device.get("clock_difference") or 0) > tolerance
    ]
    if off:
        yield "warning", f"CLOCK OFF {_some(off)}"


def _refused_last(device: Mapping[str, Any]) -> bool:
    """Whether nothing that a device sent was taken since its last refusal."""
    since = _seconds((device.get("last_refusal") or {}).get("time"), device.get("last_event"))
    return bool(device.get("last_refusal")) and (since is None or since < 0)


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _seconds(since: Any, until: Any) -> float | None:
    """Seconds from one ISO 8601 time to another; None where one of them is none."""
    try:
        return (datetime.fromisoformat(str(until)) - datetime.fromisoformat(str(since))).total_seconds()
    except (TypeError, ValueError):
        return None


def behind(seconds: float) -> str:
    """A device's clock difference as people say it: how far behind this server's clock, or ahead of it."""
    whole = round(seconds)
    return f"{abs(whole)} s {'ahead' if whole < 0 else 'behind'}" if whole else "0 s"


def span(seconds: float) -> str:
    """A length of time as people say it: the two largest units at most."""
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172800:
        return f"{whole // 3600} h"
    return f"{whole // 86400} d"
