"""Late fusion: what several networks make of a track before their last layer, to factors. Nieto 2017, Oramas 2017.

Each branch is a baseline, trained on the factors by itself. The activations of its last hidden layer, for one that
hears their mean over a track's sequences, are a track's vector; vectors of all branches lie side by side, and one
dense layer leads from them to factors. The branches are not trained on. The source reports a cosine distance of
0.19 for audio with attributes that a machine estimated, 0.16 with genres beside, and 0.21 for audio alone. It
trained the head as its attribute network: cosine distance, Adam, half of the hidden layer dropped, batches of 256,
early stopping. Its layer's size is not told; 512 is ours, as are ELU and what all baselines here share.

Ours also does without a branch for tracks that lack what it takes in: its numbers are then 0, a flag says so, and
in training branches are hidden by chance (`cs_keras.layers.branches`), so that no branch is relied on.

``fusion`` joins sound and a table's attributes, ``fusion-genres`` the dataset's genres beside, and
``fusion-estimated`` is the source's: sound, attributes that were estimated from it, and genres.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.branches import JoinedBranches
from cs_keras.models import MODEL_FILES, check_key
from cs_keras.models.spaces import DENSE, DROPOUT, draw, training_space
from cs_keras.models.spec import Baseline, TrainingConfig, dense_head

N_NUMBERS = 512  # of a branch's vector: what `build` assumes, where no branch is trained
JOINED = "branches"  # name of the layer that joins them


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the branches and of what joins them.

    Attributes
    ----------
    branches
        Model keys. Each is trained as in a run of its own with the same settings, and with this one's seed, share
        of the train tracks and execution.
    branch_settings
        By model key, settings of that branch where they are to be others than those of its own run:
        ``--set models.fusion.model.branch_settings.cnn-bn.training.epochs=10``.
    branch_dropout
        Chance of each branch to be hidden from a training example; one is always left.
    dense, dropout
        Neurons of each hidden layer of the head, and the share of their outputs dropped in training.
    """

    branches: tuple[str, ...] = ("cnn-bn", "attributes")
    branch_settings: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    branch_dropout: float = 0.2
    dense: tuple[int, ...] = (512,)
    dropout: float = 0.5
    regressor: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        for key in self.branches:
            check_key(key)
        kinds = [MODEL_FILES[key] for key in self.branches]
        if len(set(self.branches)) < max(2, len(self.branches)) or "fusion" in kinds:
            raise ConfigError(
                "model.branches must name at least two models, no two alike, that are no fusions themselves. "
                f"Received: {', '.join(self.branches) or 'none'}."
            )
        for key in self.branch_settings:
            if key not in self.branches:
                raise ConfigError(
                    f"model.branch_settings must be of {', '.join(self.branches)}. Received: {key!r}."
                )
        for n in self.dense:
            check_range("model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        check_range("model.branch_dropout", self.branch_dropout, 0, 0.95)


_TRAINING = TrainingConfig(
    loss="cosine",
    learning_rate=1e-3,
    epsilon=1e-7,
    schedule="constant",
    batch_size=256,
    epochs=200,
    patience=10,
)
_BRANCHES = {
    "fusion": ("cnn-bn", "attributes"),
    "fusion-genres": ("cnn-bn", "attributes", "genre-label"),
    "fusion-estimated": ("cnn-bn", "estimated-attributes", "genre-label"),
}
VARIANTS = {
    key: Baseline(key, Config(branches), _TRAINING, procedure="fusion") for key, branches in _BRANCHES.items()
}


def build_head(baseline: Baseline, n_factors: int, widths: Sequence[int]) -> keras.Model:
    """Return (batch, sum(widths) + len(widths)) vectors of branches and flags to (batch, n_factors) scaled factors.

    See `cs_keras.layers.branches.JoinedBranches` for its input.
    """
    config: Config = baseline.model
    joined = keras.Input((sum(widths) + len(widths),), name="vectors")
    x = JoinedBranches(widths, config.branch_dropout, name=JOINED)(joined)
    return keras.Model(joined, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def adapt(head: keras.Model, train: npt.NDArray[np.float32]) -> None:
    """Standardise each branch by the train tracks that have it; `train` is an input of `head`."""
    layer = head.get_layer(JOINED)
    ends = np.cumsum([0, *layer.widths])
    mean, scale = (np.zeros(ends[-1], np.float32) for _ in range(2))
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        own = train[train[:, ends[-1] + number] > 0, start:end]
        if len(own):
            mean[start:end] = own.mean(axis=0, dtype=np.float64)
            # Rounding of a mean is no variation; column by column, as float64 of all would be twice their size.
            scale[start:end] = [column.std(dtype=np.float64) if np.ptp(column) else 0 for column in own.T]
    layer.set_statistics(mean, scale)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Return the head for branches of `N_NUMBERS` numbers each; it takes no sound, so `audio` does not matter."""
    return build_head(baseline, n_factors, [N_NUMBERS] * len(baseline.model.branches))


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Return settings drawn from `hp` (keras_tuner.HyperParameters) as changes of `baseline`, the default point."""
    options = {"dense": DENSE, "dropout": DROPOUT, "branch_dropout": (0.0, 0.1, 0.2, 0.3, 0.5)}
    return {"model": draw(hp, "model", options, baseline.model), "training": training_space(hp, baseline)}
