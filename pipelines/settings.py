"""All settings of one run: a baseline's own, laid over by TOML files and ``--set``, and how it is evaluated."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cs_keras import config
from cs_keras.config import check_choice, check_range
from cs_keras.errors import ConfigError
from cs_keras.models import check_key, get_baseline
from cs_keras.models.spec import Baseline
from cs_keras.training.execution import ExecutionConfig

FIXED = ("key", "procedure")  # what a baseline is, not how it is set


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How predictions are judged.

    Attributes
    ----------
    ks
        List lengths of the overlap.
    metric
        Of track-to-track similarity: ``cosine`` or ``euclidean``.
    n_permutations, n_bootstrap
        Of the permutation test and of the bootstrap interval.
    max_queries
        Most tracks or playlists to average over; more are sampled.
    """

    ks: tuple[int, ...] = (10, 50, 100, 500)
    metric: str = "cosine"
    n_permutations: int = 999
    n_bootstrap: int = 1000
    max_queries: int = 20_000

    def __post_init__(self) -> None:
        check_choice("evaluation.metric", self.metric, ("cosine", "euclidean"))
        for name in ("n_permutations", "n_bootstrap", "max_queries"):
            check_range(f"evaluation.{name}", getattr(self, name), 1)
        if not self.ks:
            raise ConfigError("evaluation.ks must name at least one list length. Received: none.")
        for k in self.ks:
            check_range("evaluation.ks", k, 1)


@dataclasses.dataclass(frozen=True)
class RunConfig(Baseline):
    """A baseline with all that else decides a run's numbers.

    Attributes
    ----------
    evaluation
        How predictions are judged.
    execution
        How the machine computes the network.
    seed
        Of initial weights, crops, order, k-means, permutations and bootstrap.
    train_fraction
        Share of the train tracks to use, as the reference thesis used a tenth.
    """

    evaluation: EvaluationConfig = EvaluationConfig()
    execution: ExecutionConfig = ExecutionConfig()
    seed: int = 0
    train_fraction: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("seed", self.seed, 0, 2**32 - 1)
        if not 0 < self.train_fraction <= 1:
            raise ConfigError(
                f"train_fraction must be above 0 and at most 1. Received: {self.train_fraction}."
            )
        if self.training.loss == "wpe" and self.execution.jit:
            raise ConfigError(
                "training.loss = wpe reads as much listening as a batch happens to have, which XLA cannot compile; "
                "train with it without --jit."
            )


def resolve(key: str, changes: Mapping[str, Any]) -> RunConfig:
    """Return the settings of model `key` with `changes` laid over its own.

    Parameters
    ----------
    key
        Model key.
    changes
        Nested settings for every model; what stands under ``models.KEY`` is for that one alone and wins.

    Raises
    ------
    ConfigError
        For unknown models or settings, or values out of range.
    """
    common = {name: value for name, value in changes.items() if name != "models"}
    own = changes.get("models", {})
    if not isinstance(own, Mapping):
        raise ConfigError(
            "Settings under 'models' must name a model, as in models.cnn-bn.training.epochs=10."
        )
    for name in own:
        check_key(name)
    baseline = get_baseline(key)
    run = RunConfig(**{field.name: getattr(baseline, field.name) for field in dataclasses.fields(baseline)})
    merged = config.merge(common, own.get(key, {}))
    for name in FIXED:
        if name in merged:
            raise ConfigError(f"{name!r} is not a setting: it is what makes a baseline that baseline.")
    return config.replace(run, merged)


def identity(run: RunConfig) -> dict[str, Any]:
    """Return what decides a run's numbers, JSON-ready: all settings but the number of devices.

    Mixed precision and XLA change numbers a little, so they count. Devices share each batch so that loss and
    gradients stay those of one device: a run begun on two GPUs is the same run on one, and goes on there.
    """
    settings = config.to_dict(run)
    del settings["execution"]["devices"]
    return settings
