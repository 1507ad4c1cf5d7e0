"""The map of a model's tracks: a t-SNE embedding of the predicted factors, and the neighbours of each track."""

import json
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from cs_keras.evaluation.search.topk import Metric, top_k_similar
from cs_keras.run_files.predictions import Predictions
from reports.formats.text import shorten
from reports.html.factors import cosine_distances
from reports.html.figures import COLOURS, MARKERS, label
from reports.html.spaces import Space, fold_column, text_column

Matrix = npt.NDArray[np.float32]
Lists = list[list[int] | None]  # rows of each track's neighbours, nearest first; None without factors

LEAST_TRACKS = 5  # minimum for a map
N_NEIGHBOURS = 10
PERPLEXITY = 30.0
SEED = 0
N_DIMENSIONS = 50  # principal components that t-SNE gets, as in van der Maaten & Hinton 2008
N_FEW = 2_000  # tracks up to which one thread is faster than several
N_MANY = 5_000  # tracks from which on t-SNE takes half the usual number of steps
N_STEPS = 1_000
N_VECTORS = 2_000  # points up to which a figure is drawn as vectors; more are rasterised
OTHERS = "others"


@dataclass(frozen=True, eq=False)
class TrackMap:
    """Positions and neighbours of the tracks that a model was not trained on."""

    model: str  # label of the run
    positions: Matrix  # t-SNE of the predicted factors, shape (n_tracks, 2)
    predicted: Lists  # neighbours by predicted factors, and by true ones
    true: Lists
    names: dict[str, list[str]]  # ``id`` and, with a dataset, ``title`` and ``artist``
    kinds: dict[str, list[str]] = field(default_factory=dict)  # categories for colours: genre, artist, fold
    error: list[float | None] = field(default_factory=list)  # cosine distance of predicted and true factors

    def __len__(self) -> int:
        return len(self.positions)


def make_map(model: str, predictions: Predictions, space: Space | None, metric: str) -> TrackMap | None:
    """Return the map of a model's predictions; None for too few tracks, or if all predictions are equal.

    Parameters
    ----------
    model
        Label of the run.
    predictions
        Predictions of its first seed.
    space
        The dataset's tracks and factors; without them there are no names and no true neighbours.
    metric : {"cosine", "euclidean"}
        Similarity of neighbours.
    """
    factors = predictions.factors
    if len(factors) < LEAST_TRACKS or not np.ptp(factors, axis=0).any():
        return None
    positions = _embed(factors, metric)
    lists = _neighbours(factors, np.ones(len(factors), np.bool_), metric)
    names = {"id": [shorten(track_id) for track_id in predictions.track_ids.tolist()]}
    if space is None:
        return TrackMap(model, positions, lists, [], names)
    rows = space.rows(predictions.track_ids)
    known, true = space.factors.has_factors[rows], space.factors.item_factors[rows]
    distances = np.where(known, cosine_distances(true, factors), np.nan).round(4).tolist()
    return TrackMap(
        model,
        positions,
        lists,
        _neighbours(true, known, metric),
        {**names, **{column: text_column(space, rows, column) for column in ("title", "artist")}},
        {
            "genre": text_column(space, rows, "genres"),
            "artist": text_column(space, rows, "artist"),
            "fold": fold_column(space, rows),
        },
        [None if distance != distance else distance for distance in distances],
    )


def map_script(track_map: TrackMap) -> str:
    """Return a script that passes the map to the page: a page opened from disk can load no other kind of file."""
    content: dict[str, Any] = {
        "model": shorten(track_map.model),
        "x": track_map.positions[:, 0].round(3).tolist(),
        "y": track_map.positions[:, 1].round(3).tolist(),
        "names": track_map.names,
        "kinds": track_map.kinds,
        "error": track_map.error,
        "predicted": track_map.predicted,
        "true": track_map.true,
    }
    # ASCII only and no "<", so that no name can end the string or the script element.
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"(window.trackMaps ??= []).push({text});\n"


def map_figure(track_map: TrackMap) -> Figure:
    """Draw the map for browsers without scripts, coloured by genre if genres are known."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.add_subplot()
    kinds = np.array(_frequent(track_map.kinds.get("genre", [""] * len(track_map))))
    names = [name for name in dict.fromkeys(sorted(kinds.tolist())) if name != OTHERS]
    for i, name in enumerate([*names, *([OTHERS] if OTHERS in kinds else [])]):
        x, y = track_map.positions[kinds == name].T
        points = axes.scatter(x, y, s=14, marker=MARKERS[i], linewidths=0, label=label(name))
        points.set(color=COLOURS[i], rasterized=len(track_map) > N_VECTORS)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    if len(names) > 1:
        figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _embed(factors: Matrix, metric: str) -> Matrix:
    """Return t-SNE positions, float32 of shape (n, 2); for cosine similarity of factors at unit norm."""
    if metric == "cosine":
        norms = np.linalg.norm(factors, axis=1, keepdims=True)
        factors = factors / np.where(norms > 0, norms, 1)
    if min(factors.shape) > N_DIMENSIONS:
        factors = PCA(N_DIMENSIONS, svd_solver="full").fit_transform(factors)
    tsne = TSNE(
        init="random",
        learning_rate="auto",
        perplexity=min(PERPLEXITY, (len(factors) - 1) / 3),
        max_iter=N_STEPS if len(factors) < N_MANY else N_STEPS // 2,
        random_state=SEED,
    )
    with threadpool_limits(1 if len(factors) <= N_FEW else None):
        return np.asarray(tsne.fit_transform(factors), dtype=np.float32)


def _neighbours(factors: Matrix, known: npt.NDArray[np.bool_], metric: str) -> Lists:
    rows = np.flatnonzero(known)
    lists: Lists = [None] * len(factors)
    k = min(N_NEIGHBOURS, len(rows) - 1)
    if k < 1:
        return lists
    found = rows[top_k_similar(factors[rows], k, metric=cast(Metric, metric)).indices]
    for row, own in zip(rows.tolist(), found.tolist(), strict=True):
        lists[row] = own
    return lists


def _frequent(kinds: list[str]) -> list[str]:
    """Return kinds, the rarest replaced by others if there are more kinds than colours."""
    values, counts = np.unique(kinds, return_counts=True)
    if len(values) <= len(COLOURS):
        return kinds
    frequent = set(values[np.argsort(-counts, kind="stable")][: len(COLOURS) - 1].tolist())
    return [kind if kind in frequent else OTHERS for kind in kinds]
