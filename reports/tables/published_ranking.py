"""Columns of what van den Oord et al. (2013) reported for systems of the same kind, on other data."""

from dataclasses import dataclass

from reports.runs.collect import Run
from reports.runs.labels import name_predictor
from reports.tables.table import Cell, Column

GROUP = "2013 (other data)"
SUBSET, ALL = "subset", "all songs"
COLUMNS = tuple(
    Column(f"{header}\n{songs}", f"reported_{metric}_{songs.replace(' ', '_')}", group=GROUP)
    for songs in (SUBSET, ALL)
    for metric, header in (("map@500", "mAP@500"), ("auc", "AUC"))
)


@dataclass(frozen=True)
class Reported:
    """Mean average precision of 500 and area under the ROC curve, from 0 to 1; None where none is given."""

    subset: tuple[float, float] | None = None
    all_songs: tuple[float, float] | None = None


NETWORK = "dieleman-3s"
SYSTEMS = {  # by model key, or by the name of a predictor's row
    name_predictor("random"): Reported(all_songs=(0.00015, 0.49935)),
    "mlr": Reported((0.01801, 0.60608)),
    "bot-linear": Reported((0.02389, 0.63518), (0.00101, 0.64522)),
    "bot": Reported((0.02536, 0.64611)),
    NETWORK: Reported((0.05016, 0.70987), (0.00672, 0.77192)),
    name_predictor("reference"): Reported(all_songs=(0.23278, 0.96070)),
}
WITH_WPE = Reported((0.04323, 0.70101))  # the network, by the weighted prediction error
NOTE = (
    "2013: as van den Oord et al. report, in %, for metric learning to rank, linear regression and a perceptron on "
    "bags of words, a network on windows of 3 s by the same loss, random lists and true factors; of the Million "
    "Song Dataset a subset (9,330 songs, 20,000 listeners) and all songs (382,410, 1 M). mAP falls with the "
    "number of songs to choose from: not comparable."
)


def ranking_cells(name: str, run: Run | None) -> tuple[Cell | None, ...]:
    """Return what was reported for a run's, or else for a predictor's, kind of system, under `COLUMNS`."""
    reported = (_of_run(run) if run else SYSTEMS.get(name)) or Reported()
    return tuple(
        Cell(f"{100 * value:#.3g}", value) if value is not None else None
        for pair in (reported.subset, reported.all_songs)
        for value in (pair or (None, None))
    )


def _of_run(run: Run) -> Reported | None:
    loss = run.settings.get("training.loss", "mse")
    if run.model == NETWORK and loss != "mse":
        return WITH_WPE if loss == "wpe" else None
    return SYSTEMS.get(run.model)
