"""Clocks, worked out from the contract before they were run: unknown, fast, slow, changed, in two zones, at the repeated hour."""

from pathlib import Path

from tests.system.rows.stories import play, told

TWO_PATIENTS = """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:10 study 1.2 PB at=LAB1
        """

CLOCKS = {
    "one punctual request says nothing of the clock yet": TWO_PATIENTS
    + """
        10:30 HEMO1 sends -> 0000 1.2 PB
        10:31 HEMO1 sends at=09:50 -> C103
        10:32 HEMO1 sends -> 0000 1.2 PB
        10:33 HEMO1 sends at=09:50 -> 0000 1.1 PA
        """,
    "what one device's clock shows says nothing of the other's in the room": TWO_PATIENTS
    + """
        10:30 HEMO1 measured
        10:31 PUMP1 sends at=09:50 -> C103
        10:31 HEMO1 sends at=09:50 -> 0000 1.1 PA
        10:32 PUMP1 measured fast=10
        10:33 HEMO1 sends at=09:51 -> 0000 1.1 PA
        10:33 PUMP1 sends at=09:51 says=CLOCK_FAST -> C103
        """,
    "without the server's frame a measurement counts for an hour": TWO_PATIENTS
    + """
        10:30 HEMO1 measured frame=
        11:20 HEMO1 sends frame= at=09:50 -> 0000 1.1 PA
        11:50 HEMO1 sends frame= at=09:50 -> C103
        """,
    "with the server's frame a measurement counts for a day": TWO_PATIENTS
    + """
        10:30 HEMO1 measured
        15:40 HEMO1 sends at=09:50 -> 0000 1.1 PA
        16:00 HEMO1 sends at=09:59 says=TOO_OLD -> C103
        15:50 HEMO1 sends P=PA at=09:50 -> 0000 1.1 PA
        15:50 HEMO1 sends P=PB at=09:50 -> 0000 1.2 PB
        """,
    "times to the minute measure no clock": TWO_PATIENTS
    + """
        10:30 HEMO1 sends dt=202405141030+0000 -> 0000 1.2 PB
        10:31 HEMO1 sends dt=202405141031+0000 -> 0000 1.2 PB
        10:32 HEMO1 sends dt=202405141032+0000 -> 0000 1.2 PB
        10:33 HEMO1 sends at=09:50 -> C103
        """,
    "a measurement begun before a restart is ended after it": TWO_PATIENTS
    + """
        10:30 HEMO1 sends -> 0000 1.2 PB
        10:30:05 restart
        10:30:10 HEMO1 sends -> 0000 1.2 PB
        10:31 HEMO1 sends at=09:50 -> 0000 1.1 PA
        """,
    "refused requests measure, before and after a restart": TWO_PATIENTS
    + """
        10:30 HEMO1 sends U=9.9.9 -> C103
        10:30:05 restart
        10:30:10 HEMO1 sends U=9.9.9 -> C103
        10:31 restart
        10:31 HEMO1 sends at=09:50 -> 0000 1.1 PA
        """,
    "a retry measures nothing anew": TWO_PATIENTS
    + """
        10:30 HEMO1 sends as=once unheard -> 0000 1.2 PB
        10:30:10 HEMO1 resends once unheard -> 0000 1.2 PB retry
        10:30:20 HEMO1 resends once unheard -> 0000 1.2 PB retry
        10:31 HEMO1 sends at=09:50 -> C103
        """,
    "two clocks that agree two days fast are absurd and measure nothing": TWO_PATIENTS
    + """
        10:30 HEMO1 sends at=+2d10:30 -> C103
        10:30:10 HEMO1 sends at=+2d10:30:10 -> C103
        10:31 HEMO1 sends -> 0000 1.2 PB
        10:32 HEMO1 sends P=PB at=+2d10:32 finds=in-the-future -> 0000 1.2 PB
        """,
    "a clock that is fast by the tolerance is right": TWO_PATIENTS
    + """
        10:30 HEMO1 measured fast=2
        10:31 HEMO1 sends at=10:33 -> 0000 1.2 PB
        10:32 HEMO1 sends at=09:50 -> 0000 1.1 PA
        10:33 HEMO1 sends at=10:35:01 -> 0000 1.2 PB
        10:34 HEMO1 sends at=09:50 says=CLOCK_FAST -> C103
        """,
    "a wider tolerance of the device's own": TWO_PATIENTS
    + """
        10:30 WIDE1 measured fast=8
        10:31 WIDE1 sends at=10:39 -> 0000 1.2 PB
        10:31 WIDE1 sends at=10:05 -> C103
        10:31 WIDE1 sends at=09:50 -> 0000 1.1 PA
        10:31 WIDE1 sends at=10:41:01 -> 0000 1.2 PB
        10:31 WIDE1 sends at=09:50 says=CLOCK_FAST -> C103
        """,
    "the future to the second, alone and beside an entry of now": """
        09:00 study 1.1 PA at=LAB1
        10:00 HEMO1 sends at=10:02 -> 0000 1.1 PA
        10:05 PUMP1 sends at=10:07:01 says=IN_THE_FUTURE -> C103
        10:05 NAMES1 sends at=10:05,10:08 -> C103
        10:05 LOG1 sends P=PA at=10:05,10:08 finds=in-the-future -> 0000 1.1 PA
        10:05 NARROW1 sends U=1.1 at=10:30 finds=in-the-future -> 0000 1.1 PA
        """,
    "entries of one request on both sides of a change": TWO_PATIENTS
    + """
        10:20 HEMO1 measured
        10:25 HEMO1 sends at=09:50,10:20 says=ENTRIES_IN_TWO -> C103
        10:25 HEMO1 sends at=09:50,10:05 -> C103
        10:25 HEMO1 sends P=PB at=09:50,10:20 -> 0000 1.2 PB
        10:25 HEMO1 sends P=PA at=09:50,10:20 -> 0000 1.1 PA
        10:25 HEMO1 sends U=1.1 at=09:50,10:20 -> B104 1.1 PA
        """,
    "a slow clock names who is there only when times and arrival agree": TWO_PATIENTS
    + """
        10:10 HEMO1 measured slow=5
        10:12 HEMO1 sends at=10:07 -> C103
        10:13 HEMO1 sends at=10:08 -> 0000 1.2 PB
        10:20 HEMO1 sends at=10:15 -> 0000 1.2 PB
        10:21 HEMO1 sends at=09:50 -> C103
        10:21 HEMO1 sends P=PA at=09:50 -> 0000 1.1 PA
        """,
    "a slow clock in a room that was left to nobody": """
        08:00 study 1.1 PA at=LAB1
        08:01 HEMO1 measured slow=40
        08:34 study 1.1 at=LAB2
        08:35 HEMO1 sends at=08:00 -> C103
        08:36 HEMO1 sends at=07:56 -> C103
        08:40 HEMO1 sends at=08:00 -> C103
        08:41 HEMO1 sends P=PA at=08:01 -> 0000 1.1 PA
        """,
    "an unknown clock after the room was left, within the grace and after it": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:10 HEMO1 sends at=09:59 -> 0000 1.1 PA
        10:30 PUMP1 sends at=09:59 -> 0000 1.1 PA
        10:30:01 WIDE1 sends at=09:59 -> C103
        10:31 HEMO1 measured
        10:40 HEMO1 sends at=09:59 -> 0000 1.1 PA
        """,
    "an unknown clock with the last of two who left": """
        09:00 study 1.1 PA at=LAB1
        09:30 close 1.1
        09:40 study 1.2 PB at=LAB1
        10:00 close 1.2
        10:10 HEMO1 sends at=09:20 says=TIMES_NAME_ANOTHER -> C103
        10:10 PUMP1 sends at=09:50 -> 0000 1.2 PB
        10:10 WIDE1 sends at=09:35 -> C103
        """,
    "an unknown clock and a patient who came back after another": """
        09:00 study 1.1 PA at=LAB1
        09:30 close 1.1
        09:40 study 1.2 PB at=LAB1
        09:50 close 1.2
        10:00 study 1.1 at=LAB1
        10:10 HEMO1 sends at=09:20 says=ANOTHER_MEANWHILE -> C103
        10:10 PUMP1 sends at=10:05 -> 0000 1.1 PA
        10:11 HEMO1 measured
        10:12 HEMO1 sends at=09:20 -> 0000 1.1 PA
        10:12 HEMO1 sends at=09:45 -> 0000 1.2 PB
        10:12 HEMO1 sends at=09:20,10:05 -> 0000 1.1 PA
        """,
    "six hours are the most that a place tells": """
        03:00 study 1.1 PA at=LAB1
        08:00 HEMO1 sends P=PA -> 0000 1.1 PA
        09:00 HEMO1 measured
        09:30 HEMO1 sends at=03:30 -> 0000 1.1 PA
        09:30:01 HEMO1 sends at=03:30 says=TOO_OLD -> C103
        09:30:01 HEMO1 sends at=03:30,09:30 -> C103
        09:30:01 HEMO1 sends P=PA at=03:30 -> 0000 1.1 PA
        """,
    "untrusted times wait until the other is gone for a grace": TWO_PATIENTS
    + """
        10:20 UNTIMED1 sends says=UNTRUSTED_SEVERAL -> C103
        10:20 UNTIMED1 sends at=09:30 -> C103
        10:20 UNTIMED1 sends P=PB at=09:30 -> 0000 1.2 PB
        10:30 UNTIMED1 sends -> C103
        10:30:01 UNTIMED1 sends -> 0000 1.2 PB
        10:31 UNTIMED1 sends at=09:30 -> 0000 1.2 PB
        10:31 UNTIMED1 sends at=+2d10:31 -> 0000 1.2 PB
        10:32 study 1.3 PC at=LAB1
        10:33 UNTIMED1 sends -> C103
        10:33 UNTIMED1 sends L="Lab 2" -> C103
        """,
    "untrusted times give no measurement a say": TWO_PATIENTS
    + """
        10:31 UNTIMED1 measured fast=30
        10:33 UNTIMED1 sends -> 0000 1.2 PB
        10:34 UNTIMED1 measured slow=30
        10:35 UNTIMED1 sends at=09:50 -> 0000 1.2 PB
        """,
    "a fast clock beside the right one, punctual and named": TWO_PATIENTS
    + """
        10:45 PUMP1 measured fast=10
        10:46 PUMP1 sends at=10:56 -> 0000 1.2 PB
        10:46 PUMP1 sends at=10:46 says=CLOCK_FAST -> C103
        10:46 PUMP1 sends P=PB at=10:46 -> 0000 1.2 PB
        10:46 PUMP1 sends at=10:56,10:46 -> C103
        10:46 PUMP1 sends at=10:59 -> C103
        10:46 HEMO1 sends at=10:46 -> 0000 1.2 PB
        """,
    "a fast clock and one patient's two studies": """
        09:00 study 1.1 PA
        09:30 study 1.4 PA
        10:00 MOBILE measured fast=10
        10:01 MOBILE sends P=PA at=09:25 -> C103
        10:01 MOBILE sends P=PA at=10:11 -> C103
        10:01 MOBILE sends U=1.4 P=PA at=10:11 -> 0000 1.4 PA
        """,
    "an absurd time beside measured ones spoils nothing": TWO_PATIENTS
    + """
        10:30 HEMO1 measured
        10:31 HEMO1 sends P=PB at=10:40 -> 0000 1.2 PB
        10:32 HEMO1 sends P=PB at=13:00 -> 0000 1.2 PB
        10:33 HEMO1 sends at=09:50 -> 0000 1.1 PA
        10:34 restart
        10:35 HEMO1 sends at=10:35 -> 0000 1.2 PB
        """,
    "the server's clock steps back over the end of a grace": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:29 HEMO1 sends P=PA U=1.1 at=09:30 -> 0000 1.1 PA
        10:31 HEMO1 sends P=PA U=1.1 at=09:30 -> C101
        10:20 HEMO1 sends P=PA U=1.1 at=09:30 -> 0000 1.1 PA
        09:40 HEMO1 sends P=PA U=1.1 at=09:30 -> 0000 1.1 PA
        10:30:01 HEMO1 sends P=PA U=1.1 at=09:30 -> C101
        """,
    "named events never ask the clock": TWO_PATIENTS
    + """
        10:15 HEMO1 measured slow=20
        10:16 HEMO1 sends P=PB at=2023-05-14T09:00 finds=before-opening -> 0000 1.2 PB
        10:16 HEMO1 sends U=1.2 at=2025-05-14T09:00 finds=in-the-future -> 0000 1.2 PB
        10:16 HEMO1 sends P=PA S=S9 at=08:00 -> 0000 1.1 PA
        """,
}

NIGHT = """
        2024-10-27T00:00 study 1.1 PA at=LAB1
        2024-10-27T00:40 close 1.1
        2024-10-27T00:50 study 1.2 PB at=LAB1
        2024-10-27T00:52 BERLIN1 measured
        """

ZONES = {
    "in the repeated hour both readings must name one patient": NIGHT
    + """
        2024-10-27T01:20 BERLIN1 sends dt=20241027022000 -> C103
        2024-10-27T01:20 BERLIN1 sends dt=20241027022000+0100 -> 0000 1.2 PB
        2024-10-27T01:20 BERLIN1 sends dt=20241027022000 offset=+0100 -> 0000 1.2 PB
        2024-10-27T01:20 BERLIN1 sends dt=20241027022000+0200 -> 0000 1.1 PA
        2024-10-27T01:20 BERLIN1 sends P=PB dt=20241027022000 -> 0000 1.2 PB
        2024-10-27T01:55 BERLIN1 sends dt=20241027025500 -> 0000 1.2 PB
        2024-10-27T02:20 BERLIN1 sends dt=20241027032000 -> 0000 1.2 PB
        """,
    "in the repeated hour one patient all night is found": """
        2024-10-27T00:00 study 1.1 PA at=LAB1
        2024-10-27T00:15 BERLIN1 sends dt=20241027021500 -> 0000 1.1 PA
        2024-10-27T01:15 BERLIN1 sends dt=20241027021500 -> 0000 1.1 PA
        2024-10-27T01:16 BERLIN1 sends dt=202410270216 -> 0000 1.1 PA
        """,
    "before the hour repeats its second reading is still to come": """
        2024-10-27T00:00 study 1.1 PA at=LAB1
        2024-10-27T00:20 BERLIN1 sends dt=20241027022000 -> 0000 1.1 PA
        2024-10-27T00:21 BERLIN1 measured
        2024-10-27T00:25 close 1.1
        2024-10-27T00:26 study 1.2 PB at=LAB1
        2024-10-27T00:30 BERLIN1 sends dt=20241027022400 -> 0000 1.1 PA
        2024-10-27T01:26 BERLIN1 sends dt=20241027022400 -> C103
        """,
    "a wall time that does not exist names nobody where its readings differ": """
        2024-03-31T00:00 study 1.1 PA at=LAB1
        2024-03-31T00:40 close 1.1
        2024-03-31T00:50 study 1.2 PB at=LAB1
        2024-03-31T00:52 BERLIN1 measured
        2024-03-31T01:30 BERLIN1 sends dt=20240331023000 -> C103
        2024-03-31T01:30 BERLIN1 sends dt=20240331033000 -> 0000 1.2 PB
        2024-03-31T01:31 BERLIN1 sends P=PB dt=20240331023000 -> 0000 1.2 PB
        """,
    "an offset of the entry goes before the request's and that before the device's": TWO_PATIENTS
    + """
        10:30 BERLIN1 measured
        10:31 BERLIN1 sends dt=20240514123100 -> 0000 1.2 PB
        10:31 BERLIN1 sends dt=20240514103100 offset=+0000 -> 0000 1.2 PB
        10:31 BERLIN1 sends dt=20240514115000+0200 offset=+0000 -> 0000 1.1 PA
        10:31 BERLIN1 sends dt=20240514103100 -> C103
        """,
    "a device in another zone than the server's default is no known clock": TWO_PATIENTS
    + """
        10:30 HEMO1 sends dt=20240514123000 -> C103
        10:30:10 HEMO1 sends dt=20240514123010 -> 0000 1.2 PB
        10:32 HEMO1 sends dt=20240514115000 says=CLOCK_FAST -> C103
        10:50 HEMO1 sends dt=20240514125000 -> 0000 1.2 PB
        """,
}


@told(CLOCKS)
def test_clocks(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)


@told(ZONES)
def test_zones(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)
