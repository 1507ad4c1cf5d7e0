"""Names of table rows: model, settings in which runs of one model differ, family and seeds."""

from collections.abc import Mapping, Sequence

from cs_keras.models.registry import REGISTRY, split_key
from cs_keras.run_files.evaluation import (
    ARTIST_MEAN,
    BEST_FROM_SOUND,
    HALF_DATA_CEILING,
    POPULARITY_ORACLE,
    RANDOM,
    REFERENCE,
    REFIT_CEILING,
    SINGLE_RANKING,
)

ENSEMBLES, OTHERS = "Ensembles", "Others"
PREDICTORS = {
    RANDOM: "random factors",
    POPULARITY_ORACLE: "popularity ranking (oracle)",
    SINGLE_RANKING: "single ranking",
    ARTIST_MEAN: "artist mean (unshrunk)",
    BEST_FROM_SOUND: "best from sound",
    HALF_DATA_CEILING: "half-data ceiling",
    REFIT_CEILING: "refit ceiling",
    REFERENCE: "reference",
}
MAX_SETTINGS = 3  # in a label; if runs differ in more, the label is a hash
MAX_LENGTH = 60  # characters of settings in a label
MAX_SEEDS = 3  # that are listed


def family_of(model: str) -> str:
    """Return the family of a model key, as the registry of `cs_keras.models` has it."""
    entry = REGISTRY.get(split_key(model)[0])
    if entry:
        return entry.family
    return ENSEMBLES if model.startswith("ensemble-") else OTHERS  # written by `cs-keras ensemble`


def name_predictor(name: str) -> str:
    """Return the display name of a reference predictor."""
    return PREDICTORS.get(name, name)


def label_variants(model: str, variants: Sequence[Mapping[str, str]], marks: Sequence[str]) -> list[str]:
    """Label each variant of a model by its key and, if there are several, the settings in which they differ.

    A variant without any of these settings, which are not written at their defaults, is labelled by the key
    alone. `marks` are used instead if the differing settings are too many or too long.
    """
    if len(variants) == 1:
        return [model]
    names = list(dict.fromkeys(name for variant in variants for name in variant))
    differing = [name for name in names if len({variant.get(name) for variant in variants}) > 1]
    texts = [
        ", ".join(f"{name}={variant[name]}" for name in differing if name in variant) for variant in variants
    ]
    clear = len(differing) <= MAX_SETTINGS and len(set(texts)) == len(texts)
    if not clear or not all(len(text) <= MAX_LENGTH for text in texts):
        texts = list(marks)
    return [f"{model} ({text})" if text else model for text in texts]


def name_seeds(seeds: Sequence[int]) -> str:
    """Format seeds for a table: a list, or their number."""
    return ", ".join(map(str, seeds)) if len(seeds) <= MAX_SEEDS else f"n = {len(seeds)}"
