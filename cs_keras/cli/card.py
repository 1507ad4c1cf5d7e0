"""``cs-keras card``: the model card of a run."""

from pathlib import Path

import click

from cs_keras.cli.console import conclude, print_written
from cs_keras.cli.options import LOCAL_PATH, Command


@click.command("card", cls=Command)
@click.argument("run", type=LOCAL_PATH)
@click.option("--out", type=LOCAL_PATH, help="Markdown file to write.  [default: standard output]")
@click.option("--dataset-id", metavar="ID", help="Dataset for the metadata, by its id on the hub.")
@click.option("--license", metavar="ID", help="License of the model for the metadata, such as cc-by-4.0.")
def command(run: Path, out: Path | None, dataset_id: str | None, license: str | None) -> None:
    """Write a model card with the metadata of Hugging Face.

    The card says what RUN's model was trained on, how well it does and for which groups of tracks, with intervals
    and chance, where its results advise against using it, how to load it, and all its settings. All values are from
    the run's files. Saved as README.md, it is the page of a model repository.
    """
    from reports.formats.card import make_card

    text = make_card(run, dataset_id, license)
    if out is None:
        click.echo(text, nl=False)
        return
    from cs_keras.runs import atomic_write

    with atomic_write(out) as file:
        file.write(text.encode())
    print_written([out])
    conclude(f"Model card of {run.name}.", "export", run, "exported")
