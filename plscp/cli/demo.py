"""`plscp demo`: a cath-lab case from four devices through a real server into a real Kafka, and a check that all of it arrived; `plscp kafka`."""

import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self
from uuid import uuid4

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from plscp.cli import output, view
from plscp.cli.client import Api
from plscp.cli.options import group
from plscp.errors import CommandError, PlscpError
from plscp.local.kafka import HOST, LocalBroker, OwnProcess
from plscp.scu.pci_case import DEVICES, MAY, TABLET, CaseSubject, Played, Request, pci_case, play, registry_file
from plscp.scu.sending import RemoteScp, ScuAssociation

app = group()

CATCH_UP_SECONDS = 30.0
"""For the consumer to receive what is stored."""
PREFIX = "plscp"
TOPICS = tuple(f"{PREFIX}.{name}" for name in ("procedure-log", "medication-administration", "quarantine"))
"""Where the case's entries and refusals are published."""
SIDE_BY_SIDE = 100
"""Columns of a terminal that has room for two panels beside each other."""
LOOK_SECONDS = 0.2
"""Between two looks at the store, without Kafka; and at what was received."""

Value = Mapping[str, Any]
"""A published JSON value."""


class DemoServer(OwnProcess):
    """`plscp serve` on free ports, with settings, store and log in a folder, for a broker at an address or (empty) for none."""

    def __init__(self, folder: Path, kafka: str) -> None:
        self.folder = folder
        self.port, self.url = 0, ""
        self._log = folder / "server.log"
        (folder / "plscp.toml").write_text(_settings(kafka), "utf-8")
        registry = registry_file(CaseSubject(), datetime.now(UTC) - timedelta(minutes=5))
        (folder / "current.toml").write_text(registry, "utf-8")

    def start(self, timeout: float = 30.0) -> Self:
        """Start, and wait until it accepts associations; raises CommandError, one line, when it does not."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLSCP_")}
        command = [sys.executable, "-m", "plscp", "serve", "--config", str(self.folder / "plscp.toml")]
        with self._log.open("wb") as log:
            process = self._launch(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        assert process.stdout is not None
        said, deadline = b"", time.monotonic() + timeout
        while (found := re.search(rb"^http (.*)\n(?:.*\n)*listening .*:(\d+)\n", said, re.MULTILINE)) is None:
            if not select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise CommandError(f"the server was not ready within {timeout:g} s; its log: {self._log}")
            more = os.read(process.stdout.fileno(), 4096)
            if not more:
                raise CommandError(f"the server did not start: {self.last_words()}")
            said += more
        self.port, self.url = int(found[2]), f"http://{found[1].decode()}"
        return self

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("plscp: ")[:300] if lines else "it said nothing"


def _settings(kafka: str) -> str:
    broker = f'[kafka]\nbootstrap_servers = ["{kafka}"]\ntopic_prefix = "{PREFIX}"\n' if kafka else ""
    devices = "".join(
        f'\n[devices.{name}]  # {what}\nlocation = "{CaseSubject.location}"\n' for name, what in DEVICES.items()
    )
    return f"""\
# The demo's settings: one lab, four devices, every port a free one.
[dicom]
port = 0
unknown_devices = "accept"       # so that your own event can come from any AE title

[store]
url = "sqlite:///plscp.db"

{broker}
[http]
port = 0

[registry]
file = "current.toml"

[matching]
patient_id_issuer = "{CaseSubject.issuer}"

[locations.{CaseSubject.location}]
names = ["{CaseSubject.location}"]
{devices}
[operators]
policy = "list"
allowed = [{{ value = "{MAY.value}", scheme = "{MAY.scheme}", locations = ["{CaseSubject.location}"] }}]

[log]
format = "json"
"""


class Received(NamedTuple):
    """One event as the consumer got it, and where: topic, partition and offset, or the store and the position."""

    place: str
    value: Value


class DemoConsumer:
    """It reads in a thread of its own, from Kafka or, without its address, from the store over HTTP; `told` is called from there."""

    def __init__(self, kafka: str, api: Api, told: Callable[[Received], None]) -> None:
        self.received: list[Received] = []
        self.error: str | None = None
        """Why reading ended early."""
        self._told = told
        if kafka:
            from plscp.consumer import consume  # noqa: PLC0415  # loads kafka, which --no-kafka does without

            events = consume(kafka, topics=TOPICS, group=f"demo-{uuid4()}", metadata_max_age_ms=500)
            self._end, found = events.stop, _published(events)
        else:
            stopped = threading.Event()
            self._end, found = stopped.set, _stored(api, stopped)
        self._thread = threading.Thread(target=self._run, args=(found,), name="consumer", daemon=True)
        self._thread.start()

    def _run(self, found: Iterator[Received]) -> None:
        try:
            for one in found:
                self.received.append(one)
                self._told(one)
        except PlscpError as error:
            self.error = str(error)

    def wait(self, count: int, seconds: float) -> None:
        """Wait until so many events came, or reading ended."""
        until = time.monotonic() + seconds
        while len(self.received) < count and self._thread.is_alive() and time.monotonic() < until:
            self._thread.join(LOOK_SECONDS)

    def stop(self) -> None:
        """End reading; what was received stays."""
        self._end()
        self._thread.join(10)


def _published(events: Any) -> Iterator[Received]:
    with events:
        for event in events:
            place = f"{event.topic.rsplit('.', 1)[-1]}[{event.partition}]@{event.offset}"
            if event.data is None:
                raise CommandError(f"{place} cannot be read: {event.reason}")
            yield Received(place, event.data.model_dump(mode="json", exclude_none=True))


def _stored(api: Api, stopped: threading.Event) -> Iterator[Received]:
    after = 0
    while not stopped.wait(LOOK_SECONDS):
        found = api.get("/api/v1/events", {"after": after, "kind": "all"})
        after = found["next"]
        yield from (Received(f"store@{event['position']}", event) for event in found["events"] if "change" not in event)


class Station(NamedTuple):
    """What was found at one station: entries by (calling AE title, DateTime as sent), refusals by (calling AE title, status)."""

    entries: Counter[tuple[str, str]]
    refusals: Counter[tuple[str, str]]


class Stations(NamedTuple):
    """Where an event passes, in this order; when all went well each has the same."""

    answered: Station
    stored: Station
    consumed: Station


def answered(played: Iterable[Played]) -> Station:
    """What the devices were answered."""
    found = Station(Counter(), Counter())
    for one in played:
        if one.answer.performed:
            found.entries.update((one.request.device, time) for time in one.times)
        else:
            found.refusals[one.request.device, one.answer.code] += 1
    return found


def published(values: Iterable[Value]) -> Station:
    """What the published values say, of the store or the consumer."""
    found = Station(Counter(), Counter())
    for value in values:
        device = value["sender"]["ae_title"]
        if "entry" in value:
            found.entries[device, value["occurred"]["text"]] += 1
        elif "status" in value:
            found.refusals[device, value["status"]] += 1
    return found


@app.command()
def demo(
    kafka: Annotated[
        bool, typer.Option("--kafka/--no-kafka", help="Fetch and start Apache Kafka; or show the case from the store.")
    ] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running until Ctrl-C.")] = False,
    speed: Annotated[
        float, typer.Option(help="How much faster than life: only the pauses shrink.", min=1, max=10000)
    ] = 50.0,
) -> None:
    """Play a coronary intervention from four devices through a server into Kafka, and check that all of it arrived.

    Needs nothing: what has to be fetched is kept in the cache folder. Leaves nothing running.
    """
    out = output.console()
    with ended_by_signals(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plscp-demo-")))
        address = ""
        if kafka:
            try:
                address = stack.enter_context(_broker(folder / "kafka", out)).address
            except (CommandError, OSError) as error:
                instead = f"`{_program()} demo --no-kafka` shows the same from the store"
                raise CommandError(f"no Kafka broker: {error}; {instead}", 3) from error
            out.print(f"Started Apache Kafka at {address}")
        out.print("Starting the server: SQLite store, DICOM and HTTP on free ports")
        server = stack.enter_context(DemoServer(folder, address))
        _run(out, server, address, speed)
        out.print("Sent = answered = stored = consumed.", style="bold green")
        _next_steps(out, server, address, keep)
        with suppress(KeyboardInterrupt):
            while keep:
                if not server.running:
                    raise CommandError(f"the server ended: {server.last_words()}")
                threading.Event().wait(0.5)


@app.command()
def kafka(port: Annotated[int, typer.Option(help="Its port on 127.0.0.1.", min=1, max=65535)] = 9092) -> None:
    """Run Apache Kafka until Ctrl-C, to try plscp with; prints `listening kafka HOST:PORT` when it is ready.

    It asks nobody who they are, and what it holds is deleted at its end. What has to be fetched is kept in the cache folder.
    """
    try:
        socket.create_server((HOST, port)).close()  # Kafka does not say why it ends
    except OSError as error:
        raise CommandError(f"kafka: {HOST}:{port}: {os.strerror(error.errno or 0)}; see --port", 3) from None
    with (
        ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="plscp-kafka-") as folder,
        _broker(Path(folder), output.console(), port) as broker,
        suppress(KeyboardInterrupt),
    ):
        print(f"listening kafka {broker.address}", flush=True)
        while broker.running:
            threading.Event().wait(0.5)
        raise CommandError("kafka: the broker ended", 3)


@contextmanager
def _broker(folder: Path, out: Console, port: int = 0) -> Iterator[LocalBroker]:
    """A broker that has started; its data goes with the folder, so nothing has to be brought into order at its end."""
    progress = Fetching(out)
    broker = LocalBroker(folder, port=port, progress=progress)
    try:
        broker.start()
        progress.stop()
        yield broker
    finally:
        progress.stop()
        broker.kill()


def _run(out: Console, server: DemoServer, kafka: str, speed: float) -> None:
    """Play, read, compare; raises CommandError, one line, when anything is not as it should be."""
    api, case = Api(server.url), pci_case()
    source = "a Kafka consumer" if kafka else "a reader of the store"

    def connect(device: str) -> ScuAssociation:
        return ScuAssociation(RemoteScp("127.0.0.1", server.port, calling=device))

    told = Panels(out, source, case, speed) if out.is_terminal else Lines(out)
    with told.shown:
        reader = DemoConsumer(kafka, api, told.received)
        try:
            played = play(case, connect, speed=speed, told=told.answered)
            found = api.get("/api/v1/events", {"after": 0, "limit": 10_000, "kind": "all"})["events"]
            stored = [event for event in found if "change" not in event]
            reader.wait(len(stored), CATCH_UP_SECONDS)
        finally:
            reader.stop()
    stations = Stations(answered(played), published(stored), published(one.value for one in reader.received))
    summary(out, case, played, stations, source)
    judge(case, played, stations, reader.error)


def judge(case: Sequence[Request], played: Sequence[Played], stations: Stations, error: str | None) -> None:
    """Raise CommandError, one line, where not all was answered as it was meant, or not all that was answered is at the next stations."""
    wrong = [one for one in played if not one.as_expected]
    if len(played) < len(case) or wrong:
        first = f", first {wrong[0].answer.code} for {wrong[0].request.label}" if wrong else ""
        raise CommandError(
            f"{len(case) - len(played)} requests had no answer, {len(wrong)} another one than meant{first}"
        )
    if error is not None:
        raise CommandError(f"the consumer ended early: {error}")
    if not stations.answered == stations.stored == stations.consumed:
        lost = sum((kept - read).total() for kept, read in zip(stations.stored, stations.consumed, strict=True))
        raise CommandError(
            f"what was sent, answered, stored and consumed differs: {lost} stored events were not consumed"
        )


def _next_steps(out: Console, server: DemoServer, kafka: str, keep: bool) -> None:
    program = _program()
    if not keep:
        again = shlex.join([program, "demo", "--keep", *([] if kafka else ["--no-kafka"])])
        said = f"\nNothing is left running. `{again}` keeps it running and says how to send your own event."
        out.print(said, soft_wrap=True)
        return
    event = server.folder / "event.json"
    sample = next(request for request in pci_case() if request.device == TABLET)
    event.write_text(json.dumps(sample.dataset(datetime.now(UTC)).to_json_dict(), indent=1), "utf-8")
    lines = [
        f"DICOM  PLSCP at 127.0.0.1:{server.port}",
        f"HTTP   {server.url}/api/v1/events",
        *([f"Kafka  {kafka}, topics plscp.*"] if kafka else []),
        f"Files  {server.folder}",
    ]
    out.print("\nRunning until Ctrl-C:", style="bold")
    for line in lines:
        out.print(f"  {line}", soft_wrap=True, markup=False)
    out.print(
        "Your own event: change the file as you like (the DICOM JSON Model), then, in another terminal,", style="bold"
    )
    for command in (
        f"{program} send 127.0.0.1 {server.port} {event} --now -aet {TABLET}",
        f"{program} event tail --url {server.url} --after 0",
        f"{program} simulate 127.0.0.1 {server.port}",
    ):
        out.print(f"  {command}", soft_wrap=True, markup=False)


def _program() -> str:
    """How this command was called, so that it can be called again."""
    called = Path(sys.argv[0])
    if called.name != "plscp":
        return "plscp"
    near = os.path.relpath(called)
    return near if os.sep in near and not near.startswith("..") else str(called)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def answer_line(one: Played) -> Text:
    """Time in the case, device, status, and what happened; for anything but Success its name and Error Comment."""
    answer = one.answer
    style = output.status_style(answer.code)
    text = Text(f"{output.clock(one.request.at)} {one.request.device:<7} ")
    text.append(f"{answer.code} ", style=f"bold {style}")
    if answer.status:
        text.append(output.clean(answer.name + (f" ({answer.comment})" if answer.comment else "")) + " ", style=style)
    return text.append(output.clean(one.request.label))


class Lines:
    """For files, pipes and continuous integration: one line per thing that happens."""

    def __init__(self, out: Console) -> None:
        self._out, self._lock = out, threading.Lock()
        self.shown = nullcontext()

    def answered(self, one: Played) -> None:
        """A device was answered; told from any thread, as what follows."""
        with self._lock:
            self._out.print("answered ", answer_line(one), sep="", soft_wrap=True)

    def received(self, one: Received) -> None:
        """The consumer received an event."""
        with self._lock:
            self._out.print("received ", view.line(one.value, one.place), sep="", soft_wrap=True)


class Panels:
    """For a terminal: answers on the left, what the consumer received on the right (on a narrow one below), both growing downwards."""

    def __init__(self, out: Console, source: str, case: Sequence[Request], speed: float) -> None:
        self._source, self._case, self._speed = source, case, speed
        self._played: list[Played] = []
        self._received: list[Received] = []
        self.answered, self.received = self._played.append, self._received.append
        self._out, self._columns = out, 2 if out.width >= SIDE_BY_SIDE else 1
        self._rows = max((out.size.height - 6) * self._columns // 2 - 2, 4)
        self.shown = Live(console=out, refresh_per_second=8, get_renderable=self._render)

    def _render(self) -> Group:
        played, received = list(self._played), list(self._received)
        at = output.clock(max((one.request.at for one in played), default=0.0))
        head = Text(f"Coronary intervention, {at} of 20:00 at {self._speed:g} times life   ", "bold")
        had, wanted = Counter(one.request.device for one in played), Counter(each.device for each in self._case)
        for device in DEVICES:
            head.append(f"{device} {had[device]}/{wanted[device]}  ", "cyan")
        answers = self._panel("What each device was answered", map(answer_line, reversed(played)))
        events = (view.line(one.value, one.place) for one in reversed(received))
        consumed = self._panel(f"What {self._source} received: {len(received)}", events)
        if self._columns == 1:
            return Group(head, answers, consumed)
        columns = Table.grid(expand=True)
        columns.add_column(ratio=1)
        columns.add_column(ratio=1)
        columns.add_row(answers, consumed)
        return Group(head, columns)

    def _panel(self, title: str, newest_first: Iterable[Text]) -> Panel:
        """As many of the newest as there is room for; each is told whole."""
        lines: list[Text] = []
        for text in newest_first:
            lines[:0] = text.wrap(self._out, self._out.width // self._columns - 4)
            if len(lines) >= self._rows:
                break
        return Panel(Group(*lines[-self._rows :]), title=title, height=self._rows + 2)


class Fetching:
    """How far fetching is: a bar on a terminal, a line per quarter elsewhere; nothing when nothing is fetched."""

    def __init__(self, out: Console) -> None:
        self._out = out
        columns = (TextColumn("Fetching Apache Kafka"), BarColumn(), DownloadColumn())
        self._bar = Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
        self._task = self._bar.add_task("")
        self._quarter = -1

    def __call__(self, done: int, total: int) -> None:
        """So many bytes of so many are there."""
        if self._quarter < 0:
            self._out.print(f"Fetching Apache Kafka once, {total / 1e6:.0f} MB, into the cache folder")
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
        before, self._quarter = self._quarter, 4 * done // max(total, 1)
        if self._quarter > max(before, 0) and not self._out.is_terminal:
            self._out.print(f"  {done / 1e6:.0f} of {total / 1e6:.0f} MB", highlight=False)

    def stop(self) -> None:
        """It is all there, or it failed."""
        self._bar.stop()


def summary(out: Console, case: Sequence[Request], played: Sequence[Played], stations: Stations, source: str) -> None:
    """The end of the demo: what went wrong on purpose, then the four counts."""
    special = [one for one in sorted(played, key=lambda one: one.request.at) if one.request.why or not one.as_expected]
    out.print("\nWhat was not simply Success, and why", style="bold")
    for one in special:
        line = Text("  ").append(answer_line(one))
        out.print(line.append(f" - {one.request.why or 'not meant'}", style="dim"))
    counts = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "entries", "refusals", ""):
        counts.add_column(heading, justify="left" if not heading else "right")
    sent = sum(request.count for request in case if request.expect >> 12 != 0xC)
    refused = sum(request.expect >> 12 == 0xC for request in case)
    counts.add_row("sent", str(sent), str(refused), f"{len(case)} requests from {len(DEVICES)} devices")
    where = (f"{len(played)} of {len(case)} requests, as each should be", "in the event store", f"by {source}")
    for name, station, words in zip(Stations._fields, stations, where, strict=True):
        counts.add_row(name, str(station.entries.total()), str(station.refusals.total()), words)
    out.print()
    out.print(counts)
