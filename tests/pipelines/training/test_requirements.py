import pytest

from pipelines.training.requirements import warn_of_few_test_tracks


@pytest.mark.parametrize(
    ("artists", "warning"),
    [
        (["a", "b"] * 5, "10 test tracks have factors, and the shortest lists, of 10, need 11. Add tracks"),
        ([""] * 11, "the 11 test tracks are by unknown artists"),
        (["a", *[""] * 10], "all by a"),
        (["a", "b", *[""] * 9], None),
    ],
)
def test_too_few_test_tracks_are_reported_in_one_sentence_that_names_what_to_add(artists, warning):
    found = warn_of_few_test_tracks(artists, (10, 50))
    assert found is None if warning is None else warning in str(found)
