import numpy as np
import pytest

from cs_keras.errors import DataError
from cs_keras.models.bot import Config
from cs_keras.training.feature_learning.codebook import fit_codebook

CENTRES = 100 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
SPREAD = 0.5


class Tracks:
    """Tracks of 60 frames, each frame near one of four centres 100 apart; remembers which were read."""

    def __init__(self, n_frames=60):
        self.n_frames, self.read_rows = n_frames, []

    def read(self, row):
        self.read_rows.append(row)
        random = np.random.default_rng(row)
        nearest = CENTRES[random.integers(4, size=self.n_frames)]
        return (nearest + random.normal(0, SPREAD, nearest.shape)).astype(np.float32)


def config(**changes):
    return Config(**{"n_centroids": 16, "batch_frames": 200, "max_passes": 2} | changes)


ROWS = np.arange(10, 40)


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def test_every_planted_centre_has_centroids_and_every_centroid_a_centre():
    centroids = fit_codebook(Tracks().read, ROWS, config(), seed=0)
    assert centroids.shape == (16, 2) and centroids.dtype == np.float32
    apart = distances(centroids, CENTRES)
    # A mean of frames of one cluster lies within a few of its standard deviations.
    assert apart.min(axis=1).max() < 4 * SPREAD
    assert apart.min(axis=0).max() < 4 * SPREAD


def test_only_the_rows_given_are_read():
    tracks = Tracks()
    fit_codebook(tracks.read, ROWS, config(), seed=0)
    assert set(tracks.read_rows) == set(ROWS.tolist())


def test_tracks_that_are_not_train_tracks_change_nothing():
    def poisoned(row):
        assert row in ROWS
        return Tracks().read(row)

    expected = fit_codebook(Tracks().read, ROWS, config(), seed=0)
    assert np.array_equal(fit_codebook(poisoned, ROWS, config(), seed=0), expected)


def test_the_same_seed_gives_the_same_centroids_and_another_seed_others():
    one, two, other = (fit_codebook(Tracks().read, ROWS, config(), seed) for seed in (0, 0, 1))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_every_pass_reads_every_track_once_while_centroids_move():
    tracks = Tracks()
    fit_codebook(tracks.read, ROWS, config(max_passes=3, tolerance=0.0), seed=0)
    assert np.bincount(tracks.read_rows)[ROWS].tolist() == [3] * len(ROWS)


def test_it_stops_once_centroids_are_stationary_for_patience_mini_batches():
    tracks, reported = Tracks(), []
    still = config(tolerance=1e9, patience=3, max_passes=50)
    fit_codebook(tracks.read, ROWS, still, 0, lambda number, movement: reported.append((number, movement)))
    assert [number for number, _ in reported] == [
        2,
        3,
        4,
    ]  # the first mini-batch has nothing to be compared with
    assert all(movement >= 0 for _, movement in reported)
    assert len(tracks.read_rows) < 50 * len(ROWS)


@pytest.mark.parametrize("rows", [np.array([1]), np.array([], np.int64)])
def test_too_few_frames_are_reported(rows):
    with pytest.raises(
        DataError, match=f"The {len(rows)} train tracks have fewer frames than .* 64 centroids"
    ):
        fit_codebook(Tracks(n_frames=10).read, rows, config(n_centroids=64, max_passes=1), seed=0)


def test_as_many_frames_as_centroids_are_enough():
    centroids = fit_codebook(Tracks(n_frames=16).read, np.array([1]), config(max_passes=1), seed=0)
    assert np.array_equal(np.sort(centroids, axis=0), np.sort(Tracks(n_frames=16).read(1), axis=0))
