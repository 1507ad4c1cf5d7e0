"""``cs-keras export``: a run's model for programs that do not have this package."""

from pathlib import Path
from typing import Any

import click

from cs_keras.cli.console import conclude
from cs_keras.cli.options import DATASET, LOCAL_PATH, Command


@click.command("export", cls=Command)
@click.argument("run", type=DATASET)
@click.argument("out", type=LOCAL_PATH)
def command(run: Any, out: Path) -> None:
    """Export a run's model for use without cs-keras.

    OUT is a new folder. OUT/saved_model, a TensorFlow SavedModel of whole recordings, returns the factors that
    `cs-keras predict` returns, by its signatures: audio (mono samples at the sample rate the model was trained
    on), audio_at (the same with their sample rate, which must be the model's), and frames (magnitudes).
    OUT/model.keras consists of layers of Keras alone and takes one sequence of magnitudes. OUT/export.json holds
    the audio settings.
    """
    from cs_keras.run_files.names import MODEL_FILE
    from pipelines.inference.export import EXPORT_FILE, SAVED_MODEL, export
    from pipelines.inference.trained_run import read_run

    export(read_run(run), out)
    conclude(
        f"{out}: {SAVED_MODEL}, {MODEL_FILE} and {EXPORT_FILE}; both models return the run's factors.",
        *("predict", run, "AUDIO", "--out", "factors.npz"),
    )
