"""Lists out of a space whose every direction is known: track n lies at so many degrees."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from cs_keras.data.dataset import Dataset
from cs_keras.data.schema import make_tracks
from cs_keras.errors import ConfigError, DataError, StorageError
from cs_keras.evaluation import hubness
from cs_keras.factors.interactions import Interactions, RowCounts, save_interactions
from cs_keras.factors.scaling import Scaler
from cs_keras.factors.store import Factors, save_factors
from cs_keras.factors.wmf import WmfConfig
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.rerank import Rules
from cs_keras.progress import SilentProgress
from cs_keras.runs import digest, write_npz
from pipelines.recommend.audio_files import add_audio_paths
from pipelines.recommend.catalogue import Catalogue, TrackFactors, open_catalogue
from pipelines.recommend.explanation import explain_tracks
from pipelines.recommend.query import Query, find_recording, query_playlist, query_tracks
from pipelines.recommend.recommend import RecommendedTrack, SearchConfig, recommend
from tests.data.small import change_table, track_row, write_small

#          t0 t1  t2  t3  t4 t5  t6  t7   t8  t9
FOLDS = [0, 1, 2, 3, 0, 7, 8, 8, 9, 9]
TRUE = [0, 10, 20, 90, 0, 50, 30, 180, 5, 60]  # degrees; t4 has no interactions
PREDICTED = [np.nan] * 5 + [40, 25, 170, 15, 1]  # only new tracks
ARTISTS = ["Ann", "Ann", "Bob", "Bob", "", "Cy", "Ann", "Cy", "Dee", "Dee"]


def at(degrees: list[float]) -> np.ndarray:
    """Unit vectors, shape (n, 2)."""
    angles = np.radians(np.nan_to_num(np.array(degrees, np.float64)))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = write_small(tmp_path / "dataset", [20] * 10, FOLDS)

    def name(rows: list[dict[str, object]]) -> None:
        for row, artist in zip(rows, ARTISTS, strict=True):
            row["artist"] = artist

    change_table(folder, name)
    ids = np.array([f"t{number}" for number in range(10)])
    has_factors = np.arange(10) != 4
    lengths = np.array([1, 5, 1, 1, 1, 1, 1, 1, 1, 1], np.float32)[:, None]  # t1 is popular
    factors = Factors(
        "wmf",
        ids,
        at(TRUE) * lengths * has_factors[:, None],
        has_factors,
        np.array(["p0", "p1"]),
        2 * at([0, 90]),
        Scaler("none", np.zeros(2, np.float32), np.ones(2, np.float32)),
        "given",
        None,
        {},
    )
    save_factors(folder / "factors" / "wmf.npz", factors)
    return folder


@pytest.fixture
def run(dataset: Path, tmp_path: Path) -> Path:
    from cs_keras.factors.store import load_factors

    folder = tmp_path / "run"
    folder.mkdir()
    data = digest([Dataset(dataset).digest, load_factors(dataset / "factors" / "wmf.npz").digest])
    (folder / "config.json").write_text(json.dumps({"data_digest": data}))
    ids = np.array([f"t{number}" for number in range(5, 10)])
    write_npz(
        folder / "predictions.npz", track_ids=ids, factors=at(PREDICTED)[5:], scaled_factors=at(PREDICTED)[5:]
    )
    (folder / "DONE").touch()
    return folder


@pytest.fixture
def catalogue(run: Path, dataset: Path) -> Catalogue:
    return open_catalogue(run, dataset)


def ids(recommended: list[RecommendedTrack]) -> list[str]:
    return [one.entry.track_id for one in recommended]


def like(
    catalogue: Catalogue, *seeds: str, k: int = 4, by_interactions: bool = False, **settings: object
) -> list[RecommendedTrack]:
    names = ("by", "candidates", "index", "index_file", "hubness_reduction")
    search = SearchConfig(**{name: settings.pop(name) for name in names if name in settings})  # type: ignore[arg-type]
    question = query_tracks(catalogue, seeds, "auto", SilentProgress())
    tracks, recall = recommend(catalogue, question, search, Rules(k, **settings), by_interactions)  # type: ignore[arg-type]
    assert (recall is None) == (search.index in (None, "exact"))
    return list(tracks)


def test_new_tracks_use_predicted_factors_and_train_tracks_fitted_ones(
    catalogue: Catalogue,
) -> None:
    found = like(catalogue, "t0", k=9)
    assert ids(found) == [
        "t9",
        "t1",
        "t8",
        "t2",
        "t6",
        "t5",
        "t3",
        "t7",
    ]  # 1, 10, 15, 20, 25, 40, 90, 170 degrees
    assert [one.factors for one in found[:4]] == ["predicted", "reference", "predicted", "reference"]
    expected = np.cos(np.radians([1, 10, 15, 20, 25, 40, 90, 170]))
    np.testing.assert_allclose([one.score for one in found], expected, atol=1e-6)


def test_the_reference_list_uses_interactions_alone(catalogue: Catalogue) -> None:
    found = like(catalogue, "t0", k=9, by_interactions=True)
    assert ids(found) == ["t8", "t1", "t2", "t6", "t5", "t9", "t3", "t7"]
    assert {one.factors for one in found} == {"reference"}


def test_a_new_seed_uses_its_predicted_factors(catalogue: Catalogue) -> None:
    assert ids(like(catalogue, "t9", k=2)) == ["t0", "t1"]
    assert ids(like(catalogue, "t9", k=1, by_interactions=True)) == ["t5"]  # 60 degrees, and 50


def test_test_tracks_alone(catalogue: Catalogue) -> None:
    assert ids(like(catalogue, "t0", k=9, candidates="new")) == ["t9", "t8", "t6", "t7"]


def test_several_seeds_meet_in_the_middle_whatever_their_lengths(catalogue: Catalogue) -> None:
    found = like(catalogue, "t1", "t3", "t1", k=3)  # 10 degrees, five times as long, and 90: 50 degrees
    assert ids(found) == ["t5", "t6", "t2"]
    assert found[0].score == pytest.approx(np.cos(np.radians(10)), abs=1e-6)


def test_dot_products_know_popularity(catalogue: Catalogue) -> None:
    assert ids(like(catalogue, "t0", k=2, by="dot")) == ["t1", "t9"]


def test_artists(catalogue: Catalogue) -> None:
    assert ids(like(catalogue, "t0", exclude_artist=True)) == ["t9", "t8", "t2", "t5"]
    assert ids(like(catalogue, "t0", max_per_artist=1, k=9)) == ["t9", "t1", "t2", "t5"]


def test_diversity_reaches_further(catalogue: Catalogue) -> None:
    near, varied = (like(catalogue, "t0", k=3, diversity=diversity) for diversity in (0.0, 0.6))
    assert ids(near)[0] == ids(varied)[0] == "t9"
    assert ids(near) != ids(varied)
    assert min(one.score for one in varied) < min(one.score for one in near)


@pytest.mark.parametrize("score", hubness.SCORES)
def test_less_hubness_ranks_as_the_evaluation_does(score: str, catalogue: Catalogue) -> None:
    factors, rows = catalogue.by_audio.factors, np.flatnonzero(catalogue.by_audio.known)
    expected = hubness.top_k_reduced(factors[rows], 8, score, queries=np.arange(9))
    n_changed = 0
    for row, listed in zip(rows, expected.indices, strict=True):
        found = like(catalogue, f"t{row}", k=8, hubness_reduction=score)
        assert ids(found) == [f"t{other}" for other in rows[listed]]
        n_changed += ids(found) != ids(like(catalogue, f"t{row}", k=8))
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True)
        assert score != "mutual-proximity" or 0 < scores[-1] < scores[0] < 1
    assert n_changed >= 4
    found, varied = (like(catalogue, "t0", k=3, hubness_reduction=score, diversity=one) for one in (0.0, 0.9))
    assert ids(varied)[0] == ids(found)[0] and ids(varied) != ids(found)
    # The list by reference factors stays that by cosine.
    plain = like(catalogue, "t0", by_interactions=True)
    assert ids(like(catalogue, "t0", by_interactions=True, hubness_reduction=score)) == ids(plain)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_indexes_agree_where_there_is_little_to_search(
    kind: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    path = tmp_path / "index"
    for _ in range(2):  # made, and read
        assert ids(like(catalogue, "t0", index=kind, index_file=path)) == ids(like(catalogue, "t0"))
    with pytest.raises(StorageError, match="is not the"):
        like(catalogue, "t0", index=kind, index_file=path, candidates="new")


def test_a_playlist_lacks_what_it_does_not_hold(catalogue: Catalogue, dataset: Path) -> None:
    def found() -> list[str]:
        question = query_playlist(catalogue, "p0")
        return ids(list(recommend(catalogue, question, SearchConfig("dot"), Rules(3))[0]))

    assert found() == ["t1", "t0", "t9"]
    user_items = scipy.sparse.csr_matrix(np.eye(2, 10, k=1, dtype=np.float32))  # p0 holds t1, p1 t2
    tally = RowCounts(2)
    interactions = Interactions(np.array(["p0", "p1"]), catalogue.ids, user_items, tally)
    save_interactions(dataset / "interactions.npz", interactions)
    assert found() == ["t0", "t9", "t8"]


def test_explanations_add_up_and_name_what_lies_between(catalogue: Catalogue) -> None:
    query = query_tracks(catalogue, ["t1", "t3", "t9"], "auto", SilentProgress())
    assert query.origins == ("reference", "reference", "predicted")
    tracks, _ = recommend(catalogue, query, SearchConfig(), Rules(4))
    explained = explain_tracks(catalogue, query, "similarity", ids(list(tracks)))
    directions = at([10, 90, 1])  # of the seeds
    for one, why in zip(tracks, explained, strict=True):
        assert np.float32(why.factors.sum()) == np.float32(one.score)
        row = catalogue.row_of[one.entry.track_id]
        own = catalogue.by_audio.factors[row] / np.linalg.norm(catalogue.by_audio.factors[row])
        length = np.linalg.norm(directions.sum(axis=0))
        expected = directions @ own / length
        np.testing.assert_allclose([share for _, share in why.shares], expected, atol=1e-6)
        assert [name for name, _ in why.shares] == [seed.label for seed in query.seeds]
    # Of the train tracks, t4 has no factors, and t1 and t3 are seeds.
    for one, why in zip(tracks, explained, strict=True):
        named = [entry.track_id for entry, _ in why.train_tracks]
        expected_names = [name for name in ("t2", "t0") if name != one.entry.track_id]
        assert named == expected_names
    (why,) = explain_tracks(catalogue, query, "similarity", ["t8"])  # 15 degrees
    middle = np.degrees(np.arctan2(*query.by_audio[::-1]))
    angles = [max(abs(middle - 20), 5), max(middle, 15)]
    np.testing.assert_allclose(
        [cosine for _, cosine in why.train_tracks], np.cos(np.radians(angles)), atol=1e-6
    )


def test_a_playlist_is_explained_by_its_tracks(catalogue: Catalogue) -> None:
    reference = catalogue.reference
    assert reference is not None
    config = WmfConfig(2, alpha=1.0, regularization=0.1)
    counts = scipy.sparse.csr_matrix(
        np.array([[0, 2, 1, 0, 0, 0, 0, 0, 9, 0]], np.float32)
    )  # t8 is a test track
    fitted = [0, 1, 2, 3]  # train tracks with factors
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(2, regularization=0.1, use_cg=False, dtype=np.float64)
    model.item_factors = reference.item_factors[fitted].astype(np.float64)
    confidence = counts[:, fitted]
    confidence.data += 1
    vector = model.recalculate_user(0, confidence).reshape(-1).astype(np.float32)
    known = dataclasses.replace(
        catalogue,
        reference=dataclasses.replace(reference, config=dataclasses.asdict(config), protocol="strict"),
    )
    query = Query("p0", (), vector, vector, np.zeros((0, 2), np.float32), held=counts)
    (why,) = explain_tracks(known, query, "dot", ["t9"])
    assert [name for name, _ in why.shares] == [
        catalogue.entry(1).label,
        catalogue.entry(2).label,
        "rest of the fit",
    ]
    shares = np.array([share for _, share in why.shares])
    assert shares[2] == pytest.approx(0, abs=1e-6)
    _, expected, _ = model.explain(0, confidence, 0)  # the same tracks, for track t0 at 0 degrees
    (of_t0,) = explain_tracks(known, query, "dot", ["t0"])
    by_name = {name: share for name, share in of_t0.shares}
    for index, share in expected:
        assert by_name[catalogue.entry(fitted[index]).label] == pytest.approx(share, abs=1e-6)
    assert np.float32(why.factors.sum()) == pytest.approx(shares.sum(), abs=1e-6)
    (unknown,) = explain_tracks(catalogue, query, "dot", ["t9"])  # factors "given": no fit to split
    assert [name for name, _ in unknown.shares] == ["the playlist"]


def test_without_a_dataset_lists_are_of_predictions(run: Path) -> None:
    catalogue = open_catalogue(run, None)
    found = like(catalogue, "t9", k=2)
    assert ids(found) == ["t8", "t6"] and found[0].entry.artist == ""
    for needs in ({"candidates": "new"}, {"by_interactions": True}):
        with pytest.raises(DataError):
            like(catalogue, "t9", **needs)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="holds no playlists; name the dataset"):
        query_playlist(catalogue, "p0")


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        ("t4", "neither interactions nor a prediction"),
        ("t44", "neither an audio file nor among the 10 tracks of .* Did you mean 't4'"),
    ],
)
def test_seeds_without_factors(seed: str, expected: str, catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match=expected):
        like(catalogue, seed)


def test_an_unknown_playlist(catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match="no playlist 'p00' among the 2 of 'wmf'. Did you mean 'p0'"):
        query_playlist(catalogue, "p00")


def test_a_run_of_other_data_is_refused(run: Path, dataset: Path) -> None:
    (run / "config.json").write_text(json.dumps({"data_digest": "other"}))
    with pytest.raises(DataError, match="was not trained on"):
        open_catalogue(run, dataset)
    (run / "DONE").unlink()
    with pytest.raises(StorageError, match="not a finished run"):
        open_catalogue(run, dataset)


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"by": "luck"}, {"candidates": "some"}, {"index": "magic"}, {"hubness_reduction": "some"}):
        with pytest.raises(ConfigError, match="must be one of"):
            SearchConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected --by similarity. Received: dot"):
        SearchConfig(by="dot", hubness_reduction="csls")
    with pytest.raises(ConfigError, match="no index but the exact one.*Received: hnsw"):
        SearchConfig(index="hnsw", hubness_reduction="csls")


def test_audio_files_are_found_by_folder_or_table(catalogue: Catalogue, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for name in ("t1.mp3", "t2.wav"):
        (audio / name).touch()
    entries = [catalogue.entry(row) for row in (2, 1)]
    table = tmp_path / "tracks.csv"
    table.write_text("path,track_id\naudio/t1.mp3,t1\naudio/t2.wav,t2\naudio/gone.wav,t3\n")
    for root, given in ((audio, None), (None, table)):
        found = add_audio_paths(entries, root, given)
        assert [one.path.name for one in found if one.path] == ["t2.wav", "t1.mp3"]
        assert [one.artist for one in found] == ["Bob", "Ann"]
        with pytest.raises(DataError, match="no audio file for 1 of 3 tracks, the first of them 't3'"):
            add_audio_paths([*entries, catalogue.entry(3)], root, given)


@pytest.mark.parametrize(
    ("path", "duration_s", "row"),
    [
        ("/music/Ann/First/01 one.ogg", 0.0, 0),  # the longest id
        ("/elsewhere/First/01 one.ogg", 0.0, 1),
        ("/elsewhere/01 one.ogg", 0.0, None),
        ("/elsewhere/02 two.ogg", 60.4, 2),
        ("/elsewhere/02 two.ogg", 61.5, None),  # another recording of this name
        ("/elsewhere/02 two.ogg", 0.0, 2),
    ],
)
def test_a_recording_of_the_catalogue_is_recognised(path: str, duration_s: float, row: int | None) -> None:
    ids = np.array(["Ann/First/01 one", "First/01 one", "02 two"])
    tracks = make_tracks([track_row(name, duration_s=60.0) for name in ids.tolist()])
    factors = TrackFactors(at([0, 1, 2]), np.ones(3, np.bool_))
    recording = Entry("01 one", duration_s=duration_s, path=Path(path))
    assert find_recording(Catalogue(Path("run"), ids, factors, tracks), recording) == row
