"""``cs-keras tags``: tags of recordings by a published tagger, or by a model of labels."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.console import Console, print_next
from cs_keras.cli.options import LOCAL_PATH, Command
from cs_keras.errors import AudioError, CsKerasError

if TYPE_CHECKING:
    import numpy as np

Tagged = Iterator[tuple[str, "list[str]", "np.ndarray[Any, Any] | str"]]


@click.command("tags", cls=Command)
@click.argument("audio", nargs=-1, required=True, type=LOCAL_PATH)
@click.option(
    "--tagger",
    default="choi",
    metavar="NAME|RUN",
    help="choi, of 2017; musicnn, musicnn-mtt, musicnn-vgg or musicnn-vgg-mtt, of 2019; or a run of "
    "run-baselines --labels.",
)
@click.option(
    "--weights",
    type=LOCAL_PATH,
    help="Its weights: of choi the second generation (model_best.hdf5).  [default: the installed package musicnn]",
)
@click.option("-n", "n_tags", type=click.IntRange(1), default=5, help="Tags to print.")
def command(audio: tuple[Path, ...], tagger: str, weights: Path | None, n_tags: int) -> None:
    """Print the most probable tags of recordings.

    AUDIO are files and folders. Each line is a recording, then its tags with their probabilities, means over
    consecutive windows, the most probable first; of a RUN that was trained by squared error, their scores. Unusable
    recordings are listed and skipped; if all are unusable, the exit status is 1.
    """
    from cs_keras.encoders import TAGGERS

    is_run = tagger not in TAGGERS and Path(tagger).is_dir()
    if is_run and weights:
        raise click.UsageError("--weights is for published taggers; a run has its own.")
    n_tagged = n_files = 0
    for name, names, scores in (
        _by_run(Path(tagger), audio) if is_run else _by_network(tagger, weights, audio)
    ):
        n_files += 1
        if isinstance(scores, str):
            click.echo(f"left out {name}: {scores}", err=True)
            continue
        best = scores.argsort()[::-1][:n_tags]
        click.echo(f"{name}: {', '.join(f'{names[i]} {scores[i]:.2f}' for i in best)}")
        n_tagged += 1
    if not n_tagged:
        raise CsKerasError(f"None of the {n_files} recordings could be used.")
    if not is_run:
        print_next(shlex.join(["embed", *map(str, audio), "--encoder", tagger, "--out", "features.npz"]))


def _by_network(tagger: str, weights: Path | None, audio: tuple[Path, ...]) -> Tagged:
    """Yield each recording, the tags, and their probabilities or why it is left out."""
    from cs_keras.audio.decode import load_mono
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.data.catalogue import find_audio
    from cs_keras.encoders import open_tagger

    files = find_audio(audio)
    network, names = open_tagger(tagger, str(weights) if weights else None)
    config = AudioConfig(sample_rate=network.sample_rate)
    for path, name in files:
        try:
            yield name, list(names), network.encode(load_mono(path, config)).mean(axis=0)
        except AudioError as error:
            yield name, list(names), str(error)


def _by_run(folder: Path, audio: tuple[Path, ...]) -> Tagged:
    """Yield what `_by_network` does."""
    from pipelines.inference.predict_labels import predict_labels

    ids, names, scores, left_out = predict_labels(folder, audio, Console())
    yield from ((name, names.tolist(), own) for name, own in zip(ids, scores, strict=True))
    yield from ((name, names.tolist(), reason) for name, reason in left_out.items())
