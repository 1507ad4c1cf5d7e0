import pytest

from cs_keras.config import list_settings
from cs_keras.models import REGISTRY
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


def test_the_registry_names_what_each_model_needs_and_every_setting_has_a_meaning() -> None:
    for key, entry in REGISTRY.items():
        baseline = resolve(key, {})
        needs = {one.value for one in required_inputs(baseline)}
        if baseline.model.needs_waveforms:
            needs = needs - {"audio"} | {"waveforms"}
        assert set(entry.needs.split(", ")) == needs, key
        assert all(meaning for _, _, meaning in list_settings(baseline)), key
