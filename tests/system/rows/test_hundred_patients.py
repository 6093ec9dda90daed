"""Whom identifiers name, worked out from the contract before they were run: issuers, merges, IDs given anew, placeholders."""

from dataclasses import replace
from pathlib import Path

from tests.system.rows.rig import POLICY
from tests.system.rows.stories import play, told

PATIENTS = {
    "an ID that both hospitals use, from a room where the other hospital's patient lies": """
        09:00 study 1.1 7 issuer=HOSP at=LAB2
        09:00 study 1.2 7 issuer=EAST at=LAB1
        10:00 HEMO1 sends P=7 -> 0000 1.1 7
        10:00 EAST1 sends P=7 -> 0000 1.2 7
        10:00 HEMO1 sends P=7 issuer="East Clinic" -> 0000 1.2 7
        10:00 HEMO1 sends U=1.2 P=7 says=PATIENT_CONTRADICTS -> C104
        10:00 EAST1 sends U=1.1 P=7 -> C104
        10:00 HEMO1 sends -> 0000 1.2 7
        """,
    "an ID that both hospitals use, and no issuer anywhere": """
        09:00 study 1.1 7 issuer=HOSP at=LAB1
        09:00 study 1.2 7 issuer=EAST at=LAB2
        10:00 NOISSUER1 sends U=1.2 P=7 -> 0000 1.2 7
        10:00 NOISSUER1 sends U=1.1 P=7 -> 0000 1.1 7
        10:00 NOISSUER1 sends U=9.9 P=7 says=AMBIGUOUS_PATIENT -> C103
        10:00 NOISSUER1 sends P=7 -> 0000 1.1 7
        10:00 NOISSUER1 sends P=7 issuer=EAST -> 0000 1.2 7
        10:00 NOISSUER1 sends P=7 L="Lab 1" -> 0000 1.1 7
        """,
    "an ID of one hospital sent as the other's names nobody, and the room does not mend it": """
        09:00 study 1.1 7 issuer=HOSP at=LAB1
        10:00 HEMO1 sends P=7 issuer=EAST -> C104
        10:00 MOBILE sends P=7 issuer=EAST says=UNKNOWN_PATIENT -> C103
        10:00 EAST1 sends P=7 -> C104
        10:00 EAST1 sends P=7 oid=1.2.840.99999.1 -> 0000 1.1 7
        10:00 HEMO1 sends P=7 issuer=NOWHERE -> C104
        10:00 LOG1 sends P=7 issuer=EAST warns=B104 -> B104 1.1 7
        """,
    "an issuer without an ID says nothing": """
        09:00 study 1.1 PA at=LAB1
        10:00 HEMO1 sends issuer=NOWHERE -> 0000 1.1 PA
        10:00 HEMO1 sends P=UNKNOWN issuer=NOWHERE -> 0000 1.1 PA
        10:00 HEMO1 sends U=1.1 P=temp issuer=EAST -> 0000 1.1 PA
        """,
    "another ID of the patient, at the other hospital": """
        08:50 patient PA other=X1^EAST
        09:00 study 1.1 PA at=LAB1
        10:00 EAST1 sends P=X1 finds=superseded-id -> 0000 1.1 PA
        10:00 MOBILE sends P=X1 issuer=EAST -> 0000 1.1 PA
        10:00 MOBILE sends P=X1 -> C103
        10:00 HEMO1 sends U=1.1 P=X1 -> C104
        10:01 patient X1
        10:02 MOBILE sends P=X1 says=NO_CURRENT_STUDY -> C103
        10:02 HEMO1 sends P=X1 -> C104
        10:02 EAST1 sends P=X1 -> 0000 1.1 PA
        """,
    "a merge before, between and after what is sent by the old ID": """
        09:00 study 1.1 PA at=LAB1
        09:00 patient PB
        09:30 HEMO1 sends P=PB -> C104
        09:40 merge PA PB
        09:41 HEMO1 sends P=PB finds=superseded-id -> 0000 1.1 PA
        09:42 MOBILE sends P=PB -> 0000 1.1 PA
        09:43 HEMO1 sends U=1.1 P=PA -> 0000 1.1 PA
        """,
    "a merge of two patients who both have a study open": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        09:30 merge PA PB
        10:00 MOBILE sends P=PB says=SEVERAL_OF_PATIENT -> C103
        10:00 HEMO2 sends P=PB finds=superseded-id -> 0000 1.2 PA
        10:00 HEMO1 sends P=PB -> 0000 1.1 PA
        10:00 HEMO1 sends U=1.2 P=PB -> 0000 1.2 PA
        10:00 HEMO2 sends -> 0000 1.2 PA
        """,
    "two merges, one after the other, and a restart": """
        09:00 study 1.3 PC at=LAB1
        09:10 merge PB PC
        09:20 merge PA PB
        09:21 HEMO1 sends P=PC -> 0000 1.3 PA
        09:22 restart
        09:23 HEMO1 sends P=PC finds=superseded-id -> 0000 1.3 PA
        09:23 HEMO1 sends P=PB -> 0000 1.3 PA
        09:23 HEMO1 sends P=PA -> 0000 1.3 PA
        """,
    "a merge turns two patients of one room into one": """
        09:00 study 1.1 PA at=LAB1
        09:30 study 1.2 PB at=LAB1
        09:40 HEMO1 sends -> C103
        09:41 merge PA PB
        09:42 HEMO1 sends -> C103
        09:42 HEMO1 sends P=PA -> C103
        09:42 HEMO1 sends U=1.2 P=PB -> 0000 1.2 PA
        09:43 close 1.1
        09:44 HEMO1 sends -> 0000 1.2 PA
        """,
    "an ID given anew names the new patient only": """
        09:00 study 1.2 PB at=LAB1
        09:10 merge PA PB
        09:11 HEMO1 sends P=PB -> 0000 1.2 PA
        09:20 patient PB
        09:21 HEMO1 sends P=PB -> C104
        09:21 HEMO1 sends U=1.2 P=PB says=PATIENT_CONTRADICTS -> C104
        09:21 MOBILE sends P=PB says=NO_CURRENT_STUDY -> C103
        09:30 study 1.3 PB at=LAB2
        09:31 MOBILE sends P=PB -> 0000 1.3 PB
        09:31 HEMO1 sends P=PB -> 0000 1.3 PB
        09:32 restart
        09:33 HEMO2 sends P=PB -> 0000 1.3 PB
        09:33 HEMO1 sends P=PA -> 0000 1.2 PA
        09:33 HEMO1 sends -> 0000 1.2 PA
        """,
    "an ID changed, then given anew, then merged into its former owner": """
        09:00 study 1.1 PA at=LAB1
        09:10 rename PA PA2
        09:11 HEMO1 sends P=PA finds=superseded-id -> 0000 1.1 PA2
        09:12 HEMO1 sends P=PA2 -> 0000 1.1 PA2
        09:20 patient PA
        09:21 HEMO1 sends P=PA -> C104
        09:30 merge PA2 PA
        09:31 HEMO1 sends P=PA finds=superseded-id -> 0000 1.1 PA2
        """,
    "an ID changed to one that another patient has": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        09:10 refuses rename PA PB
        09:11 HEMO1 sends P=PA -> 0000 1.1 PA
        09:11 HEMO1 sends P=PB -> 0000 1.2 PB
        """,
    "placeholders are no IDs, in any case of their letters": """
        09:00 study 1.1 PA at=LAB1
        10:00 HEMO1 sends P=UNKNOWN -> 0000 1.1 PA
        10:00 HEMO1 sends P=n/a -> 0000 1.1 PA
        10:00 HEMO1 sends P=" 0 " -> 0000 1.1 PA
        10:00 HEMO1 sends P=00 -> C104
        10:00 HEMO1 sends P=pa -> C104
        10:00 HEMO1 sends P="  PA " -> 0000 1.1 PA
        10:00 MOBILE sends P=UNKNOWN -> C103
        10:00 MOBILE sends U=9.9 P=UNKNOWN -> C103
        10:00 COERCED1 sends U=9.9 P=UNKNOWN says=COERCED -> B102 1.1 PA
        """,
    "a study whose patient nobody knows yet, and who he turns out to be": """
        09:00 study 1.7 UNKNOWN at=LAB1
        09:10 HEMO1 sends -> 0000 1.7 PLSCP-1
        09:11 HEMO1 sends P=PLSCP-1 -> 0000 1.7 PLSCP-1
        09:12 HEMO1 sends P=PA -> C104
        09:13 HEMO1 sends P=UNKNOWN U=1.7 -> 0000 1.7 PLSCP-1
        09:20 merge PA UNKNOWN
        09:21 HEMO1 sends P=PA -> 0000 1.7 PA
        09:22 HEMO1 sends P=PLSCP-1 finds=superseded-id -> 0000 1.7 PA
        09:23 restart
        09:24 EAST1 sends P=PLSCP-1 -> 0000 1.7 PA
        """,
    "two studies with patients unknown: a merge of the placeholder moves neither": """
        09:00 study 1.7 UNKNOWN at=LAB1
        09:00 study 1.8 unknown at=LAB2
        09:10 refuses merge PA UNKNOWN
        09:11 HEMO1 sends -> 0000 1.7 PLSCP-1
        09:11 HEMO2 sends -> 0000 1.8 PLSCP-2
        09:11 HEMO1 sends P=PA -> C104
        """,
    "two studies with different placeholders: only the one that came with it moves": """
        09:00 study 1.7 UNKNOWN at=LAB1
        09:00 study 1.8 TEMP at=LAB2
        09:10 merge PB TEMP
        09:11 HEMO2 sends P=PB -> 0000 1.8 PB
        09:11 HEMO1 sends P=PB -> 0000 1.8 PB
        09:11 HEMO1 sends -> 0000 1.7 PLSCP-1
        09:12 close 1.7
        09:13 refuses merge PA UNKNOWN
        09:14 HEMO1 sends U=1.7 -> 0000 1.7 PLSCP-1
        """,
    "an ID of plscp's own of another patient": """
        09:00 study 1.7 UNKNOWN at=LAB1
        09:00 study 1.8 UNKNOWN at=LAB2
        10:00 HEMO1 sends P=PLSCP-2 -> 0000 1.8 PLSCP-2
        10:00 HEMO1 sends U=1.7 P=PLSCP-2 -> C104
        10:00 HEMO1 sends U=1.7 P=PLSCP-3 -> C104
        10:00 HEMO1 sends U=1.7 P=PLSCP-1 issuer=EAST -> C104
        """,
    "a patient of another study may not be put in place of one who has entries": """
        09:00 study 1.1 PA status=scheduled
        09:10 study 1.1 PB status=scheduled
        09:11 MOBILE sends U=1.1 P=PA -> C104
        09:12 MOBILE sends U=1.1 P=PB -> 0000 1.1 PB
        09:13 refuses study 1.1 PA status=scheduled
        09:14 restart
        +2d09:00 refuses study 1.1 PA status=scheduled
        +2d09:01 MOBILE sends U=1.1 -> 0000 1.1 PB
        +2d09:02 refuses study 1.1 PA
        +2d09:03 MOBILE sends U=1.1 P=PA -> C104
        """,
    "an unknown study and each of the other identifiers": """
        09:00 study 1.1 PA at=LAB1 id=S1
        10:00 MOBILE sends U=9.9 P=PA warns=B102 -> B102 1.1 PA
        10:00 MOBILE sends U=9.9 P=PA S=S1 -> B102 1.1 PA
        10:00 MOBILE sends U=9.9 P=PA S=S2 warns=B102,B104 says=COERCED -> B102 1.1 PA
        10:00 MOBILE sends U=9.9 S=S1 L="Lab 1" -> C103
        10:00 HEMO1 sends U=9.9 -> C103
        10:00 HEMO1 sends U=9.9 P=PB -> C103
        10:00 COERCED1 sends U=9.9 warns=B102 -> B102 1.1 PA
        10:00 COERCED1 sends U=9.9 S=S1 L="Lab 1" -> B102 1.1 PA
        10:00 COERCED1 sends U=9.9 S=S2 -> C104
        10:00 COERCED1 sends U=9.9 P=PB -> C103
        """,
    "coercion by location asks the clock and the room as ever": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:10 study 1.2 PB at=LAB1
        10:20 COERCED1 sends U=9.9 at=09:50 -> C103
        10:20 COERCED1 sends U=9.9 -> B102 1.2 PB
        10:35 COERCED1 sends U=1.1 -> C101
        10:35 COERCED1 sends U=1.1 P=PA -> C101
        10:36 study 1.3 PC at=LAB1
        10:37 COERCED1 sends U=9.9 -> C103
        """,
    "every warning at once, in its order": """
        09:00 study 1.1 PA at=LAB1 id=S1
        10:00 MOBILE sends U=9.9 P=PA S=S9 L="Lab 2" frame=1.2.3 warns=B102,B104,B101 says=COERCED -> B102 1.1 PA
        10:00 MOBILE sends P=PA S=S9 frame=1.2.3 warns=B104,B101 says=STUDY_ID_CONTRADICTS -> B104 1.1 PA
        10:00 MOBILE sends P=PA frame=1.2.3 warns=B101 says=SYNCHRONIZATION -> B101 1.1 PA
        10:00 MOBILE sends P=PA frame= -> 0000 1.1 PA
        10:00 HEMO1 sends frame=1.2.3 -> B101 1.1 PA
        10:00 HEMO1 sends P=PB frame=1.2.3 -> C104
        10:00 NARROW1 sends U=9.9 P=PA S=S9 frame=1.2.3 says=STUDY_ID_CONTRADICTS -> C104
        """,
    "a device that refuses what others log": """
        09:00 study 1.1 PA at=LAB1 id=S1
        09:00 study 1.2 PB at=LAB2
        10:00 NARROW1 sends U=1.1 S=S2 -> C104
        10:00 NARROW1 sends U=1.1 L="Lab 2" says=LOCATION_CONTRADICTS -> C104
        10:00 NARROW1 sends U=1.2 S=S2 L="Lab 2" -> 0000 1.2 PB
        10:00 NARROW1 sends U=1.1 L="Lab 9" finds=location-unknown -> 0000 1.1 PA
        10:00 NARROW1 sends U=1.2 finds=device-location-differs -> 0000 1.2 PB
        10:00 HEMO1 sends U=1.1 S=S2 L="Lab 2" warns=B104 -> B104 1.1 PA
        """,
    "a device that logs what others refuse": """
        09:00 study 1.1 PA at=LAB1 id=S1
        09:00 study 1.2 PB at=LAB2 id=S2
        10:00 LOG1 sends U=1.1 P=PB warns=B104 says=PATIENT_CONTRADICTS -> B104 1.1 PA
        10:00 LOG1 sends P=PC -> B104 1.1 PA
        10:00 LOG1 sends P=PA S=S2 -> B104 1.1 PA
        10:00 LOG1 sends P=PA S=S1 L="Lab 2" -> B104 1.1 PA
        10:00 LOG1 sends P=PA S=S2 L="Lab 2" says=BOTH_CONTRADICT -> C104
        10:00 HEMO1 sends U=1.1 P=PB -> C104
        """,
    "a Study ID in use by two patients": """
        09:00 study 1.1 PA at=LAB1 id=S1
        09:00 study 1.2 PB at=LAB2 id=S1
        10:00 MOBILE sends S=S1 L="Lab 1" -> 0000 1.1 PA
        10:00 MOBILE sends S=S1 L="Lab 2" -> 0000 1.2 PB
        10:00 MOBILE sends S=S1 -> C103
        10:00 MOBILE sends P=PB S=S1 -> 0000 1.2 PB
        10:00 MOBILE sends P=PB S=S1 L="Lab 1" warns=B104 -> B104 1.2 PB
        10:00 HEMO1 sends S=S2 -> C104
        10:00 MOBILE sends S=S2 L="Lab 1" -> C104
        """,
    "a Study ID in use twice by one patient": """
        09:00 study 1.1 PA at=LAB1 id=S1
        09:00 study 1.4 PA at=LAB2 id=S1
        10:00 MOBILE sends P=PA S=S1 says=SEVERAL_WITH_STUDY_ID -> C103
        10:00 HEMO1 sends P=PA S=S1 -> C103
        10:00 MOBILE sends S=S1 L="Lab 2" -> 0000 1.4 PA
        10:00 MOBILE sends U=1.4 P=PA S=S1 -> 0000 1.4 PA
        """,
    "a study moved to the right patient before anything stood under it": """
        09:00 study 1.2 PA status=scheduled at=LAB1
        09:05 study 1.2 PB status=scheduled
        09:10 study 1.2 at=LAB1
        09:11 HEMO1 sends P=PA -> C104
        09:12 HEMO1 sends P=PB -> 0000 1.2 PB
        09:13 refuses study 1.2 PA
        """,
}

UNISSUED = {
    "an ID without an issuer agrees with any until a feed says whose it is": """
        09:00 study 1.1 7 issuer= at=LAB1
        09:01 NOISSUER1 sends P=7 -> 0000 1.1 7
        09:02 HEMO1 sends P=7 -> 0000 1.1 7
        09:03 HEMO1 sends P=7 issuer=EAST -> 0000 1.1 7
        09:04 HEMO1 sends P=7 issuer=NOWHERE -> C104
        09:10 study 1.2 7 issuer=EAST at=LAB2
        09:11 HEMO2 sends P=7 issuer=EAST -> 0000 1.2 7
        09:11 HEMO1 sends U=1.1 P=7 issuer=EAST -> 0000 1.1 7
        09:11 HEMO1 sends P=7 issuer=HOSP -> 0000 1.1 7
        09:11 MOBILE sends P=7 says=SEVERAL_OF_PATIENT -> C103
        09:20 patient 7 issuer=EAST
        09:21 HEMO1 sends P=7 -> C104
        09:21 HEMO1 sends U=1.1 P=7 issuer=HOSP -> C104
        09:21 MOBILE sends P=7 issuer=HOSP -> C103
        09:21 EAST1 sends P=7 -> 0000 1.1 7
        09:21 NOISSUER1 sends P=7 -> 0000 1.1 7
        09:22 study 1.3 7 issuer=HOSP at=LAB1
        09:23 HEMO1 sends P=7 -> 0000 1.3 7
        09:23 EAST1 sends P=7 -> 0000 1.1 7
        09:23 NOISSUER1 sends P=7 -> C103
        09:23 NOISSUER1 sends U=1.3 P=7 -> 0000 1.3 7
        """,
    "doses for IDs without an issuer": """
        09:00 patient 7 issuer=
        09:00 admission V1 7 issuer=
        09:01 PUMP1 gives P=7 -> 0000 7
        09:01 EAST1 gives P=7 admission=V1 -> 0000 7
        09:10 patient 7 issuer=EAST
        09:11 EAST1 gives P=7 -> 0000 7@EAST
        09:11 EAST1 gives P=7 admission=V1 -> 0000 7@EAST
        09:11 PUMP1 gives P=7 -> C110
        09:11 PUMP1 gives P=7 admission=V1 -> C110
        09:11 NOISSUER1 gives P=7 -> 0000 7@EAST
        09:12 patient 7 issuer=HOSP
        09:13 NOISSUER1 gives P=7 -> C110
        09:13 NOISSUER1 gives P=7 admission=V1 -> C110
        09:13 NOISSUER1 gives admission=V1 -> 0000 7@EAST
        09:13 PUMP1 gives P=7 admission=V1 -> C110
        """,
}

NAMED_LATER = {
    "a study without any patient, and one whose patient is named before it begins": """
        09:00 study 1.7 at=LAB1
        09:00 study 1.8 UNKNOWN status=scheduled at=LAB2
        09:10 HEMO1 sends -> 0000 1.7 PLSCP-1
        09:11 refuses study 1.7 PA
        09:12 study 1.8 PB status=scheduled
        09:13 HEMO2 sends U=1.8 P=PB -> 0000 1.8 PB
        09:14 HEMO2 sends U=1.8 P=PLSCP-2 -> C104
        09:15 merge PA PLSCP-1
        09:16 HEMO1 sends P=PA -> C104
        """,
    "an ID merged before anybody knew it": """
        09:00 study 1.1 PA at=LAB1
        09:10 merge PA PZ
        09:11 HEMO1 sends P=PZ finds=superseded-id -> 0000 1.1 PA
        09:20 study 1.2 PZ at=LAB2
        09:21 HEMO2 sends P=PZ -> 0000 1.2 PA
        09:22 HEMO2 sends P=PA -> 0000 1.2 PA
        """,
    "a merge of the wrong way round, and again": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        09:10 merge PB PA
        09:11 merge PB PA
        09:12 merge PA PB
        09:13 HEMO1 sends P=PA -> 0000 1.1 PB
        09:13 HEMO2 sends P=PA -> 0000 1.2 PB
        09:13 HEMO1 sends U=1.1 P=PB -> 0000 1.1 PB
        """,
}


@told(PATIENTS | NAMED_LATER)
def test_patients(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)


@told(UNISSUED)
def test_where_no_feed_names_issuers(tmp_path: Path, story: str) -> None:
    play(tmp_path, story, replace(POLICY, patient_id_issuer=""))
