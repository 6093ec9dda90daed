"""Events for people: what an entry says in a few words, a line for each event, a page for one, findings with their rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from plscp.cli import output
from plscp.matching.words import CLOCKS, RULES
from plscp.records.brief import said
from plscp.web.verdict import behind

HEADINGS: Final = ("position", "occurred", "device", "what", "study or patient", "answer")
"""Of the columns that `row` fills."""


def what(event: Mapping[str, Any]) -> str:
    """In a few words what an event is: an entry, what moves one, a registry change or a refusal."""
    entry, change = event.get("entry"), event.get("change")
    if isinstance(event.get("standing"), Mapping):
        return f"{said(entry or {})}; moved to {place(event['standing'])}"
    if isinstance(event.get("correction"), Mapping) and not isinstance(entry, Mapping):
        moved = event["correction"]
        return f"withdrawn: {moved.get('event_id', '')} moved to {place(moved.get('moved_to') or {})}"
    if isinstance(entry, Mapping):
        return said(entry) + (", moved here" if "correction" in event else "")
    if isinstance(change, Mapping):
        return f"{change.get('what', '')} ({event.get('source', '')})"
    return f"refused: {event.get('comment') or event.get('status_name', '')}"


def subject(event: Mapping[str, Any]) -> str:
    """The study, else the patient."""
    change = event.get("change") or {}
    moved = (event.get("correction") or {}).get("moved_from") or {}
    if moved and "entry" not in event:
        return place(moved)
    study = (event.get("study") or {}).get("study_instance_uid") or change.get("study_instance_uid")
    changed = {"id": change["id"], "issuer": change.get("issuer", "")} if "id" in change else None
    patient = event.get("patient") or changed
    return str(study or output.in_brief(patient) or "")


def place(place: Mapping[str, Any]) -> str:
    """A study and its patient, as far as they are known."""
    patient = output.in_brief(place.get("patient"))
    return " of ".join(filter(None, (place.get("study_instance_uid", ""), patient)))


def status_of(event: Mapping[str, Any]) -> str:
    """The status that the event's request was answered with, or empty."""
    return str(event.get("status") or (event.get("match") or {}).get("status") or "")


def row(event: Mapping[str, Any]) -> tuple[object, ...]:
    """One event in the columns of HEADINGS."""
    status = status_of(event)
    style = "" if "entry" in event else "red" if "change" not in event and "correction" not in event else "dim"
    return (
        event.get("position"),
        output.local((event.get("occurred") or {}).get("time") or event.get("recorded")),
        (event.get("sender") or {}).get("ae_title", ""),
        (what(event), style),
        subject(event),
        (status, output.status_style(status)),
    )


def line(event: Mapping[str, Any], place: str) -> Text:
    """One event on a line: where it was found, its device, and what it says."""
    text = Text(f"{place} ", style="dim")
    text.append(f"{(event.get('sender') or {}).get('ae_title', ''):<7} ", style="not dim")
    return text.append(output.clean(what(event)), style="not dim" if "entry" in event else "not dim red")


def page(event: Mapping[str, Any]) -> Iterator[output.Line]:
    """One event: the head first, then what was logged, then why it was put there."""
    status = status_of(event)
    yield 0, f"{event.get('position')}", what(event), "bold"
    head = ("occurred", "recorded", "sender", "patient", "study")
    logged = ("entry", "change", "correction", "standing", "expunged", "context")
    yield from output.described({name: event.get(name) for name in head + logged}, depth=1)
    yield from decision(event.get("match") or {}, 1, status)
    yield from findings(event.get("findings") or [], 1)
    for retry in event.get("retries") or []:
        where = f"from {retry.get('address')}, association {retry.get('association')}"
        text = f"{output.local(retry.get('time'))} {where}: no answer was known to have arrived"
        yield 1, "sent again", text, "yellow"
    if raw := event.get("raw"):
        yield 1, "as received", received(raw["length"], raw["kept"]), ""
    yield from output.described({name: event.get(name) for name in ("same_content_as", "dataref", "event_id")}, depth=1)


def decision(match: Mapping[str, Any], depth: int, status: str) -> Iterator[output.Line]:
    """Why a request was put where it was, or was not: the rule, the clock where it had a say, what was given and found, who else."""
    if not match:
        return
    number = str(match.get("rule") or "")
    rule = f"rule {number}: {RULES[number]}" if number in RULES else f"rule {number}" if number else "no rule"
    yield depth, "match", f"{status}, {rule}", output.status_style(status)
    if clock := match.get("clock"):
        difference = clock.get("difference_seconds")
        by = "" if difference is None else f" ({behind(difference)})"
        state = str(clock.get("state"))
        yield depth + 1, "device's clock", CLOCKS.get(state, state) + by, "" if state == "known" else "yellow"
    yield from output.described({name: match.get(name) for name in ("given", "found")}, depth=depth + 1)
    taken = status == "0000" or status.startswith("B")
    for candidate in match.get("candidates") or []:
        why_not = candidate.get("why_not") or ("taken" if taken else "")
        yield depth + 1, str(candidate.get("what")), why_not, "green" if why_not == "taken" else "dim"
    if match.get("registry_position") is not None:
        yield depth + 1, "registry", f"as of position {match['registry_position']}", "dim"


def received(length: int, kept: int) -> str:
    """How much is kept of a data set as it was received."""
    left = f"{kept} kept" if kept else "deleted since: only their digest is kept"
    return f"{length} bytes, {'whole' if kept == length else left}"


def findings(these: Sequence[Mapping[str, Any]], depth: int, heading: str = "findings") -> Iterator[output.Line]:
    """Every finding with its path, template row and reason, and below it how that row should look."""
    if these:
        yield depth, heading, len(these), ""
    for finding in these:
        place = f"at {finding['path']}" if finding.get("path") else ""
        table = f"{finding['template']} row {finding['row']}" if finding.get("row") else finding.get("template", "")
        more = f"positions {', '.join(map(str, finding['positions']))}" if finding.get("positions") else ""
        text = "; ".join(part for part in (finding.get("reason", ""), table, place, more) if part)
        yield depth + 1, str(finding.get("code", "")), text, "red" if finding.get("refuse") else "yellow"
        if finding.get("row") and (expected := _expected(finding)):
            yield depth + 2, "the row", expected, "cyan"


def _expected(finding: Mapping[str, Any]) -> str:
    from plscp.cli.explaining import look, wanted  # noqa: PLC0415  # it brings DICOM, which no other command over HTTP needs
    from plscp.findings import Finding  # noqa: PLC0415

    row = wanted(Finding("", str(finding.get("reason", "")), "", str(finding.get("template", "")), str(finding["row"])))
    return look(row) if row is not None else ""
