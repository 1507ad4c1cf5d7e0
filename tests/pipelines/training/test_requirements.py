import pytest

from cs_keras.models.declaration import Input
from pipelines.training.requirements import required_inputs, warn_of_few_test_tracks
from pipelines.training.run_config import resolve


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


def test_inputs_of_branches_whose_runs_have_settings_of_their_own():
    given = {"train_fraction": 0.2, "execution": {"jit": True}}
    run = resolve("fusion", {"models": {"fusion": given, "cnn-bn": given}})
    assert required_inputs(run) == {Input.AUDIO, Input.ATTRIBUTES}
