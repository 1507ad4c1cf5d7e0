"""An embedding trained on triplets, then a regression from it: sections 5.5 and 6.5 of the reference thesis.

A small convolutional network maps a sequence to a point on the unit sphere, so that tracks with similar factors
lie close (Schroff, Kalenichenko & Philbin 2015, "FaceNet"); dense layers map the point to factors. Losses and
mining are in `cs_keras.training.triplets.mining`.

By its parameter counts the thesis's embedding has 32 kernels in each convolution and no hidden dense layer, and
its regressor takes 384 numbers: the concatenated embeddings of anchor, positive and negative, which leaves a batch
norm over 384 for the rest of the count. Positives and negatives are chosen by the true factors, also of test
tracks, so its input leaks the answer. Here the regressor takes the 128 numbers of the track itself, and embeddings
have unit length instead of a batch norm, so that a prediction depends on its track alone.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import check_choice, check_range
from cs_keras.errors import ConfigError
from cs_keras.layers.waveform import audio_input
from cs_keras.models.blocks import dense_head, input_spectrogram
from cs_keras.models.declaration import TRIPLET, ModelConfig
from cs_keras.models.spaces import DENSE, DROPOUT, draw, draw_pools, shared_space
from cs_keras.models.spec import AugmentConfig, Baseline, TrainingConfig, check_pools

MINING = ("offline", "semi_hard", "batch_hard")
_POOLS = (  # searched: frames x mels of each block
    ((2, 2), (2, 2), (1, 1)),
    ((4, 4), (4, 4)),
    ((2, 2), (4, 2), (2, 2)),
    ((2, 2), (4, 2), (2, 2), (2, 2)),
)


@dataclasses.dataclass(frozen=True)
class Config(ModelConfig):
    """Settings of both networks and of the triplets.

    Attributes
    ----------
    filters
        Filters of every convolution.
    pool_frames, pool_mels
        Max-pooling of each block, over time and over mel bands: one number per block.
    n_dimensions
        Dimensions of the embedding.
    margin
        Margin of the triplet loss, in squared distance, which ranges from 0 to 4.
    mining
        ``offline``: triplets are drawn before training by distance of factors; ``semi_hard`` or ``batch_hard``:
        they are mined in each batch by distance of embeddings.
    n_nearest, n_farthest
        Numbers of nearest and farthest tracks from which offline mining draws positives and negatives.
    embedding_epochs, embedding_batch_size
        Epochs of the embedding, and sequences per batch; with offline mining, anchors per batch, each with a
        positive and a negative.
    micro_batch
        Sequences in one forward pass when a batch is larger (gradient caching): memory does not limit the batch,
        at the price of a second forward pass.
    dense, dropout
        Units of each hidden dense layer of the regressor, and the dropout rate after it.
    """

    filters: int = 32
    pool_frames: tuple[int, ...] = (2, 2, 1)
    pool_mels: tuple[int, ...] = (2, 2, 1)
    n_dimensions: int = 128
    margin: float = 0.4
    mining: str = "offline"
    n_nearest: int = 20
    n_farthest: int = 500
    embedding_epochs: int = 2
    embedding_batch_size: int = 32
    micro_batch: int = 96
    dense: tuple[int, ...] = (1024, 1024, 512)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("model.mining", self.mining, MINING)
        check_range("model.dropout", self.dropout, 0, 0.95)
        check_range("model.embedding_batch_size", self.embedding_batch_size, 3)
        if not 0 < self.margin <= 4:
            raise ConfigError(f"model.margin must be above 0 and at most 4. Received: {self.margin}.")
        at_least_one = "filters", "n_dimensions", "n_nearest", "n_farthest", "embedding_epochs", "micro_batch"
        for name in at_least_one:
            check_range(f"model.{name}", getattr(self, name), 1)
        check_pools(self)


_TRIPLET = Baseline("triplet", Config(), TrainingConfig(epochs=50), procedure=TRIPLET)
VARIANTS = {
    "triplet": _TRIPLET,
    "triplet-best": dataclasses.replace(  # see docs/what-works.md
        _TRIPLET, key="triplet-best", augment=AugmentConfig(n_time_masks=2, n_mel_masks=2)
    ),
}


def build_embedding(baseline: Baseline, audio: AudioConfig) -> keras.Model:
    """Build the network from audio, (batch, frames, frame_size), to unit embeddings, (batch, n_dimensions).

    It neither looks across the batch nor, without augmentation, draws at random, as gradient caching requires.
    """
    config: Config = baseline.model
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    x = input_spectrogram(magnitude, baseline, audio)
    for number, pool in enumerate(zip(config.pool_frames, config.pool_mels, strict=True), 1):
        x = keras.layers.Conv2D(
            config.filters, 3, padding="same", kernel_initializer="he_normal", name=f"conv_{number}"
        )(x)
        x = keras.layers.Activation("elu", name=f"elu_{number}")(x)
        x = keras.layers.MaxPooling2D(pool, padding="same", name=f"pool_{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(
        config.n_dimensions, kernel_initializer="he_normal", dtype="float32", name="coordinates"
    )(x)
    x = keras.layers.UnitNormalization(dtype="float32", name="embedding")(x)
    return keras.Model(inputs, x, name=f"{baseline.key}_embedding")


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Build the regressor from embeddings, (batch, n_dimensions), to scaled factors, (batch, n_factors)."""
    config: Config = baseline.model
    embedding = keras.Input((config.n_dimensions,), name="embedding")
    return keras.Model(
        embedding,
        dense_head(embedding, config.dense, n_factors, config.dropout),
        name=f"{baseline.key}_regressor",
    )


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model."""
    inputs = keras.Input((baseline.sequence.frames, audio.frame_size), name=audio.content)
    embedding = build_embedding(baseline, audio)(inputs)
    return keras.Model(inputs, build_regressor(baseline, n_factors)(embedding), name=baseline.key)


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of network, training and input from `hp`."""
    start = baseline.model
    options = {
        "filters": (16, 32, 64),
        "n_dimensions": (64, 128, 256),
        "margin": (0.1, 0.2, 0.4, 0.6, 1.0),
        "mining": MINING,
        "embedding_epochs": (2, 5, 10),
        "dense": DENSE,
        "dropout": DROPOUT,
    }
    model = draw_pools(hp, _POOLS, start) | draw(hp, "model", options, start)
    with hp.conditional_scope("model.mining", ["offline"]):
        model |= draw(hp, "model", {"n_nearest": (5, 20, 50), "n_farthest": (100, 500, 2000)}, start)
    # At most one micro-batch: gradient caching excludes augmentation.
    with hp.conditional_scope("model.mining", ["semi_hard", "batch_hard"]):
        model |= draw(hp, "model", {"embedding_batch_size": (32, 64, 96)}, start)
    return {"model": model, **shared_space(hp, baseline)}
