"""The Procedure Log as a whole: attributes, the root's context, and its entries (PS3.4 Table P.2-2, PS3.16 TID 3001)."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from pydantic import ValidationError

from plscp.content.model import ContentItem
from plscp.content.reader import Decoded, content_tree
from plscp.errors import DoesNotMatchTemplate
from plscp.findings import Finding
from plscp.templates.attributes import procedural_attributes
from plscp.templates.compiled import compiled
from plscp.templates.engine import TemplateMatch, children, match, not_valid
from plscp.templates.entries import entry_item, typed_entry
from plscp.templates.log_entries import PROCEDURE_LOG, TITLE, LogContext
from plscp.templates.request import ProcedureLog, TypedEntry
from plscp.templates.rows import CONTAINS, named
from plscp.templates.values import add_extras, code_of, code_value, whole, with_extras

CONTEXT: Final = compiled(LogContext, PROCEDURE_LOG)
CONTEXTS, LARGEST_CONTEXT_ITEMS, LARGEST_CONTEXT_CHARACTERS = 512, 50, 8192
"""Contexts remembered: most devices repeat theirs in every request."""
_contexts: dict[tuple[object, ...], tuple[list[Finding], LogContext]] = {}
_ALWAYS: Final[dict[str, Any]] = {"observers": [], "procedure": {}, "room": None, "equipment": [], "other": []}


def read_log(decoded: Decoded, *, strict: bool, only: Collection[int] = ()) -> ProcedureLog:
    """Checks and types a Procedural Event: steps 6 and 7 of contract section 2.

    Args:
        only: indexes of the entries that are wanted; empty: all. What is wrong with the others then refuses nothing.

    Raises:
        MissingAttribute: a named attribute is absent and the profile is strict (0120H).
        InvalidArgument: a named attribute's value is not valid (0115H).
        DoesNotMatchTemplate: the content is not that of a Procedure Log (C102); all findings, refusing ones first.
    """
    given, offset, about_attributes = procedural_attributes(decoded, strict=strict)
    about_tree: list[Finding] = []
    root = content_tree(decoded, about_tree, strict=strict)
    about_log: list[Finding] = []
    entries, context = type_entries(root, strict=strict, findings=about_log)
    if not entries:
        about_tree.append(Finding("no-entry", "a log without an entry", "", "A.35.7.3", refuse=True))
    if not decoded.character_set.known and strict:
        about_tree.append(
            Finding("character-set-unknown", "unknown or contradicting terms", "(0008,0005)", refuse=True)
        )
    count = 0
    if only:
        count, others = len(entries), {entry.path for entry in entries if entry.index not in only}
        about_tree, about_log = (
            [finding for finding in about if finding.path.partition(".")[0] not in others]
            for about in (about_tree, about_log)
        )
        if not set(only) <= set(range(count)):
            about_tree.append(Finding("no-such-entry", f"the request has {count} entries", refuse=True))
        entries = [entry for entry in entries if entry.index in only]
    if any(finding.refuse for finding in (*about_tree, *about_log)):
        noticed = [finding for entry in entries for finding in entry.findings if not finding.refuse]
        everything = [*about_tree, *about_log, *about_attributes, *noticed]
        refused = DoesNotMatchTemplate(sorted(everything, key=lambda finding: not finding.refuse))
        refused.kinds = tuple(entry.kind for entry in entries)
        raise refused
    by_path = {entry.path: entry for entry in entries}
    findings = list(about_attributes)
    for finding in about_tree:
        entry = by_path.get(finding.path.partition(".")[0])
        if entry is None:
            findings.append(finding)
        else:
            entry.findings = [*entry.findings, finding]
    findings += about_log
    return ProcedureLog(given, offset, decoded.character_set.text, entries, context, findings, count)


def type_entries(root: ContentItem, *, strict: bool, findings: list[Finding]) -> tuple[list[TypedEntry], LogContext]:
    """Checks a log against TID 3001 and the templates that it includes, and types what it holds.

    Args:
        findings: takes those about the root and its context, and every refusing one about an entry.

    Returns:
        The entries in the order sent, each with its own findings, and the context, which is not to be changed: a device
        that repeats its context gets the same object.
    """
    entries: list[TypedEntry] = []
    items: list[ContentItem] = []
    positions: list[int] = []
    for position, item in enumerate(root.children, 1):
        if item.relationship == CONTAINS:
            entries.append(typed_entry(item, len(entries), position, strict=strict))
        else:
            items.append(item)
            positions.append(position)
    noted, context = _context(root, items, positions, strict=strict)
    findings += noted
    for entry in entries:
        if entry.findings:
            findings += [finding for finding in entry.findings if finding.refuse]
    return entries, context


def _context(
    root: ContentItem, items: list[ContentItem], positions: list[int], *, strict: bool
) -> tuple[list[Finding], LogContext]:
    """The context and what is wrong with it, from memory where the same was sent before."""
    parts: list[object] = [strict, root.concept, root.value, root.template, *positions]
    plain = not (root.other or root.observation_datetime or root.observation_uid)
    for item in items:
        plain = plain and not (item.children or item.other or item.observation_datetime or item.observation_uid)
        parts += (item.relationship, item.value_type, item.concept, item.value, item.template)
    key = tuple(parts) if plain and len(items) <= LARGEST_CONTEXT_ITEMS else None
    try:
        found = _contexts.get(key) if key else None
    except TypeError:  # a code with further elements may hold lists
        key = found = None
    if found is None:
        noted: list[Finding] = []
        matched = match_context(root, items, positions, noted, strict=strict)
        found = noted, _log_context(root, matched, noted)
        if key and len(repr(key)) <= LARGEST_CONTEXT_CHARACTERS:
            if len(_contexts) >= CONTEXTS:
                _contexts.clear()
            _contexts[key] = found
    return found


def match_context(
    root: ContentItem, items: list[ContentItem], positions: list[int], findings: list[Finding], *, strict: bool
) -> TemplateMatch:
    """Matches what every entry inherits, targets of the root that are no entries, to TID 3001 rows 1 to 5."""
    matched = match(CONTEXT, items, "", findings, strict=strict, positions=positions)
    if not matched.repeated:
        reason = "missing Observer Context"
        findings.append(Finding("missing-observer-context", reason, "", "TID3001", "2", refuse=strict))
    if root.concept is not None and not named(root, TITLE):
        findings.append(Finding("outside-context-group", f"title outside CID {TITLE.cid}", ""))
    return matched


def _log_context(root: ContentItem, matched: TemplateMatch, findings: list[Finding]) -> LogContext:
    """TID 3001 rows 1 to 5 as an object, in which some members are always there."""
    own: dict[str, Any] = {}
    if root.concept is not None:
        own["title"] = code_value(root.concept)
    if isinstance(root.value, str):
        own["continuity"] = root.value
    add_extras(own, root)

    def validated(members: dict[str, Any], order: list[int]) -> LogContext:
        if order != list(range(1, len(order) + 1)):
            members = members | {"order": order}
        return LogContext.model_validate(_ALWAYS | members | own)

    try:
        return validated(matched.members, matched.listed)
    except ValidationError as error:
        # What the engine lets pass and the class does not is a fault of the declaration: the items are kept whole.
        findings.append(not_valid(error, "", "TID3001", "2"))
        return validated({"other": list(map(whole, matched.items))}, sorted(matched.listed))


def log_root(context: LogContext, entries: Sequence[Any]) -> ContentItem:
    """The root CONTAINER of a log: its context, and its entries in the order given."""
    inherited = children(CONTEXT, context)
    items = [entry_item(entry) for entry in entries]
    positions = sorted(context.order) or range(1, len(inherited) + 1)
    for position, item in zip(positions, inherited, strict=True):
        items.insert(position - 1, item)
    title = code_of(context.title) if context.title is not None else None
    return with_extras(ContentItem("", "CONTAINER", title, context.continuity, items), context)
