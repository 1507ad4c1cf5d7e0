"""Reports of predictions of known quality, from the run folders that evaluation writes."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse
from scipy.stats import ortho_group

from cs_keras.data.schema import make_tracks
from cs_keras.evaluation.ladder import Verdict
from cs_keras.evaluation.reference_predictors import mean_predictor, random_predictor
from cs_keras.factors.interactions import Interactions, RowCounts
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors
from cs_keras.run_files.evaluation import MODEL, Evaluation
from cs_keras.run_files.names import TRAINING_FILE
from cs_keras.run_files.predictions import Predictions, write_predictions
from cs_keras.run_files.settings import EvaluationConfig
from cs_keras.runs import DONE, write_json
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.evaluator import Evaluator
from pipelines.evaluation.reference import make_reference
from reports.runs.collect import Group, collect_runs
from reports.tables.cells.table import Table
from reports.tables.ladder import ladder_table

SETTINGS = EvaluationConfig(ks=(10, 40), n_permutations=499)
N_TRAIN, N_VALIDATION, N_TEST, N_PLAYLISTS, N_FACTORS = 40, 4, 200, 90, 8
DISAGREEMENT = 0.3  # deviation of a fit from what it estimates, the factors' own being 1
GROWING = (0.1, DISAGREEMENT, 0.6, 1.2, 2.4)  # the first is better than any fit could be

Matrix = npt.NDArray[np.float32]
KINDS = ("similarity", "dot")


def make_catalogue() -> tuple[Any, Factors, Matrix]:
    """Return tracks, two fits of the same truth, each in a space of its own, and the truth in the first's."""
    rng = np.random.default_rng(5)
    folds = [0] * N_TRAIN + [7] * N_VALIDATION + [8] * N_TEST
    rows = [
        {"track_id": f"t{i}", "fold": fold, "artist": f"a{i}", "shard": "s", "first_frame": 0, "n_frames": 1}
        for i, fold in enumerate(folds)
    ]
    truth = rng.standard_normal((len(folds), N_FACTORS))
    playlists = rng.standard_normal((N_PLAYLISTS, N_FACTORS)).astype(np.float32)
    first, second = (truth + DISAGREEMENT * rng.standard_normal(truth.shape) for _ in range(2))
    turn = ortho_group.rvs(N_FACTORS, random_state=1)
    factors = Factors(
        name="wmf",
        track_ids=make_tracks(rows).ids,
        item_factors=first.astype(np.float32),
        has_factors=np.ones(len(folds), dtype=bool),
        playlist_ids=np.array([f"p{i}" for i in range(N_PLAYLISTS)]),
        playlist_factors=playlists,
        scaler=fit_scaler("none", first[:N_TRAIN].astype(np.float32)),
        protocol="strict",
        config=None,
        quality={},
        second_item_factors=(second @ turn).astype(np.float32),
        second_playlist_factors=(playlists @ turn).astype(np.float32),
    )
    return make_tracks(rows), factors, truth.astype(np.float32)


def make_predictions(factors: Factors, truth: Matrix) -> dict[str, Matrix]:
    """Return predictions of known worth for all tracks, by name."""
    first, rng = factors.item_factors, np.random.default_rng(6)
    noise = rng.standard_normal(first.shape)
    turned = first @ ortho_group.rvs(N_FACTORS, random_state=2)
    predictions = {
        "random": random_predictor(first, seed=9),
        "mean": mean_predictor(first[:N_TRAIN].mean(axis=0), len(first)),
        "turned": turned,
        "third fit": truth + DISAGREEMENT * rng.standard_normal(first.shape),
        **{f"noise {sd}": first + sd * noise for sd in GROWING},
    }
    return {name: np.asarray(rows, dtype=np.float32) for name, rows in predictions.items()}


def evaluate_all(runs: Path) -> None:
    """Evaluate predictions of known worth, each into a run folder, as the main job would."""
    tracks, factors, truth = make_catalogue()
    held = np.random.default_rng(7).random((N_PLAYLISTS, len(tracks))) < 0.1
    held_tracks = scipy.sparse.csr_matrix(held, dtype=np.float32)
    interactions = Interactions(factors.playlist_ids, factors.track_ids, held_tracks, RowCounts(0))
    evaluator = Evaluator(make_reference(tracks, factors, interactions), SETTINGS, seed=0)
    dataset: Any = SimpleNamespace(tracks=tracks, info=SimpleNamespace(left_out=()))
    training = {"parameters": 1, "n_train_tracks": N_TRAIN, "epochs": 1, "best_epoch": 1, "seconds": 1.0}
    for name, rows in make_predictions(factors, truth).items():
        folder = runs / name
        folder.mkdir()
        write_predictions(folder, Predictions(factors.track_ids, factors.scaler.inverse(rows), rows))
        write_json(folder / TRAINING_FILE, training)
        settings = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
        write_json(folder / "config.json", {"seed": 0, "data_digest": "d" * 64, "evaluation": settings})
        evaluate(name, evaluator, dataset, factors, folder)
        (folder / DONE).touch()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    evaluate_all(folder)
    return folder


@pytest.fixture(scope="module")
def group(runs: Path) -> Group:
    return collect_runs(runs).groups[0]


@pytest.fixture(scope="module")
def tables(group: Group) -> dict[str, Table]:
    found = {kind: ladder_table(group, kind) for kind in KINDS}  # type: ignore[arg-type]
    return {kind: table for kind, table in found.items() if table is not None}


def column(table: Table, name: str) -> Mapping[str, Any]:
    """Return a column's cells by the label of their rows."""
    (at,) = [i for i, column in enumerate(table.columns) if column.key == name]
    return {row.name: row.cells[at] for row in table.rows}


def test_verdicts_are_those_deserved(tables: dict[str, Table]) -> None:
    said = {kind: column(table, "verdict") for kind, table in tables.items()}
    verdicts = {
        name: tuple(said[kind][name].remark for kind in KINDS)
        for name in ("random", "mean", "turned", "third fit", *(f"noise {sd}" for sd in GROWING[2:]))
    }
    below = (Verdict.BELOW_CEILING, Verdict.BELOW_CEILING)
    assert verdicts == {
        "random": (Verdict.CHANCE, Verdict.CHANCE),
        "mean": (Verdict.TIED, Verdict.TIED),
        # Turning keeps every angle between tracks, and none between tracks and playlists.
        "turned": (Verdict.ABOVE_CEILING, Verdict.CHANCE),
        "third fit": (Verdict.AT_CEILING, Verdict.AT_CEILING),
        **{f"noise {sd}": below for sd in GROWING[2:]},
    }


def test_a_turned_reference_is_the_reference_to_tracks_and_chance_to_playlists(
    group: Group, tables: dict[str, Table]
) -> None:
    # float32 may swap two tracks at the border of a list: one of 2,000 entries at most here.
    assert column(tables["similarity"], "gap_to_reference@10")["turned"].value == pytest.approx(1, abs=6e-4)
    run = next(run for run in group.runs if run.label == "turned")
    by_dot = run.evaluations[0].overlap["dot"][0]
    assert by_dot.p_value is not None and by_dot.p_value > 0.05
    assert by_dot.overlap == pytest.approx(by_dot.chance, abs=5 * by_dot.chance_sd)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", SETTINGS.ks)
def test_more_noise_is_less_overlap_and_still_above_chance(group: Group, kind: str, k: int) -> None:
    by_label = {run.label: run.evaluations[0].overlap[kind] for run in group.runs}
    rows = [next(row for row in by_label[f"noise {sd}"] if row.k == k) for sd in GROWING]
    overlaps = [row.overlap for row in rows]
    assert np.all(np.diff(overlaps) < -0.02)
    assert all(row.p_value == 1 / (1 + SETTINGS.n_permutations) and row.low > row.chance for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ceiling_is_what_two_fits_share_however_they_are_turned(
    tables: dict[str, Table], kind: str
) -> None:
    overlap = column(tables[kind], "overlap@10")
    second, third = overlap["refit ceiling"], overlap["third fit"]
    assert second.low < third.value < second.high and third.low < second.value < third.high
    assert column(tables[kind], "gap_to_ceiling@10")["noise 0.1"].value > 1  # as only a leak could be


def test_a_run_says_of_itself_what_the_report_says(
    runs: Path, group: Group, tables: dict[str, Table]
) -> None:
    """The report corrects p-values for the number of models; none of these hangs on that."""
    for kind, table in tables.items():
        said = column(table, "verdict")
        for run in group.runs:
            ladders = Evaluation.read(runs / run.label).ladder
            assert ladders is not None
            own = next(rung.verdict for rung in ladders[kind][0].rungs if rung.name == MODEL)
            assert own == said[run.label].remark
