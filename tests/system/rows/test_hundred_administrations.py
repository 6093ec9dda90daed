"""Administrations, worked out from the contract before they were run: two IDs, two issuers, merges, names, operators, times."""

from pathlib import Path

from tests.system.rows.stories import play, told

WARD = """
        08:00 patient PA name=Adams^Ann
        08:00 patient PB name=Baker^Bob
        08:00 admission V1 PA
        08:00 admission V2 PB
        """

ADMINISTRATIONS = {
    "a Patient ID and an Admission ID of two people": WARD
    + """
        10:00 PUMP1 gives P=PA admission=V1 -> 0000 PA
        10:00 PUMP1 gives P=PA admission=V2 -> C110
        10:00 PUMP1 gives P=PX admission=V1 -> C110
        10:00 PUMP1 gives P=PA admission=V9 finds=admission-unknown -> 0000 PA
        10:00 PUMP1 gives admission=V2 -> 0000 PB
        10:00 PUMP1 gives admission=V9 -> C110
        10:00 PUMP1 gives P=unk admission=V2 -> 0000 PB
        10:00 PUMP1 gives P=unk -> C110
        10:00 PUMP1 gives P=" PA " admission=" V1 " -> 0000 PA
        """,
    "two hospitals with the same numbers of patients and visits": """
        08:00 admission V1 7 issuer=HOSP of=HOSP
        08:00 admission V1 7 issuer=EAST of=EAST
        10:00 PUMP1 gives admission=V1 -> C110
        10:00 PUMP1 gives admission=V1 of=EAST -> 0000 7@EAST
        10:00 PUMP1 gives admission=V1 of=Hospital -> 0000 7@HOSP
        10:00 PUMP1 gives P=7 -> 0000 7@HOSP
        10:00 EAST1 gives P=7 -> 0000 7@EAST
        10:00 PUMP1 gives P=7 issuer="East Clinic" -> 0000 7@EAST
        10:00 PUMP1 gives P=7 admission=V1 of=EAST -> C110
        10:00 PUMP1 gives P=7 admission=V1 -> C110
        10:00 EAST1 gives P=7 admission=V1 of=EAST -> 0000 7@EAST
        10:00 EAST1 gives P=7 issuer=HOSP admission=V1 of=EAST -> C110
        10:00 PUMP1 gives P=7 issuer=NOWHERE admission=V1 of=HOSP -> C110
        10:00 NOISSUER1 gives P=7 -> C110
        10:00 NOISSUER1 gives P=7 admission=V1 of=EAST -> C110
        """,
    "an admission follows its patient through a merge, and an ID given anew does not": WARD
    + """
        09:00 merge PA PB
        10:00 PUMP1 gives admission=V2 -> 0000 PA
        10:00 PUMP1 gives P=PB finds=superseded-id -> 0000 PA
        10:00 PUMP1 gives P=PB admission=V1 -> 0000 PA
        10:10 patient PB
        10:11 PUMP1 gives P=PB -> 0000 PB
        10:11 PUMP1 gives P=PB admission=V2 -> C110
        10:11 PUMP1 gives admission=V2 -> 0000 PA
        10:12 restart
        10:13 PUMP1 gives P=PB admission=V1 -> C110
        """,
    "an ID changed while the pump still has the old one": WARD
    + """
        09:00 rename PA PA2
        10:00 PUMP1 gives P=PA admission=V1 finds=superseded-id -> 0000 PA2
        10:00 PUMP1 gives P=PA2 admission=V1 -> 0000 PA2
        10:00 PUMP1 gives P=PA admission=V2 -> C110
        """,
    "discharged and cancelled admissions": WARD
    + """
        09:00 admission V1 PA status=discharged
        09:00 admission V2 PB status=cancelled
        10:00 PUMP1 gives admission=V1 finds=admission-discharged -> 0000 PA
        10:00 PUMP1 gives P=PB admission=V1 -> C110
        10:00 PUMP1 gives admission=V2 -> C110
        10:00 PUMP1 gives P=PB admission=V2 finds=admission-cancelled -> 0000 PB
        10:00 PUMP1 gives P=PA admission=V2 -> 0000 PA
        """,
    "names of another family": WARD
    + """
        10:00 PUMP1 gives P=PA name=Baker^Ann finds=patient-name-differs -> 0000 PA
        10:00 PUMP1 gives admission=V1 name=Baker^Ann finds=patient-name-differs -> 0000 PA
        10:00 NAMES1 gives P=PA name=Baker^Ann -> C110
        10:00 NAMES1 gives admission=V1 name=Baker^Ann -> C110
        10:00 NAMES1 gives P=PA name=adams^xx -> 0000 PA
        10:00 NAMES1 gives P=PA -> 0000 PA
        10:01 merge PA PB
        10:02 NAMES1 gives P=PB name=Baker^Bob -> C110
        """,
    "who may give what where and when": WARD
    + """
        09:59 NURSE1 gives P=PA operator=N1001 -> 0000 PA
        09:59 NURSE1 gives P=PA operator=N2 -> C10E
        09:59 NURSE1 gives P=PA operator=N3 -> 0000 PA
        09:59 NURSE1 gives P=PA operator=N1001 scheme=99X -> C10E
        10:05 NURSE1 gives P=PA operator=N3 at=10:04 -> C10E
        10:05 NURSE1 gives P=PA operator=N3 at=09:58 -> 0000 PA
        10:05 NURSE1 gives P=PX operator=N9 -> C110
        10:05 PUMP1 gives P=PA operator=N9 -> 0000 PA
        """,
    "an answer lost at the pump, and the same dose again": WARD
    + """
        10:00 PUMP1 gives P=PA as=dose unheard -> 0000 PA
        10:01 PUMP1 resends dose unheard -> 0000 PA retry
        10:02 merge PB PA
        10:03 PUMP1 resends dose -> 0000 PB retry
        10:04 PUMP1 resends dose finds=superseded-id -> 0000 PB
        10:05 patient PA
        10:06 PUMP1 resends dose -> 0000 PA
        """,
    "a dose refused until the admission is known": WARD
    + """
        10:00 PUMP1 gives admission=V3 as=dose -> C110
        10:01 PUMP1 resends dose -> C110
        10:02 admission V3 PC
        10:03 PUMP1 resends dose unheard -> 0000 PC
        10:04 admission V3 PC status=cancelled
        10:05 PUMP1 resends dose -> 0000 PC retry
        10:06 PUMP1 resends dose -> C110
        """,
    "an accession number that is another patient's visit": WARD
    + """
        09:00 study 1.1 PA at=LAB1 accession=A1
        09:00 study 1.2 PB at=LAB2 accession=V1
        10:00 PUMP1 gives admission=A1 -> C110
        10:00 ACCESSION1 gives admission=A1 -> 0000 PA
        10:00 ACCESSION1 gives P=PB admission=A1 -> C110
        10:00 ACCESSION1 gives admission=V1 -> C110
        10:00 PUMP1 gives admission=V1 -> 0000 PA
        10:00 ACCESSION1 gives P=PA admission=V1 -> C110
        10:05 close 1.1
        10:35 ACCESSION1 gives admission=A1 -> 0000 PA
        10:35:01 ACCESSION1 gives admission=A1 -> C110
        10:35:01 ACCESSION1 gives P=PA admission=A1 -> 0000 PA
        """,
    "doses dated ahead, and not to the minute": WARD
    + """
        10:00 PUMP1 gives P=PA at=10:02 -> 0000 PA
        10:00 PUMP1 gives P=PA at=10:02:01 finds=in-the-future -> 0000 PA
        10:00 PUMP1 gives P=PA at=+1d10:00 finds=in-the-future -> 0000 PA
        10:00 PUMP1 gives P=PA at=+1d10:00:01 -> 0115
        10:00 STRICT1 gives P=PA at=10:02:01 -> 0115
        10:00 STRICT1 gives P=PA at=10:02 -> 0000 PA
        10:00 PUMP1 gives P=PA dt=2024051409+0000 finds=coarse-datetime -> 0000 PA
        10:00 STRICT1 gives P=PA dt=2024051409+0000 -> 0115
        10:00 STRICT1 gives P=PA dt=202405140959+0000 -> 0000 PA
        10:00 PUMP1 gives P=PA at=2020-05-14T10:00 -> 0000 PA
        10:00 PUMP1 gives P=PX dt=2024051409+0000 -> C110
        """,
    "doses for a patient whom nobody knows yet": WARD
    + """
        09:00 study 1.7 UNKNOWN at=LAB1
        10:00 PUMP1 gives P=UNKNOWN -> C110
        10:00 PUMP1 gives P=PLSCP-1 -> 0000 PLSCP-1@plscp
        10:01 merge PB UNKNOWN
        10:02 PUMP1 gives P=PLSCP-1 finds=superseded-id -> 0000 PB@HOSP
        10:02 PUMP1 gives P=PLSCP-1 admission=V1 -> C110
        10:02 PUMP1 gives P=PLSCP-1 admission=V2 -> 0000 PB@HOSP
        """,
}


@told(ADMINISTRATIONS)
def test_administrations(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)
