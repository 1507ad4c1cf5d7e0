"""Size studies of predictors that are known: training is replaced, everything around it is real."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cs_keras.data.attributes.columns import NumericColumn
from cs_keras.data.attributes.table import make_table
from cs_keras.errors import ConfigError, DataError
from cs_keras.factors.store import load_factors
from cs_keras.runs import write_npz
from pipelines import size_study
from pipelines.size_study import SizeConfig, study_size
from reports.commands.size_study import make_size_section
from reports.formats.markdown_csv import to_markdown
from tests.pipelines.evaluation.test_hybrid import make_dataset

SETTINGS = {"evaluation": {"n_permutations": 99}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("size"))


@pytest.fixture
def trained(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Tasks that were trained; the model of the large set is right, that of the small one on small tracks only."""
    tasks = []
    factors = load_factors(dataset / "factors" / "wmf.npz").item_factors

    def train(run: Any, task: Any, _: Any, folder: Path, progress: Any) -> None:
        if (folder / "predictions.npz").exists():
            return
        tasks.append(task)
        noise = np.random.default_rng(0).normal(size=factors.shape)
        knows = np.isin(np.arange(len(factors)), CHOSEN) | (folder.name == "large")
        predicted = np.where(knows[:, None], factors, noise).astype(np.float32)[task.unseen]
        write_npz(
            folder / "predictions.npz",
            track_ids=task.dataset.tracks.ids[task.unseen],
            factors=predicted,
            scaled_factors=predicted,
        )

    monkeypatch.setattr(size_study, "train", train)
    return tasks


CHOSEN = np.arange(0, 200, 3)
SMALL_TRACKS = SizeConfig(tracks=tuple(f"t{row}" for row in CHOSEN))


def test_the_table_shows_the_results(dataset: Path, trained: list[Any], tmp_path: Path) -> None:
    study = study_size(dataset, "cnn-bn", tmp_path, SMALL_TRACKS, SETTINGS)
    distances = {sizes: placing.cosine_distance for sizes, placing in study.results.items()}
    assert distances["large", "large"] == pytest.approx(0, abs=1e-6)
    assert distances["large", "small"] == pytest.approx(0, abs=1e-6)
    assert distances["small", "small"] == pytest.approx(0, abs=1e-6)
    assert distances["small", "large"] > 0.5
    assert study.gains["large"].p_holm < 0.05 < study.gains["small"].p_holm
    text = to_markdown([make_size_section(study)])
    assert "tracks of a given list" in text
    assert "0.64" in text
    half_known = {  # artists of the large test set, none of the small one
        sizes: dataclasses.replace(one, overlap={"filtered": one.overlap["similarity"], **one.overlap})
        if sizes[1] == "large"
        else one
        for sizes, one in study.results.items()
    }
    section = make_size_section(dataclasses.replace(study, results=half_known))
    assert "small n/a, large " in to_markdown([section])
    small, large = trained
    assert set(small.train) == set(large.train) & set(CHOSEN)
    assert set(small.validation) == set(large.validation) & set(CHOSEN)
    assert small.data_digest != large.data_digest  # else codebooks would be shared


def test_what_is_finished_is_not_trained_again(dataset: Path, trained: list[Any], tmp_path: Path) -> None:
    first = study_size(dataset, "cnn-bn", tmp_path, SMALL_TRACKS, SETTINGS)
    assert study_size(dataset, "cnn-bn", tmp_path, SMALL_TRACKS, SETTINGS) == first
    assert len(trained) == 2
    with pytest.raises(ConfigError, match="holds a size study with other settings"):
        study_size(dataset, "cnn-bn", tmp_path, SizeConfig(0.5), SETTINGS)


def test_what_failed_before_it_learnt_anything_is_in_nobodys_way(
    dataset: Path, trained: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise DataError("nothing to learn from")

    with monkeypatch.context() as patch:
        patch.setattr(size_study, "train", fail)
        with pytest.raises(DataError, match="nothing to learn from"):
            study_size(dataset, "cnn-bn", tmp_path, SizeConfig(0.5), SETTINGS)
    assert study_size(dataset, "cnn-bn", tmp_path, SMALL_TRACKS, SETTINGS).n_train


def test_models_that_learn_from_attributes_are_given_a_table(
    dataset: Path, trained: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="attributes needs a table of attributes: name one by --features"):
        study_size(dataset, "attributes", tmp_path, SMALL_TRACKS, SETTINGS)
    ids = [f"t{row}" for row in range(200)]
    tables = [
        make_table(ids, {"loudness": NumericColumn(numbers[:, None])}, "some.csv")
        for numbers in (np.arange(200.0), np.arange(200.0)[::-1].copy())
    ]
    study_size(dataset, "attributes", tmp_path, SMALL_TRACKS, SETTINGS, tables={"": tables[0]})
    with pytest.raises(ConfigError, match="holds a size study with other settings"):
        study_size(dataset, "attributes", tmp_path, SMALL_TRACKS, SETTINGS, tables={"": tables[1]})
    assert all(task.tables for task in trained)


def test_a_share_is_of_each_split(dataset: Path, trained: list[Any], tmp_path: Path) -> None:
    study_size(dataset, "cnn-bn", tmp_path, SizeConfig(0.25), SETTINGS)
    small, large = trained
    assert len(small.train) == round(0.25 * len(large.train))
    assert len(small.validation) == round(0.25 * len(large.validation))


def test_popular_tracks_are_in_the_most_playlists(dataset: Path, trained: list[Any], tmp_path: Path) -> None:
    study_size(dataset, "cnn-bn", tmp_path, SizeConfig(0.2, "popularity"), SETTINGS)
    small, large = trained
    lines = (dataset.parent / "listening.csv").read_text().splitlines()[1:]
    held = np.bincount([int(line.partition(",t")[2]) for line in lines], minlength=200)
    others = np.setdiff1d(large.train, small.train)
    assert held[small.train].min() >= held[others].max()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (SizeConfig(tracks=("t0", "nobody")), "lists 1 track not in .*, the first is 'nobody'"),
        (SizeConfig(tracks=("t0", "t1")), "The small set has no validation track"),
        (SizeConfig(tracks=("t0", "t7")), "The small set needs at least two test tracks.*Received: 0"),
    ],
)
def test_small_sets_that_cannot_be_studied(
    config: SizeConfig, sentence: str, dataset: Path, trained: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=sentence):
        study_size(dataset, "cnn-bn", tmp_path, config, SETTINGS)


def test_shares_out_of_range() -> None:
    for share in (0.0, 1.0):
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            SizeConfig(share)
