from pathlib import Path

from cs_keras.models import REGISTRY
from reports.runs.labels import OTHERS, family_of, label_variants, name_seeds
from tests.reports.conftest import MakeRun
from tests.reports.runs.test_collect import labels


def test_labels_show_the_settings_in_which_runs_of_one_model_differ(runs: Path, make_run: MakeRun) -> None:
    for number, order in enumerate(("db_mel", "mel_db")):
        others = {"front_end": {"order": order, "n_mels": 128}, "training": {"epochs": 5}}
        make_run(f"2024-05-01-cnn-{number:010}", others=others)
        make_run(f"2024-05-01-bot-{number + 2:010}", model="bot", seed=number, others={"dense": [16]})
    assert labels(runs) == [["bot", "cnn (front_end.order=db_mel)", "cnn (front_end.order=mel_db)"]]


def test_labels_distinguish_copies_of_one_run(runs: Path, make_run: MakeRun) -> None:
    make_run("2024-05-01-cnn-0123456789")
    make_run("2024-05-02-cnn-0123456789")
    assert labels(runs) == [["cnn (2024-05-01-cnn-0123456789)", "cnn (2024-05-02-cnn-0123456789)"]]


def test_every_baseline_has_a_family_and_families_are_contiguous() -> None:
    families = [family_of(model) for model in REGISTRY]
    assert OTHERS not in families and family_of("another") == OTHERS
    changes = sum(one != next_ for one, next_ in zip(families, families[1:], strict=False))
    assert changes == len(set(families)) - 1


def test_settings_that_are_many_or_long_give_way_to_marks() -> None:
    many = [{name: value for name in "abcd"} for value in "01"]
    assert label_variants("cnn", many, ["x", "y"]) == ["cnn (x)", "cnn (y)"]
    long = [{"weights": letter * 80} for letter in "ab"]
    assert label_variants("cnn", long, ["x", "y"]) == ["cnn (x)", "cnn (y)"]


def test_without_any_setting_in_which_others_differ_the_model_alone_is_named() -> None:
    assert label_variants("cnn", [{}, {"jit": "true"}], ["x", "y"]) == ["cnn", "cnn (jit=true)"]


def test_seeds_are_listed_while_they_are_few() -> None:
    assert [name_seeds(range(n)) for n in (0, 1, 3, 4)] == ["", "0", "0, 1, 2", "n = 4"]
