"""The load generator: compiled on the fly where a C compiler is there, else in Python."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.requests import Load, files

SOURCE = Path(__file__).with_name("load.c")
PYTHON = (sys.executable, str(SOURCE.with_name("pyload.py")))


@dataclass(frozen=True)
class Generator:
    """A program that loads a server.

    Attributes:
        kind: ``compiled``, or ``python``: that one costs as much as the server, which halves what is measured.
        command: how it is started.
        folder: for its files.
    """

    kind: str
    command: tuple[str, ...]
    folder: Path

    @classmethod
    def build(cls, folder: Path) -> Self:
        """The compiled one if it can be, else the one in Python."""
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        program = folder / "load"
        if compiler is not None:
            made = subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=False, stderr=sys.stderr)
            if made.returncode == 0:
                return cls("compiled", (str(program),), folder)
        return cls("python", PYTHON, folder)

    def drive(
        self,
        port: int,
        load: Load,
        associations: int,
        *,
        seconds: float,
        warmup: float = 1.0,
        twice: bool = False,
    ) -> dict[str, Any]:
        """Load a server with one request after the other on each association.

        Args:
            seconds: measured, after so many of warm-up.
            twice: command and data set are two writes, with Nagle's algorithm on.

        Returns:
            ``requests`` and ``per_second`` in the time measured, ``answered`` in all, ``p50_ms``, ``p99_ms``,
            ``failures`` and the status of the last.
        """
        times = (str(seconds), str(warmup))
        given = ("127.0.0.1", str(port), str(associations), *times, *map(str, files(load, self.folder)))
        result = subprocess.run(
            [*self.command, *given, "twice" if twice else "once"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=seconds + warmup + 60,
        )
        figures: dict[str, Any] = json.loads(result.stdout)
        return figures
