"""Factors on disk: one ``.npz`` for each set of factors, fitted here or imported."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from cs_keras.errors import ConfigError, DataError
from cs_keras.factors import arrays as npz
from cs_keras.factors.scaling import Kind, Scaler, fit_scaler
from cs_keras.storage.location import Location
from cs_keras.storage.open_files import refuse_links

FloatArray = npt.NDArray[np.float32]
Origin = Literal["strict", "thesis", "given"]

SCHEMA = 1
ARRAYS = ("track_ids", "item_factors", "has_factors", "playlist_ids", "playlist_factors")
SCALER_ARRAYS = ("scaler_offset", "scaler_scale")
SECOND_ARRAYS = ("second_item_factors", "second_playlist_factors")  # both or neither
HALF_ARRAYS = ("half_item_factors", "half_playlist_factors")  # both or neither


@dataclass(frozen=True, eq=False)
class Factors:
    """Track and playlist factors of one collaborative-filtering space, and how they were fitted.

    Parameters
    ----------
    name : str
        Name of the factors in reports.
    track_ids : ndarray of str, shape (n_tracks,)
        Distinct, in the order of the rows.
    item_factors : ndarray of float32, shape (n_tracks, n_factors)
        Unscaled; zero rows where `has_factors` is False.
    has_factors : ndarray of bool, shape (n_tracks,)
    playlist_ids : ndarray of str, shape (n_playlists,)
        Distinct.
    playlist_factors : ndarray of float32, shape (n_playlists, n_factors)
        No rows where there are none.
    scaler : Scaler
        Fitted on train tracks only.
    protocol : {"strict", "thesis", "given"}
        How they were fitted; "given" for imported ones.
    config : dict or None
        factors, alpha, regularization, iterations and seed of the fit; None for "given".
    quality : dict
        Metrics of the fit, JSON values only.
    second_item_factors, second_playlist_factors : ndarray of float32, optional
        The same tracks and playlists fitted with another seed, in a space of its own, for the refit ceiling. Shapes
        as those of the first fit; None where there is no refit.
    half_item_factors : ndarray of float32, shape (2, n_tracks, n_factors), optional
        The same tracks fitted to each of two random halves of the playlists, for the half-data ceiling; each in a
        space of its own.
    half_playlist_factors : ndarray of float32, shape (2, n_playlists, n_factors), optional
        All playlists in the space of each half.
    split_name : str or None
        Named split of the dataset that scaling and, under the strict protocol, the fit were made for; None for
        the split by folds.
    """

    name: str
    track_ids: npt.NDArray[np.str_]
    item_factors: FloatArray
    has_factors: npt.NDArray[np.bool_]
    playlist_ids: npt.NDArray[np.str_]
    playlist_factors: FloatArray
    scaler: Scaler
    protocol: Origin
    config: Mapping[str, Any] | None
    quality: Mapping[str, Any]
    second_item_factors: FloatArray | None = None
    second_playlist_factors: FloatArray | None = None
    half_item_factors: FloatArray | None = None
    half_playlist_factors: FloatArray | None = None
    split_name: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of all content, as 64 hexadecimal digits: the same before saving and after loading."""
        sha = hashlib.sha256(json.dumps(_settings(self), sort_keys=True).encode())
        for name, array in _arrays(self).items():
            values = array.tolist() if array.dtype.kind == "U" else None  # the width of the text says nothing
            sha.update(json.dumps([name, array.shape, values]).encode())
            if values is None:
                sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()


def save_factors(path: Location, factors: Factors) -> None:
    """Write factors as ``.npz`` atomically.

    Raises
    ------
    DataError
        The factors are not as `Factors` describes them.
    StorageError
        The file cannot be written, or its folder is a link.
    """
    _check(factors, path)
    refuse_links(path.parent)
    npz.write_arrays(path, _arrays(factors), {npz.SCHEMA_VERSION: SCHEMA, **_settings(factors)})


def load_factors(path: Location) -> Factors:
    """Read what `save_factors` wrote.

    Raises
    ------
    StorageError
        The file is missing or not whole.
    DataError
        The file does not hold factors: arrays or settings are missing, of other types or shapes or not finite, or
        ids repeat.
    """
    arrays = npz.read_arrays(path)
    npz.require_arrays(arrays, (*ARRAYS, *SCALER_ARRAYS, npz.SETTINGS), path)
    settings = npz.parse_settings(arrays, SCHEMA, path)
    missing = [key for key in ("name", "protocol", "scaler", "config", "quality") if key not in settings]
    if missing:
        raise DataError(f"{path}: the settings lack {', '.join(missing)}.")
    scaler = Scaler(settings["scaler"], arrays["scaler_offset"], arrays["scaler_scale"])
    factors = Factors(
        name=settings["name"],
        **{name: arrays[name] for name in (*ARRAYS, *SECOND_ARRAYS, *HALF_ARRAYS) if name in arrays},
        scaler=scaler,
        protocol=settings["protocol"],
        config=settings["config"],
        quality=settings["quality"],
        split_name=settings.get("split_name"),
    )
    _check(factors, path)
    return factors


def read_external_factors(path: Location) -> Factors:
    """Read external factors from an ``.npz`` of plain arrays.

    Parameters
    ----------
    path : Path or UPath
        Holds ``ids`` (n_tracks,), text or integers, and ``item_factors`` (n_tracks, n_factors), any float; may hold
        ``playlist_factors`` (n_playlists, n_factors), and with them ``playlist_ids`` (n_playlists,).

    Returns
    -------
    Factors
        Named after the file, unscaled, with the protocol "given". A row of zeros counts as no factors. Default ids
        of playlists are their row numbers, from 0.

    Raises
    ------
    StorageError
        The file is missing or not whole.
    DataError
        Arrays are missing, pickled, of other types or shapes, hold values that are not finite, or repeat ids.
    """
    arrays = npz.read_arrays(path)
    npz.require_arrays(arrays, ("ids", "item_factors"), path)
    item_factors = _matrix(arrays["item_factors"], "item_factors", path)
    n_factors = item_factors.shape[1]
    playlist_factors = _matrix(
        arrays.get("playlist_factors", np.zeros((0, n_factors), np.float32)), "playlist_factors", path
    )
    playlist_ids = arrays.get("playlist_ids", np.arange(len(playlist_factors)))
    factors = Factors(
        name=path.stem,
        track_ids=_text(arrays["ids"], "ids", path),
        item_factors=item_factors,
        has_factors=item_factors.any(axis=1),
        playlist_ids=_text(playlist_ids, "playlist_ids", path),
        playlist_factors=playlist_factors,
        scaler=Scaler("none", np.zeros(n_factors, np.float32), np.ones(n_factors, np.float32)),
        protocol="given",
        config=None,
        quality={},
    )
    _check(factors, path)
    return factors


def align_external_factors(
    factors: Factors, track_ids: Sequence[str] | npt.NDArray[np.str_]
) -> tuple[Factors, tuple[str, ...]]:
    """Put the rows of external factors in the order of a dataset's tracks.

    Parameters
    ----------
    factors : Factors
        Result of `read_external_factors`.
    track_ids : sequence of str, length n_tracks
        The dataset's tracks. One without factors gets a zero row and `has_factors` False.

    Returns
    -------
    aligned : Factors
        Rows as `track_ids`; the scaler is not fitted yet.
    unknown : tuple of str
        Tracks that the dataset lacks; they are left out.

    Raises
    ------
    DataError
        `track_ids` repeats an id, or shares none with the factors.
    """
    wanted = np.asarray(track_ids, dtype=np.str_)
    npz.check_ids(wanted, "track ids", "dataset")
    known, new_rows, old_rows = np.intersect1d(
        wanted, factors.track_ids, assume_unique=True, return_indices=True
    )
    if len(known) == 0:
        raise DataError(
            f"the factors {factors.name!r} and the dataset have no track in common: the dataset holds "
            f"{wanted[:3].tolist()}, the factors {factors.track_ids[:3].tolist()}."
        )
    item_factors = np.zeros((len(wanted), factors.item_factors.shape[1]), dtype=np.float32)
    has_factors = np.zeros(len(wanted), dtype=np.bool_)
    item_factors[new_rows] = factors.item_factors[old_rows]
    has_factors[new_rows] = factors.has_factors[old_rows]
    unknown = np.setdiff1d(factors.track_ids, known, assume_unique=True)
    aligned = replace(factors, track_ids=wanted, item_factors=item_factors, has_factors=has_factors)
    return aligned, tuple(unknown.tolist())


def adapt_to_split(factors: Factors, split_name: str | None, is_train: npt.NDArray[np.bool_]) -> Factors:
    """Return factors for a split whose train tracks are `is_train`, shape (n_tracks,).

    Those of the thesis protocol, and imported ones, are scaled again by these tracks.

    Raises
    ------
    ConfigError
        When the factors were fitted by the strict protocol for another split: interactions of test tracks would be
        in them.
    """
    if factors.split_name == split_name:
        return factors
    if factors.protocol == "strict":
        raise ConfigError(
            f"Factors {factors.name!r} were fitted for {describe_split(factors.split_name)}, with interactions of "
            f"test tracks of {describe_split(split_name)}; fit others by `cs-keras factors` with "
            f"{'another --name' if split_name is None else f'--split-name {split_name} and another --name'}."
        )
    train = is_train & factors.has_factors
    if not train.any():
        raise DataError(f"No train track of {describe_split(split_name)} has factors {factors.name!r}.")
    scaler = fit_scaler(factors.scaler.kind, factors.item_factors[train])
    return replace(factors, scaler=scaler, split_name=split_name)


def describe_split(name: str | None) -> str:
    """Return the name of a split in a sentence."""
    return "the stored folds" if name is None else f"split {name!r}"


def _arrays(factors: Factors) -> npz.Arrays:
    scaler = dict(zip(SCALER_ARRAYS, (factors.scaler.offset, factors.scaler.scale), strict=True))
    repeats = {name: getattr(factors, name) for name in (*SECOND_ARRAYS, *HALF_ARRAYS)}
    repeats = {name: array for name, array in repeats.items() if array is not None}
    return {name: getattr(factors, name) for name in ARRAYS} | scaler | repeats


def _settings(factors: Factors) -> dict[str, Any]:
    named = {} if factors.split_name is None else {"split_name": factors.split_name}
    return {
        **named,
        "name": factors.name,
        "protocol": factors.protocol,
        "scaler": factors.scaler.kind,
        "config": factors.config,
        "quality": factors.quality,
    }


def _check(factors: Factors, path: Location) -> None:
    for what, value, valid in (
        ("protocol", factors.protocol, get_args(Origin)),
        ("scaler", factors.scaler.kind, get_args(Kind)),
    ):
        if value not in valid:
            raise DataError(f"{path}: {what} must be one of {', '.join(valid)}. Received: {value!r}.")
    npz.check_ids(factors.track_ids, "track_ids", path)
    npz.check_ids(factors.playlist_ids, "playlist_ids", path)
    n_tracks, n_playlists = len(factors.track_ids), len(factors.playlist_ids)
    n_factors = factors.item_factors.shape[-1] if factors.item_factors.ndim else 0
    shapes = {
        "item_factors": (n_tracks, n_factors),
        "has_factors": (n_tracks,),
        "playlist_factors": (n_playlists, n_factors),
        **dict.fromkeys(SCALER_ARRAYS, (n_factors,)),
    }
    arrays = _arrays(factors)
    if any(name in arrays for name in SECOND_ARRAYS):
        shapes |= zip(SECOND_ARRAYS, (shapes["item_factors"], shapes["playlist_factors"]), strict=True)
    if any(name in arrays for name in HALF_ARRAYS):
        shapes |= zip(HALF_ARRAYS, ((2, n_tracks, n_factors), (2, n_playlists, n_factors)), strict=True)
    npz.require_arrays(arrays, tuple(shapes), path)
    for name, shape in shapes.items():
        array = arrays[name]
        dtype = np.dtype(np.bool_ if name == "has_factors" else np.float32)
        if array.dtype != dtype or array.shape != shape:
            raise DataError(
                f"{path}: {name} must be {dtype} of shape {shape}. "
                f"Received: {array.dtype} of shape {array.shape}."
            )
        if not np.isfinite(array).all():
            row = np.argwhere(~np.isfinite(array))[0][0]
            raise DataError(f"{path}: {name} must be finite, but row {row} (from 0) is not.")


def _matrix(array: npt.NDArray[Any], what: str, path: Location) -> FloatArray:
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind != "f":
        raise DataError(
            f"{path}: {what} must be a matrix of floats with one row per id. "
            f"Received: {array.dtype} of shape {array.shape}."
        )
    with np.errstate(over="ignore"):  # what overflows float32 is refused as not finite
        return array.astype(np.float32)


def _text(ids: npt.NDArray[Any], what: str, path: Location) -> npt.NDArray[np.str_]:
    if ids.dtype.kind not in "Uiu":
        raise DataError(f"{path}: {what} must be text or integers. Received: {ids.dtype}.")
    return ids.astype(np.str_)
