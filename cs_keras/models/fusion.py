"""Late fusion: last hidden layers of several networks to factors. Nieto 2017, Oramas 2017.

Each branch is a baseline, trained on the factors by itself and then frozen. A track's vector is the output of its
last hidden layer, averaged over the track's sequences if the branch takes audio; the vectors of all branches are
concatenated, and a head with one hidden layer leads from them to factors. The source reports a cosine distance of
0.19 for audio with estimated attributes, 0.16 with genres in addition, and 0.21 for audio alone. It trained the
head as its attribute network: cosine distance, Adam, dropout 0.5, batches of 256, early stopping. It does not give
the size of the layer; 512 is ours, as are ELU and the other choices common to all baselines here.

Ours also handles tracks that lack the input of a branch: its vector is then 0 and a flag is set. Branch dropout
during training (`cs_keras.layers.branches`) makes the head robust to that.

``fusion`` joins audio and the attributes of a table, ``fusion-genres`` adds the dataset's genres, and
``fusion-estimated`` is the source's: audio, attributes estimated from it, and genres.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.branches import JoinedBranches
from cs_keras.models import attributes, check_key, get_baseline
from cs_keras.models.blocks import dense_head
from cs_keras.models.declaration import FUSION, ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, draw, training_space
from cs_keras.models.spec import Baseline

N_NUMBERS = 512  # of a branch's vector: `build` assumes as many, before branches are trained
JOINED = "branches"  # name of the layer that joins them


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of branches and head.

    Attributes
    ----------
    branches
        Model keys. Each branch is trained as in a run of its own, with the seed, the train fraction and the
        execution settings of the fusion.
    branch_settings
        By model key, settings of a branch that differ from those of its own run:
        ``--set models.fusion.model.branch_settings.cnn-bn.training.epochs=10``.
    branch_dropout
        Probability that a branch is dropped from a training example; at least one is left.
    dense, dropout
        Units of each hidden layer of the head, and the dropout rate after it.
    """

    branches: tuple[str, ...] = ("cnn-bn", "attributes")
    branch_settings: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    branch_dropout: float = 0.2
    dense: tuple[int, ...] = (512,)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for key in self.branches:
            check_key(key)
        procedures = [get_baseline(key).procedure for key in self.branches]
        is_nested = any(one.is_fusion or one.takes_artists for one in procedures)
        if is_nested or len(set(self.branches)) < max(2, len(self.branches)):
            raise ConfigError(
                "model.branches must name at least two distinct models that are neither fusions nor of artists. "
                f"Received: {', '.join(self.branches) or 'none'}."
            )
        for key in self.branch_settings:
            if key not in self.branches:
                raise ConfigError(
                    f"model.branch_settings must name one of {', '.join(self.branches)}. Received: {key!r}."
                )
        for n in self.dense:
            check_range("model.dense", n, 1)
        check_range("model.dropout", self.dropout, 0, 0.95)
        check_range("model.branch_dropout", self.branch_dropout, 0, 0.95)


_BRANCHES = {
    "fusion": ("cnn-bn", "attributes"),
    "fusion-genres": ("cnn-bn", "attributes", "genre-label"),
    "fusion-estimated": ("cnn-bn", "estimated-attributes", "genre-label"),
}
VARIANTS = {
    key: Baseline(key, Config(branches), attributes.TRAINING, procedure=FUSION)
    for key, branches in _BRANCHES.items()
}


def build_head(baseline: Baseline, n_factors: int, widths: Sequence[int]) -> keras.Model:
    """Build the head from vectors of branches, with widths `widths`, to scaled factors, (batch, n_factors).

    Its input has shape (batch, sum(widths) + len(widths)); see `cs_keras.layers.branches.JoinedBranches`.
    """
    config: Config = baseline.model
    joined = keras.Input((sum(widths) + len(widths),), name="vectors")
    x = JoinedBranches(widths, config.branch_dropout, name=JOINED)(joined)
    return keras.Model(joined, dense_head(x, config.dense, n_factors, config.dropout), name=baseline.key)


def adapt(head: keras.Model, train: npt.NDArray[np.float32]) -> None:
    """Fit the standardisation of each branch to the train tracks that have it; `train` is an input of `head`."""
    layer = head.get_layer(JOINED)
    ends = np.cumsum([0, *layer.widths])
    mean, scale = (np.zeros(ends[-1], np.float32) for _ in range(2))
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        own = train[train[:, ends[-1] + number] > 0, start:end]
        if len(own):
            mean[start:end] = own.mean(axis=0, dtype=np.float64)
            # A constant column has scale 0 despite rounding; one column at a time to save memory in float64.
            scale[start:end] = [column.std(dtype=np.float64) if np.ptp(column) else 0 for column in own.T]
    layer.set_statistics(mean, scale)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the head for branches of `N_NUMBERS` numbers each; `audio` is not used."""
    return build_head(baseline, n_factors, [N_NUMBERS] * len(baseline.model.branches))


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    options = {"dense": DENSE, "dropout": DROPOUT, "branch_dropout": (0.0, 0.1, 0.2, 0.3, 0.5)}
    return {"model": draw(hp, "model", options, baseline.model), "training": training_space(hp, baseline)}
