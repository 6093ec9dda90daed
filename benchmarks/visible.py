"""From the answer to the device until a consumer has the record: the relay's latency, under a steady load."""

import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from benchmarks import servers
from benchmarks.requests import make
from benchmarks.targets import SEEN_P50, SEEN_P99
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.rawscu import SYNTAXES, RawScu


class Seen(threading.Thread):
    """Notes when a consumer has each record."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.times: dict[str, float] = {}
        self.ended = threading.Event()
        self._consumer = KafkaConsumer(
            group_id=None,
            bootstrap_servers=bootstrap,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=500,
            fetch_min_bytes=1,
        )
        deadline = time.monotonic() + 20
        while not (partitions := self._consumer.partitions_for_topic(topic)):  # the relay makes its topics
            if time.monotonic() > deadline:
                raise SystemExit(f"no topic {topic}")
            time.sleep(0.1)
        self._consumer.assign([TopicPartition(topic, number) for number in partitions])

    def run(self) -> None:
        """Until ended."""
        while not self.ended.is_set():
            for records in self._consumer.poll(timeout_ms=100).values():
                now = time.monotonic()
                for record in records:
                    words = json.loads(record.value).get("entry", {}).get("text", "") if record.value else ""
                    if words:
                        self.times.setdefault(words.rsplit(" ", 1)[1], now)
        self._consumer.close()


def measure(bootstrap: str, folder: Path, *, rate: float, seconds: float) -> dict[str, Any]:
    """Send so many requests a second on four associations; latencies in milliseconds."""
    server = servers.plscp(folder, bootstrap)
    answered: dict[str, float] = {}
    [request] = make("E1").requests
    stop = time.monotonic() + seconds + 2

    def send(number: int) -> None:
        context = [(PROCEDURAL_EVENT_LOGGING, SYNTAXES[0])]
        with RawScu("127.0.0.1", server.port, calling=f"DEV{number}", contexts=context) as scu:
            due, count = time.monotonic() + number / rate, 0
            while due < stop:
                time.sleep(max(due - time.monotonic(), 0))
                due += 4 / rate
                count += 1
                running = 1_000_000_000 * number + count
                scu.request(PROCEDURAL_EVENT_LOGGING, request.filled(running))
                answered[str(running)] = time.monotonic()

    try:
        threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        seen = Seen(bootstrap, f"b{server.port}.procedure-log")
        seen.start()
        for thread in threads:
            thread.join()
        deadline = time.monotonic() + 20
        while len(seen.times) < len(answered) and time.monotonic() < deadline:
            time.sleep(0.05)
        seen.ended.set()
        seen.join()
    finally:
        server.stop()
    if not seen.times:
        raise SystemExit(f"{len(answered)} requests were answered and no record was seen")
    first = min(answered.values()) + 2  # the consumer's own start is not the relay's latency
    delays = sorted(1000 * (seen.times[d] - at) for d, at in answered.items() if at > first and d in seen.times)
    p50, p99 = statistics.median(delays), delays[len(delays) * 99 // 100]
    return {
        "requests_per_second": round(len(answered) / (seconds + 2), 1),
        "answered": len(answered),
        "seen": len(seen.times),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "p50": SEEN_P50.judged(p50),
        "p99": SEEN_P99.judged(p99),
    }
