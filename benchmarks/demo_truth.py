"""Upper bounds on demo data of any size: overlaps from true style on held-out artists, and the factors' agreement.

    python -m benchmarks.demo_truth [--n-tracks 1400] [--seed 0]

draws tracks and playlists as `cs-keras demo-data` does, without synthesising audio, fits factors by the strict
protocol and prints the table of docs/demo-data.md.
"""

import argparse

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.preprocessing import LabelBinarizer

from cs_keras.data.demo.catalogue import DemoCatalogue, draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.interactions import draw_interactions
from cs_keras.data.demo.style import style_matrix
from cs_keras.data.folds import SPLITS, assign_folds
from cs_keras.evaluation.reference_predictors import predict_from_features
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import TopK, filter_artists, filtered_length, top_k_similar
from cs_keras.factors.wmf import WmfConfig, fit_protocol
from pipelines.demo import DEMO_FACTORS

KS = (10, 50, 100)
Matrix = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-tracks", type=int, default=DemoConfig.n_tracks)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    config = DemoConfig.of_size(arguments.n_tracks, seed=arguments.seed)
    Study(config, DEMO_FACTORS).print_table()


class Study:
    """The demo data of `config` without audio, with factors, and its tracks in splits."""

    def __init__(self, config: DemoConfig, wmf: WmfConfig) -> None:
        self.config, self.wmf = config, wmf
        self.catalogue = draw_catalogue(config)
        playlists, tracks, counts = draw_interactions(self.catalogue, config)
        shape = (config.n_playlists, config.n_tracks)
        self.user_items = scipy.sparse.csr_matrix((counts.astype(np.float32), (playlists, tracks)), shape)
        folds = np.array(assign_folds(self.catalogue.track_ids, self.catalogue.artists)[0])
        self.rows = {split: np.flatnonzero(np.isin(folds, members)) for split, members in SPLITS.items()}
        self.artists = np.unique(self.catalogue.artists, return_inverse=True)[1]
        self.factors = self.fit(self.user_items, wmf.seed)

    def fit(self, user_items: scipy.sparse.csr_matrix, seed: int) -> npt.NDArray[np.float32]:
        is_train = np.isin(np.arange(self.config.n_tracks), self.rows["train"])
        settings = WmfConfig(**{**vars(self.wmf), "seed": seed})
        return fit_protocol(user_items, is_train, settings).item_factors

    def print_table(self) -> None:
        test = self.rows["test"]
        artists = self.artists[test]
        print(
            f"{self.config.n_tracks:,} tracks, {self.config.n_playlists:,} playlists; train, validation and test "
            f"tracks: {', '.join(str(len(rows)) for rows in self.rows.values())}; {len(set(artists))} test artists"
        )
        reference = lists_of(self.factors[test], artists)
        own = artists[reference[1].indices] == artists[:, None]
        print(f"share of the query's own artist in the reference top {KS[0]}: {100 * own.mean():.1f} %\n")
        header = [f"{name}, k = {k}" for k in KS for name in ("filtered", "all")]
        print(f"| | {' | '.join(header)} | R² |\n|---|{'---|' * (len(header) + 1)}")
        print(f"| chance | {' | '.join(f'{100 * lists.chance:.1f}' for lists in reference)} | |")
        for name, values in features_of(self.catalogue).items():
            predicted = predict_from_features(values, self.factors, self.rows)
            residual = np.square(self.factors[test] - predicted).sum()
            r2 = 1 - residual / np.square(self.factors[test] - self.factors[test].mean(axis=0)).sum()
            print(f"| {name} | {overlaps(reference, lists_of(predicted, artists))} | {r2:.3f} |")
        order = np.random.default_rng(0).permutation(self.config.n_playlists)
        halves = (self.fit(self.user_items[half], self.wmf.seed)[test] for half in np.array_split(order, 2))
        one, other = (lists_of(half, artists) for half in halves)
        print(f"| half-data ceiling | {overlaps(one, other)} | |")
        second = self.fit(self.user_items, self.wmf.seed + 1)[test]
        print(f"| refit ceiling | {overlaps(reference, lists_of(second, artists))} | |")


def features_of(catalogue: DemoCatalogue) -> dict[str, Matrix]:
    style, social = style_matrix(catalogue.styles).astype(np.float64), catalogue.social.astype(np.float64)
    return {
        "genre, one-hot": LabelBinarizer().fit_transform(catalogue.genres).astype(np.float64),
        "**true style: best from sound**": style,
        "true social factors": social,
        "true style and social factors": np.hstack([style, social]),
    }


def lists_of(factors: npt.ArrayLike, artists: npt.NDArray[np.int64]) -> list[TopK]:
    """Return, for each k, the lists without the query's own artist, then those of all candidates."""
    longest = top_k_similar(factors, filtered_length(max(KS), artists))
    return [lists for k in KS for lists in (filter_artists(longest, artists, k), longest.prefix(k))]


def overlaps(reference: list[TopK], predicted: list[TopK]) -> str:
    """Return mean overlaps in percent, as cells of a table."""
    shares = (list_overlap(a.indices, b.indices).mean() for a, b in zip(reference, predicted, strict=True))
    return " | ".join(f"{100 * share:.1f}" for share in shares)


if __name__ == "__main__":
    main()
