"""``cs-keras tags``: tags of recordings by a published tagger."""

import shlex
from pathlib import Path

import click

from cs_keras.cli.console import print_next, quiet_tensorflow
from cs_keras.cli.options import LOCAL_PATH, Command
from cs_keras.errors import AudioError, CsKerasError


@click.command("tags", cls=Command)
@click.argument("audio", nargs=-1, required=True, type=LOCAL_PATH)
@click.option(
    "--tagger",
    default="choi",
    metavar="NAME",
    help="choi, of 2017; musicnn, musicnn-mtt, musicnn-vgg or musicnn-vgg-mtt, of 2019.",
)
@click.option(
    "--weights",
    type=LOCAL_PATH,
    help="Its weights: of choi the second generation (model_best.hdf5).  [default: the installed package musicnn]",
)
@click.option("-n", "n_tags", type=click.IntRange(1, 50), default=5, help="Tags to print.")
def command(audio: tuple[Path, ...], tagger: str, weights: Path | None, n_tags: int) -> None:
    """Print the most probable tags of recordings.

    AUDIO are files and folders. Each line is a recording, then its tags with their probabilities, means over
    consecutive windows, the most probable first. Unusable recordings are listed and skipped; if all are unusable,
    the exit status is 1.
    """
    quiet_tensorflow()
    from cs_keras.audio.decode import load_mono
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.data.catalogue import find_audio
    from cs_keras.encoders import open_tagger

    files = find_audio(audio)
    network, names = open_tagger(tagger, str(weights) if weights else None)
    config = AudioConfig(sample_rate=network.sample_rate)
    n_tagged = 0
    for path, name in files:
        try:
            probability = network.encode(load_mono(path, config)).mean(axis=0)
        except AudioError as error:
            click.echo(f"left out {name}: {error}", err=True)
            continue
        best = probability.argsort()[::-1][:n_tags]
        click.echo(f"{name}: {', '.join(f'{names[i]} {probability[i]:.2f}' for i in best)}")
        n_tagged += 1
    if not n_tagged:
        raise CsKerasError(f"None of the {len(files)} recordings could be used.")
    words = ["embed", *map(str, audio), "--encoder", tagger, "--out", "features.npz"]
    print_next(shlex.join(words))
