import pytest

from cs_keras.playlists.entries import Entry, name_key, printable


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("GBAYE0601498", "GBAYE0601498"),
        ("gb-aye-06-01498", "GBAYE0601498"),
        ("GB AYE 06 01498 ", "GBAYE0601498"),
        ("", ""),
        ("GBAYE060149", ""),
        ("GBAYE0601498 OR artist:x", ""),
    ],
)
def test_isrc_codes_have_one_form_and_others_are_none(given: str, expected: str) -> None:
    assert Entry("x", isrc=given).isrc_code == expected


def test_what_two_entries_of_one_recording_share() -> None:
    one = Entry("a", "Beyoncé", "Halo", isrc="USSM10804556")
    again = Entry("b", "BEYONCE\u0301 ", "halo")
    other_name = Entry("c", "Beyoncé", "Halo (Live)", isrc="us-sm1-08-04556")
    assert one.identities & again.identities
    assert one.identities & other_name.identities
    assert not again.identities & other_name.identities
    assert not Entry("d", artist="Beyoncé").identities
    assert not Entry("e", title="Halo").identities


def test_labels() -> None:
    assert Entry("id", "A", "T").label == "A - T"
    assert Entry("id", "A").label == "A - id"
    assert Entry("id").label == "id"
    assert Entry("id", " A\n", "\u202eT").label == "A - T"
    assert Entry("id", "\x1b", "\n").label == "id"


def test_names_are_compared_whatever_their_case_and_letters() -> None:
    assert name_key("ＡBC ") == name_key("abc") == "abc"
    assert name_key(" ") == ""


def test_printable_is_one_line_without_controls() -> None:
    assert printable("a\nb\x1b[2Jc\u2028d\u202ee") == "a b [2Jc d e"
    assert printable("e\u0301") == "é"
