"""The trainer of a search, which is sent to the processes that train; it loads TensorFlow on first use."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cs_keras.data.reader import ReadConfig
from cs_keras.storage.location import locate
from cs_keras.training.executions import Execution
from pipelines.training.attribute_files import AttributeFiles


@dataclasses.dataclass(frozen=True)
class TrialTrainer:
    """Trains the executions of a search on one dataset.

    Attributes
    ----------
    dataset
        Folder or URL.
    factors_name
        Name of the factors to predict; None for the only ones, or ``wmf``.
    reading, attributes
        How the dataset is read, and its tables of attributes.
    data_digest
        Digest that dataset, factors and attributes must have; None for any.
    """

    dataset: str
    factors_name: str | None
    reading: ReadConfig
    attributes: AttributeFiles = AttributeFiles()
    data_digest: str | None = None

    @property
    def attribute_options(self) -> dict[str, list[str]]:
        """Options of ``cs-keras run-baselines`` for the same tables of attributes."""
        return self.attributes.options

    def check(self, key: str, changes: Mapping[str, Any], objective: str) -> "TrialTrainer":
        """Return this trainer with the name and the digest of its data.

        Raises
        ------
        CsKerasError
            When no trial could be trained on the data.
        """
        from cs_keras.data.dataset import Dataset
        from pipelines.factors.open import open_factors
        from pipelines.training.trial import check_search

        dataset = locate(self.dataset)
        name = open_factors(dataset, Dataset(dataset).tracks, self.factors_name).name
        digest = check_search(key, changes, dataset, name, objective, self.attributes)
        return self.bind(name, digest)

    def bind(self, factors_name: str, data_digest: str) -> "TrialTrainer":
        """Return a trainer on the data with this name and digest."""
        return dataclasses.replace(self, factors_name=factors_name, data_digest=data_digest)

    def __call__(self, execution: Execution, folder: Path) -> None:
        """Train in `folder`; see `pipelines.training.trial.run_execution`."""
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        from pipelines.training.trial import run_execution

        run_execution(execution, self, folder)
