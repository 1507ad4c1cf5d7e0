"""``cs-keras recommend``: lists of tracks to hear."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.listing import make_export, show_table
from cs_keras.cli.options import read_config, reading_options
from cs_keras.cli.paths import DATASET, LOCAL_PATH

if TYPE_CHECKING:
    from pipelines.recommend.recommend import RecommendedTrack


@click.command("recommend")
@click.argument("run", type=DATASET)
@click.argument("seeds", nargs=-1, metavar="[TRACK|AUDIO...]")
@click.option("-k", "k", type=int, default=10, show_default=True, help="Tracks in the list.")
@click.option("--dataset", type=DATASET, help="That RUN was trained on: names, train tracks, true factors.")
@click.option(
    "--playlist", metavar="ID", help="Tracks that this playlist lacks, instead of like TRACK or AUDIO."
)
@click.option(
    "--by",
    type=click.Choice(["similarity", "dot"]),
    help="Cosine or dot product.  [default: similarity; with --playlist dot]",
)
@click.option(
    "--candidates",
    type=click.Choice(["all", "test"]),
    default="all",
    show_default=True,
    help="all: new (validation and test) tracks where the model places them, train tracks where listeners did; "
    "test: the test split alone.",
)
@click.option("--true", "show_true", is_flag=True, help="Show the list under reference factors beside it.")
@click.option("--exclude-artist", is_flag=True, help="Leave out the artists of the seeds.")
@click.option("--max-per-artist", type=int, metavar="N", help="At most N tracks by one artist.")
@click.option(
    "--diversity",
    type=float,
    default=0.0,
    show_default=True,
    help="0 to 1: trade relevance for tracks unlike each other, by maximal marginal relevance (Carbonell & "
    "Goldstein 1998, lambda = 1 - diversity) among the best 10 k, at least 100.",
)
@click.option(
    "--export",
    "form",
    type=click.Choice(["m3u8", "csv", "json", "spotify"]),
    help="What to write, instead of the table where it goes to standard output.  [default: by the suffix of --out]",
)
@click.option("--out", type=LOCAL_PATH, help="File to write.  [default: standard output]")
@click.option("--audio-root", type=LOCAL_PATH, help="Folder that was ingested, for the files of an m3u8.")
@click.option("--tracks", type=LOCAL_PATH, help="tracks.csv that was ingested, for the files of an m3u8.")
@click.option(
    "--decoder",
    type=click.Choice(["auto", "soundfile", "tfio", "librosa"]),
    default="auto",
    show_default=True,
    help="Of AUDIO.",
)
@click.option(
    "--index",
    type=click.Choice(["exact", "hnsw", "ivf"]),
    help="Of faiss.  [default: exact; ivf for more than a million tracks with --index-file]",
)
@click.option(
    "--index-file", type=LOCAL_PATH, help="Keep the index there; approximate ones take long to build."
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
    form: str | None,
    out: Path | None,
    audio_root: Path | None,
    tracks: Path | None,
    decoder: str,
    index: Any,
    index_file: Path | None,
    **options: Any,
) -> None:
    """List the tracks nearest to a TRACK (an id) or AUDIO (a file or folder), or to all of several, by RUN's model.

    Several seeds count as the mean of their factors, each scaled to length 1. The list never holds a seed, nor a
    second entry of the same recording (the same ISRC, or artist and title), nor what --playlist holds already.
    By dot product, train tracks are at an advantage: predictions lie closer to the mean than reference factors do.

    Without --dataset the candidates are the tracks that RUN predicted, known by their ids. With --export spotify,
    tracks are found by ISRC and put into a private playlist; without credentials (SPOTIPY_CLIENT_ID,
    SPOTIPY_CLIENT_SECRET, SPOTIPY_REDIRECT_URI) what would be added is printed.
    """
    from cs_keras.cli.console import Console, quiet_tensorflow
    from cs_keras.errors import ConfigError
    from cs_keras.playlists.rerank import Rules

    if bool(seeds) == (playlist is not None):
        raise click.UsageError("Name one or more of TRACK and AUDIO, or a playlist by --playlist.")
    export = make_export(form, out, audio_root, tracks)
    if export and show_true and out is None:
        raise ConfigError("--true is shown in the table, which --export replaces; name a file by --out.")
    rules = Rules(
        **{name: options.pop(name) for name in ("k", "exclude_artist", "max_per_artist", "diversity")}
    )
    reading = read_config(**options)
    quiet_tensorflow()
    from pipelines.recommend.catalogue import open_catalogue
    from pipelines.recommend.query import query_playlist, query_tracks
    from pipelines.recommend.recommend import SearchConfig, recommend

    search = SearchConfig(by or ("dot" if playlist else "similarity"), candidates, index, index_file)
    catalogue = open_catalogue(run, dataset, reading)
    if playlist is None:
        question = query_tracks(catalogue, seeds, decoder, Console())
    else:
        question = query_playlist(catalogue, playlist)
    listing = recommend(catalogue, question, search, rules)
    listed, true = listing.tracks, None
    if show_true:
        true = recommend(catalogue, question, search, rules, by_interactions=True).tracks
    if listing.recall is not None:
        click.echo(
            f"The approximate index finds {listing.recall:.1%} of the {rules.k} nearest, over a sample.",
            err=True,
        )
    if len(listed) < rules.k:
        click.echo(f"There are {len(listed)} tracks to recommend, not {rules.k}.", err=True)
    if export:
        entries = [one.entry for one in listed]
        measures = [{"score": one.score, "factors": one.factors} for one in listed]
        about = {"title": question.title, "run": str(run), "by": search.by, "candidates": candidates}
        export.write(entries, measures, about)
    if out is not None or not export:
        show_table(f"{question.title}, by {search.by}", *_columns(listed, true))


def _columns(
    listed: "Sequence[RecommendedTrack]", true: "Sequence[RecommendedTrack] | None"
) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table; with a true list beside it, tracks that are in both have a star."""
    both = {one.entry.track_id for one in listed} & {one.entry.track_id for one in true or ()}
    header, lists = ["track", "score", "factors"], [listed]
    if true is not None:
        header, lists = [*header, "under reference factors", "score"], [listed, true]
    rows = []
    for pair in itertools.zip_longest(*lists):
        row = [_cells(one, both) for one in pair]
        rows.append([*row[0], *(cell for cells in row[1:] for cell in cells[:2])])
    return header, rows


def _cells(one: "RecommendedTrack | None", both: set[str]) -> list[str]:
    if one is None:
        return ["", "", ""]
    star = " *" if one.entry.track_id in both else ""
    return [f"{one.entry.label}{star}", f"{one.score:.3f}", one.factors]
