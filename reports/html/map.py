"""The map of a model's tracks: a t-SNE embedding of the predicted factors, and the neighbours of each track."""

import json
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from cs_keras.evaluation.losses import measure_cosine_distances
from cs_keras.evaluation.search.topk import Metric, top_k_similar
from cs_keras.run_files.predictions import Predictions
from reports.formats.plot_style import NARROW
from reports.formats.text import shorten
from reports.html.charts import add_legend
from reports.html.figures import COLOURS, MARKERS, label
from reports.html.recordings import Recordings
from reports.html.spaces import Space, fold_column, text_column

Matrix = npt.NDArray[np.float32]
Lists = list[list[int] | None]  # rows of each track's neighbours, nearest first; None without factors
TrackMap = dict[str, Any]  # content of a map's script, by name

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


def make_map(
    model: str,
    predictions: Predictions,
    space: Space | None,
    metric: str,
    recordings: Recordings | None = None,
) -> TrackMap | None:
    """Return the map of a model's predictions; None for too few tracks, or if all predictions are equal.

    Without a space there are no names and no true neighbours, without recordings no players.
    """
    factors = predictions.factors
    if len(factors) < LEAST_TRACKS or not np.ptp(factors, axis=0).any():
        return None
    x, y = _embed(factors, metric).round(3).T.tolist()
    track_map: TrackMap = {
        "model": shorten(model),
        "x": x,
        "y": y,
        "names": {"id": [shorten(track_id) for track_id in predictions.track_ids.tolist()]},
        "kinds": {},  # categories for colours
        "error": [],  # cosine distance of predicted and true factors
        "predicted": _neighbours(factors, np.ones(len(factors), np.bool_), metric),
        "true": [],
        "audio": [],
    }
    if recordings:
        track_map["audio"] = [recordings.url((track_id, 0.0)) for track_id in predictions.track_ids.tolist()]
    if space is None:
        return track_map
    rows = space.rows(predictions.track_ids)
    known, true = space.factors.has_factors[rows], space.factors.item_factors[rows]
    error: list[float | None] = [None] * len(rows)
    if known.any():
        distances = measure_cosine_distances(true[known], factors[known]).round(4).tolist()
        for row, distance in zip(np.flatnonzero(known).tolist(), distances, strict=True):
            error[row] = distance
    title, artist, genre = (text_column(space, rows, column) for column in ("title", "artist", "genres"))
    track_map["names"] |= {"title": title, "artist": artist}
    track_map["kinds"] = {"genre": genre, "artist": artist, "fold": fold_column(space, rows)}
    return {**track_map, "error": error, "true": _neighbours(true, known, metric)}


def map_script(track_map: TrackMap, name: str) -> str:
    """Return a script that passes the map to the page: a page opened from disk can load no other kind of file."""
    # ASCII only and no "<", so that no name can end the string or the script element.
    text = json.dumps(track_map, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"(window.trackMaps ??= {{}})[{json.dumps(name)}] = {text};\n"


def map_figure(track_map: TrackMap) -> Figure:
    """Draw the map for browsers without scripts, coloured by genre if genres are known."""
    figure = Figure(figsize=(NARROW, NARROW), layout="constrained")
    axes = figure.add_subplot()
    positions = np.array([track_map["x"], track_map["y"]])
    n_tracks = positions.shape[1]
    kinds = np.array(_frequent(track_map["kinds"].get("genre", [""] * n_tracks)))
    names = [name for name in dict.fromkeys(sorted(kinds.tolist())) if name != OTHERS]
    for i, name in enumerate([*names, *([OTHERS] if OTHERS in kinds else [])]):
        x, y = positions[:, kinds == name]
        points = axes.scatter(x, y, s=14, marker=MARKERS[i], linewidths=0, label=label(name))
        points.set(color=COLOURS[i], rasterized=n_tracks > N_VECTORS)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    if len(names) > 1:
        add_legend(figure)
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
