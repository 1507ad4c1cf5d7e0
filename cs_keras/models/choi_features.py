"""The whole music tagger of Choi et al. 2017 as a feature extractor that is not trained, and a regressor on it.

The features are those of the paper (arXiv 1703.09179, section 3): the 32 maps of each of five layers, averaged over
frequency and time, 160 numbers; `choi_weights` describes the differences between the two published generations of
weights. The paper fed them to support vector machines, as ``model.regressor=svm`` does; dense layers are the
default.

The tagger was trained on audio at 12 kHz, window 512, hop 256. A dataset with these settings gives it exactly that
(``model.own_audio=true`` refuses others). For any other dataset the same 96 mel bands up to 6 kHz are computed from
its magnitudes; at the default 22,050 Hz, window 1024 and hop 512, bins are 21.5 Hz apart instead of 23.4, and
frames 23.2 ms instead of 21.3.
"""

import dataclasses
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.front_end import FrontEndConfig, mel_spectrogram
from cs_keras.layers.waveform import audio_input
from cs_keras.models import choi_weights
from cs_keras.models.choi_weights import EPSILON, FILTERS, POOL_FRAMES, POOL_MELS, Block, read_tagger
from cs_keras.models.declaration import FEATURES
from cs_keras.models.regressors import (
    RegressorConfig,
    adapt,
    join_stages,
    regressor_space,
    standardised_regressor,
)
from cs_keras.models.spec import Baseline, TrainingConfig

N_FEATURES = 5 * FILTERS

__all__ = ["VARIANTS", "Config", "adapt", "build", "build_stages", "search_space"]  # a `StagedModelFile`


@dataclasses.dataclass(frozen=True)
class Config(RegressorConfig):
    """Settings of the extractor and the regressor.

    Attributes
    ----------
    weights
        Path of a file with the tagger's weights, of either generation; ``none`` for random ones.
    own_audio
        Whether to refuse datasets with other audio settings than the tagger's own.
    """

    dense: tuple[int, ...] = (1024, 1024, 512)
    weights: str | None = None
    own_audio: bool = False

    def notes(self, baseline: Baseline) -> tuple[str, ...]:
        """Say that features are those of random convolutions where they are."""
        if self.weights is not None:
            return ()
        return (
            f"no pretrained tagger was given (models.{baseline.key}.model.weights): its features are those of "
            "random convolutions",
        )


_FEATURES = Baseline(
    "choi-features",
    Config(),
    TrainingConfig(epochs=50),
    SequenceConfig(frames=choi_weights.FRAMES),
    FrontEndConfig(n_mels=choi_weights.N_MELS, f_max=choi_weights.F_MAX, order="mel_db"),
    procedure=FEATURES,
)
VARIANTS = {
    "choi-features": _FEATURES,
    "choi-best": dataclasses.replace(  # see docs/what-works.md
        _FEATURES,
        key="choi-best",
        model=Config(regressor="ridge", penalty=300.0),
        sequence=SequenceConfig(frames=344),
    ),
}


def build_features(baseline: Baseline, audio: AudioConfig) -> keras.Model:
    """Build the frozen extractor from audio, (batch, frames, frame_size), to features, (batch, 160), float32.

    The features of a sequence do not depend on the rest of its batch.
    """
    config: Config = baseline.model
    if config.own_audio:
        check_audio(audio, baseline.key)
    tagger = read_tagger(config.weights) if config.weights is not None else None
    generation = tagger.generation if tagger else "keras2"
    inputs, magnitude = audio_input(baseline.sequence.frames, audio)
    x = tagger_spectrogram(magnitude, baseline.front_end, audio)
    if generation == "keras2":
        x = keras.layers.GroupNormalization(
            1, epsilon=1e-10, center=False, scale=False, dtype="float32", name="clip"
        )(x)
    means = []
    for number, pool in enumerate(zip(POOL_FRAMES, POOL_MELS, strict=True), 1):
        x = keras.layers.Conv2D(
            FILTERS, 3, padding="same", kernel_initializer="he_normal", name=f"conv_{number}"
        )(x)
        if generation == "keras1":
            x = keras.layers.GroupNormalization(-1, epsilon=EPSILON, name=f"norm_{number}")(x)
        else:
            x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"norm_{number}")(x)
        x = maps = keras.layers.Activation("elu", name=f"elu_{number}")(x)
        # Input shorter than the tagger's 29 s has too few frames for the last pools: these shrink.
        size = [min(p, n) for p, n in zip(pool, x.shape[1:3], strict=True)]
        x = keras.layers.MaxPooling2D(size, name=f"pool_{number}")(x)
        mean = keras.layers.GlobalAveragePooling2D(dtype="float32", name=f"mean_{number}")
        means.append(mean(x if generation == "keras1" else maps))
    features = keras.layers.Concatenate(dtype="float32", name="features")(means)
    model = keras.Model(inputs, features, name=f"{baseline.key}_features")
    for number, block in enumerate(tagger.blocks if tagger else (), 1):
        model.get_layer(f"conv_{number}").set_weights([block.kernel, block.bias])
        model.get_layer(f"norm_{number}").set_weights(_norm_weights(block))
    model.trainable = False
    return model


def tagger_spectrogram(magnitude: Any, config: FrontEndConfig, audio: AudioConfig) -> Any:
    """Compute decibels of mel bands of power, relative to the maximum of each sequence.

    From shape (batch, frames, n_bins) to (batch, frames, n_mels, 1), float32, -80 to 0 at the default range.
    """
    level_db = mel_spectrogram(keras.ops.square(magnitude), config, audio)
    return level_db - keras.ops.max(level_db, axis=(1, 2, 3), keepdims=True)


def build_regressor(baseline: Baseline, n_factors: int) -> keras.Model:
    """Build the regressor from standardised features, (batch, 160), to scaled factors, (batch, n_factors)."""
    return standardised_regressor(baseline, N_FEATURES, n_factors)


def build_stages(baseline: Baseline, n_factors: int, audio: AudioConfig) -> tuple[keras.Model, ...]:
    """Build the two models that `build` joins, extractor and regressor."""
    return build_features(baseline, audio), build_regressor(baseline, n_factors)


def build(baseline: Baseline, n_factors: int, audio: AudioConfig) -> keras.Model:
    """Build the whole model."""
    return join_stages(baseline.key, *build_stages(baseline, n_factors, audio))


def check_audio(audio: AudioConfig, key: str) -> None:
    """Raise ConfigError unless `audio` has the sample rate, window and hop that the tagger was trained on."""
    own = choi_weights.AUDIO
    if dataclasses.replace(audio, mixdown=own.mixdown, content=own.content) != own:
        raise ConfigError(
            f"models.{key}.model.own_audio needs a dataset at {own.sample_rate} Hz, {own.window} window "
            f"{own.n_fft}, hop {own.hop_length} (cs-keras ingest AUDIO --tracks tracks.csv --out DATASET "
            f"--sample-rate {own.sample_rate} --n-fft {own.n_fft} --hop-length {own.hop_length}). "
            f"Received: {audio.sample_rate} Hz, {audio.window} window {audio.n_fft}, hop {audio.hop_length}."
        )


def _norm_weights(block: Block) -> list[choi_weights.Array]:
    weights = (block.gamma, block.beta, block.mean, block.variance)
    return [values for values in weights if values is not None]


def search_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw settings of the regressor from `hp`; extractor and input stay as they are."""
    model, training = regressor_space(hp, baseline)
    return {"model": model, "training": training}
