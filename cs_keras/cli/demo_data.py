"""``cs-keras demo-data``: the built-in demo dataset."""

from pathlib import Path

import click

from cs_keras.cli.console import Console, conclude
from cs_keras.cli.options import LOCAL_PATH, Command, renamed
from cs_keras.messages import count


@click.command("demo-data", cls=Command)
@click.argument("folder", metavar="DIR", type=LOCAL_PATH)
@click.option("--n-tracks", type=int, help="Number of tracks to synthesise.  [default: 1400]")
@renamed(
    "--tracks",
    "--n-tracks",
    "--tracks takes a tracks.csv; for the number of tracks to synthesise use --n-tracks.",
)
@click.option("--n-artists", type=int, help="Number of artists.  [default: one per five tracks]")
@renamed("--artists", "--n-artists")
@click.option("--n-playlists", type=int, help="Number of playlists to draw.  [default: two per track]")
@renamed("--playlists", "--n-playlists")
@click.option("--seed", type=int, help="Seed of music and playlists.  [default: 0]")
@click.option("--waveforms", is_flag=True, help="Store waveforms, as ingest --waveforms does.")
def command(folder: Path, waveforms: bool, **changes: int | None) -> None:
    """Synthesise music and playlists as a demo dataset.

    DIR/source contains the data that a user would have (WAV files, tracks.csv, listening.csv, feedback.csv) and the
    ground truth of the generator. The same settings give the same bytes.
    """
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.data.demo.config import DemoConfig
    from pipelines.demo import make_demo

    given = {name: value for name, value in changes.items() if value is not None}
    settings = DemoConfig.of_size(**{"n_tracks": DemoConfig.n_tracks, **given})
    make_demo(folder, settings, Console(), AudioConfig(content="waveform" if waveforms else "magnitude"))
    conclude(
        f"{folder}: {count(settings.n_tracks, 'track')} by {count(settings.n_artists, 'artist')}; its sources are "
        f"in {folder}/source.",
        *("run-baselines", folder),
    )
