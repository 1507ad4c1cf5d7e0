"""Write the demo data in the formats of users' data: WAV files, a table of tracks, a table of interactions."""

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
from cs_keras.data.demo.interactions import draw_dislikes, draw_interactions
from cs_keras.data.demo.style import Style, style_matrix
from cs_keras.data.demo.synthesis import synthesise
from cs_keras.data.demo.tags import tags_of
from cs_keras.errors import ConfigError
from cs_keras.runs import atomic_write, read_json, write_json, write_npz

GENERATOR_VERSION = 1  # increment when the same settings give other files
SETTINGS_FILE = "demo.json"


def write_demo_source(
    directory: str | Path,
    config: DemoConfig | None = None,
    *,
    n_workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write audio, tables and latent variables; resume after an earlier call with the same settings.

    Writes ``audio/TRACK_ID.wav`` (mono, 16-bit PCM), ``tracks.csv`` (path, track_id, artist, title, album, isrc,
    genres), ``attributes.csv`` (track_id and the style's quantities in their units), ``tags.csv`` (track_id, tag;
    see `cs_keras.data.demo.tags`), ``listening.csv`` (playlist_id, track_id, count), ``feedback.csv`` (the
    same with a like for each of its rows, and with dislikes; see `draw_dislikes`), ``truth.npz`` (see
    `truth_arrays`) and ``demo.json`` (the settings). The same settings give the same bytes, with any number of
    threads, `n_workers`. `on_progress` is called with the number of finished tracks and of all tracks, after each
    track.

    Raises ConfigError if the folder holds other files than demo data of the same settings, or `n_workers` is
    below 1, and StorageError if a file cannot be written.
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
            map(audio_path, catalogue.track_ids),
            *(
                getattr(catalogue, name)
                for name in ("track_ids", "artists", "titles", "albums", "isrcs", "genres")
            ),
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
    _write_table(
        directory / "tags.csv",
        ("track_id", "tag"),
        (
            (track_id, tag)
            for track_id, style in zip(catalogue.track_ids, catalogue.styles, strict=True)
            for tag in tags_of(style)
        ),
    )
    columns = (column.tolist() for column in draw_interactions(catalogue, config))
    plays = [(f"playlist{p:06d}", catalogue.track_ids[t], n) for p, t, n in zip(*columns, strict=True)]
    _write_table(directory / "listening.csv", ("playlist_id", "track_id", "count"), plays)
    columns = (column.tolist() for column in draw_dislikes(catalogue, config))
    dislikes = [(f"playlist{p:06d}", catalogue.track_ids[t], 1) for p, t in zip(*columns, strict=True)]
    _write_table(
        directory / "feedback.csv",
        ("playlist_id", "track_id", "count", "feedback"),
        sorted([(*row, 1) for row in plays] + [(*row, -1) for row in dislikes]),
    )
    write_npz(directory / "truth.npz", **truth_arrays(catalogue))


def audio_path(track_id: str) -> str:
    """Return the path of a track's recording, relative to the demo folder."""
    return f"audio/{track_id}.wav"


def render_track(catalogue: DemoCatalogue, index: int, config: DemoConfig) -> bytes:
    """Return row `index` of the catalogue of `config` as a mono, 16-bit PCM WAV file.

    It depends on the settings and the index alone.
    """
    rng = np.random.default_rng([config.seed, 2, index])
    samples = synthesise(catalogue.styles[index], float(catalogue.duration_s[index]), config.sample_rate, rng)
    file = io.BytesIO()
    soundfile.write(file, samples, config.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def truth_arrays(catalogue: DemoCatalogue) -> dict[str, np.ndarray[Any, Any]]:
    """Return the latent variables of the tracks.

    ``track_ids`` (n_tracks,); ``style`` (n_tracks, n_dims), standardised, float32; ``style_names`` (n_dims,);
    ``social`` (n_tracks, n_social), float32; ``social_names`` (n_social,); ``popularity`` (n_tracks,), float64.
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
    """Write the settings file, or raise ConfigError if the folder holds other files."""
    path = directory / SETTINGS_FILE
    settings = {"generator_version": GENERATOR_VERSION, **to_dict(config)}
    if path.exists():
        found = read_json(path)
        if found != settings:
            names = [
                name for name in settings if not isinstance(found, dict) or found.get(name) != settings[name]
            ]
            raise ConfigError(
                f"{directory} holds demo data of other settings ({', '.join(names)}); expected a new folder "
                f"or the settings in {path}."
            )
        return
    others = (
        "audio",
        "tracks.csv",
        "attributes.csv",
        "tags.csv",
        "listening.csv",
        "feedback.csv",
        "truth.npz",
    )
    taken = [name for name in others if (directory / name).exists()]
    if taken:
        raise ConfigError(
            f"{directory} holds {', '.join(taken)} but no {SETTINGS_FILE}; expected a new folder."
        )
    write_json(path, settings)


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


def _write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
