"""Batches of triplets, the triplet objective, and metrics that show a collapse of embeddings."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from cs_keras.data.batches import TrainingBatches
from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, Windows, usable_range
from cs_keras.training.losses.objective import MEAN_LOSS, FunctionLoss, Objective
from cs_keras.training.triplets.mining import (
    Candidates,
    active_share,
    draw_triplets,
    make_triplet_loss,
    mean_loss,
    mine_triplets,
)

Integers = npt.NDArray[np.int64]


class TripletBatches(TrainingBatches):
    """Endless batches of anchor, positive, negative, anchor …, each a random crop.

    Anchors are the crops of `TrainingBatches`: as many of each track as fit into it side by side, in random order.
    An epoch's triplets come from seed and epoch alone, so a fit can be resumed at any. `candidates` are those of
    the tracks `rows`, in their order; factors are passed as targets, which the loss uses; a batch has `n_anchors`
    triplets. See `TrainingBatches` for the others.
    """

    def __init__(
        self,
        candidates: Candidates,
        dataset: Dataset,
        rows: Integers,
        factors: npt.NDArray[np.float32],
        sequence: SequenceConfig,
        n_anchors: int,
        seed: int,
    ) -> None:
        self._candidates = candidates
        super().__init__(dataset, rows, factors, sequence, 3 * n_anchors, seed)

    def _draw(self, epoch: int) -> Windows:
        anchors = super()._draw(epoch)
        index = np.zeros(len(self.dataset), np.int64)
        index[self._rows] = np.arange(len(self._rows))
        triplets = self._rows[draw_triplets(self._candidates, self._seed, epoch, index[anchors.row])]
        rng = np.random.default_rng([self._seed, epoch, 2])
        others = [self._crop(triplets[:, column], rng) for column in (1, 2)]
        return Windows(triplets.ravel(), np.stack([anchors.start, *others], axis=1).ravel())

    def _crop(self, rows: Integers, rng: np.random.Generator) -> Integers:
        """Return a random first frame for a crop of each of `rows`."""
        first, usable = usable_range(self.dataset.n_frames[rows], self.sequence, self.dataset.info.audio)
        room = np.maximum(usable - self.sequence.excerpt_frames, 0) + 1
        return first + np.floor(rng.random(len(rows)) * room).astype(np.int64)


def triplet_objective(mining: str, margin: float, n_dimensions: int) -> Objective:
    """Return the triplet loss with the share of active triplets and the spread of embeddings as metrics.

    See `cs_keras.training.triplets.mining.mine_triplets` for the first two, `EmbeddingSpread` for the last.
    """
    loss = FunctionLoss(make_triplet_loss(mining, margin), "triplet")
    return Objective(
        loss,
        _OverTriplets(mean_loss, mining, margin, MEAN_LOSS),
        (_OverTriplets(active_share, mining, margin, "active_share"), EmbeddingSpread(n_dimensions)),
    )


class _OverTriplets(keras.metrics.Mean):  # type: ignore[misc]
    """Mean of a metric over all triplets of an epoch, weighted by the number in each batch."""

    def __init__(self, measure: Any, mining: str, margin: float, name: str) -> None:
        super().__init__(name)
        self._measure, self._mine = measure, mine_triplets(mining, margin)

    def update_state(self, factors: Any, embeddings: Any, sample_weight: Any = None) -> None:
        """Add a batch; there are no sample weights on one device."""
        losses, is_triplet = self._mine(factors, embeddings)
        count = tf.reduce_sum(tf.cast(is_triplet, tf.float32))
        super().update_state(self._measure(losses, is_triplet), count)


class EmbeddingSpread(keras.metrics.Metric):  # type: ignore[misc]
    """The mean squared distance of an epoch's embeddings to their mean: 0 when they have collapsed, at most 1."""

    def __init__(self, n_dimensions: int) -> None:
        super().__init__(name="embedding_spread")
        self._sums = self.add_variable((n_dimensions,), "zeros", name="sums")
        self._count = self.add_variable((), "zeros", name="count")

    def update_state(self, factors: Any, embeddings: Any, sample_weight: Any = None) -> None:
        """Add a batch of embeddings, shape (batch, n_dimensions)."""
        self._sums.assign_add(tf.reduce_sum(tf.cast(embeddings, tf.float32), axis=0))
        self._count.assign_add(tf.cast(tf.shape(embeddings)[0], tf.float32))

    def result(self) -> Any:
        """Return 1 - |mean|²: of vectors of length 1 the mean squared distance to their mean."""
        mean = self._sums / tf.maximum(self._count.value, 1.0)
        return 1.0 - tf.reduce_sum(tf.square(mean))
