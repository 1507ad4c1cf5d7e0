"""Checks of a dataset: each takes loaded data and returns findings, none if all is correct."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from isal.isal_zlib import crc32  # the standard CRC-32, several times as fast

from cs_keras import config
from cs_keras.audio.settings import AudioConfig
from cs_keras.data.folds import SPLITS, empty_splits, group_keys, hash_fold
from cs_keras.data.schema import DatasetInfo, Tracks
from cs_keras.data.shards import Frames, Shard, ShardTrack, verify_track
from cs_keras.parsing import parse_json

Severity = Literal["error", "notice"]
Row = dict[str, Any]

# re a full-scale sine; ingest accepts noise that peaks at -80 dB
SILENCE_DB = -120.0


@dataclass(frozen=True)
class Finding:
    """A defect (``error``) or a notice about the file `where`, with the expected and the found value."""

    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return self.message if self.where in self.message else f"{self.where}: {self.message}"


@dataclass(frozen=True)
class Leakage:
    """Artists, albums (by artist) and pairs of near-duplicate recordings that two splits share.

    Attributes
    ----------
    n_tracks, n_known_artists, n_known_albums
        Tracks of both splits, those whose artist is known, and those whose album is known as well.
    duplicates
        None if they were not searched.
    split_name
        None for the split by folds.
    """

    splits: tuple[str, str]
    n_tracks: int
    n_known_artists: int
    n_known_albums: int
    artists: tuple[str, ...]
    albums: tuple[str, ...]
    duplicates: int | None
    split_name: str | None = None


def errors(where: str, sentences: Iterable[str]) -> list[Finding]:
    """Return an error for each sentence."""
    return [Finding("error", where, sentence) for sentence in sentences]


def check_document(info: DatasetInfo, tracks: Tracks, n_tracks: object, where: str) -> list[Finding]:
    """Check that ``dataset.json``, with its `n_tracks`, and the track table were written together."""
    sentences = []
    if n_tracks != len(tracks):
        sentences.append(f"it was written for {n_tracks} tracks; the table holds {len(tracks)}.")
    both = {entry.track_id for entry in info.left_out} & set(tracks.ids.tolist())
    sentences += [f"track {i!r} is listed as left out; the table holds it." for i in sorted(both)]
    return errors(where, sentences)


def check_folds(info: DatasetInfo, tracks: Tracks, where: str) -> list[Finding]:
    """Check that no split is empty, that each group has one fold, and that hashed folds equal the hash.

    Appending keeps the folds of known groups; hashed ones follow the hash as well. Folds that were given with the
    data need not keep groups together.
    """
    folds = tracks.numbers("fold").tolist()
    sentences = [
        f"no track is in the {split} folds ({_listed(SPLITS[split])})." for split in empty_splits(folds)
    ]
    if info.fold_assignment == "given":
        return errors(where, sentences)
    fold_by = "track" if info.fold_assignment == "round-robin by track" else info.fold_by
    keys = group_keys(tracks.strings("track_id"), tracks.strings("artist"), fold_by)
    folds_of: dict[str, set[int]] = defaultdict(set)
    for key, fold in zip(keys, folds, strict=True):
        folds_of[key].add(fold)
    anonymous, n_moved = {f"track:{track_id}" for track_id in tracks.ids.tolist()}, 0
    for key, found in folds_of.items():
        if len(found) > 1:
            sentences.append(f"{fold_by} {key!r} has tracks in folds {_listed(found)}; expected one.")
        elif info.fold_assignment == "hash" and found != {hash_fold(key)}:
            n_moved += key in anonymous
            if key not in anonymous:
                sentences.append(
                    f"{fold_by} {key!r} is in fold {_listed(found)}; its hash gives {hash_fold(key)}."
                )
    if n_moved:
        sentences.append(
            f"{n_moved} tracks without an artist are not in the folds of their hashes: lost artists?"
        )
    return errors(where, sentences)


def check_parameters(info: DatasetInfo, shard: Shard, where: str) -> list[Finding]:
    """Check checksums, audio settings and dtype of the shard `where` against ``dataset.json``."""
    sentences = []
    made, wanted = shard_audio(shard), config.to_dict(info.audio)
    if made != wanted:
        sentences.append(f"it was made with audio {made}; the dataset's are {wanted}.")
    recorded, written = info.shards.get(where), shard.attributes.get("checksum")
    if recorded not in (None, written):
        sentences.append(
            f"it is not the one that was ingested: expected checksum {recorded}. Received: {written}."
        )
    if info.headers.get(where) not in (None, shard.rest_checksum):
        sentences.append("its header was altered.")
    expected, dtype = info.audio.frame_size, np.dtype(info.dtype)
    if (shard.shape[1], shard.dtype) != (expected, dtype):
        what = "samples" if info.audio.holds_waveforms else "bins"
        sentences.append(
            f"it holds {shard.shape[1]} {what} as {shard.dtype}; expected {expected} as {dtype}."
        )
    return errors(where, sentences)


def check_layout(shard: Shard, rows: Sequence[Row], where: str) -> list[Finding]:
    """Check a shard's own track table against `rows`, the table's rows for it, and against its frames."""
    inside = {track.track_id: (track.first_frame, track.n_frames) for track in shard.tracks}
    listed = {row["track_id"]: (row["first_frame"], row["n_frames"]) for row in rows}
    sentences = []
    for track_id, (first, n) in listed.items():
        if track_id not in inside:
            sentences.append(f"track {track_id!r} is not in it; the table has {n} frames from frame {first}.")
        elif inside[track_id] != (first, n):
            there = inside[track_id]
            sentences.append(
                f"track {track_id!r} is {there[1]} frames from frame {there[0]}; the table has {n} from {first}."
            )
    sentences += [
        f"track {track_id!r} is in it and not in the table." for track_id in inside if track_id not in listed
    ]
    if len(inside) < len(shard.tracks):
        sentences.append("its own track table names a track twice.")
    sentences += _gaps(shard)
    return errors(where, sentences)


def check_frames(track: ShardTrack, frames: Frames, audio: AudioConfig, where: str) -> list[Finding]:
    """Check one track's magnitudes or samples, as stored, shape (n_frames, frame_size), float16 or float32."""
    what, silence = "sample" if audio.holds_waveforms else "magnitude", silent_level(audio)
    sentences = []
    if not verify_track(track, frames):
        found = crc32(np.ascontiguousarray(frames).data)
        sentences.append(f"was altered: CRC-32 {track.crc32:08x} expected, {found:08x} found.")
    if not frames.size:
        sentences.append("has no frames.")
    elif audio.holds_waveforms and not np.isfinite(frames).all():
        sentences.append(f"has {int((~np.isfinite(frames)).sum())} samples that are not finite.")
    elif not audio.holds_waveforms and not is_finite_magnitude(frames):
        values = frames.astype(np.float32)
        n_bad, n_negative = int((~np.isfinite(values)).sum()), int((values < 0).sum())
        sentences.append(f"has {n_bad} values that are not finite and {n_negative} that are negative.")
    elif frames.max() <= silence and frames.min() >= -silence:
        sentences.append(
            f"is silent: no {what} exceeds {silence:.3g} ({SILENCE_DB:g} dB re a full-scale sine)."
        )
    return errors(where, (f"track {track.track_id!r} {sentence}" for sentence in sentences))


def is_finite_magnitude(frames: Frames) -> bool:
    """Return whether all values are finite and not negative.

    Bit patterns order non-negative floats as their values, with infinity, NaN and negative ones last: an integer
    maximum decides, twenty times as fast as `numpy.isfinite` on float16.
    """
    bits = np.dtype(f"u{frames.dtype.itemsize}")
    infinity = np.array(np.inf, frames.dtype).view(bits)
    return bool(frames.view(bits).max(initial=0) < infinity) or bool(
        np.isfinite(frames).all() and (frames >= 0).all()  # -0.0 counts as 0
    )


def silent_level(audio: AudioConfig) -> float:
    """Return the level of a sine at `SILENCE_DB`: its amplitude, or that times half the sum of the window."""
    amplitude = float(10 ** (SILENCE_DB / 20))
    if audio.holds_waveforms:
        return amplitude
    mean_of_window = {"hann": 0.5, "hamming": 0.54}[audio.window]
    return amplitude * mean_of_window * audio.n_fft / 2


def shard_audio(shard: Shard) -> dict[str, Any] | None:
    """Return the audio settings that a shard was made with; None if it has none."""
    try:
        audio = parse_json(shard.attributes["audio"])
    except (KeyError, TypeError, ValueError):
        return None
    return audio if isinstance(audio, dict) else None


def check_duplicates(tracks: Tracks, pairs: Iterable[tuple[int, int, float]], where: str) -> list[Finding]:
    """Report near-duplicates: an error if they are in different splits, else a notice.

    `pairs` are two rows of the track table and the bit error rate of their fingerprints.
    """
    names, ids = tracks.parts, tracks.ids
    findings = []
    for a, b, rate in pairs:
        severity: Severity = "notice" if names[a] == names[b] else "error"
        findings.append(
            Finding(
                severity,
                where,
                f"tracks {str(ids[a])!r} ({names[a]}) and {str(ids[b])!r} ({names[b]}) are near-duplicates: "
                f"{rate:.1%} of their fingerprints' bits differ.",
            )
        )
    return findings


def check_artists(tracks: Tracks, where: str) -> list[Finding]:
    """Report tracks whose artist is unknown, and those whose artist is from the name of a folder or file."""
    artists, n = tracks.strings("artist"), len(tracks)
    unknown = [i for i, artist in zip(tracks.strings("track_id"), artists, strict=True) if not artist.strip()]
    from_folder = np.flatnonzero(tracks.table["artist_from_folder"].to_numpy() == np.True_)
    findings = []
    if unknown:
        message = (
            f"the artist of {len(unknown)} of {n} tracks is unknown (such as {unknown[0]!r}): folds cannot keep "
            "artists together there, and artist-filtered overlap leaves these queries out. Artists are read from "
            "--tracks, tags, folders (Artist/Album/track), or file names (Artist - Title)."
        )
        findings.append(Finding("notice", where, message))
    if len(from_folder):
        first = from_folder[0]
        message = (
            f"the artist of {len(from_folder)} of {n} tracks is from the name of a folder or file (such as "
            f"{artists[first]!r} for {str(tracks.ids[first])!r}); give others by --tracks."
        )
        findings.append(Finding("notice", where, message))
    return findings


def measure_leakage(tracks: Tracks, pairs: Iterable[tuple[int, int, float]] | None = ()) -> list[Leakage]:
    """Measure what each pair of splits shares; `pairs` as in `check_duplicates`, or None if not looked for."""
    names, ids = tracks.parts, tracks.strings("track_id")
    artists = group_keys(ids, tracks.strings("artist"), "artist")
    albums = [" ".join(album.split()).casefold() for album in tracks.strings("album")]
    crossing = Counter(frozenset((names[a], names[b])) for a, b, _ in pairs or ())
    artists_of, albums_of = defaultdict(list), defaultdict(list)
    for name, artist, album, known in zip(names, artists, albums, tracks.strings("artist"), strict=True):
        if known.strip():
            artists_of[name].append(artist)
            if album:
                albums_of[name].append(f"{artist}: {album}")
    sizes = Counter(names.tolist())
    return [
        Leakage(
            (one, other),
            sizes[one] + sizes[other],
            len(artists_of[one]) + len(artists_of[other]),
            len(albums_of[one]) + len(albums_of[other]),
            tuple(sorted({*artists_of[one]} & {*artists_of[other]})),
            tuple(sorted({*albums_of[one]} & {*albums_of[other]})),
            None if pairs is None else crossing[frozenset((one, other))],
            tracks.split.name if tracks.split else None,
        )
        for one, other in combinations(SPLITS, 2)
    ]


def _gaps(shard: Shard) -> list[str]:
    """Report tracks that overlap, and frames without a track."""
    sentences, end, before = [], 0, ""
    for track in sorted(shard.tracks, key=lambda track: (track.first_frame, track.n_frames)):
        if track.first_frame < end:
            sentences.append(
                f"tracks {before!r} and {track.track_id!r} overlap from frame {track.first_frame} on."
            )
        elif track.first_frame > end:
            sentences.append(f"frames {end} to {track.first_frame - 1} belong to no track.")
        if track.first_frame + track.n_frames >= end:
            end, before = track.first_frame + track.n_frames, track.track_id
    if end < shard.shape[0]:
        sentences.append(f"frames {end} to {shard.shape[0] - 1} belong to no track.")
    return sentences


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values)))
