"""Patches against whole tracks: the error of predictions from one, some or all sequences of a track.

    python -m benchmarks.patches RUN DATASET [--factors NAME]

RUN is a finished run of a network that predicts factors from sequences. It prints the cosine distance of predicted
and reference factors, as a mean over test tracks with a 95 % bootstrap interval, by the number of randomly drawn
sequences of a track whose predictions are averaged. Nieto (2017) reports 0.25 for patches, 0.21 for whole tracks.
"""

import argparse

import numpy as np
import numpy.typing as npt

from cs_keras.data.batches import dataset_errors, prediction_batches
from cs_keras.data.dataset import Dataset
from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.evaluation.statistics.resampling import bootstrap_interval
from cs_keras.storage.location import locate
from pipelines.factors.open import open_factors
from pipelines.inference.trained_run import load_run_model, read_run

COUNTS = (1, 2, 4, 8, 16)


def mean_of_some(
    outputs: npt.NDArray[np.float32], starts: npt.NDArray[np.int64], n: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the mean of `n` outputs of each track, or of all if it has fewer, shape (n_tracks, n_factors).

    Outputs of a track are in consecutive rows; `starts` holds the first row of each track.
    """
    groups = np.split(outputs.astype(np.float64), starts[1:])
    return np.array([own[rng.permutation(len(own))[:n]].mean(axis=0) for own in groups])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=locate)
    parser.add_argument("dataset", type=locate)
    parser.add_argument("--factors")
    arguments = parser.parse_args()
    run, dataset = read_run(arguments.run), Dataset(arguments.dataset)
    if not run.procedure.can_augment or run.procedure.learns_from:
        raise SystemExit(
            f"Expected a run that predicts factors from sequences. Received: a run of {run.procedure.name}."
        )
    factors = open_factors(arguments.dataset, dataset.tracks, arguments.factors)
    rows = np.flatnonzero(dataset.tracks.in_split("test") & factors.has_factors)
    model = load_run_model(run.folder)
    with dataset_errors(dataset):
        batches, windows = prediction_batches(dataset, rows, run.sequence, run.batch_size)
        scaled = np.concatenate([model(batch, training=False).numpy() for batch in batches])
    outputs = run.signature.scaler.inverse(scaled)
    starts = np.flatnonzero(np.r_[True, windows.row[1:] != windows.row[:-1]])
    most = int(np.diff(np.r_[starts, len(outputs)]).max())
    reference = factors.item_factors[windows.row[starts]]
    print(f"{len(starts)} test tracks, {len(outputs)} sequences of {run.sequence.frames} frames")
    for n in (*(count for count in COUNTS if count < most), most):
        distances = measure_cosine_distances(
            reference, mean_of_some(outputs, starts, n, np.random.default_rng(0))
        )
        interval = bootstrap_interval(distances, seed=0)
        name = f"{n} of a track's" if n < most else "all of a track's"
        print(f"{name:<18} {distances.mean():.4f} ({interval[0]:.4f} to {interval[1]:.4f})")


if __name__ == "__main__":
    main()
