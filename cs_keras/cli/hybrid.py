"""``cs-keras hybrid``: audio against fold-in and hybrids of both, as interactions accrue."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import show_sections
from cs_keras.cli.options import DATASET, INTEGERS, LOCAL_PATH, Command, read_config, reading_options, renamed


@click.command("hybrid", cls=Command)
@click.argument("run", type=DATASET)
@click.argument("dataset", type=DATASET)
@click.option(
    "--n-interactions",
    type=INTEGERS,
    default="0,1,2,5,10",
    help="Playlist entries revealed per track; tracks with fewer than twice the largest are left out.",
)
@renamed("--listens", "--n-interactions")
@click.option("-k", "k", type=int, default=10, help="List length.")
@click.option("--seed", type=int, default=0, help="Seed of which entries are revealed.")
@click.option("--out", type=LOCAL_PATH, help="Folder for the tables as Markdown, CSV and LaTeX.")
@reading_options
def command(
    run: Any,
    dataset: Any,
    n_interactions: tuple[int, ...],
    k: int,
    seed: int,
    out: Path | None,
    **reading: Any,
) -> None:
    """Compare audio, fold-in and hybrid as interactions accrue.

    DATASET is the one that RUN was trained on. Of each test track's playlist entries, a few are revealed and the
    others are held out for evaluation. The command compares RUN's predictions from audio, fold-in of the revealed
    entries, and hybrids: switching, weighting and cascade (Burke 2002), and content-boosted fold-in, which fills
    missing entries with predicted preferences (Melville et al. 2002). Their settings are chosen on validation
    tracks.
    """
    from pipelines.evaluation.hybrid import HybridConfig, compare_hybrids
    from reports.commands.hybrids import make_hybrids_section

    config = HybridConfig(tuple(sorted(set(n_interactions))), k=k, seed=seed)
    hybrids = compare_hybrids(run, dataset, config, read_config(**reading))
    show_sections((make_hybrids_section(hybrids),), out, "recommend", run, "TRACK", "--dataset", dataset)
