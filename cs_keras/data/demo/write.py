"""Write the demo data as a user's own would come: WAV files, a table of tracks and a table of listening."""

import csv
import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from cs_keras.config import check_range, to_dict
from cs_keras.data.demo.catalogue import SOCIAL_NAMES, DemoCatalogue, draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.interactions import DemoInteractions, draw_interactions
from cs_keras.data.demo.style import Style, style_matrix
from cs_keras.data.demo.synthesis import synthesise
from cs_keras.errors import ConfigError
from cs_keras.runs import atomic_write, read_json, write_json, write_npz

GENERATOR_VERSION = 1  # raise it whenever the same settings come to give other files
MARK = "demo.json"


def write_demo_source(
    directory: str | Path,
    config: DemoConfig | None = None,
    *,
    n_workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write audio, tables and truth; go on where an earlier call with the same settings stopped.

    The folder comes to hold ``audio/TRACK_ID.wav`` (mono, 16-bit PCM), ``tracks.csv`` (path, track_id, artist,
    title, album, isrc, genres), ``attributes.csv`` (track_id and the style's quantities in their units),
    ``listening.csv`` (playlist_id, track_id, count), ``truth.npz`` (see `truth_arrays`) and ``demo.json``, which
    names the settings. The same settings give the same bytes,
    whatever the number of workers.

    Parameters
    ----------
    directory : str or Path
        Made if there is none.
    config : DemoConfig, optional
    n_workers : int
        Threads; NumPy releases the interpreter lock while it computes.
    on_progress : callable, optional
        Called with the number of tracks done and of all tracks, whenever one is done.

    Raises
    ------
    ConfigError
        If the folder holds something else than demo data of the same settings, or `n_workers` is below 1.
    StorageError
        If a file cannot be written.
    """
    directory, config = Path(directory), config or DemoConfig()
    check_range("n_workers", n_workers, 1)
    _claim(directory, config)
    catalogue = draw_catalogue(config)
    _write_audio(directory, catalogue, config, n_workers, on_progress)
    _write_table(
        directory / "tracks.csv",
        ("path", "track_id", "artist", "title", "album", "isrc", "genres"),
        zip(
            [audio_path(track_id) for track_id in catalogue.track_ids],
            catalogue.track_ids,
            catalogue.artists,
            catalogue.titles,
            catalogue.albums,
            catalogue.isrcs,
            catalogue.genres,
            strict=True,
        ),
    )
    _write_table(
        directory / "attributes.csv",
        ("track_id", *Style.names()),
        (
            (track_id, *(f"{getattr(style, name):.6g}" for name in Style.names()))
            for track_id, style in zip(catalogue.track_ids, catalogue.styles, strict=True)
        ),
    )
    listening = draw_interactions(catalogue, config)
    _write_table(
        directory / "listening.csv",
        ("playlist_id", "track_id", "count"),
        _listening_rows(listening, catalogue),
    )
    write_npz(directory / "truth.npz", **truth_arrays(catalogue))


def audio_path(track_id: str) -> str:
    """Path of a track's recording, relative to the demo folder."""
    return f"audio/{track_id}.wav"


def render_track(catalogue: DemoCatalogue, index: int, config: DemoConfig) -> bytes:
    """Synthesise one track as a WAV file.

    Parameters
    ----------
    catalogue : DemoCatalogue
    index : int
        Row of the track.
    config : DemoConfig
        The one the catalogue was drawn with.

    Returns
    -------
    bytes
        A mono, 16-bit PCM WAV file; it depends on the settings and the index alone.
    """
    rng = np.random.default_rng([config.seed, 2, index])
    samples = synthesise(catalogue.styles[index], float(catalogue.duration_s[index]), config.sample_rate, rng)
    file = io.BytesIO()
    soundfile.write(file, samples, config.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def truth_arrays(catalogue: DemoCatalogue) -> dict[str, np.ndarray[Any, Any]]:
    """Collect what is true of the tracks and hidden from models.

    Parameters
    ----------
    catalogue : DemoCatalogue

    Returns
    -------
    dict
        track_ids (n_tracks,) str; style (n_tracks, n_dims) float32, standardised; style_names (n_dims,) str;
        social (n_tracks, n_social) float32; social_names (n_social,) str; popularity (n_tracks,) float64.
    """
    return {
        "track_ids": np.array(catalogue.track_ids),
        "style": style_matrix(catalogue.styles),
        "style_names": np.array(Style.names()),
        "social": catalogue.social,
        "social_names": np.array(SOCIAL_NAMES),
        "popularity": catalogue.popularity,
    }


def _claim(directory: Path, config: DemoConfig) -> None:
    """Mark the folder as holding the demo data of these settings, or refuse it."""
    mark = directory / MARK
    settings = {"generator_version": GENERATOR_VERSION, **to_dict(config)}
    if mark.exists():
        found = read_json(mark)
        if found != settings:
            names = [
                name for name in settings if not isinstance(found, dict) or found.get(name) != settings[name]
            ]
            raise ConfigError(
                f"{directory} holds demo data of other settings ({', '.join(names)}); expected a new folder "
                f"or the settings in {mark}."
            )
        return
    others = ("audio", "tracks.csv", "attributes.csv", "listening.csv", "truth.npz")
    taken = [name for name in others if (directory / name).exists()]
    if taken:
        raise ConfigError(f"{directory} holds {', '.join(taken)} but no {MARK}; expected a new folder.")
    write_json(mark, settings)


def _write_audio(
    directory: Path,
    catalogue: DemoCatalogue,
    config: DemoConfig,
    n_workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    def write_track(index: int) -> None:
        path = directory / audio_path(catalogue.track_ids[index])
        n_samples = round(catalogue.duration_s[index] * config.sample_rate)
        if not _is_whole(path, n_samples):
            with atomic_write(path) as file:
                file.write(render_track(catalogue, index, config))

    with ThreadPoolExecutor(n_workers) as workers:
        for n_done, _ in enumerate(workers.map(write_track, range(config.n_tracks)), start=1):
            if on_progress:
                on_progress(n_done, config.n_tracks)


def _is_whole(path: Path, n_samples: int) -> bool:
    try:
        return bool(soundfile.info(path).frames == n_samples)
    except (OSError, soundfile.LibsndfileError):
        return False


def _listening_rows(listening: DemoInteractions, catalogue: DemoCatalogue) -> Iterable[tuple[str, str, int]]:
    for playlist, track, count in zip(
        listening.playlists.tolist(), listening.tracks.tolist(), listening.counts.tolist(), strict=True
    ):
        yield f"playlist{playlist:06d}", catalogue.track_ids[track], count


def _write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
