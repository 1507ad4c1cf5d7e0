"""``cs-keras check``: the integrity of a dataset, and the leakage between its splits."""

from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.console import Console, conclude
from cs_keras.cli.options import DATASET, Command
from cs_keras.errors import CsKerasError
from cs_keras.messages import count

if TYPE_CHECKING:
    from cs_keras.data.integrity.checks import Leakage
    from pipelines.dataset.check import CheckResult


@click.command("check", cls=Command)
@click.argument("dataset", type=DATASET)
@click.option("--repair", is_flag=True, help="First rebuild tables from the shards; shards are not changed.")
@click.option(
    "--audio-duplicates/--no-audio-duplicates",
    default=True,
    help="Search for near-duplicate recordings.",
)
def command(dataset: Any, repair: bool, audio_duplicates: bool) -> None:
    """Check a dataset's files and the leakage between splits.

    The command reads every file. The exit status is 1 if there are errors; notices do not count.
    """
    from pipelines.dataset.check import check_dataset
    from pipelines.dataset.repair import ingest_command, repair_dataset

    if repair:
        for sentence in repair_dataset(dataset) or ["nothing to repair"]:
            click.echo(f"repair: {sentence}.")
    result = check_dataset(dataset, Console(), audio_duplicates)
    for finding in result.findings:
        click.echo(f"{finding.severity}: {finding}")
    for shared in result.leakage:
        click.echo(describe_leakage(shared))
    for sentence in result.not_checked:
        click.echo(f"not checked: {sentence}.")
    if result.damaged:
        click.echo(
            f"To rebuild damaged shards, delete them ({', '.join(result.damaged)}) and repeat the command that "
            f"made the dataset, such as `{ingest_command(dataset)}`, and then `cs-keras factors`."
        )
    if result.errors:
        raise CsKerasError(f"{dataset} has {count(len(result.errors), 'problem')}.")
    next_words = ("run-baselines", dataset) if result.factors else ("factors", "INTERACTIONS.csv", dataset)
    conclude(_summary(dataset, result), *next_words)


def describe_leakage(shared: "Leakage") -> str:
    """Return what two splits share, and for how many of their tracks that is known."""
    counts = [
        f"{count(len(found), noun)} (known for {n_known:,} of {shared.n_tracks:,} tracks)"
        if n_known
        else f"no {noun} is known"
        for noun, found, n_known in (
            ("artist", shared.artists, shared.n_known_artists),
            ("album", shared.albums, shared.n_known_albums),
        )
    ]
    duplicates = shared.duplicates
    looked = (
        "near-duplicates not searched" if duplicates is None else count(duplicates, "near-duplicate pair")
    )
    named = f"split {shared.split_name!r}: " if shared.split_name else ""
    return f"{named}{' and '.join(shared.splits)} share: {', '.join((*counts, looked))}."


def _summary(dataset: Any, result: "CheckResult") -> str:
    factors = f"factors {', '.join(result.factors)}" if result.factors else "no factors yet"
    if not result.n_shards:
        items = count(result.n_tracks, "item")
        return f"{dataset} is intact: {items} without audio, {factors}; folds and ids agree."
    return (
        f"{dataset} is intact: {count(result.n_tracks, 'track')}, {result.n_frames:,} frames in "
        f"{count(result.n_shards, 'shard')}, {factors}; all checksums, positions, folds and ids agree, and every "
        "magnitude is finite and not negative."
    )
