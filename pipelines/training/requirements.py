"""What models take in: sound, a table of attributes, or the dataset's own genres; and whether it is there."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.attributes.table import Attributes, genre_attributes
from cs_keras.data.schema import Tracks
from cs_keras.errors import ConfigError, DataError
from cs_keras.models import MODEL_FILES, get_baseline
from cs_keras.models.spec import ANY, Baseline, required_audio
from cs_keras.runs import digest

DEFAULT_MODELS = ("bot", "cnn-bn", "lstm")
ATTRIBUTE_MODELS = ("attributes", "attributes-linear")  # the second only where nothing can be heard
ALL = "all"


def choose_models(
    asked: str | None, tracks: Tracks, has_attributes: bool, audio: AudioConfig | None = None
) -> tuple[list[str], list[str]]:
    """Return the models to run where they are not named one by one, and those that cannot run on such a dataset.

    Parameters
    ----------
    asked
        ``all``, or None for the usual ones: three that hear, and `attributes` where there is a table; without sound
        all that can run.
    tracks
        Of the dataset.
    has_attributes
        Whether a table of attributes was given.
    audio
        What the dataset's frames are; None for magnitudes.

    Raises
    ------
    DataError
        When no model can run.
    """
    there = {
        "sound": bool(tracks.has_audio.all()),
        "attributes": has_attributes,
        "genres": bool(genre_attributes(tracks).has[tracks.in_split("train")].any()),
    }
    audio = audio or AudioConfig()
    able = [
        key
        for key in MODEL_FILES
        if all(there[what] for what in all_needs(get_baseline(key)))
        and required_audio(get_baseline(key), audio) == audio
    ]
    if asked != ALL and there["sound"]:
        return [*DEFAULT_MODELS, *(ATTRIBUTE_MODELS[:1] if has_attributes else ())], []
    if not able:
        raise DataError(
            f"No model can run: {_without_sound(tracks)}, no train track has genres, and no table of attributes "
            "was given (--features)."
        )
    return able, [key for key in MODEL_FILES if key not in able]


def require_inputs(runs: Sequence[Baseline], tracks: Tracks, given: Attributes | None) -> None:
    """Refuse what cannot be trained on a dataset of such tracks, and a table that nobody would look at.

    Raises
    ------
    ConfigError
        See `require_input`; or when there is a table and none of `runs` takes it.
    """
    for run in runs:
        require_input(run, tracks, given)
    if given is not None and all("attributes" not in all_needs(run) for run in runs):
        raise ConfigError(
            f"None of {', '.join(run.key for run in runs)} takes --features; models that do: "
            f"{', '.join(key for key in MODEL_FILES if 'attributes' in all_needs(get_baseline(key)))}."
        )


def require_input(run: Baseline, tracks: Tracks, given: Attributes | None) -> None:
    """Raise ConfigError unless `tracks`, with attributes where some are given, have what `run` needs."""
    if run.needs == "sound" and not tracks.has_audio.all():
        deaf = [key for key in MODEL_FILES if get_baseline(key).needs not in ("sound", ANY)]
        raise ConfigError(
            f"{run.key} needs sound, and {_without_sound(tracks)}; models that need none: {', '.join(deaf)}."
        )
    if run.needs == ANY and not any(
        has_input(get_baseline(key), tracks, given).any() for key in run.branches
    ):
        raise ConfigError(
            f"{run.key} needs what one of {', '.join(run.branches)} takes in: {_without_sound(tracks)}, and "
            f"{'no table of attributes was given (--features)' if given is None else 'the table does not help'}."
        )
    if (run.needs == "attributes" or run.learns_attributes) and given is None:
        raise ConfigError(f"{run.key} needs a table of attributes: name one by --features.")
    if run.learns_genres and not genre_attributes(tracks).has[tracks.in_split("train")].any():
        raise ConfigError(f"{run.key} learns from genres, and no train track of the dataset has any.")


def choose_attributes(run: Baseline, tracks: Tracks, given: Attributes | None) -> Attributes | None:
    """Return what `run` itself learns from beside sound: the table's attributes, the tracks' genres, or None."""
    require_input(run, tracks, given)
    return _learnt_from(run, tracks, given)


def attributes_digest(run: Baseline, tracks: Tracks, given: Attributes | None) -> str | None:
    """Return the digest of what `run` and its branches learn from beside sound; None where they do not."""
    if run.needs != ANY:
        own = _learnt_from(run, tracks, given)
        return None if own is None else own.digest
    found = {key: _learnt_from(get_baseline(key), tracks, given) for key in run.branches}
    return digest({key: own.digest for key, own in found.items() if own is not None})


def has_input(run: Baseline, tracks: Tracks, given: Attributes | None) -> npt.NDArray[np.bool_]:
    """Tell which tracks have what `run`, a branch, takes in, shape (n_tracks,); none where it cannot learn."""
    genres, nothing = genre_attributes(tracks).has, np.zeros(len(tracks), np.bool_)
    if run.learns_genres and not genres[tracks.in_split("train")].any():
        return nothing
    if run.learns_attributes and given is None:
        return nothing
    attributes = nothing if given is None else given.has
    return {"sound": tracks.has_audio, "genres": genres, "attributes": attributes}[run.needs]


def _learnt_from(run: Baseline, tracks: Tracks, given: Attributes | None) -> Attributes | None:
    if run.learns_genres or run.needs == "genres":
        return genre_attributes(tracks)
    return given if run.needs == "attributes" or run.learns_attributes else None


def all_needs(run: Baseline) -> set[str]:
    """Return what tracks must have, those to be predicted and those to learn from; with branches all of theirs."""
    if run.needs == ANY:
        return set().union(*(all_needs(get_baseline(key)) for key in run.branches))
    learns = {"genres": run.learns_genres, "attributes": run.learns_attributes}
    return {run.needs} | {what for what, is_learnt in learns.items() if is_learnt}


def _without_sound(tracks: Tracks) -> str:
    n = int(np.count_nonzero(~tracks.has_audio))
    return f"{n} of {len(tracks)} tracks of the dataset have no sound"
