"""Two workers compared with one, on a study whose trials sleep, so that only the search limits the speed."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.comparison import Comparison, Line
from benchmarks.settings import Settings
from benchmarks.waiting import Waiting
from cs_keras.progress import SilentProgress
from cs_keras.run_files.study import Search
from cs_keras.runs import read_json
from tuning.plan import plan_search
from tuning.search import WorkerPool, search
from tuning.study import new_study, open_study

TOPIC = "sweep"
N_TRIALS = 12
TRIAL_S = 10.0  # longer than the start of a worker
MAX_TIME_RATIO = 0.65  # of one worker's time


def measure(settings: Settings) -> Iterator[Line]:
    seconds, tried = zip(
        *(_search(settings.workspace / f"study-{n}", n_workers=n) for n in (2, 1)), strict=True
    )
    if tried[0] != tried[1]:
        raise RuntimeError("Two workers tried other points than one worker.")
    rates = [60 * N_TRIALS / s for s in seconds]
    what = f"{N_TRIALS} trials of {TRIAL_S:.0f} s, two workers"
    yield Comparison(TOPIC, what, rates[0], rates[1], "trials/min", "one worker", 1 / MAX_TIME_RATIO)


def _search(folder: Path, n_workers: int) -> tuple[float, set[str]]:
    """Return the seconds of a whole search, including the start of its processes, and the points that it tried."""
    wish = Search("bot", max_trials=N_TRIALS)
    plan = plan_search(wish, {}, {}, ("training.learning_rate", "training.batch_size"))
    study = new_study(folder, wish, dataset="dataset", factors="wmf", data_digest="", **vars(plan))
    open_study(study)
    start = time.perf_counter()
    search(study, Waiting(TRIAL_S), 1, WorkerPool(n_workers), SilentProgress(), lambda progress: None)
    seconds = time.perf_counter() - start
    records = [read_json(path) for path in folder.glob("trials/*/trial.json")]
    shutil.rmtree(folder)
    return seconds, {json.dumps(record["parameters"], sort_keys=True) for record in records}
