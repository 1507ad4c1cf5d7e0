"""Search spaces that baselines share: training, sequences, front end and augmentation.

Each function draws from `hp`, a ``keras_tuner.HyperParameters``, takes the start of a search, whose values are the
default point, and returns changes of it. A parameter has the path of its setting as its name.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cs_keras.data.windows import SELECTIONS
from cs_keras.models.declaration import Input
from cs_keras.models.spec import LOSSES_OF_DISTRIBUTIONS, LOSSES_WITH_TEMPERATURE, SCHEDULES, Baseline

DROPOUT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
DENSE = ((512,), (1024,), (512, 512, 512), (1024, 1024, 512), (1024, 1024, 1024), (2048, 2048, 2048))
HALF_THE_SAMPLE_RATE = 0.0  # of front_end.f_max, in hertz: Keras Tuner has no choice of None


def draw(hp: Any, group: str, options: Mapping[str, Iterable[Any]], start: Any) -> dict[str, Any]:
    """Draw one of its options, or its default in `start`, for each setting of a group.

    Options are numbers, texts, booleans, or tuples of numbers, also nested. A tuple is drawn as its JSON text,
    since Keras Tuner supports numbers and texts only. Settings that are inactive in a conditional scope are left
    out.
    """
    drawn = {
        name: choose(hp, f"{group}.{name}", values, getattr(start, name)) for name, values in options.items()
    }
    return {name: value for name, value in drawn.items() if value is not None}


def choose(hp: Any, name: str, options: Iterable[Any], default: Any) -> Any:
    """Draw one of `options` or `default`; return None if the parameter is not active; see `draw`."""
    if isinstance(default, bool):  # a Choice would make it a whole number
        return hp.Boolean(name, default=default)
    if isinstance(default, tuple):
        text = hp.Choice(name, sorted(map(json.dumps, {*options, default})), default=json.dumps(default))
        return None if text is None else json.loads(text)
    return hp.Choice(name, sorted({*options, default}), default=default)


def draw_logarithmic(
    hp: Any, group: str, ranges: Mapping[str, tuple[float, float]], start: Any
) -> dict[str, float]:
    """Draw each setting of a group log-uniformly from its range, which its default in `start` may extend."""
    drawn = {}
    for name, (low, high) in ranges.items():
        default = getattr(start, name)
        bounds = min(low, default), max(high, default)
        drawn[name] = hp.Float(f"{group}.{name}", *bounds, sampling="log", default=default)
    return {name: value for name, value in drawn.items() if value is not None}


def draw_pools(hp: Any, options: Iterable[tuple[tuple[int, int], ...]], start: Any) -> dict[str, Any]:
    """Draw the pools of all blocks as one parameter, ``model.pools``, which also decides the number of blocks.

    Each of `options` has frames and mel bands of each block's pool.
    """
    own = tuple(zip(start.pool_frames, start.pool_mels, strict=True))
    frames, mels = zip(*choose(hp, "model.pools", options, own), strict=True)
    return {"pool_frames": frames, "pool_mels": mels}


def shared_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw changes of training, input, front end and augmentation."""
    changes = {
        "training": training_space(hp, baseline),
        "sequence": sequence_space(hp, baseline),
        "front_end": front_end_space(hp, baseline),
    }
    if baseline.procedure.can_augment:
        changes["augment"] = augment_space(hp, baseline)
    return changes


def training_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw changes of loss, optimizer, schedule and penalty.

    The tuner decides epochs. Losses that need interactions, which not every dataset has, are searched only if they
    are the start.
    """
    start = baseline.training
    is_classifier = baseline.procedure.learns_from is Input.GENRES  # its loss is the cross-entropy
    searched: tuple[str, ...] = ("mse", "cosine", "infonce", "drlim")
    if baseline.procedure.learns_distribution and not baseline.model.is_solved:
        searched += LOSSES_OF_DISTRIBUTIONS
    losses = {} if is_classifier else {"loss": searched}
    options = {
        **losses,
        "schedule": SCHEDULES,
        "warmup": (0.0, 0.05, 0.1),
        "ema": (0.0, 0.99, 0.999),
        "l2": (0.0, 1e-6, 1e-5, 1e-4),
        "batch_size": (16, 32, 64, 128),
    }
    changes = draw(hp, "training", options, start)
    changes |= draw_logarithmic(hp, "training", {"learning_rate": (1e-5, 1e-2)}, start)
    if losses:
        with hp.conditional_scope("training.loss", [*LOSSES_WITH_TEMPERATURE]):
            changes |= draw_logarithmic(hp, "training", {"temperature": (0.03, 1.0)}, start)
        with hp.conditional_scope("training.loss", ["drlim"]):
            changes |= draw(hp, "training", {"n_neighbours": (3, 10, 30), "margin": (0.5, 1.0, 1.4)}, start)
        if "mixture_nll" in searched:
            with hp.conditional_scope("training.loss", ["mixture_nll"]):
                changes |= draw(hp, "training", {"n_components": (2, 3, 5)}, start)
    with hp.conditional_scope("training.schedule", ["inverse_time"]):
        changes |= draw(hp, "training", {"decay": (1e-8, 1e-5, 1e-4, 1e-3)}, start)
    with hp.conditional_scope("training.schedule", ["step"]):
        steps = {"step_epochs": (1, 2, 5, 10), "step_factor": (0.1, 0.3, 0.5)}
        changes |= draw(hp, "training", steps, start)
    if start.pretrained_learning_rate is not None:
        changes |= draw(hp, "training", {"frozen_epochs": (0, 1, 2)}, start)
        changes |= draw_logarithmic(hp, "training", {"pretrained_learning_rate": (1e-8, 1e-3)}, start)
    return changes


def sequence_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw changes of the sequence length, of the time skipped at either end of a track, and of the selection."""
    skips_s = (0.0, 5.0, 15.0, 30.0)
    options: dict[str, tuple[Any, ...]] = {
        "frames": (128, 256, 384, 512, 768),
        "skip_start_s": skips_s,
        "skip_end_s": skips_s,
    }
    if baseline.takes_sequences:
        options["select"] = SELECTIONS
    return draw(hp, "sequence", options, baseline.sequence)


def front_end_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw changes of the decibel mel spectrogram; `build` refuses an `f_max` above half the sample rate."""
    start = baseline.front_end
    options: dict[str, tuple[Any, ...]] = {
        "n_mels": (40, 64, 96, 128),
        "f_min": (0.0, 20.0, 50.0, 100.0),
        "order": ("db_mel", "mel_db"),
        "amin": (1e-10, 1e-7, 1e-5, 1e-3),
        "dynamic_range_db": (30.0, 50.0, 80.0, 120.0),
    }
    if baseline.procedure.can_augment:
        options["normalize"] = (False, True)
    changes = draw(hp, "front_end", options, start)
    upper = (HALF_THE_SAMPLE_RATE, 4000.0, 6000.0, 8000.0)
    f_max = choose(hp, "front_end.f_max", upper, start.f_max or HALF_THE_SAMPLE_RATE)
    if f_max is not None:
        changes["f_max"] = None if f_max == HALF_THE_SAMPLE_RATE else f_max
    return changes


def augment_space(hp: Any, baseline: Baseline) -> dict[str, Any]:
    """Draw changes of gain and masks; widths of masks are active only if there are masks."""
    start = baseline.augment
    changes = draw(hp, "augment", {"gain_db": (0.0, 3.0, 6.0, 12.0)}, start)
    for number, widest, widths in (
        ("n_time_masks", "max_time_frames", (8, 16, 32, 64)),
        ("n_mel_masks", "max_mels", (4, 8, 16, 32)),
    ):
        numbers = {0, 1, 2, getattr(start, number)}
        changes |= draw(hp, "augment", {number: numbers}, start)
        with hp.conditional_scope(f"augment.{number}", sorted(numbers - {0})):
            changes |= draw(hp, "augment", {widest: widths}, start)
    return changes
