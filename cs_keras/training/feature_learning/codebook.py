"""The Bag of Tones codebook: mini-batch k-means streamed over tracks, in bounded memory."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans

from cs_keras.errors import DataError
from cs_keras.models.bot import Config

FrameFeatures = npt.NDArray[np.float32]


def fit_codebook(
    read_features: Callable[[int], FrameFeatures],
    rows: npt.NDArray[np.int64],
    config: Config,
    seed: int,
    on_batch: Callable[[int, float], None] = lambda number, movement: None,
) -> FrameFeatures:
    """Fit centroids to the frames of some tracks (Sculley 2010, scikit-learn's implementation).

    Frames are taken in mini-batches, track after track in a random order, the frames of a few dozen tracks mixed.

    Parameters
    ----------
    read_features
        Track table row to its frames, shape (n_frames, n_features), float32.
    rows
        Tracks to fit to, shape (n,): train tracks only.
    config
        Size of codebook and mini-batch, and when to stop.
    seed
        Seed of the order and of k-means.

    Returns
    -------
    FrameFeatures
        Centroids, shape (n_centroids, n_features), float32.

    Raises
    ------
    DataError
        The tracks have fewer frames than the codebook has centroids.
    """
    means = MiniBatchKMeans(
        config.n_centroids,
        init="random",  # k-means++ over 4,000 centroids takes longer than all mini-batches that follow
        batch_size=config.batch_frames,
        random_state=seed,
        n_init=1,
        compute_labels=False,
    )
    n_still = 0
    previous: FrameFeatures | None = None
    for number, batch in enumerate(_mini_batches(read_features, rows, config, seed), 1):
        means.partial_fit(batch)
        if previous is not None:
            movement = float(np.linalg.norm(means.cluster_centers_ - previous, axis=1).mean())
            on_batch(number, movement)
            n_still = n_still + 1 if movement < config.tolerance else 0
            if n_still >= config.patience:
                break
        previous = means.cluster_centers_.copy()
    if previous is None:
        raise DataError(
            f"The {len(rows)} train tracks have fewer frames than the codebook's {config.n_centroids} centroids; "
            "use more tracks or a smaller codebook (--set models.bot.model.n_centroids=...)."
        )
    return np.asarray(means.cluster_centers_, np.float32)


def _mini_batches(
    read_features: Callable[[int], FrameFeatures],
    rows: npt.NDArray[np.int64],
    config: Config,
    seed: int,
) -> Iterator[FrameFeatures]:
    """Yield mini-batches over `max_passes` passes, mixing four at a time; an incomplete last one is dropped."""
    size = max(config.batch_frames, config.n_centroids)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(rows) for _ in range(config.max_passes)])
    pool: list[FrameFeatures] = []
    for position, row in enumerate(order, 1):
        pool.append(read_features(int(row)))
        if sum(map(len, pool)) >= 4 * size or position == len(order):
            frames = rng.permutation(np.concatenate(pool))
            n_batches = max(1, len(frames) // size)
            for batch in range(n_batches if len(frames) >= config.n_centroids else 0):
                yield frames[batch * size : (batch + 1) * size]
            pool = [frames[n_batches * size :]]
