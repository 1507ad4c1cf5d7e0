"""Checkpoints of a fit: complete epochs, each stored with one atomic rename."""

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from cs_keras.errors import StorageError
from cs_keras.models.spec import stored_bytes
from cs_keras.runs import read_json, read_npz, require_space, write_json, write_npz

Epoch = dict[str, float]


class Checkpoints:
    """Complete epochs on disk: the newest epoch's folder, and the best epoch's weights."""

    def __init__(self, folder: Path, monitor: str = "val_loss") -> None:
        self._folder, self._monitor = folder, monitor

    def store(self, model: keras.Model, history: list[Epoch]) -> None:
        """Store the state after the last epoch of `history`."""
        name = f"epoch-{len(history):05d}"
        temporary = self._folder / f"{name}.tmp"
        require_space(self._folder.parent, 2 * stored_bytes(model))  # twice, for the best epoch
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            model.save_weights(temporary / "state.weights.h5")
            write_npz(temporary / "seeds.npz", **_seeds(model))
            write_json(temporary / "history.json", history)
            if best_epoch(history, self._monitor) == len(history) - 1:
                best = self._folder / "best.tmp.weights.h5"
                best.unlink(missing_ok=True)
                _link(temporary / "state.weights.h5", best)
                best.replace(self._folder / "best.weights.h5")
            temporary.rename(self._folder / name)
        except OSError as error:
            raise StorageError(f"Cannot write checkpoint {self._folder / name}: {error}.") from error
        for old in sorted(self._folder.glob("epoch-?????"))[:-1]:
            shutil.rmtree(old)

    def restore(self, model: keras.Model) -> list[Epoch]:
        """Load the newest complete epoch into `model` and its optimiser and return the history so far."""
        newest = sorted(self._folder.glob("epoch-?????"))[-1:]
        if not newest:
            return []
        self._load(model, newest[0] / "state.weights.h5")
        seeds = read_npz(newest[0] / "seeds.npz", *_seeds(model))
        for variable, state in zip(_seed_variables(model), seeds.values(), strict=True):
            variable.assign(state)
        history: list[Epoch] = read_json(newest[0] / "history.json")
        return history

    def load_best(self, model: keras.Model) -> None:
        """Load the weights of the best epoch, or their moving averages."""
        self._load(model, self._folder / "best.weights.h5")
        model.optimizer.finalize_variable_values(model.trainable_variables)

    def _load(self, model: keras.Model, path: Path) -> None:
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            raise StorageError(
                f"Checkpoint {path} cannot be read; delete {self._folder} to train this model from the start."
            ) from error


def best_epoch(history: list[Epoch], monitor: str = "val_loss") -> int:
    """Return the index of the epoch with the lowest loss or the highest other metric, the first of ties."""
    sign = 1 if monitor == "val_loss" else -1
    return min(range(len(history)), key=lambda i: sign * history[i][monitor])


def _seed_variables(model: keras.Model) -> list[Any]:
    """Return the random states of dropout, which Keras does not count among the weights."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _seeds(model: keras.Model) -> dict[str, npt.NDArray[Any]]:
    return {f"seed_{n}": v.numpy() for n, v in enumerate(_seed_variables(model))}


def _link(path: Path, other: Path) -> None:
    """Hard-link a file, or copy it where the file system has no links."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
