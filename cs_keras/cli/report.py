"""``cs-keras report``: tables, plots and pages of saved runs and studies."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.cli.console import (
    CONCLUSION_WIDTH,
    Console,
    print_next,
    print_sections,
    print_written,
)
from cs_keras.cli.options import DATASET, LOCAL_PATH, Command, add_options, shared_option

if TYPE_CHECKING:
    from cs_keras.storage.location import Location
    from reports.html.options import PageOptions
    from reports.report import Report

FILE_FORMATS, PRINTED_FORMAT = ("md", "csv", "latex"), "json"

print_options = add_options(
    shared_option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice((*FILE_FORMATS, "html", PRINTED_FORMAT)),
        help="Format to write; may be repeated. json is printed, in place of the conclusion.  "
        "[default: md, csv, latex]",
    ),
    shared_option("--full", is_flag=True, help="Print all tables in place of the conclusion."),
    shared_option("--table", metavar="TITLE", help="Print the tables with TITLE in their title instead."),
    shared_option("--quiet", is_flag=True, help="Print no table and no conclusion."),
)


@click.command("report", cls=Command)
@click.argument("folder", metavar="RUNS|STUDY", type=DATASET)
@print_options
@click.option(
    "--out",
    type=LOCAL_PATH,
    help="Folder for the files.  [default: RUNS/report or STUDY/report; ./report for a study behind a URL]",
)
@click.option(
    "--dataset",
    type=DATASET,
    help="Dataset of the runs: adds track names, and filters and units of the best network, to html.",
)
@click.option(
    "--audio-root",
    type=LOCAL_PATH,
    help="Folder that was ingested: html plays its recordings, and must stay on this machine.",
)
@click.option(
    "--tracks",
    type=LOCAL_PATH,
    help="tracks.csv that was ingested, for the same: a path and a track_id per row.",
)
@click.option(
    "--embed-audio",
    is_flag=True,
    help="Copy 20 s of each track that html shows into its folder, which can then be moved.",
)
def command(
    folder: "Location",
    out: Path | None,
    dataset: "Location | None",
    audio_root: Path | None,
    tracks: Path | None,
    embed_audio: bool,
    **printing: Any,
) -> None:
    """Compare runs, or the trials of a study, and write tables.

    For runs, html is a folder of pages with figures and a map of the tracks, which any browser opens from disk.
    For a study, which may be behind a URL, the report has trials, hyperparameter importance, plots (PNG and SVG),
    and the command that trains the winner.
    """
    from reports.html.options import PageOptions

    recordings, copy = None, None
    if audio_root and tracks:
        raise click.UsageError("Name the ingested folder (--audio-root) or table (--tracks), not both.")
    if audio_root or tracks:
        from cs_keras.audio.excerpt import encode_excerpt
        from cs_keras.data.catalogue import audio_files

        recordings = audio_files(audio_root, tracks)
        copy = encode_excerpt if embed_audio else None
    elif embed_audio:
        raise click.UsageError("--embed-audio copies recordings: name them by --audio-root or --tracks.")
    show_report(folder, Printing(**printing), out, PageOptions(dataset, _inspect, recordings, copy))


@dataclasses.dataclass(frozen=True)
class Printing:
    """Values of `print_options`: formats, and what is printed; one of the latter at most."""

    formats: tuple[str, ...] = ()
    full: bool = False
    table: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        chosen = {
            "--full": self.full,
            "--table": self.table is not None,
            "--quiet": self.quiet,
            "--format json": PRINTED_FORMAT in self.formats,
        }
        given = [option for option, is_given in chosen.items() if is_given]
        if len(given) > 1:
            raise click.UsageError(f"Give one of {', '.join(chosen)}. Received: {' and '.join(given)}.")

    @property
    def files(self) -> tuple[str, ...]:
        """Formats of files."""
        return tuple(name for name in self.formats if name != PRINTED_FORMAT) or FILE_FORMATS

    def show(self, report: "Report") -> None:
        """Print the conclusion of a report, or what was chosen in its place."""
        if self.quiet:
            return
        if PRINTED_FORMAT in self.formats:
            from reports.formats.markdown_csv import to_json

            pairs = zip(report.sections, report.conclusions, strict=True)
            click.echo(to_json([dataclasses.replace(one, conclusion=own.conclusion) for one, own in pairs]))
        elif self.full:
            print_sections(report.sections)
        elif self.table is not None:
            from reports.tables.cells.table import select_tables

            print_sections(select_tables(report.sections, self.table))
        else:
            print_sections(report.conclusions, CONCLUSION_WIDTH)


def show_report(
    folder: "Location",
    printing: Printing = Printing(),
    out: Path | None = None,
    page: "PageOptions | None" = None,
    dataset: "Location | None" = None,
) -> None:
    """Build a report, print what it concludes, and list what was written; see `reports.report.build_report`."""
    from cs_keras.models import REGISTRY
    from reports.report import build_report

    report = build_report(folder, tuple(REGISTRY), out, printing.files, page, dataset)
    printing.show(report)
    for reason in report.left_out:
        click.echo(f"Left out of the report: {reason}", err=True)
    print_written(report.written)
    if report.stale:
        click.echo(f"Written earlier, and not now: {', '.join(map(str, report.stale))}.", err=True)
    if report.next_command:
        print_next(report.next_command)


def _inspect(folder: Path, dataset: "Location") -> str | None:
    """Inspect the network of a run; TensorFlow is loaded only where that has not been done before."""
    from cs_keras.data.dataset import Dataset
    from cs_keras.run_files.inspection import is_inspected
    from cs_keras.run_files.settings import read_settings
    from pipelines.inference.inspection_obstacle import inspection_obstacle

    reason = inspection_obstacle(folder)
    if reason is not None:
        return reason
    opened = Dataset(dataset, split_name=read_settings(folder).split_name)
    if not is_inspected(folder, opened.digest):
        from pipelines.inference.inspect_run import inspect_run

        inspect_run(folder, opened, Console())
    return None
