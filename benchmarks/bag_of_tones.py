"""Bag of Tones histograms of whole tracks, compared with librosa plus scikit-learn and with a matrix product."""

from collections.abc import Callable, Iterator

import faiss
import keras
import librosa
import numpy as np
import tensorflow as tf
from sklearn.cluster import MiniBatchKMeans

from benchmarks.comparison import Comparison, Line, best_seconds
from benchmarks.front_end import AUDIO, FRAMES, magnitudes
from benchmarks.settings import Settings
from cs_keras.layers.bag_of_tones import assign
from cs_keras.layers.mfcc import DELTA_FRAMES
from cs_keras.models import get_baseline
from cs_keras.models.bot import build_codebook, build_features
from cs_keras.training.predict import whole_track_function

TOPIC = "bag of tones"
TRACK_PATCHES = 40  # four minutes
SQUARE = 2048  # rows and columns of a matrix product that uses all cores
LEAST_AGREEMENT = 0.98  # frames halfway between two centroids may be assigned to either


def measure(settings: Settings) -> Iterator[Line]:
    baseline = get_baseline("bot")
    tracks = [_track(seed) for seed in range(settings.tracks)]
    features = build_features(baseline, AUDIO)
    frames_of = whole_track_function(features)
    frames = np.concatenate([frames_of(track) for track in tracks])
    rng = np.random.default_rng(0)
    centroids = frames[rng.choice(len(frames), baseline.model.n_centroids, replace=False)]
    codebook = build_codebook(baseline)
    codebook.get_layer("bag_of_tones").set_codebook(centroids)
    histogram = whole_track_function(keras.Model(features.input, codebook(features.output)))
    kmeans = _kmeans(frames, centroids)
    transposed = [np.ascontiguousarray(track.T, np.float32) for track in tracks]

    def peer(magnitude: np.ndarray) -> np.ndarray:
        return _by_librosa(magnitude, baseline.front_end.n_mels, baseline.model.n_mfcc, kmeans)

    ours, theirs = histogram(tracks[0]), peer(transposed[0])
    agreement = np.minimum(ours, theirs).sum() / theirs.sum()
    if agreement < LEAST_AGREEMENT:
        raise RuntimeError(
            f"The two histograms overlap by {agreement:.1%}; expected at least {LEAST_AGREEMENT:.0%}."
        )
    turns = (lambda: [histogram(track) for track in tracks], lambda: [peer(track) for track in transposed])
    seconds = best_seconds(turns, settings.repeats)
    rates = [len(tracks) / s for s in seconds]
    yield Comparison(TOPIC, "features and histogram", *rates, "tracks/s", "librosa + scikit-learn", 2.5)
    yield from _assignment(frames, centroids, settings.repeats)


def _track(seed: int) -> np.ndarray:
    """Return magnitudes, shape (n_frames, n_bins), float16 as in shards; no two frames are equal."""
    loudness = np.random.default_rng(seed).lognormal(size=(TRACK_PATCHES * FRAMES, 1)).astype(np.float32)
    return (magnitudes(TRACK_PATCHES, seed).reshape(-1, AUDIO.n_bins) * loudness).astype(np.float16)


def _kmeans(frames: np.ndarray, centroids: np.ndarray) -> MiniBatchKMeans:
    """Return a fitted model with the given centroids; its `predict` is scikit-learn's fastest assignment."""
    kmeans = MiniBatchKMeans(len(centroids), init=centroids, n_init=1, max_iter=1, compute_labels=False)
    kmeans.fit(frames[: len(centroids)])
    kmeans.cluster_centers_ = centroids
    return kmeans


def _by_librosa(magnitude: np.ndarray, n_mels: int, n_mfcc: int, kmeans: MiniBatchKMeans) -> np.ndarray:
    """Return the histogram, shape (n_centroids,), of magnitudes in librosa's orientation, (n_bins, n_frames)."""
    mel = librosa.feature.melspectrogram(S=magnitude, sr=AUDIO.sample_rate, n_fft=AUDIO.n_fft, n_mels=n_mels)
    mel_db = librosa.power_to_db(mel, amin=1e-10, top_db=80.0)
    stages = [librosa.feature.mfcc(S=mel_db, n_mfcc=n_mfcc)]
    for _ in range(2):
        stages.append(librosa.feature.delta(stages[-1], width=DELTA_FRAMES, mode="mirror"))
    frames = np.ascontiguousarray(np.concatenate(stages).T)
    counts = np.bincount(kmeans.predict(frames), minlength=kmeans.n_clusters)
    return counts * (kmeans.n_clusters / len(frames))


def _assignment(frames: np.ndarray, centroids: np.ndarray, repeats: int) -> Iterator[Line]:
    """Compare the multiplications of the assignment with those of a square matrix product, the fastest known."""
    x, c = tf.constant(frames), tf.constant(centroids)
    nearest = tf.function(assign)
    square = np.random.default_rng(0).random((SQUARE, SQUARE), np.float32)
    tensor = tf.constant(square)
    fastest: tuple[Callable[[], object], ...] = (
        lambda: tf.matmul(tensor, tensor).numpy(),
        lambda: square @ square,
    )
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    turns = (lambda: nearest(x, c).numpy(), lambda: index.search(frames, 1), *fastest)
    own, peer, *products = best_seconds(turns, repeats)
    work, best = 2e-9 * frames.shape[0] * centroids.size, 2e-9 * SQUARE**3 / min(products)
    what = "assignment to 4,000 centroids"
    yield Comparison(TOPIC, what, work / own, best, "GFLOP/s", "square float32 product", 0.6)
    yield Comparison(TOPIC, what, work / own, work / peer, "GFLOP/s", "faiss IndexFlatL2", 0.95)
