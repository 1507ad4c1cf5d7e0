"""The built-in demo dataset: synthesised music and playlists, through the same ingest and factors as real data."""

from pathlib import Path

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.catalogue import read_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.write import write_demo_source
from cs_keras.data.schema import factors_path, read_info
from cs_keras.errors import ConfigError
from cs_keras.factors.wmf import WmfConfig
from cs_keras.messages import count
from cs_keras.progress import Progress, SilentProgress
from cs_keras.runs import remove_temporaries
from cs_keras.storage.open_files import refuse_links
from pipelines.dataset.ingest import IngestConfig, ingest
from pipelines.factors.fit import FactorsConfig, make_factors
from pipelines.factors.open import DEFAULT_NAME

SOURCE = "source"
# Recommended for the default demo by `cs-keras factors demo/source/listening.csv demo --select --ranks 16,32`
# (docs/factors.md).
DEMO_FACTORS = WmfConfig(factors=32, alpha=1.0, regularization=0.01, iterations=50)


def make_demo(
    folder: Path,
    settings: DemoConfig | None = None,
    progress: Progress | None = None,
    audio: AudioConfig | None = None,
) -> None:
    """Make the demo dataset, resuming an earlier call.

    Recordings, tables and latent variables are written to ``source`` in the dataset `folder`.

    Raises ConfigError when the folder holds demo data of other settings, StorageError when files cannot be
    written.
    """
    progress, settings, audio = progress or SilentProgress(), settings or DemoConfig(), audio or AudioConfig()
    source = folder / SOURCE
    refuse_links(source)
    remove_temporaries(folder)
    with progress.task("synthesise", settings.n_tracks) as advance:
        write_demo_source(source, settings, on_progress=lambda done, total: advance(1))
    if factors_path(folder, DEFAULT_NAME).exists():
        there = read_info(folder).audio
        if there != audio:
            raise ConfigError(f"{folder} was made with audio = {there}; this command has audio = {audio}.")
        return
    progress.log(f"demo: {count(settings.n_tracks, 'track')} synthesised in {source}")
    result = ingest(read_catalogue(source / "tracks.csv"), folder, IngestConfig(audio), progress)
    progress.log(f"demo: {count(result.n_tracks, 'track')} ingested into {folder}")
    factors, _ = make_factors(source / "listening.csv", folder, FactorsConfig(DEMO_FACTORS))
    progress.log(
        f"demo: {count(len(factors.playlist_ids), 'playlist')} factorised in {DEMO_FACTORS.factors} dimensions"
    )
