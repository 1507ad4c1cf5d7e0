"""Paired differences in macro ROC AUC of runs whose targets are tags, on the same test tracks.

    python -m benchmarks.tag_differences DATASET TAGS RUN RUN…

prints, for each run after the first, its AUC less that of the first with a 95 % interval over artists.
"""

import argparse
from pathlib import Path

import numpy as np

from cs_keras.evaluation.labels.multi_label import roc_auc
from cs_keras.evaluation.statistics.comparison import compare_with
from cs_keras.evaluation.statistics.jackknife import QuerySums, cluster_artists
from cs_keras.run_files.labels import LabelScorer
from cs_keras.run_files.predictions import read_predictions
from cs_keras.storage.location import locate
from pipelines.factors.labels import LabelsConfig, read_labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=locate)
    parser.add_argument("tags", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    from cs_keras.data.dataset import Dataset

    tracks = Dataset(arguments.dataset).tracks
    labels = read_labels(LabelsConfig(arguments.tags), tracks)
    test = np.flatnonzero(tracks.in_split("test") & labels.is_labelled)
    clusters = cluster_artists(tracks.artist_numbers[test])
    sums = {run.name: macro_auc(run, tracks.ids[test], labels.has[test], clusters) for run in arguments.runs}
    first = arguments.runs[0].name
    print(f"{first}: {sums[first].seed_means[0]:.3f}")
    for row in compare_with(sums, first):
        print(f"{row.model}: {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]")


def macro_auc(run: Path, ids: np.ndarray, has: np.ndarray, clusters: np.ndarray) -> QuerySums:
    """Return the macro AUC of a run on all test tracks, and without those of each artist."""
    scores = read_predictions(run).select(ids).factors @ LabelScorer.read(run).label_factors.T
    varies = has.any(axis=0) & ~has.all(axis=0)
    sizes = np.bincount(clusters)
    kept = [np.ones(len(ids), bool), *(clusters != number for number in range(len(sizes)))]
    means = [np.nanmean(roc_auc(has[rows], scores[rows])[varies]) for rows in kept]
    n_labels = np.array([np.count_nonzero(varies)])
    return QuerySums(np.array(means)[np.newaxis, np.newaxis] * n_labels, n_labels, sizes, by_similarity=False)


if __name__ == "__main__":
    main()
