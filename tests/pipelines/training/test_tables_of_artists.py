"""Tables of artists: tracks have the attributes of their artist, so that models predict artists' factors."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import Ridge

from cs_keras.runs import read_npz
from pipelines.inference.predict_items import TableFiles
from pipelines.inference.predict_sources import predict_sources
from pipelines.inference.trained_run import read_run
from pipelines.run_baselines import run_baselines
from pipelines.training.attribute_files import AttributeFiles
from tests.pipelines.planted_artists import write_artists

QUICK = {"evaluation": {"n_permutations": 9, "ks": [10]}}


def by_id(path: Path) -> dict[str, np.ndarray]:
    return dict(zip(*read_npz(path, "track_ids", "factors").values(), strict=True))


def test_a_model_of_artists_is_the_regression_of_their_mean_factors(tmp_path: Path) -> None:
    """The squared errors of an artist's tracks are that of their mean, times their number, plus a constant."""
    planted = write_artists(tmp_path / "dataset", 400)
    names, owner = np.unique(planted.artists, return_inverse=True)
    features = np.random.default_rng(1).normal(size=(len(names), 5)).astype(np.float32)
    # One is of artists by its second column, the other of tracks in spite of a column with their artists.
    of_artists = {"features": features.tolist(), "artist": names}
    of_tracks = {
        "artist": planted.artists,
        "track_id": planted.ids,
        "features": planted.attributes.tolist(),
    }
    pq.write_table(pa.table(of_artists), tmp_path / "bios.parquet")
    pq.write_table(pa.table(of_tracks), tmp_path / "songs.parquet")
    files = {"bio": tmp_path / "bios.parquet", "song": tmp_path / "songs.parquet"}
    models = ["attributes-linear@bio", "attributes-linear@bio+song"]
    done = run_baselines(
        planted.folder,
        models,
        tmp_path / "runs",
        QUICK,
        tables=AttributeFiles(files, id_column="artist").read(),
    )
    assert not done.failed
    single, joined = done.runs

    train = planted.folds < 7
    n_tracks = np.bincount(owner[train], minlength=len(names))
    sums = np.zeros((len(names), planted.factors.shape[1]))
    np.add.at(sums, owner[train], planted.factors[train])
    known, scale = n_tracks > 0, planted.factors[train].std(axis=0)
    of_train = features[owner[train]]
    x = (features - of_train.mean(axis=0)) / of_train.std(axis=0)
    ridge = Ridge(alpha=100).fit(x[known], sums[known] / n_tracks[known, None] / scale, n_tracks[known])
    expected = ridge.predict(x) * scale
    of_track = by_id(single / "predictions.npz")
    for track_id, artist in zip(planted.ids[~train], owner[~train], strict=True):
        np.testing.assert_allclose(of_track[track_id], expected[artist], atol=1e-5)  # float32

    out = tmp_path / "out.npz"
    predict_sources(read_run(single), None, [files["bio"]], out, tables=TableFiles(id_column="artist"))
    of_artist = by_id(out)
    np.testing.assert_allclose([of_artist[name] for name in names.tolist()], expected, atol=1e-5)
    predict_sources(read_run(joined), planted.folder, [], out, tables=TableFiles(files, "artist"))
    again = by_id(out)
    for track_id, factors in by_id(joined / "predictions.npz").items():
        np.testing.assert_allclose(again[track_id], factors, atol=1e-5)
