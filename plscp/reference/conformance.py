"""The DICOM conformance statement (PS3.2): prose in `conformance.md`, every table and number out of the program."""

import re
import ssl
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from importlib import resources
from typing import Any, Final

from pydicom.datadict import dictionary_description
from pydicom.uid import UID

from plscp import __version__
from plscp.config import Settings
from plscp.content import charset
from plscp.content.elements import tag_text
from plscp.dicom import certificates, negotiation
from plscp.matching import rules
from plscp.matching.match_context import A, L, P, S, U
from plscp.reference.reasons import REASONS
from plscp.service import steps
from plscp.service.reply import ERROR_IDS
from plscp.statuses import INSTANCES, MODALITY_PERFORMED_PROCEDURE_STEP, STATUSES, STEP_STATUSES, StatusInfo
from plscp.templates import attributes, substance
from plscp.templates.compiled import declared
from plscp.templates.entries import TYPED
from plscp.templates.log_entries import LogContext

_GAP: Final = re.compile(r"\{\{(\w+)\}\}")

MEANT: Final[dict[int, tuple[str, str]]] = {
    0x0000: ("logged", "go on"),
    0xB101: ("logged; the device's time is of another Synchronization Frame of Reference", "go on"),
    0xB102: ("logged under another Study Instance UID", "use the UID of the Action Reply; take the worklist entry again"),
    0xB104: ("logged, though an identifier disagrees with the study found", "go on; show the operator which study it is"),
    0xC101: ("the study named takes no events", "ask whether the study is the right one; keep the event"),
    0xC102: ("the content does not follow its template", "mend the device: the same request will be refused again"),
    0xC103: ("no study fits, or more than one", "keep the event and send it again once the study is open; name the study"),
    0xC104: ("the identifiers contradict the study found", "show the operator which patient is selected"),
    0xC10E: ("no operator named may add to the record", "name an operator who may"),
    0xC110: ("the patient is not known, or more than one fits", "show the operator which patient is selected; send it again later"),
    0xC111: ("the administration could not be stored", "send the same request again"),
    0x0110: ("the event could not be stored", "send the same request again"),
    0x0112: ("not the well-known SOP Instance", "mend the device"),
    0x0115: ("a value or the encoding is not valid", "mend the device"),
    0x0117: ("Requested SOP Instance UID is no UID", "mend the device"),
    0x0118: ("not the presentation context's SOP Class", "mend the device"),
    0x0119: ("the other SOP Class's instance", "mend the device"),
    0x0120: ("attributes are absent, or there is no data set", "mend the device"),
    0x0121: ("attributes have no value", "mend the device"),
    0x0123: ("the Action Type ID is not supported", "mend the device"),
    0x0124: ("this AE title may not use the SOP Class", "ask the server's administrator"),
    0x0210: ("the Message ID is still outstanding", "mend the device"),
    0x0211: ("not the operation of this SOP Class", "mend the device"),
    0x0212: ("a command element is mistyped", "mend the device"),
    0x0213: ("no room: disk full, too much waiting, or the data set is too long", "send again later; a data set too long: send less"),
}  # fmt: skip
"""Of each status: what it means, what the device should do."""

MEANT_OF_STEPS: Final[dict[int, tuple[str, str]]] = {
    0x0000: ("committed", "go on"),
    0x0106: ("a status, study or Patient ID that is not valid", "mend the modality"),
    0x0107: ("committed, but for the attributes listed: patient and studies of a step cannot be set", "go on; mend the modality"),
    0x0110: ("the patient contradicts, or the store failed: the comment says which; with Error ID A710 the step has ended", "A710: nothing; else show the comment"),
    0x0111: ("the step is known", "go on: an earlier N-CREATE was committed"),
    0x0112: ("the step is not known", "create it first"),
    0x0117: ("the SOP Instance UID is no UID", "mend the modality"),
    0x0118: ("not the presentation context's SOP Class", "mend the modality"),
    0x0120: ("N-CREATE: attributes are absent, or there is no data set", "mend the modality"),
    0x0121: ("attributes have no value; N-SET: or are absent, or there is no data set", "mend the modality"),
    0x0124: ("this AE title may not report procedure steps", "ask the server's administrator: `sop_classes` of its table"),
    0x0210: ("the Message ID is still outstanding", "mend the modality"),
    0x0211: ("neither N-CREATE nor N-SET", "mend the modality"),
    0x0212: ("a command element is mistyped", "mend the modality"),
    0x0213: ("no room: disk full, or the data set is too long", "send again later; a data set too long: send less"),
}  # fmt: skip
"""Of each status of a procedure step: what it means, what the modality should do."""

_REJECTED: Final[dict[str, str]] = {
    "protocol-version": "Device: Protocol Version bit 0",
    "application-context": "Device: propose the DICOM Application Context Name",
    "calling-ae-title": "Add `[devices.<calling AE title>]` to the settings, or mend the title: AE titles are case-sensitive",
    "called-ae-title": 'Device: call the AE title of the server; or `called_ae = "any"`',
    "device-address": "Add the address to `address` of the device's table",
    "device-certificate": "Add the certificate's subject or alternative name to `certificate` of the device's table; over plain TCP there is none",
    "user-identity": "Device: negotiate the `username` and passcode of its table",
    "local-limit": "Close associations, or raise `max_associations` or `max_associations_per_address`",
}
_ERRORS: Final[dict[str, str]] = {
    "store-unavailable": "the store does not answer now",
    "store-broken": "an I/O error: the server ends and is started again",
    "answer-deadline": "the store did not commit within the answer deadline",
    "internal": "a defect: see the log line `internal-error`",
    "store-error": "the store could not keep the request",
}
_TYPES: Final[dict[int, tuple[str, str]]] = {
    attributes.PATIENT_ID: ("1C", "0120, 0121 where Admission ID has no value either"),
    attributes.ISSUER_OF_PATIENT_ID: ("2", "accepted"),
    attributes.PATIENT_NAME: ("2", "absent: finding, strict 0120"),
    attributes.ADMISSION_ID: ("1C", "0120, 0121 where Patient ID has no value either"),
    attributes.ISSUER_OF_ADMISSION_ID: (
        "2",
        "accepted; Issuer of Admission ID Sequence (0038,0014) may be sent instead",
    ),
    attributes.PACKAGE_IDENTIFIER: ("1C", "0120, 0121 where Product Name has no value either"),
    attributes.PRODUCT_NAME: ("1C", "0120, 0121 where Product Package Identifier has no value either"),
    attributes.PRODUCT_DESCRIPTION: ("3", "accepted"),
    attributes.ADMINISTRATION_DATETIME: ("1", "absent: 0120, empty: 0121"),
    attributes.ADMINISTRATION_NOTES: ("2", "accepted"),
    attributes.ADMINISTRATION_DEVICE_ID: ("3", "accepted"),
    substance.ROUTE: ("2", "absent: finding, strict 0120; at most one item"),
    substance.PARAMETER_SEQUENCE: ("3", "accepted"),
    substance.OPERATORS: ("1", "absent: 0120, empty: 0121; each item with one Person Identification Code"),
}
"""Of each attribute of Table P.3-2: type for the SCP, and what its absence is answered with."""


def statement(settings: Settings | None = None) -> str:
    """The whole statement in Markdown, with the numbers of these settings or of the defaults."""
    chosen = settings or Settings()
    return filled(template(), lambda name: VALUES[name](chosen))


def filled(prose: str, value: Callable[[str], str]) -> str:
    """Prose with a value or a table for each `{{name}}`."""
    return _GAP.sub(lambda gap: value(gap[1]), prose)


def template() -> str:
    """The prose, with a `{{name}}` where a value or a table goes."""
    return resources.files("plscp.reference").joinpath("conformance.md").read_text("utf-8")


def cell(text: object) -> str:
    """Text in a cell of a table; angle brackets are text, not HTML."""
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def table(rows: Iterable[Iterable[object]]) -> str:
    """Rows of a Markdown table."""
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in rows)


def _contexts(_settings: Settings) -> str:
    syntaxes = ", ".join(f"{UID(uid).name} ({uid})" for uid in negotiation.TRANSFER_SYNTAXES)
    return table((f"{UID(uid).name} ({uid})", syntaxes, "SCP", "none") for uid in negotiation.OPERATIONS)


def _instances(_settings: Settings) -> str:
    head = "| SOP Class | SOP Class UID | well-known SOP Instance UID | DIMSE service | Action Type ID |\n| --- | --- | --- | --- | --- |\n"
    rows = [(UID(uid).name, uid, instance, "N-ACTION", steps.RECORD) for uid, instance in INSTANCES.items()]
    others = [(negotiation.VERIFICATION, "C-ECHO"), (MODALITY_PERFORMED_PROCEDURE_STEP, "N-CREATE, N-SET")]
    return head + table([*rows, *((UID(uid).name, uid, "", service, "") for uid, service in others)])


def _policies(settings: Settings) -> str:
    d = settings.dicom
    return table(
        [
            ("Associations at the same time", f"{d.max_associations}; from one address {d.max_associations_per_address}"),
            ("Maximum Length Received", f"{d.max_pdu} bytes"),
            ("Presentation contexts in an A-ASSOCIATE-RQ", f"at most {d.max_presentation_contexts}"),
            ("TCP ports", f"{d.port}; over TLS {d.tls.port if d.tls else '2762, where it is configured'}"),
            ("Answer", f"within {_seconds(d.answer_deadline)} s: a failure when the event is not on disk by then"),
        ]
    )  # fmt: skip


def _rejections(_settings: Settings) -> str:
    alone = [one for one in vars(negotiation).values() if isinstance(one, negotiation.Rejection)]
    found = dict.fromkeys([*alone, *negotiation.REJECTIONS.values()])
    return table((f"{one.result}/{one.source}/{one.reason}", one.label, _REJECTED[one.label]) for one in found)


def _procedural(_settings: Settings) -> str:
    return table(
        (dictionary_description(one.tag), tag_text(one.tag), one.vr, "2", "finding, strict 0120")
        for one in attributes.PROCEDURAL
    )


def _substance(_settings: Settings) -> str:
    kinds = {one.tag: one.vr for one in attributes.SUBSTANCE}
    tags = sorted({*kinds, substance.OPERATORS, substance.ROUTE, substance.PARAMETER_SEQUENCE})
    return table((dictionary_description(tag), tag_text(tag), kinds.get(tag, "SQ"), *_TYPES[tag]) for tag in tags)


_FIELDS: Final = {0x0107: ["Attribute Identifier List"], 0x0110: ["Error ID"], 0x0120: ["Attribute Identifier List"]}
_IDENTIFIERS: Final = {
    U: "Study Instance UID", P: "Patient ID", S: "Study ID", L: "Performed Location", A: "the device has a location",
}  # fmt: skip


def _named(bits: int) -> str:
    return ", ".join(name for bit, name in _IDENTIFIERS.items() if bits & bit)


def _rules(_settings: Settings) -> str:
    return table(
        (
            row.rule,
            _named(row.given) + (f"; not {_named(row.without)}" if row.without else ""),
            (row.find.__doc__ or "").partition("\n")[0].rstrip("."),
        )
        for row in rules.TABLE
    )


def _beside(info: StatusInfo, *more: str) -> str:
    """What may stand beside a status."""
    comment = ["Error Comment"] if info.comment else []
    return ", ".join([*comment, *_FIELDS.get(info.code, ()), *more])


def _statuses(_settings: Settings) -> str:
    def row(info: StatusInfo) -> tuple[str, ...]:
        meaning, act = MEANT[info.code]
        beside = _beside(info, "Action Reply (Procedural Event Logging)") if info.performed else _beside(info)
        logged, again = ("yes", "") if info.performed else ("", "yes" if info.retriable else "no")
        return f"{info.code:04X}", f"{meaning} ({info.section})", logged, beside, again, act

    return table(row(info) for info in STATUSES.values())


def _step_statuses(_settings: Settings) -> str:
    def row(info: StatusInfo) -> tuple[str, ...]:
        meaning, act = MEANT_OF_STEPS[info.code]
        return f"{info.code:04X}", f"{meaning} ({info.section.split(', PS3.4 5')[0]})", _beside(info), act

    return table(row(info) for info in STEP_STATUSES.values())


def _reasons(_settings: Settings) -> str:
    wanted = [one for one in REASONS if one.when != "never"]
    return table(
        (one.text, one.statuses, one.when, one.mend)
        for one in sorted(wanted, key=lambda one: re.sub("[<>]", "", one.text).casefold())
    )


def _templates(_settings: Settings) -> str:
    """Every template that a log includes."""
    models: list[Any] = [LogContext, *TYPED]
    for model in models:  # it grows by what each includes
        parts = [part for _, row, item in declared(model) for part in (row.include, item)]
        models += [part for part in dict.fromkeys(parts) if hasattr(part, "model_fields") and part not in models]
    found = [model.head for model in models if getattr(model, "head", None) is not None]
    heads = {head.identifier: head for head in found if head.identifier}
    return table(
        (
            identifier,
            head.name,
            "yes" if head.extensible else "no",
            "significant" if head.ordered else "not significant",
            "kept" if head.extensible else "lenient: kept, finding; strict: C102",
        )
        for identifier, head in sorted(heads.items(), key=lambda pair: int(pair[0]))
    )


def _bounds(settings: Settings) -> str:
    d = settings.dicom
    broken = "C102 (Procedural Event Logging), 0115 (Substance Administration Logging)"
    return table(
        [
            ("length in bytes, before and after inflating", d.max_data_set, "0213"),
            ("nesting of sequences", d.max_depth, broken),
            ("data elements", d.max_elements, broken),
            ("bytes of one value", d.max_value, broken),
        ]
    )


def _character_sets(_settings: Settings) -> str:
    single = [f"ISO_IR {number}" for number in charset._SINGLE_BYTE if number != "6"]
    extended = [f"ISO 2022 IR {number}" for number in (*charset._SINGLE_BYTE, *charset._MULTI_BYTE)]
    return table(
        [
            ("absent, ISO_IR 6", "yes"),
            (", ".join(single), "yes"),
            (", ".join(extended), "yes, as code extensions"),
            (", ".join(charset._WHOLE), "yes, alone"),
        ]
    )


def _suites(_settings: Settings) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(certificates.SUITES)
    return ", ".join(sorted(one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"))


def _tls(settings: Settings) -> str:
    tls = settings.dicom.tls
    if tls is None:
        return "A listener of its own, port 2762, where the settings have a table `[dicom.tls]`; the plain port stays."
    required = "is required" if tls.client_ca else "is not asked for"
    return f"A listener of its own, port {tls.port}, beside the plain port. A client certificate {required}."


def _seconds(value: timedelta) -> str:
    return f"{value.total_seconds():g}"


def _dicom(name: str, settings: Settings) -> str:
    value = getattr(settings.dicom, name)
    return _seconds(value) if isinstance(value, timedelta) else str(value)


VALUES: Final[dict[str, Callable[[Settings], str]]] = {
    "version": lambda _: __version__,
    "implementation_class": lambda _: negotiation.IMPLEMENTATION_CLASS,
    "implementation_version": lambda _: negotiation.IMPLEMENTATION_VERSION,
    "application_context": lambda _: negotiation.APPLICATION_CONTEXT,
    "action_type": lambda _: str(steps.RECORD),
    "unknown_devices": lambda s: {"refuse": "others are refused", "accept": "others are accepted, too"}[s.dicom.unknown_devices],
    "called_ae": lambda s: s.dicom.ae_title if s.dicom.called_ae == "check" else "any is accepted",
    "connections_per_address": lambda s: str(2 * s.dicom.max_associations_per_address),
    "close_grace": lambda s: f"{s.matching.close_grace.total_seconds() / 60:g} minutes",
    "placeholders": lambda s: ", ".join(s.matching.placeholder_patient_ids) or "No values",
    "frame_of_reference": lambda s: s.matching.synchronization_frame_of_reference_uid,
    "name_mismatch": lambda s: "" if s.matching.name_mismatch == "log" else ", C110",
    "error_ids": lambda _: table((number, label, _ERRORS[label]) for label, number in ERROR_IDS.items()),
    **{
        name: partial(_dicom, name)
        for name in (
            "ae_title", "timezone", "max_waiting_requests", "first_pdu_deadline", "pdu_deadline", "message_deadline",
            "max_associate_request", "max_presentation_contexts", "max_pdu", "max_command_set", "drain_grace",
        )
    },
    "sop_classes": lambda _: table((UID(uid).name, uid, "no", "yes") for uid in negotiation.OPERATIONS),
    "instances": _instances,
    "association_policies": _policies,
    "rejections": _rejections,
    "contexts": _contexts,
    "procedural_attributes": _procedural,
    "substance_attributes": _substance,
    "rules": _rules,
    "statuses": _statuses,
    "step_statuses": _step_statuses,
    "reasons": _reasons,
    "templates": _templates,
    "bounds": _bounds,
    "character_sets": _character_sets,
    "cipher_suites": _suites,
    "tls": _tls,
}  # fmt: skip
"""What goes into each gap of the prose."""
