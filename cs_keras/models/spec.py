"""A baseline: the settings of its model, its input and its training."""

import dataclasses
import math
import re
from typing import Any

import keras

from cs_keras.audio.settings import AudioConfig
from cs_keras.config import BY_NAME, OMIT_IF_DEFAULT, check_choice, check_range
from cs_keras.data.windows import SequenceConfig
from cs_keras.errors import ConfigError
from cs_keras.layers.front_end import FrontEndConfig
from cs_keras.models.declaration import REGRESSION, Input, Procedure
from cs_keras.models.registry import TABLE_JOIN, TABLE_MARK, split_key, split_tables

LOSSES_OF_DISTRIBUTIONS = ("gaussian_nll", "mixture_nll")
LOSSES = (
    "mse",
    "unit_mse",
    "cosine",
    "binary_crossentropy",
    "wpe",
    "infonce",
    "infonce_histories",
    "bpr",
    "sampled_softmax",
    "drlim",
    *LOSSES_OF_DISTRIBUTIONS,
)
LOSSES_WITH_NEGATIVES = ("bpr", "sampled_softmax")
NEGATIVES = ("others", "disliked")
LOSSES_WITH_TEMPERATURE = ("infonce", "infonce_histories", "bpr", "sampled_softmax")
OPTIMIZERS = ("adam", "nesterov")
SCHEDULES = ("inverse_time", "constant", "cosine", "step")
MONITORS = r"val_loss|val_cosine|val_overlap@[1-9]\d{0,5}"
IDENTITY = ("key", "procedure")  # fields of a baseline that are not settings


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Settings of the fit of a network; defaults are those of the reference thesis (Pohl 2019, section 5.2.1).

    Attributes
    ----------
    loss
        Loss of predicted factors:

        * ``mse``: mean squared error of scaled factors;
        * ``unit_mse``: the same after all factors were brought to one length, since length encodes popularity
          (Dieleman 2014);
        * ``cosine``: negative cosine similarity of scaled factors;
        * ``binary_crossentropy``: of labels, from logits (``run-baselines --labels``);
        * ``wpe``: the weighted prediction error (van den Oord et al. 2013), of the interactions that predicted
          factors explain;
        * ``infonce``: the cross-entropy of finding a track's factors among those of its batch, by cosine;
        * ``infonce_histories``: the same for the histories of its listeners, the sum of the factors of the other
          tracks of a playlist;
        * ``bpr``, ``sampled_softmax``: Bayesian personalised ranking, and the cross-entropy of finding a track of a
          playlist among those of the batch, by dot product with the factors of playlists;
        * ``drlim``: a contrastive loss of pairs of tracks, similar where their reference factors are neighbours;
        * ``gaussian_nll``, ``mixture_nll``: the negative log-likelihood of scaled factors under a normal
          distribution of each, and under a mixture of `n_components`, so that each prediction has a standard
          deviation.
    n_components
        Number of normal distributions of ``mixture_nll``, each with weight, means and diagonal covariance.
    temperature
        Divisor of the cosines or dot products of ``infonce``, ``infonce_histories``, ``bpr`` and
        ``sampled_softmax``.
    popularity_correction
        Weight of the logarithm of popularity, 0 to 1, which the losses with a cross-entropy subtract from logits
        (logQ correction): 0 learns what fits, 1 what is played, popularity included.
    negatives
        Tracks that ``bpr`` and ``sampled_softmax`` rank below a playlist's own: all ``others`` of the batch, or
        those that its listener dislikes, ``disliked``, which need a column of feedback (`cs-keras factors`).
    n_neighbours
        Number of similar tracks of ``drlim``: the train tracks with the nearest reference factors.
    margin
        Distance of factors of length 1 beyond which dissimilar tracks of ``drlim`` do not repel each other.
    optimizer
        ``adam``, or ``nesterov``: gradient descent with Nesterov momentum.
    learning_rate
        Learning rate, before schedule and warm-up.
    pretrained_learning_rate
        Learning rate of the pretrained layers of a network that is fine-tuned, under the same schedule; None for
        that of all others.
    frozen_epochs
        First epochs, in which the pretrained layers stay as they are and the others are trained.
    beta_1, beta_2
        First- and second-moment decay of Adam.
    epsilon
        Constant in the denominator of Adam.
    momentum
        Momentum of Nesterov's method.
    schedule
        Learning rate over time: ``inverse_time``, ``learning_rate / (1 + decay * t)`` at step t; ``constant``;
        ``cosine``, from `learning_rate` to 0 at the last step of `epochs`; or ``step``, multiplied by `step_factor`
        after every `step_epochs`.
    decay
        Decay of the ``inverse_time`` schedule.
    step_epochs, step_factor
        Interval and factor of the ``step`` schedule.
    warmup
        Share of all steps over which the learning rate first rises linearly from 0.
    ema
        Momentum of an exponential moving average of the weights, which is validated and saved in their place; 0
        turns it off.
    l2
        Weight of the penalty on the squares of all trained kernels, ``l2 * sum(w**2)``. It is minimised with the
        loss, but is not part of the reported loss.
    batch_size
        Sequences per batch.
    epochs
        Maximum number of epochs.
    patience
        Epochs without a better value of `monitor` after which training stops; 0 turns early stopping off.
    monitor
        Metric of validation tracks that decides which epoch is the best: ``val_loss``; ``val_cosine``, the mean
        cosine of predicted and reference factors; or ``val_overlap@K``, the overlap of their lists of the K most
        similar tracks, without tracks of the query's own artist where artists are known.
    extra_factors
        Names of further factors of the dataset, of another rank or algorithm, which a network learns as additional
        outputs that are removed after training (Dieleman 2014).
    """

    loss: str = "mse"
    n_components: int = dataclasses.field(default=3, metadata=OMIT_IF_DEFAULT)
    temperature: float = dataclasses.field(default=0.1, metadata=OMIT_IF_DEFAULT)
    popularity_correction: float = dataclasses.field(default=0.0, metadata=OMIT_IF_DEFAULT)
    negatives: str = dataclasses.field(default="others", metadata=OMIT_IF_DEFAULT)
    n_neighbours: int = dataclasses.field(default=10, metadata=OMIT_IF_DEFAULT)
    margin: float = dataclasses.field(default=1.0, metadata=OMIT_IF_DEFAULT)
    optimizer: str = dataclasses.field(default="adam", metadata=OMIT_IF_DEFAULT)
    learning_rate: float = 1e-4
    pretrained_learning_rate: float | None = dataclasses.field(default=None, metadata=OMIT_IF_DEFAULT)
    frozen_epochs: int = dataclasses.field(default=0, metadata=OMIT_IF_DEFAULT)
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
    monitor: str = dataclasses.field(default="val_loss", metadata=OMIT_IF_DEFAULT)
    extra_factors: tuple[str, ...] = dataclasses.field(default=(), metadata=OMIT_IF_DEFAULT)

    @property
    def compares_tracks(self) -> bool:
        """Whether the loss compares the tracks of a batch, so that devices cannot share it."""
        return self.loss in (*LOSSES_WITH_TEMPERATURE, "drlim")

    @property
    def n_distributions(self) -> int:
        """Number of normal distributions of a track's factors that the loss is of; 0 for none."""
        return dict(zip(LOSSES_OF_DISTRIBUTIONS, (1, self.n_components), strict=True)).get(self.loss, 0)

    def __post_init__(self) -> None:
        check_choice("training.loss", self.loss, LOSSES)
        check_range("training.n_components", self.n_components, 2, 100)
        check_choice("training.negatives", self.negatives, NEGATIVES)
        if self.negatives == "disliked" and self.loss not in LOSSES_WITH_NEGATIVES:
            raise ConfigError(
                f"training.negatives = disliked needs training.loss = {' or '.join(LOSSES_WITH_NEGATIVES)}. "
                f"Received: {self.loss}."
            )
        check_choice("training.optimizer", self.optimizer, OPTIMIZERS)
        check_choice("training.schedule", self.schedule, SCHEDULES)
        check_range("training.batch_size", self.batch_size, 1)
        check_range("training.epochs", self.epochs, 1)
        check_range("training.patience", self.patience, 0)
        if not re.fullmatch(MONITORS, self.monitor):
            raise ConfigError(
                "training.monitor must be val_loss, val_cosine, or val_overlap@K with a list length K, such as "
                f"val_overlap@10. Received: {self.monitor!r}."
            )
        check_range("training.decay", self.decay, 0)
        check_range("training.step_epochs", self.step_epochs, 1)
        check_range("training.l2", self.l2, 0)
        check_range("training.frozen_epochs", self.frozen_epochs, 0)
        check_range("training.popularity_correction", self.popularity_correction, 0, 1)
        check_range("training.n_neighbours", self.n_neighbours, 1)
        check_range("training.margin", self.margin, 1e-6, 2)
        for name in ("temperature", "learning_rate", "pretrained_learning_rate", "epsilon", "step_factor"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
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
    """Augmentation of audio during training, off by default as in the thesis; prediction never augments.

    Attributes
    ----------
    gain_db
        Maximum gain or attenuation of each sequence, in decibels.
    time_stretch
        Maximum relative change of speed of each sequence, at constant pitch.
    n_time_masks, max_time_frames
        Number of time masks in each mel spectrogram (SpecAugment), and their maximum width in frames.
    n_mel_masks, max_mels
        Number of frequency masks in each mel spectrogram, and their maximum width in mel bands.
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
        """Whether any augmentation is on."""
        return bool(self.gain_db or self.time_stretch or self.n_time_masks or self.n_mel_masks)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A model with its settings, one row of the result tables.

    Attributes
    ----------
    key
        Name on the command line, with that of a table of attributes where it has one.
    model
        ``Config`` of the model's file.
    training, sequence, front_end, augment
        Settings of the fit, the input, the decibel mel spectrogram and the augmentation.
    procedure
        How the model is trained, with what follows from that.
    """

    key: str
    model: Any
    training: TrainingConfig = TrainingConfig()
    sequence: SequenceConfig = SequenceConfig()
    front_end: FrontEndConfig = FrontEndConfig()
    procedure: Procedure = dataclasses.field(default=REGRESSION, metadata=BY_NAME)
    augment: AugmentConfig = AugmentConfig()

    @property
    def takes_table(self) -> bool:
        """Whether the model itself takes, or learns from, a table of attributes."""
        return Input.ATTRIBUTES in self.procedure.requires

    @property
    def table(self) -> str:
        """What the key names after ``@``: a table of attributes, or several; "" for the one without a name."""
        return split_key(self.key)[1]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables of attributes that the key names, which the model takes side by side."""
        return split_tables(self.table)

    @property
    def takes_sequences(self) -> bool:
        """Whether the model takes sequences of a track one by one, so that there is something to select."""
        return self.procedure.takes_audio and not self.procedure.pools_over_time

    @property
    def network_name(self) -> str:
        """The key as a name that TensorFlow allows."""
        return self.key.replace(TABLE_MARK, ".").replace(TABLE_JOIN, ".")

    def __post_init__(self) -> None:
        if self.augment.is_on and not self.procedure.can_augment:
            reason = "is computed once, before training" if self.procedure.takes_audio else "is not audio"
            raise ConfigError(
                f"augment changes the input of a network during training, and the input of {self.key} {reason}; "
                "set it for other models only (--set models.KEY.augment...)."
            )
        if self.front_end.normalize and not self.procedure.can_augment:
            raise ConfigError(
                "front_end.normalize standardises the mel bands of a network that is trained on them, and "
                f"{self.key} is not; set it for other models only (--set models.KEY.front_end.normalize=true)."
            )
        if self.sequence.select != "random" and not self.takes_sequences:
            raise ConfigError(
                f"sequence.select chooses sequences of a track, and {self.key} takes "
                f"{'whole tracks' if self.procedure.takes_audio else 'no audio'}; set it for other models only "
                f"(--set models.KEY.sequence.select={self.sequence.select})."
            )
        training = self.training
        is_fine_tuned = training.frozen_epochs or training.pretrained_learning_rate is not None
        if is_fine_tuned and not self.model.pretrained_layers:
            raise ConfigError(
                "training.pretrained_learning_rate and training.frozen_epochs are for networks with pretrained "
                f"layers, and {self.key} has none; set them for one model, as in "
                "models.choi-finetune.training.frozen_epochs=1."
            )
        if training.n_distributions and not (self.procedure.learns_distribution and not self.model.is_solved):
            raise ConfigError(
                f"training.loss = {training.loss} needs a network from audio, attributes or genres to factors that "
                f"is trained by gradients in one fit. Received: {self.key}; set it for one model, as in "
                f"models.cnn-bn.training.loss={training.loss}."
            )
        if training.n_distributions and self.model.normalize_output:
            raise ConfigError(
                f"training.loss = {training.loss} is of factors of any length: expected model.normalize_output "
                "false. Received: true."
            )
        losses = self.model.solved_losses
        if self.model.is_solved and self.training.loss not in losses:
            raise ConfigError(
                f"training.loss must be {' or '.join(losses)} for {self.key}, which is solved for an error of its "
                f"own. Received: {self.training.loss}."
            )


def check_pools(config: Any) -> None:
    """Raise ConfigError unless `config` has one pool over time and one over mel bands for each block."""
    if len(config.pool_frames) != len(config.pool_mels) or not config.pool_frames:
        raise ConfigError(
            "model.pool_frames and model.pool_mels must name one pool for each block. "
            f"Received: {config.pool_frames} and {config.pool_mels}."
        )
    for n in config.pool_frames + config.pool_mels + config.dense:
        check_range("model.pool_frames, model.pool_mels and model.dense", n, 1)


def architecture(baseline: Baseline) -> Baseline:
    """Return `baseline` without pretrained weights, so that it builds without their files."""
    if baseline.model.weights is None:
        return baseline
    return dataclasses.replace(baseline, model=dataclasses.replace(baseline.model, weights=None))


def required_audio(baseline: Baseline, audio: AudioConfig | None = None) -> AudioConfig:
    """Return `audio`, or the default, with the content that `baseline` needs: magnitudes as given, or waveforms."""
    audio = audio or AudioConfig()
    return dataclasses.replace(audio, content="waveform") if baseline.model.needs_waveforms else audio


def require_waveforms(baseline: Baseline, audio: AudioConfig) -> None:
    """Raise ConfigError when `baseline` needs waveforms and a dataset with settings `audio` holds magnitudes."""
    if required_audio(baseline, audio) != audio:
        raise ConfigError(
            f"{baseline.key} needs a dataset of waveforms, and this one holds magnitudes; make one with "
            "cs-keras ingest --waveforms, or demo-data --waveforms."
        )


def trainable_parameters(model: keras.Model) -> int:
    """Count the trainable parameters of `model`."""
    return sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)


def stored_bytes(model: keras.Model) -> int:
    """Estimate the size of `model` on disk in bytes, with its optimizer if it is compiled."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else [])]
    return sum(int(v.shape.num_elements()) * 4 for v in variables) + 1_000_000
