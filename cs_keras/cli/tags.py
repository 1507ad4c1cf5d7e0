"""``cs-keras tags``: tags of recordings by a published tagger."""

from pathlib import Path

import click

from cs_keras.cli.console import quiet_tensorflow
from cs_keras.cli.options import LOCAL_PATH
from cs_keras.errors import AudioError, CsKerasError


@click.command("tags")
@click.argument("audio", nargs=-1, required=True, type=LOCAL_PATH)
@click.option(
    "--weights",
    required=True,
    type=LOCAL_PATH,
    help="Weights of the tagger of Choi et al. 2017, second generation (model_best.hdf5).",
)
@click.option("-n", "n_tags", type=click.IntRange(1, 50), default=5, show_default=True, help="Tags to print.")
def command(audio: tuple[Path, ...], weights: Path, n_tags: int) -> None:
    """Print the most probable tags of recordings.

    AUDIO are files and folders. Each line is a recording, then its tags with their probabilities, the most
    probable first. Unusable recordings are listed and skipped; if all are unusable, the exit status is 1.
    """
    quiet_tensorflow()
    from cs_keras.audio.decode import load_mono
    from cs_keras.audio.spectrogram import MagnitudeSpectrogram
    from cs_keras.data.catalogue import find_audio
    from cs_keras.models.choi_tagger import TAGS, build_tagger, tag
    from cs_keras.models.choi_weights import AUDIO

    files = find_audio(audio)
    tagger, spectrogram = build_tagger(weights), MagnitudeSpectrogram(AUDIO, "float32")
    n_tagged = 0
    for path, name in files:
        try:
            magnitude = spectrogram(load_mono(path, AUDIO))
        except AudioError as error:
            click.echo(f"left out {name}: {error}", err=True)
            continue
        probability = tag(tagger, magnitude)
        best = probability.argsort()[::-1][:n_tags]
        click.echo(f"{name}: {', '.join(f'{TAGS[i]} {probability[i]:.2f}' for i in best)}")
        n_tagged += 1
    if not n_tagged:
        raise CsKerasError(f"None of the {len(files)} recordings could be used.")
