"""A decision in words, for people who read it: what its rule looked for, and what the device's clock is worth."""

from typing import Final

RULES: Final = {
    "1": "the study named takes events",
    "2": "the study named is over",
    "2a": "the study named is scheduled",
    "3": "the patient's study with that Study ID",
    "4": "the patient's only study that takes events",
    "5": "the study with that Study ID at the location then",
    "6": "the study at the location then",
    "7": "the study at the device's location then",
    "patient": "the Patient ID names the patient",
    "admission": "the Admission ID names the patient",
    "accession": "the Accession Number of a study that takes events names the patient",
}
"""What each rule looked for, in few words, for people."""
CLOCKS: Final = {
    "known": "measured to be right: its times decide",
    "slow": "slow, or what it sends is delayed: times and arrival must name the same study",
    "fast": "fast: only entries of just now are matched, by arrival",
    "unknown": "not measured: times and arrival must name the same study",
    "untrusted": "untrusted by the settings: matched by arrival",
}
"""What follows from what is known of a device's clock (rules 5 to 7)."""
