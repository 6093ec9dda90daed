"""The Procedure Log as a whole: the root's context, and its entries (PS3.16 TID 3001)."""

from plscp.content.codes import known
from plscp.content.model import ContentItem
from plscp.findings import Finding
from plscp.templates.engine import Placed, Report, match, render
from plscp.templates.entries import typed_entry
from plscp.templates.fragments import code_members, encoded, extras, quoted
from plscp.templates.log_entries import PROCEDURE_LOG, TITLE, LogContext
from plscp.templates.plans import Problem, plan
from plscp.templates.request import TypedEntry
from plscp.templates.rows import CONTAINS

CONTEXT = plan(LogContext, PROCEDURE_LOG)
CONTEXTS, WIDEST, LONGEST = 512, 8192, 256
_contexts: dict[tuple[object, ...], tuple[list[Finding], bytes]] = {}
_ALWAYS = {"observers": "[]", "procedure": "{}", "room": "null", "equipment": "[]", "other": "[]"}


def type_entries(root: ContentItem, *, strict: bool, findings: list[Finding]) -> tuple[list[TypedEntry], bytes]:
    """Checks a log against TID 3001 and the templates that it includes, and types what it holds.

    Args:
        root: the CONTAINER; its targets of CONTAINS are the entries, the others are context.
        strict: refuse what a lenient profile lets pass (contracts section 2).
        findings: takes those about the root and its context, and every refusing one about an entry.

    Returns:
        The entries in the order sent, each with its own findings, and the JSON member ``"context":{...}``.
    """
    entries: list[TypedEntry] = []
    context: list[Placed] = []
    for position, item in enumerate(root.children, 1):
        if item.relationship == CONTAINS:
            entries.append(typed_entry(item, len(entries), position, strict=strict))
        else:
            context.append((position, item))
    noted, inherited = _remembered(root, context, strict=strict)
    findings.extend(noted)
    for entry in entries:
        if entry.findings:
            findings.extend(finding for finding in entry.findings if finding.refuse)
    return entries, inherited


def _remembered(root: ContentItem, items: list[Placed], *, strict: bool) -> tuple[list[Finding], bytes]:
    """The context, from memory where a device sent the same before: most repeat it in every request."""
    simple = not (root.other or root.observation_datetime or root.observation_uid)
    key: list[object] = [strict, root.concept, root.value, root.template]
    for position, item in items:
        simple = simple and not (
            item.children or item.other or item.observation_datetime or item.observation_uid or item.template
        )
        key += (position, item.concept, item.relationship, item.value_type, item.value)
    remembered = tuple(key) if simple and len(key) <= LONGEST else None
    try:
        known_already = _contexts.get(remembered) if remembered else None
    except TypeError:  # a code with further elements may hold lists
        remembered = known_already = None
    if known_already is not None:
        return known_already
    report = Report(strict=strict)
    made = (report.findings, log_context(root, items, report))
    if remembered and len(made[1]) <= WIDEST:
        if len(_contexts) >= CONTEXTS:
            _contexts.clear()
        _contexts[remembered] = made
    return made


def log_context(root: ContentItem, items: list[Placed], report: Report) -> bytes:
    """TID 3001 rows 1 to 5 as the JSON member ``"context":{...}``."""
    out = match(CONTEXT, items, root, "", report)
    if out.fragments[0] is None:
        reason = "missing Observer Context"
        report.findings.append(Finding("missing-observer-context", reason, "", "TID3001", "2", refuse=report.strict))
    parts = []
    if root.concept is not None:
        parts.append(f'"title":{{{code_members(root.concept)}}}')
        if known(root.concept).key not in TITLE.keys:
            report.add(Problem("outside-context-group", f"title outside CID {TITLE.cid}"), "")
    if isinstance(root.value, str):
        parts.append(f'"continuity":{quoted(root.value)}')
    members = render(CONTEXT.nodes, CONTEXT.slots, out.fragments)
    if out.other:
        members.append(f'"other":[{",".join(out.other)}]')
    given = {member[1 : member.index('"', 1)] for member in members}
    members += [f'"{name}":{empty}' for name, empty in _ALWAYS.items() if name not in given]
    if out.canonical != list(range(1, len(items) + 1)):
        members.append(f'"order":{out.canonical}'.replace(" ", ""))
    return encoded(f'"context":{{{",".join(parts + members)}{extras(root)}}}')
