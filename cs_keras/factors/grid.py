"""Grid of WMF settings to search."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from cs_keras.errors import ConfigError
from cs_keras.factors.wmf import Weight, WmfConfig

SEARCHED = ("factors", "alpha", "regularization", "iterations")  # in the order of WmfConfig


@dataclass(frozen=True)
class Grid:
    """Values of each setting; every combination is tried.

    Parameters
    ----------
    factors : tuple of int
        Numbers of factors.
    alpha, regularization : tuple of float
    iterations : tuple of int
    weight : {"count", "log", "binary"}
        Weight of counts in every setting.

    Raises
    ------
    ConfigError
        A setting has no value, repeats one, or has one out of range.
    """

    factors: tuple[int, ...] = (16, 32, 64)
    alpha: tuple[float, ...] = (1.0, 10.0, 40.0)
    regularization: tuple[float, ...] = (0.01, 1.0, 10.0, 100.0)
    iterations: tuple[int, ...] = (15, 50)
    weight: Weight = "count"

    def __post_init__(self) -> None:
        for name in SEARCHED:
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(
                    f"{name} must have one value to try, or several that differ. Received: {values!r}."
                )
        self.settings()  # raises for values out of range

    def settings(self, max_settings: int | None = None, seed: int = 0) -> list[WmfConfig]:
        """Return all settings or a random part of them, in the grid's order: factors first, iterations last.

        Parameters
        ----------
        max_settings : int, optional
            Largest number of settings; a smaller number selects a subset.
        seed : int
            Seed of the random part, and of every setting.

        Raises
        ------
        ConfigError
            `max_settings` is below 1.
        """
        if max_settings is not None and max_settings < 1:
            raise ConfigError(f"At least one setting must be tried. Received: {max_settings}.")
        values = itertools.product(*(getattr(self, name) for name in SEARCHED))
        every = [replace(WmfConfig(*each), seed=seed, weight=self.weight) for each in values]
        chosen = np.random.default_rng(seed).permutation(len(every))[:max_settings]
        return [every[index] for index in sorted(chosen)]
