"""``cs-keras recommend``: lists of similar tracks, or of tracks for a playlist."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.console import Console, conclude, print_table
from cs_keras.cli.listing import FORMATS, choose_writer
from cs_keras.cli.options import (
    CANDIDATES,
    DATASET,
    LOCAL_PATH,
    Command,
    artist_option,
    decoder_option,
    name_tables,
    read_config,
    reading_options,
    renamed,
    weights_option,
)
from cs_keras.errors import ConfigError
from cs_keras.messages import count

if TYPE_CHECKING:
    from pipelines.recommend.recommend import RecommendedTrack

RULES = ("k", "exclude_artist", "max_per_artist", "diversity")


@click.command("recommend", cls=Command)
@click.argument("run", type=DATASET)
@click.argument("seeds", nargs=-1, metavar="[TRACK|AUDIO...]")
@click.option("-k", "k", type=int, default=10, help="Tracks in the list.")
@click.option("--dataset", type=DATASET, help="Dataset of RUN: adds names, train tracks and true factors.")
@click.option("--playlist", metavar="ID", help="Continue this playlist, in place of TRACK or AUDIO.")
@click.option(
    "--by",
    type=click.Choice(["similarity", "dot"]),
    help="Cosine similarity or dot product.  [default: similarity; with --playlist dot]",
)
@click.option(
    "--candidates",
    type=CANDIDATES,
    default="all",
    help="all: validation and test tracks by predicted factors, train tracks by their true ones; "
    "new: the test split alone.",
)
@click.option("--true", "show_true", is_flag=True, help="Also show the list by reference factors.")
@click.option(
    "--predicted",
    is_flag=True,
    help="Use predicted factors of TRACKs that are train tracks too, by their audio.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Show what each score comes from: factors, seeds (or tracks of the playlist), and the train tracks that "
    "are close to both. In the table and in JSON.",
)
@click.option("--exclude-artist", is_flag=True, help="Leave out the artists of the seeds.")
@click.option("--max-per-artist", type=int, metavar="N", help="At most N tracks by one artist.")
@click.option(
    "--diversity",
    type=float,
    default=0.0,
    help="0 to 1: trade relevance for diversity, by maximal marginal relevance (Carbonell & Goldstein 1998, "
    "lambda = 1 - diversity) among the best 10 k, at least 100.",
)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="Format to write; on standard output it replaces the table.  [default: by the suffix of --out]",
)
@renamed("--export", "--format")
@click.option("--out", type=LOCAL_PATH, help="File to write.  [default: standard output]")
@click.option(
    "--audio-root", type=LOCAL_PATH, help="Folder that was ingested, for paths in m3u8, XSPF and JSPF."
)
@click.option("--tracks", type=LOCAL_PATH, help="tracks.csv that was ingested, for the same.")
@decoder_option
@weights_option
@artist_option
@click.option(
    "--index",
    type=click.Choice(["exact", "hnsw", "ivf"]),
    help="faiss index.  [default: exact; ivf for more than a million tracks with --index-file]",
)
@click.option(
    "--index-file", type=LOCAL_PATH, help="File that saves the index; approximate ones are slow to build."
)
@click.option(
    "--hubness-reduction",
    type=click.Choice(["none", "csls", "mutual-proximity"]),
    default="none",
    help="Score that keeps tracks which are near all others out of lists, in place of the cosine: csls (Conneau et "
    "al. 2018) or mutual-proximity (Schnitzer et al. 2012), a probability.",
)
@reading_options
def command(
    run: Any,
    seeds: tuple[str, ...],
    dataset: Any,
    playlist: str | None,
    by: str | None,
    candidates: str,
    show_true: bool,
    predicted: bool,
    explain: bool,
    format: str | None,
    out: Path | None,
    audio_root: Path | None,
    tracks: Path | None,
    decoder: str,
    weights: tuple[tuple[str, Path], ...],
    artist: str | None,
    index: Any,
    index_file: Path | None,
    hubness_reduction: str,
    **options: Any,
) -> None:
    """List tracks similar to tracks or recordings.

    Seeds are TRACK ids and AUDIO files or folders; several count as the mean of their factors, each scaled to
    length 1. RUN's model predicts the factors of audio. The list never holds a seed, nor a second entry of the
    same recording (the same ISRC, or artist and title), nor tracks of --playlist. By dot product, train tracks
    have an advantage: predictions are closer to the mean than reference factors.

    Without --dataset the candidates are the tracks that RUN predicted, shown by their ids. With --format spotify,
    tracks are found by ISRC and added to a private playlist; without credentials (SPOTIPY_CLIENT_ID,
    SPOTIPY_CLIENT_SECRET, SPOTIPY_REDIRECT_URI) the tracks to add are printed.
    """
    from cs_keras.playlists.rerank import Rules

    if bool(seeds) == (playlist is not None):
        raise click.UsageError("Name one or more of TRACK and AUDIO, or a playlist by --playlist.")
    writer = choose_writer(format, out, audio_root, tracks)
    if writer and show_true and out is None:
        raise ConfigError("--true is shown in the table, which --format replaces; name a file by --out.")
    if writer and writer.format != "json" and explain and out is None:
        raise ConfigError("--explain is shown in the table, and in JSON; add --format json, or --out.")
    rules = Rules(**{name: options.pop(name) for name in RULES})
    reading = read_config(**options)
    from pipelines.recommend.recommend import SearchConfig, recommend_from_run

    by = by or ("dot" if playlist else "similarity")
    search = SearchConfig(by, candidates, index, index_file, hubness_reduction)
    found = recommend_from_run(
        run,
        dataset,
        seeds,
        playlist,
        search,
        rules,
        compare=show_true,
        decoder=decoder,
        weights=name_tables(weights, "--weights"),
        artist=artist,
        predicted=predicted,
        explain=explain,
        reading=reading,
        progress=Console(),
    )
    listed = found.tracks
    if found.recall is not None:
        click.echo(
            f"The approximate index finds {found.recall:.1%} of the {rules.k} nearest, on a sample.", err=True
        )
    if (own := found.confidence) is not None:
        whose = "the least certain seed" if len(seeds) > 1 else "the seed"
        click.echo(
            f"Expected error of the predicted factors of {whose}: {own.expected_error:.2f}; "
            f"{own.share_higher:.0%} of the {own.n_tracks:,} tracks that the run predicted have a higher one.",
            err=True,
        )
    if len(listed) < rules.k:
        click.echo(f"Only {count(len(listed), 'track')} can be recommended, not {rules.k}.", err=True)
    if writer:
        measures: list[dict[str, Any]] = [{"score": one.score, "factors": one.factors} for one in listed]
        if writer.format == "json":
            for row, one in zip(measures, listed, strict=True):
                row.update({"explanation": one.explanation.to_json()} if one.explanation else {})
        about: dict[str, Any] = {
            "title": found.title,
            "run": str(run),
            "by": search.by,
            "candidates": candidates,
        }
        about["seeds"] = [{"name": name, "factors": factors} for name, factors in found.seeds]
        writer.write([one.entry for one in listed], measures, about)
    if out is not None or not writer:
        header, rows = _columns(listed, found.by_interactions)
        print_table(f"{found.title}, by {search.by}", header, rows, right=("", "score"))
        for origin in ("predicted", "reference"):
            if names := [name for name, factors in found.seeds if factors == origin]:
                click.echo(f"Seeds with {origin} factors: {_list(names)}.")
        for number, one in enumerate(listed, 1):
            _print_explanation(number, one)
        words = [
            *(("--playlist", playlist) if playlist else seeds),
            *(("--dataset", dataset) if dataset else ()),
        ]
        words = ["recommend", run, *words, "--out", "playlist.csv"]
        if out is not None and out.suffix.lower() in (".csv", ".m3u8"):
            words = ["outliers", run, out]
        conclude(f"Recommended by {search.by}: {count(len(listed), 'track')}.", *words)


def _columns(
    listed: "Sequence[RecommendedTrack]", true: "Sequence[RecommendedTrack] | None"
) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table; next to a true list, tracks in both have a star."""
    both = {one.entry.track_id for one in listed} & {one.entry.track_id for one in true or ()}
    header, lists = ["", "track", "score", "factors"], [listed]
    if true is not None:
        header, lists = [*header, "by reference factors", "score"], [listed, true]
    rows = []
    for number, (first, *rest) in enumerate(itertools.zip_longest(*lists), 1):
        cells = (cell for one in rest for cell in _cells(one, both)[:2])
        rows.append([str(number), *_cells(first, both), *cells])
    return header, rows


def _cells(one: "RecommendedTrack | None", both: set[str]) -> list[str]:
    if one is None:
        return ["", "", ""]
    star = " *" if one.entry.track_id in both else ""
    return [f"{one.entry.label}{star}", f"{one.score:.3f}", one.factors]


def _list(names: Sequence[str], n_shown: int = 3) -> str:
    from cs_keras.playlists.entries import printable

    more = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(map(printable, names[:n_shown])) + more


def _print_explanation(number: int, one: "RecommendedTrack", n_shown: int = 3) -> None:
    """Print the largest contributions of factors and seeds, the sum of the others, and train tracks."""
    from cs_keras.playlists.entries import printable

    if one.explanation is None:
        return
    click.echo(f"{number}. {one.entry.label}: {one.score:.3f}")
    factors = [(f"factor {n}", value) for n, value in enumerate(one.explanation.factors.tolist())]
    for parts in (factors, list(one.explanation.shares)):
        ranked = sorted(parts, key=lambda part: -abs(part[1]))
        shown, others = ranked[:n_shown], ranked[n_shown:]
        if others:
            shown.append((f"{len(others)} others", math.fsum(value for _, value in others)))
        click.echo("   = " + " ".join(f"{value:+.3f} ({printable(name)})" for name, value in shown))
    near = [f"{entry.label} ({cosine:.3f})" for entry, cosine in one.explanation.train_tracks]
    click.echo(f"   Close to both: {'; '.join(near) or 'no train track'}.")
