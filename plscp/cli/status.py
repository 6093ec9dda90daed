"""`plscp status`: what a running server is doing, once or every second: the verdict, then one screen for the person on call."""

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from plscp.cli import output
from plscp.cli.client import UNREACHABLE, Api, server_command
from plscp.cli.options import group
from plscp.errors import CommandError, HttpProblem
from plscp.web.verdict import behind, span

app = group()

EVERY_SECONDS = 1.0
PATIENCE_SECONDS = 3.0
"""How long `--watch` waits for an answer."""
STYLES: Final = {"ok": "bold black on green", "warning": "bold black on yellow", "critical": "bold white on red"}
LEAST_ROWS: Final = 3
"""Rows that a list keeps on a small terminal."""
FIXED_LINES: Final = 9
"""Lines of a screen that are no rows of a list: verdict, summary, headings."""
LONGEST_UID: Final = 14
MOST_PEERS: Final = 5
"""Refused peers that are listed, those refused last first."""

Rows = Sequence[Sequence[object]]


@server_command(app)
def status(
    api: Api,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew each second, also through a restart of the server; q ends it.")
    ] = False,
) -> None:
    """Show what a running server is doing: the first line is the verdict.

    Exit status: 0 where it is OK or a warning, 1 where it is critical (a full disk, a store that fails, a relay that halted), 3 where no
    server answers. --watch ends with 0.
    """
    if api.json and watch:
        raise CommandError("--json and --watch do not go together", 2)
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(api)
        return
    found = api.get("/api/v1/status")
    if api.json:
        output.print_json(found)
    else:
        output.console().print(screen(found))
    if found["verdict"]["level"] == "critical":
        raise typer.Exit(1)


@server_command(app)
def reload(api: Api) -> int:
    """Have a running server read its settings again: what holds from now on, what needs a restart.

    Exit status 1 and every fault where they cannot be used; then nothing is changed.
    """
    try:
        done = api.post("/api/v1/reload")
    except HttpProblem as refused:
        if refused.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        faults = [output.clean(fault) for fault in refused.problem.get("faults") or [refused]]
        if api.json:
            output.print_json({"applied": [], "restart": [], "fault": str(refused), "faults": faults})
        for fault in faults:
            typer.echo(f"plscp: {fault}", err=True)
        return 1
    settings = [(path, "now") for path in done["applied"]] + [(path, "after a restart") for path in done["restart"]]
    output.table(["setting", "applies"], settings, "nothing has changed", json=api.as_json(done))
    return 0


def _answers(api: Api) -> Iterator[tuple[dict[str, Any], str]]:
    """The status, again and again, and what stands above it while no server answers; CommandError where asking again is of no use."""
    api.seconds = PATIENCE_SECONDS
    found, since = dict[str, Any](), datetime.now(UTC)
    while True:
        trouble = ""
        try:
            found = api.get("/api/v1/status")
            since = datetime.now(UTC)
        except CommandError as error:
            if error.exit_status != UNREACHABLE:
                raise
            trouble = f"no answer since {output.local(since.isoformat())}: {error}"
        yield found, trouble


def _watch(api: Api) -> None:
    """On a terminal a screen, until q or Ctrl-C; elsewhere a line for each verdict that differs from the one before."""
    if sys.stdout.isatty():
        out = output.console()
        with _keys() as wait, Live(console=out, screen=True, auto_refresh=False) as live:
            for found, trouble in _answers(api):
                live.update(screen(found, trouble, height=out.height), refresh=True)
                if wait():
                    return
    before = ""
    for found, trouble in _answers(api):
        said = "no answer" if trouble else _headline(found)
        if said != before:
            print(f"{output.local(datetime.now(UTC).isoformat())} {said}", flush=True)
            before = said
        time.sleep(EVERY_SECONDS)


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """Gives a function that waits a second, and says whether q was typed meanwhile; keys are not echoed."""
    if not sys.stdin.isatty():
        yield lambda: time.sleep(EVERY_SECONDS)
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def wait() -> bool:
        until = time.monotonic() + EVERY_SECONDS
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([terminal], [], [], left)
            if ready and os.read(terminal, 64).lower() in {b"q", b""}:
                return True
        return False

    try:
        tty.setcbreak(terminal)
        yield wait
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _headline(status: Mapping[str, Any]) -> str:
    return output.clean(status.get("verdict", {}).get("text", ""))


def screen(status: Mapping[str, Any], trouble: str = "", *, height: int | None = None) -> RenderableType:
    """The whole of a status, empty before the first, below one line of trouble; cut to so many lines, or (None) not at all."""
    parts: list[RenderableType] = [Text(output.clean(trouble), style=STYLES["critical"])] if trouble else []
    if not status:
        return Group(*parts)
    verdict = status["verdict"]
    parts.append(Text(f" {_headline(status)} ", style=STYLES.get(verdict["level"], "bold")))
    parts += [Text(f"  {output.clean(text)}") for text in verdict.get("all", [])[1:4]]
    parts.append(_summary(status))
    rows = max(height - FIXED_LINES - len(parts), 0) if height is not None else None
    lists = list(_lists(status, status.get("time", ""), whole=height is None))
    for (headings, made), room in zip(lists, _shares([len(made) for _, made in lists], rows), strict=True):
        if made:
            parts.append(output.Listing(headings, made) if rows is None else _table(headings, made, room))
    return Group(*parts)


def _shares(wanted: Sequence[int], room: int | None) -> list[int]:
    """How many rows each list gets: a few at least, then those before others."""
    if room is None:
        return list(wanted)
    given = [min(want, LEAST_ROWS) for want in wanted]
    left = room - sum(given)
    for index, want in enumerate(wanted):
        more = max(min(want - given[index], left), 0)
        given[index] += more
        left -= more
    return given


def _table(headings: Sequence[str], rows: Rows, room: int) -> RenderableType:
    """A list of columns; what is too long for the screen is cut at the end of its line."""
    shown = rows if len(rows) <= room else rows[: max(room - 1, 0)]
    cells = [[value if isinstance(value, Text) else Text(output.clean(value)) for value in row] for row in shown]
    lines = [[Text(heading, style="bold") for heading in headings], *cells]
    widths = [max(line[column].cell_len for line in lines) for column in range(len(headings))]
    made = []
    for line in lines:
        whole = Text(no_wrap=True, overflow="ellipsis")
        for cell, width in zip(line, widths, strict=True):
            whole.append_text(cell).append(" " * (width - cell.cell_len + 2))
        whole.rstrip()
        made.append(whole)
    if len(shown) < len(rows):
        made.append(Text(f"and {len(rows) - len(shown)} more", style="dim"))
    return Group(*made)


def _summary(status: Mapping[str, Any]) -> Text:
    """Two lines of numbers."""
    store, relay, quarantine = (status.get(name) or {} for name in ("store", "relay", "quarantine"))
    free = store.get("disk_free")
    kafka = status.get("kafka")
    if isinstance(kafka, Mapping):
        state = "relay stopped" if relay.get("ended") else "up" if relay.get("reachable") else "away"
        kafka = f"{state}, {relay.get('pending', 0)} waiting"
    cells = [
        f"{status.get('ae_title')} version: {status.get('version')}",
        f"associations: {len(status.get('associations', ()))}",
        f"position: {store.get('position')}",
        f"disk: {'' if free is None else size(free) + ' free, '}{store.get('disk', 'ok')}",
        f"kafka: {kafka}",
        f"quarantine: {status.get('quarantine_open')} open, {quarantine.get('of_closed_cases', 0)} of closed cases",
        f"corrections proposed: {status.get('corrections_proposed')}",
        f"requests retried: {status.get('requests_retried')}",
    ]
    return Text("\n".join(output.clean("  ".join(some)) for some in (cells[:4], cells[4:])))


def _lists(status: Mapping[str, Any], now: object, *, whole: bool) -> Iterator[tuple[list[str], Rows]]:
    """What there is a list of, with its headings; what is wanted most comes first."""
    devices = [_device(device, status, now) for device in status.get("devices", ())]
    yield ["device", "room", "open", "last event", "clock", "refused", "last refusal"], devices
    rooms = []
    for room in status.get("rooms", ()):
        there = []
        for each in room["studies"]:
            step = ", a step in progress" if each.get("steps") else ""
            there.append(f"{short(each['study_instance_uid'])} for {ago(each.get('arrived'), now)}{step}")
        rooms.append((room["location"], ", ".join(there) or "nobody"))
    yield ["room", "study there"], rooms
    feeds = []
    for feed in status.get("feeds", ()):
        for sender in feed.get("senders", ()):
            last = ago(sender["last_message"], now) + (" silent" if sender["silent"] else "")
            feeds.append((feed["feed"], sender["sender"], last, sender["messages"], sender["refused"]))
    yield ["feed", "sender", "last message", "messages", "refused"], feeds
    errors = [
        (ago(one["time"], now), one["what"], one.get("device", ""), one["text"])
        for one in status.get("last_errors", ())[:5]
        if one["what"] != "request-refused"  # these stand with their devices
    ]
    yield ["last error", "what", "", ""], errors
    peers = [
        (one["calling_ae"], one["address"], one["times"], ago(one.get("last"), now), one["hint"] or one["rule"])
        for one in status.get("refused_peers", ())[:MOST_PEERS]
    ]
    more = len(status.get("refused_peers", ())) - MOST_PEERS
    if more > 0:
        peers.append(("", "", "", "", f"and {more} more, refused before: plscp status --json"))
    yield ["refused peer", "address", "times", "last", "why"], peers
    if whole:
        retries = [
            (one["position"], output.local(one["time"]), one["calling_ae"], one["address"], one["association"])
            for one in status.get("latest_retries", ())
        ]
        yield ["event", "sent again", "device", "address", "association"], retries


def _device(device: Mapping[str, Any], status: Mapping[str, Any], now: object) -> tuple[object, ...]:
    refusal = device.get("last_refusal") or {}
    difference = device.get("clock_difference")
    off = difference is not None and abs(difference) > float(status.get("clock_tolerance") or 120)
    connected, refused, silent = device.get("open", 0), device.get("refusals", 0), device.get("silent")
    last = ago(device.get("last_event"), now) or "never"
    parts = (ago(refusal.get("time"), now), str(refusal.get("status", "")), str(refusal.get("comment", "")))
    return (
        Text(output.clean(device["ae_title"]), style="" if device.get("configured") else "dim"),
        " ".join(device.get("location", ())),
        Text(str(connected), style="green" if connected else "dim"),
        Text(last + (" silent" if silent else ""), style="yellow" if silent else ""),
        Text("" if difference is None else behind(difference), style="yellow" if off else ""),
        Text(str(refused), style="red" if refused else "dim"),
        " ".join(filter(None, parts)),
    )


def short(uid: str) -> str:
    """The end of a UID, which is what tells it from others."""
    return uid if len(uid) <= LONGEST_UID else f"...{uid[-LONGEST_UID:]}"


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def ago(moment: object, now: object) -> str:
    """How long ago a time was, by the server's own clock; empty where it is none."""
    try:
        seconds = (datetime.fromisoformat(str(now)) - datetime.fromisoformat(str(moment))).total_seconds()
    except ValueError:
        return ""
    return span(seconds)
