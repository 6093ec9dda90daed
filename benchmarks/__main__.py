"""`make bench`: plscp with everything on against a stock pynetdicom SCP that only says Success, in one run.

With --against another checkout of plscp, that one's server has its turn as well: how many requests/s before and after.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks import against
from benchmarks.plan import PARTS, QUICK, Plan
from benchmarks.requests import LOADS
from benchmarks.running import run
from benchmarks.tables import show
from plscp import logs


def _among(names: Sequence[str]) -> Callable[[str], Sequence[str]]:
    def listed(given: str) -> Sequence[str]:
        chosen = given.split(",")
        if unknown := set(chosen) - set(names):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not of {', '.join(names)}")
        return chosen

    return listed


def _numbers(given: str) -> Sequence[int]:
    return [int(number) for number in given.split(",")]


def main() -> int:
    """Run, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="below two minutes: orders of magnitude")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int, help="of each pair; medians are shown")
    parser.add_argument("--loads", type=_among(LOADS), help=f"of {','.join(LOADS)}")
    parser.add_argument("--associations", type=_numbers, help="such as 1,16,64")
    parser.add_argument("--only", type=_among(PARTS), default=PARTS, help=f"of {','.join(PARTS)}")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with this checkout's server")
    parser.add_argument("--no-kafka", action="store_true", help="without the relay")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    args = parser.parse_args()
    plan = QUICK if args.quick else against.PLAN if args.against else Plan()
    plan = replace(plan, parts=args.only)
    for name in ("seconds", "rounds", "loads", "associations"):
        if getattr(args, name) is not None:
            plan = replace(plan, **{name: getattr(args, name)})
    logs.configure(level="warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no server is left behind
    began = time.monotonic()
    progress = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        progress.print(f"{time.monotonic() - began:5.0f} s  {line}", style="dim", soft_wrap=True)

    if args.against:
        result = against.run(plan, args.against, say, kafka=not args.no_kafka)
        Console().print(against.shown(result))
    else:
        result = run(plan, say, kafka=not args.no_kafka)
        show(result, Console())
    args.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
