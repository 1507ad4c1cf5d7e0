"""All settings of one run: a baseline's own, laid over by TOML files and ``--set``, and how it is evaluated."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from cs_keras import config
from cs_keras.config import check_range
from cs_keras.errors import ConfigError
from cs_keras.factors.store import Factors
from cs_keras.models import check_key, get_baseline
from cs_keras.models.spec import Baseline
from cs_keras.run_files.settings import EvaluationConfig
from cs_keras.training.execution import ExecutionConfig

SEPARABLE = ("mse", "unit_mse")  # losses in which no output depends on another
FIXED = ("key", "procedure")  # what a baseline is, not how it is set
DIGITS = 8  # of a digest that stands in a label
COMMON = (
    "evaluation",
    "execution",
    "seed",
    "train_fraction",
)  # a branch has them of the run that it belongs to
HEARING = ("sequence", "front_end", "augment")


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
        if self.training.extra_factors:
            self._check_extra_factors()
        if self.training.loss == "wpe" and self.execution.jit:
            raise ConfigError(
                "training.loss = wpe reads as much listening as a batch happens to have, which XLA cannot compile; "
                "train with it without --jit."
            )

    def _check_extra_factors(self) -> None:
        if self.procedure != "regression":
            raise ConfigError(
                "training.extra_factors are for networks that go from sound to factors in one step. "
                f"Received: {', '.join(self.training.extra_factors)} for {self.key}; of several models name one, "
                "as in models.cnn-bn.training.extra_factors."
            )
        if self.training.loss not in SEPARABLE or getattr(self.model, "normalize_output", False):
            raise ConfigError(
                "training.extra_factors need outputs that are learnt one by one: training.loss must be one of "
                f"{', '.join(SEPARABLE)}, and model.normalize_output false. Received: {self.training.loss}."
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
    own = changes.get("models", {})
    if not isinstance(own, Mapping):
        raise ConfigError(
            "Settings under 'models' must name a model, as in models.cnn-bn.training.epochs=10."
        )
    for name in own:
        check_key(name)
    run = config.replace(_defaults(key), _all_changes(key, changes))
    for branch in run.branches:
        resolve_branch(run, branch)  # refuses now what would fail after hours
    return run


def resolve_branch(run: RunConfig, key: str) -> RunConfig:
    """Return the settings of a branch of `run`: what `resolve` gives for `key`, with the seed of `run`.

    Raises
    ------
    ConfigError
        When its settings are not valid.
    """
    branch = config.replace(_defaults(key), run.model.branch_settings.get(key, {}))
    branch = dataclasses.replace(branch, **{name: getattr(run, name) for name in COMMON})
    if branch.training.extra_factors:
        raise ConfigError(f"training.extra_factors is no setting of {key} where it is a part of {run.key}.")
    if run.learns_attributes:  # it hears what its ear hears
        branch = dataclasses.replace(branch, **{name: getattr(run, name) for name in HEARING})
    for name in branch.branches:
        resolve_branch(branch, name)
    return branch


def _defaults(key: str) -> RunConfig:
    baseline = get_baseline(key)
    return RunConfig(**{field.name: getattr(baseline, field.name) for field in dataclasses.fields(baseline)})


def _all_changes(key: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested changes of model `key`, those of its branches among them."""
    common = {name: value for name, value in changes.items() if name != "models"}
    merged = config.merge(common, changes.get("models", {}).get(key, {}))
    for name in FIXED:
        if name in merged:
            raise ConfigError(f"{name!r} is not a setting: it is what makes a baseline that baseline.")
    run = config.replace(_defaults(key), merged)
    shared = {name: value for name, value in changes.items() if name not in COMMON}
    found = {name: _all_changes(name, shared) for name in run.branches}
    if any(found.values()):
        settings = {name: value for name, value in found.items() if value}
        merged = config.merge({"model": {"branch_settings": settings}}, merged)
    if run.learns_attributes:
        (ear,) = (config.replace(_defaults(name), found[name]) for name in run.branches)
        merged = config.merge({name: config.to_dict(getattr(ear, name)) for name in HEARING}, merged)
    return merged


def identity(
    run: RunConfig, attributes_digest: str | None = None, extra: Sequence[Factors] = ()
) -> dict[str, Any]:
    """Return what decides a run's numbers, JSON-ready: all settings but the number of devices.

    Mixed precision and XLA change numbers a little, so they count. Devices share each batch so that loss and
    gradients stay those of one device: a run begun on two GPUs is the same run on one, and goes on there. A model
    that learns from attributes, or from more factors than those it predicts, is another for others of these.
    """
    settings = config.to_dict(run)
    del settings["execution"]["devices"]
    if attributes_digest is not None:
        settings["attributes"] = attributes_digest
    if extra:
        told = [f"{factors.name} {factors.digest[:DIGITS]}" for factors in extra]
        settings["training"]["extra_factors"] = told
    return settings
