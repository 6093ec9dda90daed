"""`make bench`: plscp with everything on against a stock pynetdicom SCP that only says Success, in one run."""

import argparse
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.plan import PARTS, QUICK, Plan
from benchmarks.running import run
from benchmarks.tables import show
from plscp import logs


def main() -> int:
    """Run, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="below two minutes: orders of magnitude")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int, help="of each pair; medians are shown")
    parser.add_argument("--associations", type=int, nargs="+")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--no-kafka", action="store_true", help="without the relay")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    args = parser.parse_args()
    plan = replace(QUICK if args.quick else Plan(), parts=args.only)
    for name in ("seconds", "rounds", "associations"):
        if getattr(args, name) is not None:
            plan = replace(plan, **{name: getattr(args, name)})
    logs.configure(level="warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    began = time.monotonic()
    progress = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        progress.print(f"{time.monotonic() - began:5.0f} s  {line}", style="dim", soft_wrap=True)

    result = run(plan, say, kafka=not args.no_kafka)
    show(result, Console())
    args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
