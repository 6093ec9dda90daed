"""`make fuzz MINUTES=5`: every target in turn until the time is over; 1 where something was found."""

import argparse
import random
import sys
import time
from pathlib import Path

from tests.fuzz.running import Fuzzer, memory, report
from tests.fuzz.targets import TARGETS

TURN = 5.0
"""Most seconds of one target before the next."""


def main() -> int:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--crashes", type=Path, default=Path("build/fuzz"), help="folder for what is found")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    fuzzers = [Fuzzer(name, args.seed) for name in TARGETS if args.only in name]
    began = time.monotonic()
    ends = began + args.minutes * 60
    turn = min(TURN, args.minutes * 60 / max(len(fuzzers), 1))
    while time.monotonic() < ends:
        for fuzzer in fuzzers:
            left = ends - time.monotonic()
            if left > 0:
                fuzzer.some(min(turn, left))
            print(
                f"{time.monotonic() - began:5.0f} s  {fuzzer.target:12} {fuzzer.done:9,} inputs"
                f" {len(fuzzer.seen):5} ways to end  {len(fuzzer.defects)} defects  {memory():4.0f} MB",
                flush=True,
            )
    for fuzzer in fuzzers:
        report(fuzzer, args.crashes / fuzzer.target, print)
    return int(any(fuzzer.defects for fuzzer in fuzzers))


if __name__ == "__main__":
    sys.exit(main())
