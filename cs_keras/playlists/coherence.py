"""Distance of each track of a playlist from the others, and outliers."""

import dataclasses

import numpy as np
import numpy.typing as npt

from cs_keras.errors import DataError
from cs_keras.playlists.rerank import unit_rows

Float64Array = npt.NDArray[np.float64]

MIN_TRACKS = 3  # two tracks are equally far from each other
OUTLYING = 3.5  # modified z-scores above it are outliers: Iglewicz & Hoaglin 1993


@dataclasses.dataclass(frozen=True, eq=False)
class Coherence:
    """Distance of each track from the others.

    Attributes
    ----------
    distance : numpy.ndarray, shape (n,), float64
        Cosine distance from the mean direction of the others, 0 to 2; 1 where there is no direction.
    score : numpy.ndarray, shape (n,), float64
        Modified z-score of the angle between the two; see `compute_modified_z`.
    """

    distance: Float64Array
    score: Float64Array

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Rows, farthest first."""
        return np.argsort(-self.distance, kind="stable")

    @property
    def is_outlier(self) -> npt.NDArray[np.bool_]:
        """Whether a track is an outlier: bool of shape (n,)."""
        return np.asarray(self.score > OUTLYING)


def measure_coherence(factors: npt.ArrayLike) -> Coherence:
    """Measure how far each track of a list lies from the mean of the others, each scaled to length 1.

    Parameters
    ----------
    factors : array_like, shape (n, n_factors), float32

    Raises
    ------
    DataError
        There are fewer than `MIN_TRACKS`.
    """
    vectors = unit_rows(factors).astype(np.float64)
    if len(vectors) < MIN_TRACKS:
        raise DataError(
            f"A list has outliers only among {MIN_TRACKS} tracks or more. Received: {len(vectors)}."
        )
    others = vectors.sum(axis=0) - vectors
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(vectors, axis=1)
    cosines = (vectors * others).sum(axis=1) / np.where(lengths > 1e-9, lengths, np.inf)
    distance = 1 - cosines
    # Distances of tracks around a centre are skewed, which would flag many as outliers; angles are not.
    return Coherence(distance, compute_modified_z(np.arccos(np.clip(cosines, -1, 1))))


def compute_modified_z(values: npt.ArrayLike) -> Float64Array:
    """Return ``0.6745 (x - median) / MAD``: a z-score that is robust to the outliers themselves.

    Iglewicz & Hoaglin 1993, "How to detect and handle outliers", section 3.3. MAD is the median of the absolute
    deviations from the median. Where that is 0, more than half of the values being the same, others score infinity.

    Parameters
    ----------
    values : array_like, shape (n,), float

    Returns
    -------
    numpy.ndarray, shape (n,), float64
    """
    deviations = np.asarray(values, dtype=np.float64) - np.median(np.asarray(values, dtype=np.float64))
    mad = np.median(np.abs(deviations))
    if mad > 0:
        return np.asarray(0.6745 * deviations / mad)
    return np.where(deviations == 0, 0.0, np.copysign(np.inf, deviations))
