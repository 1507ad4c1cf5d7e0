"""Lists among new and known tracks: as by a full sort of the stored factors and predictions."""

from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.schema import read_tracks
from cs_keras.evaluation.list_parts import measure_part
from cs_keras.evaluation.search.topk import top_k_dot
from cs_keras.factors.store import load_factors
from cs_keras.run_files.evaluation import AmongAllAtK, Evaluation
from cs_keras.run_files.predictions import read_predictions
from tests.command_line import run
from tests.pipelines.planted_items import write_items

K = 10
FIT = ["--n-factors", 8, "--alpha", 5, "--regularization", 1]
QUICK = [
    "--set=evaluation.n_permutations=19",
    f"--set=evaluation.ks=[{K}]",
]


def sort_lists(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]


def compare_sorted(reference: np.ndarray, predicted: np.ndarray, is_new: np.ndarray) -> tuple[float, ...]:
    """Return overlap, new shares of both, and overlaps of the new and of the known, from scores."""
    own, other = sort_lists(reference), sort_lists(predicted)
    shared = [set(a) & set(b) for a, b in zip(own.tolist(), other.tolist(), strict=True)]
    n_new = sum(int(is_new[item]) for items in shared for item in items)
    n_known = sum(map(len, shared)) - n_new
    return (
        sum(map(len, shared)) / own.size,
        is_new[own].mean(),
        is_new[other].mean(),
        n_new / is_new[own].sum(),
        n_known / (~is_new[own]).sum(),
    )


def test_lists_of_all_tracks_as_sorted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    planted = write_items(tmp_path, n_items=300, n_plays=8_000)
    items, runs = tmp_path / "items", tmp_path / "runs"
    assert run("ingest", "--no-audio", "--tracks", planted.items, "--out", items) == 0
    assert run("factors", planted.interactions, items, *FIT) == 0
    data = ["--features", planted.table, "--models", "attributes-linear", *QUICK, "--candidates", "all"]
    assert run("run-baselines", items, *data, "--out", runs, "--full") == 0
    assert "Overlap among new and known tracks" in capfd.readouterr().out
    (folder,) = runs.glob("????-??-??-attributes-linear-*")

    factors, tracks = load_factors(items / "factors/wmf.npz"), read_tracks(items)
    new = np.flatnonzero(tracks.in_split("test") & factors.has_factors)
    known = np.flatnonzero(~tracks.in_split("test") & factors.has_factors)
    rows, is_new = np.concatenate([new, known]), np.arange(len(new) + len(known)) < len(new)
    reference = factors.item_factors[rows].astype(np.float64)
    predicted = reference.copy()
    predicted[is_new] = read_predictions(folder).select(tracks.ids[new]).factors

    def cosines(values: np.ndarray) -> np.ndarray:
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        own_artist = tracks.artist_numbers[new][:, np.newaxis] == tracks.artist_numbers[rows]
        return np.where(own_artist, -np.inf, unit[is_new] @ unit.T)

    playlists = factors.playlist_factors[factors.playlist_factors.any(axis=1)].astype(np.float64)
    expected = {
        "filtered": compare_sorted(cosines(reference), cosines(predicted), is_new),
        "dot": compare_sorted(playlists @ reference.T, playlists @ predicted.T, is_new),
    }
    record = Evaluation.read(folder).among_all
    assert record is not None and record.n_known == len(known)
    assert {"random", "model"} <= record.predictors.keys() and "refit-ceiling" not in record.predictors
    for kind, values in expected.items():
        (row,) = record.predictors["model"][kind]
        assert isinstance(row, AmongAllAtK) and row.low <= row.overlap <= row.high
        found = (
            row.overlap,
            row.new_in_reference,
            row.new_in_predicted,
            row.overlap_new,
            row.overlap_known,
        )
        assert found == pytest.approx(values, abs=1e-9)

    # What cannot be done is refused before anything is trained.
    assert run("run-baselines", items, *data, "--cross-validate", "--out", tmp_path / "none") == 1
    assert "expected candidates new" in capfd.readouterr().err
    assert run("factors", planted.interactions, items, *FIT, "--protocol", "thesis") == 0
    assert run("run-baselines", items, *data, "--out", tmp_path / "none") == 1
    assert "--candidates all needs cross-fitted factors" in capfd.readouterr().err
    assert run("recommend", folder, "item-0000", "--candidates", "test") == 2
    assert "'test' is called 'new' now." in capfd.readouterr().err


def test_parts_without_entries_have_no_overlap() -> None:
    lists = top_k_dot(np.eye(2), np.array([[3.0, 3], [2, 1], [1, 2]]), 2)  # {0, 1} and {0, 2}
    found = measure_part(lists, lists, [True, False, False])
    assert (found.in_reference, found.in_predicted, found.overlap) == (0.5, 0.5, 1)
    assert measure_part(lists, lists, [False] * 3).overlap is None
