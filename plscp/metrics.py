"""What plscp counts, for Prometheus: names as operators know them, labels from closed lists, cheap on the hot path."""

import itertools
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, ClassVar, Final, Generic, TypeVar, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from plscp import __version__, logs
from plscp.dicom.admission import Rule
from plscp.dicom.settings import NetworkCounters
from plscp.findings import Finding
from plscp.statuses import SOP_CLASS_NAMES

OTHER: Final = "other"
"""In place of an AE title that is not configured, and of what is beyond the bound of label sets."""
MOST_CHILDREN: Final = 2000
"""Label sets per metric; beyond, everything new counts as `other`: nobody can grow the memory by inventing labels."""

SECONDS: Final = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
STAGES: Final = ("decode", "validate", "match", "commit", "total")


Child = TypeVar("Child")


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


class Family(Generic[Child]):
    """One metric: a child, or its value, for each set of label values; as it stands here, counters that are counted elsewhere.

    Attributes:
        kind: ``counter``, ``gauge`` or ``histogram``.
        text: what it counts: the HELP line.
        labels: names of its labels; what they can hold is bounded (see `Metrics`).
        children: by label values.
    """

    kind: ClassVar[str] = "counter"

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.children: dict[tuple[str, ...], Child] = {}

    def samples(self) -> Iterable[tuple[Any, ...]]:
        """Of each set of label values what prometheus-client's family takes: the label values, then the value."""
        return list(self.children.items())

    def collect(self) -> Metric:
        """For the registry."""
        family = _FAMILIES[self.kind](self.name, self.text, labels=self.labels)
        for sample in self.samples():
            family.add_metric(*sample)
        return family


class Counts(Family[Counter]):
    """Counters."""

    def child(self, *labels: str) -> Counter:
        """The counter of these labels, in the family's order; beyond the bound of label sets, that of `other`."""
        found = self.children.get(labels)
        if found is None:
            if len(self.children) >= MOST_CHILDREN:
                labels = (OTHER,) * len(self.labels)
            found = self.children.setdefault(labels, Counter())
        return found

    def samples(self) -> Iterable[tuple[Any, ...]]:  # noqa: D102
        return [(labels, child.value) for labels, child in super().samples()]


class Levels(Family[float]):
    """Gauges that are set, or asked for at each scrape; one that answers None is not shown."""

    kind = "gauge"
    ask: Callable[[], float | None] | None = None

    def set(self, value: float | None, *labels: str) -> None:
        """Set; beyond the bound of label sets the value is dropped. None: there is no such thing any more."""
        if value is None:
            self.children.pop(labels, None)
        elif labels in self.children or len(self.children) < MOST_CHILDREN:
            self.children[labels] = value

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """These, and no others any more."""
        self.children = dict(itertools.islice(values.items(), MOST_CHILDREN))

    def samples(self) -> Iterable[tuple[Any, ...]]:  # noqa: D102
        if self.ask is not None:
            self.set(self.ask())
        return super().samples()


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

    def buckets(self) -> list[tuple[str, int]]:
        """Cumulated, as Prometheus wants them."""
        return list(zip((*map(str, self._bounds), "+Inf"), itertools.accumulate(self.counts), strict=True))


class Spreads(Family[Spread]):
    """Histograms, whose label values are known from the start; one of them where there are none."""

    kind = "histogram"

    def __init__(self, name: str, text: str, *labels: str, bounds: Sequence[float], values: Sequence[str] = ()) -> None:
        super().__init__(name, text, *labels)
        for value in values or ("",):
            self.children[(value,) if labels else ()] = Spread(bounds)

    def samples(self) -> Iterable[tuple[Any, ...]]:  # noqa: D102
        return [(labels, child.buckets(), child.sum) for labels, child in self.children.items()]


_FAMILIES: Final[dict[str, type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def families() -> list[Family[Any]]:
    """Every metric that plscp exposes, in the order of the exposition; without what prometheus-client says of any process."""
    return Metrics().families


class Metrics(Collector, NetworkCounters):
    """All metrics of one server, in a registry of its own.

    Its methods are what the rooms call: plain values in, no prometheus-client in their imports. Label values come from closed lists;
    an AE title that is not configured is `other`, and beyond `MOST_CHILDREN` label sets of one family everything new is.
    """

    def __init__(self) -> None:
        self.associations = Counts(
            "plscp_associations_total", "Associations that ended or were refused", "outcome", "reason"
        )
        self.refused_peers = Counts(
            "plscp_refused_peers_total", "Associations refused by the setting that says who may associate", "rule"
        )
        self.requests = Counts(
            "plscp_requests_total",
            "Requests answered: N-ACTION; N-CREATE and N-SET of a procedure step",
            "sop_class",
            "status",
        )
        self.device_refusals = Counts(
            "plscp_device_refusals_total", "N-ACTION requests of a configured device answered with a failure", "device"
        )
        self.retries = Counts(
            "plscp_requests_retried_total",
            "Repeats that got the stored answer, since none is known to have arrived",
            "sop_class",
        )
        self.replayed = Counts(
            "plscp_requests_replayed_total",
            "Refused requests that were accepted out of quarantine, by who had it done",
            "source",
            "outcome",
        )
        self.replays_proposed = Counts(
            "plscp_replays_proposed_total",
            "Refused requests that would be accepted by now and that people are asked about",
        )
        self.findings = Counts(
            "plscp_validation_findings_total", "Findings about requests", "template", "row", "severity"
        )
        self.matches = Counts("plscp_match_total", "Matching decisions", "rule", "result")
        self.unusable_issuers = Counts(
            "plscp_unusable_issuers_total",
            "Patient IDs that came with an issuer that cannot be used",
            "device",
            "reason",
        )
        self.closed_with_refusals = Counts(
            "plscp_case_closed_with_refusals_total",
            "Cases that closed while refused drugs, contrast agents or devices of them stood in quarantine",
        )
        self.worklist_polls = Counts("plscp_worklist_polls_total", "Times that the worklist was asked", "outcome")
        self.worklist_refused = Counts(
            "plscp_worklist_refused_total",
            "Entries or studies of the worklist that could not be taken, each counted once",
        )
        self.worklist_entries = Levels("plscp_worklist_entries", "Entries of the worklist when it answered last")
        self.worklist_last = Levels(
            "plscp_worklist_last_success_timestamp_seconds", "When the worklist answered last, in full or cut"
        )
        self.published = Counts("plscp_published_total", "Records the relay handed to Kafka", "topic", "outcome")
        self.raw_expunged = Counts(
            "plscp_store_expunged_total", "Requests and quarantine items whose raw bytes were deleted for their age"
        )
        self.reloads = Counts("plscp_settings_reloads_total", "Times that the settings were read again", "outcome")
        self.log_lines = Family[int](
            "plscp_log_events_total", "Lines logged at warning or above by this process", "event", "level"
        )
        self.feed_messages = Counts(
            "plscp_feed_messages_total", "Messages of feeds, by what became of them", "feed", "trigger", "outcome"
        )
        self.feed_connections = Levels("plscp_feed_connections", "Senders connected to a feed", "feed")
        self.feed_last = Levels(
            "plscp_feed_last_message_timestamp_seconds", "When a sender's last message came", "feed", "sender"
        )
        self.feed_silent = Levels(
            "plscp_feed_silent",
            "1 while a sender has sent nothing for longer than silent_after, else 0",
            "feed",
            "sender",
        )
        self.associations_open = Levels("plscp_associations_open", "Associations that are open")
        self.device_associations = Levels(
            "plscp_device_associations_open", "Associations of a configured device that are open", "device"
        )
        self.last_events = Levels(
            "plscp_device_last_event_timestamp_seconds",
            "When the last accepted request of a configured device arrived",
            "device",
        )
        self.silent = Levels(
            "plscp_device_silent",
            "1 while a configured device with silent_after has an open association, a case is open in its room, and nothing "
            "has come for longer",
            "device",
        )
        self.skew = Levels(
            "plscp_sender_clock_skew_seconds", "Estimated clock difference of a configured device", "device"
        )
        self.quarantine_open = Levels(
            "plscp_quarantine_open", "Refused requests in quarantine that no later acceptance has closed", "device"
        )
        self.second_looks = Levels(
            "plscp_quarantine_second_looks_waiting",
            "Open quarantine items that a registry change concerns and that are not judged again yet",
        )
        self.of_closed_cases = Levels(
            "plscp_quarantine_open_of_closed_cases",
            "Open quarantine items with drugs, contrast agents or devices of cases that are closed",
        )
        self.relay_pending = Levels("plscp_relay_pending", "Records in the store that Kafka has not acknowledged")
        self.relay_oldest = Levels("plscp_relay_oldest_age_seconds", "Age of the oldest record not acknowledged")
        self.kafka_up = Levels("plscp_relay_kafka_up", "1 while a broker answers the relay, else 0")
        self.kafka_away_since = Levels(
            "plscp_relay_kafka_away_since_timestamp_seconds", "Since when no broker has answered; 0 while one answers"
        )
        self.relay_halted = Levels(
            "plscp_relay_halted", "1 while Kafka holds what the store does not, and nothing is published, else 0"
        )
        self.relay_waiting = Levels(
            "plscp_relay_topics_waiting", "Topics that refuse records, are missing or are recovering"
        )
        self.certificates = Levels(
            "plscp_tls_certificate_expiry_timestamp_seconds", "When a certificate expires", "file"
        )
        self.last_reload = Levels(
            "plscp_settings_last_reload_success", "1 where the settings could be used when they were read last, else 0"
        )
        self.stages = Spreads(
            "plscp_request_duration_seconds", "Time per stage of a request", "stage", bounds=SECONDS, values=STAGES
        )
        self.commits = Spreads(
            "plscp_store_commit_duration_seconds", "Time per commit, its sync included", bounds=SECONDS
        )
        self.batches = Spreads("plscp_store_batch_size", "Drafts per commit", bounds=SIZES)
        self.disk_free = Levels("plscp_store_disk_free_bytes", "Bytes free where the store lives")
        self.disk_full = Levels("plscp_store_disk_full", "1 while requests are refused for lack of disk, else 0")
        self.store_failing = Levels("plscp_store_failing", "1 while the store takes nothing, else 0")
        self.steps_in_progress = Levels("plscp_procedure_steps_in_progress", "Procedure steps that hold a study open")
        self.build = Levels("plscp_build_info", "The version that runs", "version")
        self.log_lines.children = logs.COUNTED
        self.families = [family for family in vars(self).values() if isinstance(family, Family)]
        for rule in get_args(Rule):  # a rate needs a beginning
            self.refused_peers.child(rule)
        for outcome in ("applied", "unchanged", "refused"):
            self.reloads.child(outcome)
        for outcome in ("done", "cut", "failed"):
            self.worklist_polls.child(outcome)
        self.worklist_refused.child()
        self.closed_with_refusals.child()
        self.last_reload.set(1.0)
        self.build.set(1, __version__)
        self._total = self.stage("total")
        self._configured: Callable[[str], bool] = lambda _ae_title: False
        self._relayed: dict[tuple[str, str], float] = {}
        self._feeds: dict[str, Callable[[], tuple[int, Mapping[str, float], Mapping[str, bool]]]] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # --- what the rooms call -----------------------------------------------------------------------------------------

    def answered(self, sop_class: str, status: int, seconds: float) -> None:
        """A request was answered, so many seconds after its last byte."""
        self.requests.child(SOP_CLASS_NAMES.get(sop_class, OTHER), f"{status:04X}").add()
        self._total(seconds)

    def retried(self, sop_class: str) -> None:
        """A repeat got the stored answer."""
        self.retries.child(SOP_CLASS_NAMES.get(sop_class, OTHER)).add()

    def noticed(self, finding: Finding) -> None:
        """A finding was made."""
        severity = "refusal" if finding.refuse else "notice"
        self.findings.child(finding.template or finding.code, finding.row, severity).add()

    def matched(self, rule: str, result: int) -> None:
        """A matching decision was made: the rule that found, the status it gave."""
        self.matches.child(rule or "none", f"{result:04X}").add()

    def watch_devices(self, configured: Callable[[str], bool]) -> None:
        """Ask this function which AE titles are configured: the others have no label of their own."""
        self._configured = configured

    def _device(self, ae_title: str) -> str:
        return ae_title if self._configured(ae_title) else OTHER

    def issuer_unusable(self, device: str, reason: str) -> None:
        """A Patient ID came with an issuer that cannot be used: `issuer-not-listed` or `issuers-contradict`."""
        self.unusable_issuers.child(self._device(device), reason).add()

    def device_refused(self, device: str) -> None:
        """A request of a device was answered with a failure."""
        self.device_refusals.child(self._device(device)).add()

    def peer_refused(self, rule: str) -> None:
        """An association was refused by this rule; from a closed list."""
        self.refused_peers.child(rule).add()

    def quarantined(self, counts: Mapping[str, int]) -> None:
        """So many quarantine items are open, by calling AE title; those that are not named have none."""
        by_device = Tally[tuple[str, ...]]()
        for ae_title, count in counts.items():
            by_device[self._device(ae_title),] += count
        self.quarantine_open.replace(by_device)

    def device(
        self,
        device: str,
        *,
        associations: int,
        last_event: float | None = None,
        silent: bool | None = None,
        skew: float | None = None,
    ) -> None:
        """How a configured device is doing: its last event in seconds since the epoch, the estimated difference of its clock in seconds.

        None: not known; of `silent`: not watched.
        """
        self.device_associations.set(associations, device)
        self.device_refusals.child(device)  # a rate needs a beginning
        if last_event is not None:
            self.last_events.set(last_event, device)
        self.silent.set(silent, device)
        self.skew.set(skew, device)

    def device_gone(self, device: str) -> None:
        """A device is configured no more: nothing is known of it now. What was counted stays."""
        for gauge in (self.device_associations, self.last_events, self.silent, self.skew):
            gauge.set(None, device)

    def stage(self, name: str) -> Callable[[float], None]:
        """The function that takes the seconds of a stage; to be kept, not looked up per request. Raises KeyError: no such stage."""
        return self.stages.children[name,].observe

    def association(self, outcome: str, reason: str = "") -> None:
        """An association was accepted, rejected, released, aborted or lost; both words from closed lists."""
        self.associations.child(outcome, reason).add()

    def committed(self, seconds: float, size: int) -> None:
        """A batch of so many drafts was committed and synced in so many seconds."""
        self.commits.children[()].observe(seconds)
        self.stages.children["commit",].observe(seconds)
        self.batches.children[()].observe(size)

    def watch_store(
        self, free: Callable[[], int | None], full: Callable[[], bool], refusing: Callable[[], object]
    ) -> None:
        """Ask these at each scrape: bytes free where the store lives, whether that is too few, why it takes nothing (None: it does)."""
        self.disk_free.ask, self.disk_full.ask = free, full
        self.store_failing.ask = lambda: refusing() is not None

    def worklist_asked(self, outcome: str, moment: float | None = None, entries: int = 0) -> None:
        """The worklist was asked: `done`, `cut` or `failed`; where it answered, when (seconds since the epoch) and with how much."""
        self.worklist_polls.child(outcome).add()
        if moment is not None:
            self.worklist_last.set(moment)
            self.worklist_entries.set(entries)

    def watch_feed(self, feed: str, measure: Callable[[], tuple[int, Mapping[str, float], Mapping[str, bool]]]) -> None:
        """Ask this at each scrape: connections; by sender when its last message came; by sender whether it is silent."""
        self._feeds[feed] = measure

    def settings_read(self, outcome: str) -> None:
        """The settings were read again: `applied`, `unchanged` or `refused`."""
        self.reloads.child(outcome).add()
        self.last_reload.set(outcome != "refused")

    def relay(self, status: Mapping[str, Any]) -> None:
        """Take over the relay's status line; members that are missing change nothing.

        Args:
            status: ``pending`` records, ``oldest_age`` in seconds, ``reachable`` and ``away_since`` (ISO 8601, or empty), ``topics``: for
                each its ``state``, ``published``: for each a count, or counts by outcome, since the relay process started.
        """
        if isinstance(status.get("pending"), (int, float)):
            self.relay_pending.set(status["pending"])
        if isinstance(status.get("oldest_age"), (int, float)):
            self.relay_oldest.set(status["oldest_age"])
        if isinstance(status.get("reachable"), bool):
            since = status.get("away_since")
            self.kafka_up.set(status["reachable"])
            self.kafka_away_since.set(datetime.fromisoformat(since).timestamp() if since else 0)
        if topics := status.get("topics"):
            states = [topic.get("state") for topic in topics.values()]
            self.relay_halted.set("halted" in states)
            self.relay_waiting.set(sum(state not in {"running", "halted"} for state in states))
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
        for feed, measure in self._feeds.items():
            connections, last, silent = measure()
            self.feed_connections.set(connections, feed)
            for of_senders, values in ((self.feed_last, last), (self.feed_silent, silent)):
                others = {labels: value for labels, value in of_senders.children.items() if labels[0] != feed}
                of_senders.replace(others | {(feed, sender): float(value) for sender, value in values.items()})
        for family in self.families:
            yield family.collect()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
