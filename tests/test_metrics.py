"""Metrics: the names operators rely on, what counts where, bounded labels."""

import io
from collections.abc import Callable
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from plscp import logs, metrics
from plscp.findings import Finding
from plscp.metrics import Metrics
from plscp.statuses import PROCEDURAL_EVENT_LOGGING


def samples(of: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by (name, label values...)."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(of.exposition().decode())
        for sample in family.samples
    }


def key(name: str, *labels: str) -> tuple[str, ...]:
    """A sample's key: label values in any order."""
    return (name, *sorted(labels))


def known(of: Metrics) -> Metrics:
    """Metrics of a server that has one device."""
    of.watch_devices(lambda ae_title: ae_title == "HEMO1")
    return of


def logged() -> None:
    """A line at critical, which nothing else logs of this event."""
    logs.COUNTED.pop(("stopping", "critical"), None)
    logs.configure(stream=io.StringIO())
    logs.log.critical("stopping")
    logs.log.info("stopping")
    logs.configure()


# (what a room calls, the sample it must change, the value)
ROWS: list[tuple[Callable[[Metrics], None], tuple[str, ...], float]] = [
    (lambda m: m.association("rejected", "unknown-device"), ("plscp_associations_total", "rejected", "unknown-device"), 1),
    (lambda m: m.associations_open.set(7), ("plscp_associations_open",), 7),
    (lambda m: m.answered(PROCEDURAL_EVENT_LOGGING, 0xC103, 0.002), ("plscp_requests_total", "procedural-event-logging", "C103"), 1),
    (lambda m: m.answered("1.2.3", 0, 0.002), ("plscp_requests_total", "other", "0000"), 1),
    (lambda m: m.answered("1.2.3", 0, 0.002), ("plscp_request_duration_seconds_count", "total"), 1),
    (lambda m: m.retried(PROCEDURAL_EVENT_LOGGING), ("plscp_requests_retried_total", "procedural-event-logging"), 1),
    (lambda m: m.retried("1.2.3"), ("plscp_requests_retried_total", "other"), 1),
    (lambda m: m.stage("decode")(0.002), ("plscp_request_duration_seconds_sum", "decode"), 0.002),
    (lambda m: m.noticed(Finding("missing-row", "x", "3.2", "TID3108", "4", refuse=True)), ("plscp_validation_findings_total", "TID3108", "4", "refusal"), 1),
    (lambda m: m.noticed(Finding("study-not-started", "x")), ("plscp_validation_findings_total", "study-not-started", "", "notice"), 1),
    (lambda m: m.matched("2a", 0xB102), ("plscp_match_total", "2a", "B102"), 1),
    (lambda m: m.matched("", 0xC103), ("plscp_match_total", "none", "C103"), 1),
    (lambda m: known(m).issuer_unusable("HEMO1", "issuer-not-listed"), ("plscp_unusable_issuers_total", "HEMO1", "issuer-not-listed"), 1),
    (lambda m: known(m).issuer_unusable("D", "issuer-not-listed"), ("plscp_unusable_issuers_total", "other", "issuer-not-listed"), 1),
    (lambda m: known(m).device_refused("HEMO1"), ("plscp_device_refusals_total", "HEMO1"), 1),
    (lambda m: known(m).device_refused("D"), ("plscp_device_refusals_total", "other"), 1),
    (lambda m: m.peer_refused("devices.address"), ("plscp_refused_peers_total", "devices.address"), 1),
    (lambda m: m.closed_with_refusals.child().add(), ("plscp_case_closed_with_refusals_total",), 1),
    (lambda m: m.replayed.child("server", "accepted").add(), ("plscp_requests_replayed_total", "server", "accepted"), 1),
    (lambda m: m.replays_proposed.child().add(2), ("plscp_replays_proposed_total",), 2),
    (lambda m: m.second_looks.set(5), ("plscp_quarantine_second_looks_waiting",), 5),
    (lambda m: m.of_closed_cases.set(3), ("plscp_quarantine_open_of_closed_cases",), 3),
    (lambda m: known(m).quarantined({"HEMO1": 2, "X": 3, "Y": 4}), ("plscp_quarantine_open", "HEMO1"), 2),
    (lambda m: known(m).quarantined({"HEMO1": 2, "X": 3, "Y": 4}), ("plscp_quarantine_open", "other"), 7),
    (lambda m: m.device("HEMO1", associations=2, last_event=1e9, silent=True), ("plscp_device_associations_open", "HEMO1"), 2),
    (lambda m: m.device("HEMO1", associations=2, last_event=1e9, silent=True), ("plscp_device_last_event_timestamp_seconds", "HEMO1"), 1e9),
    (lambda m: m.device("HEMO1", associations=2, last_event=1e9, silent=True), ("plscp_device_silent", "HEMO1"), 1),
    (lambda m: m.feed_messages.child("hl7", "ADT^A08", "changed").add(), ("plscp_feed_messages_total", "hl7", "ADT^A08", "changed"), 1),
    (lambda m: m.watch_feed("hl7", lambda: (2, {"ADT|H": 1e9}, {"ADT|H": True})), ("plscp_feed_connections", "hl7"), 2),
    (lambda m: m.watch_feed("hl7", lambda: (2, {"ADT|H": 1e9}, {"ADT|H": True})), ("plscp_feed_last_message_timestamp_seconds", "hl7", "ADT|H"), 1e9),
    (lambda m: m.watch_feed("hl7", lambda: (2, {"ADT|H": 1e9}, {"ADT|H": True})), ("plscp_feed_silent", "hl7", "ADT|H"), 1),
    (lambda m: m.watch_store(lambda: 4096, lambda: True, lambda: None), ("plscp_store_disk_full",), 1),
    (lambda m: m.worklist_asked("failed"), ("plscp_worklist_polls_total", "failed"), 1),
    (lambda m: m.worklist_asked("done", 1e9, 12), ("plscp_worklist_entries",), 12),
    (lambda m: m.worklist_asked("cut", 1e9, 12), ("plscp_worklist_last_success_timestamp_seconds",), 1e9),
    (lambda m: m.worklist_refused.child().add(), ("plscp_worklist_refused_total",), 1),
    (lambda m: m.raw_expunged.child().add(3), ("plscp_store_expunged_total",), 3),
    (lambda m: m.settings_read("refused"), ("plscp_settings_reloads_total", "refused"), 1),
    (lambda m: m.settings_read("refused"), ("plscp_settings_last_reload_success",), 0),
    (lambda m: m.watch_store(lambda: 4096, lambda: False, lambda: "away"), ("plscp_store_failing",), 1),
    (lambda m: m.watch_store(lambda: 4096, lambda: False, lambda: None), ("plscp_store_failing",), 0),
    (lambda m: setattr(m.steps_in_progress, "ask", lambda: 2), ("plscp_procedure_steps_in_progress",), 2),
    (lambda m: m.relay({"topics": {"a": {"state": "halted"}, "b": {"state": "waiting"}}}), ("plscp_relay_halted",), 1),
    (lambda m: m.relay({"topics": {"a": {"state": "halted"}, "b": {"state": "waiting"}}}), ("plscp_relay_topics_waiting",), 1),
    (lambda m: logged(), ("plscp_log_events_total", "stopping", "critical"), 1),
    (lambda m: m.committed(0.001, 12), ("plscp_store_commit_duration_seconds_count",), 1),
    (lambda m: m.committed(0.001, 12), ("plscp_request_duration_seconds_count", "commit"), 1),
    (lambda m: m.committed(0.001, 12), ("plscp_store_batch_size_sum",), 12),
    (lambda m: m.watch_store(lambda: 4096, lambda: False, lambda: None), ("plscp_store_disk_free_bytes",), 4096),
    (lambda m: m.watch_store(lambda: 4096, lambda: True, lambda: None), ("plscp_store_disk_full",), 1),
    (lambda m: m.raw_expunged.child().add(3), ("plscp_store_expunged_total",), 3),
    (lambda m: m.relay({"pending": 3, "oldest_age": 1.5}), ("plscp_relay_pending",), 3),
    (lambda m: m.relay({"pending": 3, "oldest_age": 1.5}), ("plscp_relay_oldest_age_seconds",), 1.5),
    (lambda m: m.relay({"reachable": True, "away_since": ""}), ("plscp_relay_kafka_up",), 1),
    (lambda m: m.relay({"reachable": False, "away_since": "2026-01-01T00:00:00+00:00"}), ("plscp_relay_kafka_up",), 0),
    (lambda m: m.relay({"reachable": False, "away_since": "2026-01-01T00:00:00+00:00"}), ("plscp_relay_kafka_away_since_timestamp_seconds",), 1767225600),
    (lambda m: m.relay({"published": {"plscp.study": 4}}), ("plscp_published_total", "plscp.study", "acknowledged"), 4),
    (lambda m: m.relay({"published": {"plscp.study": {"reduced": 2}}}), ("plscp_published_total", "plscp.study", "reduced"), 2),
    (lambda m: m.device("HEMO1", associations=0, skew=-2.5), ("plscp_sender_clock_skew_seconds", "HEMO1"), -2.5),
    (lambda m: m.certificates.set(1e9, "server.pem"), ("plscp_tls_certificate_expiry_timestamp_seconds", "server.pem"), 1e9),
    (lambda m: m.settings_read("applied"), ("plscp_settings_reloads_total", "applied"), 1),
    (lambda m: m.settings_read("refused"), ("plscp_settings_last_reload_success",), 0),
    (lambda m: m.settings_read("unchanged"), ("plscp_settings_last_reload_success",), 1),
    (lambda m: None, ("plscp_build_info", "0.1.0"), 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "name", "value"), ROWS, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_each_metric(call: Callable[[Metrics], None], name: tuple[str, ...], value: float) -> None:
    """Each call of a room changes the sample that operators know by its name."""
    of = Metrics()
    call(of)
    assert samples(of)[key(*name)] == pytest.approx(value)


def test_every_metric_has_a_row() -> None:
    """No metric is exposed that the table does not show to move."""
    found = {family.name for family in text_string_to_metric_families(Metrics().exposition().decode())}
    shown = {row[1][0] for row in ROWS}
    for family in found:
        process = family.startswith("process_")  # prometheus-client's own
        assert process or any(name.removesuffix("_total").startswith(family) for name in shown), family


def test_the_table_of_metrics_is_what_is_exposed() -> None:
    """`families()`, from which the reference is printed, has each with kind, labels and text; each label name is a word."""
    listed = {family.name.removesuffix("_total"): family for family in metrics.families()}
    assert len(listed) == len(metrics.families())
    of = Metrics()
    for call, _, _ in ROWS:
        call(of)
    for family in text_string_to_metric_families(of.exposition().decode()):
        if family.name.startswith("process_"):
            continue
        row = listed.pop(family.name)
        assert (row.kind, row.text) == (family.type, family.documentation)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(row.labels)
    assert listed == {}


def test_a_clock_that_is_no_longer_known_is_not_shown() -> None:
    """A measurement counts for an hour: what it said yesterday is nothing to alert on."""
    of = Metrics()
    of.device("HEMO1", associations=1, skew=300)
    of.device("HEMO1", associations=1, skew=None)
    assert key("plscp_sender_clock_skew_seconds", "HEMO1") not in samples(of)


def test_histograms_cumulate() -> None:
    """A value on a bucket's bound counts in that bucket; buckets cumulate up to +Inf."""
    of = Metrics()
    for seconds in (0.00005, 0.001, 0.0011, 99):
        of.stage("match")(seconds)
    found = samples(of)
    bucket = "plscp_request_duration_seconds_bucket"
    got = [found[key(bucket, "match", bound)] for bound in ("5e-05", "0.001", "0.0025", "10.0", "+Inf")]
    assert got == [1, 2, 3, 3, 4]


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented label values end in `other`, and gauges of more devices than the bound are not kept."""
    monkeypatch.setattr(metrics, "MOST_CHILDREN", 3)
    of = Metrics()
    for number in range(10):
        of.association("rejected", f"r{number}")
        of.skew.set(number, f"d{number}")
    found = samples(of)
    assert found[key("plscp_associations_total", "other", "other")] == 7
    assert sum(1 for name in found if name[0] == "plscp_associations_total") == 4
    assert sum(1 for name in found if name[0] == "plscp_sender_clock_skew_seconds") == 3


def test_relay_started_again() -> None:
    """The relay's counts are since its start: a restart counts on, nothing goes back."""
    of = Metrics()
    for count in (5, 9, 2):
        of.relay({"published": {"t": count}})
    assert samples(of)[key("plscp_published_total", "t", "acknowledged")] == 11


def test_threads_lose_nothing() -> None:
    """Counts from several threads add up: a stock AE calls its handlers on threads."""
    of = Metrics()

    def work() -> None:
        for _ in range(2000):
            of.answered("1", 0, 0.1)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(of)
    assert found[key("plscp_requests_total", "other", "0000")] == 8000
    assert found[key("plscp_request_duration_seconds_count", "total")] == 8000


def test_the_service_takes_it() -> None:
    """Metrics are the counters that the service asks for."""
    counters = Metrics()
    counters.matched("1", 0)
    counters.noticed(Finding("a", "b"))
    counters.answered("1.2", 0, 0.1)


def test_two_servers_do_not_share() -> None:
    """Each server has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.association("accepted")
    assert not any(name[0] == "plscp_associations_total" for name in samples(other))
