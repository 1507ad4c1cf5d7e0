"""How rows are named: by model, by the settings in which runs of one model differ, by family and seeds."""

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
MAX_SETTINGS = 3  # told in a label; of runs that differ in more the label is a hash
MAX_LENGTH = 60  # characters of settings in a label
MAX_SEEDS = 3  # listed one by one


def family_of(model: str) -> str:
    """Return the family of a model key, which its first word decides: ``cnn-18s`` is one of ``cnn``."""
    return FAMILIES.get(model.partition("-")[0], OTHERS)


def name_predictor(name: str) -> str:
    """Return what a predictor that every model is held beside is called."""
    return PREDICTORS.get(name, name)


def label_variants(model: str, variants: Sequence[Mapping[str, str]], marks: Sequence[str]) -> list[str]:
    """Return a label for each variant of a model: its key and, of several, the settings in which they differ.

    One that lacks all of these, since they are not written where they are the default, is called by the key alone.

    Parameters
    ----------
    model
        Model key.
    variants
        Settings by dotted path, no two alike.
    marks
        What tells a variant apart if its settings are too many or too long to do so.
    """
    if len(variants) == 1:
        return [model]
    names = list(dict.fromkeys(name for variant in variants for name in variant))
    differing = [name for name in names if len({variant.get(name) for variant in variants}) > 1]
    told = [
        ", ".join(f"{name}={variant[name]}" for name in differing if name in variant) for variant in variants
    ]
    clear = len(differing) <= MAX_SETTINGS and len(set(told)) == len(told)
    if not clear or not all(len(text) <= MAX_LENGTH for text in told):
        told = list(marks)
    return [f"{model} ({text})" if text else model for text in told]


def name_seeds(seeds: Sequence[int]) -> str:
    """Return seeds as a table shows them: one by one, or how many there are."""
    return ", ".join(map(str, seeds)) if len(seeds) <= MAX_SEEDS else f"n = {len(seeds)}"
