"""Runs and trials in MLflow: settings, metrics of each epoch, results and files, by MLflow's own client."""

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cs_keras.errors import ConfigError, CsKerasError, StorageError
from cs_keras.parsing import parse_json
from cs_keras.run_files.evaluation import MODEL, Evaluation
from cs_keras.run_files.labels import LabelEvaluation, read_evaluation
from cs_keras.run_files.names import CONFIG_FILE, METRICS_FILE, TRIAL_FILE
from cs_keras.run_files.settings import flatten_settings, read_settings
from cs_keras.run_files.study import StudyRecord, TrialRecord
from cs_keras.runs import digest, read_json

DIGEST_TAG = "cs_keras.digest"  # of what was logged: nothing is logged twice
BATCH_METRICS, BATCH_PARAMS = 1000, 100  # limits of a request
SETTINGS = {
    # Version 3 refuses folders unless this is set, and reports usage to its makers unless the other is.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

Metrics = Iterable[tuple[str, float, int]]  # name, value, epoch


class MlflowTracker:
    """Logs finished runs and ended trials to a tracking server, a database or a folder.

    An experiment holds the runs and trials on the same data, which can be compared; the environment variable
    ``MLFLOW_EXPERIMENT_NAME`` names another one. What was logged before is not logged again; what an interrupted
    command logged in part is replaced.

    Parameters
    ----------
    uri
        Tracking URI of MLflow, such as ``http://localhost:5000``, ``sqlite:///mlflow.db`` or ``mlruns``, a folder.

    Raises
    ------
    ConfigError
        MLflow is not installed.
    StorageError
        The server cannot be reached, or refuses.
    """

    def __init__(self, uri: str) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            import mlflow
        except ImportError as error:
            raise ConfigError(
                "--mlflow needs MLflow, which is not installed: pip install 'cs-keras[mlflow]'."
            ) from error
        self.uri = uri
        with self._errors(), _quick_answers():
            self._client: Any = mlflow.MlflowClient(tracking_uri=uri)
            self._client.search_experiments(max_results=1)

    def log_run(self, folder: Path) -> None:
        """Log a finished run, unless it is logged; StorageError or DataError if that fails."""
        settings, evaluation = read_json(folder / CONFIG_FILE), read_evaluation(folder)
        self._log(
            read_settings(folder).data_digest,
            folder.name,
            digest([settings, read_json(folder / evaluation.FILE)]),
            {"cs_keras.model": evaluation.model, "cs_keras.folder": str(folder.absolute())},
            dict(flatten_settings(settings)),
            itertools.chain(_read_epochs(folder), _results(evaluation)),
            sorted(path for path in folder.iterdir() if path.is_file() and path.name != "DONE"),
        )

    def log_study(self, folder: Path) -> None:
        """Log the trials of a study that ended, except those that are logged; errors as for `log_run`."""
        study = StudyRecord.read(folder)
        for path in sorted(folder.glob(f"trials/*/{TRIAL_FILE}")):
            trial = TrialRecord.read(path.parent)
            self._log(
                study.data_digest,
                f"{folder.name} {trial.trial}",
                digest([study.data_digest, read_json(path)]),
                {
                    "cs_keras.model": study.model,
                    "cs_keras.study": str(folder.absolute()),
                    "cs_keras.status": trial.reason or trial.status,
                },
                dict(flatten_settings(trial.parameters)),
                itertools.chain(_read_epochs(path.parent / "execution-0"), _trial_results(study, trial)),
                [path],
            )

    def _log(
        self,
        data: str,
        name: str,
        content: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        metrics: Metrics,
        files: Iterable[Path],
    ) -> None:
        from mlflow import entities

        with self._errors():
            experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"cs-keras {data[:10]}")
            for known in self._client.search_runs([experiment], f"tags.`{DIGEST_TAG}` = '{content}'"):
                if known.info.status == "FINISHED":
                    return
                self._client.delete_run(known.info.run_id)  # of a process that was interrupted
            run = self._client.create_run(experiment, tags={DIGEST_TAG: content, **tags}, run_name=name).info
            own = [entities.Param(_clean(key), value) for key, value in params.items()]
            for first in range(0, len(own), BATCH_PARAMS):
                self._client.log_batch(run.run_id, params=own[first : first + BATCH_PARAMS])
            values = [
                entities.Metric(_clean(key), value, run.start_time, step) for key, value, step in metrics
            ]
            for first in range(0, len(values), BATCH_METRICS):
                self._client.log_batch(run.run_id, metrics=values[first : first + BATCH_METRICS])
            for file in files:
                self._client.log_artifact(run.run_id, str(file))
            self._client.set_terminated(run.run_id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except CsKerasError:
            raise
        except Exception as error:  # MLflow's own, those of its stores, and of its HTTP client
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StorageError(f"MLflow cannot use {self.uri}: {reason}") from error


@contextlib.contextmanager
def _quick_answers() -> Iterator[None]:
    """Let the first request fail at once where no server answers: by default it is repeated for minutes."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ.setdefault(name, "0")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _read_epochs(folder: Path) -> Iterator[tuple[str, float, int]]:
    """Yield the metrics in ``metrics.jsonl``, which single-step models do not have."""
    path = folder / METRICS_FILE
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            metrics = parse_json(line)
            epoch = int(metrics.pop("epoch"))
            yield from ((name, value, epoch) for name, value in metrics.items() if _is_number(value))


def _results(evaluation: Evaluation | LabelEvaluation) -> Iterator[tuple[str, float, int]]:
    """Yield what the model reached, at its best epoch."""
    if isinstance(evaluation, LabelEvaluation):
        values = _label_results(evaluation)
    else:
        values = _factor_results(evaluation)
    step = evaluation.training.best_epoch
    yield from ((name, value, step) for name, value in values.items() if value is not None)


def _factor_results(evaluation: Evaluation) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for kind, overlaps in evaluation.overlap.items():
        for one in overlaps:
            names = ("overlap", "chance", "low", "high", "p_value")
            values.update({f"overlap/{kind}/{one.k}/{name}": getattr(one, name) for name in names})
    for split in ("validation", "test"):
        losses = getattr(evaluation.losses, split)
        values.update({f"{split}/{name}": value for name, value in vars(losses).items()})
    for name, mean in (evaluation.ranking.predictors[MODEL] if evaluation.ranking else {}).items():
        values[f"ranking/{name}"] = mean.mean if mean else None
    return values


def _label_results(evaluation: LabelEvaluation) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for predictor, result in evaluation.predictors.items():
        for kind, metrics in vars(result).items():  # over_labels and over_tracks
            for name, mean in vars(metrics).items():  # auc and average_precision
                for bound, value in (vars(mean) if mean else {}).items():
                    values[f"{kind}/{name}/{predictor}/{bound}"] = value
    return values


def _trial_results(study: StudyRecord, trial: TrialRecord) -> Iterator[tuple[str, float, int]]:
    values: dict[str, Any] = {f"score/{study.objective}": trial.score, "score_sd": trial.spread}
    for number, execution in enumerate(trial.executions):
        metrics = {**execution.metrics, "seconds": execution.seconds, "best_epoch": execution.best_epoch}
        values.update({f"execution/{number}/{name}": value for name, value in metrics.items()})
    yield from ((name, value, 0) for name, value in values.items() if _is_number(value))


def _clean(name: str) -> str:
    """Return a name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "/", name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
