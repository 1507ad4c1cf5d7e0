"""Names of rows in tables: model, settings in which runs of one model differ, family and seeds."""

from collections.abc import Mapping, Sequence

from cs_keras.run_files.evaluation import ARTIST_MEAN, POPULARITY, RANDOM, REFERENCE, REFIT_CEILING

FAMILIES = {
    "bot": "Bag of Tones",
    "mlr": "Bag of Tones",
    "multiscale": "Features without labels",
    "cnn": "Convolutional networks",
    "dieleman": "Convolutional networks",
    "raw": "Raw audio",
    "lstm": "Recurrent networks",
    "xception": "Transferred networks",
    "choi": "Transferred networks",
    "triplet": "Triplets",
    "attributes": "Attributes",
    "estimated": "Attributes",
    "genre": "Genres",
    "fusion": "Fusion",
    "ensemble": "Ensembles",
}
OTHERS = "Others"
PREDICTORS = {
    RANDOM: "random factors",
    POPULARITY: "popularity ranking (oracle)",
    ARTIST_MEAN: "artist mean",
    REFIT_CEILING: "refit ceiling",
    REFERENCE: "reference",
}
MAX_SETTINGS = 3  # in a label; runs that differ in more are labelled by a hash
MAX_LENGTH = 60  # characters of settings in a label
MAX_SEEDS = 3  # in a list


def family_of(model: str) -> str:
    """Return the family of a model key, which its first word decides: ``cnn-18s`` is one of ``cnn``."""
    return FAMILIES.get(model.partition("-")[0], OTHERS)


def name_predictor(name: str) -> str:
    """Return the label of a reference predictor."""
    return PREDICTORS.get(name, name)


def label_variants(model: str, variants: Sequence[Mapping[str, str]], marks: Sequence[str]) -> list[str]:
    """Return a label for each variant of a model: its key and, of several, the settings in which they differ.

    A variant without any of these settings (defaults are not stored) is labelled by the key alone.

    Parameters
    ----------
    model
        Model key.
    variants
        Settings by dotted path, all different.
    marks
        Label of each variant to use if its settings are too many or too long.
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
    """Return seeds as text for a table: a list, or their number."""
    return ", ".join(map(str, seeds)) if len(seeds) <= MAX_SEEDS else f"n = {len(seeds)}"
