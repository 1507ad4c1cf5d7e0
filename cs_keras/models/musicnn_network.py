"""The music taggers of the PyPI package ``musicnn`` 0.1.0 (Pons & Serra 2019, arXiv 1909.06654), in Keras.

Their input are patches of 187 frames (3 s) of a log-mel spectrogram: 16 kHz, Hann window 512, hop 256, 96 mel
bands (Slaney's) of power, ``log10(10000 x + 1)``. Two networks were each trained on tags of the Million Song
Dataset (MSD) and of MagnaTagATune (MTT):

``musicnn``: convolutions as high as 40 and 70 % of the spectrogram (timbre) and as long as 128, 64 and 32 frames
(rhythm), each followed by its maximum over frequency; three convolutions over time with residual connections;
maxima and means over time of all of these; a dense layer of 200, the features; 50 tags.

``vgg``: five convolutions 3 x 3 of 128, each followed by batch norm and max-pooling; 256 features; 50 tags.

The package pins NumPy below 1.17, so only its checkpoints (TensorFlow 1) are used: ``make musicnn`` installs it
without its dependencies. The prefix of a checkpoint is its folder with a trailing slash.
"""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import DataError, StorageError
from cs_keras.layers.batch_norm import FixedStatisticsNormalization
from cs_keras.layers.front_end import mel_filterbank

Array = npt.NDArray[np.float32]

AUDIO = AudioConfig(sample_rate=16_000, n_fft=512, hop_length=256)
N_MELS = 96
FRAMES = 187  # 3 s
EPSILON = 1e-3  # of batch norm

Pools = tuple[tuple[tuple[int, int], tuple[int, int]], ...]  # sizes and strides over frames and mel bands

POOLS: dict[str, Pools] = {
    # As in its .meta file, the graph that was trained; the package's code builds that of MTT_vgg for both.
    "MSD_vgg": (((4, 1), (4, 1)), ((1, 4), (1, 4)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4))),
    "MTT_vgg": (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4))),
}
MTT_TAGS = (  # of MagnaTagATune, in the order of the outputs; those of the other dataset are Choi's tagger's
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano"),
    *("ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing"),
    *(
        "vocals",
        "no vocals",
        "harpsichord",
        "loud",
        "quiet",
        "flute",
        "woman",
        "male vocal",
        "no vocal",
        "pop",
    ),
    *("soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice"),
    *(
        "female vocal",
        "beats",
        "harp",
        "cello",
        "no voice",
        "weird",
        "country",
        "metal",
        "female voice",
        "choral",
    ),
)


def find_checkpoint(name: str, folder: Path | None = None) -> Path:
    """Return the folder of the checkpoint `name`, such as ``MSD_musicnn``.

    It is looked for in `folder`, which is the checkpoint's own or holds it; without `folder`, in the installed
    package, which is not
    imported. Raises StorageError when it is not there.
    """
    if folder is None:
        spec = importlib.util.find_spec("musicnn")
        if spec is None or spec.origin is None:
            raise StorageError(
                "The weights of musicnn are not installed: `make musicnn`, or `pip install --no-deps "
                "musicnn==0.1.0`, or name "
                f"the folder of {name} by --weights."
            )
        folder = Path(spec.origin).parent
    for found in (folder / name, folder / "musicnn" / name, folder):
        if (found / ".index").is_file():
            return found
    raise StorageError(f"{folder} holds no weights of {name}: expected {folder / name / '.index'}.")


class Checkpoint:
    """The variables of a checkpoint, taken in the order in which the package's code creates its layers."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._folder = folder
        self._counts: dict[str, int] = {}
        try:
            self._reader = tf.compat.v1.train.NewCheckpointReader(f"{folder}/")
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise StorageError(
                f"Cannot read the checkpoint {folder}: {str(error).splitlines()[0]}"
            ) from error

    def next_weights(self, layer: keras.layers.Layer, name: str = "") -> None:
        """Give `layer` the variables of the next layer of its kind, or of the layer `name`.

        DataError is raised when they do not fit.
        """
        kind, variables = _VARIABLES[type(layer)]
        number = self._counts.get(kind, 0)
        if not name:
            self._counts[kind] = number + 1
            name = f"{kind}_{number}" if number else kind
        try:
            values = [self._reader.get_tensor(f"{name}/{variable}") for variable in variables]
            if isinstance(layer, layers.Conv1D):
                values[0] = values[0].squeeze(2)
            layer.set_weights(values)
        except Exception as error:  # TensorFlow's NotFoundError, or Keras's ValueError about shapes
            raise DataError(
                f"{self._folder} does not hold the weights of this network: {name} differs."
            ) from error


_VARIABLES: dict[type, tuple[str, tuple[str, ...]]] = {
    layers.Conv1D: ("conv2d", ("kernel", "bias")),  # there the kernels of two dimensions and one channel
    layers.Conv2D: ("conv2d", ("kernel", "bias")),
    layers.Dense: ("dense", ("kernel", "bias")),
    FixedStatisticsNormalization: (
        "batch_normalization",
        ("gamma", "beta", "moving_mean", "moving_variance"),
    ),
}


def log_mel(magnitude: Any, audio: AudioConfig = AUDIO) -> Any:
    """Compute the log-mel spectrogram, shape (batch, frames, 96, 1), of magnitudes with the settings `audio`.

    Magnitudes grow with the length of the window and the logarithm depends on level, so they are scaled to those of
    the package's windows. Bands above half the sample rate are 0, as after resampling.
    """
    mel = mel_filterbank(audio, N_MELS, 0.0, AUDIO.sample_rate / 2, "mel")
    power = layers.Reshape((-1, audio.n_bins, 1), dtype="float32", name="channel")(ops.square(magnitude))
    return ops.log10(10_000.0 * (AUDIO.n_fft / audio.n_fft) ** 2 * mel(power) + 1.0)


def own_windows(audio: AudioConfig) -> AudioConfig:
    """Return `audio`, waveforms at any sample rate, with windows as long as the package's: 32 ms, every 16 ms."""
    hop = round(audio.sample_rate * AUDIO.hop_length / AUDIO.sample_rate)
    return dataclasses.replace(audio, n_fft=2 * hop, hop_length=hop)


def build_network(name: str, checkpoint: Path | None = None, frames: int = FRAMES) -> keras.Model:
    """Build the network `name`, such as ``MSD_musicnn`` or ``MTT_vgg``, from patches, (batch, frames, 96, 1).

    ``vgg`` takes patches of `FRAMES`, ``musicnn`` of any number. Batch norms of a checkpoint keep their statistics,
    also where the network is trained.

    Its outputs by name: ``features``, shape (batch, 200) or for vgg (batch, 256), and ``tags``, (batch, 50),
    probabilities in the order of `cs_keras.models.choi_tagger.TAGS`, or of `MTT_TAGS`. Without `checkpoint`,
    weights are random. Raises StorageError or DataError when weights cannot be read.
    """
    is_vgg = name.endswith("vgg")
    inputs = keras.Input((frames, N_MELS, 1), name="log_mel")
    norm = FixedStatisticsNormalization if checkpoint else layers.BatchNormalization
    features, tags, order = _vgg(inputs, POOLS[name], norm) if is_vgg else _musicnn(inputs, norm)
    network = keras.Model(inputs, {"features": features, "tags": tags}, name=name)
    if checkpoint is not None:
        reader = Checkpoint(checkpoint)
        for layer in order:
            is_named = is_vgg and isinstance(layer, layers.Conv2D)
            reader.next_weights(layer, layer.name.removeprefix("conv_") + "CNN" if is_named else "")
    return network


def _musicnn(x: Any, norm: type[keras.layers.Layer]) -> tuple[Any, Any, list[keras.layers.Layer]]:
    order: list[keras.layers.Layer] = []

    def add(layer: keras.layers.Layer, x: Any) -> Any:
        order.append(layer)
        return layer(x)

    def convolve(x: Any, filters: int, size: tuple[int, int], padding: str = "valid") -> Any:
        x = add(layers.Conv2D(filters, size, padding=padding, activation="relu"), x)
        return add(norm(epsilon=EPSILON), x)

    scaling = norm(epsilon=EPSILON)
    # Kernels and biases that follow can learn its scale and shift. Gradients with respect to the input of those
    # kernels, which have one channel, would take most of a training step.
    scaling.trainable = False
    x = add(scaling, x)
    padded = layers.ZeroPadding2D((3, 0))(x)  # "same" in time only
    fronts = [convolve(padded, 204, (7, height)) for height in (38, 67)]
    fronts += [convolve(x, 51, (length, 1), "same") for length in (128, 64, 32)]
    front = ops.concatenate([ops.max(maps, axis=2) for maps in fronts], axis=2)  # (batch, frames, 561)
    ends, total = [front], front
    for number in range(3):
        # One dimension instead of two, of which kernels cover the second: the same sums, faster gradients.
        maps = add(layers.Conv1D(64, 7, padding="same", activation="relu"), total)
        maps = add(norm(epsilon=EPSILON), maps)
        total = maps if number == 0 else maps + total
        ends.append(total)
    x = ops.concatenate(ends, axis=2)  # (batch, frames, 753)
    pooled = ops.reshape(ops.stack([ops.max(x, axis=1), ops.mean(x, axis=1)], axis=2), (-1, 2 * x.shape[2]))
    x = add(norm(epsilon=EPSILON), pooled)
    x = add(layers.Dense(200, "relu"), layers.Dropout(0.5)(x))
    features = add(norm(epsilon=EPSILON), x)
    return features, add(layers.Dense(50, "sigmoid"), layers.Dropout(0.5)(features)), order


def _vgg(x: Any, pools: Pools, norm: type[keras.layers.Layer]) -> tuple[Any, Any, list[keras.layers.Layer]]:
    first = norm(epsilon=EPSILON)
    x, order = first(x), [first]
    for number, (size, strides) in enumerate(pools, 1):
        convolution = layers.Conv2D(128, 3, padding="same", activation="relu", name=f"conv_{number}")
        after = norm(epsilon=EPSILON)
        x = layers.MaxPooling2D(size, strides)(after(convolution(x)))
        order += [convolution, after]
        if number < len(pools):
            x = layers.Dropout(0.25)(x)
    features = layers.Flatten()(x)
    tags = layers.Dense(50, "sigmoid")
    return features, tags(layers.Dropout(0.5)(features)), [*order, tags]
