"""The command line in this process, and settings with which every model of it trains in a second or two."""

from pathlib import Path

import pytest

from cs_keras.cli import main
from cs_keras.runs import DONE

SMALL = [
    "--set=models.bot.model.n_centroids=50",
    "--set=models.bot.model.dense=[16]",
    "--set=models.bot.training.epochs=3",
    "--set=models.cnn-bn.model.filters=4",
    "--set=models.cnn-bn.model.dense=[16]",
    "--set=models.cnn-bn.training.epochs=3",
    "--set=models.lstm.model.units=[4]",
    "--set=models.lstm.model.dense=[16]",
    "--set=models.lstm.training.epochs=2",
    "--set=models.bot-wide.model.n_centroids=50",
    "--set=models.bot-wide.model.dense=[32]",
    "--set=models.bot-wide.training.epochs=2",
    "--set=models.triplet.model.filters=4",
    "--set=models.triplet.model.dense=[16]",
    "--set=models.triplet.training.epochs=3",
    "--set=models.choi-features.model.dense=[16]",
    "--set=models.choi-features.training.epochs=3",
    "--set=models.choi-features.sequence.frames=256",
    "--set=models.multiscale-gaussian.model.n_centroids=20",
    "--set=models.multiscale-gaussian.model.n_patches=2000",
    "--set=models.multiscale-gaussian.model.dense=[16]",
    "--set=models.multiscale-gaussian.training.epochs=3",
    "--set=training.batch_size=16",
]
"""Settings that make each model train in a second or two."""


def run(*arguments: object) -> int:
    """Run the command line in this process and return its exit status."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


def drop_checksums(run: Path) -> Path:
    """Make a finished run one of an earlier release, without checksums of its files, and return it."""
    (run / DONE).write_text("2026-11-29T05:48:30+00:00\n", encoding="utf-8")
    return run
