"""``cs-keras factors``: interactions to collaborative-filtering factors, and the search for their settings."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cs_keras.cli.console import Console, conclude, print_sections, print_written
from cs_keras.cli.options import FLOATS, INTEGERS, LOCAL_PATH, Command, add_options, factors_renamed
from cs_keras.messages import count

if TYPE_CHECKING:
    from cs_keras.factors.interactions import RowCounts
    from cs_keras.factors.store import Factors
    from cs_keras.storage.location import Location
    from pipelines.factors.fit import FactorsConfig

DEFAULT_NAME = "wmf"  # of the factors that other commands use
SCALINGS = ["standardize", "unit_norm", "none", "minmax"]
GRID_OPTIONS = {"ranks": "factors", "alphas": "alpha", "regularizations": "regularization"}  # fields of Grid
SEARCH_OPTIONS = {
    **{name: f"--{name}" for name in GRID_OPTIONS},
    "max_settings": "--max-settings",
    "n_seeds": "--seeds",
    "n_averaged": "--average",
}
SPARK_OPTIONS = {"spark_master": "--spark-master", "spark_options": "--spark-option"}
IMPLICIT_OPTIONS = {
    "encoding": "--encoding",
    "delimiter": "--delimiter",
    "feedback_column": "--feedback-column",
}
FIT_OPTIONS = {"n_factors": "--ranks", "alpha": "--alphas", "regularization": "--regularizations"}

selection_options = add_options(
    click.option(
        "--select",
        is_flag=True,
        help="Search settings first, and fit the recommended ones: among those with the best nDCG on held-out "
        "interactions, the ones on which seeds agree most. After an interruption, the same command resumes.",
    ),
    click.option("--ranks", type=INTEGERS, help="Values of --n-factors to try.  [default: 16,32,64]"),
    click.option("--alphas", type=FLOATS, help="Values of --alpha to try.  [default: 1,10,40]"),
    click.option(
        "--regularizations", type=FLOATS, help="Values of --regularization to try.  [default: 0.01,1,10,100]"
    ),
    click.option(
        "--max-settings", type=int, help="Number of settings to try, drawn at random.  [default: all]"
    ),
    click.option("--seeds", "n_seeds", type=int, help="Fits of each setting.  [default: 2]"),
    click.option(
        "--average",
        "n_averaged",
        type=int,
        help="Number of seeds to average, if averaging significantly increases agreement.",
    ),
)


@click.command("factors", cls=Command)
@click.argument("sources", nargs=-1, metavar="[INTERACTIONS] DATASET")
@click.option(
    "--from-npz",
    "given",
    type=LOCAL_PATH,
    help="Import existing factors: arrays ids, item_factors and optionally playlist_factors.",
)
@click.option("--name", default=DEFAULT_NAME, help="Name of the factors in the dataset.")
@click.option("--n-factors", type=int, default=200, help="Number of dimensions.")
@factors_renamed
@click.option("--alpha", type=float, default=40.0, help="Confidence is 1 + alpha * weight.")
@click.option(
    "--weight",
    type=click.Choice(["count", "log", "binary"]),
    default="count",
    help="Weight of a count r: r, log(1 + r) or 1.",
)
@click.option(
    "--regularization",
    type=float,
    default=0.01,
    help="Weight of the L2 penalty on factors.",
)
@click.option(
    "--iterations",
    type=INTEGERS,
    help="Iterations of alternating least squares.  [default: 15; with --select 15,50]",
)
@click.option("--seed", type=int, default=0, help="Seed of the initial factors.")
@click.option(
    "--protocol",
    type=click.Choice(["strict", "thesis"]),
    default="strict",
    help="strict: interactions of validation and test tracks do not enter the fit.",
)
@click.option(
    "--items",
    type=click.Choice(["dataset", "all"]),
    help="Tracks to fit: those of the dataset, or all tracks with interactions; factors of the others are not "
    "stored.  [default: the one with the higher nDCG on held-out interactions]",
)
@click.option(
    "--targets",
    type=click.Choice(["cross-fitted", "in-sample"]),
    help="Factors of train tracks: cross-fitted, folded in by fits without them (up to eight more fits); or "
    "in-sample, from the main fit.  [default: cross-fitted; with --protocol thesis in-sample]",
)
@click.option(
    "--split-name",
    help="Split made by `cs-keras split`.  [default: the split by folds]",
)
@click.option(
    "--scaling",
    type=click.Choice(SCALINGS),
    default="standardize",
    help="Scaling of the targets, fitted on train tracks.",
)
@click.option(
    "--ceiling/--no-ceiling",
    default=True,
    help="Refit with another seed and on two halves of the playlists, to measure the agreement of fits; the "
    "command then takes three to four times as long.",
)
@selection_options
@click.option(
    "--engine",
    type=click.Choice(["implicit", "spark"]),
    default="implicit",
    show_default=True,
    help="What fits: implicit, in this process; or Spark's ALS, for more interactions than it holds: "
    "INTERACTIONS is then Parquet, a file or a folder, that Spark's workers reach by this path or URL.",
)
@click.option(
    "--spark-master",
    metavar="MASTER",
    help="local[N] or a cluster's URL, as spark://HOST:7077.  [default: local[*]]",
)
@click.option(
    "--spark-option",
    "spark_options",
    metavar="NAME=VALUE",
    multiple=True,
    help="A property of Spark, as in: --spark-option spark.driver.memory=8g",
)
@click.option("--playlist-column", help="Column of playlist or user ids.  [default: guessed]")
@click.option("--track-column", help="Column of track ids.  [default: guessed]")
@click.option("--count-column", help="Column of counts.  [default: guessed; without one, 1 per row]")
@click.option(
    "--feedback-column",
    help="Column of likes, 1, and dislikes, 0 or -1, which are no interactions.  [default: feedback, if present]",
)
@click.option(
    "--encoding", help="Encoding of a text file.  [default: UTF-8, or UTF-16 by its byte-order mark]"
)
@click.option("--delimiter", help="Delimiter of a text file.  [default: guessed]")
def command(
    sources: tuple[str, ...],
    given: Path | None,
    name: str,
    n_factors: int,
    alpha: float,
    weight: Any,
    regularization: float,
    iterations: tuple[int, ...] | None,
    seed: int,
    protocol: Any,
    items: Any,
    targets: Any,
    split_name: str | None,
    scaling: Any,
    ceiling: bool,
    select: bool,
    engine: str,
    spark_master: str | None,
    spark_options: tuple[str, ...],
    **options: Any,
) -> None:
    """Fit collaborative-filtering factors to interactions.

    INTERACTIONS is a CSV, TSV or Parquet file with a row for each playlist (or user) and track, and optionally a
    count; or slices of the Million Playlist Dataset, a .json file or a folder of them. The model is weighted matrix
    factorisation (Hu, Koren & Volinsky 2008). --from-npz replaces INTERACTIONS.
    """
    if len(sources) != (1 if given else 2):
        raise click.UsageError("Give INTERACTIONS and DATASET, or --from-npz FILE and DATASET.")
    _check_usage(select, given)
    from cs_keras.factors.wmf import WmfConfig
    from cs_keras.storage.location import locate
    from pipelines.factors.fit import FactorsConfig, import_factors, make_factors, make_spark_factors

    dataset = locate(sources[-1])
    if given:
        with _warnings_as_lines():
            factors, unknown = import_factors(given, dataset, scaling, name, split_name)
        _print_unknown(len(unknown), unknown)
        _conclude(f"{dataset}: factors {name!r} read from {given}: {_size(factors)}.", dataset, name)
        return
    search = {"iterations": iterations, **{option: options.pop(option) for option in SEARCH_OPTIONS}}
    (n_iterations,) = iterations if iterations and not select else (WmfConfig.iterations,)
    wmf = WmfConfig(n_factors, alpha, regularization, n_iterations, seed, weight)
    settings = FactorsConfig(wmf, protocol, scaling, ceiling, targets, split_name, items)
    with _warnings_as_lines():
        if engine == "spark":
            from cs_keras.factors.spark.session import LOCAL_MASTER, SparkConfig

            url = sources[0] if "://" in sources[0] else os.path.abspath(sources[0])
            spark = SparkConfig(spark_master or LOCAL_MASTER, spark_options)
            columns = {option: value for option, value in options.items() if option not in IMPLICIT_OPTIONS}
            factors, tally = make_spark_factors(url, dataset, settings, name, spark, **columns)
        elif select:
            factors, tally = _select(LOCAL_PATH(sources[0]), dataset, settings, name, search, options)
        else:
            factors, tally = make_factors(LOCAL_PATH(sources[0]), dataset, settings, name, **options)
    if engine == "spark" and factors.config:
        mapped = factors.config["regularization"]
        click.echo(
            f"Regularization {regularization:g} is {mapped:.3g} for each interaction (Spark's regParam)."
        )
    _print_rows(tally)
    _print_items(factors, tally)
    _print_quality(factors)
    _conclude(
        f"{dataset}: factors {name!r} fitted by the {protocol} protocol: {_size(factors)}.", dataset, name
    )


def _conclude(sentence: str, dataset: "Location", name: str) -> None:
    option = () if name == DEFAULT_NAME else ("--factors", name)
    conclude(sentence, "run-baselines", dataset, *option)


def _check_usage(select: bool, given: Path | None) -> None:
    """Raise UsageError for options that would have no effect."""
    context = click.get_current_context()
    is_spark = context.params["engine"] == "spark"
    if is_spark and (given or select):
        raise click.UsageError(
            f"--engine spark fits one setting; it cannot be combined with {'--from-npz' if given else '--select'}."
        )
    for options, needed in (
        (SPARK_OPTIONS, "needs"),
        (IMPLICIT_OPTIONS, "is not read by Spark, and cannot be combined with"),
    ):
        for name, option in options.items():
            if context.params[name] and is_spark == (options is IMPLICIT_OPTIONS):
                raise click.UsageError(f"{option} {needed} --engine spark.")
    if given and select:
        raise click.UsageError("--select fits factors; it cannot be combined with --from-npz.")
    if select:
        for name, instead in FIT_OPTIONS.items():
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"With --select give the values to try by {instead}.")
        return
    for name, option in SEARCH_OPTIONS.items():
        if context.params[name] is not None:
            raise click.UsageError(f"{option} needs --select.")
    if len(context.params["iterations"] or ()) > 1:
        raise click.UsageError("Several --iterations need --select.")


def _select(
    listening: Path,
    dataset: "Location",
    settings: "FactorsConfig",
    name: str,
    search: Mapping[str, Any],
    reading: Mapping[str, Any],
) -> "tuple[Factors, RowCounts]":
    """Search settings, print the table, and fit factors by the recommended setting."""
    from cs_keras.factors.grid import Grid
    from pipelines.factors.select import (
        SelectionConfig,
        make_selected_factors,
        select_factors,
        selection_path,
    )
    from reports.commands.factor_selection import make_selection_section
    from reports.formats.files import write_selection

    given = {option: value for option, value in search.items() if value is not None}
    fields = {**GRID_OPTIONS, "iterations": "iterations"}
    values = {field: given.pop(option) for option, field in fields.items() if option in given}
    config = SelectionConfig(Grid(**values, weight=settings.wmf.weight), seed=settings.wmf.seed, **given)
    console = Console()
    selection = select_factors(listening, dataset, config, name, console, settings.split_name, **reading)
    path = selection_path(dataset, name).with_suffix(".md")
    write_selection(path, selection)
    print_sections([make_selection_section(selection)])
    print_written([path])
    console.log("fitting the recommended setting to all interactions")
    return make_selected_factors(listening, dataset, selection, settings, name, **reading)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)


def _size(factors: "Factors") -> str:
    return (
        f"{int(factors.has_factors.sum())} of {len(factors.track_ids)} tracks and "
        f"{count(len(factors.playlist_ids), 'playlist')} in {count(factors.item_factors.shape[1], 'dimension')}"
    )


def _print_quality(factors: "Factors") -> None:
    from cs_keras.factors.quality import (
        FactorQuality,
        describe_agreement,
        describe_cross_fitting,
        warn_of_noise,
    )

    n_factors = factors.item_factors.shape[1]
    if n_factors > min(len(factors.playlist_ids), int(factors.has_factors.sum())):
        click.echo(f"Warning: {n_factors} factors are more than there are playlists or tracks.", err=True)
    values = {k: v for k, v in factors.quality.items() if k in FactorQuality.__dataclass_fields__}
    click.echo(f"Quality: {FactorQuality(**values).describe()}.")
    if crossed := factors.quality.get("cross_fitting"):
        click.echo(f"Targets: {describe_cross_fitting(crossed)}.")
    agreement, warning = describe_agreement(factors.quality), warn_of_noise(factors.quality)
    if agreement:
        click.echo(f"Ceiling: {agreement} (test tracks).")
    if warning:
        click.echo(f"Warning: {warning}", err=True)


def _print_rows(tally: "RowCounts") -> None:
    """Print the number of rows that were read, and what became of those that are no pair of their own."""
    others = {
        "added to an earlier one of the same playlist and track": tally.n_merged_rows,
        "left out with a count of 0": tally.n_zero_rows,
        "left out as dislikes": tally.n_disliked_rows,
    }
    parts = [f"{n:,} {what}" for what, n in others.items() if n]
    click.echo(f"{count(tally.n_rows, 'row')} read{': ' if parts else ''}{', '.join(parts)}.")


def _print_items(factors: "Factors", tally: "RowCounts") -> None:
    """Print what became of tracks that are not in the dataset."""
    if not tally.n_unknown_tracks:
        return
    if ndcg := factors.quality.get("items_ndcg"):
        click.echo(
            f"nDCG@10 on held-out interactions: {ndcg['all']:.1%} by a fit to all tracks, {ndcg['dataset']:.1%} to "
            "those of the dataset."
        )
    if factors.config and factors.config["items"] == "all":
        click.echo(
            f"Fitted, not stored: {count(tally.n_unknown_tracks, 'track')} not in the dataset (--items all)."
        )
    else:
        _print_unknown(tally.n_unknown_tracks, tally.unknown_tracks)


def _print_unknown(n_unknown: int, examples: Sequence[str]) -> None:
    if n_unknown:
        click.echo(
            f"Left out: {count(n_unknown, 'track')} not in the dataset (such as {', '.join(examples[:5])})."
        )
