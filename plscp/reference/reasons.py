"""Why a request is refused: every reason that a finding or an Error Comment may state, and what to mend. A closed list."""

from typing import Final, Literal, NamedTuple

from plscp.matching import comments as c
from plscp.matching.step_changes import ENDED, PATIENT_AMBIGUOUS, PATIENT_CONTRADICTS, PATIENTS_SEVERAL

When = Literal["always", "strict", "setting", "warning", "never"]
"""`always` refuses; `strict`: only with `validation = "strict"`; `setting`: a setting says whether it refuses or warns; `warning`: it
is logged with a Warning; `never`: a finding beside the event."""


class Reason(NamedTuple):
    """One reason."""

    text: str  # as it stands in the comment; what varies is in angle brackets
    statuses: str  # what it may be answered with; empty: it is never the cause of a refusal
    when: When
    mend: str  # what to do


_CLOCK: Final = 'Set the device\'s clock (NTP), or `times` of its table to "untrusted"; where its times have no offset: `timezone` of its table'
_OPEN: Final = "Open the study (`plscp study open`, or its feed), then send again"
_REGISTER: Final = "Register the patient (feed, registry file or API), then send again"
_ISSUERS: Final = "Add the spelling to `[issuers]`; the log line `issuer-unusable` names it"
_CODE: Final = "Device: encode the code as PS3.3 Table 8.8-1 wants it"
_ENCODING: Final = "Device: the encoded data set is broken at this place (PS3.5 7)"
_BOUND: Final = "Device: send less in one request, or raise the bound in `[dicom]`: "
_TABLE: Final = (
    "Device: look at the row named in the comment; `plscp explain FILE` draws the tree with the row beside it"
)
_CHARACTERS: Final = "Device: declare the right Specific Character Set (0008,0005)"
_PARAMETER: Final = "Device: the item is kept as it was sent; Table 10-2 of PS3.3 says how it should look"

REASONS: Final[tuple[Reason, ...]] = (
    # --- procedure steps (N-CREATE, N-SET) ---
    Reason(PATIENT_CONTRADICTS.reason, "0110", "always", "Modality: take the right worklist entry; or confirm the correction that is proposed"),
    Reason(PATIENTS_SEVERAL.reason, "0110", "always", "Modality: a step is one patient's; mend the orders of these studies"),
    Reason(PATIENT_AMBIGUOUS.reason, "0110", "always", "Modality: send Issuer of Patient ID; or set `patient_id_issuer`"),
    Reason(ENDED.reason, "0110", "always", "Nothing: a repeat changes nothing; else begin a new step"),
    # --- study and patient (step 8), operator (step 9) ---
    Reason(c.CLOSED, "C101", "always", "Open the study again, or raise `close_grace`"),
    Reason(c.CANCELLED, "C101", "always", "Open the study again if the cancellation was wrong; else name the right study"),
    Reason(c.EXPIRED, "C101", "always", f"{_OPEN}; or raise `scheduled_expires`"),
    Reason(c.NOTHING_GIVEN, "C103", "always", "Device: send a Study Instance UID, a Patient ID or a location; or give its table a `location`"),
    Reason(c.UNKNOWN_STUDY, "C103", "always", f"{_OPEN}; device: send the Patient ID too"),
    Reason(c.UNKNOWN_STUDY_NO_CURRENT, "C103", "always", _OPEN),
    Reason(c.ISSUER_NOT_LISTED, "C103, C104, C110", "always", _ISSUERS),
    Reason(c.ISSUERS_CONTRADICT, "C103, C104, C110", "always", f"{_ISSUERS}; else the device sends two different issuers"),
    Reason(c.UNKNOWN_PATIENT, "C103", "always", _REGISTER),
    Reason(c.NO_CURRENT_STUDY, "C103", "always", _OPEN),
    Reason(c.UNKNOWN_LOCATION, "C103", "always", "Add the name to `names` of a `[locations]` entry"),
    Reason(c.FOREIGN_LOCATION, "C103", "always", "Add the location to the device's `location`, or mend what the device sends"),
    Reason(c.NONE_AT_LOCATION, "C103", "always", "Open the study with its location (`plscp study open ... --location`), then send again"),
    Reason(c.SEVERAL_LOCATIONS, "C103", "always", "Device: send Performed Location (0040,0243), or a study or patient"),
    Reason(c.TOO_OLD_BY_A_SLOW_CLOCK, "C103", "always", _CLOCK),
    Reason(c.TOO_OLD, "C103", "always", "Device: name the study or the patient in late requests; or raise `place_match_max_age`"),
    Reason(c.NO_PLACE, "C103", "always", "Device: name the study; or give its table a `location`"),
    Reason(c.AMBIGUOUS_PATIENT, "C103, C110", "always", "Device: send Issuer of Patient ID; or set `patient_id_issuer`"),
    Reason(c.SEVERAL_WITH_STUDY_ID, "C103", "always", "Device: send the Study Instance UID; or close the study that is over"),
    Reason(c.SEVERAL_OF_PATIENT, "C103", "always", "Close the study that is over; device: send the Study Instance UID"),
    Reason(c.SEVERAL_AT_LOCATION, "C103", "always", "Close the study that is over; device: name study or patient"),
    Reason(c.ENTRIES_IN_TWO, "C103", "always", "Device: send the entries of each case in a request of its own"),
    Reason(c.UNTRUSTED_SEVERAL, "C103", "always", 'Device: name study or patient; or `times = "trusted"` once its clock is right'),
    Reason(c.IN_THE_FUTURE, "C103", "always", _CLOCK),
    Reason(c.NONE_THEN_ONE_NOW, "C103", "always", _CLOCK),
    Reason(c.CLOCK_DIFFERS, "C103", "always", _CLOCK),
    Reason(c.TIMES_NAME_ANOTHER, "C103", "always", _CLOCK),
    Reason(c.ANOTHER_MEANWHILE, "C103", "always", f"{_CLOCK}; device: name study or patient"),
    Reason(c.CLOCK_FAST, "C103", "always", _CLOCK),
    Reason(c.FAST_SEVERAL, "C103", "always", _CLOCK),
    Reason(c.PATIENT_CONTRADICTS, "C104, B104", "setting", "Look which patient is on the table: the device has another selected. `patient_mismatch`"),
    Reason(c.UNKNOWN_AT_LOCATION, "C104, B104", "setting", "Look which patient is on the table: register that Patient ID and open the study, or mend what the device sends. `patient_mismatch`"),
    Reason(c.UNKNOWN_FOR_STUDY, "C104, B104", "setting", "Look whose study it is: register the Patient ID (`other_ids` where it is the same patient's), or mend what the device sends. `patient_mismatch`"),
    Reason(c.STUDY_ID_CONTRADICTS, "B104, C104", "setting", "Device: take the worklist entry again. `study_id_mismatch`"),
    Reason(c.LOCATION_CONTRADICTS, "B104, C104", "setting", "Correct the study's location, or the device's. `location_mismatch`"),
    Reason(c.BOTH_CONTRADICT, "C104", "always", "Look which patient is on the table: the device has another selected"),
    Reason(c.NOT_STARTED_ELSEWHERE, "B104, C104", "setting", "Look which patient is in the room. `not_started_elsewhere`"),
    Reason(c.LEFT_ALREADY, "B104", "warning", "Look which patient is in the room: the device may have the one before selected"),
    Reason(c.KNOWN_ELSEWHERE, "C104", "always", "`plscp correction list` shows the move that is proposed: `confirm` it, or `reject` it where the device is wrong"),
    Reason(c.COERCED, "B102", "warning", "Device: take the worklist entry again; the Action Reply has the study's UID"),
    Reason(c.SYNCHRONIZATION, "B101", "warning", "Set `synchronization_frame_of_reference_uid`, or the device's clock to the hospital's time"),
    Reason(c.KNOWN_OF_ANOTHER, "C110", "always", "`plscp correction list` shows the move that is proposed: `confirm` it, or `reject` it where the device is wrong"),
    Reason(c.NO_PATIENT_GIVEN, "C110", "always", "Device: send a Patient ID or an Admission ID that is no placeholder"),
    Reason(c.PATIENT_NOT_KNOWN, "C110", "always", _REGISTER),
    Reason(c.ADMISSION_NOT_KNOWN, "C110", "always", "Register the admission, or device: send the Patient ID"),
    Reason(c.ADMISSION_AMBIGUOUS, "C110", "always", "Device: send Issuer of Admission ID, or the Patient ID"),
    Reason(c.ADMISSION_DIFFERS, "C110", "always", "Device: Admission ID may be the previous patient's; select the patient again"),
    Reason(c.NAME_DIFFERS, "C110", "setting", "Look which patient the device has selected. `name_mismatch`"),
    Reason(c.OPERATOR_NOT_ALLOWED, "C10E", "always", "Add the operator's code to `[operators] allowed`, with this location and time"),
    # --- storing (step 10), and what the server itself could not do ---
    Reason("not recorded, please send again: <label>", "0110, C111", "always", "Send the same request again; table 'Error ID' has the label"),
    Reason("this server failed on the request", "0110", "always", "A defect: report the log line `internal-error`; the request is in quarantine"),
    # --- the command (steps 1 to 4) ---
    Reason("Requested SOP Class is not the context's", "0118", "always", "Device: Requested SOP Class UID must be the presentation context's"),
    Reason("Requested SOP Instance UID is absent", "0112", "strict", "Device: send the well-known SOP Instance UID"),
    Reason("Requested SOP Instance UID is no valid UID", "0117", "always", "Device: send the well-known SOP Instance UID"),
    Reason("the instance is the other SOP Class's", "0119", "always", "Device: send the well-known SOP Instance UID of this SOP Class"),
    Reason("the instance is not the well-known one", "0112", "always", "Device: send the well-known SOP Instance UID"),
    Reason("Action Type ID must be 1", "0123", "always", "Device: send Action Type ID 1"),
    Reason("calling AE title may not use this SOP Class", "0124", "always", "Add the SOP Class to `sop_classes` of the device's table"),
    # --- reading the data set (step 5) ---
    Reason("the request has no Action Information", "0120", "always", "Device: send a data set"),
    Reason("the data set is longer than this server takes", "0213", "always", f"{_BOUND}`max_data_set`"),
    Reason("transfer syntax is not one this server reads", "0115", "always", "Device: use a transfer syntax that was accepted"),
    Reason("the data set does not inflate", "0115", "always", _ENCODING),
    Reason("the deflated data set ends too early", "0115", "always", _ENCODING),
    Reason("bytes after the deflated data set", "0115", "always", _ENCODING),
    Reason("more elements than this server takes", "C102, 0115", "always", f"{_BOUND}`max_elements`"),
    Reason("more items than this server takes", "C102, 0115", "always", f"{_BOUND}`max_elements`"),
    Reason("a value is longer than this server takes", "C102, 0115", "always", f"{_BOUND}`max_value`"),
    Reason("sequences are nested deeper than this server takes", "C102, 0115", "always", f"{_BOUND}`max_depth`"),
    Reason("an element's head is cut off", "0115", "always", _ENCODING),
    Reason("an element's length is cut off", "0115", "always", _ENCODING),
    Reason("two bytes that are no VR", "0115", "always", _ENCODING),
    Reason("an item's tag where an element should stand", "0115", "always", _ENCODING),
    Reason("a value runs past the end", "0115", "always", _ENCODING),
    Reason("a value of odd length", "0115", "strict", _ENCODING),
    Reason("an item has no end", "0115", "always", _ENCODING),
    Reason("an element stands twice", "0115", "always", _ENCODING),
    Reason("Specific Character Set after text", "0115", "always", _ENCODING),
    Reason("elements not in the order of their tags", "0115", "strict", _ENCODING),
    Reason("a sequence runs past the end", "0115", "always", _ENCODING),
    Reason("an item's head is cut off", "0115", "always", _ENCODING),
    Reason("a sequence holds what is no item", "0115", "always", _ENCODING),
    Reason("an item runs past the end", "0115", "always", _ENCODING),
    Reason("a sequence has no end", "0115", "always", _ENCODING),
    # --- attributes (step 6) ---
    Reason("attribute is absent", "0120", "always", "Device: send the attribute; the answer lists its tag"),
    Reason("attribute has no value", "0121", "always", "Device: give the attribute a value; the quarantine item names it"),
    Reason("Type 2 attribute is absent", "0120", "strict", "Device: send the attribute, empty where nothing is known"),
    Reason("VR must be <VR>", "0115", "always", "Device: use the VR of PS3.6"),
    Reason("does not decode by its character set", "0115", "always", _CHARACTERS),
    Reason("not one valid value of <VR>", "0115", "always", "Device: one value, with the length and characters of its VR (PS3.5 6.2)"),
    Reason("not an offset +HHMM or -HHMM", "0115", "always", "Device: mend Timezone Offset From UTC (0008,0201)"),
    Reason("more than one item", "0115", "always", "Device: send one item in this sequence"),
    Reason("more than a day later than its arrival", "0115", "always", _CLOCK),
    Reason("later than its arrival", "0115", "strict", _CLOCK),
    Reason("not dated to the minute", "0115", "strict", "Device: date the administration to the minute"),
    Reason("offset from UTC is not of the form +HHMM or -HHMM", "C102, 0115", "always", "Device: mend the offset of the DateTime"),
    Reason("offset from UTC lies outside -1200 to +1400", "C102, 0115", "always", "Device: mend the offset of the DateTime"),
    Reason("not a DT: YYYYMMDDHHMMSS.FFFFFF&ZZXX is expected", "C102, 0115", "always", "Device: mend the DateTime"),
    Reason("not a date and time: <why>", "C102, 0115", "always", "Device: mend the DateTime: there is no such day or time"),
    # --- the content tree (step 7, PS3.3 C.17.3 and A.35.7.3) ---
    Reason("the request has <number> entries", "C102", "always", "Replay: name entries that are there; they count from 0"),
    Reason("an administration is one entry, of index 0", "0115", "always", "Replay: leave out which entries"),
    Reason("a log without an entry", "C102", "always", "Device: send at least one content item with CONTAINS below the root"),
    Reason("the root must be a CONTAINER", "C102", "always", "Device: Value Type (0040,A040) of the root is CONTAINER"),
    Reason("Continuity Of Content is missing or unknown", "C102", "always", "Device: send SEPARATE or CONTINUOUS"),
    Reason("Content Template Sequence is missing", "C102", "strict", "Device: send Content Template Sequence with 3001"),
    Reason("not one item in Content Template Sequence", "C102", "always", "Device: send one item"),
    Reason("Mapping Resource of the template must be DCMR", "C102", "always", "Device: Mapping Resource (0008,0105) is DCMR"),
    Reason("Template Identifier must be digits only", "C102", "always", "Device: Template Identifier (0040,DB00) is 3001"),
    Reason("Template Identifier should be 3001", "C102", "strict", "Device: Template Identifier (0040,DB00) is 3001"),
    Reason("Content Sequence without items", "C102", "always", "Device: leave the empty sequence out"),
    Reason("Relationship Type is missing or unknown", "C102", "always", _TABLE),
    Reason("relationship by reference", "C102", "always", "Device: a log has no relationships by reference (A.35.7.3.1.2)"),
    Reason("Value Type not allowed in a log", "C102", "always", "Device: use a Value Type of A.35.7.3.1.1"),
    Reason("item without Value Type", "C102", "always", "Device: send Value Type (0040,A040)"),
    Reason("CONTAINER below the root", "C102", "always", "Device: a log has no CONTAINER but the root"),
    Reason("<relationship> <value type> not below <value type>", "C102", "always", "Device: not one of Table A.35.7-2"),
    Reason("entry without Observation DateTime", "C102", "always", "Device: send Observation DateTime (0040,A032) with each entry"),
    Reason("Observation DateTime without minutes", "C102", "always", "Device: date each entry to the minute at least, better to the second"),
    Reason("Observation DateTime without seconds", "C102", "strict", "Device: date each entry to the second"),
    Reason("Observation DateTime is no valid DT", "C102", "always", "Device: mend the DateTime"),
    Reason("Observation UID is no valid UID", "C102", "always", "Device: mend the UID"),
    Reason("entry earlier than the one before", "C102", "strict", "Device: send entries in order of time"),
    Reason("entry at the same DateTime as the one before", "C102", "strict", "Device: send DateTimes with fractions of seconds"),
    Reason("<value type> item without a value", "C102", "always", "Device: send the value, or leave the item out"),
    Reason("Text Value with control characters", "C102", "always", "Device: mend the text"),
    Reason("DateTime is no valid DT", "C102", "always", "Device: mend the value"),
    Reason("Date is no valid DA", "C102", "always", "Device: mend the value"),
    Reason("Time is no valid TM", "C102", "always", "Device: mend the value"),
    Reason("Person Name is no valid PN", "C102", "always", "Device: mend the value"),
    Reason("UID is no valid UID", "C102", "always", "Device: mend the value"),
    Reason("NUM item without Measured Value Sequence", "C102", "always", "Device: send Measured Value Sequence (0040,A300)"),
    Reason("more than one measured value", "C102", "always", "Device: send one item in Measured Value Sequence"),
    Reason("Numeric Value is no valid DS", "C102", "always", "Device: at most 16 characters of a decimal number"),
    Reason("measured value without Numeric Value", "C102", "always", "Device: send Numeric Value (0040,A30A)"),
    Reason("not one item in Referenced SOP Sequence", "C102", "always", "Device: send one item"),
    Reason("Referenced SOP <name> UID is missing or no UID", "C102", "always", "Device: mend the reference"),
    Reason("text does not decode by its character set", "C102", "strict", _CHARACTERS),
    Reason("unknown or contradicting terms", "C102", "strict", _CHARACTERS),
    Reason("missing code sequence <tag>", "C102, 0115", "always", _CODE),
    Reason("not one item in <tag>", "C102, 0115", "always", _CODE),
    Reason("code item without code value", "C102, 0115", "always", _CODE),
    Reason("code item with several code values", "C102, 0115", "always", _CODE),
    Reason("code value too long or with control characters", "C102, 0115", "always", _CODE),
    Reason("code item without coding scheme designator", "C102, 0115", "always", _CODE),
    Reason("coding scheme designator is not valid", "C102, 0115", "always", _CODE),
    Reason("code item without code meaning", "C102, 0115", "always", _CODE),
    Reason("code meaning too long or with control characters", "C102, 0115", "always", _CODE),
    # --- templates (step 7, PS3.16) ---
    Reason("missing <concept>", "C102", "always", f"{_TABLE}: a mandatory row has no item"),
    Reason("missing Observer Context", "C102", "strict", "Device: send TID 1002 Observer Context at the root"),
    Reason("more than one <concept>", "C102", "always", f"{_TABLE}: it may stand once"),
    Reason("<concept> against its condition", "C102", "always", f"{_TABLE}: its condition does not hold here"),
    Reason("<concept> must be <value type or relationship>", "C102", "always", _TABLE),
    Reason("unit must be <unit>", "C102", "always", "Device: send the amount in this unit"),
    Reason("value must be <code>", "C102", "always", "Device: send this code"),
    Reason("item not in a non-extensible template", "C102", "strict", f"{_TABLE}: leave the item out"),
    Reason("item after its place in the table", "C102", "strict", f"{_TABLE}: the order of rows is significant"),
    # --- findings that never refuse ---
    Reason("<relationship> <value type> below <value type> is not in Table A.35.7-2", "", "never", "A template row wants it: no fault of the device"),
    Reason("retired code, read as <code> <scheme>", "", "never", "Device: send the current code"),
    Reason("<code> names an entry in scheme <scheme>, not in <scheme>", "", "never", "Device: send the Coding Scheme Designator of PS3.16; the entry is published as another kind"),
    Reason("value outside CID <CID>", "", "never", "Device: send a code of the context group where there is one"),
    Reason("unit outside CID <CID>", "", "never", "Device: send a unit of the context group"),
    Reason("title outside CID <CID>", "", "never", "Device: send a title of the context group"),
    Reason("route outside CID 11", "", "never", "Device: send a code of the context group where there is one"),
    Reason("parameter outside CID 3410", "", "never", "Device: send a code of the context group where there is one"),
    Reason("unit is not a valid UCUM code", "", "never", "Device: send a UCUM unit"),
    Reason("<members> not valid by its class", "", "never", "A defect: report the log line `internal-error`; the entry is published untyped"),
    Reason("not to be sent in Action Information", "", "never", "Device: leave SOP Class and SOP Instance UID out of the data set"),
    Reason("differs from Issuer of Admission ID (0038,0011)", "", "never", "Device: send one issuer"),
    Reason("Value Type is missing or not of the Content Item Macro", "", "never", _PARAMETER),
    Reason("Value Type NUM read as NUMERIC", "", "never", _PARAMETER),
    Reason("parameter without a value", "", "never", _PARAMETER),
    Reason("Numeric Value is missing or no valid DS", "", "never", _PARAMETER),
    Reason("<value type> parameter without a valid value", "", "never", _PARAMETER),
    Reason("Patient ID was merged, changed or is another ID of the patient found", "", "never", "Device: the Action Reply has the current ID"),
    Reason("Performed Location is a name that no [locations] entry lists", "", "never", "Add the name to `names` of a `[locations]` entry"),
    Reason("the study is scheduled and was not opened yet", "", "never", "Open the study when the case begins"),
    Reason("the study was not at the device's configured location then", "", "never", "Correct the study's location or the device's `location`"),
    Reason("<what>: entry <numbers>", "", "never", "Look at the device's clock"),
    Reason("Admission ID is not known; the patient is named by Patient ID", "", "never", "Register the admission"),
    Reason("Admission ID is that of a cancelled admission", "", "never", "Look which admission the device has"),
    Reason("Admission ID is that of a patient discharged from it", "", "never", "Look which admission the device has"),
)  # fmt: skip
"""Every reason, in the order of the checks. Two constants of matching that read alike are one row."""
