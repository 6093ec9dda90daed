"""What the demo shows: two columns on a terminal, plain lines elsewhere, and the summary."""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from plscp.cli import output, view
from plscp.cli.demo_reader import Received, Sums
from plscp.scu.pci_case import DEVICES, Request
from plscp.scu.playing import Played


class View(Protocol):
    """A context manager that is told what happens, from any thread."""

    def answered(self, one: Played) -> None:
        """A device was answered."""

    def received(self, one: Received) -> None:
        """The consumer received an event."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def answer_line(one: Played) -> Text:
    """Time in the case, device, status, and what happened; for anything but Success its name and Error Comment."""
    answer = one.answer
    style = output.status_style(answer.code)
    text = Text(f"{clock(one.request.at)} {one.request.device:<7} ", no_wrap=True, overflow="ellipsis")
    text.append(f"{answer.code} ", style=f"bold {style}")
    if answer.status:
        text.append(output.clean(answer.name + (f" ({answer.comment})" if answer.comment else "")) + " ", style=style)
    return text.append(output.clean(one.request.label))


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60:2}:{int(seconds) % 60:02}"


class Lines:
    """For files, pipes and continuous integration: one line per thing that happens."""

    def __init__(self, out: Console, source: str) -> None:
        self._out, self._source, self._lock = out, source, threading.Lock()

    def answered(self, one: Played) -> None:
        """A device was answered."""
        with self._lock:
            self._out.print("answered ", answer_line(one), sep="", soft_wrap=True)

    def received(self, one: Received) -> None:
        """The consumer received an event."""
        with self._lock:
            self._out.print("received ", view.line(one.value, one.place), sep="", soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to do."""


class Panels:
    """For a terminal: answers on the left, what the consumer received on the right, both growing downwards."""

    def __init__(self, out: Console, source: str, case: Sequence[Request], speed: float) -> None:
        self._source, self._speed = source, speed
        self._wanted = Counter(request.device for request in case)
        self._had: Counter[str] = Counter()
        self._at = 0.0
        self._count = 0
        self._rows = max(out.size.height - 6, 8)
        self._answers: deque[Text] = deque(maxlen=self._rows)
        self._events: deque[Text] = deque(maxlen=self._rows)
        self._lock = threading.Lock()
        self._live = Live(console=out, refresh_per_second=8, get_renderable=self._render)

    def answered(self, one: Played) -> None:
        """A device was answered."""
        with self._lock:
            self._had[one.request.device] += 1
            self._at = max(self._at, one.request.at)
            self._answers.append(answer_line(one))

    def received(self, one: Received) -> None:
        """The consumer received an event."""
        with self._lock:
            self._count += 1
            self._events.append(view.line(one.value, one.place))

    def _render(self) -> Group:
        with self._lock:
            head = Text(f"Coronary intervention, {clock(self._at)} of 20:00 at {self._speed:g} times life   ", "bold")
            for device in DEVICES:
                head.append(f"{device} {self._had[device]}/{self._wanted[device]}  ", "cyan")
            columns = Table.grid(expand=True)
            columns.add_column(ratio=1)
            columns.add_column(ratio=1)
            columns.add_row(
                Panel(Group(*self._answers), title="What each device was answered", height=self._rows + 2),
                Panel(
                    Group(*self._events), title=f"What {self._source} received: {self._count}", height=self._rows + 2
                ),
            )
        return Group(head, columns)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class Fetching:
    """How far fetching is: a bar on a terminal, a line per quarter elsewhere; nothing when nothing is fetched."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._bar = Progress(
            TextColumn("Fetching Apache Kafka"), BarColumn(), DownloadColumn(), console=out, transient=True
        )
        self._task = self._bar.add_task("")
        self._told = -1
        self._lock = threading.Lock()

    def __call__(self, done: int, total: int, _what: str) -> None:
        """So many bytes of so many are there."""
        with self._lock:
            if self._told < 0:
                self._out.print(f"Fetching Apache Kafka once, {total / 1e6:.0f} MB, into the cache folder")
                if self._out.is_terminal:
                    self._bar.start()
                self._told = 0
            self._bar.update(self._task, completed=done, total=total)
            quarter = 4 * done // max(total, 1)
            if quarter > self._told:
                self._told = quarter
                if not self._out.is_terminal:
                    self._out.print(f"  {done / 1e6:.0f} of {total / 1e6:.0f} MB", highlight=False)

    def stop(self) -> None:
        """It is all there, or it failed."""
        if self._told >= 0 and self._out.is_terminal:
            self._bar.stop()


def summary(out: Console, case: Sequence[Request], played: Sequence[Played], found: Sums, source: str) -> None:
    """The end of the demo: what went wrong on purpose, then the four counts."""
    special = [one for one in sorted(played, key=lambda one: one.request.at) if one.request.why or not one.as_expected]
    out.print("\nWhat was not simply Success, and why", style="bold")
    for one in special:
        line = Text("  ").append(answer_line(one))
        out.print(line.append(f" - {one.request.why or 'not meant'}", style="dim"), soft_wrap=True)
    counts = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "entries", "refusals", ""):
        counts.add_column(heading, justify="left" if not heading else "right")
    sent = sum(request.count for request in case if request.expect >> 12 != 0xC)
    refused = sum(request.expect >> 12 == 0xC for request in case)
    accepted, failed = sum(found.sent.values()), sum(found.refused.values())
    counts.add_row("sent", str(sent), str(refused), f"{len(case)} requests from {len(DEVICES)} devices")
    counts.add_row("answered", str(accepted), str(failed), f"{len(played)} of {len(case)} requests, as each should be")
    counts.add_row("stored", str(sum(found.stored.values())), str(sum(found.kept.values())), "in the event store")
    counts.add_row("consumed", str(sum(found.consumed.values())), str(sum(found.told.values())), f"by {source}")
    out.print()
    out.print(counts)
