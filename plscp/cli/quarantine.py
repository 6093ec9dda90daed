"""`plscp quarantine`: what was refused and why, drawn and as a file; whether it would be accepted by now, and its replay."""

import base64
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from plscp.cli import output, view
from plscp.cli.client import Api, given, segment, server_command
from plscp.cli.options import AE, TIME, Everything, group
from plscp.errors import CommandError, HttpProblem

PAGE: Final = 100
"""Items that one call replays."""
GOOD: Final = {"accepted", "known", "closed"}
"""Outcomes after which nothing is left to do."""

ItemId = Annotated[str, typer.Argument(metavar="ID", help="The item's id, or a beginning of it.")]
Device = Annotated[str | None, AE("--device", help="Of one device, by its calling AE title.")]
Reason = Annotated[
    str | None, typer.Option(help="How the last refusal begins: a status (C103), or status and Error Comment.")
]
Since = Annotated[str | None, TIME(help="Refused last not before then, such as 2026-11-26T22:00.")]
Until = Annotated[str | None, TIME(help="Refused last before then.")]

app = group()
app.add_typer(quarantine := group("Quarantine: refused requests, why, and their replay."), name="quarantine")


@server_command(quarantine, "list")
def list_items(
    api: Api,
    *,
    calling_ae: Device = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those not accepted since.")] = False,
    limit: Annotated[int, typer.Option(help="Most items.", min=1, max=1000)] = 30,
) -> None:
    """List refused requests, newest first."""
    query = {"calling_ae": calling_ae, "reason": reason, "since": since, "until": until}
    found = api.get("/api/v1/quarantine", query | {"open": "true" if open_only else None, "limit": limit})
    output.table(
        ["id", "last", "times", "device", "status", "why", "accepted since"],
        [
            (
                *output.cells(item, "id", "last_time", "times", "calling_ae"),
                (item["status"], output.status_style(item["status"])),
                item["comment"],
                f"at {item['closed_position']}" if item["closed_position"] else "",
            )
            for item in found["items"]
        ],
        "nothing in quarantine",
        json=api.as_json(found),
    )
    if found.get("next") and not api.json:
        output.line(["there are more, refused earlier: --limit, --device, --since"])


@server_command(quarantine, "show")
def show_item(api: Api, item_id: ItemId) -> None:
    """Show one refused request: what refused it, what was only noted, and what a replay would bring now."""
    item = api.get(f"/api/v1/quarantine/{segment(item_id)}")
    output.page(_item_lines(item), json=api.as_json(item))


def _item_lines(item: Mapping[str, Any]) -> Iterator[output.Line]:
    times = f"{item['times']} times" if item["times"] != 1 else "once"
    yield 0, item["id"], f"{item['calling_ae']} from {item['address']}, {times}", "bold"
    yield from output.described({name: item[name] for name in ("sop_class", "transfer_syntax")}, depth=1)
    yield 1, "first", output.local(item["first_time"]), ""
    yield 1, "last", output.local(item["last_time"]), ""
    yield 1, "data set", view.received(item["raw_length"], item["raw_kept"]), ""
    if item["closed_position"]:
        yield 1, "accepted since", f"at position {item['closed_position']}", "green"
    for outcome in item["outcomes"]:
        data = outcome.get("data") if isinstance(outcome.get("data"), Mapping) else outcome
        status = str(outcome.get("status") or data.get("status", ""))
        comment = outcome.get("comment") or data.get("comment", "")
        yield 1, status, comment or data.get("status_name", ""), output.status_style(status)
        yield from _parted(data.get("findings") or [], 2)
        yield from view.decision(data.get("match") or {}, 2, status)
    for entry, position in (item.get("replayed") or {}).items():
        yield 1, f"entry {entry}", f"replayed, at position {position}", "green"
    replay = item.get("replay")
    if replay:
        said = f"{replay['status']} {view.place(replay) or replay['comment']}".strip()
        style = "green" if replay["outcome"] in GOOD else "red"
        yield 1, "a replay now", said if replay["outcome"] != "gone" else replay["comment"], style
        if replay["hint"]:
            yield 2, "to do", replay["hint"], "cyan"
        yield from _parted(replay["findings"], 2)


def _parted(findings: Sequence[Mapping[str, Any]], depth: int) -> Iterator[output.Line]:
    """What refused, then what was only noted; where nothing says that it refused, as it is."""
    refusing = [finding for finding in findings if finding.get("refuse")]
    yield from view.findings(refusing, depth, "refused by")
    noted = [finding for finding in findings if not finding.get("refuse")]
    yield from view.findings(noted, depth, "noted" if refusing else "findings")


def _kept(api: Api, item_id: str) -> tuple[dict[str, Any], bytes]:
    """An item, and its data set as it was received. Raises CommandError where not all of it is kept."""
    item: dict[str, Any] = api.get(f"/api/v1/quarantine/{segment(item_id)}")
    raw = base64.b64decode(item["raw"])
    if len(raw) != item["raw_length"]:
        raise CommandError(f"{item['id']}: {view.received(item['raw_length'], item['raw_kept'])}")
    return item, raw


@server_command(quarantine, "explain")
def explain_item(
    api: Api,
    item_id: ItemId,
    everything: Everything = False,
) -> None:
    """Draw the content tree of a refused request as `plscp explain` draws a file, with what the server found when it refused it last."""
    from plscp.cli.explaining import as_json, explained  # noqa: PLC0415  # as tree: they bring DICOM
    from plscp.cli.tree import draw  # noqa: PLC0415
    from plscp.findings import Finding  # noqa: PLC0415
    from plscp.scu.encoding import Encoded  # noqa: PLC0415
    from plscp.statuses import STATUSES  # noqa: PLC0415

    item, raw = _kept(api, item_id)
    made = explained(Encoded(raw, item["transfer_syntax"]), item["sop_class"], strict=False)
    assert made is not None  # the SOP Class is known
    last = item["outcomes"][-1]
    made.status, made.comment = STATUSES[int(last["status"], 16)], last["comment"]
    made.findings = [
        Finding(**{name: value for name, value in finding.items() if name in Finding._fields})
        for finding in last["data"].get("findings") or ()
    ]
    if api.json:
        output.print_json({"id": item["id"], "calling_ae": item["calling_ae"], **as_json(made)})
        return
    out = output.console()
    draw(out, made, f"{item['id']} of {item['calling_ae']}", fold=out.is_terminal and not everything)


@server_command(quarantine, "export")
def export_item(
    api: Api,
    item_id: ItemId,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A new file; absent: ID.dcm.")] = None,
) -> None:
    """Write the data set of a refused request to a DICOM file, as it was received, faults and all: for `plscp explain` and `plscp send`.

    It holds what the device sent of the patient: only you can read it.
    """
    from plscp.scu.encoding import Encoded, as_file  # noqa: PLC0415  # it brings DICOM

    item, raw = _kept(api, item_id)
    file = file or Path(f"{item['id']}.dcm")
    content = as_file(Encoded(raw, item["transfer_syntax"]), item["sop_class"])
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}", 2) from error
    written = {"id": item["id"], "file": str(file), "bytes": len(content)}
    output.page(output.described(written), json=api.as_json(written))


@server_command(quarantine, "replay")
def replay(
    api: Api,
    item_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of items, or beginnings of them.")
    ] = None,
    *,
    calling_ae: Device = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    entries: Annotated[
        list[int] | None, typer.Option("--entry", help="Only this entry of the one item, from 0; repeatable.", min=0)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Keep nothing: say what would happen.")] = False,
) -> int:
    """Have refused requests judged again, by the settings and the registry of now; exit status 1 where one is still refused.

    Those that are named, or all that are open and fit the options.
    """
    which = given({"calling_ae": calling_ae, "reason": reason, "since": since, "until": until})
    which |= {"all": True} if every else {}
    if bool(item_ids) == bool(which):
        wanted = "name items, or say which with --device, --reason, --since, --until, --all"
        raise CommandError(f"quarantine replay: {wanted}", 2)
    if entries and (item_ids is None or len(item_ids) != 1):
        raise CommandError("quarantine replay: --entry goes with one item", 2)
    if item_ids:
        results = [_replay_one(api, each, {"entries": entries or [], "dry_run": dry_run}) for each in item_ids]
    else:
        results = list(_replay_many(api, which | {"dry_run": dry_run}))
    outcomes = Counter(str(result["outcome"]) for result in results)
    output.table(
        ["id", "outcome", "status", "study or patient", "entries", "why"],
        [
            (
                result["id"],
                (_outcome(result), "green" if result["outcome"] in GOOD else "red"),
                result["status"] if result["outcome"] in {"accepted", "known", "refused"} else "",
                view.place(result),
                result["entries"] or "",
                result["comment"] or (f"at {result['position']}" if result["position"] else ""),
            )
            for result in results
        ],
        "nothing that is open fits",
        json=api.as_json({"results": results, "outcomes": dict(outcomes), "dry_run": dry_run}),
    )
    return 0 if outcomes.keys() <= GOOD else 1


def _outcome(result: Mapping[str, Any]) -> str:
    would = not result["kept"] and result["outcome"] == "accepted"
    return "would be accepted" if would else str(result["outcome"])


def _replay_one(api: Api, item_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The result of one item; what is not there, or cannot be replayed, is one as well."""
    try:
        found: dict[str, Any] = api.post(f"/api/v1/quarantine/{segment(item_id)}/replay", body)
    except HttpProblem as problem:
        if problem.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise
        nowhere = {"study_instance_uid": "", "patient": {"id": "", "issuer": ""}, "findings": []}
        gone = {"id": item_id, "outcome": "gone", "kept": False, "status": "", "comment": str(problem), "rule": ""}
        return gone | {"position": 0, "entries": 0} | nowhere
    return found


def _replay_many(api: Api, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of all that fits, a part at a time; how far it is stands on standard error."""
    after, done = 0, 0
    while True:
        page = api.post("/api/v1/quarantine/replay", body, {"after": after, "limit": PAGE})
        yield from page["results"]
        done += len(page["results"])
        if "next" not in page:
            return
        after = page["next"]
        if sys.stderr.isatty():
            print(f"{done} looked at", file=sys.stderr, flush=True)
        if any(result["outcome"] == "failed" for result in page["results"]):
            return
