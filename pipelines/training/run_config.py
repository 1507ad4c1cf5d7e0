"""Settings of a run: those of a baseline, changed by TOML files and ``--set``, with evaluation and execution."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cs_keras import config
from cs_keras.config import check_range
from cs_keras.errors import ConfigError
from cs_keras.factors.store import Factors
from cs_keras.models import check_key, expand_tables, get_baseline
from cs_keras.models.spec import IDENTITY, Baseline
from cs_keras.run_files.settings import EvaluationConfig
from cs_keras.training.execution import ExecutionConfig

SEPARABLE = ("mse", "unit_mse")  # losses that treat each output independently
DIGEST_LENGTH = 8  # of an abbreviated digest
INHERITED = ("evaluation", "execution", "seed", "train_fraction")  # by a branch from its run
AUDIO_INPUT = ("sequence", "front_end", "augment")


@dataclasses.dataclass(frozen=True)
class RunConfig(Baseline):
    """A baseline with all other settings that decide the numbers of a run.

    Attributes
    ----------
    evaluation
        Settings of the evaluation.
    execution
        Precision, compilation and devices.
    seed
        Seed of initial weights, crops, order, k-means, permutations and bootstrap.
    train_fraction
        Share of the train tracks to use; the reference thesis used a tenth.
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
                "training.loss = wpe reads a varying number of interactions per batch, which XLA cannot compile; "
                "train without --jit."
            )

    def _check_extra_factors(self) -> None:
        if not self.procedure.is_end_to_end:
            raise ConfigError(
                "training.extra_factors needs a network that is trained end to end from audio to factors. "
                f"Received: {', '.join(self.training.extra_factors)} for {self.key}; set it for one model, as in "
                "models.cnn-bn.training.extra_factors."
            )
        if self.training.loss not in SEPARABLE or self.model.normalize_output:
            raise ConfigError(
                "training.extra_factors needs outputs that are learnt independently: training.loss must be one of "
                f"{', '.join(SEPARABLE)}, and model.normalize_output false. Received: {self.training.loss}."
            )


def resolve(key: str, changes: Mapping[str, Any], tables: Iterable[str] = ()) -> RunConfig:
    """Apply `changes` to the settings of model `key`.

    Parameters
    ----------
    key
        Model key.
    changes
        Nested settings for every model; those under ``models.KEY`` are for one model and take precedence.
    tables
        Names of the tables of attributes that were given, each a branch of a fusion that joins tables by default.

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
    defaults = _defaults(key, tables)
    run = config.replace(defaults, _all_changes(defaults, changes))
    for branch in run.model.branches:
        resolve_branch(run, branch)  # invalid settings fail now, not after hours of training
    return run


def resolve_branch(run: RunConfig, key: str) -> RunConfig:
    """Return the settings of a branch of `run`, with the seed of `run`; see `resolve` for errors."""
    branch = config.replace(_defaults(key), run.model.branch_settings.get(key, {}))
    branch = dataclasses.replace(branch, **{name: getattr(run, name) for name in INHERITED})
    if branch.training.extra_factors:
        raise ConfigError(f"training.extra_factors cannot be set for {key} as a branch of {run.key}.")
    if run.procedure.pools_between_stages:  # the branch is the first stage, with the input of the run
        branch = dataclasses.replace(branch, **{name: getattr(run, name) for name in AUDIO_INPUT})
    for name in branch.model.branches:
        resolve_branch(branch, name)
    return branch


def use_loss(
    loss: str, keys: Iterable[str], changes: Mapping[str, Any], tables: Iterable[str] = ()
) -> dict[str, Any]:
    """Return `changes` with a loss for models and their branches, unless they name one or are solved."""
    if "loss" in changes.get("training", {}):
        return dict(changes)
    trained, waiting = {}, list(keys)
    while waiting:
        run = resolve(waiting.pop(), changes, tables)
        waiting += run.model.branches
        if not run.model.is_solved:
            trained[run.key] = {"training": {"loss": loss}}
    return config.merge({"models": trained}, changes)


def _defaults(key: str, tables: Iterable[str] = ()) -> RunConfig:
    run = RunConfig(**vars(get_baseline(key)))
    if not run.procedure.is_fusion:
        return run
    return config.replace(run, {"model": {"branches": expand_tables(run.model.branches, tables)}})


def _all_changes(defaults: RunConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested changes of a model with these `defaults`, including those of its branches."""
    common = {name: value for name, value in changes.items() if name != "models"}
    merged = config.merge(common, changes.get("models", {}).get(defaults.key, {}))
    for name in IDENTITY:
        if name in merged:
            raise ConfigError(f"{name!r} identifies a baseline and cannot be set.")
    run = config.replace(defaults, merged)
    shared = {name: value for name, value in changes.items() if name not in INHERITED}
    found = {name: _all_changes(_defaults(name), shared) for name in run.model.branches}
    if any(found.values()):
        settings = {name: value for name, value in found.items() if value}
        merged = config.merge({"model": {"branch_settings": settings}}, merged)
    if run.procedure.pools_between_stages:
        (first,) = (config.replace(_defaults(name), found[name]) for name in run.model.branches)
        merged = config.merge({name: config.to_dict(getattr(first, name)) for name in AUDIO_INPUT}, merged)
    return merged


def identity(
    run: RunConfig,
    attributes_digest: str | None = None,
    extra: Sequence[Factors] = (),
    split_name: str | None = None,
) -> dict[str, Any]:
    """Return the settings that decide the numbers of a run, JSON-ready: all except the number of devices.

    Mixed precision and XLA change numbers slightly, so they are included. Devices share each batch in a way that
    preserves loss and gradients, so a run that was started on two GPUs can be resumed on one. Attributes and extra
    factors that a model learns from are included by their digests, a named split by its name.
    """
    settings = config.to_dict(run)
    del settings["execution"]["devices"]
    if attributes_digest is not None:
        settings["attributes"] = attributes_digest
    if extra:
        names = [f"{factors.name} {factors.digest[:DIGEST_LENGTH]}" for factors in extra]
        settings["training"]["extra_factors"] = names
    if split_name is not None:
        settings["split_name"] = split_name
    return settings
