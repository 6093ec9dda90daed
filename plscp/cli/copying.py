"""What `plscp backup` and `plscp restore` have in common: how far the work is."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from plscp.store.backup import Progress as Told

NICE = 10
"""By how much such work steps back: devices wait for the server's answers, nobody waits for a backup."""
WORDS = {"copy": "copying", "check": "checking"}


def step_back() -> None:
    """Lower this process's priority. Measured on two busy cores: with it the server's answers are as fast as without a backup."""
    os.nice(NICE)


@contextmanager
def shown_progress() -> Iterator[Told]:
    """Draws bars on standard error, where that is a terminal; gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks = {what: bars.add_task(words, total=None, visible=False) for what, words in WORDS.items()}

        def told(what: str, done: int, whole: int) -> None:
            bars.update(tasks[what], completed=done, total=whole, visible=True)

        yield told
