"""Specific Character Set and code extensions (PS3.5 6.1.2.5, annexes H to K; PS3.3 C.12.1.1.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes

from plscp.content.charset import character_set

DECODES = [
    # Specific Character Set | VR | bytes | text
    ("", "LO", b"plain", "plain"),
    ("ISO_IR 6", "LO", b"plain", "plain"),
    ("ISO_IR 100", "PN", "Müller^Jörg".encode("latin_1"), "Müller^Jörg"),
    ("ISO_IR 101", "LO", "Łódź".encode("iso8859_2"), "Łódź"),
    ("ISO_IR 109", "LO", "Ħal".encode("iso8859_3"), "Ħal"),
    ("ISO_IR 110", "LO", "Ķēniņš".encode("iso8859_4"), "Ķēniņš"),
    ("ISO_IR 144", "PN", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
    ("ISO_IR 127", "PN", "قباني^لنزار".encode("iso8859_6"), "قباني^لنزار"),
    ("ISO_IR 126", "PN", "Διονυσιος".encode("iso8859_7"), "Διονυσιος"),
    ("ISO_IR 138", "PN", "שרון^דבורה".encode("iso8859_8"), "שרון^דבורה"),
    ("ISO_IR 148", "LO", "Çavuşoğlu".encode("iso8859_9"), "Çavuşoğlu"),
    ("ISO_IR 203", "LO", "Œuvre €".encode("iso8859_15"), "Œuvre €"),
    ("ISO_IR 166", "LO", "นามสกุล".encode("tis_620"), "นามสกุล"),
    ("ISO_IR 13", "PN", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ("ISO_IR 192", "PN", "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
    ("GB18030", "PN", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    ("GBK", "LO", "乗\\z".encode("gbk"), "乗\\z"),
    # PS3.5 H.3.1 and H.3.2: Japanese
    ("\\ISO 2022 IR 87", "PN", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou=山田^太郎"),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", "PN", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
     "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
    ("\\ISO 2022 IR 159", "LO", b"\x1b$(D\x30\x21\x1b(B.", "丂."),
    # PS3.5 I.2: Korean, the escape again after each delimiter
    ("\\ISO 2022 IR 149", "PN", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
    # PS3.5 K.3: Chinese
    ("\\ISO 2022 IR 58", "PN", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
    # Several single-byte sets
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "LO", b"\xe9 \x1b-L\xbb", "é Л"),
    ("ISO_IR 100\\ISO_IR 144", "LO", b"\xe9 \x1b-L\xbb", "é Л"),
    # Back to the first set after backslash, after a new line, and in a name after ^ and =
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "LO", b"\x1b-L\xbb\\\xe9", "Л\\é"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "LT", b"\x1b-L\xbb\r\n\xe9", "Л\r\né"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "PN", b"\x1b-L\xbb^\xe9=\x1b-L\xbb=\xe9", "Л^é=Л=é"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "LO", b"\x1b-L\xbb^\xbb=\xbb", "Л^Л=Л"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "LT", b"\x1b-L\xbb\\\xbb", "Л\\Л"),
    # Bytes of a backslash and an equals sign inside a two-byte character
    ("\\ISO 2022 IR 87", "LO", b"\x1b$B\x30\x5c\x30\x3d\x1b(B", b"\xb0\xdc\xb0\xbd".decode("euc_jp")),
    ("\\ISO 2022 IR 87", "LO", b"\x1b$B;3 ED  ", "山 田  "),
    ("\\ISO 2022 IR 87", "LT", b"\x1b$B;3\r\nED", "山\r\nED"),
]  # fmt: skip

REFUSED = [
    # Specific Character Set | VR | bytes | why
    ("", "LO", b"M\xfcller", "no character set declared"),
    ("ISO_IR 99", "LO", b"M\xfcller", "unknown term"),
    ("latin1", "LO", b"M\xfcller", "unknown term"),
    ("ISO_IR 192\\ISO 2022 IR 87", "LO", b"M\xc3\xbcller", "UTF-8 has no code extensions"),
    ("\\", "LO", b"\x1b-A\xe9", "an empty term that is not the first"),
    ("ISO_IR 192", "LO", b"M\xfcller", "not UTF-8"),
    ("ISO_IR 192", "LO", b"\xed\xa0\x80", "half a surrogate pair"),
    ("GB18030", "LO", b"\x81", "half a character"),
    ("ISO_IR 100", "LO", b"it\x92s", "Windows' apostrophe"),
    ("ISO_IR 127", "LO", b"\xa1", "not assigned"),
    ("ISO_IR 13", "LO", b"\xfc", "not katakana"),
    ("ISO_IR 100", "LO", b"\x1b-L\xbb", "escape without code extensions"),
    ("", "LO", b"\x1b$B;3", "escape without code extensions"),
    ("\\ISO 2022 IR 87", "LO", b"\x1b-L\xbb", "escape to a set that was not declared"),
    ("\\ISO 2022 IR 87", "LO", b"\x1b$B;", "half a character"),
    ("\\ISO 2022 IR 87", "LO", b"\x1b%G\xc3\xa9", "escape that DICOM does not know"),
    ("\\ISO 2022 IR 149", "PN", b"\x1b$)C\xfb\xf3^\xd1\xce", "no escape after the delimiter"),
    ("\\ISO 2022 IR 149", "LO", b"\xfb\xf3", "no escape at all"),
]


@pytest.mark.parametrize(("declared", "vr", "raw", "text"), DECODES)
def test_text_decodes(declared: str, vr: str, raw: bytes, text: str) -> None:
    """Text is what the declared character sets make of the bytes."""
    assert character_set(declared.encode()).decode(raw, vr) == text


@pytest.mark.parametrize(("declared", "vr", "raw", "why"), REFUSED, ids=lambda x: x if isinstance(x, str) else "")
def test_nothing_is_guessed(declared: str, vr: str, raw: bytes, why: str) -> None:
    """Bytes that the declared character sets do not explain do not decode: a fallback could spell another ID."""
    assert character_set(declared.encode()).decode(raw, vr) is None, why


def test_unknown_terms_are_told() -> None:
    """A data set with an unknown or contradicting term says so; the default repertoire still decodes."""
    for declared, known in (("ISO_IR 99", False), ("ISO_IR 192\\ISO_IR 100", False), ("ISO_IR 100", True), ("", True)):
        assert character_set(declared.encode()).known is known
        assert character_set(declared.encode()).decode(b"plain", "LO") == "plain"


SINGLE = {"ISO_IR 100": "latin_1", "ISO_IR 144": "iso8859_5", "ISO_IR 126": "iso8859_7", "ISO_IR 192": "utf_8",
          "GB18030": "gb18030"}  # fmt: skip


@given(st.sampled_from(sorted(SINGLE)), st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20))
def test_pydicom_reads_the_same(declared: str, text: str) -> None:
    """Text in one character set decodes as pydicom decodes it."""
    raw = text.encode(SINGLE[declared], "ignore")
    assert character_set(declared.encode()).decode(raw, "LT") == decode_bytes(raw, convert_encodings(declared), set())


@given(st.text(st.sampled_from("山田太郎東京Yamada ^=1"), max_size=12))
def test_pydicom_reads_the_same_japanese(text: str) -> None:
    """Text with code extensions decodes as it was encoded."""
    raw = b"".join(c.encode("iso2022_jp") for c in text)
    assert character_set(b"\\ISO 2022 IR 87").decode(raw, "LO") == text


@given(st.binary(max_size=40), st.sampled_from([d for d, *_ in DECODES]), st.sampled_from(["LO", "PN", "LT", "UC"]))
def test_arbitrary_bytes_decode_or_do_not(raw: bytes, declared: str, vr: str) -> None:
    """Whatever the bytes, there is a text that UTF-8 can hold, or none."""
    text = character_set(declared.encode()).decode(raw, vr)
    assert text is None or text.encode() is not None
