"""``cs-keras check``: whether a dataset is whole, and whether its test set leaks."""

from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.paths import DATASET

if TYPE_CHECKING:
    from pipelines.dataset.check import CheckResult


@click.command("check")
@click.argument("dataset", type=DATASET)
@click.option("--repair", is_flag=True, help="First rebuild what can be rebuilt; no shard is touched.")
@click.option(
    "--audio-duplicates/--no-audio-duplicates",
    default=True,
    show_default=True,
    help="Look for near-duplicate recordings.",
)
def command(dataset: Any, repair: bool, audio_duplicates: bool) -> None:
    """Read every file of a dataset and report what is wrong with it, and what its splits share.

    The exit status is 1 when there are errors; notices alone do not count.
    """
    from cs_keras.cli.console import Console
    from cs_keras.errors import CsKerasError
    from pipelines.dataset.check import check_dataset
    from pipelines.dataset.repair import ingest_command, repair_dataset

    if repair:
        for sentence in repair_dataset(dataset) or ["nothing to repair"]:
            click.echo(f"repair: {sentence}.")
    result = check_dataset(dataset, Console(), audio_duplicates)
    for finding in result.findings:
        click.echo(f"{finding.severity}: {finding}")
    for line in _leakage(result):
        click.echo(line)
    if result.damaged:
        click.echo(
            f"To make damaged shards again, delete them ({', '.join(result.damaged)}) and repeat what made the "
            f"dataset, such as `{ingest_command(dataset)}`, and then `cs-keras factors`."
        )
    if result.errors:
        raise CsKerasError(f"{dataset} has {_count(len(result.errors), 'problem')}.")
    click.echo(_summary(dataset, result))


def _leakage(result: "CheckResult") -> list[str]:
    return [
        f"{one} and {other} share: {_count(len(shared.artists), 'artist')}, "
        f"{_count(len(shared.albums), 'album')}, {_count(shared.duplicates, 'near-duplicate pair')}."
        for shared in result.leakage
        for one, other in [shared.splits]
    ]


def _summary(dataset: Any, result: "CheckResult") -> str:
    factors = f"factors {', '.join(result.factors)}" if result.factors else "no factors yet"
    if not result.n_shards:
        items = _count(result.n_tracks, "item")
        return f"{dataset} is whole: {items} without sound, {factors}; folds and ids agree."
    return (
        f"{dataset} is whole: {_count(result.n_tracks, 'track')}, {result.n_frames:,} frames in "
        f"{_count(result.n_shards, 'shard')}, {factors}; all checksums, positions, folds and ids agree, and every "
        "magnitude is finite and not negative."
    )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
