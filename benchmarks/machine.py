"""What the figures depend on besides the programs: the machine, its disk, and what else it does."""

import os
import platform
import time
from pathlib import Path
from typing import Any


def fdatasync_rate(folder: Path, seconds: float = 1.0) -> float:
    """How many small writes a second the disk makes durable: what bounds any honest store."""
    count, end = 0, time.monotonic() + seconds
    with (folder / "sync").open("wb") as file:
        while time.monotonic() < end:
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
    return round(count / seconds, 1)


def about(folder: Path, generator: str) -> dict[str, Any]:
    """The machine as it is now."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "fdatasync_per_second": fdatasync_rate(folder),
        "load_average": load_average(),
        "generator": generator,
    }


def load_average() -> float:
    """Of the last minute: above one per core, others took part."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
