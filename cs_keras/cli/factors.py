"""``cs-keras factors``: listening data to collaborative-filtering factors."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cs_keras.cli.paths import LOCAL_PATH
from cs_keras.cli.selection import INTEGERS, SEARCH_OPTIONS, check_usage, make_by_selection, selection_options

SCALINGS = ["standardize", "unit_norm", "none", "minmax"]


@click.command("factors")
@click.argument("sources", nargs=-1, metavar="[LISTENING] DATASET")
@click.option(
    "--from-npz",
    "given",
    type=LOCAL_PATH,
    help="Ready-made factors instead: ids, item_factors[, playlist_factors].",
)
@click.option("--name", default="wmf", show_default=True, help="Name of the factors in the dataset.")
@click.option("--factors", "n_factors", type=int, default=200, show_default=True, help="Dimensions.")
@click.option("--alpha", type=float, default=40.0, show_default=True, help="Confidence is 1 + alpha * count.")
@click.option("--regularization", type=float, default=0.01, show_default=True)
@click.option("--iterations", type=INTEGERS, help="[default: 15; with --select 15,50]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--protocol",
    type=click.Choice(["strict", "thesis"]),
    default="strict",
    show_default=True,
    help="strict: validation and test tracks' listening stays out of the fit.",
)
@click.option(
    "--scaling",
    type=click.Choice(SCALINGS),
    default="standardize",
    show_default=True,
    help="Of the targets, fitted on train tracks.",
)
@click.option(
    "--ceiling/--no-ceiling",
    default=True,
    show_default=True,
    help="Also fit with another seed and on halves of the playlists, to tell how firm the factors are: takes two "
    "to three times as long again.",
)
@selection_options
@click.option("--playlist-column", help="Column of playlist or user ids.  [default: guessed]")
@click.option("--track-column", help="Column of track ids.  [default: guessed]")
@click.option("--count-column", help="Column of counts.  [default: guessed; 1 a row where there is none]")
@click.option("--encoding", help="Of a text file.  [default: UTF-8, or UTF-16 by its byte-order mark]")
@click.option("--delimiter", help="Of a text file.  [default: guessed]")
def command(
    sources: tuple[str, ...],
    given: Path | None,
    name: str,
    n_factors: int,
    alpha: float,
    regularization: float,
    iterations: tuple[int, ...] | None,
    seed: int,
    protocol: Any,
    scaling: Any,
    ceiling: bool,
    select: bool,
    **options: Any,
) -> None:
    """Fit factors to who listened to what, by weighted matrix factorisation (Hu, Koren & Volinsky 2008).

    LISTENING is a CSV, TSV or Parquet file with a row for each playlist (or user) and track, and optionally a
    count. With --from-npz there is no LISTENING.
    """
    if len(sources) != (1 if given else 2):
        raise click.UsageError("Give LISTENING and DATASET, or --from-npz FILE and DATASET.")
    check_usage(select, given)
    from cs_keras.factors.wmf import WmfConfig
    from cs_keras.storage.location import locate
    from pipelines.factors.fit import FactorsConfig, import_factors, make_factors

    dataset = locate(sources[-1])
    if given:
        with _warnings_as_lines():
            factors, unknown = import_factors(given, dataset, scaling, name)
        n_left_out, examples = len(unknown), unknown[:5]
        click.echo(f"{dataset}: factors {name!r} taken from {given}: {_size(factors)}.")
    else:
        search = {"iterations": iterations, **{name: options.pop(name) for name in SEARCH_OPTIONS}}
        (n_iterations,) = iterations if iterations and not select else (WmfConfig.iterations,)
        wmf = WmfConfig(n_factors, alpha, regularization, n_iterations, seed)
        settings, listening = FactorsConfig(wmf, protocol, scaling, ceiling), LOCAL_PATH(sources[0])
        with _warnings_as_lines():
            if select:
                factors, tally = make_by_selection(listening, dataset, settings, name, search, options)
            else:
                factors, tally = make_factors(listening, dataset, settings, name, **options)
        n_left_out, examples = tally.n_unknown_tracks, tally.unknown_tracks
        click.echo(f"{dataset}: factors {name!r} fitted by the {protocol} protocol: {_size(factors)}.")
        click.echo(
            f"Rows read: {tally.n_rows}; merged: {tally.n_merged_rows}; of count 0: {tally.n_zero_rows}."
        )
        n_factors = factors.item_factors.shape[1]
        if n_factors > min(len(factors.playlist_ids), int(factors.has_factors.sum())):
            click.echo(f"Warning: {n_factors} factors are more than there are playlists or tracks.", err=True)
        _print_quality(factors)
    if n_left_out:
        click.echo(
            f"Left out: {n_left_out} tracks that the dataset does not hold (such as {', '.join(examples)})."
        )


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)


def _size(factors: Any) -> str:
    n_tracks, n_without = len(factors.track_ids), int((~factors.has_factors).sum())
    return (
        f"{n_tracks - n_without} of {n_tracks} tracks and {len(factors.playlist_ids)} playlists in "
        f"{factors.item_factors.shape[1]} dimensions"
    )


def _print_quality(factors: Any) -> None:
    from cs_keras.factors.quality import FactorQuality, describe_agreement, warn_of_noise

    values = {k: v for k, v in factors.quality.items() if k in FactorQuality.__dataclass_fields__}
    click.echo(f"Quality: {FactorQuality(**values).describe()}.")
    agreement, warning = describe_agreement(factors.quality), warn_of_noise(factors.quality)
    if agreement:
        click.echo(f"Ceiling: {agreement} (test tracks).")
    if warning:
        click.echo(f"Warning: {warning}", err=True)
