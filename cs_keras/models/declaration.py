"""Declarations of a baseline: its training procedure, the base of its settings, its module; without TensorFlow."""

import dataclasses
import enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras

    from cs_keras.audio.settings import AudioConfig
    from cs_keras.models.spec import Baseline


class Input(enum.Enum):
    """A kind of data about tracks; values are nouns for messages."""

    AUDIO = "audio"
    ATTRIBUTES = "attributes"
    GENRES = "genres"
    ARTISTS = "artists"


@dataclasses.dataclass(frozen=True)
class Procedure:
    """A way to train a model; `pipelines.training.procedures` has the function for each.

    Attributes
    ----------
    name
        As ``config.json`` of a run has it.
    takes
        Input of the trained model; None for a fusion, each of whose branches has its own.
    learns_from
        Labels that train tracks must have, and that a track to be predicted does not need; None for none.
    pools_over_time
        Whether the model takes a whole track at once, rather than sequences over which predictions are averaged.
    pools_between_stages
        Whether the mean over sequences is taken of the output of the first stage, a model of its own.
    is_precomputed
        Whether the input of what is trained is computed once, so that nothing can be augmented.
    is_end_to_end
        Whether a single fit leads from sequences to factors. Only then can devices share batches, can a network
        learn extra factors, and can it be the estimator of `cs_keras.models.estimated_attributes`.
    learns_distribution
        Whether its network can predict a distribution of factors (`cs_keras.models.distribution`).
    """

    name: str
    takes: Input | None = Input.AUDIO
    learns_from: Input | None = None
    pools_over_time: bool = False
    pools_between_stages: bool = False
    is_precomputed: bool = False
    is_end_to_end: bool = False
    learns_distribution: bool = False

    @property
    def takes_audio(self) -> bool:
        """Whether the model takes audio, and nothing else."""
        return self.takes is Input.AUDIO

    @property
    def takes_artists(self) -> bool:
        """Whether the model takes the factors of other tracks by the same artist."""
        return self.takes is Input.ARTISTS

    @property
    def is_fusion(self) -> bool:
        """Whether the model joins several others."""
        return self.takes is None

    @property
    def can_augment(self) -> bool:
        """Whether audio reaches the network anew in each epoch, so that training can vary it."""
        return self.takes_audio and not self.is_precomputed

    @property
    def requires(self) -> frozenset[Input]:
        """Everything that train tracks must have, apart from what branches require."""
        return frozenset(one for one in (self.takes, self.learns_from) if one)


REGRESSION = Procedure("regression", is_end_to_end=True, learns_distribution=True)
CODEBOOK = Procedure("codebook", pools_over_time=True, is_precomputed=True)
RANKING = Procedure("ranking", pools_over_time=True, is_precomputed=True)
FEATURES = Procedure("features", is_precomputed=True)
KERNELS = Procedure("kernels", is_precomputed=True)
TRIPLET = Procedure("triplet")
ATTRIBUTES = Procedure("attributes", takes=Input.ATTRIBUTES, is_precomputed=True, learns_distribution=True)
GENRES = Procedure("genres", takes=Input.GENRES, is_precomputed=True, learns_distribution=True)
GENRE_SPACE = Procedure("genre_space", learns_from=Input.GENRES)
ESTIMATED_ATTRIBUTES = Procedure(
    "estimated_attributes", learns_from=Input.ATTRIBUTES, pools_between_stages=True
)
ARTIST_MEAN = Procedure("artist_mean", takes=Input.ARTISTS, is_precomputed=True)
ARTIST_RESIDUAL = Procedure("artist_residual", takes=Input.ARTISTS, is_precomputed=True)
ARTIST_ATTENTION = Procedure("artist_attention", takes=Input.ARTISTS, is_precomputed=True)
FUSION = Procedure("fusion", takes=None, is_precomputed=True)
PROCEDURES = {
    procedure.name: procedure
    for procedure in (
        *(REGRESSION, CODEBOOK, RANKING, FEATURES, KERNELS, TRIPLET, ATTRIBUTES, GENRES),
        *(GENRE_SPACE, ESTIMATED_ATTRIBUTES, FUSION),
        *(ARTIST_MEAN, ARTIST_RESIDUAL, ARTIST_ATTENTION),
    )
}


class ModelConfig:
    """Base of the ``Config`` of every model file; its answers suit a network that is trained on magnitudes."""

    @property
    def weights(self) -> str | None:
        """Pretrained weights to start from: a path or a name; None for random ones."""
        return None

    @property
    def pretrained_layers(self) -> tuple[str, ...]:
        """Names of the layers that hold the pretrained weights, for a learning rate of their own."""
        return ()

    @property
    def needs_waveforms(self) -> bool:
        """Whether the dataset must hold waveforms instead of magnitude spectrograms."""
        return False

    @property
    def normalize_output(self) -> bool:
        """Whether outputs are divided by their L2 norm, so that none is learnt independently of the others."""
        return False

    @property
    def is_solved(self) -> bool:
        """Whether the regressor is solved in closed form, for the mean squared error, instead of trained."""
        return False

    @property
    def solved_losses(self) -> tuple[str, ...]:
        """Possible values of ``training.loss`` for a regressor that is solved."""
        return ("mse",)

    @property
    def branches(self) -> tuple[str, ...]:
        """Keys of other baselines that are trained first."""
        return ()

    def notes(self, baseline: "Baseline") -> tuple[str, ...]:
        """Return remarks on these settings for readers of the results, without full stops."""
        return ()


class ModelFile(Protocol):
    """A module of `cs_keras.models` that defines baselines; the registry names it.

    Attributes
    ----------
    VARIANTS
        Baselines by key.
    """

    VARIANTS: "dict[str, Baseline]"

    def build(self, baseline: "Baseline", n_factors: int, audio: "AudioConfig") -> "keras.Model":
        """Build the model, untrained.

        Parameters
        ----------
        baseline
            One of `VARIANTS`, or a change of one.
        n_factors
            Number of outputs.
        audio
            Audio settings of the dataset.

        Returns
        -------
        keras.Model
            Audio, shape (batch, frames, frame_size), or encoded attributes, shape (batch, n_features), to scaled
            factors, shape (batch, n_factors), float32. Frames are those of ``baseline.sequence``; of a model that
            pools over time, any number.

        Raises
        ------
        ConfigError
            When settings do not suit `audio`.
        StorageError, DataError
            When pretrained weights cannot be read.
        """

    def search_space(self, hp: Any, baseline: "Baseline") -> dict[str, Any]:
        """Draw changes of `baseline`, the default point, from `hp`, a ``keras_tuner.HyperParameters``."""


class StagedModelFile(ModelFile, Protocol):
    """A `ModelFile` whose features are computed once, before the regressor is fitted."""

    def build_stages(
        self, baseline: "Baseline", n_factors: int, audio: "AudioConfig"
    ) -> "tuple[keras.Model, ...]":
        """Build the models that `build` joins: those of features, and the regressor last."""

    def adapt(self, regressor: "keras.Model", baseline: "Baseline", features: Any) -> None:
        """Fit the normalisation of `regressor` to the features of train tracks, shape (n, n_features)."""
