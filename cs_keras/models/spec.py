"""What every baseline declares: its settings, its input, and how it is trained."""

import dataclasses
import math
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import OMIT_IF_DEFAULT, check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.augmentation import RandomGain, SpectrogramMasks, TimeStretch
from cs_keras.layers.front_end import FrontEndConfig, mel_spectrogram

LOSSES = ("mse", "unit_mse", "cosine", "wpe")
OPTIMIZERS = ("adam", "nesterov")
SCHEDULES = ("inverse_time", "constant", "cosine", "step")
FIXED_FEATURES = ("codebook", "ranking", "features", "kernels")  # procedures that compute what they hear once
WHOLE_TRACKS = ("codebook", "ranking")  # procedures whose models pool over time themselves
POOLED_BETWEEN = ("estimated_attributes",)  # whose second stage takes the mean over sequences of the first
ANY = "any"
NEEDS = {"attributes": "attributes", "genres": "genres", "fusion": ANY}  # of procedures that need not hear


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a network is fitted; the defaults are those of the reference thesis (Pohl 2019, section 5.2.1).

    Attributes
    ----------
    loss
        ``mse`` or ``cosine``, on scaled factors; ``unit_mse``, the first with all tracks' factors brought to one
        length before they are scaled, since popularity is in the length (Dieleman 2014); or ``wpe``, the weighted
        prediction error (van den Oord et al. 2013), which asks how well predicted factors explain the listening
        itself.
    optimizer
        ``adam``; or ``nesterov``, gradient descent with Nesterov's momentum.
    learning_rate
        Of either.
    beta_1, beta_2, epsilon
        Of ``adam``.
    momentum
        Of ``nesterov``.
    schedule
        Of the learning rate: ``inverse_time``, ``learning_rate / (1 + decay * t)`` at step t; ``constant``;
        ``cosine``, from `learning_rate` to 0 at the last step of `epochs`; or ``step``, multiplied by `step_factor`
        after every `step_epochs`.
    decay
        Of ``inverse_time``.
    step_epochs, step_factor
        Of ``step``.
    warmup
        Share of all steps over which the rate first rises from 0, in a straight line.
    ema
        Momentum of an exponential moving average of the weights; what is validated and kept is the average. 0 for
        none.
    l2
        Penalty on the squares of all kernels that are trained, added to the loss that is minimised (not to the one
        that is told): ``l2 * sum(w**2)``.
    batch_size
        Sequences in a batch.
    epochs
        At most so many passes.
    patience
        Stop after this many epochs without a lower validation loss; 0 never stops early.
    extra_factors
        Names of further factors of the dataset, such as those of another rank or another algorithm, which a network
        learns beside its own and which are cut off what it predicts (Dieleman 2014).
    """

    loss: str = "mse"
    optimizer: str = dataclasses.field(default="adam", metadata=OMIT_IF_DEFAULT)
    learning_rate: float = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    momentum: float = dataclasses.field(default=0.9, metadata=OMIT_IF_DEFAULT)
    schedule: str = "inverse_time"
    decay: float = 1e-8
    step_epochs: int = 10
    step_factor: float = 0.1
    warmup: float = 0.0
    ema: float = 0.0
    l2: float = 0.0
    batch_size: int = 32
    epochs: int = 5
    patience: int = 5
    extra_factors: tuple[str, ...] = dataclasses.field(default=(), metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        check_choice("training.loss", self.loss, LOSSES)
        check_choice("training.optimizer", self.optimizer, OPTIMIZERS)
        check_choice("training.schedule", self.schedule, SCHEDULES)
        check_range("training.batch_size", self.batch_size, 1)
        check_range("training.epochs", self.epochs, 1)
        check_range("training.patience", self.patience, 0)
        check_range("training.decay", self.decay, 0)
        check_range("training.step_epochs", self.step_epochs, 1)
        check_range("training.l2", self.l2, 0)
        for name in ("learning_rate", "epsilon", "step_factor"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"training.{name} must be a finite number above 0. Received: {getattr(self, name)}."
                )
        for name in ("beta_1", "beta_2", "momentum", "warmup", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"training.{name} must be at least 0 and below 1. Received: {getattr(self, name)}."
                )


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How training varies what a network hears; the thesis did not, and prediction never does.

    Attributes
    ----------
    gain_db
        Each sequence is amplified by at most this, or by as much attenuated; 0 for not at all.
    time_stretch
        Each sequence is made slower or faster by at most this share, its pitch kept; 0 for not at all.
    n_time_masks, max_time_frames
        Stretches of time hidden in each mel spectrogram (SpecAugment), and frames that each hides at most.
    n_mel_masks, max_mels
        Ranges of frequency hidden, and mel bands that each hides at most.
    """

    gain_db: float = 0.0
    time_stretch: float = dataclasses.field(default=0.0, metadata=OMIT_IF_DEFAULT)
    n_time_masks: int = 0
    max_time_frames: int = 32
    n_mel_masks: int = 0
    max_mels: int = 16

    def __post_init__(self) -> None:
        check_range("augment.gain_db", self.gain_db, 0, 60)
        check_range("augment.time_stretch", self.time_stretch, 0, 0.5)
        check_range("augment.n_time_masks", self.n_time_masks, 0, 100)
        check_range("augment.n_mel_masks", self.n_mel_masks, 0, 100)
        check_range("augment.max_time_frames", self.max_time_frames, 1)
        check_range("augment.max_mels", self.max_mels, 1)

    @property
    def is_on(self) -> bool:
        """Whether anything is varied."""
        return bool(self.gain_db or self.time_stretch or self.n_time_masks or self.n_mel_masks)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """One row of the result tables: a model's own settings with all that it is trained on and by.

    Attributes
    ----------
    key
        Name on the command line.
    model
        The ``Config`` of the model's file.
    training, sequence, front_end
        Settings of the fit, the input and the decibel mel spectrogram.
    procedure
        ``regression``: sequences to factors, a track's prediction the mean over its sequences; ``codebook``:
        a codebook of frames, then a regression from whole tracks' histograms; ``ranking``: the same, from places
        under a metric that is learnt from histograms; ``features``: features of sequences
        from a network that is not trained, then a regression from them; ``kernels``: the same, with kernels that
        are found in the sound of train tracks first; ``triplet``: an embedding of sequences, trained on triplets,
        then a regression from it; ``attributes`` and ``genres``: a regression from one vector a track, made of
        what a table or the dataset itself says about it; ``genre_space``: a classifier of sequences, trained on
        genres, then a regression from its probabilities; ``fusion``: other baselines, then a regression from what
        their last hidden layers say; ``estimated_attributes``: a network that hears, trained on the attributes of a
        table, then a regression from what it estimates.
    augment
        How training varies the input of networks that are trained on it.
    """

    key: str
    model: Any
    training: TrainingConfig = TrainingConfig()
    sequence: SequenceConfig = SequenceConfig()
    front_end: FrontEndConfig = FrontEndConfig()
    procedure: str = "regression"
    augment: AugmentConfig = AugmentConfig()

    @property
    def needs(self) -> str:
        """What a track must have to be predicted: ``sound``, ``attributes`` of a table, ``genres``, or ``any``.

        The last is for models of several branches: what one of them needs.
        """
        return NEEDS.get(self.procedure, "sound")

    @property
    def learns_genres(self) -> bool:
        """Whether train tracks must have genres, of which a track to be predicted needs none."""
        return self.procedure == "genre_space"

    @property
    def learns_attributes(self) -> bool:
        """Whether train tracks must have attributes of a table, of which a track to be predicted needs none."""
        return self.procedure == "estimated_attributes"

    @property
    def branches(self) -> tuple[str, ...]:
        """Keys of other baselines that are trained first; see `pipelines.training.procedures.branches`."""
        return tuple(getattr(self.model, "branches", ()))

    def __post_init__(self) -> None:
        if self.augment.is_on and (self.procedure in FIXED_FEATURES or self.needs != "sound"):
            hears = "hears is computed once" if self.needs == "sound" else "takes in has no sound"
            raise ConfigError(
                "augment varies what a network hears while it is trained, and what "
                f"{self.key} {hears}; set it for other models only (--set models.KEY.augment...)."
            )
        regressor = getattr(self.model, "regressor", "dense")
        if regressor != "dense" and self.training.loss != "mse":
            raise ConfigError(
                f"training.loss must be mse with model.regressor = {regressor}, which minimises an error of its "
                f"own. Received: {self.training.loss}."
            )


def architecture(baseline: Baseline) -> Baseline:
    """Return `baseline` without weights that were trained elsewhere, so that it builds anywhere."""
    if getattr(baseline.model, "weights", None) is None:
        return baseline
    return dataclasses.replace(baseline, model=dataclasses.replace(baseline.model, weights=None))


def required_audio(baseline: Baseline, audio: AudioConfig | None = None) -> AudioConfig:
    """Return `audio`, or the default, as `baseline` needs it: of waveforms, if it hears samples."""
    audio = audio or AudioConfig()
    if not getattr(baseline.model, "needs_waveforms", False):
        return audio
    return dataclasses.replace(audio, content="waveform")


def require_waveforms(baseline: Baseline, audio: AudioConfig) -> None:
    """Raise ConfigError when `baseline` hears samples and `audio` says that a dataset holds none."""
    if required_audio(baseline, audio) != audio:
        raise ConfigError(
            f"{baseline.key} hears samples, and the dataset holds magnitudes; make one of waveforms (cs-keras "
            "ingest --waveforms, or demo-data --waveforms)."
        )


def trainable_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters of `model`."""
    return sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)


def stored_bytes(model: keras.Model) -> int:
    """Return about how many bytes `model` takes on disk, with its optimiser if it is compiled."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else [])]
    return sum(int(v.shape.num_elements()) * 4 for v in variables) + 1_000_000


def input_spectrogram(magnitude: Any, baseline: Baseline, audio: AudioConfig) -> Any:
    """Return the decibel mel spectrogram of magnitude frames, varied in training as ``baseline.augment`` says.

    Parameters
    ----------
    magnitude
        Keras tensor, shape (batch, frames, n_bins).
    baseline, audio
        Bands, range, order and augmentation; and what the magnitudes were made with.

    Returns
    -------
    KerasTensor
        Shape (batch, frames, n_mels, 1), float32; see `cs_keras.layers.front_end.mel_spectrogram`, also for errors.
    """
    augment = baseline.augment
    x = RandomGain(augment.gain_db, name="gain")(magnitude) if augment.gain_db else magnitude
    x = TimeStretch(augment.time_stretch, name="time_stretch")(x) if augment.time_stretch else x
    return hide_stretches(mel_spectrogram(x, baseline.front_end, audio), augment)


def hide_stretches(x: Any, augment: AugmentConfig) -> Any:
    """Return `x`, shape (batch, frames, n_mels, 1), with the masks that `augment` names."""
    if not augment.n_time_masks and not augment.n_mel_masks:
        return x
    return SpectrogramMasks(
        augment.n_time_masks, augment.max_time_frames, augment.n_mel_masks, augment.max_mels, name="masks"
    )(x)


TIME_POOLING = ("flatten", "mean_max")


def pool_over_time(x: Any, kind: str) -> Any:
    """Return one vector for each sequence of steps.

    Parameters
    ----------
    x
        Keras tensor, shape (batch, steps, n).
    kind
        ``flatten``: every step's numbers side by side, as the reference thesis; ``mean_max``: each number's mean
        and maximum over the steps, so that it does not matter when something is heard (Dieleman 2014).

    Returns
    -------
    KerasTensor
        Shape (batch, steps * n) or (batch, 2 * n).
    """
    if kind == "flatten":
        return keras.layers.Flatten(name="flatten")(x)
    mean = keras.layers.GlobalAveragePooling1D(name="mean_over_time")(x)
    most = keras.layers.GlobalMaxPooling1D(name="max_over_time")(x)
    return keras.layers.Concatenate(name="pooled_over_time")([mean, most])


def dense_head(x: Any, units: tuple[int, ...], n_factors: int, dropout: float = 0.0) -> Any:
    """Return dense layers (ELU, he_normal) and the output layer, which starts at zero: the mean of scaled factors.

    Parameters
    ----------
    x
        Keras tensor, shape (batch, n).
    units
        Neurons of each hidden layer.
    n_factors
        Outputs.
    dropout
        Share of each hidden layer's outputs dropped in training.
    """
    for number, n in enumerate(units, 1):
        x = keras.layers.Dense(n, "elu", kernel_initializer="he_normal", name=f"dense_{number}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout_{number}")(x)
    return keras.layers.Dense(n_factors, kernel_initializer="zeros", dtype="float32", name="factors")(x)
