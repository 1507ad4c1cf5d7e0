"""``cs-keras demo-data``: the built-in demo dataset."""

from pathlib import Path

import click

from cs_keras.cli.paths import LOCAL_PATH


@click.command("demo-data")
@click.argument("folder", metavar="DIR", type=LOCAL_PATH)
@click.option("--tracks", "n_tracks", type=int, help="Tracks to synthesise.")
@click.option("--artists", "n_artists", type=int, help="Artists they are by.")
@click.option("--playlists", "n_playlists", type=int, help="Playlists to draw.")
@click.option("--seed", type=int, help="Everything follows from it.")
@click.option("--waveforms", is_flag=True, help="Keep samples, as ingest --waveforms does.")
def command(folder: Path, waveforms: bool, **changes: int | None) -> None:
    """Synthesise music and playlists, and make them the dataset DIR.

    DIR/source holds what real data would be: WAV files, tracks.csv and listening.csv, and besides them the
    generator's truth. The same settings give the same bytes.
    """
    from cs_keras.cli.console import Console, quiet_tensorflow

    quiet_tensorflow()
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.data.demo.config import DemoConfig
    from pipelines.demo import make_demo

    settings = DemoConfig(**{name: value for name, value in changes.items() if value is not None})
    audio = AudioConfig(content="waveform" if waveforms else "magnitude")
    make_demo(folder, settings, Console(), audio)
    click.echo(
        f"{folder}: {settings.n_tracks} tracks by {settings.n_artists} artists; its sources are in {folder}/source."
    )
