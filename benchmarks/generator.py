"""The load generator: compiled on the fly where a C compiler is there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.requests import Load, files

SOURCE = Path(__file__).with_name("load.c")


def build(folder: Path) -> Path:
    """Compile the generator; a line and exit status 2 where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("make bench needs a C compiler (cc): a generator in Python costs as much as the server", file=sys.stderr)
        raise SystemExit(2)
    program = folder / "load"
    subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
    return program


def drive(
    program: Path, folder: Path, port: int, load: Load, associations: int, *, seconds: float, twice: bool = False
) -> dict[str, Any]:
    """Load a server with one request after the other on each association.

    Returns:
        ``per_second``, ``p50_ms``, ``p99_ms``, ``failures`` and the rest of the generator's line.
    """
    associate, request = files(load, folder)
    mode = f"twice:{load.first_part}" if twice else "once"
    given = [str(program), "127.0.0.1", str(port), str(associations), str(seconds), "1", str(associate), str(request)]
    result = subprocess.run(
        [*given, mode, *map(str, load.offsets)], check=True, capture_output=True, text=True, timeout=seconds + 60
    )
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures
