"""Upper bounds on the demo data: overlap by similarity at 10 on held-out artists, from true style or features.

    python benchmarks/demo_truth.py DIR

writes the default demo data into DIR (or reuses it) and prints the tables of docs/demo-data.md.
"""

import argparse
import csv
import time
from pathlib import Path

import librosa
import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from cs_keras.data.demo.catalogue import draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.write import render_track, write_demo_source
from cs_keras.evaluation.overlap import evaluate_overlap
from cs_keras.factors.interaction_files import read_interactions
from cs_keras.factors.interactions import align
from cs_keras.factors.wmf import WmfConfig, fit_wmf
from cs_keras.runs import read_npz

K = 10
N_FOLDS = 5  # 96 test tracks each
WMF_SETTINGS = (
    WmfConfig(factors=32, alpha=10.0),
    WmfConfig(factors=40, alpha=10.0),
    WmfConfig(factors=32, alpha=40.0, regularization=10.0),
    WmfConfig(factors=32, alpha=40.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    print_synthesis_time()
    start = time.perf_counter()
    write_demo_source(directory)
    print(f"demo data written or verified in {time.perf_counter() - start:.1f} s\n")
    with open(directory / "tracks.csv", newline="", encoding="utf-8") as file:
        tracks = list(csv.DictReader(file))
    truth = read_npz(directory / "truth.npz", "track_ids", "style", "social")
    interactions = align(read_interactions(directory / "listening.csv"), truth["track_ids"])
    artists = [track["artist"] for track in tracks]
    features = {
        "genre": LabelBinarizer().fit_transform([track["genres"] for track in tracks]),
        "MFCC mean and deviation": np.stack([mfcc_statistics(directory / track["path"]) for track in tracks]),
        "true style": truth["style"],
        "true social factors": truth["social"],
        "true style and social factors": np.hstack([truth["style"], truth["social"]]),
    }
    for settings in WMF_SETTINGS:
        print_table(interactions.user_items, features, artists, settings)


def print_synthesis_time(n_tracks: int = 48) -> None:
    config = DemoConfig(min_duration_s=16, max_duration_s=16)
    catalogue = draw_catalogue(config)
    start = time.process_time()
    for index in range(0, config.n_tracks, config.n_tracks // n_tracks):
        render_track(catalogue, index, config)
    print(f"{1000 * (time.process_time() - start) / n_tracks:.0f} ms of CPU time to render a 16 s track")


def mfcc_statistics(path: Path) -> np.ndarray:
    """Return mean and standard deviation over time of 20 MFCCs, and the deviation of their deltas, shape (60,)."""
    samples, sample_rate = librosa.load(path, sr=None)
    mfcc = librosa.feature.mfcc(y=samples, sr=sample_rate)
    return np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1), librosa.feature.delta(mfcc).std(axis=1)])


def print_table(user_items, features: dict[str, np.ndarray], artists: list[str], settings: WmfConfig) -> None:
    item_factors, other_seed = (
        fit_wmf(user_items, WmfConfig(**{**vars(settings), "seed": seed}))[0] for seed in (0, 1)
    )
    rows: dict[str, list[float]] = {}
    for train, test in GroupKFold(N_FOLDS).split(item_factors, groups=artists):
        for name, values in features.items():
            predicted = predict(name, values, item_factors, train, test)
            rows.setdefault(name, []).append(overlap(item_factors[test], predicted))
        rows.setdefault("refit ceiling: another seed", []).append(
            overlap(item_factors[test], other_seed[test])
        )
    n_test = len(item_factors) / N_FOLDS
    print(
        f"| factors {settings.factors}, alpha {settings.alpha:g}, regularization {settings.regularization:g} "
        f"| overlap@{K} |\n|---|---|\n| chance | {100 * K / (n_test - 1):.1f} % |"
    )
    for name, overlaps in rows.items():
        print(f"| {name} | {100 * np.mean(overlaps):.1f} % |")
    print()


def predict(
    name: str, values: np.ndarray, item_factors: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    if name.startswith("true"):
        return predict_from_styles(values[train], item_factors[train], values[test])
    scaler = StandardScaler().fit(values[train])
    model = Ridge(alpha=30.0).fit(scaler.transform(values[train]), item_factors[train])
    return model.predict(scaler.transform(values[test])).astype(np.float32)


def predict_from_styles(
    style_train: np.ndarray, factors_train: np.ndarray, style_test: np.ndarray, *, alpha: float = 0.5
) -> np.ndarray:
    """Predict tracks' factors, shape (n_test, n_factors), from their true styles, by kernel ridge regression.

    The style generated the audio, so a model cannot infer more than the style from it. The kernel is Gaussian,
    exp(-d² / (2 n_dims)) for a distance d: affinity falls smoothly with distance; `alpha` is the regularisation.
    Styles are standardised as in truth.npz, shapes (n_train, n_dims) and (n_test, n_dims); with the social side
    concatenated, all that playlists depend on.
    """
    model = KernelRidge(kernel="rbf", gamma=0.5 / style_train.shape[1], alpha=alpha)
    mean = factors_train.mean(axis=0)
    model.fit(style_train, factors_train - mean)
    return np.asarray(model.predict(style_test) + mean, dtype=np.float32)


def overlap(reference: np.ndarray, predicted: np.ndarray) -> float:
    (result,) = evaluate_overlap(reference, predicted, ks=(K,), n_permutations=1, n_bootstrap=1)
    return result.overlap


if __name__ == "__main__":
    main()
