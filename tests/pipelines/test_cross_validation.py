"""Cross-validation: each track predicted out of fold, all of them evaluated at once, resumed when repeated."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cs_keras.data.schema import read_tracks
from cs_keras.data.splits import split_names
from cs_keras.factors.store import load_factors, save_factors
from cs_keras.run_files.evaluation import Evaluation
from cs_keras.run_files.predictions import read_predictions
from cs_keras.run_files.queries import read_queries
from cs_keras.run_files.settings import read_settings
from pipelines import cross_validation
from pipelines.factors.open import open_factors
from pipelines.run_baselines import Outcome, run_baselines
from tests.command_line import run
from tests.pipelines.planted_items import Planted, write_items

FIT = ["--n-factors", 8, "--alpha", 5, "--regularization", 1, "--no-ceiling"]
QUICK = ["--set=evaluation.n_permutations=19", "--set=evaluation.ks=[10]"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_items(tmp_path_factory.mktemp("planted"), n_items=300, n_plays=8_000)


@pytest.fixture(scope="module")
def items(planted: Planted) -> Path:
    out = planted.items.parent / "items"
    assert run("ingest", "--no-audio", "--tracks", planted.items, "--out", out) == 0
    for name, protocol in (("all", "thesis"), ("fitted", "strict")):
        assert run("factors", planted.interactions, out, *FIT, "--protocol", protocol, "--name", name) == 0
    return out


def nearest(factors: np.ndarray, k: int) -> list[set[int]]:
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    cosine = unit.astype(np.float64) @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return [set(row.tolist()) for row in np.argsort(-cosine, axis=1)[:, :k]]


def show_page(runs: Path, dataset: Path, out: Path) -> list[str]:
    command = ["report", runs, "--format", "html", "--dataset", dataset, "--out", out / "page"]
    assert run(*command) == 0
    return [page.read_text(encoding="utf-8") for page in (out / "page").rglob("*.html")]


def test_every_track_is_predicted_out_of_fold_and_all_are_evaluated_at_once(
    planted: Planted, items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    data = [items, "--factors", "all", "--features", planted.table, "--models", "attributes-linear", *QUICK]
    command = ["run-baselines", *data, "--cross-validate", "--out", runs]
    assert run(*command) == 0
    assert split_names(items) == [f"cv5-{n}" for n in range(1, 6)]
    (pooled,) = runs.glob("????-??-??-attributes-linear-??????????")
    rotations = {read_settings(one).split_name: one for one in (runs / "rotations").iterdir()}
    found, tracks = read_predictions(pooled), read_tracks(items)
    factors = load_factors(items / "factors/all.npz")
    assert found.track_ids.tolist() == tracks.ids.tolist()
    for name, folder in rotations.items():
        is_test = read_tracks(items, name).in_split("test")
        own = read_predictions(folder).select(tracks.ids[is_test])
        assert np.array_equal(own.factors, found.factors[is_test])
    reference, predicted = nearest(factors.item_factors, 10), nearest(found.factors, 10)
    overlap = np.mean([len(a & b) / 10 for a, b in zip(reference, predicted, strict=True)])
    evaluation = Evaluation.read(pooled)
    assert evaluation.overlap["similarity"][0].overlap == pytest.approx(overlap, abs=1e-9)
    assert evaluation.n_tracks.test == 300
    assert evaluation.n_known_artists == 0  # folds keep artists together
    assert overlap > 3 * 10 / 299
    each = [Evaluation.read(folder) for folder in rotations.values()]
    mse = np.average([one.losses.test.mse for one in each], weights=[one.n_tracks.test for one in each])
    assert evaluation.losses.test.mse == pytest.approx(mse)
    capfd.readouterr()
    assert run(*command) == 0
    printed = capfd.readouterr().err
    assert printed.count("attributes-linear: done before") == 5
    assert "attributes-linear: pooled before" in printed
    (page,) = show_page(runs, items, tmp_path)
    assert "it pools 5 rotations, each with a network of its own" in page
    assert "factors as attributes-linear predicts them" in page  # a map, in the one space of the factors
    assert "members" not in dict(read_settings(pooled).others)  # so that seeds share a row


def shared_shares(reference: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """Return the share of common items of the k best of each row, scores of shape (n_queries, n_items)."""
    both = [np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist() for scores in (reference, predicted)]
    return np.array([len(set(a) & set(b)) / k for a, b in zip(*both, strict=True)])


def cosines(factors: np.ndarray, artists: np.ndarray | None = None) -> np.ndarray:
    unit = factors.astype(np.float64) / np.linalg.norm(factors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    if artists is not None:
        cosine[artists[:, np.newaxis] == artists] = -np.inf
    return cosine


@pytest.mark.slow
def test_strict_rotations_have_own_factors_and_their_queries_are_pooled(
    planted: Planted,
    items: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    runs = tmp_path / "runs"
    data = [
        items,
        "--factors",
        "fitted",
        "--features",
        planted.table,
        "--models",
        "attributes-linear",
        *QUICK,
    ]
    command = ["run-baselines", *data, "--cross-validate", "--out", runs]
    started: list[str | None] = []

    def stop_at_the_third(*arguments: Any) -> Any:
        started.append(arguments[-1])
        if len(started) == 3:
            raise KeyboardInterrupt
        return run_baselines(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "run_baselines", stop_at_the_third)
        assert run(*command) != 0
    assert started == ["cv5-1", "cv5-2", "cv5-3"]
    assert not list(runs.glob("????-??-??-attributes-linear-*"))
    capfd.readouterr()
    assert run(*command) == 0
    printed = capfd.readouterr().err
    assert printed.count("attributes-linear: done before") == 2
    assert [f"fitting factors fitted-cv5-{n} " in printed for n in range(1, 6)] == [False] * 3 + [True, False]

    # The same factors as by the command that fits them for a split.
    assert run("factors", planted.interactions, items, *FIT, "--split-name", "cv5-2", "--name", "second") == 0
    expected, fitted = (load_factors(items / f"factors/{name}.npz") for name in ("second", "fitted-cv5-2"))
    np.testing.assert_array_equal(fitted.item_factors, expected.item_factors)
    np.testing.assert_array_equal(fitted.scaler.offset, expected.scaler.offset)
    assert fitted.split_name == "cv5-2" and fitted.config == expected.config

    shares: dict[str, list[np.ndarray]] = {"similarity": [], "filtered": [], "dot": []}
    chances = []
    for folder in (one for one in (runs / "rotations").iterdir() if (one / "DONE").exists()):
        name = read_settings(folder).split_name
        tracks, own = read_tracks(items, name), load_factors(items / f"factors/fitted-{name}.npz")
        test = np.flatnonzero(tracks.in_split("test") & own.has_factors)
        reference, artists = own.item_factors[test], tracks.artist_numbers[test]
        predicted = read_predictions(folder).select(tracks.ids[test]).factors
        shares["similarity"].append(shared_shares(cosines(reference), cosines(predicted), 10))
        shares["filtered"].append(shared_shares(cosines(reference, artists), cosines(predicted, artists), 10))
        playlists = own.playlist_factors[own.playlist_factors.any(axis=1)].astype(np.float64)
        shares["dot"].append(shared_shares(playlists @ reference.T, playlists @ predicted.T, 10))
        chances.append((10 / len(test), len(playlists)))
    (pooled,) = runs.glob("????-??-??-attributes-linear-??????????")
    evaluation = Evaluation.read(pooled)
    for kind, of_rotations in shares.items():
        row = evaluation.overlap[kind][0]
        assert row.overlap == pytest.approx(np.concatenate(of_rotations).mean(), abs=1e-9)
        assert row.n_queries == sum(map(len, of_rotations))
        assert row.low < row.overlap < row.high and row.p_value < 1e-3
    chance, n_queries = np.array(chances).T
    assert evaluation.overlap["dot"][0].chance == pytest.approx(np.average(chance, weights=n_queries))
    assert evaluation.n_tracks.test == 300 and evaluation.n_test_artists == 100
    assert evaluation.factors.name == "fitted"
    rotations = [Evaluation.read(one.parent) for one in (runs / "rotations").glob("*/DONE")]
    weights = [one.n_tracks.test for one in rotations]
    assert evaluation.hubness is not None
    for score, own in evaluation.hubness.scores.items():
        parts = [one.hubness.scores[score] for one in rotations if one.hubness is not None]
        gains = [one.gain.mean for one in parts]
        assert own.gain.mean == pytest.approx(np.average(gains, weights=weights))
        assert own.overlap.mean == pytest.approx(evaluation.overlap["filtered"][0].overlap + own.gain.mean)
        hubness = [one.hubness for one in parts]
        assert own.hubness == pytest.approx(np.average(hubness, weights=weights))
    queries = read_queries(pooled, evaluation)
    assert queries is not None and len(np.unique(queries.rows["filtered@10"])) == 300
    assert evaluation.ladder is not None and evaluation.ladder["filtered"][0].rungs

    # Readers that need one model refuse the pooled run, and reports show it.
    (page,) = show_page(runs, items, tmp_path)
    assert "Cross-validation with 5 rotations" in page and "Map of tracks" not in page
    member = next(one for one in (runs / "rotations").iterdir() if (one / "DONE").exists())
    for reader in (
        ["recommend", pooled, "item-0000", "--dataset", items],
        ["predict", pooled, planted.table, "--out", tmp_path / "predicted.npz"],
        ["export", pooled, tmp_path / "exported"],
        ["hybrid", pooled, items],
        ["ensemble", pooled, member, "--dataset", items, "--out", tmp_path / "ensembles"],
        ["genres", pooled],
    ):
        capfd.readouterr()
        assert run(*reader) == 1
        assert "pools 5 rotations of a cross-validation, each with its own model" in capfd.readouterr().err

    # Factors of rotations are not what other commands take by default, and follow those of the dataset.
    assert open_factors(items, read_tracks(items), "fitted").name == "fitted"
    assert run("factors", planted.interactions, items, *FIT, "--seed", 1, "--name", "fitted") == 0
    capfd.readouterr()
    assert run(*command) == 0
    assert capfd.readouterr().err.count("fitting factors") == 4

    # The user's own factors of a rotation must be of the same playlists.
    path = items / "factors/fitted-cv5-1.npz"
    stored = load_factors(path)
    others = np.array([f"other-{playlist}" for playlist in stored.playlist_ids])
    save_factors(path, dataclasses.replace(stored, playlist_ids=others, quality={}))
    assert run(*command) == 1
    assert "expected factors of the same playlists" in capfd.readouterr().err


def test_what_cannot_be_rotated_is_refused(
    planted: Planted, items: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--features", planted.table, "--models", "attributes-linear", "--out", tmp_path / "runs"]
    by_track = tmp_path / "by-track"
    ingest = ["ingest", "--no-audio", "--tracks", planted.items, "--out", by_track, "--folds", "track"]
    assert run(*ingest) == 0
    assert run("factors", planted.interactions, by_track, *FIT) == 0
    assert run("run-baselines", by_track, *common, "--cross-validate") == 1
    assert "artists have test tracks in several rotations" in capfd.readouterr().err
    assert run("run-baselines", items, "--factors", "all", *common, "--cross-validate", "--rotations", 3) == 1
    assert "rotations must be one of 2, 5, 10. Received: 3." in capfd.readouterr().err
    assert run("run-baselines", items, *common, "--rotations", 5) == 2
    assert "--rotations needs --cross-validate." in capfd.readouterr().err
    assert run("run-baselines", items, "--models", "best", "--cross-validate") == 2
    assert "--cross-validate has no ensembles" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_no_further_rotation_is_begun_when_every_model_has_failed(
    items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def fail(folder: Path, models: list[str], *others: Any) -> Outcome:
        begun.append(models)
        return Outcome((), dict.fromkeys(models, "it failed"), {})

    monkeypatch.setattr(cross_validation, "run_baselines", fail)
    outcome = cross_validation.cross_validate(items, ["genre-label-linear"], tmp_path, {}, "all")
    assert outcome.failed == {"genre-label-linear": "cv5-1: it failed"} and len(begun) == 1
