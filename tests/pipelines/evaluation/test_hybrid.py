"""HybridResults of predictions that are perfect, worthless, or in between, on interactions of known rank."""

import json
from pathlib import Path

import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.hybrid import LISTENING, SIMILARITY, SOUND, SWITCHING, WEIGHTING, HybridResults
from cs_keras.factors.store import Factors, load_factors
from cs_keras.factors.wmf import WmfConfig
from cs_keras.run_files.settings import EvaluationConfig
from cs_keras.runs import digest, write_npz
from pipelines.evaluation.hybrid import HybridConfig, compare_hybrids
from pipelines.factors.fit import FactorsConfig, make_factors
from reports.commands.hybrids import make_hybrids_section
from reports.formats.markdown_csv import to_markdown
from tests.data.small import write_small
from tests.pipelines.planted import N_TRACKS, RANK, draw_interactions

LISTENS = (0, 1, 3, 10)


def make_dataset(tmp_path: Path, protocol: str = "strict") -> Path:
    folder = write_small(tmp_path / "dataset", [1] * N_TRACKS, [i % 10 for i in range(N_TRACKS)])
    lines = [f"p{u},t{i}" for u, i in np.argwhere(draw_interactions())]
    interactions = tmp_path / "listening.csv"
    interactions.write_text("\n".join(["playlist_id,track_id", *lines]))
    make_factors(interactions, folder, FactorsConfig(WmfConfig(RANK), protocol, ceiling=False))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("hybrid"))


def make_run(dataset: Path, folder: Path, noise: float) -> Path:
    """A run that predicts the true factors' directions with an error `noise` times as long."""
    factors: Factors = load_factors(dataset / "factors" / "wmf.npz")
    folder.mkdir()
    data = digest([Dataset(dataset).digest, factors.digest])
    (folder / "config.json").write_text(json.dumps({"data_digest": data}))
    unseen = ~Dataset(dataset).tracks.in_split("train")
    true = factors.item_factors[unseen]
    errors = np.random.default_rng(0).normal(size=true.shape)
    errors *= (
        noise * np.linalg.norm(true, axis=1, keepdims=True) / np.linalg.norm(errors, axis=1, keepdims=True)
    )
    predicted = (true + errors).astype(np.float32)
    write_npz(
        folder / "predictions.npz",
        track_ids=factors.track_ids[unseen],
        factors=predicted,
        scaled_factors=predicted,
    )
    (folder / "DONE").touch()
    return folder


def compare(dataset: Path, folder: Path, noise: float) -> HybridResults:
    return compare_hybrids(
        make_run(dataset, folder / "run", noise),
        dataset,
        HybridConfig(LISTENS, evaluation=EvaluationConfig(n_permutations=99)),
    )


def shown(found: HybridResults, kind: str, name: str) -> list[float]:
    return [row.overlap for row in found.overlap[kind][name].values()]


def test_perfect_audio_predictions_are_always_used(dataset: Path, tmp_path: Path) -> None:
    found = compare(dataset, tmp_path, 0.0)
    assert found.threshold is None
    for kind in found.overlap:
        assert shown(found, kind, SWITCHING) == shown(found, kind, SOUND)
        fold_in = shown(found, kind, LISTENING)
        assert len(fold_in) == len(LISTENS) - 1
        assert fold_in[-1] > fold_in[0]
        assert fold_in[0] < shown(found, kind, SOUND)[0]


def test_sound_that_says_nothing_is_left_at_once(dataset: Path, tmp_path: Path) -> None:
    found = compare(dataset, tmp_path, 1000.0)
    assert found.threshold == 1
    assert found.half_trust == 0.25
    for kind in found.overlap:
        assert shown(found, kind, SWITCHING)[1:] == shown(found, kind, LISTENING)


def test_sound_that_says_something_is_worth_adding(dataset: Path, tmp_path: Path) -> None:
    found = compare(dataset, tmp_path, 1.0)
    for kind in found.overlap:
        sound, mixed = shown(found, kind, SOUND), shown(found, kind, WEIGHTING)
        assert mixed[0] == sound[0]
        assert mixed[-1] > sound[-1]
    by_interactions = shown(found, SIMILARITY, LISTENING)[-1]
    assert shown(found, SIMILARITY, WEIGHTING)[-1] > by_interactions
    text = to_markdown([make_hybrids_section(found)])
    assert "| weighting" in text
    assert f"{found.n_test} of {found.n_test_in_all} test tracks" in text


def test_other_protocols_are_refused(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, "thesis")
    with pytest.raises(DataError, match="strict protocol.*Received: factors 'wmf', protocol thesis"):
        compare(dataset, tmp_path, 0.0)


def test_more_listens_than_any_track_has_are_refused(dataset: Path, tmp_path: Path) -> None:
    run = make_run(dataset, tmp_path / "run", 0.0)
    with pytest.raises(DataError, match="use fewer interactions"):
        compare_hybrids(run, dataset, HybridConfig((0, 5000)))
    with pytest.raises(ConfigError, match="above 0"):
        HybridConfig((0,))
