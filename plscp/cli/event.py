"""`plscp event`: what the store holds."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from plscp.cli import output
from plscp.cli.client import Config, Json, TokenFile, Url, api

app = typer.Typer(
    help="Events: logged entries, registry changes, refusals.", no_args_is_help=True, rich_markup_mode=None
)

Study = Annotated[str | None, typer.Option(help="Of one study only, by its Study Instance UID.")]
Kind = Annotated[str | None, typer.Option(help="entry (the default), registry, refusal or all.")]
HEADINGS = ["position", "occurred", "device", "what", "study or patient", "answer"]


@app.command("list")
def list_events(
    *,
    after: Annotated[
        int | None, typer.Option(help="Position after which to begin; absent: the latest ones.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="Most events.", min=1, max=10_000)] = 30,
    study: Study = None,
    kind: Kind = None,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
) -> None:
    """List events in the order of their positions."""
    server = api(url, token_file, config)
    if after is None and study is None:
        head = server.get("/api/v1/status")["store"]["position"]
        after = max(int(head) - limit, 0)
    found = server.get("/api/v1/events", {"after": after, "limit": limit, "study": study, "kind": kind})
    if json:
        output.print_json(found)
        return
    output.table(HEADINGS, [row(event) for event in found["events"]], "no event")


@app.command("show")
def show_event(
    position: Annotated[int, typer.Argument(help="The event's position.", min=1)],
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
) -> None:
    """Show one event on one page."""
    event = api(url, token_file, config).get(f"/api/v1/events/{position}")
    if json:
        output.print_json(event)
    else:
        output.page(page(event))


@app.command("tail")
def tail_events(
    *,
    after: Annotated[
        int | None, typer.Option(help="Position after which to begin; absent: from now on.", min=0)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="End after so many.", min=1)] = None,
    study: Study = None,
    kind: Kind = None,
    json: Json = False,
    url: Url = None,
    token_file: TokenFile = None,
    config: Config = None,
) -> None:
    """Show events as they come, until Ctrl-C or the server's end; with --json one per line."""
    server = api(url, token_file, config)
    if after is None:
        after = server.get("/api/v1/status")["store"]["position"]
    query = {"after": after, "limit": limit, "study": study, "kind": kind, "follow": "true"}
    for event in server.follow("/api/v1/events", query):
        if json:
            output.print_line(event)
        else:
            cells = [cell[0] if isinstance(cell, tuple) else cell for cell in row(event)]
            print("  ".join(output.clean(cell) for cell in cells if cell), flush=True)


def row(event: Mapping[str, Any]) -> tuple[object, ...]:
    """One line of a list."""
    match = event.get("match") or {}
    status = str(event.get("status") or match.get("status") or "")
    return (
        event.get("position"),
        output.local((event.get("occurred") or {}).get("time") or event.get("recorded")),
        (event.get("sender") or {}).get("ae_title", ""),
        what(event),
        subject(event),
        (status, output.status_style(status)),
    )


def what(event: Mapping[str, Any]) -> str:
    """In a few words what the event is."""
    entry, change = event.get("entry"), event.get("change")
    if isinstance(entry, Mapping):
        return summary(entry)
    if isinstance(change, Mapping):
        return f"{change.get('what', '')} ({event.get('source', '')})"
    return f"refused: {event.get('comment') or event.get('status_name', '')}"


def summary(entry: Mapping[str, Any]) -> str:
    """An entry's kind with the first values that say most."""
    kind = str(entry.get("kind", "")).replace("_", " ")
    parts = []
    for name, value in entry.items():
        if name not in {"kind", "template", "row"}:
            brief = output.in_brief(
                value.get("meaning") if isinstance(value, Mapping) and "meaning" in value else value
            )
            if brief and not isinstance(value, bool):
                parts.append(brief)
    text = ", ".join(parts[:3])
    return f"{kind}: {text[:80]}" if text else kind


def subject(event: Mapping[str, Any]) -> str:
    """The study, else the patient."""
    change = event.get("change") or {}
    study = (event.get("study") or {}).get("study_instance_uid") or change.get("study_instance_uid")
    patient = event.get("patient") or (
        {"id": change["id"], "issuer": change.get("issuer", "")} if "id" in change else None
    )
    return str(study or output.in_brief(patient) or "")


def page(event: Mapping[str, Any]) -> Iterator[tuple[int, str, object, str]]:
    """One event: the head first, then what was logged, then why it was put there."""
    match = event.get("match") or {}
    status = str(event.get("status") or match.get("status") or "")
    yield 0, f"{event.get('position')}", what(event), "bold"
    yield from output.described(
        {name: event.get(name) for name in ("occurred", "recorded", "sender", "patient", "study")}, depth=1
    )
    yield from output.described({name: event[name] for name in ("entry", "change") if name in event}, depth=1)
    yield from output.described({"context": event.get("context")}, depth=1)
    if match:
        rule = f"rule {match.get('rule')}" if match.get("rule") else "no rule"
        yield 1, "match", f"{rule}, {status}", output.status_style(status)
        yield from output.described({name: match.get(name) for name in ("given", "found")}, depth=2)
        for candidate in match.get("candidates") or []:
            why_not = candidate.get("why_not") or "taken"
            yield 2, str(candidate.get("what")), why_not, "green" if why_not == "taken" else "dim"
    yield from findings(event.get("findings") or [], 1)
    repeated = {
        "same_content_as": event.get("same_content_as"),
        "dataref": event.get("dataref"),
        "event_id": event.get("event_id"),
    }
    yield from output.described(repeated, depth=1)


def findings(these: list[Mapping[str, Any]], depth: int) -> Iterator[tuple[int, str, object, str]]:
    """Every finding with its path, template row and reason."""
    if these:
        yield depth, "findings", len(these), ""
    for finding in these:
        place = f"at {finding['path']}" if finding.get("path") else ""
        table = f"{finding['template']} row {finding['row']}" if finding.get("row") else finding.get("template", "")
        more = f"positions {', '.join(map(str, finding['positions']))}" if finding.get("positions") else ""
        text = "; ".join(part for part in (finding.get("reason", ""), table, place, more) if part)
        yield depth + 1, str(finding.get("code", "")), text, "red" if finding.get("refuse") else "yellow"
