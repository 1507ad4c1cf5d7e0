"""Size study: one baseline trained on a part of the tracks and on all, each tested on both.

After Nieto (Pandora, 2017), who compared 83,000 tracks with 900,000: the model of the larger set was as good on the
smaller set, while the model of the smaller set did not generalise beyond it.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice, check_range
from cs_keras.data.attributes.table import AttributeTable, align_tables
from cs_keras.data.dataset import Dataset
from cs_keras.data.folds import sample_rows
from cs_keras.data.reader import ReadConfig
from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.size_study import LARGE, SIZES, SMALL, SizeStudy, compare_sizes, evaluate_size
from cs_keras.factors.store import Factors
from cs_keras.messages import count
from cs_keras.progress import Progress, SilentProgress
from cs_keras.run_files.names import METRICS_FILE, PREDICTIONS_FILE, SIZE_STUDY_FILE
from cs_keras.run_files.predictions import read_predictions
from cs_keras.runs import digest, locked, read_json, write_json
from cs_keras.storage.location import Location
from cs_keras.storage.open_files import refuse_links
from cs_keras.training.execution import choose_devices
from pipelines.factors.open import open_dataset, open_interactions
from pipelines.training.requirements import attributes_digest, require_inputs
from pipelines.training.run_artifacts import write_signature
from pipelines.training.run_config import RunConfig, identity, resolve
from pipelines.training.targets import TrainingData, make_training_data, open_extra_factors
from pipelines.training.train import clean_up, train

BY = ("random", "popularity")

Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class SizeConfig:
    """Choice of the small set of tracks; the large set has all.

    Attributes
    ----------
    share
        Share of the tracks of each split.
    by
        ``random`` by a hash of ids, or ``popularity``: the tracks in most playlists.
    tracks
        Track ids of the small set, instead of a share.
    k
        List length of overlaps.
    """

    share: float = 0.1
    by: str = "random"
    tracks: tuple[str, ...] = ()
    k: int = 10

    def __post_init__(self) -> None:
        check_choice("by", self.by, BY)
        check_range("k", self.k, 1)
        if not 0 < self.share < 1:
            raise ConfigError(f"The small set is a share above 0 and below 1. Received: {self.share}.")

    @property
    def words(self) -> str:
        """The choice of the small set, for tables."""
        if self.tracks:
            return "tracks of a given list"
        kind = "tracks in the most playlists" if self.by == "popularity" else "tracks at random"
        return f"{100 * self.share:g} % of each split, {kind}"


def study_size(
    dataset_folder: Location,
    model: str,
    out: Path,
    config: SizeConfig,
    changes: Mapping[str, Any],
    factors_name: str | None = None,
    progress: Progress | None = None,
    reading: ReadConfig | None = None,
    tables: Mapping[str, AttributeTable] | None = None,
) -> SizeStudy:
    """Train `model` on the small and on the large set, and test both on both.

    Parameters
    ----------
    dataset_folder
        Dataset folder with factors.
    model
        Model key.
    out
        Folder of the study, with a run folder for each size; finished trainings are not repeated.
    config
        Choice of the small set.
    changes, factors_name, progress, reading, tables
        See `pipelines.run_baselines.run_baselines`.

    Raises
    ------
    ConfigError
        When settings are wrong, or `out` holds another study.
    DataError
        When the small set has no track to train on, none to validate on, or fewer than two to test on.
    StorageError
        When files cannot be read or written.
    """
    progress, run = progress or SilentProgress(), resolve(model, changes, tables or ())
    choose_devices(run.execution, run.training.batch_size)
    dataset, factors = open_dataset(dataset_folder, factors_name, reading=reading)
    given = align_tables(tables or {}, dataset.tracks, str(dataset_folder))
    require_inputs([run], dataset.tracks, given)
    is_small = _small(dataset, factors, config)
    extra = open_extra_factors(dataset, factors, run.training)
    parts = _parts(make_training_data(dataset, factors, run.train_fraction, given, extra), is_small)
    is_test = dataset.tracks.in_split("test") & factors.has_factors
    rows = {SMALL: np.flatnonzero(is_test & is_small), LARGE: np.flatnonzero(is_test)}
    for size, own in rows.items():
        if len(own) < 2:
            raise DataError(
                f"The {size} set needs at least two test tracks with interactions. Received: {len(own)}."
            )
    settings = identity(run, attributes_digest(run, dataset.tracks, given), extra, factors.split_name)
    begun = {"settings": settings, "small": digest(dataset.tracks.ids[is_small].tolist())}
    predicted = {}
    refuse_links(*(out / size for size in parts))
    with locked(out):
        _open(out, {**begun, "data_digest": parts[LARGE].data_digest})
        for size, data in parts.items():
            progress.log(f"{run.key}: the {size} set, {count(len(data.train), 'train track')}")
            folder = out / size
            folder.mkdir(exist_ok=True)
            write_signature(folder, dataset.info, factors.scaler)
            train(run, data, factors, folder, progress)
            clean_up(folder)
            predictions = read_predictions(folder)
            predicted[size] = dict(zip(predictions.track_ids.tolist(), predictions.factors, strict=True))
    return _evaluate(run, parts, rows, factors, dataset.tracks.artist_numbers, predicted, config)


def _small(dataset: Dataset, factors: Factors, config: SizeConfig) -> Flags:
    """Return which tracks are in the small set, shape (n_tracks,)."""
    tracks = dataset.tracks
    if config.tracks:
        unknown = sorted(set(config.tracks) - set(tracks.ids.tolist()))
        if unknown:
            raise DataError(
                f"The small set lists {count(len(unknown), 'track')} not in {dataset.folder}, the first is "
                f"{unknown[0]!r}."
            )
        return np.isin(tracks.ids, config.tracks)
    is_small = np.zeros(len(tracks), np.bool_)
    popularity = None
    if config.by == "popularity":
        interactions = open_interactions(dataset.folder, factors)
        if interactions is None:
            raise ConfigError(
                f"The popularity of tracks is unknown: {dataset.folder} has no interactions that factors "
                f"{factors.name!r} were fitted on. Choose a random small set, or a list of tracks."
            )
        popularity = interactions.user_items.getnnz(axis=0)
    for split in ("train", "validation", "test"):
        rows = np.flatnonzero(tracks.in_split(split) & factors.has_factors)
        if popularity is None:
            chosen: Any = sample_rows(tracks.ids.tolist(), rows.tolist(), config.share) if len(rows) else []
        else:
            order = np.argsort(-popularity[rows], kind="stable")
            chosen = rows[order[: max(1, round(config.share * len(rows)))]]
        is_small[chosen] = True
    return is_small


def _parts(data: TrainingData, is_small: Flags) -> dict[str, TrainingData]:
    """Return the training parts of both sets; early stopping uses validation tracks of the same set."""
    parts = {name: getattr(data, name)[is_small[getattr(data, name)]] for name in ("train", "validation")}
    for name, rows in parts.items():
        if not len(rows):
            raise DataError(f"The small set has no {name} track with interactions; make it larger.")
    # Codebooks and features are shared by this digest, and the small set needs its own.
    small = dataclasses.replace(
        data, **parts, data_digest=digest([data.data_digest, np.flatnonzero(is_small).tolist()])
    )
    return {SMALL: small, LARGE: data}


def _open(out: Path, begun: Mapping[str, Any]) -> None:
    path = out / SIZE_STUDY_FILE
    outputs = (found for name in (METRICS_FILE, PREDICTIONS_FILE) for found in out.rglob(name))
    if path.exists() and read_json(path) != begun and any(outputs):
        raise ConfigError(
            f"{out} holds a size study with other settings, tracks or data; choose another folder (--out)."
        )
    write_json(path, begun)


def _evaluate(
    run: RunConfig,
    parts: Mapping[str, TrainingData],
    rows: Mapping[str, npt.NDArray[np.int64]],
    factors: Factors,
    artists: npt.NDArray[np.int64],
    predicted: Mapping[str, Mapping[str, npt.NDArray[np.float32]]],
    config: SizeConfig,
) -> SizeStudy:
    results, gains = {}, {}
    for tested, own in rows.items():
        reference = factors.item_factors[own]
        ids = factors.track_ids[own].tolist()
        by_size = {trained: np.array([predicted[trained][track_id] for track_id in ids]) for trained in SIZES}
        for trained, values in by_size.items():
            results[trained, tested] = evaluate_size(
                reference, values, config.k, artists[own], run.evaluation, run.seed
            )
        gains[tested] = compare_sizes(reference, by_size, artists[own])
    return SizeStudy(
        run.key,
        config.words,
        {size: len(data.train) for size, data in parts.items()},
        {size: len(own) for size, own in rows.items()},
        results,
        gains,
        config.k,
    )
