"""Signs of life, worked out from the contract before they were run: when they occurred, from where, by whose clock."""

from pathlib import Path

from tests.system.rows.stories import play, told

SIGNS = {
    "an event from before the arrival confirms nobody, by an unmeasured clock neither": """
        09:00 study 1.1 PA at=LAB1
        09:30 study 1.2 PB at=LAB2
        10:00 study 1.2 at=LAB1
        10:05 HEMO1 sends P=PB at=09:50 -> 0000 1.2 PB
        10:06 HEMO1 sends -> C103
        """,
    "an entry of the future confirms nobody": """
        09:00 study 1.1 PA at=LAB1
        09:30 study 1.2 PB at=LAB2
        10:00 study 1.2 at=LAB1
        10:05 HEMO1 sends P=PB at=09:50,23:00 -> 0000 1.2 PB
        10:06 HEMO1 sends -> C103
        """,
    "the minute of the arrival confirms nobody, the one after it does": """
        09:00 study 1.1 PA at=LAB1
        10:00:30 study 1.2 PB at=LAB1
        10:05 HEMO1 measured
        10:06 HEMO1 sends P=PB dt=202405141000+0000 -> 0000 1.2 PB
        10:07 HEMO1 sends -> C103
        10:08 HEMO1 sends P=PB dt=202405141001+0000 -> 0000 1.2 PB
        10:09 HEMO1 sends -> 0000 1.2 PB
        """,
    "yesterday's log comes late, and the room is not alive for it": """
        09:00 study 1.1 PA at=LAB1
        +1d08:00 HEMO1 sends P=PA at=09:30 -> 0000 1.1 PA
        +1d08:01 HEMO1 sends -> C103
        """,
    "yesterday's log comes late by a measured clock": """
        09:00 study 1.1 PA at=LAB1
        +1d07:50 HEMO1 measured
        +1d08:00 HEMO1 sends P=PA at=09:30 -> 0000 1.1 PA
        +1d08:01 HEMO1 sends -> C103
        """,
    "a slow clock does not make a patient look quiet after a restart either": """
        09:00 study 1.1 PA at=LAB1
        09:30 PUMP1 measured slow=40
        10:15 study 1.2 PB at=LAB1
        10:20 PUMP1 sends P=PA at=09:40 -> 0000 1.1 PA
        10:20:30 restart
        10:21 HEMO1 sends P=PB -> 0000 1.2 PB
        10:22 HEMO1 sends -> C103
        10:35 look
        10:36 HEMO1 sends -> 0000 1.2 PB
        """,
    "clocks of three days ago and of ten minutes to come do not make a patient look quiet": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        10:15 study 1.3 PC at=LAB1
        10:15 study 1.4 PD at=LAB2
        10:20 PUMP1 sends P=PA at=2024-05-11T10:20 -> 0000 1.1 PA
        10:20 HEMO2 sends P=PB at=10:30 -> 0000 1.2 PB
        10:21 HEMO1 sends P=PC -> 0000 1.3 PC
        10:21 MOBILE sends P=PD L="Lab 2" -> 0000 1.4 PD
        10:22 HEMO1 sends -> C103
        10:22 MOBILE sends L="Lab 2" -> C103
        10:23 restart
        10:24 look
        10:25 HEMO1 sends -> C103
        10:25 MOBILE sends L="Lab 2" -> C103
        10:35 look
        10:36 HEMO1 sends -> 0000 1.3 PC
        10:36 MOBILE sends L="Lab 2" -> 0000 1.4 PD
        """,
    "a restart makes nobody alive who was not": """
        09:00 study 1.1 PA at=LAB1
        +1d08:00 HEMO1 sends P=PA at=09:30 -> 0000 1.1 PA
        +1d08:00 restart
        +1d08:01 HEMO1 sends -> C103
        """,
    "a restart confirms nobody by an event from before his arrival": """
        09:00 study 1.1 PA at=LAB1
        09:30 study 1.2 PB at=LAB2
        10:00 study 1.2 at=LAB1
        10:05 HEMO1 sends P=PB at=09:50 -> 0000 1.2 PB
        10:06 restart
        10:25 look
        10:26 HEMO1 sends -> C103
        """,
    "a slow clock does not make a patient look quiet": """
        09:00 study 1.1 PA at=LAB1
        09:30 PUMP1 measured slow=40
        10:15 study 1.2 PB at=LAB1
        10:20 PUMP1 sends P=PA at=09:40 -> 0000 1.1 PA
        10:21 HEMO1 sends P=PB -> 0000 1.2 PB
        10:22 HEMO1 sends -> C103
        10:34:59 look
        10:34:59 HEMO1 sends -> C103
        10:35 look
        10:36 HEMO1 sends -> 0000 1.2 PB
        """,
    "a sign of life elsewhere, or from nowhere, keeps nothing alive here": """
        09:00 study 1.1 PA at=LAB1
        14:00 HEMO2 sends P=PA -> 0000 1.1 PA
        14:00 MOBILE sends P=PA -> 0000 1.1 PA
        14:00 BOTH sends P=PA -> 0000 1.1 PA
        15:00:01 HEMO1 sends -> C103
        """,
    "a number of the order is no sign of life in the room": """
        09:00 study 1.1 PA at=LAB1
        14:00 study 1.1 accession=A77
        15:00:01 HEMO1 sends -> C103
        """,
    "events matched by place alone keep nothing alive": """
        09:00 study 1.1 PA at=LAB1
        14:00 HEMO1 sends -> 0000 1.1 PA
        14:30 HEMO1 sends S=S7 -> 0000 1.1 PA
        15:00 HEMO1 sends -> 0000 1.1 PA
        15:00:01 HEMO1 sends -> C103
        15:01 HEMO1 sends P=PA -> 0000 1.1 PA
        15:02 HEMO1 sends -> 0000 1.1 PA
        21:00 HEMO1 sends -> 0000 1.1 PA
        21:01:01 HEMO1 sends -> C103
        """,
    "a device that names the first by mistake keeps both in the room": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:05 PUMP1 sends U=1.1 -> 0000 1.1 PA
        10:06 HEMO1 sends U=1.2 -> 0000 1.2 PB
        10:07 HEMO1 sends -> C103
        10:20 look
        10:21 HEMO1 sends -> 0000 1.2 PB
        10:22 PUMP1 sends U=1.1 says=LEFT_ALREADY -> B104 1.1 PA
        """,
}


@told(SIGNS)
def test_signs_of_life(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)
