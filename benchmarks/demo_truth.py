"""Upper bounds on demo data of any size: overlaps from true style on held-out artists, and the factors' agreement.

    python -m benchmarks.demo_truth [--n-tracks 1400] [--seed 0]
    python -m benchmarks.demo_truth --targets [--seeds 5] [--n-playlists 2800] [--alpha 1 --iterations 50]

draws tracks and playlists as `cs-keras demo-data` does, without synthesising audio, fits factors by the strict
protocol and prints the tables of docs/demo-data.md; with `--targets` that of docs/decisions.md: R² of regressions
trained on in-sample and on cross-fitted factors.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from cs_keras.data.demo.catalogue import DemoCatalogue, draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.interactions import draw_interactions
from cs_keras.data.demo.style import style_matrix
from cs_keras.data.folds import SPLITS, assign_folds
from cs_keras.evaluation.reference_predictors import predict_from_features
from cs_keras.evaluation.search.intersection import list_overlap
from cs_keras.evaluation.search.topk import TopK, filter_artists, filtered_length, top_k_similar
from cs_keras.factors.cross_fitting import cross_fit, group_folds
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
    parser.add_argument("--n-playlists", type=int, help="default: two for each track")
    parser.add_argument("--alpha", type=float, default=DEMO_FACTORS.alpha)
    parser.add_argument("--iterations", type=int, default=DEMO_FACTORS.iterations)
    parser.add_argument("--targets", action="store_true", help="compare targets of train tracks instead")
    parser.add_argument("--seeds", type=int, default=5, help="with --targets: number of data sets")
    arguments = parser.parse_args()
    wmf = replace(DEMO_FACTORS, alpha=arguments.alpha, iterations=arguments.iterations)
    sizes = {} if arguments.n_playlists is None else {"n_playlists": arguments.n_playlists}

    def study(seed: int) -> Study:
        return Study(DemoConfig.of_size(arguments.n_tracks, seed=seed, **sizes), wmf)

    if arguments.targets:
        print_targets([study(arguments.seed + n).compare_targets() for n in range(arguments.seeds)])
    else:
        study(arguments.seed).print_table()


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
        self.is_train = np.isin(folds, SPLITS["train"])
        self.groups = group_folds(folds, self.is_train)
        self.main = fit_protocol(self.user_items, self.is_train, wmf)
        self.factors = self.main.item_factors

    def fit(self, user_items: scipy.sparse.csr_matrix, seed: int) -> npt.NDArray[np.float32]:
        return fit_protocol(user_items, self.is_train, replace(self.wmf, seed=seed)).item_factors

    def compare_targets(self) -> dict[str, tuple[float, float]]:
        """Return R² on test tracks of regressions on true style, trained on in-sample and cross-fitted factors."""
        crossed = cross_fit(self.user_items, self.is_train, self.groups, self.main, self.wmf).fit.item_factors
        style = style_matrix(self.catalogue.styles).astype(np.float64)
        found = [self._fit_regressions(style, targets) for targets in (self.factors, crossed)]
        return {name: (found[0][name], found[1][name]) for name in found[0]}

    def _fit_regressions(self, style: Matrix, targets: npt.NDArray[np.float32]) -> dict[str, float]:
        train, test = self.rows["train"], self.rows["test"]
        scaled = StandardScaler().fit(style[train]).transform(style)
        mean = targets[train].mean(axis=0)
        kernel = KernelRidge(kernel="rbf", gamma=0.5 / style.shape[1], alpha=0.5)
        predicted = {
            name: model.fit(scaled[train], targets[train] - mean).predict(scaled[test]) + mean
            for name, model in (("ridge, penalty 1", Ridge()), ("kernel ridge, penalty 0.5", kernel))
        }
        predicted["best from sound"] = predict_from_features(style, targets, self.rows)
        return {name: r2_of(self.factors[test], values) for name, values in predicted.items()}

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
            r2 = r2_of(self.factors[test], predicted)
            print(f"| {name} | {overlaps(reference, lists_of(predicted, artists))} | {r2:.3f} |")
        order = np.random.default_rng(0).permutation(self.config.n_playlists)
        halves = (self.fit(self.user_items[half], self.wmf.seed)[test] for half in np.array_split(order, 2))
        one, other = (lists_of(half, artists) for half in halves)
        print(f"| half-data ceiling | {overlaps(one, other)} | |")
        second = self.fit(self.user_items, self.wmf.seed + 1)[test]
        print(f"| refit ceiling | {overlaps(reference, lists_of(second, artists))} | |")


def print_targets(seeds: Sequence[Mapping[str, tuple[float, float]]]) -> None:
    """Print R² for both kinds of targets and the gain, mean and standard deviation over data sets."""
    print("| R², test tracks | in-sample | cross-fitted | gain |\n|---|---|---|---|")
    for name in seeds[0]:
        in_sample, crossed = np.array([own[name] for own in seeds]).T
        cells = (
            f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"
            for values in (in_sample, crossed, crossed - in_sample)
        )
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def r2_of(reference: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return R² of factors, weighted by their variance, as `measure_regression_losses` does."""
    return float(r2_score(reference, predicted, multioutput="variance_weighted"))


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
