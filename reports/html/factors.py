"""Factor by factor: how well each is predicted, and how values are spread before and after scaling."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from reports.html.figures import COLOURS, INK, MARKERS, label
from reports.html.runs import Predictions
from reports.html.spaces import Space

Matrix = npt.NDArray[np.float32]

N_TOLD = len(COLOURS)  # models that the figure tells apart
N_BINS = 60
TAIL = 0.1  # percent of the values on either side that a histogram leaves out


def cosine_distances(true: Matrix, predicted: Matrix) -> npt.NDArray[np.float64]:
    """Return 1 - cosine for each pair of rows, shape (n,); 1 where a row is zero and has no direction."""
    norms = np.linalg.norm(true.astype(np.float64), axis=1) * np.linalg.norm(predicted, axis=1)
    dots = np.einsum("ij,ij->i", true, predicted, dtype=np.float64)
    return np.asarray(1 - np.divide(dots, norms, out=np.zeros_like(norms), where=norms > 0))


def factor_r2(true: Matrix, predicted: Matrix) -> npt.NDArray[np.float64]:
    """Return R² of each factor, 1 - squared error / variance, shape (n_factors,); NaN of one that does not vary."""
    reference = true.astype(np.float64)
    error = ((reference - predicted) ** 2).mean(axis=0)
    variance = reference.var(axis=0)
    varies = variance > 0
    return np.asarray(1 - np.divide(error, variance, out=np.full_like(error, np.nan), where=varies))


def evaluated_factors(predictions: Predictions, space: Space) -> tuple[Matrix, Matrix]:
    """Return true and predicted factors of the test tracks that have any, each float32 (n_tracks, n_factors)."""
    rows = space.rows(predictions.track_ids)
    judged = (space.tracks.in_split("test") & space.factors.has_factors)[rows]
    return space.factors.item_factors[rows[judged]], predictions.factors[judged]


def r2_figure(models: Mapping[str, Predictions], space: Space) -> Figure:
    """Draw the R² of each factor on test tracks, the best models first; factors from the most varied down."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    axes = figure.add_subplot()
    spread = space.factors.item_factors[space.factors.has_factors].var(axis=0)
    order = np.argsort(-spread, kind="stable")
    for place, (name, predictions) in enumerate(list(models.items())[:N_TOLD]):
        values = factor_r2(*evaluated_factors(predictions, space))[order]
        x = np.arange(1, len(values) + 1)
        (line,) = axes.plot(x, values, linestyle="", marker=MARKERS[place], label=label(name))
        line.set(color=COLOURS[place], markersize=4)
    axes.axhline(0, color=INK, linewidth=1, linestyle="--")
    axes.set(xlabel="factor, from the most varied to the least", ylabel="R² (test)")
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def spread_figure(name: str, predictions: Predictions, space: Space) -> Figure:
    """Draw the values of all factors before and after scaling, with what a model predicts for test tracks."""
    scaler = space.factors.scaler
    true = space.factors.item_factors[space.factors.has_factors]
    rows = space.rows(predictions.track_ids)
    predicted = predictions.scaled_factors[space.tracks.in_split("test")[rows]]
    figure = Figure(figsize=(8, 3), layout="constrained")
    before, after = figure.subplots(1, 2)
    targets = scaler.transform(true)
    before.hist(true.ravel(), _bins(true), color=COLOURS[0], density=True)
    bins = _bins(targets)
    after.hist(targets.ravel(), bins, color=COLOURS[0], density=True, label="targets")
    inside = np.clip(predicted.ravel(), bins[0], bins[-1])
    after.hist(inside, bins, histtype="step", color=COLOURS[4], density=True, label=f"{label(name)}, test")
    before.set(title="before scaling", xlabel="factor value", ylabel="density", yticks=[])
    after.set(title=f"after scaling ({scaler.kind})", xlabel="target", yticks=[])
    figure.legend(*after.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _bins(values: Matrix) -> npt.NDArray[np.float64]:
    """Return the edges of bins that leave out the thin ends, or a single bin for values that are all alike."""
    low, high = np.percentile(values, [TAIL, 100 - TAIL])
    return np.linspace(low, high, N_BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])
