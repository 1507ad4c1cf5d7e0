"""Inputs that models require of a dataset: audio, a table of attributes, genres; and which models can run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.attributes.table import Attributes, genre_attributes, join_attributes
from cs_keras.data.schema import Tracks
from cs_keras.errors import ConfigError, DataError
from cs_keras.messages import count
from cs_keras.models import REGISTRY, expand_tables, get_baseline
from cs_keras.models.declaration import Input
from cs_keras.models.spec import Baseline, required_audio
from cs_keras.runs import digest

DEFAULT_MODELS = ("bot", "cnn-bn", "lstm")
DEFAULT_WITHOUT_AUDIO = (
    "attributes",
    "attributes-linear",
    "genre-label",
    "genre-label-linear",
    "artist-mean",
)
ATTRIBUTE_MODEL = "attributes"  # runs by default where a table is given
ALL, BEST = "all", "best"
FEW_VALIDATION_TRACKS = 50
CANDIDATES = ("attributes-kernel", "attributes-trees", "genre-label-linear", "artist-mean", "cnn-best")
"""Of `BEST`: the strongest for each kind of input, in docs/what-works.md, that needs no file of weights."""


class MissingTracksError(ConfigError):
    """No track of the dataset is of the kind that a model learns from or predicts, whatever is given besides."""


Tables = Mapping[str, Attributes]  # by name; "" for the one without a name


def choose_models(
    models: str | None, tracks: Tracks, tables: Iterable[str] = (), audio: AudioConfig | None = None
) -> tuple[list[str], list[str]]:
    """Choose models for a dataset; return keys of those to run, and of those that cannot run.

    Parameters
    ----------
    models
        ``all``; ``best`` for those of `CANDIDATES` that can run; or None for three audio models, and `attributes`
        on each table, or without audio for those of `DEFAULT_WITHOUT_AUDIO` that can run.
    tracks
        Track table of the dataset.
    tables
        Names of the tables of attributes that were given; "" for the one without a name.
    audio
        Audio settings of the dataset; None for magnitudes.

    Raises
    ------
    DataError
        When no model can run.
    """
    names = tuple(tables)
    present = {
        Input.AUDIO: bool(tracks.has_audio.all()),
        Input.ATTRIBUTES: bool(names),
        Input.GENRES: _train_genres(tracks),
        Input.ARTISTS: _has_known_artists(tracks),
    }
    if models is None and present[Input.AUDIO]:
        return [*DEFAULT_MODELS, *(expand_tables([ATTRIBUTE_MODEL], names) if names else ())], []
    audio = audio or AudioConfig()
    able = [
        key
        for key, baseline in {key: get_baseline(key) for key in REGISTRY}.items()
        if all(present[one] for one in required_inputs(baseline)) and required_audio(baseline, audio) == audio
    ]
    if not able:
        raise DataError(
            f"No model can run: {_missing_audio(tracks)}, no train track has genres, and no table of attributes "
            "was given (--features)."
        )
    wanted = {ALL: able, BEST: CANDIDATES}.get(models or "", DEFAULT_WITHOUT_AUDIO)
    chosen = [key for key in able if key in wanted]
    return list(expand_tables(chosen, names)), [key for key in REGISTRY if key not in able]


def require_inputs(runs: Sequence[Baseline], tracks: Tracks, tables: Tables) -> dict[str, str]:
    """Raise ConfigError unless the inputs of `runs` exist, and each table is used by one of them.

    Returns by key why a run is to be left out, as the dataset has no tracks for it; where that is so for all of
    them, it is an error.
    """
    left_out: dict[str, str] = {}
    for run in runs:
        try:
            require_input(run, tracks, tables)
        except MissingTracksError as error:
            if len(left_out) == len(runs) - 1:
                raise
            left_out[run.key] = str(error)
    used = {name for run in runs for one in _with_branches(run) if one.takes_table for name in one.tables}
    for name in tables:
        if name not in used:
            able = [key for key in REGISTRY if Input.ATTRIBUTES in required_inputs(get_baseline(key))]
            table = f"the table {name} of --features" if name else "--features"
            raise ConfigError(
                f"None of {', '.join(run.key for run in runs)} takes {table}; models that do: "
                f"{', '.join(expand_tables(able, [name]))}."
            )
    return left_out


def require_input(run: Baseline, tracks: Tracks, tables: Tables) -> None:
    """Raise ConfigError unless `tracks`, with attributes of `tables`, have the inputs of `run`."""
    procedure = run.procedure
    for one in _with_branches(run):
        absent = [name for name in one.tables if name and name not in tables]
        if absent:
            given = ", ".join(name or "one without a name" for name in tables) or "none"
            raise ConfigError(
                f"{one.key} needs a table of that name: --features {absent[0]}=FILE. Received: {given}."
            )
    if procedure.takes_audio and not tracks.has_audio.all():
        others = (key for key in REGISTRY if Input.AUDIO not in required_inputs(get_baseline(key)))
        raise ConfigError(
            f"{run.key} needs audio, and {_missing_audio(tracks)}; models without audio: {', '.join(others)}."
        )
    if procedure.takes_artists and not _has_known_artists(tracks):
        raise MissingTracksError(
            f"{run.key} needs test tracks by artists who have train tracks too, and there are none: ingest with "
            "--folds track, or split by time (`cs-keras split --by time`)."
        )
    if procedure.takes_artists:
        for branch in _branches(run):
            require_input(branch, tracks, tables)
    if procedure.is_fusion and not any(has_input(branch, tracks, tables).any() for branch in _branches(run)):
        raise ConfigError(
            f"{run.key} needs the input of one of {', '.join(run.model.branches)}: {_missing_audio(tracks)}, and "
            f"{'its tables do not help' if tables else 'no table of attributes was given (--features)'}."
        )
    if run.takes_table and not run.table and "" not in tables:
        named = (
            f" Keys on the tables with names: {', '.join(expand_tables([run.key], tables))}."
            if tables
            else ""
        )
        raise ConfigError(f"{run.key} needs a table of attributes: name one by --features.{named}")
    if procedure.learns_from is Input.GENRES and not _train_genres(tracks):
        raise MissingTracksError(f"{run.key} learns from genres, and no train track of the dataset has any.")


def choose_attributes(run: Baseline, tracks: Tracks, tables: Tables) -> Attributes | None:
    """Return the attributes that `run` itself takes or learns from: a table's, the tracks' genres, or None."""
    require_input(run, tracks, tables)
    return _own_attributes(run, tracks, tables)


def attributes_digest(run: Baseline, tracks: Tracks, tables: Tables) -> str | None:
    """Return the digest of the attributes that `run` and its branches use; None where they use none."""
    own = _own_attributes(run, tracks, tables)
    if own is not None or not run.model.branches:
        return None if own is None else own.digest
    found = {branch.key: attributes_digest(branch, tracks, tables) for branch in _branches(run)}
    return digest({key: one for key, one in found.items() if one is not None})


def warn_of_few_test_tracks(artists: Sequence[str], ks: Sequence[int]) -> str | None:
    """Return why an evaluation on test tracks by `artists` (empty: unknown) cannot show anything; None if it can.

    A list of k tracks needs k other tracks, and an interval that respects artists at least two of them.
    """
    n, least, known = len(artists), min(ks) + 1, {artist for artist in artists if artist}
    if n < least:
        return (
            f"Warning: models will be trained, but not evaluated by overlap: {n} test tracks have factors, and the "
            f"shortest lists, of {min(ks)}, need {least}. Add tracks until folds 8 and 9 hold that many (some "
            f"{5 * least} tracks in all), or shorten the lists, as in --set evaluation.ks=[{max(1, n // 2)}]."
        )
    if len(known) < 2:
        found = f"all by {next(iter(known))}" if known else "by unknown artists"
        return (
            f"Warning: the {n} test tracks are {found}, so recognising artists cannot be separated from anything "
            "else, and no interval respects artists. Add test tracks by at least two known artists (better 40), or "
            "artists by --tracks."
        )
    return None


def warn_of_few_validation_tracks(n: int) -> tuple[str, ...]:
    """Return a note on settings that are chosen by `n` validation tracks, if these are few."""
    if n >= FEW_VALIDATION_TRACKS:
        return ()
    tracks = count(n, "validation track")
    return (f"a choice by {tracks} is uncertain: at least {FEW_VALIDATION_TRACKS} are recommended",)


def has_input(run: Baseline, tracks: Tracks, tables: Tables) -> npt.NDArray[np.bool_]:
    """Return which tracks have the input of `run`, a branch, shape (n_tracks,); none if it cannot be trained."""
    nothing = np.zeros(len(tracks), np.bool_)
    if run.procedure.is_fusion:
        branches = (has_input(branch, tracks, tables) for branch in _branches(run))
        return np.asarray(np.any(list(branches), axis=0))
    learns_from = run.procedure.learns_from
    if (learns_from is Input.GENRES and not _train_genres(tracks)) or (
        learns_from is Input.ATTRIBUTES and not all(name in tables for name in run.tables)
    ):
        return nothing
    if run.procedure.takes_audio:
        return tracks.has_audio
    attributes = _own_attributes(run, tracks, tables)
    return nothing if attributes is None else attributes.has


def required_inputs(run: Baseline) -> set[Input]:
    """Return the inputs and labels that train tracks must have, those of all branches included."""
    return set(run.procedure.requires).union(*map(required_inputs, _branches(run)))


def _with_branches(run: Baseline) -> Iterator[Baseline]:
    yield run
    for branch in _branches(run):
        yield from _with_branches(branch)


def _branches(run: Baseline) -> list[Baseline]:
    """Return the models that `run` trains first, which may have branches of their own."""
    return [
        config.replace(get_baseline(key), {"model": run.model.branch_settings.get(key, {}).get("model", {})})
        for key in run.model.branches
    ]


def _own_attributes(run: Baseline, tracks: Tracks, tables: Tables) -> Attributes | None:
    if Input.GENRES in run.procedure.requires:
        return genre_attributes(tracks)
    if not run.takes_table or not all(name in tables for name in run.tables):
        return None
    return join_attributes({name: tables[name] for name in run.tables})


def _has_known_artists(tracks: Tracks) -> bool:
    artists = tracks.artist_numbers
    known = artists[tracks.in_split("train") & (artists >= 0)]
    return bool(np.isin(artists[tracks.in_split("test")], known).any())


def _train_genres(tracks: Tracks) -> bool:
    return bool(genre_attributes(tracks).has[tracks.in_split("train")].any())


def _missing_audio(tracks: Tracks) -> str:
    n = int(np.count_nonzero(~tracks.has_audio))
    return f"{n} of {len(tracks)} tracks of the dataset have no audio"
