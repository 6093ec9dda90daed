"""Draws the README's chart and writes its figures: `python -m benchmarks.chart docs/bench.json docs/bench.svg [README.md]`."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH: Final = 800
HEIGHT: Final = 440
LEFT, RIGHT, TOP, BOTTOM = 80, 12, 98, 104
BAR, BETWEEN = 15, 3
BEGIN, END = "<!-- figures of make bench -->\n", "<!-- end of figures -->\n"
SERVERS: Final = ("stock", "plscp")
PEERS: Final = ("stock", "written", "plscp")
"""The bars of a row."""
TITLE: Final = (
    "Requests per second: plscp with everything on, a stock server that does nothing, and what a user would write"
)
STYLE: Final = """
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.ratio { font-size: 13px; font-weight: 600; }
.load { font-weight: 600; }
.minor { fill: #57606a; }
.grid { stroke: #8c959f; stroke-opacity: 0.35; }
.spread { stroke: #24292f; stroke-width: 1.5; fill: none; }
.stock { fill: #8c959f; }
.written { fill: #d29922; }
.plscp { fill: #2f81f7; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .minor { fill: #9198a1; }
  .spread { stroke: #e6edf3; }
}
"""


def draw(result: Mapping[str, Any]) -> str:
    """The chart of a run as SVG: requests/s of the servers, with the ratio of plscp over stock on each row."""
    rows: Sequence[Mapping[str, Any]] = result["throughput"]
    most = max(row[which]["most"] for row in rows for which in PEERS)
    step = _step(most)
    top = step * (1 + int(most / step))
    floor, high = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def y(rate: float) -> float:
        return round(floor - high * rate / top, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{TITLE}">',
        f"<style>{STYLE}</style>",
        _text(12, 24, TITLE, kind="title"),
        '<rect class="plscp" x="12" y="37" width="12" height="12"/>',
        _text(30, 48, f"plscp: {_everything(result)}"),
        f'<rect class="stock" x="{WIDTH // 2 + 60}" y="37" width="12" height="12"/>',
        _text(WIDTH // 2 + 78, 48, "stock pynetdicom: its handler only returns 0x0000"),
        '<rect class="written" x="12" y="57" width="12" height="12"/>',
        _text(
            30,
            68,
            "what a user would write: pynetdicom, a walk of every element, SQLite committed to disk, kafka-python",
        ),
    ]
    for rate in range(0, top + 1, step):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(rate)}" y2="{y(rate)}"/>')
        parts.append(_text(LEFT - 8, y(rate) + 4, f"{rate:,}", kind="minor", anchor="end"))
    turned = f'transform="translate(14 {floor - high / 2:g}) rotate(-90)"'
    parts += [
        f'<text class="minor" text-anchor="middle" {turned}>requests per second</text>',
        *_bars(rows, y),
        *_named(rows, floor),
        _text(12, HEIGHT - 28, _loads(rows), kind="minor"),
        _text(12, HEIGHT - 10, _machine(result), kind="minor"),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _step(most: float) -> int:
    """A round distance for at most six lines."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if most / step < 6:
                return step
        size *= 10


def _bars(rows: Sequence[Mapping[str, Any]], y: Callable[[float], float]) -> Iterator[str]:
    wide, end = (WIDTH - LEFT - RIGHT) / len(rows), y(0)
    for number, row in enumerate(rows):
        middle = LEFT + wide * (number + 0.5)
        for bar, which in enumerate(PEERS):
            left = middle + (bar - 1.5) * (BAR + BETWEEN)
            of = row[which]
            high = y(of["per_second"])
            told = f"{which}: {of['per_second']:,.0f}/s, p50 {of['p50_ms']:.2f} ms, p99 {of['p99_ms']:.1f} ms"
            place = f'x="{left:.1f}" y="{high:g}" width="{BAR}" height="{end - high:.1f}"'
            yield f'<rect class="{which}" {place}><title>{told}</title></rect>'
            if of["least"] != of["most"]:
                yield f'<path class="spread" d="M{left + BAR / 2:.1f} {y(of["least"]):g}V{y(of["most"]):g}"/>'
        above = min(y(row[which]["most"]) for which in PEERS)
        yield _text(
            round(middle + BAR, 1),
            above - 7,
            f"{row['ratio']:.1f}\N{MULTIPLICATION SIGN}",
            kind="ratio",
            anchor="middle",
        )
        yield _text(round(middle, 1), end + 18, str(row["associations"]), anchor="middle")


def _named(rows: Sequence[Mapping[str, Any]], floor: float) -> Iterator[str]:
    """The load below its numbers of associations."""
    wide = (WIDTH - LEFT - RIGHT) / len(rows)
    yield _text(12, floor + 18, "associations", kind="minor")
    yield _text(12, floor + 38, "load", kind="minor")
    first = 0
    for load, of in groupby(rows, key=itemgetter("load")):
        count = len(list(of))
        yield _text(round(LEFT + wide * (first + count / 2), 1), floor + 38, load, kind="load", anchor="middle")
        first += count


def _everything(result: Mapping[str, Any]) -> str:
    relay = ", relayed to Kafka" if result["settings"]["kafka"] else ""
    return f"validated, matched, committed to disk{relay}"


def _loads(rows: Sequence[Mapping[str, Any]]) -> str:
    told = {
        "real": "five entries, everything varied",
        "E1": "one entry",
        "E5": "five entries, constant codes",
    }
    sizes = {row["load"]: row["bytes"] for row in rows}
    return "; ".join(f"{name}: {told[name]}, {size:,} bytes" for name, size in sizes.items())


def _machine(result: Mapping[str, Any]) -> str:
    of, settings = result["machine"], result["settings"]
    rounds, seconds = settings["rounds"], f"{settings['seconds']:g} s"
    taken = f"median of {rounds} x {seconds}, lines from least to most" if rounds > 1 else f"one round of {seconds}"
    return (
        f"{of['cores']} cores, {of['fdatasync_per_second']:,.0f} fdatasync/s, Python {of['python']}; "
        f"load average {of['load_average']} to {of['load_average_at_end']}; {taken}; {result['taken'][:10]}"
    )


def figures(result: Mapping[str, Any]) -> str:
    """The README's lines about a run, with the marks that they stand between."""
    return BEGIN + "".join(f"* {line}\n" for line in _figures(result)) + END


def _figures(result: Mapping[str, Any]) -> Iterator[str]:
    for load, of in groupby(result["throughput"], key=itemgetter("load")):
        rows = list(of)
        on = "/".join(str(row["associations"]) for row in rows)
        times = ("/".join(f"{row[ratio]:.1f}" for row in rows) for ratio in ("ratio", "ratio_written"))
        stock, written = times
        yield f"{load} on {on} associations: {stock} times the requests of the stock server, {written} times those of what a user would write."
    for row in result["throughput"]:
        if row["associations"] == 1:
            yield (
                f"{row['load']} on one association: an answer takes {row['plscp']['p50_ms']:.2f} ms (p50); from the stock server "
                f"{row['stock']['p50_ms']:.2f} ms."
            )
    for row in result.get("scus", ()):
        yield f"A {row['scu']} waits {row['plscp_p50_ms']:.2f} ms (p50); for the stock server {row['stock_p50_ms']:.1f} ms."
    if rows := result.get("idle", ()):
        ours, theirs = (max((r for r in rows if r["server"] == w), key=_opened) for w in reversed(SERVERS))
        yield f"{_idle(ours)}; at the stock server {_idle(theirs)}."
    if relay := result.get("relay"):
        yield f"A backlog of {relay['records']:,} records reaches Kafka at {relay['per_second']:,.0f} records/s."
    if seen := result.get("visible"):
        yield (
            f"At {seen['requests_per_second']:.0f} requests/s a consumer has a record {seen['p50_ms']:.0f} ms (p50) or "
            f"{seen['p99_ms']:.0f} ms (p99) after the device has its answer."
        )
    for load, stage in list(result.get("stages", {}).items())[:1]:
        yield (
            f"{load} is read, checked and typed {stage['times_pydicom']:.0f} times as fast as pydicom reads it; "
            f"{stage['times_pydicom_cold']:.1f} times where none of its codes was seen before."
        )


def _opened(row: Mapping[str, Any]) -> int:
    return int(row["opened"])


def _idle(row: Mapping[str, Any]) -> str:
    opened = (
        f"{row['opened']:,}"
        if row["opened"] == row["associations"]
        else f"{row['opened']:,} of {row['associations']:,}"
    )
    return f"{opened} idle associations cost {row['cpu_percent']:.1f} % of a core and {row['rss_mb']:.0f} MB"


def main(given: Sequence[str]) -> int:
    """JSON of a run, SVG to write, and a README whose figures are to be replaced."""
    if not 2 <= len(given) <= 3:
        print("usage: python -m benchmarks.chart BENCH.json CHART.svg [README.md]", file=sys.stderr)
        return 2
    source, chart, *readme = map(Path, given)
    result = json.loads(source.read_text("utf-8"))
    chart.write_text(draw(result), "utf-8")
    for file in readme:
        text = file.read_text("utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        file.write_text(before + figures(result) + after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
