"""What plscp counts, for Prometheus: names as operators know them, labels from closed lists, cheap on the hot path."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from plscp import __version__
from plscp.findings import Finding
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
MOST_CHILDREN: Final = 2000
"""Label sets per metric; beyond, everything new counts as `other`: nobody can grow the memory by inventing labels."""

SECONDS: Final = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
STAGES: Final = ("decode", "validate", "match", "commit", "total")

_SOP_CLASSES: Final = {
    PROCEDURAL_EVENT_LOGGING: "procedural-event-logging",
    SUBSTANCE_ADMINISTRATION_LOGGING: "substance-administration-logging",
}


class Counter:
    """One child: its method `add` is what hot code holds."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._lock = Lock()

    def add(self, count: float = 1) -> None:
        """Count; from any thread."""
        with self._lock:
            self.value += count


class Counts:
    """A family of counters."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self.name, self.text, self.labels = name, text, tuple(labels)
        self.children: dict[tuple[str, ...], Counter] = {}

    def child(self, *labels: str) -> Counter:
        """The counter of these labels, in the family's order; beyond the bound of label sets, that of `other`."""
        found = self.children.get(labels)
        if found is None:
            if len(self.children) >= MOST_CHILDREN:
                labels = ("other",) * len(self.labels)
            found = self.children.setdefault(labels, Counter())
        return found

    def collect(self) -> Metric:
        """For the registry."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, child in list(self.children.items()):
            family.add_metric(labels, child.value)
        return family


class Levels:
    """A family of gauges."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text, self.labels = name, text, tuple(labels)
        self.values: dict[tuple[str, ...], float] = {}

    def set(self, labels: tuple[str, ...], value: float) -> None:
        """Set; beyond the bound of label sets the value is dropped."""
        if labels in self.values or len(self.values) < MOST_CHILDREN:
            self.values[labels] = value

    def collect(self) -> Metric:
        """For the registry."""
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for labels, value in list(self.values.items()):
            family.add_metric(labels, value)
        return family


class Spread:
    """One child of a histogram: its method `observe` is what hot code holds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """Count one value."""
        with self._lock:
            self.counts[bisect_left(self._bounds, value)] += 1
            self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulated, as Prometheus wants them."""
        total, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Metrics(Collector):
    """All metrics of one server, in a registry of its own.

    Its methods are what the rooms call: plain values in, no prometheus-client in their imports.
    """

    def __init__(self) -> None:
        self.associations = Counts(
            "plscp_associations", "Associations that ended or were refused", ["outcome", "reason"]
        )
        self.refused_peers = Counts(
            "plscp_refused_peers", "Associations that a setting refused, by the name of the setting", ["rule"]
        )
        self.requests = Counts("plscp_requests", "N-ACTION requests answered", ["sop_class", "status"])
        self.retries = Counts(
            "plscp_requests_retried",
            "Repeats that got the stored answer, since none is known to have arrived",
            ["sop_class"],
        )
        self.findings = Counts("plscp_validation_findings", "Findings about requests", ["template", "row", "severity"])
        self.matches = Counts("plscp_match", "Matching decisions", ["rule", "result"])
        self.unusable_issuers = Counts(
            "plscp_unusable_issuers", "Patient IDs that came with an issuer that cannot be used", ["device", "reason"]
        )
        self.published = Counts("plscp_published", "Records the relay handed to Kafka", ["topic", "outcome"])
        self.raw_expunged = Counts(
            "plscp_store_expunged", "Requests and quarantine items whose raw bytes were deleted for their age", []
        )
        self.feeds = Counts("plscp_feed_messages", "Messages of feeds", ["feed", "outcome"])
        self.associations_open = Levels("plscp_associations_open", "Associations that are open")
        self.relay_pending = Levels("plscp_relay_pending", "Records in the store that Kafka has not acknowledged")
        self.kafka_up = Levels("plscp_relay_kafka_up", "1 while a broker answers the relay, else 0")
        self.kafka_away_since = Levels(
            "plscp_relay_kafka_away_since_timestamp_seconds", "Since when no broker has answered; 0 while one answers"
        )
        self.relay_oldest = Levels("plscp_relay_oldest_age_seconds", "Age of the oldest record not acknowledged")
        self.skew = Levels(
            "plscp_sender_clock_skew_seconds", "Estimated clock difference of a configured device", ["device"]
        )
        self.certificates = Levels(
            "plscp_tls_certificate_expiry_timestamp_seconds", "When a certificate expires", ["file"]
        )
        self.stages = {stage: Spread(SECONDS) for stage in STAGES}
        self.commits = Spread(SECONDS)
        self.batches = Spread(SIZES)
        self._total = self.stages["total"].observe
        self._requests: dict[tuple[str, int], Counter] = {}
        self._matches: dict[tuple[str, int], Counter] = {}
        self._disk_free: Callable[[], int | None] = lambda: None
        self._disk_full: Callable[[], bool] = lambda: False
        self._relayed: dict[tuple[str, str], float] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    # --- what the rooms call -----------------------------------------------------------------------------------------

    def answered(self, sop_class: str, status: int, seconds: float) -> None:
        """A request was answered, so many seconds after its last byte."""
        child = self._requests.get((sop_class, status))
        if child is None:
            child = self.requests.child(_SOP_CLASSES.get(sop_class, "other"), f"{status:04X}")
            if sop_class in _SOP_CLASSES:
                self._requests[sop_class, status] = child
        child.add()
        self._total(seconds)

    def retried(self, sop_class: str) -> None:
        """A repeat got the stored answer."""
        self.retries.child(_SOP_CLASSES.get(sop_class, "other")).add()

    def retried_so_far(self) -> int:
        """Repeats since the start that got the stored answer."""
        return int(sum(child.value for child in list(self.retries.children.values())))

    def noticed(self, finding: Finding) -> None:
        """A finding was made."""
        severity = "refusal" if finding.refuse else "notice"
        self.findings.child(finding.template or finding.code, finding.row, severity).add()

    def matched(self, rule: str, result: int) -> None:
        """A matching decision was made: the rule that found, the status it gave."""
        child = self._matches.get((rule, result))
        if child is None:
            child = self._matches[rule, result] = self.matches.child(rule or "none", f"{result:04X}")
        child.add()

    def issuer_unusable(self, device: str, reason: str) -> None:
        """A Patient ID came with an issuer that cannot be used: `issuer-not-listed` or `issuers-contradict`."""
        self.unusable_issuers.child(device, reason).add()

    def stage(self, name: str) -> Callable[[float], None]:
        """The function that takes the seconds of a stage; to be kept, not looked up per request.

        Raises:
            KeyError: no such stage.
        """
        return self.stages[name].observe

    def association(self, outcome: str, reason: str = "") -> None:
        """An association was accepted, rejected, released, aborted or lost; both words from closed lists."""
        self.associations.child(outcome, reason).add()

    def peer_refused(self, rule: str) -> None:
        """A setting refused a peer; its name, from a closed list."""
        self.refused_peers.child(rule).add()

    def open_associations(self, count: int) -> None:
        """So many associations are open."""
        self.associations_open.set((), count)

    def committed(self, seconds: float, size: int) -> None:
        """A batch of so many drafts was committed and synced in so many seconds."""
        self.commits.observe(seconds)
        self.stages["commit"].observe(seconds)
        self.batches.observe(size)

    def watch_disk(self, free: Callable[[], int | None], full: Callable[[], bool] = lambda: False) -> None:
        """Ask these functions at each scrape: for the bytes free where the store lives, and whether requests are refused for it."""
        self._disk_free, self._disk_full = free, full

    def expunged(self, count: int) -> None:
        """Raw bytes of so many requests and quarantine items were deleted for their age."""
        self.raw_expunged.child().add(count)

    def clock_skew(self, device: str, seconds: float) -> None:
        """The estimated clock difference of a configured device."""
        self.skew.set((device,), seconds)

    def feed_message(self, feed: str, outcome: str) -> None:
        """A feed's message was taken, refused or ignored."""
        self.feeds.child(feed, outcome).add()

    def certificate(self, name: str, expires: float) -> None:
        """A certificate expires then, in seconds since the epoch."""
        self.certificates.set((name,), expires)

    def relay(self, status: Mapping[str, Any]) -> None:
        """Take over the relay's status line.

        Args:
            status: ``pending`` records, ``oldest_age`` in seconds, ``reachable`` and ``away_since`` (ISO 8601, or empty),
                ``published``: for each topic a count, or counts by outcome, since the relay process started. Members that are
                missing change nothing.
        """
        if isinstance(status.get("pending"), (int, float)):
            self.relay_pending.set((), status["pending"])
        if isinstance(status.get("oldest_age"), (int, float)):
            self.relay_oldest.set((), status["oldest_age"])
        if isinstance(status.get("reachable"), bool):
            since = status.get("away_since")
            self.kafka_up.set((), 1 if status["reachable"] else 0)
            self.kafka_away_since.set((), datetime.fromisoformat(since).timestamp() if since else 0)
        for topic, counts in (status.get("published") or {}).items():
            outcomes = counts if isinstance(counts, Mapping) else {"acknowledged": counts}
            for outcome, count in outcomes.items():
                before = self._relayed.get((topic, outcome), 0)
                self._relayed[topic, outcome] = count
                # A relay that was started again counts from 0.
                self.published.child(topic, outcome).add(count - before if count >= before else count)

    # --- what Prometheus reads ---------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Every family; called by prometheus-client."""
        for family in (
            self.associations,
            self.refused_peers,
            self.requests,
            self.retries,
            self.findings,
            self.matches,
            self.unusable_issuers,
            self.published,
            self.raw_expunged,
            self.feeds,
        ):
            yield family.collect()
        for level in (
            self.associations_open,
            self.relay_pending,
            self.relay_oldest,
            self.kafka_up,
            self.kafka_away_since,
            self.skew,
            self.certificates,
        ):
            yield level.collect()
        durations = HistogramMetricFamily(
            "plscp_request_duration_seconds", "Time per stage of a request", labels=["stage"]
        )
        for stage, spread in self.stages.items():
            durations.add_metric([stage], spread.buckets(), spread.sum)
        yield durations
        for name, text, spread in (
            ("plscp_store_commit_duration_seconds", "Time per commit, its sync included", self.commits),
            ("plscp_store_batch_size", "Drafts per commit", self.batches),
        ):
            histogram = HistogramMetricFamily(name, text)
            histogram.add_metric([], spread.buckets(), spread.sum)
            yield histogram
        free = self._disk_free()
        if free is not None:
            yield GaugeMetricFamily("plscp_store_disk_free_bytes", "Bytes free where the store lives", value=free)
            yield GaugeMetricFamily(
                "plscp_store_disk_full",
                "1 while requests are refused for lack of disk, else 0",
                value=int(self._disk_full()),
            )
        build = GaugeMetricFamily("plscp_build_info", "The version that runs", labels=["version"])
        build.add_metric([__version__], 1)
        yield build

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
