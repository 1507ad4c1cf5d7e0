"""Statistics over the frames of a track, which make one vector of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cs_keras.config import check_choice
from cs_keras.errors import ConfigError

Vectors = npt.NDArray[np.float32]

STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "std": np.std, "max": np.max}


def check_pooling(names: Sequence[str]) -> None:
    """Raise ConfigError unless `names` are distinct `STATISTICS`, at least one."""
    for name in names:
        check_choice("--pooling", name, tuple(STATISTICS))
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"--pooling must name statistics, each once. Received: {', '.join(names)}.")


def pool_rows(frames: Vectors, names: Sequence[str]) -> Vectors:
    """Return the statistics of `frames` as one row, or the frames themselves where no statistic is named."""
    return pool(frames, names)[np.newaxis] if names else frames


def pool(frames: Vectors, names: Sequence[str]) -> Vectors:
    """Return statistics of `frames`, shape (n_frames, n_features), as (len(names) * n_features,), float32.

    Examples
    --------
    >>> pool(np.array([[0, 1], [2, 1]], np.float32), ("mean", "max")).tolist()
    [1.0, 1.0, 2.0, 1.0]
    """
    wide = frames.astype(np.float64)
    values: Vectors = np.concatenate([STATISTICS[name](wide, axis=0) for name in names]).astype(np.float32)
    return values
