"""`make attacks`: every attack for longer and with more attackers, as a table."""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.system.attacks.attackers import ATTACKS
from tests.system.attacks.honest import PACE
from tests.system.attacks.running import Field


def main() -> int:
    """Run them and print the table; 1 where an honest association noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a window")
    parser.add_argument("--windows", type=int, default=3, help="at most, of which the best counts")
    parser.add_argument("--strength", type=int, default=2, help="times as many attackers as in the tests")
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    args = parser.parse_args()
    table = Table(title=f"an honest association, {PACE} requests a second, while others attack")
    for column in ("attack", "calm p99 ms", "attacked p99 ms", "ratio", "memory MB", "answered", ""):
        table.add_column(column, justify="left" if column in {"attack", "answered"} else "right")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="plscp-attacks-") as folder, Field(Path(folder)) as field:
        for attack in ATTACKS:
            if args.only not in attack.name:
                continue
            done = field.attack(attack, seconds=args.seconds, windows=args.windows, strength=args.strength)
            good = done.held and done.grown < 100 and done.statuses == {0}
            failures += not good
            ratio = done.p99 / done.calm
            said = ", ".join(f"{count} {what}" for what, count in done.answered.most_common(3))
            row = [
                attack.name,
                f"{done.calm * 1000:.1f}",
                f"{done.p99 * 1000:.1f}",
                f"{ratio:.1f}",
                f"{done.grown:.0f}",
            ]
            table.add_row(*row, said, "" if good else "FAILED")
            print(*row, said, file=sys.stderr, flush=True)
    Console(width=160).print(table)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
