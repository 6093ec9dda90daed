"""Error Comments (0000,0902) of matching: printable ASCII, at most 64 characters, never an identifier; one cause, one comment."""

from typing import Final

# C101
CLOSED: Final = "study was closed longer than the grace ago"
CANCELLED: Final = "study was cancelled"
EXPIRED: Final = "study was scheduled too long ago and never opened"

# C103, none
NOTHING_GIVEN: Final = "no identifier was given and the device has no location"
UNKNOWN_STUDY: Final = "Study Instance UID not known, and no patient named"
UNKNOWN_STUDY_NO_CURRENT: Final = "Study Instance UID not known, the patient has no current study"
ISSUER_NOT_LISTED: Final = "issuer of the Patient ID not known: [issuers] lacks it"
ISSUERS_CONTRADICT: Final = "issuer and its qualifiers differ: [issuers] may lack a spelling"
UNKNOWN_PATIENT: Final = "no known patient has that Patient ID"
NO_CURRENT_STUDY: Final = "the patient has no study that takes events"
UNKNOWN_LOCATION: Final = "Performed Location is not a known location"
FOREIGN_LOCATION: Final = "Performed Location is none of the device's locations"
NONE_AT_LOCATION: Final = "no study was at the location when the events occurred"
SEVERAL_LOCATIONS: Final = "device has several locations: it must send Performed Location"
TOO_OLD: Final = "entries are too old to find a study by place"
NO_PLACE: Final = "no study named, and no location to find one by"

# C103, several
AMBIGUOUS_PATIENT: Final = "Patient ID without issuer names several patients"
SEVERAL_WITH_STUDY_ID: Final = "several studies of the patient have that Study ID"
SEVERAL_OF_PATIENT: Final = "several studies of the patient take events"
SEVERAL_AT_LOCATION: Final = "several studies were at the location when the events occurred"
ENTRIES_IN_TWO: Final = "the entries lie in the times of different studies"
UNTRUSTED_SEVERAL: Final = "device times untrusted, and several studies were there lately"

# C103, and a clock difference is the likely cause
IN_THE_FUTURE: Final = "entries lie in the future: check the device's clock"
TOO_OLD_BY_A_SLOW_CLOCK: Final = "entries are too old for their place: check the device's clock"
NONE_THEN_ONE_NOW: Final = "no study there at those times, one now: check device's clock"
CLOCK_DIFFERS: Final = "no match by time, clock difference known: check device's clock"
TIMES_NAME_ANOTHER: Final = "times name another study than arrival: check device's clock"
ANOTHER_MEANWHILE: Final = "another study was there since, and the clock is not known"
CLOCK_FAST: Final = "device's clock is fast, entries not of just now: set its clock"
FAST_SEVERAL: Final = "device's clock is fast, and several studies were there lately"

# C104, B104
PATIENT_CONTRADICTS: Final = "Patient ID is not that of the study found"
UNKNOWN_AT_LOCATION: Final = "study found by location, but the Patient ID is not known"
UNKNOWN_FOR_STUDY: Final = "study found by its UID, but the Patient ID is not known"
STUDY_ID_CONTRADICTS: Final = "Study ID is not that of the study found"
LOCATION_CONTRADICTS: Final = "study found was not at Performed Location then"
BOTH_CONTRADICT: Final = "Study ID and location are those of another patient's study"
NOT_STARTED_ELSEWHERE: Final = "study not started, and another patient's study is open there"
LEFT_ALREADY: Final = "study had left, and another patient's study is open there"
KNOWN_ELSEWHERE: Final = "an entry of it stands under another study, a move is proposed"

# B102, B101
COERCED: Final = "logged under another Study Instance UID, see Action Reply"
SYNCHRONIZATION: Final = "Synchronization Frame of Reference differs from the SCP's"

# C110, C10E
KNOWN_OF_ANOTHER: Final = "it stands under another patient already, a move is proposed"
NO_PATIENT_GIVEN: Final = "neither a usable Patient ID nor an Admission ID was given"
PATIENT_NOT_KNOWN: Final = "Patient ID is not known"
ADMISSION_NOT_KNOWN: Final = "Admission ID is not known, and no Patient ID was given"
ADMISSION_AMBIGUOUS: Final = "Admission ID names several patients"
ADMISSION_DIFFERS: Final = "Patient ID and Admission ID name different patients"
NAME_DIFFERS: Final = "family name is not that of the patient found"
OPERATOR_NOT_ALLOWED: Final = "no operator named may add to the record here and then"
