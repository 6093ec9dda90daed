"""Action Information of both SOP Classes: steps 6 and 7 of contract section 2, from decoded data set to typed request."""

from collections.abc import Collection

from plscp.content.reader import Decoded, content_tree
from plscp.errors import DoesNotMatchTemplate
from plscp.findings import Finding
from plscp.templates.attributes import procedural_attributes
from plscp.templates.procedure_log import type_entries
from plscp.templates.request import ProcedureLog, SubstanceAdministration, TypedEntry
from plscp.templates.substance import read_administration


def procedural(decoded: Decoded, *, strict: bool, only: Collection[int] = ()) -> ProcedureLog:
    """Checks and types a Procedural Event (PS3.4 Table P.2-2, PS3.3 C.17.3 and A.35.7.3, PS3.16 TID 3001).

    Args:
        decoded: what passed step 5.
        strict: the device's profile; else lenient.
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
        about_tree, about_log = ([f for f in about if not _is_about(f, others)] for about in (about_tree, about_log))
        if not set(only) <= set(range(count)):
            about_tree.append(Finding("no-such-entry", f"the request has {count} entries", refuse=True))
        entries = [entry for entry in entries if entry.index in only]
    if any(f.refuse for f in about_tree) or any(f.refuse for f in about_log):
        noticed = [f for entry in entries for f in entry.findings if not f.refuse]
        everything = [*about_tree, *about_log, *about_attributes, *noticed]
        refused = DoesNotMatchTemplate(sorted(everything, key=_refusing_first))
        refused.kinds = tuple(entry.kind for entry in entries)
        raise refused
    if about_tree:
        about_tree = _hand_out(about_tree, {entry.path: entry for entry in entries})
    findings = [*about_attributes, *about_tree, *about_log]
    return ProcedureLog(given, offset, decoded.character_set.text, entries, context, findings, count)


def _refusing_first(finding: Finding) -> bool:
    return not finding.refuse


def _is_about(finding: Finding, entries: Collection[str]) -> bool:
    """Whether a finding is about one of the entries at these paths."""
    return finding.path.partition(".")[0] in entries


def _hand_out(findings: list[Finding], entries: dict[str, TypedEntry]) -> list[Finding]:
    """Gives each entry the findings about it; returns the others."""
    others = []
    for finding in findings:
        entry = entries.get(finding.path.partition(".")[0])
        if entry is None:
            others.append(finding)
        else:
            entry.findings = [*entry.findings, finding]
    return others


def substance(decoded: Decoded, *, strict: bool) -> SubstanceAdministration:
    """Checks and types a Substance Administration (PS3.4 Table P.3-2, PS3.3 C.26.4).

    Raises:
        MissingAttribute: a mandatory attribute, or both of a 1C pair, are absent (0120H).
        MissingAttributeValue: a Type 1 attribute, or both of a 1C pair, have no value (0121H).
        InvalidArgument: a value breaks its VR, VM or characters (0115H).
    """
    return read_administration(decoded, strict=strict)
