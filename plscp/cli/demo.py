"""`plscp demo`: a cath-lab case from four devices through a real server into a real Kafka, and a check that all of it arrived."""

import json
import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from plscp.cli import output
from plscp.cli.client import Api
from plscp.cli.demo_reader import Reader, Sums, sums
from plscp.cli.demo_server import DemoServer
from plscp.cli.demo_view import Fetching, Lines, Panels, View, summary
from plscp.errors import CommandError
from plscp.scu.pci_case import TABLET, Request, pci_case
from plscp.scu.playing import Played, play
from plscp.scu.sending import Association, Peer

CATCH_UP = 30.0
"""Seconds for the consumer to receive what is stored."""


def demo(
    *,
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
    with _ended_by_signals(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plscp-demo-")))
        address = _broker(stack, folder, out) if kafka else ""
        out.print("Starting the server: SQLite store, DICOM and HTTP on free ports")
        server = stack.enter_context(DemoServer(folder, address))
        _run(out, server, address, speed)
        out.print("Sent = answered = stored = consumed.", style="bold green")
        _next_steps(out, server, address, keep)
        if keep:
            _until_interrupted(server)


def _broker(stack: ExitStack, folder: Path, out: Console) -> str:
    """Start a broker of our own; its address."""
    from plscp.local.kafka import LocalBroker  # noqa: PLC0415  # --no-kafka does without

    progress = Fetching(out)
    broker = LocalBroker(folder / "kafka", progress=progress)
    stack.callback(broker.kill)  # its data goes with the folder: nothing has to be brought into order
    try:
        broker.start()
    except (CommandError, OSError) as error:
        raise CommandError(
            f"no Kafka broker: {error}; `{_program()} demo --no-kafka` shows the same from the store", 3
        ) from error
    finally:
        progress.stop()
    out.print(f"Started Apache Kafka at {broker.address}")
    return broker.address


def _run(out: Console, server: DemoServer, kafka: str, speed: float) -> None:
    """Play, read, compare; raises CommandError, one line, when anything is not as it should be."""
    api, case = Api(server.url), pci_case()
    source = "a Kafka consumer" if kafka else "a reader of the store"
    view: View = Panels(out, source, case, speed) if out.is_terminal else Lines(out, source)
    with view:
        reader = Reader(kafka, server.url, api.get("/api/v1/status")["store"]["id"], view.received)
        try:
            played = play(case, lambda device: _device(server, device), speed=speed, told=view.answered)
            stored = _stored(api)
            reader.wait(lambda received: len(received) >= len(stored), CATCH_UP)
        finally:
            reader.stop()
    found = sums(played, stored, [one.value for one in reader.received])
    summary(out, case, played, found, source)
    _judge(case, played, found, reader)


def _device(server: DemoServer, device: str) -> Association:
    return Association(Peer("127.0.0.1", server.port, calling=device))


def _stored(api: Api) -> list[dict[str, Any]]:
    """Entries and refusals as the store has them."""
    found = api.get("/api/v1/events", {"after": 0, "limit": 10_000, "kind": "all"})["events"]
    return [event for event in found if "change" not in event]


def _judge(case: Sequence[Request], played: Sequence[Played], found: Sums, reader: Reader) -> None:
    wrong = [one for one in played if not one.as_expected]
    if len(played) < len(case) or wrong:
        first = f", first {wrong[0].answer.code} for {wrong[0].request.label}" if wrong else ""
        raise CommandError(
            f"{len(case) - len(played)} requests had no answer, {len(wrong)} another one than meant{first}"
        )
    if reader.error is not None:
        raise CommandError(f"the consumer ended early: {reader.error}")
    if not found.agree:
        lost = sum((found.stored - found.consumed).values()) + sum((found.kept - found.told).values())
        raise CommandError(
            f"what was sent, answered, stored and consumed differs: {lost} stored events were not consumed"
        )


def _next_steps(out: Console, server: DemoServer, kafka: str, keep: bool) -> None:
    program = _program()
    if not keep:
        again = shlex.join([program, "demo", "--keep", *([] if kafka else ["--no-kafka"])])
        out.print(
            f"\nNothing is left running. `{again}` keeps it running and says how to send your own event.",
            soft_wrap=True,
        )
        return
    event = server.folder / "event.json"
    sample = next(request for request in pci_case() if request.device == TABLET)
    event.write_text(json.dumps(sample.dataset(datetime.now(UTC)).to_json_dict(), indent=1), "utf-8")
    lines = [
        ("DICOM", f"PLSCP at 127.0.0.1:{server.port}"),
        ("HTTP", f"{server.url}/api/v1/events"),
        *([("Kafka", f"{kafka}, topics plscp.*")] if kafka else []),
        ("Files", str(server.folder)),
    ]
    out.print("\nRunning until Ctrl-C:", style="bold")
    for name, value in lines:
        out.print(f"  {name:<6} {value}", soft_wrap=True, markup=False)
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


def _until_interrupted(server: DemoServer) -> None:
    try:
        while server.running:
            threading.Event().wait(0.5)
    except KeyboardInterrupt:
        return
    raise CommandError(f"the server ended: {server.last_words()}")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: in order."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
